/* What networks that are not run would compute, against sums made from the architecture alone, and
 * what is concluded from measurements. */
#include "test.h"

#include "models/unet/unet.h"
#include "pipeline/calibration.h"

#include <math.h>

static ls_work zero;

static void expect_close(double a, double b)
{
    if (!(fabs(a - b) <= 1e-9 * fabs(b)))
        fail_msg("%.17g instead of %.17g", a, b);
}

/* By hand: each op by what it multiplies, and bytes for what multiplies nothing. */
static void ops_are_counted_by_hand(void **state)
{
    (void)state;
    const ls_param conv = {.name = "c", .ndim = 4, .shape = {6, 4, 3, 3}, .count = 216},
                   line = {.name = "l", .ndim = 2, .shape = {10, 6}, .count = 60};
    ls_graph *g = ls_graph_new(LS_F32, false);
    ls_tensor *x = ls_input(g, "x", LS_F32, 4, (size_t[]){2, 8, 8, 4});
    x = ls_conv2d(g, x, ls_weight(g, &conv), NULL, NULL, (ls_conv){.stride = 2, .pad = 1});
    x = ls_linear(g, x, ls_weight(g, &line), NULL, NULL, LS_ACT_NONE, LS_F32);
    x = ls_view(g, x, 3, (size_t[]){2, 16, 10});
    ls_tensor *k = ls_input(g, "k", LS_F32, 3, (size_t[]){2, 7, 10});
    x = ls_attention(g, x, k, k, 2, 0, 1);
    ls_output(g, "y", ls_add(g, x, x));
    assert_int_equal(ls_graph_error(g, NULL), 0);
    ls_work w = zero;
    ls_work_add(&w, g, 3);
    expect_close(w.of[LS_WORK_CONV], 3 * (2. * 2 * 4 * 4 * 6) * 4 * 9);
    expect_close(w.of[LS_WORK_LINEAR], 3 * (2. * 2 * 4 * 4 * 10) * 6);
    expect_close(w.of[LS_WORK_ATTENTION], 3 * 2. * (2 * 16 * 7 * 10) * 2); // scores, and their sum
    expect_close(w.of[LS_WORK_OTHER], 3 * 3 * (2 * 16 * 10) * 4.);         // two in, one out
    const ls_work rates = {{100, 200, 300, 400}};
    expect_close(ls_work_seconds(&w, &rates),
                 w.of[0] / 100 + w.of[1] / 200 + w.of[2] / 300 + w.of[3] / 400);
    const ls_work other = {.of = {[LS_WORK_OTHER] = 80}}, unknown = {.of = {[LS_WORK_OTHER] = 40}};
    expect_close(ls_work_seconds(&other, &unknown), 2);
    ls_graph_free(&g);
}

/* Multiplications and additions of layers, for `rows` pixels or tokens. */
typedef struct sums {
    double conv, linear, attention;
    double images, frames, audio_tokens, audio_width, time_width;
} sums;

static void resnet(sums *s, double rows, double in, double out)
{
    s->conv += 2 * rows * out * 9 * (in + out) + (in == out ? 0 : 2 * rows * in * out);
    s->linear += 2 * s->time_width * out;
}

static void transformer(sums *s, double rows, double c)
{
    const double audio_rows = s->images * s->audio_tokens;
    s->conv += 2 * 2 * rows * c * c;                              // proj_in, proj_out
    s->linear += 2 * rows * c * c * 4 + 2 * rows * c * c * 2;     // attn1; q and out of attn2
    s->linear += 2 * audio_rows * s->audio_width * c * 2;         // k and v of attn2
    s->linear += 2 * rows * c * (8 * c) + 2 * rows * (4 * c) * c; // ff
    s->attention += 4 * rows * (rows / s->images) * c + 4 * rows * s->audio_tokens * c;
}

static void motion(sums *s, double rows, double c)
{
    s->linear += 2 * rows * c * c * (2 + 2 * 4 + 12); // projections, two attentions, ff
    s->attention += 2 * 4 * rows * s->frames * c;
}

/* Stable Diffusion's UNet with motion modules. */
static sums published_step(const ls_unet_config *c, const ls_unet_shape *shape)
{
    const double images = (double)(shape->batch * shape->frames),
                 c0 = (double)c->block_out_channels[0];
    sums s = {.images = images,
              .frames = (double)shape->frames,
              .audio_tokens = (double)shape->audio_tokens,
              .audio_width = (double)c->cross_attention_dim,
              .time_width = 4 * c0};
    double rows = images * (double)(shape->h * shape->w), in = c0, skips[64];
    size_t n = 0;
    s.conv +=
        2 * rows * (double)c->in_channels * 9 * c0 + 2 * rows * c0 * 9 * (double)c->out_channels;
    s.linear += 2 * c0 * s.time_width + 2 * s.time_width * s.time_width;
    skips[n++] = c0;
    for (size_t i = 0; i < c->blocks; i++) {
        const double out = (double)c->block_out_channels[i];
        for (size_t j = 0; j < c->layers_per_block; j++, in = out) {
            resnet(&s, rows, in, out);
            if (c->down_cross_attn[i])
                transformer(&s, rows, out);
            if (c->down_motion[i])
                motion(&s, rows, out);
            skips[n++] = out;
        }
        if (i + 1 < c->blocks) {
            rows /= 4;
            s.conv += 2 * rows * out * 9 * out;
            skips[n++] = out;
        }
    }
    resnet(&s, rows, in, in);
    transformer(&s, rows, in);
    if (c->mid_motion)
        motion(&s, rows, in);
    resnet(&s, rows, in, in);
    for (size_t i = 0; i < c->blocks; i++) {
        const double out = (double)c->block_out_channels[c->blocks - 1 - i];
        for (size_t j = 0; j <= c->layers_per_block; j++, in = out) {
            resnet(&s, rows, in + skips[--n], out);
            if (c->up_cross_attn[i])
                transformer(&s, rows, out);
            if (c->up_motion[i])
                motion(&s, rows, out);
        }
        if (i + 1 < c->blocks) {
            rows *= 4;
            s.conv += 2 * rows * out * 9 * out;
        }
    }
    return s;
}

static ls_unet *open_full(ls_workspace *ws)
{
    const ls_unet_config config = ls_unet_config_full();
    ls_params *table;
    ls_weights *w;
    ls_unet *u;
    assert_int_equal(ls_workspace_open(ws, "cpu", 1, NULL), 0);
    assert_int_equal(ls_unet_table(&table, &config, NULL), 0);
    assert_int_equal(ls_params_formula(&w, &table, false, NULL, NULL), 0);
    assert_int_equal(ls_unet_open(&u, &w, &config, &(ls_compute){ws, LS_F32}, NULL), 0);
    return u;
}

/* As a job does that is only estimated. */
static ls_work count_steps(ls_unet *u, const ls_unet_shape *s, size_t steps)
{
    const ls_unet_config *c = ls_unet_get_config(u);
    const size_t pixels = s->batch * s->frames * s->h * s->w;
    float *in = calloc(pixels * c->in_channels, sizeof *in),
          *out = calloc(pixels * c->out_channels, sizeof *out);
    const ls_plan *plan;
    size_t runs;
    ls_work w = zero;
    assert_int_equal(ls_network_estimate_begin(u, NULL), 0);
    for (size_t i = 0; i < steps; i++) // audio and the result stay where they are: nothing runs
        assert_int_equal(ls_unet_run(u, s, LS_UNET_STEP_FULL, 1, in, NULL, out, NULL, NULL, NULL),
                         0);
    for (size_t i = 0; (plan = ls_network_counted_plan(u, i, &runs)); i++)
        ls_work_add(&w, ls_plan_graph(plan), (double)runs);
    ls_network_estimate_end(u);
    free(in);
    free(out);
    return w;
}

static void the_published_unet_is_counted(void **state)
{
    (void)state;
    const ls_unet_shape shapes[] = {{2, 16, 32, 32, 50}, {1, 5, 24, 16, 10}};
    ls_workspace ws;
    ls_unet *u = open_full(&ws);
    for (size_t i = 0; i < 2; i++) {
        const sums s = published_step(ls_unet_get_config(u), &shapes[i]);
        const ls_work w = count_steps(u, &shapes[i], 3);
        expect_close(w.of[LS_WORK_CONV], 3 * s.conv);
        expect_close(w.of[LS_WORK_LINEAR], 3 * s.linear);
        expect_close(w.of[LS_WORK_ATTENTION], 3 * s.attention);
        assert_true(w.of[LS_WORK_OTHER] > 0);
    }
    ls_unet_close(&u);
    ls_workspace_close(&ws);
}

/* ls_step_seconds is of that UNet with the first of these shapes. */
static void a_step_is_that_of_the_published_unet(void **state)
{
    (void)state;
    const ls_unet_config c = ls_unet_config_full();
    const sums s = published_step(&c, &(ls_unet_shape){2, 16, 32, 32, 50});
    const ls_work one = {{s.conv, INFINITY, INFINITY, INFINITY}},
                  two = {{INFINITY, s.linear, INFINITY, INFINITY}},
                  three = {{INFINITY, INFINITY, s.attention, INFINITY}};
    const double ratios[] = {ls_step_seconds(&one), ls_step_seconds(&two), ls_step_seconds(&three)};
    for (size_t i = 0; i < 3; i++)
        if (!(fabs(ratios[i] - 1) < 0.03))
            fail_msg("kind %zu: %.3f of the step", i, ratios[i]);
}

static void what_disturbs_is_left_out(void **state)
{
    (void)state;
    assert_true(ls_undisturbed(1.02, 2, 2) == 1.02); // the clock is right
    assert_true(ls_undisturbed(3, 2, 2) < 1.1 && ls_undisturbed(3, 2, 2) >= 1);
    assert_true(ls_undisturbed(40, 2, 1) < 2.2);
    assert_true(isinf(ls_spread((double[]){3}, 1)));
    expect_close(ls_spread((double[]){2, 2.2}, 2), 0.1);
    expect_close(ls_spread((double[]){5, 2.2, 9, 2}, 4), 0.1);
    expect_close(ls_spread((double[]){2, 2.5, 4}, 3), 0.25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ops_are_counted_by_hand),
                                       cmocka_unit_test(the_published_unet_is_counted),
                                       cmocka_unit_test(a_step_is_that_of_the_published_unet),
                                       cmocka_unit_test(what_disturbs_is_left_out)};
    return cmocka_run_group_tests_name("estimate", tests, NULL, NULL);
}
