/* Attention from the node to the results, launched on the emulator, against the formula. */
#include "test.h"
#include "emulator.h"
#include "backend/gpu/gpu.h"
#include "backend/cuda/kernels/dialect.h"
#include "base/alloc.h"
#include "base/error.h"

#include <time.h>

/* Halves have 11 bits, and the powers are halves; an error of either kind is 2^-12.5 on average. */
#define TOLERANCE 4e-4
#define FAULTY 1e-2
#define POISON 0x7e55
#define MARGIN 64 /* elements behind the results that nobody may write */

/* Those of attention: others are NULL. */
#define LS_X(name, threads) void __attribute__((weak)) ls_emulated_##name(const void *);
LS_GPU_KERNELS(LS_X)
#undef LS_X

static const struct {
    const char *name;
    void (*run)(const void *);
    uint32_t threads;
} kernels[] = {
#define LS_X(name, threads) {#name, ls_emulated_##name, threads},
    LS_GPU_KERNELS(LS_X)
#undef LS_X
};

/* What attention.c needs of a device. */
struct gpu_device {
    emulator_options options;
    gpu_function used;
};

int ls_gpu_launch(gpu_device *dev, gpu_function f, const size_t grid[3], size_t shared,
                  const void *params, size_t size, ls_error *err)
{
    char error[256] = "";
    const uint32_t blocks[3] = {(uint32_t)grid[0], (uint32_t)grid[1], (uint32_t)grid[2]};
    (void)size;
    dev->used = f;
    dev->options.name = kernels[f].name;
    assert_true(shared <= 64 * 1024); /* what the least of the cards has */
    if (!emulator_launch(&dev->options, kernels[f].run, params, blocks, kernels[f].threads, shared,
                         error, sizeof error))
        return 0;
    return ls_fail(err, LS_EINVAL, "%s", error);
}

ls_kernel *ls_gpu_kernel_new(const ls_node *node, size_t size,
                             int (*enqueue)(gpu_device *, const ls_kernel *, const gpu_places *,
                                            ls_error *))
{
    ls_kernel *k = calloc(1, size);
    assert_non_null(k);
    k->enqueue = enqueue;
    k->op = node->op;
    return k;
}

typedef struct shape {
    size_t images, tokens, keys, heads, width, frames; /* frames 0: tokens attend to keys */
    float most;                                        /* of the scores, about */
} shape;

typedef struct attention {
    shape s;
    float scale;
    uint16_t *q, *k, *v, *out;
    double *right;
} attention;

static uint64_t state;

static float drawn(void)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (float)(state >> 40) * 0x1p-23f - 1;
}

static uint16_t *draw(size_t count, float most)
{
    uint16_t *x = malloc(count * sizeof *x); /* to the byte, for the sanitizers */
    assert_non_null(x);
    for (size_t i = 0; i < count; i++)
        x[i] = to_half(drawn() * most);
    return x;
}

/* Row i of sequence n, of `length` rows. */
static size_t row_of(const shape *s, size_t n, size_t i, size_t length)
{
    return s->frames ? (n / s->tokens * s->frames + i) * s->tokens + n % s->tokens : n * length + i;
}

static void attend_row(attention *a, size_t n, size_t head, size_t i)
{
    const shape *s = &a->s;
    const size_t c = s->heads * s->width, count = s->frames ? s->frames : s->keys;
    const size_t from = row_of(s, n, i, s->tokens) * c + head * s->width;
    double *p = malloc(count * sizeof *p), most = -INFINITY, sum = 0;
    for (size_t j = 0; j < count; j++) {
        const uint16_t *k = a->k + row_of(s, n, j, s->keys) * c + head * s->width;
        p[j] = 0;
        for (size_t e = 0; e < s->width; e++)
            p[j] += (double)from_half(a->q[from + e]) * (double)from_half(k[e]);
        p[j] *= (double)a->scale;
        most = fmax(most, p[j]);
    }
    for (size_t e = 0; e < s->width; e++)
        a->right[from + e] = 0;
    for (size_t j = 0; j < count; j++) {
        const uint16_t *v = a->v + row_of(s, n, j, s->keys) * c + head * s->width;
        p[j] = exp(p[j] - most);
        sum += p[j];
        for (size_t e = 0; e < s->width; e++)
            a->right[from + e] += p[j] * (double)from_half(v[e]);
    }
    for (size_t e = 0; e < s->width; e++)
        a->right[from + e] /= sum;
    free(p);
}

static void attend(attention *a)
{
    const shape *s = &a->s;
    const size_t sequences = s->frames ? s->images / s->frames * s->tokens : s->images;
    for (size_t n = 0; n < sequences; n++)
        for (size_t head = 0; head < s->heads; head++)
            for (size_t i = 0; i < (s->frames ? s->frames : s->tokens); i++)
                attend_row(a, n, head, i);
}

static attention new_attention(shape s)
{
    const size_t c = s.heads * s.width, count = s.images * s.tokens * c;
    state = 88172645463325252u;
    attention a = {.s = s, .scale = 1 / sqrtf((float)s.width)};
    /* q k is a sum of `width` products of variance 1/9 most^2 */
    const float most = s.most / 2;
    a.q = draw(count, most);
    a.k = draw(s.images * s.keys * c, 1);
    a.v = draw(s.images * s.keys * c, 1);
    a.out = malloc((count + MARGIN) * sizeof *a.out);
    a.right = malloc(count * sizeof *a.right);
    attend(&a);
    return a;
}

static void free_attention(attention *a)
{
    free(a->q);
    free(a->k);
    free(a->v);
    free(a->out);
    free(a->right);
}

/* Whether a value was not finite. */
static bool run(attention *a, gpu_device *dev, ls_error *err)
{
    const shape *s = &a->s;
    const size_t c = s->heads * s->width, count = s->images * s->tokens * c;
    ls_tensor q = {.dtype = LS_F16, .ndim = 3, .shape = {s->images, s->tokens, c}};
    ls_tensor k = {.dtype = LS_F16, .ndim = 3, .shape = {s->images, s->keys, c}};
    ls_node node = {.op = LS_OP_ATTENTION, .in = {&q, &k, &k}, .out = &q};
    node.u.attention.heads = s->heads;
    node.u.attention.frames = s->frames;
    node.u.attention.scale = a->scale;
    uint32_t bad = 0;
    const gpu_places at = {.in = {(uintptr_t)a->q, (uintptr_t)a->k, (uintptr_t)a->v},
                           .out = (uintptr_t)a->out,
                           .bad = (uintptr_t)&bad};
    for (size_t i = 0; i < count + MARGIN; i++)
        a->out[i] = POISON;
    size_t scratch = 1;
    ls_kernel *kernel = NULL;
    assert_int_equal(ls_gpu_compile_attention(NULL, &node, &kernel, &scratch, err), 0);
    assert_int_equal(scratch, 0);
    kernel->enqueue(dev, kernel, &at, err);
    free(kernel);
    for (size_t i = 0; i < MARGIN; i++)
        assert_int_equal(a->out[count + i], POISON);
    return bad;
}

/* Relative to the results; NaN where one is. */
static double error_of(const attention *a)
{
    double e = 0, sum = 0;
    for (size_t i = 0; i < a->s.images * a->s.tokens * a->s.heads * a->s.width; i++) {
        const double d = (double)from_half(a->out[i]) - a->right[i];
        e += d * d;
        sum += a->right[i] * a->right[i];
    }
    return sqrt(e / sum);
}

static void check(shape s, gpu_function f)
{
    attention a = new_attention(s);
    for (uint64_t seed = 0; seed < 3; seed++) {
        gpu_device dev = {.options = {.seed = seed, .threads = 2}};
        ls_error err = {0};
        const bool bad = run(&a, &dev, &err);
        const double e = error_of(&a);
        assert_int_equal(dev.used, f);
        if (err.code || bad || !(e < TOLERANCE))
            fail_msg("%s, %zu x %zu x %zu, %zu heads of %zu, %zu frames, seed %d: %s %.2e%s",
                     kernels[f].name, s.images, s.tokens, s.keys, s.heads, s.width, s.frames,
                     (int)seed, err.message, e, bad ? ", not finite" : "");
        if (getenv("LS_VERBOSE") && !seed)
            print_message("%s, %zu tokens, %zu keys, width %zu: %.2e\n", kernels[f].name, s.tokens,
                          s.keys, s.width, e);
    }
    free_attention(&a);
}

static void test_widths(void **unused)
{
    (void)unused;
    check((shape){2, 130, 130, 2, 40, 0, 1}, GPU_attention_40);
    check((shape){1, 129, 65, 1, 16, 0, 1}, GPU_attention_16);
    check((shape){1, 63, 130, 2, 64, 0, 1}, GPU_attention_64);
    check((shape){1, 130, 63, 2, 80, 0, 1}, GPU_attention_80);
    check((shape){2, 65, 65, 2, 160, 0, 1}, GPU_attention_160);
    check((shape){2, 70, 70, 1, 512, 0, 1}, GPU_attention_wide);
    /* between those that kernels are made for */
    check((shape){1, 33, 50, 3, 8, 0, 1}, GPU_attention_16);
    check((shape){1, 65, 7, 2, 24, 0, 1}, GPU_attention_40);
    check((shape){1, 50, 1, 2, 48, 0, 1}, GPU_attention_64);
    check((shape){1, 1, 65, 2, 72, 0, 1}, GPU_attention_80);
    check((shape){1, 70, 50, 2, 88, 0, 1}, GPU_attention_160);
    check((shape){1, 65, 17, 2, 168, 0, 1}, GPU_attention_wide);
    check((shape){1, 3, 16, 1, 384, 0, 1}, GPU_attention_wide);
}

/* Rows that neither begin nor end at 16 bytes. */
static void test_odd_widths(void **unused)
{
    (void)unused;
    check((shape){2, 64, 64, 8, 4, 0, 1}, GPU_attention_16);
    check((shape){1, 33, 50, 8, 12, 0, 1}, GPU_attention_16);
    check((shape){1, 33, 50, 3, 1, 0, 1}, GPU_attention_16);
    check((shape){2, 37, 50, 3, 39, 0, 1}, GPU_attention_odd);
    check((shape){1, 20, 50, 1, 159, 0, 1}, GPU_attention_odd);
    check((shape){5, 3, 3, 3, 13, 5, 1}, GPU_attention_short_16);
}

static void test_cross(void **unused)
{
    (void)unused;
    static const size_t tokens[] = {1, 7, 63, 130};
    for (size_t i = 0; i < LS_COUNT(tokens); i++) {
        check((shape){2, tokens[i], 50, 2, 40, 0, 1}, GPU_attention_40);
        check((shape){1, tokens[i], 50, 1, 80, 0, 1}, GPU_attention_80);
        check((shape){1, tokens[i], 50, 1, 160, 0, 1}, GPU_attention_160);
    }
}

static void test_along_frames(void **unused)
{
    (void)unused;
    static const size_t frames[] = {1, 5, 16, 17, 32};
    static const size_t widths[] = {4, 8, 12, 40, 80, 160};
    for (size_t i = 0; i < LS_COUNT(frames); i++)
        for (size_t j = 0; j < LS_COUNT(widths); j++)
            check((shape){2 * frames[i], 3, 3, 2, widths[j], frames[i], 1},
                  frames[i] > 16 ? GPU_attention_short_32 : GPU_attention_short_16);
    check((shape){2 * 33, 3, 3, 2, 40, 33, 1}, GPU_attention_40);
    check((shape){16, 2, 2, 8, 512, 16, 1}, GPU_attention_short_16);
}

/* A few tokens attend to themselves like frames. */
static void test_short(void **unused)
{
    (void)unused;
    check((shape){3, 16, 16, 8, 160, 0, 1}, GPU_attention_short_16);
    check((shape){1, 20, 20, 1, 64, 0, 1}, GPU_attention_short_32);
}

/* All is one key, and the keys before it count for nothing. */
static void test_large_scores(void **unused)
{
    (void)unused;
    static const float most[] = {0, 20, 200, 600};
    for (size_t i = 0; i < LS_COUNT(most); i++) {
        check((shape){1, 65, 130, 2, 40, 0, most[i]}, GPU_attention_40);
        check((shape){1, 65, 130, 2, 80, 0, most[i]}, GPU_attention_80);
        check((shape){1, 65, 130, 2, 160, 0, most[i]}, GPU_attention_160);
        check((shape){1, 65, 50, 1, 512, 0, most[i]}, GPU_attention_wide);
        check((shape){16, 3, 3, 2, 40, 16, most[i]}, GPU_attention_short_16);
        check((shape){1, 65, 1, 2, 40, 0, most[i]}, GPU_attention_40); /* half of them negative */
    }
}

/* An image among others has the results of one alone. */
static void test_number_of_images(void **unused)
{
    (void)unused;
    static const shape shapes[] = {{3, 70, 50, 2, 40, 0, 1},
                                   {3, 70, 70, 1, 160, 0, 1},
                                   {3, 70, 20, 1, 512, 0, 1},
                                   {3, 9, 9, 3, 12, 0, 1}};
    for (size_t i = 0; i < LS_COUNT(shapes); i++) {
        attention all = new_attention(shapes[i]);
        const size_t c = all.s.heads * all.s.width, count = all.s.tokens * c;
        gpu_device dev = {.options = {.seed = 1}};
        ls_error err = {0};
        assert_false(run(&all, &dev, &err));
        for (size_t n = 0; n < all.s.images; n++) {
            attention one = all;
            one.s.images = 1;
            one.q += n * count;
            one.k += n * all.s.keys * c;
            one.v += n * all.s.keys * c;
            one.out = malloc((count + MARGIN) * sizeof *one.out);
            assert_false(run(&one, &dev, &err));
            assert_int_equal(err.code, 0);
            assert_memory_equal(one.out, all.out + n * count, count * sizeof *one.out);
            free(one.out);
        }
        free_attention(&all);
    }
}

static const shape one_of_each[] = {
    {1, 129, 150, 1, 40, 0, 1}, {1, 129, 150, 1, 16, 0, 1}, {1, 129, 150, 1, 64, 0, 1},
    {1, 129, 150, 1, 80, 0, 1}, {1, 65, 100, 1, 160, 0, 1}, {1, 65, 100, 1, 512, 0, 1},
    {16, 3, 3, 2, 40, 16, 1},   {32, 3, 3, 2, 40, 32, 1},
};

/* So large that their multiples are not exact. */
static void test_equal_scores(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < LS_COUNT(one_of_each); i++) {
        attention a = new_attention(one_of_each[i]);
        const size_t c = a.s.heads * a.s.width;
        for (size_t j = 0; j < a.s.images * a.s.tokens * c; j++)
            a.q[j] = to_half(7.5f * 1024);
        for (size_t j = 0; j < a.s.images * a.s.keys * c; j++)
            a.k[j] = to_half(8192);
        attend(&a);
        gpu_device dev = {.options = {.seed = 1}};
        ls_error err = {0};
        assert_false(run(&a, &dev, &err));
        assert_int_equal(err.code, 0);
        assert_true(error_of(&a) < TOLERANCE);
        free_attention(&a);
    }
}

static void test_not_finite(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < LS_COUNT(one_of_each); i++)
        for (int input = 0; input < 3; input++) {
            attention a = new_attention(one_of_each[i]);
            gpu_device dev = {.options = {.seed = 1}};
            ls_error err = {0};
            (input == 0 ? a.q : input == 1 ? a.k : a.v)[5] = 0x7c00;
            assert_true(run(&a, &dev, &err));
            assert_int_equal(err.code, 0);
            free_attention(&a);
        }
}

static bool is_noticed(attention *a, emulator_options o)
{
    for (o.seed = 0; o.seed < 3; o.seed++) {
        gpu_device dev = {.options = o};
        ls_error err = {0};
        if (run(a, &dev, &err) || err.code || !(error_of(a) < FAULTY))
            return true;
    }
    return false;
}

/* Short sequences need no shared memory; width 16 is copied by element, at once. */
static bool can_have(const shape *s, const emulator_options *fault)
{
    switch (fault->mutation) {
    case EMULATOR_EARLY_WAIT:
        return !s->frames && s->width != 16;
    case EMULATOR_NO_BARRIER:
        return !s->frames && fault->barrier < (s->width == 512 ? 7 : 5);
    case EMULATOR_NO_SYNC_WARP:
        return !s->frames && s->width != 512;
    case EMULATOR_WRONG_ROW:
        return !s->frames;
    default:
        return true;
    }
}

static void test_mutations(void **unused)
{
    (void)unused;
    static const emulator_mutation mutations[] = {EMULATOR_SWAPPED, EMULATOR_WRONG_ROW,
                                                  EMULATOR_EARLY_WAIT, EMULATOR_NO_SYNC_WARP,
                                                  EMULATOR_NO_BARRIER};
    for (size_t i = 0; i < LS_COUNT(one_of_each); i++) {
        attention a = new_attention(one_of_each[i]);
        for (size_t j = 0; j < LS_COUNT(mutations); j++)
            for (unsigned barrier = 0; barrier < (mutations[j] == EMULATOR_NO_BARRIER ? 7 : 1);
                 barrier++) {
                const emulator_options o = {.mutation = mutations[j], .barrier = barrier};
                if (can_have(&a.s, &o) && !is_noticed(&a, o))
                    fail_msg("width %zu, %zu frames: fault %zu, barrier %u, does not show",
                             a.s.width, a.s.frames, j, barrier);
            }
        free_attention(&a);
    }
}

static void test_refused(void **unused)
{
    (void)unused;
    static const struct {
        ls_dtype dtype;
        size_t width;
        float scale;
    } cases[] = {
        {LS_F32, 40, 1}, {LS_F16, 520, 1}, {LS_F16, 161, 1}, {LS_F16, 40, 0}, {LS_F16, 40, -1}};
    for (size_t i = 0; i < LS_COUNT(cases); i++) {
        ls_tensor q = {.dtype = cases[i].dtype, .ndim = 3, .shape = {1, 33, cases[i].width}};
        ls_node node = {.op = LS_OP_ATTENTION, .in = {&q, &q, &q}, .out = &q};
        node.u.attention.heads = 1;
        node.u.attention.scale = cases[i].scale;
        size_t scratch;
        ls_kernel *k;
        assert_int_equal(ls_gpu_compile_attention(NULL, &node, &k, &scratch, NULL),
                         LS_EUNSUPPORTED);
        assert_null(k);
    }
}

static void test_speed(void **unused)
{
    (void)unused;
    static const shape shapes[] = {{1, 256, 256, 1, 40, 0, 1},
                                   {1, 256, 256, 1, 80, 0, 1},
                                   {1, 128, 128, 1, 160, 0, 1},
                                   {1, 128, 128, 1, 512, 0, 1},
                                   {16, 32, 32, 1, 80, 16, 1}};
    for (size_t i = 0; i < LS_COUNT(shapes); i++) {
        const shape *s = &shapes[i];
        attention a = new_attention(*s);
        gpu_device dev = {.options = {.seed = 1}};
        ls_error err = {0};
        const clock_t from = clock();
        assert_false(run(&a, &dev, &err));
        const double seconds = (double)(clock() - from) / CLOCKS_PER_SEC;
        const double keys = (double)(s->frames ? s->frames : s->keys);
        print_message("%s: %.2f GFLOP/s of one core\n", kernels[dev.used].name,
                      4e-9 * (double)(s->images * s->tokens * s->width) * keys / seconds);
        free_attention(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_odd_widths),
        cmocka_unit_test(test_cross),
        cmocka_unit_test(test_along_frames),
        cmocka_unit_test(test_short),
        cmocka_unit_test(test_large_scores),
        cmocka_unit_test(test_number_of_images),
        cmocka_unit_test(test_equal_scores),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
