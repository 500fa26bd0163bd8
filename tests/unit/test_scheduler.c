/* The samplers against the papers' formulas in double precision, on noise that is known in closed
 * form and on a reduced UNet; and the steps without guidance. */
#include "test.h"
#include "golden.h"

#include "diffusion/sampler.h"

#include <math.h>

enum { TRAIN = 1000, MAX_STEPS = 100 };

typedef struct oracle {
    ls_solver solver;
    size_t steps;
    int t[MAX_STEPS];
    double alpha[MAX_STEPS + 1], sigma[MAX_STEPS + 1], lambda[MAX_STEPS + 1];
} oracle;

/* Predicts the noise in x at step i. */
typedef void (*noise_model)(void *opaque, const oracle *o, size_t i, const double *x, double *eps,
                            size_t n);

static oracle make_oracle(ls_solver solver, size_t steps)
{
    oracle o = {.solver = solver, .steps = steps};
    const int ratio = TRAIN / (int)(solver == LS_SOLVER_DDIM ? steps : steps + 1);
    double abar[TRAIN], product = 1;
    for (int i = 0; i < TRAIN; i++) {
        const double root = sqrt(0.00085) + (sqrt(0.012) - sqrt(0.00085)) * i / (TRAIN - 1);
        abar[i] = product *= 1 - root * root;
    }
    for (size_t i = 0; i <= steps; i++) {
        double a = 1;
        if (solver == LS_SOLVER_DDIM) // the last step ends at timestep 0, not at no noise
            a = abar[i < steps ? (int)(steps - 1 - i) * ratio + 1 : 0];
        else if (i < steps)
            a = abar[(int)(steps - i) * ratio + 1];
        if (i < steps)
            o.t[i] = (int)(steps - i - (solver == LS_SOLVER_DDIM)) * ratio + 1;
        o.alpha[i] = sqrt(a);
        o.sigma[i] = sqrt(1 - a);
        o.lambda[i] = log(o.alpha[i] / o.sigma[i]);
    }
    return o;
}

/* sigma_t * integral from lambda[i] to lambda[i + 1] of e^lambda P(lambda), P being the polynomial
 * through m[0..2] at lambda[i - 1], lambda[i], lambda[i + 1]: Simpson's rule. */
static double integral(const oracle *o, size_t i, const double m[3])
{
    enum { PARTS = 2000 };
    const double *l = o->lambda + i - 1, h = (l[2] - l[1]) / PARTS;
    double sum = 0;
    for (int k = 0; k <= PARTS; k++) {
        const double at = l[1] + h * k, a = at - l[0], b = at - l[1], c = at - l[2];
        const double p = m[0] * b * c / ((l[0] - l[1]) * (l[0] - l[2])) +
                         m[1] * a * c / ((l[1] - l[0]) * (l[1] - l[2])) +
                         m[2] * a * b / ((l[2] - l[0]) * (l[2] - l[1]));
        sum += (!k || k == PARTS ? 1 : k % 2 ? 4 : 2) * exp(at) * p;
    }
    return o->sigma[i + 1] * sum * h / 3;
}

/* One value from step i to i + 1: DPM-Solver++(2M), Algorithm 2 of its paper. */
static double predict(const oracle *o, size_t i, double x, double m0, double m1)
{
    const double h = o->lambda[i + 1] - o->lambda[i];
    double d = m0;
    if (o->solver != LS_SOLVER_DDIM && i && i + 1 < o->steps) {
        const double r = (o->lambda[i] - o->lambda[i - 1]) / h;
        d = (1 + 1 / (2 * r)) * m0 - 1 / (2 * r) * m1;
    }
    return o->sigma[i + 1] / o->sigma[i] * x - o->alpha[i + 1] * (exp(-h) - 1) * d;
}

/* The end of step i again, knowing m there: UniC-1, whose only weight is a half, or UniC-2, which
 * integrates the polynomial through all three. */
static double correct(const oracle *o, size_t i, double x, double m, double m0, double m1)
{
    const double h = o->lambda[i + 1] - o->lambda[i], scaled = o->sigma[i + 1] / o->sigma[i] * x;
    return i ? scaled + integral(o, i, (double[3]){m1, m0, m})
             : scaled - o->alpha[i + 1] * (exp(-h) - 1) * (m0 + m) / 2;
}

/* Up to `steps` steps on n values. */
static void solve(const oracle *o, size_t steps, noise_model model, void *opaque, double *x,
                  size_t n)
{
    double *buf = calloc(4 * n, sizeof *buf), *eps = buf, *m1 = buf + n, *m2 = buf + 2 * n,
           *last = buf + 3 * n;
    for (size_t i = 0; i < steps; i++) {
        model(opaque, o, i, x, eps, n);
        for (size_t k = 0; k < n; k++) {
            const double m = (x[k] - o->sigma[i] * eps[k]) / o->alpha[i];
            if (o->solver == LS_SOLVER_UNIPC && i)
                x[k] = correct(o, i - 1, last[k], m, m1[k], m2[k]);
            last[k] = x[k];
            x[k] = predict(o, i, x[k], m, m1[k]);
            m2[k] = m1[k];
            m1[k] = m;
        }
    }
    free(buf);
}

static double relative(const float *got, const double *want, size_t n)
{
    double diff = 0, norm = 0;
    for (size_t k = 0; k < n; k++) {
        diff += (got[k] - want[k]) * (got[k] - want[k]);
        norm += want[k] * want[k];
    }
    return sqrt(diff / norm);
}

/* Data that are one of two normal distributions around 1 and -0.5, so the noise is not linear. */
static void two_peaks(void *opaque, const oracle *o, size_t i, const double *x, double *eps,
                      size_t n)
{
    (void)opaque;
    const double a = o->alpha[i], s = o->sigma[i], at[2] = {1, -0.5}, v = 0.04,
                 spread = a * a * v + s * s;
    for (size_t k = 0; k < n; k++) {
        double weights = 0, sum = 0;
        for (int p = 0; p < 2; p++) {
            const double d = x[k] - a * at[p], w = exp(-d * d / (2 * spread));
            weights += w;
            sum += w * s * d / spread;
        }
        eps[k] = sum / weights;
    }
}

enum { N = 64 };

/* `steps` of the program's steps with the same noise. */
static void run_scheduler(const ls_scheduler *s, const oracle *o, size_t steps, noise_model model,
                          float *x, size_t n)
{
    double at[N], noise[N];
    float eps[N], state[3 * N];
    for (size_t k = 0; k < 3 * N; k++)
        state[k] = NAN; // a chunk does not see what another left
    for (size_t i = 0; i < steps; i++) {
        for (size_t k = 0; k < n; k++)
            at[k] = x[k];
        model(NULL, o, i, at, noise, n);
        for (size_t k = 0; k < n; k++)
            eps[k] = (float)noise[k];
        ls_scheduler_step(s, i, eps, x, state, n);
    }
}

static void fill(float *x, double *wide, size_t n)
{
    golden_fill("input.noise", n, sqrt(3), 0, x);
    for (size_t k = 0; k < n; k++)
        wide[k] = x[k];
}

static void solvers_are_the_papers(void **state)
{
    (void)state;
    ls_scheduler *s = malloc(sizeof *s);
    for (ls_solver solver = LS_SOLVER_DDIM; solver <= LS_SOLVER_UNIPC; solver++)
        for (size_t steps = 1; steps <= 50; steps += steps < 6 ? 1 : 11) {
            float x[N];
            double want[N];
            const oracle o = make_oracle(solver, steps);
            assert_int_equal(ls_scheduler_init(s, solver, steps, NULL), 0);
            for (size_t i = 0; i < steps; i++)
                assert_int_equal(s->ddim.timesteps[i], o.t[i]);
            for (size_t part = 1; part <= steps; part++) {
                fill(x, want, N);
                solve(&o, part, two_peaks, NULL, want, N);
                run_scheduler(s, &o, part, two_peaks, x, N);
                if (!(relative(x, want, N) < 1e-5))
                    fail_msg("solver %d, %zu of %zu steps: error %g", solver, part, steps,
                             relative(x, want, N));
            }
        }
    free(s);
}

/* numpy.arange(0, n + 1) * (1000 // (n + 1)), reversed, without the last, plus 1. */
static void spacing_is_diffusers(void **state)
{
    (void)state;
    static const int ten[] = {901, 811, 721, 631, 541, 451, 361, 271, 181, 91};
    ls_scheduler *s = malloc(sizeof *s);
    for (ls_solver solver = LS_SOLVER_DPMPP; solver <= LS_SOLVER_UNIPC; solver++) {
        assert_int_equal(ls_scheduler_init(s, solver, 10, NULL), 0);
        for (int i = 0; i < 10; i++)
            // 1000 // 11 is 90
            assert_int_equal(s->ddim.timesteps[i], ten[i]);
        assert_int_equal(ls_scheduler_init(s, solver, LS_MULTISTEP_MAX_STEPS, NULL), 0);
        assert_int_equal(s->ddim.timesteps[0], 999);
        assert_int_equal(ls_scheduler_init(s, solver, LS_MULTISTEP_MAX_STEPS + 1, NULL), LS_EINVAL);
        assert_int_equal(ls_scheduler_init(s, solver, 0, NULL), LS_EINVAL);
    }
    free(s);
}

/* Of normal data around 0.3, whose ODE has a solution in closed form. */
static void one_peak(void *opaque, const oracle *o, size_t i, const double *x, double *eps,
                     size_t n)
{
    (void)opaque;
    const double a = o->alpha[i], s = o->sigma[i];
    for (size_t k = 0; k < n; k++)
        eps[k] = s * (x[k] - a * 0.3) / (a * a * 0.25 + s * s);
}

/* At timestep 201: later the steps of lambda are long, however many there are. */
static double error_of(ls_solver solver, size_t steps)
{
    float x[N];
    double start[N], want[N];
    const oracle o = make_oracle(solver, steps);
    ls_scheduler *s = malloc(sizeof *s);
    size_t end = 0;
    while (o.t[end] > 201)
        end++;
    assert_int_equal(o.t[end], 201);
    assert_int_equal(ls_scheduler_init(s, solver, steps, NULL), 0);
    fill(x, start, N);
    const double spread = sqrt((o.alpha[end] * o.alpha[end] * 0.25 + o.sigma[end] * o.sigma[end]) /
                               (o.alpha[0] * o.alpha[0] * 0.25 + o.sigma[0] * o.sigma[0]));
    for (size_t k = 0; k < N; k++)
        want[k] = o.alpha[end] * 0.3 + spread * (start[k] - o.alpha[0] * 0.3);
    run_scheduler(s, &o, end, one_peak, x, N);
    free(s);
    return relative(x, want, N);
}

static void error_falls_with_the_order(void **state)
{
    (void)state;
    double order[3], error[3];
    for (ls_solver solver = LS_SOLVER_DDIM; solver <= LS_SOLVER_UNIPC; solver++) {
        const size_t one = solver == LS_SOLVER_DDIM; // a timestep further
        error[solver] = error_of(solver, 49 + one);
        order[solver] = log2(error_of(solver, 24 + one) / error[solver]);
        print_message("# solver %d: order %.2f, error %.2g\n", solver, order[solver],
                      error[solver]);
    }
    assert_true(order[LS_SOLVER_DDIM] > 0.8 && order[LS_SOLVER_DDIM] < 1.2);
    assert_true(order[LS_SOLVER_DPMPP] > 1.8);
    assert_true(order[LS_SOLVER_UNIPC] > 1.8);
    assert_true(error[LS_SOLVER_DPMPP] < error[LS_SOLVER_DDIM] / 4);
    assert_true(error[LS_SOLVER_UNIPC] < error[LS_SOLVER_DPMPP]);
}

/* A step of the first order is DDIM's, between the same levels. */
static void first_order_is_ddim(void **state)
{
    (void)state;
    float x[N], eps[N], waste[3 * N];
    double start[N];
    ls_scheduler *s = malloc(sizeof *s);
    golden_fill("input.eps", N, sqrt(3), 0, eps);
    for (ls_solver solver = LS_SOLVER_DPMPP; solver <= LS_SOLVER_UNIPC; solver++)
        for (size_t steps = 1; steps < 30; steps += 7) {
            const oracle o = make_oracle(solver, steps);
            assert_int_equal(ls_scheduler_init(s, solver, steps, NULL), 0);
            fill(x, start, N);
            ls_scheduler_step(s, 0, eps, x, waste, N);
            for (size_t k = 0; k < N; k++) {
                const double x0 = (start[k] - o.sigma[0] * eps[k]) / o.alpha[0];
                assert_float_equal(x[k], o.alpha[1] * x0 + o.sigma[1] * eps[k], 1e-4);
            }
        }
    free(s);
}

/* A reduced UNet and one chunk. */
enum { FRAMES = 2, SIDE = 8, TOKENS = 3, PIXELS = FRAMES * SIDE * SIDE, LATENT = 4 * PIXELS };

typedef struct chunk {
    ls_workspace workspace;
    ls_unet *unet;
    float mask[PIXELS], masked[LATENT], ref[LATENT], *audio;
    size_t audio_count;
    float scale;
    size_t cache_interval;
    double start, end; /* of guidance */
    char *cache;
    double difference[LATENT]; /* of the rows when both ran last */
    size_t rows;               /* run so far */
} chunk;

static chunk *open_chunk(void)
{
    ls_unet_config c = ls_unet_config_full();
    memcpy(c.block_out_channels, (size_t[]){32, 64, 96, 96}, 4 * sizeof(size_t));
    c.norm_num_groups = 8;
    ls_params *table;
    ls_weights *w;
    ls_error err = {0};
    chunk *t = calloc(1, sizeof *t);
    const ls_compute compute = {&t->workspace, LS_F32};
    assert_int_equal(ls_workspace_open(&t->workspace, "cpu", 1, &err), 0);
    assert_int_equal(ls_unet_table(&table, &c, &err), 0);
    assert_int_equal(ls_params_formula(&w, &table, false, NULL, &err), 0);
    assert_int_equal(ls_unet_open(&t->unet, &w, &c, &compute, &err), 0);
    golden_fill("input.mask", PIXELS, 1, 0, t->mask);
    for (size_t p = 0; p < PIXELS; p++)
        t->mask[p] = t->mask[p] > 0;
    golden_fill("input.masked", LATENT, sqrt(3), 0, t->masked);
    golden_fill("input.ref", LATENT, sqrt(3), 0, t->ref);
    t->audio_count = FRAMES * TOKENS * c.cross_attention_dim;
    t->audio = calloc(2 * t->audio_count, sizeof *t->audio); // silence, then sound
    golden_fill("input.audio", t->audio_count, sqrt(3), 0, t->audio + t->audio_count);
    const ls_unet_shape two = {2, FRAMES, SIDE, SIDE, TOKENS};
    t->cache = aligned_alloc(64, ls_unet_cache_bytes(t->unet, &two));
    return t;
}

static void close_chunk(chunk *t)
{
    ls_unet_close(&t->unet);
    ls_workspace_close(&t->workspace);
    free(t->audio);
    free(t->cache);
    free(t);
}

/* One row at a time, each on its own part of the cache. */
static void unet_noise(void *opaque, const oracle *o, size_t i, const double *x, double *eps,
                       size_t n)
{
    chunk *t = opaque;
    const ls_unet_shape shape = {1, FRAMES, SIDE, SIDE, TOKENS};
    const size_t whole = i - i % t->cache_interval;
    const double at = (double)whole / (double)o->steps;
    const bool guided = t->scale > 1 && at >= t->start && at < t->end;
    float sample[PIXELS * 13], out[LATENT];
    ls_error err = {0};
    for (size_t p = 0; p < PIXELS; p++) {
        float *row = sample + 13 * p;
        for (size_t c = 0; c < 4; c++) {
            row[c] = (float)x[4 * p + c];
            row[5 + c] = t->masked[4 * p + c];
            row[9 + c] = t->ref[4 * p + c];
        }
        row[4] = t->mask[p];
    }
    for (int sound = guided ? 0 : 1; sound < 2; sound++) {
        if (ls_unet_run(t->unet, &shape, i == whole ? LS_UNET_STEP_STORE : LS_UNET_STEP_REUSE,
                        (float)o->t[i], sample, t->audio + (size_t)sound * t->audio_count, out,
                        t->cache + (size_t)sound * ls_unet_cache_bytes(t->unet, &shape), NULL,
                        &err))
            fail_msg("%s", err.message);
        for (size_t k = 0; k < n; k++) {
            if (guided && sound)
                t->difference[k] = out[k] - eps[k];
            eps[k] = out[k] + sound * (t->scale - 1) * t->difference[k];
        }
        t->rows++;
    }
}

static void expect_trajectory(chunk *t, const ls_sampler_settings *s, double tolerance)
{
    static float x[LATENT];
    static double want[LATENT];
    ls_sampler *sampler;
    ls_error err = {0};
    const oracle o = make_oracle(s->solver, s->steps);
    t->scale = s->guidance_scale;
    t->cache_interval = s->cache_interval;
    t->start = s->guidance_start;
    t->end = s->guidance_end > 0 ? s->guidance_end : 1;
    memset(t->difference, 0, sizeof t->difference);
    fill(x, want, LATENT);
    solve(&o, s->steps, unet_noise, t, want, LATENT);
    const ls_chunk c = {FRAMES,  SIDE,      SIDE,   TOKENS,
                        t->mask, t->masked, t->ref, t->audio + t->audio_count};
    if (ls_sampler_open(&sampler, t->unet, s, &err) ||
        ls_sampler_run(sampler, &c, x, NULL, NULL, NULL, &err))
        fail_msg("%s", err.message);
    ls_sampler_close(&sampler);
    print_message("# solver %d, %zu steps, cache %zu, guidance %g:%g: error %.2g\n", s->solver,
                  s->steps, s->cache_interval, t->start, t->end, relative(x, want, LATENT));
    assert_true(relative(x, want, LATENT) < tolerance);
}

static void trajectories_of_a_unet(void **state)
{
    (void)state;
    chunk *t = open_chunk();
    for (ls_solver solver = LS_SOLVER_DDIM; solver <= LS_SOLVER_UNIPC; solver++)
        for (size_t interval = 1; interval <= 2; interval++)
            expect_trajectory(t,
                              &(ls_sampler_settings){.steps = 6,
                                                     .guidance_scale = 1.5f,
                                                     .cache_interval = interval,
                                                     .solver = solver},
                              1e-5);
    close_chunk(t);
}

static void steps_outside_the_interval_run_one_row(void **state)
{
    (void)state;
    static const struct {
        double start, end;
        size_t interval, rows;
    } cases[] = {{0, 0, 1, 12},     {0, 0.5, 1, 9}, {0.5, 1, 1, 9},  {0.3, 0.8, 1, 9},
                 {0.3, 0.8, 2, 10}, {0, 0.5, 3, 9}, {0, 0.1, 6, 12}, {0.9, 1, 1, 6}};
    chunk *t = open_chunk();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int split = 0; split < 2; split++) {
            t->rows = 0;
            expect_trajectory(t,
                              &(ls_sampler_settings){.steps = 6,
                                                     .guidance_scale = 3,
                                                     .cache_interval = cases[i].interval,
                                                     .split_guidance = split,
                                                     .solver = LS_SOLVER_UNIPC,
                                                     .guidance_start = cases[i].start,
                                                     .guidance_end = cases[i].end},
                              1e-5);
            assert_int_equal(t->rows, cases[i].rows);
        }
    close_chunk(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(solvers_are_the_papers),
        cmocka_unit_test(spacing_is_diffusers),
        cmocka_unit_test(error_falls_with_the_order),
        cmocka_unit_test(first_order_is_ddim),
        cmocka_unit_test(trajectories_of_a_unet),
        cmocka_unit_test(steps_outside_the_interval_run_one_row),
    };
    return cmocka_run_group_tests_name("scheduler", tests, NULL, NULL);
}
