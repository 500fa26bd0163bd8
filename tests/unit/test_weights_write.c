#include "test.h"

#include "weights/internal.h"
#include "base/alloc.h"
#include "base/time.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static uint64_t hash(const float *v, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, v + i, 4);
        sum += (2 * i + 1) * bits;
    }
    return sum;
}

static void ok(int ret, const ls_error *err)
{
    if (ret)
        fail_msg("%s", err->message);
}

/* The constants come from golden/fill.py's values_np (hash as in weights_table.py). */
static void formula_values_are_those_of_the_generator(void **state)
{
    (void)state;
    float *v = ls_malloc_array(200001, sizeof *v);
    ls_formula_fill("input.sample", 200001, sqrt(3), 0, v);
    assert_true(v[0] == -0x1.665f0p-1f && v[1] == -0x1.3b56b8p-2f && v[200000] == -0x1.6945fep+0f);
    assert_true(hash(v, 200001) == 0xa349d90b288191a1);
    ls_formula_fill("x.norm.weight", 77, 0.1, 1, v);
    assert_true(v[0] == 0x1.08ea44p+0f && hash(v, 77) == 0x5bea0e16927);

    static const ls_weight_spec specs[] = {{"conv_in.weight", 4, {32, 13, 3, 3}},
                                           {"conv_in.bias", 1, {32}},
                                           {"n.weight", 1, {40}},
                                           {"scalar", 0, {0}}};
    static const uint64_t want[2][4] = {
        {0x68e8aa9e1504bc, 0x1ca499b7e57, 0x18cc7d4d6d8, 0xbd3819a2},
        {0x65683e418c919e, 0x1bcff5014ae, 0x18cc7d4d6d8, 0xb9eba5ee}};
    for (int low = 0; low < 2; low++) {
        ls_weights *w;
        ls_error err = {0};
        ok(ls_weights_open_formula(&w, specs, 4, low, NULL, &err), &err);
        assert_int_equal(ls_weights_count(w), 4);
        for (size_t i = 0; i < 4; i++) {
            const ls_weight_info *info = ls_weights_find(w, specs[i].name);
            assert_true(info == ls_weights_at(w, i));
            ok(ls_weights_read(w, info, v, &err), &err);
            if (hash(v, info->count) != want[low][i])
                fail_msg("%s, low gain %d", specs[i].name, low);
        }
        ls_weights_close(&w);
    }
    free(v);
}

/* Formula weights with the names and shapes of an open file. */
static ls_weights *formula_like(ls_weights *w, const char *meta)
{
    size_t count = ls_weights_count(w);
    ls_weight_spec *specs = ls_calloc_array(count, sizeof *specs);
    for (size_t i = 0; i < count; i++) {
        const ls_weight_info *info = ls_weights_at(w, i);
        snprintf(specs[i].name, sizeof specs[i].name, "%s", info->name);
        specs[i].ndim = info->ndim;
        assert_true(info->ndim <= 4);
        memcpy(specs[i].shape, info->shape, info->ndim * sizeof *info->shape);
    }
    ls_weights *f;
    ls_error err = {0};
    ok(ls_weights_open_formula(&f, specs, count, false, meta, &err), &err);
    free(specs);
    return f;
}

/* Every tensor of `w`, rounded as its dtype asks, against the formula. */
static void assert_formula(ls_weights *w)
{
    ls_weights *f = formula_like(w, NULL);
    for (size_t i = 0; i < ls_weights_count(w); i++) {
        const ls_weight_info *info = ls_weights_at(w, i);
        const char *pe = strstr(info->name, "pos_encoder.pe");
        float *a = ls_malloc_array(info->count, sizeof *a),
              *b = ls_malloc_array(info->count, sizeof *b);
        assert_int_equal(ls_weights_read_f32(w, info, a, NULL), 0);
        assert_int_equal(ls_weights_read_f32(f, ls_weights_at(f, i), b, NULL), 0);
        for (size_t j = 0; j < info->count; j++) {
            float want = info->dtype == LS_F16    ? ls_f16_to_f32(ls_f32_to_f16(b[j]))
                         : info->dtype == LS_BF16 ? ls_bf16_to_f32(ls_f32_to_bf16(b[j]))
                                                  : b[j];
            float tolerance = !pe ? 0 : info->dtype == LS_F32 ? 2e-7f : 5e-4f;
            if (!(fabsf(a[j] - want) <= tolerance))
                fail_msg("%s: %s[%zu] is %.9g, not %.9g", ls_weights_path(w), info->name, j, a[j],
                         want);
        }
        free(a);
        free(b);
    }
    ls_weights_close(&f);
}

static void checkpoints_with_formula_weights_hold_the_formula(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        size_t count;
    } files[] = {{"formats/torch/unet_mini_f32.pt", 774},
                 {"formats/torch/unet_mini_f16.pt", 774},
                 {"formats/torch/unet_mini_f32_legacy.pt", 774},
                 {"formats/torch/whisper_small64_f32.pt", 65},
                 {"formats/torch/whisper_small64_f16.pt", 65},
                 {"formats/torch/bf16.pt", 20}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[4096];
        ls_weights *w;
        ls_error err = {0};
        ok(ls_weights_open(&w, test_shared(path, files[i].file), &err), &err);
        assert_int_equal(ls_weights_count(w), files[i].count);
        assert_formula(w);
        ls_weights_close(&w);
    }
}

/* A folder of this test's own, and its removal. */
static int make_folder(void **state)
{
    char *dir = strdup("/tmp/ls_weights_XXXXXX");
    *state = dir;
    return mkdtemp(dir) ? 0 : -1;
}

static size_t count_files(const char *dir, bool remove_them)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            n++;
            if (remove_them)
                unlink(path);
        }
    closedir(d);
    return n;
}

static int remove_folder(void **state)
{
    count_files(*state, true);
    int ret = rmdir(*state);
    free(*state);
    return ret;
}

static const ls_weight_spec specs[] = {
    {"conv_in.weight", 4, {32, 13, 3, 3}},
    {"m.pos_encoder.pe", 3, {1, 24, 32}},
    {"norm.weight", 1, {33}},
    {"norm.bias", 1, {33}},
    {"none", 2, {0, 4}},
    {"scalar", 0, {0}},
};
#define SPECS (sizeof specs / sizeof *specs)
static const char meta[] = "{\"global_step\": 123, \"dims\": {\"n_audio_head\": 6, \"big\": "
                           "1099511627776}, \"note\": \"caf\\u00e9\", \"rate\": 0.25}";

static int write_as(const char *path, ls_weights *w, ls_dtype t, bool zip, ls_error *err)
{
    return zip ? ls_weights_write_torch(path, w, "state_dict", t, err)
               : ls_weights_write_safetensors(path, w, t, err);
}

static void what_is_written_reads_back(void **state)
{
    char path[4096];
    for (int i = 0; i < 6; i++) {
        ls_dtype t = (ls_dtype[]){LS_F32, LS_F16, LS_BF16}[i / 2];
        ls_error err = {0};
        ls_weights *w;
        snprintf(path, sizeof path, "%s/out", (char *)*state);
        ok(ls_weights_open_formula(&w, specs, SPECS, false, meta, &err), &err);
        ok(write_as(path, w, t, i % 2, &err), &err);
        ls_weights_close(&w);
        ok(ls_weights_open(&w, path, &err), &err);
        assert_int_equal(ls_weights_count(w), SPECS);
        for (size_t k = 0; k < SPECS; k++) {
            const ls_weight_info *info = ls_weights_find(w, specs[k].name);
            assert_non_null(info);
            assert_int_equal(info->dtype, t);
            assert_int_equal(info->ndim, specs[k].ndim);
            assert_memory_equal(info->shape, specs[k].shape, info->ndim * sizeof *info->shape);
        }
        assert_formula(w);
        int64_t v = 0;
        assert_true(ls_weights_meta_int(w, "global_step", &v) && v == 123);
        assert_true(ls_weights_meta_int(w, "dims.big", &v) && v == 1099511627776);
        assert_string_equal(ls_weights_meta_text(w, "note"), "caf\xc3\xa9");
        ls_weights_close(&w);
        assert_int_equal(count_files(*state, true), 1);
    }
}

static const char script[] =
    "import sys, os\n"
    "try: import torch\n"
    "except ImportError: sys.exit(77)\n"
    "o = torch.load(sys.argv[1])\n"
    "assert list(o) == ['global_step', 'dims', 'note', 'rate', 'state_dict'], list(o)\n"
    "assert o['global_step'] == 123 and o['dims'] == {'n_audio_head': 6, 'big': 1 << 40}, "
    "o['dims']\n"
    "assert o['note'] == 'caf\\u00e9' and o['rate'] == 0.25\n"
    "d = o['state_dict']\n"
    "assert list(d) == ['conv_in.weight', 'm.pos_encoder.pe', 'norm.weight', 'norm.bias', 'none', "
    "'scalar']\n"
    "assert all(t.dtype == getattr(torch, sys.argv[2]) and t.is_contiguous() for t in d.values())\n"
    "assert d['conv_in.weight'].shape == (32, 13, 3, 3) and d['none'].shape == (0, 4) and "
    "d['scalar'].shape == ()\n"
    "s = d['conv_in.weight'].double().sum().item()\n"
    "assert abs(s - float(sys.argv[3])) < 1e-9, s\n";

/* The sums are those of PyTorch's own files: formats/torch/unet_mini_{f32,f16}.pt and bf16.pt. */
static void pytorch_loads_what_is_written(void **state)
{
    static const struct {
        ls_dtype t;
        const char *sum;
    } kinds[] = {{LS_F32, "-2.2495495281618787"},
                 {LS_F16, "-2.2522401809692383"},
                 {LS_BF16, "-2.25133740901947"}};
    char path[4096], py[4096], command[10000];
    ls_weights *w;
    ls_error err = {0};
    ok(ls_weights_open_formula(&w, specs, SPECS, false, meta, &err), &err);
    snprintf(path, sizeof path, "%s/out.pt", (char *)*state);
    snprintf(py, sizeof py, "%s/check.py", (char *)*state);
    FILE *f = fopen(py, "w");
    fputs(script, f);
    fclose(f);
    for (size_t i = 0; i < 3; i++) {
        ok(ls_weights_write_torch(path, w, "state_dict", kinds[i].t, &err), &err);
        snprintf(command, sizeof command,
                 "LD_PRELOAD= LSAN_OPTIONS= /usr/bin/python3 %s %s %s %s 1>&2", py, path,
                 ls_dtype_name(kinds[i].t), kinds[i].sum);
        int code = system(command);
        if (WIFEXITED(code) && (WEXITSTATUS(code) == 77 || WEXITSTATUS(code) == 127)) {
            ls_weights_close(&w);
            print_message("skipped: no PyTorch in /usr/bin/python3\n");
            skip();
        }
        assert_int_equal(code, 0);
    }
    ls_weights_close(&w);
    count_files(*state, true);
}

static void expect_dtypes_kept(const char *in, void **state)
{
    char path[4096];
    ls_error err = {0};
    for (int zip = 0; zip < 2; zip++) {
        ls_weights *w, *v;
        ok(ls_weights_open(&w, in, &err), &err);
        snprintf(path, sizeof path, "%s/out", (char *)*state);
        ok(write_as(path, w, LS_F32, zip, &err), &err);
        ok(ls_weights_open(&v, path, &err), &err);
        assert_int_equal(ls_weights_count(v), ls_weights_count(w));
        for (size_t i = 0; i < ls_weights_count(w); i++) {
            const ls_weight_info *a = ls_weights_at(w, i), *b = ls_weights_find(v, a->name);
            bool is_float = a->dtype == LS_F64 || a->dtype == LS_F16 || a->dtype == LS_BF16;
            assert_int_equal(b->dtype, is_float ? LS_F32 : a->dtype);
            assert_int_equal(a->count, b->count);
            float *x = ls_malloc_array(a->count, 4), *y = ls_malloc_array(a->count, 4);
            assert_int_equal(ls_weights_read_f32(w, a, x, NULL), 0);
            assert_int_equal(ls_weights_read_f32(v, b, y, NULL), 0);
            assert_memory_equal(x, y, a->count * 4);
            free(x);
            free(y);
        }
        ls_weights_close(&w);
        ls_weights_close(&v);
        count_files(*state, true);
    }
}

static void integers_of_pytorch_keep_their_dtype(void **state)
{
    char in[4096];
    expect_dtypes_kept(test_shared(in, "formats/torch/views_zip.pt"), state);
}

/* Every dtype, in a file made here, of numbers that float32 has too. */
static void integers_keep_their_dtype(void **state)
{
    static const struct {
        const char *name;
        size_t bytes;
    } types[] = {{"I64", 8}, {"I32", 4}, {"I16", 2}, {"I8", 1},  {"U8", 1},
                 {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}};
    char path[] = "/tmp/ls_weights_in_XXXXXX", header[2048] = "{";
    uint8_t data[3 * 64] = {0};
    size_t n = 1, at = 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        n += (size_t)snprintf(header + n, sizeof header - n,
                              "%s\"%s\": {\"dtype\": \"%s\", \"shape\": [3], \"data_offsets\": "
                              "[%zu, %zu]}",
                              i ? ", " : "", types[i].name, types[i].name, at,
                              at + 3 * types[i].bytes);
        for (size_t k = 0; k < 3; k++) /* 1, 2, 3 as integers; as floats something small */
            data[at + k * types[i].bytes] = (uint8_t)(k + 1);
        at += 3 * types[i].bytes;
    }
    const uint64_t size = n + 1;
    header[n] = '}';
    FILE *f = fdopen(mkstemp(path), "wb");
    assert_non_null(f);
    fwrite(&size, sizeof size, 1, f);
    fwrite(header, 1, size, f);
    fwrite(data, 1, at, f);
    assert_int_equal(fclose(f), 0);
    expect_dtypes_kept(path, state);
    unlink(path);
}

/* A limit on the size of files stands in for a full disk. */
static void a_failed_write_leaves_no_file_and_the_old_one(void **state)
{
    static const ls_weight_spec big[] = {{"a", 2, {1000, 100}}, {"b", 2, {1000, 100}}};
    char path[4096];
    ls_weights *w;
    ls_error err = {0};
    ok(ls_weights_open_formula(&w, big, 2, false, NULL, &err), &err);
    snprintf(path, sizeof path, "%s/out", (char *)*state);
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_IGN);
    for (int zip = 0; zip < 2; zip++)
        for (size_t limit = 0; limit < 800000; limit += 61000) {
            small = (struct rlimit){limit, old.rlim_max};
            setrlimit(RLIMIT_FSIZE, &small);
            int ret = write_as(path, w, LS_F32, zip, &err);
            setrlimit(RLIMIT_FSIZE, &old);
            assert_int_equal(ret, LS_ENOSPC);
            if (!strstr(err.message, path) || !strstr(err.message, "File too large"))
                fail_msg("%s", err.message);
            assert_int_equal(count_files(*state, false), 0);
        }
    FILE *f = fopen(path, "w");
    fputs("old", f);
    fclose(f);
    for (int zip = 0; zip < 2; zip++) {
        small = (struct rlimit){500000, old.rlim_max};
        setrlimit(RLIMIT_FSIZE, &small);
        assert_int_equal(write_as(path, w, LS_F32, zip, &err), LS_ENOSPC);
        setrlimit(RLIMIT_FSIZE, &old);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, 3);
        assert_int_equal(count_files(*state, false), 1);
        assert_int_equal(write_as("/nowhere/out", w, LS_F32, zip, &err), LS_ENOENT);
        assert_int_equal(write_as(path, w, LS_I8, zip, &err), LS_EINVAL);
    }
    ls_weights_close(&w);
    count_files(*state, true);
}

/* A line "name: N kB" of /proc/self/status, in bytes. */
static size_t status_bytes(const char *name)
{
    char line[256];
    size_t value = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
            value = (size_t)strtoull(line + strlen(name) + 1, NULL, 10) * 1024;
    if (f)
        fclose(f);
    return value;
}

static bool reset_peak(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY);
    bool done = fd >= 0 && write(fd, "5", 1) == 1;
    if (fd >= 0)
        close(fd);
    return done;
}

enum { PIECES = 10, PIECE = 40000000 }; // tensors; bytes each

/* 400 MB of zeros that take no space. */
static void make_large(const char *path)
{
    char header[2000] = "{", length[8] = {0};
    for (size_t i = 0, n = 1; i < PIECES; i++)
        n += (size_t)snprintf(
            header + n, sizeof header - n,
            "%s\"t%zu\":{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[%zu,%zu]}%s",
            i ? "," : "", i, PIECE / 4, i * PIECE, (i + 1) * PIECE, i + 1 == PIECES ? "}" : "");
    size_t n = strlen(header);
    length[0] = (char)n;
    length[1] = (char)(n >> 8);
    FILE *f = fopen(path, "w");
    fwrite(length, 1, 8, f);
    fwrite(header, 1, n, f);
    fclose(f);
    assert_int_equal(truncate(path, (off_t)(8 + n + (size_t)PIECES * PIECE)), 0);
}

/* Resident memory of any kind, mapped file included, peaks one tensor above where it was. */
static void conversion_holds_one_tensor(void **state)
{
#if defined(__SANITIZE_ADDRESS__)
    print_message("memory is not measured under the address sanitizer\n");
    return;
#endif
    static const char *const names[] = {"in.safetensors", "middle.pt", "out.safetensors"};
    char path[3][4096];
    for (size_t i = 0; i < 3; i++)
        snprintf(path[i], sizeof path[i], "%s/%s", (char *)*state, names[i]);
    make_large(path[0]);
    for (int step = 0; step < 2; step++) {
        ls_weights *w;
        ls_error err = {0};
        ok(ls_weights_open(&w, path[step], &err), &err);
        size_t before = status_bytes("VmRSS"), anon = status_bytes("RssAnon");
        if (!before || !reset_peak()) {
            ls_weights_close(&w);
            skip();
        }
        ok(write_as(path[step + 1], w, LS_BF16, !step, &err), &err);
        size_t peak = status_bytes("VmHWM");
        assert_true(peak > before + PIECE / 2); // or this measures nothing
        if (peak > before + PIECE + ((size_t)16 << 20))
            fail_msg("step %d: %zu MB above %zu MB", step, (peak - before) >> 20, before >> 20);
        assert_true(status_bytes("RssAnon") < anon + ((size_t)4 << 20));
        ls_weights_close(&w);
        struct stat st;
        assert_int_equal(stat(path[step + 1], &st), 0);
        assert_true(st.st_size >= PIECES * (PIECE / 2) &&
                    st.st_size < PIECES * (PIECE / 2) + 10000);
    }
    count_files(*state, true);
}

static void a_file_that_shrinks_is_noticed(void **state)
{
    char path[4096];
    ls_weights *w;
    ls_error err = {0};
    ok(ls_weights_open_formula(&w, specs, SPECS, false, NULL, &err), &err);
    snprintf(path, sizeof path, "%s/out", (char *)*state);
    ok(ls_weights_write_safetensors(path, w, LS_F32, &err), &err);
    ls_weights_close(&w);
    ok(ls_weights_open(&w, path, &err), &err);
    assert_int_equal(truncate(path, 100), 0);
    float v[33];
    assert_int_equal(ls_weights_read_f32(w, ls_weights_find(w, "norm.bias"), v, &err), LS_EIO);
    assert_non_null(strstr(err.message, "shrunk"));
    ls_weights_close(&w);
}

int main(void)
{
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formula_values_are_those_of_the_generator),
        cmocka_unit_test(checkpoints_with_formula_weights_hold_the_formula),
        IN_FOLDER(what_is_written_reads_back),
        IN_FOLDER(pytorch_loads_what_is_written),
        IN_FOLDER(integers_of_pytorch_keep_their_dtype),
        IN_FOLDER(integers_keep_their_dtype),
        IN_FOLDER(a_failed_write_leaves_no_file_and_the_old_one),
        IN_FOLDER(conversion_holds_one_tensor),
        IN_FOLDER(a_file_that_shrinks_is_noticed),
    };
    return cmocka_run_group_tests_name("weights_write", tests, NULL, NULL);
}
