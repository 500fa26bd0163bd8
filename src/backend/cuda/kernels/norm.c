#include "functions.h"
#include "spans.h"
#include "backend/gpu/params/norm.h"

/* Of some values: how many, their mean, and the sum of their squared differences from it. */
typedef struct moments {
    float count, mean, squares;
} moments;

/* Chan's: no large numbers are subtracted. */
DEVICE moments combine(moments a, moments b)
{
    const float count = a.count + b.count, share = count > 0 ? b.count / count : 0;
    const float step = b.mean - a.mean;
    a.mean += step * share;
    a.squares += b.squares + step * step * a.count * share;
    a.count = count;
    return a;
}

/* The whole warp's, right in lane 0; the others may differ in the last bits. */
DEVICE moments combine_warp(moments a)
{
    for (uint32_t mask = WARP / 2; mask; mask /= 2) {
        moments b;
        b.count = shuffle_xor(a.count, mask);
        b.mean = shuffle_xor(a.mean, mask);
        b.squares = shuffle_xor(a.squares, mask);
        a = combine(a, b);
    }
    return a;
}

/* The block's part of x, and the thread's: spans of rows lane, lane + lanes .. */
typedef struct tile {
    uint64_t start; /* in x */
    uint32_t rows, group, groups, group_columns, columns;
    uint32_t lanes, lane, column, count; /* count is 0 in threads that are left over */
} tile;

DEVICE tile tile_of(const group_norm_params *p)
{
    tile t;
    const uint32_t row = BLOCK_X * p->slice_rows;
    t.rows = smaller(p->rows - row, p->slice_rows);
    t.group = BLOCK_Y * p->tile_groups;
    t.groups = smaller(p->groups - t.group, p->tile_groups);
    t.group_columns = p->columns / p->groups;
    t.columns = t.groups * t.group_columns;
    t.start = ((uint64_t)BLOCK_Z * p->rows + row) * p->columns + t.group * t.group_columns;
    const uint32_t spans = spans_of(t.columns);
    t.lanes = NORM_THREADS / spans;
    t.lane = THREAD / spans;
    t.column = THREAD % spans * SPAN;
    t.count = t.lane < t.lanes ? smaller(t.columns - t.column, SPAN) : 0;
    return t;
}

/* Rows that a lane has. */
DEVICE uint32_t lane_rows(const tile *t, uint32_t lane)
{
    return lane < t->rows ? (t->rows - lane - 1) / t->lanes + 1 : 0;
}

/* Of the i-th column of the thread, in the tile. */
DEVICE uint32_t group_of(const tile *t, uint32_t i)
{
    return smaller(t->column + i, t->columns - 1) / t->group_columns;
}

/* The first value of a group. Means are relative to it, so that they keep their bits where they are
 * large beside the spread. */
DEVICE float reference_of(const group_norm_params *p, uint32_t group)
{
    return from_half(
        p->x[(uint64_t)BLOCK_Z * p->rows * p->columns + group * (p->columns / p->groups)]);
}

DEVICE float *moments_of(const group_norm_params *p, uint32_t group, uint32_t slice)
{
    return p->moments + ((uint64_t)(BLOCK_Z * p->groups + group) * p->slices + slice) * 2;
}

/* Each column's moments over the thread's rows, from sums of differences from the first row. That
 * is one of the few values, and so not so far off that the sums lose much. */
DEVICE void column_moments(const group_norm_params *p, const tile *t, float mean[SPAN],
                           float squares[SPAN])
{
    float pivot[SPAN], sum[SPAN];
    const uint16_t *x = p->x + t->start + (uint64_t)t->lane * p->columns + t->column;
    load_halves(pivot, x, t->count);
    UNROLL
    for (uint32_t i = 0; i < SPAN; i++)
        sum[i] = squares[i] = 0;
    const uint32_t rows = lane_rows(t, t->lane);
    for (uint32_t r = 1; r < rows; r++) {
        float v[SPAN];
        x += (uint64_t)t->lanes * p->columns;
        load_halves(v, x, t->count);
        UNROLL
        for (uint32_t i = 0; i < SPAN; i++) {
            const float d = v[i] - pivot[i];
            sum[i] += d;
            squares[i] = fused_multiply_add(d, d, squares[i]);
        }
    }
    UNROLL
    for (uint32_t i = 0; i < SPAN; i++) {
        const float shift = sum[i] / (float)rows;
        mean[i] = pivot[i] - reference_of(p, t->group + group_of(t, i)) + shift;
        squares[i] = maximum(squares[i] - shift * sum[i], 0);
    }
}

KERNEL(group_moments, group_norm_params, NORM_THREADS, 4)
{
    SHARED(memory);
    const tile t = tile_of(&p);
    float *const means = (float *)(void *)memory, *const squares = means + t.lanes * t.columns;
    if (t.count && t.lane < t.rows) {
        float m[SPAN], s[SPAN];
        column_moments(&p, &t, m, s);
        UNROLL
        for (uint32_t i = 0; i < SPAN; i++)
            if (i < t.count) {
                means[t.lane * t.columns + t.column + i] = m[i];
                squares[t.lane * t.columns + t.column + i] = s[i];
            }
    }
    sync_block();
    const uint32_t lanes = smaller(t.lanes, t.rows);
    for (uint32_t g = THREAD / WARP; g < t.groups; g += NORM_WARPS) {
        moments all = {0, 0, 0};
        for (uint32_t i = THREAD % WARP; i < lanes * t.group_columns; i += WARP) {
            const uint32_t lane = i / t.group_columns;
            const uint32_t at = lane * t.columns + g * t.group_columns + i % t.group_columns;
            const moments column = {(float)lane_rows(&t, lane), means[at], squares[at]};
            all = combine(all, column);
        }
        all = combine_warp(all);
        if (THREAD % WARP == 0) {
            float *to = moments_of(&p, t.group + g, BLOCK_X);
            to[0] = all.mean;
            to[1] = all.squares;
        }
    }
}

/* Of a group, over all slices. */
DEVICE moments combine_slices(const group_norm_params *p, const tile *t, uint32_t group)
{
    moments all = {0, 0, 0};
    for (uint32_t i = THREAD % WARP; i < p->slices; i += WARP) {
        const float *from = moments_of(p, group, i);
        const uint32_t rows = smaller(p->rows - i * p->slice_rows, p->slice_rows);
        const moments slice = {(float)rows * (float)t->group_columns, from[0], from[1]};
        all = combine(all, slice);
    }
    return combine_warp(all);
}

KERNEL(group_apply, group_norm_params, NORM_THREADS, 4)
{
    SHARED(memory);
    const tile t = tile_of(&p);
    float *const means = (float *)(void *)memory, *const scales = means + p.tile_groups;
    for (uint32_t g = THREAD / WARP; g < t.groups; g += NORM_WARPS) {
        const moments all = combine_slices(&p, &t, t.group + g);
        if (THREAD % WARP == 0) {
            means[g] = all.mean;
            scales[g] = reciprocal(square_root(all.squares / all.count + p.eps));
        }
    }
    sync_block();
    if (!t.count)
        return;
    float reference[SPAN], scale[SPAN], bias[SPAN];
    const uint32_t column = t.group * t.group_columns + t.column;
    load_floats(scale, p.weight + column, t.count);
    load_floats(bias, p.bias + column, t.count);
    UNROLL
    for (uint32_t i = 0; i < SPAN; i++) {
        const uint32_t g = group_of(&t, i);
        reference[i] = reference_of(&p, t.group + g);
        scale[i] *= scales[g];
        bias[i] -= means[g] * scale[i];
    }
    for (uint32_t r = t.lane; r < t.rows; r += t.lanes) {
        const uint64_t at = t.start + (uint64_t)r * p.columns + t.column;
        float v[SPAN];
        load_halves(v, p.x + at, t.count);
        UNROLL
        for (uint32_t i = 0; i < SPAN; i++)
            v[i] = apply_act(p.act, fused_multiply_add(v[i] - reference[i], scale[i], bias[i]));
        store_halves(p.y + at, v, t.count, p.bad);
    }
}

DEVICE float sum_warp(float x)
{
    for (uint32_t mask = WARP / 2; mask; mask /= 2)
        x += shuffle_xor(x, mask);
    return x;
}

/* Elements less the reference; 0 from `count` on. */
DEVICE void load_differences(float v[SPAN], const uint16_t *x, uint32_t count, float reference)
{
    load_halves(v, x, count);
    UNROLL
    for (uint32_t i = 0; i < SPAN; i++)
        v[i] = i < count ? v[i] - reference : 0;
}

/* The row is read three times, once from memory: it stays in the cache. The mean is relative to the
 * row's first value, as those of group_moments. */
KERNEL(layer_norm, layer_norm_params, NORM_THREADS, 4)
{
    const uint32_t row = BLOCK_X * NORM_WARPS + THREAD / WARP, first = THREAD % WARP * SPAN;
    if (row >= p.rows)
        return;
    const uint16_t *x = p.x + (uint64_t)row * p.columns;
    const float reference = from_half(*x);
    float sum = 0, squares = 0, v[SPAN];
    for (uint32_t c = first; c < p.columns; c += WARP * SPAN) {
        load_differences(v, x + c, smaller(p.columns - c, SPAN), reference);
        UNROLL
        for (uint32_t i = 0; i < SPAN; i++)
            sum += v[i];
    }
    const float mean = sum_warp(sum) / (float)p.columns;
    for (uint32_t c = first; c < p.columns; c += WARP * SPAN) {
        load_differences(v, x + c, smaller(p.columns - c, SPAN), reference);
        UNROLL
        for (uint32_t i = 0; i < SPAN; i++) {
            const float d = c + i < p.columns ? v[i] - mean : 0;
            squares = fused_multiply_add(d, d, squares);
        }
    }
    const float scale = reciprocal(square_root(sum_warp(squares) / (float)p.columns + p.eps));
    const uint64_t position =
        p.positions ? (uint64_t)(row / p.image_rows % p.frames) * p.columns : 0;
    for (uint32_t c = first; c < p.columns; c += WARP * SPAN) {
        const uint32_t count = smaller(p.columns - c, SPAN);
        float weight[SPAN], bias[SPAN];
        load_differences(v, x + c, count, reference);
        load_floats(weight, p.weight + c, count);
        load_floats(bias, p.bias + c, count);
        UNROLL
        for (uint32_t i = 0; i < SPAN; i++)
            v[i] = fused_multiply_add((v[i] - mean) * scale, weight[i], bias[i]);
        if (p.positions) {
            load_floats(bias, p.positions + position + c, count);
            UNROLL
            for (uint32_t i = 0; i < SPAN; i++)
                v[i] += bias[i];
        }
        store_halves(p.y + (uint64_t)row * p.columns + c, v, count, p.bad);
    }
}
