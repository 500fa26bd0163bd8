#include "test.h"
#include "emulator.h"
#include "gemm.h"
#include "backend/cuda/kernels/dialect.h"

#include <time.h>

void ls_emulated_test_gemm(const void *);

static uint64_t state = 88172645463325252u;

static float drawn(void)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (float)(state >> 40) * 0x1p-23f - 1;
}

typedef struct gemm {
    gemm_params p;
    uint32_t grid[3];
    double *right; /* [rows][columns] */
} gemm;

static gemm new_gemm(uint32_t rows, uint32_t columns, uint32_t depth)
{
    uint16_t *x = malloc(2 * rows * depth), *w = malloc(2 * columns * depth);
    float *bias = malloc(columns * sizeof *bias);
    gemm g = {{x, w, bias, malloc(2 * rows * columns), rows, columns, depth},
              {(rows + GEMM_ROWS - 1) / GEMM_ROWS, (columns + GEMM_COLUMNS - 1) / GEMM_COLUMNS, 1},
              malloc(rows * columns * sizeof *g.right)};
    for (uint32_t i = 0; i < rows * depth; i++)
        x[i] = to_half(drawn());
    for (uint32_t i = 0; i < columns * depth; i++)
        w[i] = to_half(drawn() / sqrtf((float)depth));
    for (uint32_t i = 0; i < columns; i++)
        bias[i] = drawn();
    for (uint32_t i = 0; i < rows * columns; i++) {
        g.right[i] = (double)bias[i % columns];
        for (uint32_t k = 0; k < depth; k++)
            g.right[i] += (double)from_half(x[i / columns * depth + k]) *
                          (double)from_half(w[i % columns * depth + k]);
    }
    return g;
}

static void free_gemm(gemm *g)
{
    free((void *)g->p.x);
    free((void *)g->p.w);
    free((void *)g->p.bias);
    free(g->p.y);
    free(g->right);
}

static void launch_gemm(gemm *g, const emulator_options *o)
{
    char error[256] = "";
    memset(g->p.y, 0xff, 2 * g->p.rows * g->p.columns);
    if (emulator_launch(o, ls_emulated_test_gemm, &g->p, g->grid, GEMM_THREADS, GEMM_SHARED, error,
                        sizeof error))
        fail_msg("%s", error);
}

/* Relative; NaN where a result is. */
static double gemm_error(const gemm *g)
{
    double e = 0, sum = 0;
    for (uint32_t i = 0; i < g->p.rows * g->p.columns; i++) {
        const double d = (double)from_half(g->p.y[i]) - g->right[i];
        e += d * d;
        sum += g->right[i] * g->right[i];
    }
    return sqrt(e / sum);
}

static void test_product(void **unused)
{
    (void)unused;
    static const uint32_t shapes[][3] = {{197, 136, 144}, {128, 128, 8}, {1, 8, 328}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        gemm g = new_gemm(shapes[i][0], shapes[i][1], shapes[i][2]);
        for (uint64_t seed = 0; seed < 3; seed++) {
            launch_gemm(&g, &(emulator_options){.seed = seed, .threads = 2});
            assert_true(gemm_error(&g) < 3e-4);
        }
        free_gemm(&g);
    }
}

static void test_mutations(void **unused)
{
    (void)unused;
    static const emulator_options faults[] = {{.mutation = EMULATOR_NO_BARRIER, .barrier = 0},
                                              {.mutation = EMULATOR_NO_BARRIER, .barrier = 2},
                                              {.mutation = EMULATOR_EARLY_WAIT},
                                              {.mutation = EMULATOR_WRONG_ROW},
                                              {.mutation = EMULATOR_SWAPPED}};
    gemm g = new_gemm(129, 128, 144);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            emulator_options o = faults[i];
            o.seed = seed;
            launch_gemm(&g, &o);
            if (gemm_error(&g) < 1e-2)
                fail_msg("fault %zu, seed %d, does not show", i, (int)seed);
        }
    free_gemm(&g);
}

static void test_speed(void **unused)
{
    (void)unused;
    gemm g = new_gemm(512, 512, 1024);
    const clock_t from = clock();
    launch_gemm(&g, &(emulator_options){.seed = 1});
    const double seconds = (double)(clock() - from) / CLOCKS_PER_SEC;
    assert_true(gemm_error(&g) < 3e-4);
    print_message("%.1f GFLOP/s of one core\n", 2e-9 * 512 * 512 * 1024 / seconds);
    free_gemm(&g);
}

/* Every half is a float and back; floats between two halves go to the nearer, ties to even. */
static void test_halves(void **unused)
{
    (void)unused;
    for (uint32_t h = 0; h < 0x10000; h++) {
        const float x = from_half((uint16_t)h);
        if ((h & 0x7fff) > 0x7c00) {
            assert_true(isnan(x) && (to_half(x) & 0x7fff) > 0x7c00);
            continue;
        }
        assert_int_equal(to_half(x), h);
        if ((h & 0x7fff) >= 0x7bff)
            continue;
        const float middle = (x + from_half((uint16_t)(h + 1))) / 2;
        assert_int_equal(to_half(middle), h + h % 2);
        assert_int_equal(to_half(nextafterf(middle, x)), h);
        assert_int_equal(to_half(nextafterf(middle, 2 * middle)), h + 1);
    }
    assert_int_equal(to_half(1), 0x3c00);
    assert_int_equal(to_half(-65519.99f), 0xfbff);
    assert_int_equal(to_half(65520), 0x7c00);
    assert_int_equal(to_half(1e30f), 0x7c00);
    assert_int_equal(to_half(-1e-30f), 0x8000);
}

typedef struct transpose_params {
    uint16_t *out; /* [blocks][8][32] */
} transpose_params;

/* A matrix of 32 x 8 halves that a warp's lanes write, transposed. */
KERNEL(transpose, transpose_params, 32, 1)
{
    SHARED(shared);
    uint16_t *const s = (uint16_t *)shared;
    for (uint32_t i = 0; i < 8; i++)
        s[THREAD * 8 + i] = (uint16_t)(BLOCK_X * 1000 + THREAD * 8 + i);
    sync_warp();
    uint32_t r[4];
    load_matrices_transposed(r, s + THREAD * 8);
    for (uint32_t j = 0; j < 4; j++)
        for (uint32_t e = 0; e < 2; e++)
            p.out[BLOCK_X * 256 + THREAD / 4 * 32 + j * 8 + THREAD % 4 * 2 + e] =
                (uint16_t)(r[j] >> 16 * e);
}

static void test_transpose(void **unused)
{
    (void)unused;
    uint16_t out[3 * 256];
    const uint32_t grid[3] = {3, 1, 1};
    char error[256];
    assert_int_equal(emulator_launch(&(emulator_options){.threads = 2}, ls_emulated_transpose,
                                     &(transpose_params){out}, grid, 32, 512, error, sizeof error),
                     0);
    for (uint32_t b = 0; b < 3; b++)
        for (uint32_t i = 0; i < 256; i++)
            assert_int_equal(out[b * 256 + i], b * 1000 + i % 32 * 8 + i / 32);
}

typedef struct sum_params {
    const float *x;
    float *sum; /* of each 32 */
    uint32_t by_shared;
} sum_params;

KERNEL(sum, sum_params, 64, 1)
{
    SHARED(shared);
    const uint32_t lane = THREAD % WARP;
    float *const s = (float *)shared + (THREAD - lane);
    float x = p.x[BLOCK_Y * 64 + THREAD];
    for (uint32_t mask = WARP / 2; mask; mask /= 2)
        if (p.by_shared) {
            s[lane] = x;
            sync_warp();
            x += s[lane ^ mask];
            sync_warp();
        } else {
            x += shuffle_xor(x, mask);
        }
    if (lane == 0)
        p.sum[BLOCK_Y * 2 + THREAD / WARP] = x;
}

static void test_sum(void **unused)
{
    (void)unused;
    float x[320], right[10] = {0};
    const uint32_t grid[3] = {1, 5, 1};
    for (int i = 0; i < 320; i++) {
        x[i] = (float)(i * 7 % 31);
        right[i / 32] += x[i];
    }
    for (uint32_t by_shared = 0; by_shared < 2; by_shared++)
        for (int fault = 0; fault < 2; fault++) {
            char error[256];
            float sum[10];
            const emulator_options o = {.mutation =
                                            fault ? EMULATOR_NO_SYNC_WARP : EMULATOR_FAITHFUL};
            assert_int_equal(emulator_launch(&o, ls_emulated_sum, &(sum_params){x, sum, by_shared},
                                             grid, 64, 256, error, sizeof error),
                             0);
            assert_int_equal(!memcmp(sum, right, sizeof sum), !(fault && by_shared));
        }
}

typedef enum misuse {
    PARTED_AT_BARRIER, /* half a warp ends */
    WARP_ENDS,
    PARTED_AT_WARP, /* lanes at different instructions */
    ODD_ROW,
    ROW_BEYOND,
    ODD_COPY,
    ODD_SOURCE,
    COPY_BEYOND,
    WRITE_BEYOND,
    WRITE_BEFORE,
    ENDLESS_COPIES,
    MISUSES
} misuse;

typedef struct misuse_params {
    const uint32_t *source;
    uint32_t what, size;
} misuse_params;

KERNEL(misused, misuse_params, 96, 1)
{
    SHARED(shared);
    uint32_t r[4];
    sync_block();
    if (BLOCK_X != 1 || BLOCK_Y != 2)
        return;
    switch (p.what) {
    case PARTED_AT_BARRIER:
        if (THREAD % 32 < 16)
            sync_block();
        break;
    case WARP_ENDS:
        if (THREAD < 64)
            sync_block();
        break;
    case PARTED_AT_WARP:
        if (THREAD == 40)
            shuffle_xor(0, 1);
        else
            sync_warp();
        break;
    case ODD_ROW:
        load_matrices(r, shared + (THREAD == 33 ? 8 : 0));
        break;
    case ROW_BEYOND:
        load_matrices(r, shared + p.size);
        break;
    case ODD_COPY:
        copy16_async(shared + 4, p.source, true);
        break;
    case ODD_SOURCE:
        copy16_async(shared, p.source + 1, true);
        break;
    case COPY_BEYOND:
        copy16_async(shared + p.size, p.source, true);
        break;
    case WRITE_BEYOND:
        shared[p.size + (THREAD == 5)] = 1;
        break;
    case WRITE_BEFORE:
        shared[-1] = 1;
        break;
    case ENDLESS_COPIES:
        for (;;)
            copy16_async(shared, p.source, false);
    }
}

static void test_misuse(void **unused)
{
    (void)unused;
    static const char *const texts[MISUSES] = {"the warp is at",
                                               "threads end while others wait at sync_block",
                                               "the warp is at",
                                               "load_matrices: a row is not aligned",
                                               "load_matrices: a row is not in shared memory",
                                               "copy16_async: an address is not aligned",
                                               "copy16_async: an address is not aligned",
                                               "copy16_async: the destination is not in shared",
                                               "a write beside shared memory",
                                               "a write beside shared memory",
                                               "copy16_async: more than"};
    const uint32_t grid[3] = {3, 4, 1};
    static _Alignas(16) const uint32_t source[8];
    for (int threads = 1; threads < 3; threads++)
        for (uint32_t what = 0; what < MISUSES; what++) {
#ifdef __SANITIZE_ADDRESS__
            if (what == WRITE_BEYOND || what == WRITE_BEFORE) /* which the sanitizer reports */
                continue;
#endif
            char error[256] = "";
            const misuse_params p = {source, what, 64};
            const emulator_options o = {.name = "misused", .threads = threads};
            assert_int_equal(
                emulator_launch(&o, ls_emulated_misused, &p, grid, 96, p.size, error, sizeof error),
                -1);
            if (!strstr(error, texts[what]) || !strstr(error, "misused, block (1, 2, 0)"))
                fail_msg("misuse %u: %s", what, error);
        }
}

static void test_grid(void **unused)
{
    (void)unused;
    static const uint32_t wrong[][4] = {
        {0, 1, 1, 32}, {1, 1, 1, 48}, {1, 1, 1, 2048}, {65536, 65536, 1, 32}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char error[256] = "";
        assert_int_equal(emulator_launch(&(emulator_options){0}, ls_emulated_misused, NULL,
                                         wrong[i], wrong[i][3], 0, error, sizeof error),
                         -1);
        assert_non_null(strstr(error, "cannot be launched"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_halves),    cmocka_unit_test(test_product),
        cmocka_unit_test(test_mutations), cmocka_unit_test(test_transpose),
        cmocka_unit_test(test_sum),       cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_grid),      cmocka_unit_test(test_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
