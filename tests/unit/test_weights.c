#include "test.h"

#include "weights/internal.h"
#include "base/alloc.h"

/* As weights_table.py does. */
static uint64_t hash_file(ls_weights *w)
{
    uint64_t h = 0;
    ls_error err = {0};
    for (size_t i = 0; i < ls_weights_count(w); i++) {
        const ls_weight_info *info = ls_weights_at(w, i);
        uint64_t sum = 0;
        float *v = ls_malloc_array(info->count, sizeof *v);
        if (ls_weights_read_f32(w, info, v, &err))
            fail_msg("%s", err.message);
        for (size_t j = 0; j < info->count; j++) {
            uint32_t bits;
            memcpy(&bits, v + j, 4);
            sum += (2 * j + 1) * bits;
        }
        free(v);
        for (const char *c = info->name; *c; c++)
            h = 31 * h + (uint8_t)*c;
        for (size_t d = 0; d < info->ndim; d++)
            h = 31 * h + info->shape[d];
        h = 31 * h + sum;
    }
    return h;
}

static void every_sample_reads_as_pytorch_reads_it_or_says_why_not(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t count;
        uint64_t hash;
        const char *why;
    } files[] = {
#include "weights_table.h"
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[4096];
        ls_weights *w;
        ls_error err = {0};
        int ret = ls_weights_open(&w, test_shared(path, files[i].path), &err);
        if (files[i].why) {
            assert_true(ret < 0 && ret == err.code);
            assert_null(w);
            if (!strstr(err.message, files[i].why) || !strstr(err.message, path))
                fail_msg("%s: %s", files[i].path, err.message);
            continue;
        }
        if (ret)
            fail_msg("%s", err.message);
        assert_int_equal(ls_weights_count(w), files[i].count);
        if (hash_file(w) != files[i].hash)
            fail_msg("%s: names, shapes or values differ", files[i].path);
        ls_weights_close(&w);
        assert_null(w);
    }
}

static ls_weights *open_or_fail(const char *path)
{
    ls_weights *w;
    ls_error err = {0};
    if (ls_weights_open(&w, path, &err))
        fail_msg("%s", err.message);
    return w;
}

static float *read_or_fail(ls_weights *w, const char *name, size_t *count)
{
    const ls_weight_info *info = ls_weights_find(w, name);
    if (!info)
        fail_msg("%s has no %s", ls_weights_path(w), name);
    float *v = ls_malloc_array(info->count, sizeof *v);
    assert_int_equal(ls_weights_read_f32(w, info, v, NULL), 0);
    *count = info->count;
    return v;
}

static void views_read_as_their_contiguous_copies(void **state)
{
    (void)state;
    char path[4096];
    static const char *const files[] = {"formats/torch/views_zip.pt",
                                        "formats/torch/views_legacy.pt"};
    for (size_t f = 0; f < 2; f++) {
        ls_weights *w = open_or_fail(test_shared(path, files[f]));
        ls_weights *want = open_or_fail(test_shared(path, "golden/pt_views_expected.safetensors"));
        assert_true(ls_weights_count(want) >= 18);
        for (size_t i = 0; i < ls_weights_count(want); i++) {
            const ls_weight_info *b = ls_weights_at(want, i), *a = ls_weights_find(w, b->name);
            assert_non_null(a);
            assert_int_equal(a->ndim, b->ndim);
            assert_memory_equal(a->shape, b->shape, a->ndim * sizeof *a->shape);
            size_t n, m;
            float *x = read_or_fail(w, b->name, &n), *y = read_or_fail(want, b->name, &m);
            assert_memory_equal(x, y, n * sizeof *x);
            if (a->dtype == b->dtype && n) { // the raw elements as well
                uint8_t *r = ls_malloc_array(2 * n, ls_dtype_size(a->dtype));
                uint8_t *s = r + n * ls_dtype_size(a->dtype);
                assert_int_equal(ls_weights_read(w, a, r, NULL), 0);
                assert_int_equal(ls_weights_read(want, b, s, NULL), 0);
                assert_memory_equal(r, s, n * ls_dtype_size(a->dtype));
                free(r);
            }
            free(x);
            free(y);
        }
        ls_weights_close(&w);
        ls_weights_close(&want);
    }
}

static void numbers_and_texts_become_metadata(void **state)
{
    (void)state;
    char path[4096];
    int64_t v = 0;
    ls_weights *w = open_or_fail(test_shared(path, "formats/torch/whisper_small64_f32.pt"));
    assert_true(ls_weights_meta_int(w, "dims.n_audio_head", &v));
    assert_int_equal(v, 4);
    assert_true(ls_weights_meta_int(w, "dims.n_audio_ctx", &v));
    assert_int_equal(v, 1500);
    assert_false(ls_weights_meta_int(w, "dims", &v));
    assert_null(ls_weights_meta_text(w, "dims.n_audio_head"));
    assert_non_null(ls_weights_find(w, "encoder.conv1.weight"));
    ls_weights_close(&w);
    w = open_or_fail(test_shared(path, "formats/torch/unet_mini_f16.pt"));
    assert_true(ls_weights_meta_int(w, "global_step", &v));
    assert_int_equal(v, 123);
    ls_weights_close(&w);
    w = open_or_fail(test_shared(path, "formats/torch/test_data__complex_structure.pt"));
    assert_string_equal(ls_weights_meta_text(w, "metadata.name"), "test_model");
    assert_false(ls_weights_meta_int(w, "metadata.name", &v));
    ls_weights_close(&w);
    w = open_or_fail(test_shared(path, "formats/torch/test_data__checkpoint.pt"));
    assert_true(ls_weights_meta_int(w, "epoch", &v));
    assert_int_equal(v, 42);
    assert_false(ls_weights_meta_int(w, "loss", &v));
    assert_non_null(ls_weights_find(w, "optimizer_state_dict.state.0.momentum_buffer"));
    ls_weights_close(&w);
    w = open_or_fail(test_shared(path, "formats/safetensors/b.safetensors"));
    assert_string_equal(ls_weights_meta_text(w, "test"), "a");
    ls_weights_close(&w);
}

/* Of a file that training wrote; numbers and texts beside tensors are in other_containers. */
static void the_dimensions_of_whisper_are_metadata(void **state)
{
    (void)state;
    char path[4096];
    int64_t v = 0;
    ls_weights *w = open_or_fail(test_data(path, "../../models/mini/whisper/tiny.pt"));
    assert_true(ls_weights_meta_int(w, "dims.n_audio_head", &v));
    assert_int_equal(v, 6);
    assert_true(ls_weights_meta_int(w, "dims.n_audio_state", &v));
    assert_int_equal(v, 96);
    assert_false(ls_weights_meta_int(w, "dims", &v));
    assert_null(ls_weights_meta_text(w, "dims.n_audio_head"));
    assert_non_null(ls_weights_find(w, "encoder.conv1.weight"));
    ls_weights_close(&w);
}

/* Containers that the collections lack, made by tests/data/weights/make.py. */
static void other_containers(void **state)
{
    (void)state;
    static const struct {
        const char *file, *why;
    } files[] = {
        {"plain.pt", NULL},
        {"protocol4_zip.pt", NULL},
        {"protocol5_legacy.pt", NULL},
        {"deflated_pickle.pt", NULL},
        {"zip64.pt", NULL},
        {"deflated_data.pt", "tensor base: member any name/data/0 is compressed"},
        {"big_endian.pt", "byte order \"big\""},
        {"short_member.pt", "member any name/data/0 has 47 bytes for 12 elements of float32"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[4096], name[256];
        ls_error err = {0};
        ls_weights *w;
        snprintf(name, sizeof name, "weights/%s", files[i].file);
        int ret = ls_weights_open(&w, test_data(path, name), &err);
        if (!files[i].why != !ret || (ret && !strstr(err.message, files[i].why)))
            fail_msg("%s: %d %s", files[i].file, ret, err.message);
        if (ret)
            continue;
        static const float want[3] = {0.125f, 0.625f, 1.125f};
        size_t n;
        float *v = read_or_fail(w, "column", &n);
        assert_int_equal(n, 3);
        assert_memory_equal(v, want, sizeof want);
        free(v);
        v = read_or_fail(w, "half", &n);
        assert_int_equal(n, 12);
        for (size_t j = 0; j < n; j++)
            assert_true(v[j] == (float)j / 8);
        free(v);
        int64_t step;
        assert_true(ls_weights_meta_int(w, "step", &step) && step == (int64_t)1 << 40);
        assert_string_equal(ls_weights_meta_text(w, "note"), "a text");
        ls_weights_close(&w);
    }
}

static void legacy_views_of_storages(void **state)
{
    (void)state;
    static const float a[] = {12, 13, 14, 15, 16};
    char path[4096];
    size_t n;
    ls_weights *w = open_or_fail(test_data(path, "weights/legacy_view.pt"));
    float *v = read_or_fail(w, "a", &n);
    assert_int_equal(n, 5);
    assert_memory_equal(v, a, sizeof a);
    free(v);
    v = read_or_fail(w, "b", &n);
    assert_int_equal(n, 2);
    assert_memory_equal(v, a + 3, 2 * sizeof *a);
    free(v);
    ls_weights_close(&w);
}

static void what_is_no_checkpoint_is_told_apart(void **state)
{
    (void)state;
    ls_weights *w;
    ls_error err = {0};
    assert_int_equal(ls_weights_open(&w, "/nowhere/x.pt", &err), LS_ENOENT);
    assert_non_null(strstr(err.message, "/nowhere/x.pt"));
    assert_int_equal(ls_weights_open(&w, "/tmp", &err), LS_EINVAL);
    assert_int_equal(ls_weights_open(&w, "/dev/zero", &err), LS_EINVAL);
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
    assert_int_equal(
        ls_weights_open_memory(&w, "p", (const uint8_t *)pointer, sizeof pointer - 1, &err),
        LS_EFORMAT);
    assert_non_null(strstr(err.message, "Git LFS"));
    assert_int_equal(ls_weights_open_memory(&w, "p", (const uint8_t *)"", 0, &err), LS_EFORMAT);
    ls_weights_close(&w);
}

/* A legacy file around an object pickle; where that names a storage, it is "0" of 12 floats. */
static size_t legacy(uint8_t *out, const void *object, size_t size)
{
    static const char head[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
                               "\x80\x02M\xe9\x03."
                               "\x80\x02}.";
    static const char tail[] = "\x80\x02](X\x01\0\0\0000e.\x0c\0\0\0\0\0\0\0";
    size_t n = sizeof head - 1, at = 0;
    memcpy(out, head, n);
    memcpy(out + n, object, size);
    n += size;
    while (at + 12 < size && memcmp((const char *)object + at, "FloatStorage", 12))
        at++;
    if (at + 12 >= size) {
        memcpy(out + n, "\x80\x02].", 4);
        return n + 4;
    }
    memcpy(out + n, tail, sizeof tail - 1);
    n += sizeof tail - 1;
    for (size_t i = 0; i < 12; i++)
        memcpy(out + n + 4 * i, &(float){(float)i}, 4);
    return n + 48;
}

#define STORAGE "(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0000X\x03\0\0\0cpuK\x0ctQ"
#define TENSOR(offset, shape, stride)                                                              \
    "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE offset "(" shape "t(" stride "t\x89"            \
    "ccollections\nOrderedDict\n)RtR"
#define DICT(value) "\x80\x02}X\x01\0\0\0a" value "s."

typedef struct hostile {
    const char *object;
    size_t size;
    const char *why; // NULL: it loads
} hostile;
#define HOSTILE(object, why)                                                                       \
    {                                                                                              \
        object, sizeof(object) - 1, why                                                            \
    }

static void hostile_pickles_are_refused_by_name_and_place(void **state)
{
    (void)state;
    static const hostile cases[] = {
        HOSTILE(DICT(TENSOR("K\0", "K\x03K\x04", "K\x04K\x01")), NULL),
        HOSTILE("\x80\x02" TENSOR("K\0", "K\x03K\x04", "K\x04K\x01") ".", NULL),
        HOSTILE(DICT(TENSOR("K\x0b", "K\x05", "K\0")), NULL),           // expanded
        HOSTILE(DICT(TENSOR("K\x63", "K\0K\x09", "K\x09K\x01")), NULL), // empty: reads nothing
        HOSTILE(DICT(TENSOR("K\x01", "K\x03K\x04", "K\x04K\x01")),
                "tensor a: [3, 4] from element 1 of storage 0 reaches outside its 12 elements"),
        HOSTILE(DICT(TENSOR("K\x0c", "", "")), "reaches outside"),
        HOSTILE(DICT(TENSOR("K\0", "K\x02", "J\xff\xff\xff\xff")), "invalid offset"),
        HOSTILE(DICT(TENSOR("J\xff\xff\xff\xff", "K\x02", "K\x01")), "invalid offset"),
        HOSTILE(DICT(TENSOR("K\0", "J\xff\xff\xff\xff", "K\x01")), "invalid offset"),
        HOSTILE(DICT(TENSOR("K\0", "K\x02", "K\x01K\x01")), "malformed tensor"),
        HOSTILE(DICT(TENSOR("K\0", "K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01",
                            "K\0K\0K\0K\0K\0K\0K\0K\0K\0")),
                "9 dimensions"),
        HOSTILE(
            DICT(TENSOR("K\0", "\x8a\x08\0\0\0\0\0\0\0\x40\x8a\x08\0\0\0\0\0\0\0\x40", "K\0K\0")),
            "too many elements"),
        HOSTILE(DICT(TENSOR("K\0", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
                            "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f")),
                "reaches outside"),
        HOSTILE("\x80\x02" STORAGE ".", "bare storage"),
        HOSTILE("\x80\x02"
                "cos\nsystem\n(X\x02\0\0\0idtR.",
                "os.system at byte 2 is refused"),
        HOSTILE("\x80\x04\x8c\x05posix\x8c\x06system\x93.", "posix.system at byte 17"),
        HOSTILE(DICT("ctorch\nFloatStorage\n)R"), "call of torch.FloatStorage"),
        HOSTILE(DICT("ctorch.storage\n_load_from_bytes\n"), "torch.storage._load_from_bytes"),
        HOSTILE("\x80\x02(ios\nsystem\n.", "opcode 0x69 at byte 3"), // INST
        HOSTILE("\x80\x02)\x81.", "opcode 0x81"),                    // NEWOBJ
        HOSTILE("\x80\x02I1\n.", "opcode 0x49"),                     // INT of protocol 0
        HOSTILE("\x80\x02\x82\x01.", "opcode 0x82"),                 // EXT1
        HOSTILE("\x80\x06N.", "protocol"),
        HOSTILE("\x80\x02.", "one value"),
        HOSTILE("\x80\x02NN.", "one value"),
        HOSTILE("\x80\x02(.", "one value"),
        HOSTILE("\x80\x02t.", "no mark at byte 2"),
        HOSTILE("\x80\x02]a.", "not a list or dictionary"),
        HOSTILE("\x80\x02\x85.", "missing"),
        HOSTILE("\x80\x02}(Nu.", "not a list or dictionary"), // a key without a value
        HOSTILE("\x80\x02NNa.", "not a list or dictionary"),
        HOSTILE("\x80\x02h\x01.", "never set"),
        HOSTILE("\x80\x02Nr\xff\xff\xff\xff.", "invalid memo"),
        HOSTILE("\x80\x02q\0.", "invalid memo"),
        HOSTILE("\x80\x02X\xff\xff\xff\xff.", "past the end"),
        HOSTILE("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "past the end"),
        HOSTILE("\x80\x02NR.", "unknown global"),
        HOSTILE("\x80\x02NNb.", "not a dictionary"),
        HOSTILE("\x80\x02NQ.", "not to a storage"),
        HOSTILE("\x80\x02(NNNNNtQ.", "malformed reference"),
        HOSTILE("\x80\x02]q\0h\0a.", "nested deeper than 64 levels"), // holds itself
        HOSTILE("\x80\x02}q\0X\x01\0\0\0ah\0s.", "nested deeper"),
        HOSTILE("\x80\x02}NNs.", "neither text nor integer"),
        HOSTILE("\x80\x02}X\0\0\0\0K\x01s.", "is empty"),
        HOSTILE("\x80\x02}X\x02\0\0\0a\0K\x01s.", "zero byte"),
        HOSTILE("\x80\x02}(X\x01\0\0\0a" TENSOR("K\0", "", "") "X\x01\0\0\0a" TENSOR("K\0", "",
                                                                                     "") "u.",
                "a occurs twice"),
        HOSTILE("\x80\x02}X\x01\0\0\0\xff" TENSOR("K\0", "", "") "s.", "is not text"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t file[2048];
        ls_weights *w;
        ls_error err = {0};
        size_t size = legacy(file, cases[i].object, cases[i].size);
        int ret = ls_weights_open_memory(&w, "case", file, size, &err);
        if (!cases[i].why != !ret || (ret && !strstr(err.message, cases[i].why)))
            fail_msg("case %zu: %d %s", i, ret, err.message);
        if (!ret)
            assert_int_equal(ls_weights_count(w), 1);
        ls_weights_close(&w);
    }
}

/* Each of forty lists holds the one before twice: 2^40 values in 400 bytes. */
static void a_pickle_that_unfolds_without_end_is_stopped(void **state)
{
    (void)state;
    uint8_t object[1024], file[2048];
    size_t n = 3;
    memcpy(object, "\x80\x02(", 3);
    for (uint8_t i = 0; i < 40; i++) {
        const uint8_t list[] = {']', 'q', i, '(', 'h', i - (i > 0), 'h', i - (i > 0), 'e'};
        memcpy(object + n, list, i ? sizeof list : 3);
        n += i ? sizeof list : 3;
    }
    memcpy(object + n, "t.", 2);
    ls_weights *w;
    ls_error err = {0};
    size_t size = legacy(file, object, n + 2);
    assert_int_equal(ls_weights_open_memory(&w, "bomb", file, size, &err), LS_EFORMAT);
    if (!strstr(err.message, "more than 262144 values"))
        fail_msg("%s", err.message);
}

static size_t safetensors(uint8_t *out, const char *header, size_t data)
{
    size_t n = strlen(header);
    memset(out, 0, 8 + n + data);
    out[0] = (uint8_t)n;
    out[1] = (uint8_t)(n >> 8);
    memcpy(out + 8, header, n);
    return 8 + n + data;
}

static void malformed_safetensors_are_refused(void **state)
{
    (void)state;
#define T(dtype, shape, from, to)                                                                  \
    "{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #from "," #to "]}"
    static const struct {
        const char *header, *why;
    } cases[] = {
        {"{\"a\":" T("F32", "2", 0, 8) ",\"b\":" T("F32", "2", 8, 16) "}", NULL},
        {"{\"b\":" T("F32", "2", 8, 16) ",\"e\":" T("I8", "0,7", 8, 8) ",\"a\":" T("F32", "2", 0,
                                                                                   8) "}  ",
         NULL},
        {"{\"a\":" T("F32", "2", 0, 8) ",\"a\":" T("F32", "2", 8, 16) "}", "duplicate"},
        {"{\"a\":" T("F32", "2", 0, 8) ",\"b\":" T("F32", "2", 4, 12) "}", "inside other data"},
        {"{\"a\":" T("F32", "2", 0, 8) ",\"b\":" T("F32", "1", 12, 16) "}", "a hole from byte 8"},
        {"{\"a\":" T("F32", "2", 0, 8) "}", "8 bytes after the last tensor"},
        {"{\"a\":" T("F32", "5", 0, 20) "}", "outside the file's 16 bytes of data"},
        {"{\"a\":" T("F32", "4", 16, 0) "}", "outside"},
        {"{\"a\":" T("F32", "3", 0, 16) "}", "F32 [3] needs 12 bytes, its data_offsets hold 16"},
        {"{\"a\":" T("F8_E4M3", "16", 0, 16) "}", "tensor a: dtype F8_E4M3 is not supported"},
        {"{\"a\":" T("F32", "1,1,1,1,1,1,1,1,4", 0, 16) "}", "9 dimensions"},
        {"{\"a\":" T("F32", "4611686018427387904,4,4", 0, 16) "}", "too many elements"},
        {"{\"a\":" T("F32", "-4", 0, 16) "}", "dimension 0"},
        {"{\"a\":" T("F32", "4.0", 0, 16) "}", "dimension 0"},
        {"{\"a\":" T("F32", "4", -1, 16) "}", "no valid"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", "no valid dtype, shape and data_offsets"},
        {"{\"a\":[]}", "no valid"},
        {"{\"__metadata__\":{\"x\":1},\"a\":" T("F32", "4", 0, 16) "}", "__metadata__"},
        {"{\"__metadata__\":7,\"a\":" T("F32", "4", 0, 16) "}", "__metadata__"},
        {"{\"a\":", "header"},
        {"{}", "16 bytes after the last tensor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t file[2048];
        ls_weights *w;
        ls_error err = {0};
        size_t size = safetensors(file, cases[i].header, 16);
        int ret = ls_weights_open_memory(&w, "case", file, size, &err);
        if (!cases[i].why != !ret || (ret && !strstr(err.message, cases[i].why)))
            fail_msg("case %zu: %d %s", i, ret, err.message);
        ls_weights_close(&w);
    }
    ls_weights *w;
    ls_error err = {0};
    assert_int_equal(
        ls_weights_open_memory(&w, "x", (const uint8_t *)"\xff\xff\xff\xff\0\0\0\0{}", 10, &err),
        LS_EFORMAT);
    assert_non_null(strstr(err.message, "header of 4294967295 bytes, at most 8000000"));
    assert_int_equal(
        ls_weights_open_memory(&w, "x", (const uint8_t *)"\xff\0\0\0\0\0\0\0{}", 10, &err),
        LS_EFORMAT);
    assert_non_null(strstr(err.message, "truncated"));
}

/* Opens and reads everything of a moderate size; true when it opened. */
static bool try_all(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    ls_weights *w;
    ls_error err = {0};
    int ret = ls_weights_open_memory(&w, "x", copy, size, &err);
    assert_true(ret ? !w && err.code == ret && *err.message : w != NULL);
    for (size_t i = 0; !ret && i < ls_weights_count(w); i++) {
        const ls_weight_info *info = ls_weights_at(w, i);
        if (info->count > 100000)
            continue;
        void *dst = ls_malloc_array(info->count, 8);
        assert_int_equal(ls_weights_read(w, info, dst, NULL), 0);
        assert_int_equal(ls_weights_read_f32(w, info, dst, NULL), 0);
        free(dst);
    }
    ls_weights_close(&w);
    free(copy);
    return !ret;
}

static const char *const victims[] = {
    "weights/plain.pt",           "weights/protocol5_legacy.pt", "weights/zip64.pt",
    "weights/deflated_pickle.pt", "weights/legacy_view.pt",
};

static size_t small_safetensors(uint8_t *out)
{
    return safetensors(out,
                       "{\"__metadata__\":{\"k\":\"v\"},\"a\":" T("F32", "2,3", 0, 24) ",\"b\":" T(
                           "F16", "", 24, 26) ",\"c\":" T("BOOL", "0,4", 26, 26) "}",
                       26);
}

static void no_truncated_file_opens(void **state)
{
    (void)state;
    for (size_t f = 0; f <= sizeof victims / sizeof *victims; f++) {
        char path[4096];
        uint8_t made[1024], *data = made;
        size_t size;
        if (f < sizeof victims / sizeof *victims)
            data = test_read(test_data(path, victims[f]), &size);
        else
            size = small_safetensors(made);
        assert_true(try_all(data, size));
        for (size_t n = 0; n < size; n++)
            if (try_all(data, n))
                fail_msg("file %zu: %zu of %zu bytes open", f, n, size);
        if (data != made)
            free(data);
    }
}

static uint32_t next(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    return *seed ^= *seed << 5;
}

static void damaged_files_never_crash(void **state)
{
    (void)state;
    uint32_t seed = 2463534242;
    size_t opened = 0, rounds = 3000;
    for (size_t f = 0; f <= sizeof victims / sizeof *victims; f++) {
        char path[4096];
        uint8_t made[1024], *data = made;
        size_t size;
        if (f < sizeof victims / sizeof *victims)
            data = test_read(test_data(path, victims[f]), &size);
        else
            size = small_safetensors(made);
        uint8_t *hurt = malloc(size);
        for (size_t i = 0; i < rounds; i++) {
            memcpy(hurt, data, size);
            for (uint32_t k = next(&seed) % 4 + 1; k--;) {
                uint8_t *b = &hurt[next(&seed) % size];
                *b = next(&seed) % 2 ? (uint8_t)next(&seed) : *b ^ (uint8_t)(1 << next(&seed) % 8);
            }
            opened += try_all(hurt, size);
        }
        free(hurt);
        if (data != made)
            free(data);
    }
    assert_true(opened > 0 && opened < 6 * rounds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sample_reads_as_pytorch_reads_it_or_says_why_not),
        cmocka_unit_test(views_read_as_their_contiguous_copies),
        cmocka_unit_test(numbers_and_texts_become_metadata),
        cmocka_unit_test(the_dimensions_of_whisper_are_metadata),
        cmocka_unit_test(other_containers),
        cmocka_unit_test(legacy_views_of_storages),
        cmocka_unit_test(what_is_no_checkpoint_is_told_apart),
        cmocka_unit_test(hostile_pickles_are_refused_by_name_and_place),
        cmocka_unit_test(a_pickle_that_unfolds_without_end_is_stopped),
        cmocka_unit_test(malformed_safetensors_are_refused),
        cmocka_unit_test(no_truncated_file_opens),
        cmocka_unit_test(damaged_files_never_crash),
    };
    return cmocka_run_group_tests_name("weights", tests, NULL, NULL);
}
