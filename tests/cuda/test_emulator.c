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

/* The relative error of a run; NaN where a result is. */
static double run_gemm(gemm *g, const emulator_options *o)
{
    char error[256] = "";
    memset(g->p.y, 0xff, 2 * g->p.rows * g->p.columns);
    if (emulator_launch(o, ls_emulated_test_gemm, &g->p, g->grid, GEMM_THREADS, GEMM_SHARED, error,
                        sizeof error))
        fail_msg("%s", error);
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
        for (uint64_t seed = 0; seed < 3; seed++)
            assert_true(run_gemm(&g, &(emulator_options){.seed = seed, .threads = 2}) < 3e-4);
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
            if (run_gemm(&g, &o) < 1e-2)
                fail_msg("fault %zu, seed %d, does not show", i, (int)seed);
        }
    free_gemm(&g);
}

static void test_speed(void **unused)
{
    (void)unused;
    gemm g = new_gemm(512, 512, 1024);
    struct timespec from, to;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    assert_true(run_gemm(&g, &(emulator_options){0}) < 3e-4);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    const double seconds =
        (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
    print_message("%.1f GFLOP/s of one core\n", 2e-9 * 512 * 512 * 1024 / seconds);
    free_gemm(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_product),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
