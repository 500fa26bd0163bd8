#include "face/lanczos.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TAPS 8
#define WEIGHT_BITS 11

/* One output position of an axis. */
typedef struct tap_set {
    uint32_t index[TAPS];
    int weight[TAPS];
} tap_set;

struct ls_lanczos {
    size_t src_w, src_h, dst_w, dst_h, channels;
    tap_set *x, *y;
    int *rows; /* [src_h, dst_w * channels], after the horizontal pass */
};

static void make_taps(tap_set *taps, size_t src, size_t dst)
{
    static const double pi = 3.14159265358979323846;
    double scale = (double)src / (double)dst;
    for (size_t d = 0; d < dst; d++) {
        float position = (float)(((double)d + 0.5) * scale - 0.5), at = floorf(position);
        float x = position - at, w[TAPS], sum = 0;
        double y0 = -(x + 3) * pi * 0.25;
        for (int i = 0; i < TAPS; i++) {
            double distance = x + 3 - (float)i, y = -distance * pi * 0.25;
            w[i] = fabs(distance) < 1e-6 ? 1e30f : (float)(sin(y0 + i * 5 * pi * 0.25) / (y * y));
            sum += w[i];
        }
        sum = 1 / sum;
        for (int i = 0; i < TAPS; i++) {
            ptrdiff_t index = (ptrdiff_t)at - 3 + i, last = (ptrdiff_t)src - 1;
            taps[d].index[i] = (uint32_t)(index < 0 ? 0 : index > last ? last : index);
            taps[d].weight[i] = (int)rint((double)(w[i] * sum) * (1 << WEIGHT_BITS));
        }
    }
}

int ls_lanczos_open(ls_lanczos **out, size_t src_w, size_t src_h, size_t dst_w, size_t dst_h,
                    size_t channels, ls_error *err)
{
    *out = NULL;
    size_t row;
    ls_lanczos *l = ls_calloc_array(1, sizeof(*l));
    if (!l || !ls_mul_size(dst_w, channels, &row) || !ls_mul_size(row, sizeof(int), &row) ||
        !(l->x = ls_malloc_array(dst_w, sizeof(*l->x))) ||
        !(l->y = ls_malloc_array(dst_h, sizeof(*l->y))) ||
        !(l->rows = ls_malloc_array(src_h, row))) {
        ls_lanczos_close(&l);
        return ls_fail(err, LS_ENOMEM, "resize of %zu x %zu to %zu x %zu: out of memory", src_w,
                       src_h, dst_w, dst_h);
    }
    l->src_w = src_w;
    l->src_h = src_h;
    l->dst_w = dst_w;
    l->dst_h = dst_h;
    l->channels = channels;
    make_taps(l->x, src_w, dst_w);
    make_taps(l->y, src_h, dst_h);
    *out = l;
    return 0;
}

void ls_lanczos_close(ls_lanczos **l)
{
    if (!*l)
        return;
    free((*l)->x);
    free((*l)->y);
    free((*l)->rows);
    free(*l);
    *l = NULL;
}

static uint8_t clamp_u8(int v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

void ls_lanczos_run(ls_lanczos *l, uint8_t *dst, const uint8_t *src)
{
    size_t n = l->channels, row = l->dst_w * n;
    if (l->src_w == l->dst_w && l->src_h == l->dst_h) {
        memcpy(dst, src, row * l->dst_h);
        return;
    }
    int *sums = l->rows;
    for (size_t y = 0; y < l->src_h; y++, src += l->src_w * n)
        for (size_t x = 0; x < l->dst_w; x++)
            for (size_t c = 0; c < n; c++) {
                int sum = 0;
                for (size_t i = 0; i < TAPS; i++)
                    sum += l->x[x].weight[i] * src[l->x[x].index[i] * n + c];
                *sums++ = sum;
            }
    for (size_t y = 0; y < l->dst_h; y++, dst += row) {
        const int *in[TAPS], *w = l->y[y].weight;
        for (size_t i = 0; i < TAPS; i++)
            in[i] = l->rows + l->y[y].index[i] * row;
        for (size_t x = 0; x < row; x++) {
            int sum = 0;
            for (size_t i = 0; i < TAPS; i++)
                sum += w[i] * in[i][x];
            dst[x] = clamp_u8((sum + (1 << (2 * WEIGHT_BITS - 1))) >> 2 * WEIGHT_BITS);
        }
    }
}
