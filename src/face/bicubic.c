#include "face/bicubic.h"
#include "base/alloc.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* For each output position along an axis: its first tap, the number of taps, and their weights,
 * `most` per position. */
typedef struct axis {
    size_t src, dst, most;
    struct span {
        size_t from, count;
    } * spans;
    float *weights;
} axis;

struct ls_bicubic {
    axis x, y;
    float *rows; /* [src_h, dst_w, 4] */
};

static float cubic(float x)
{
    x = fabsf(x);
    if (x < 1)
        return (1.5f * x - 2.5f) * x * x + 1;
    return x < 2 ? ((-0.5f * x + 2.5f) * x - 4) * x + 2 : 0;
}

/* In float32 as in the original: positions differ from exact ones by 1e-5 of a pixel. */
static bool make_axis(axis *a, size_t src, size_t dst)
{
    float scale = (float)src / (float)dst, stretch = fmaxf(scale, 1), support = 2 * stretch;
    *a = (axis){.src = src, .dst = dst, .most = (size_t)ceilf(support) * 2 + 1};
    a->spans = ls_malloc_array(dst, sizeof(*a->spans));
    a->weights = ls_calloc_array(dst, a->most * sizeof(*a->weights));
    if (!a->spans || !a->weights)
        return false;
    for (size_t i = 0; i < dst; i++) {
        float centre = scale * ((float)i + 0.5f), sum = 0;
        size_t from = (size_t)fmaxf(centre - support + 0.5f, 0);
        size_t to = (size_t)fminf(centre + support + 0.5f, (float)src);
        float *w = a->weights + i * a->most;
        for (size_t j = from; j < to; j++)
            sum += w[j - from] = cubic(((float)j - centre + 0.5f) / stretch);
        for (size_t j = from; j < to; j++)
            w[j - from] /= sum;
        a->spans[i] = (struct span){from, to - from};
    }
    return true;
}

int ls_bicubic_open(ls_bicubic **out, size_t src_w, size_t src_h, size_t dst_w, size_t dst_h,
                    ls_error *err)
{
    ls_bicubic *b = *out = ls_calloc_array(1, sizeof(*b));
    if (b && make_axis(&b->x, src_w, dst_w) && make_axis(&b->y, src_h, dst_h) &&
        (b->rows = ls_malloc_array(src_h, dst_w * 4 * sizeof(float))))
        return 0;
    ls_bicubic_close(out);
    return ls_fail(err, LS_ENOMEM, "resize of %zu x %zu to %zu x %zu: out of memory", src_w, src_h,
                   dst_w, dst_h);
}

void ls_bicubic_close(ls_bicubic **b)
{
    if (!*b)
        return;
    free((*b)->x.spans);
    free((*b)->x.weights);
    free((*b)->y.spans);
    free((*b)->y.weights);
    free((*b)->rows);
    free(*b);
    *b = NULL;
}

void ls_bicubic_run(ls_bicubic *b, float *dst, size_t stride, const float *src)
{
    size_t row = b->x.dst * 4;
    for (size_t y = 0; y < b->y.src; y++, src += b->x.src * 3)
        for (size_t x = 0; x < b->x.dst; x++) {
            const float *w = b->x.weights + x * b->x.most, *in = src + b->x.spans[x].from * 3;
            float sum[3] = {0};
            for (size_t i = 0; i < b->x.spans[x].count; i++)
                for (size_t c = 0; c < 3; c++)
                    sum[c] += w[i] * in[3 * i + c];
            float *to = b->rows + y * row + x * 4;
            to[0] = sum[0];
            to[1] = sum[1];
            to[2] = sum[2];
            to[3] = 1;
        }
    for (size_t y = 0; y < b->y.dst; y++, dst += stride) {
        const float *w = b->y.weights + y * b->y.most, *in = b->rows + b->y.spans[y].from * row;
        for (size_t x = 0; x < row; x++)
            dst[x] = w[0] * in[x];
        for (size_t i = 1; i < b->y.spans[y].count; i++)
            for (size_t x = 0; x < row; x++)
                dst[x] += w[i] * in[i * row + x];
        for (size_t x = 3; x < row; x += 4)
            dst[x] = 1;
    }
}
