#include "test.h"
#include "golden.h"

#include "diffusion/ddim.h"
#include "diffusion/noise.h"

#include <math.h>

static void assert_close(const float *a, const float *b, size_t n, double tolerance)
{
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    if (!(sqrt(diff) <= tolerance * sqrt(norm)))
        fail_msg("relative error %g", sqrt(diff / norm));
}

static void randn_is_torchs(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t seed;
    } cases[] = {
        {"randn_1247_1x4x1x32x32", 1247}, {"randn_1247_1x4x1x64x64", 1247},
        {"randn_1247_n1", 1247},          {"randn_1247_n2", 1247},
        {"randn_1247_n7", 1247},          {"randn_1247_n15", 1247},
        {"randn_1247_n16", 1247},         {"randn_1247_n17", 1247},
        {"randn_1247_n20", 1247},         {"randn_1247_n31", 1247},
        {"randn_1247_n32", 1247},         {"randn_1247_n33", 1247},
        {"randn_1247_n100", 1247},        {"randn_0_n20", 0},
    };
    golden *g = golden_open("torch_rng.safetensors");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n;
        const float *want = golden_f32(g, cases[i].name, &n);
        float *got = malloc(n * sizeof *got);
        ls_rng rng;
        ls_rng_seed(&rng, cases[i].seed);
        ls_rng_randn(&rng, got, n);
        assert_close(got, want, n, 1e-6);
        free(got);
    }
    golden_close(g);
}

static void sequence_keeps_the_state(void **state)
{
    (void)state;
    static const char *const names[] = {"seq_a_1x4x1x16x16", "seq_b_16x4x16x16", "seq_c_7",
                                        "seq_d_3", "seq_e_20"};
    golden *g = golden_open("torch_rng.safetensors");
    for (int discard = 0; discard < 2; discard++) {
        ls_rng rng;
        ls_rng_seed(&rng, 1247);
        for (int i = 0; i < 5; i++) {
            size_t n;
            const float *want = golden_f32(g, names[i], &n);
            float *got = malloc(n * sizeof *got);
            if (discard && i != 2 && i < 4) {
                ls_rng_discard(&rng, n);
            } else {
                ls_rng_randn(&rng, got, n);
                assert_close(got, want, n, 1e-6);
            }
            free(got);
        }
    }
    golden_close(g);
}

static void raw_outputs_are_exact(void **state)
{
    (void)state;
    golden *g = golden_open("torch_rng.safetensors");
    size_t n;
    const int64_t *want = golden_i64(g, "raw_u32_1247_n8", &n);
    ls_rng rng;
    ls_rng_seed(&rng, 1247);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ls_rng_u32(&rng), want[i]);
    const float *uniform = golden_f32(g, "rand_1247_n20", &n);
    ls_rng_seed(&rng, 1247);
    for (size_t i = 0; i < n; i++)
        assert_true((float)(ls_rng_u32(&rng) & 0xffffff) * 0x1p-24f == uniform[i]);
    golden_close(g);
}

static void only_the_low_half_of_a_seed_counts(void **state)
{
    (void)state;
    ls_rng a, b;
    ls_rng_seed(&a, 1247);
    ls_rng_seed(&b, ((uint64_t)1 << 32) + 1247);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(ls_rng_u32(&a), ls_rng_u32(&b));
}

/* Over many refills of the generator, from any place in it. */
static void discarding_is_drawing(void **state)
{
    (void)state;
    static const size_t counts[] = {16, 3, 600, 624, 1, 17, 623, 625, 12345, 5, 1248, 31};
    static float waste[12345];
    ls_rng a, b;
    ls_rng_seed(&a, 7);
    ls_rng_seed(&b, 7);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        ls_rng_randn(&a, waste, counts[i]);
        ls_rng_discard(&b, counts[i]);
        ls_rng next_a = a, next_b = b;
        for (int k = 0; k < 700; k++)
            assert_int_equal(ls_rng_u32(&next_a), ls_rng_u32(&next_b));
        ls_rng_randn(&a, waste, 1);
        ls_rng_randn(&b, waste + 1, 1);
        assert_true(waste[0] == waste[1]);
    }
}

static void schedule_is_diffusers(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 2, 3, 7, 10, 20, 25, 30, 50};
    golden *g = golden_open("ddim.safetensors");
    ls_ddim *d = malloc(sizeof *d);
    size_t n;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        char name[32];
        snprintf(name, sizeof name, "timesteps_%zu", steps[i]);
        const int64_t *want = golden_i64(g, name, &n);
        assert_int_equal(ls_ddim_init(d, steps[i], NULL), 0);
        assert_int_equal(d->steps, n);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(d->timesteps[k], want[k]);
    }
    const float *betas = golden_f32(g, "betas", &n), *abar = golden_f32(g, "alphas_cumprod", &n);
    assert_close(d->betas, betas, n, 1e-7);
    assert_close(d->alphas_cumprod, abar, n, 1e-7);
    assert_int_equal(ls_ddim_init(d, 0, NULL), LS_EINVAL);
    assert_int_equal(ls_ddim_init(d, 1001, NULL), LS_EINVAL);
    free(d);
    golden_close(g);
}

/* coef_20: t, the timestep before, abar there and here, and the roots that the step uses. */
static void coefficients_are_diffusers(void **state)
{
    (void)state;
    golden *g = golden_open("ddim.safetensors");
    ls_ddim *d = malloc(sizeof *d);
    size_t n;
    const double *row = golden_f64(g, "coef_20", &n);
    assert_int_equal(ls_ddim_init(d, 20, NULL), 0);
    assert_int_equal(n, 20 * 8);
    for (size_t i = 0; i < 20; i++, row += 8) {
        // With eps = 0 a step multiplies by sqrt(abar_prev / abar); with x = 0 eps' factor shows.
        float x[2] = {1, 0}, eps[2] = {0, 1};
        ls_ddim_step(d, i, eps, x, 2);
        assert_int_equal(d->timesteps[i], (int)row[0]);
        assert_float_equal(d->alphas_cumprod[d->timesteps[i]], row[2], 1e-7);
        assert_float_equal(x[0], row[6] / row[4], 2e-6);
        assert_float_equal(x[1], row[7] - row[6] / row[4] * row[5], 2e-6);
    }
    free(d);
    golden_close(g);
}

static void steps_are_diffusers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t step;
    } cases[] = {{"step_t951", 0}, {"step_t501", 9}, {"step_t51", 18}, {"step_t1", 19}};
    golden *g = golden_open("ddim.safetensors");
    ls_ddim *d = malloc(sizeof *d);
    assert_int_equal(ls_ddim_init(d, 20, NULL), 0);
    for (size_t i = 0; i < 4; i++) {
        size_t n;
        const float *want = golden_f32(g, cases[i].name, &n);
        float *x = malloc(n * sizeof *x), *eps = malloc(n * sizeof *eps);
        golden_fill("input.latents", n, sqrt(3), 0, x);
        golden_fill("input.eps", n, sqrt(3), 0, eps);
        ls_ddim_step(d, cases[i].step, eps, x, n);
        assert_close(x, want, n, 1e-6);
        free(x);
        free(eps);
    }
    free(d);
    golden_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(randn_is_torchs),
        cmocka_unit_test(sequence_keeps_the_state),
        cmocka_unit_test(raw_outputs_are_exact),
        cmocka_unit_test(only_the_low_half_of_a_seed_counts),
        cmocka_unit_test(discarding_is_drawing),
        cmocka_unit_test(schedule_is_diffusers),
        cmocka_unit_test(coefficients_are_diffusers),
        cmocka_unit_test(steps_are_diffusers),
    };
    return cmocka_run_group_tests_name("diffusion", tests, NULL, NULL);
}
