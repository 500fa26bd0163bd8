#version 460
#extension GL_GOOGLE_include_directive : require
#include "norm.glsl"

const uint COLUMNS_MOST = 8 * NORM_THREADS;
shared float means[COLUMNS_MOST], squares[COLUMNS_MOST];

/* Each column's moments over the thread's rows, from sums of differences from the first row. */
void column_moments(tile t)
{
    float pivot[SPAN], sum[SPAN], square[SPAN], v[SPAN];
    uint64_t x = p.x + 2 * (t.start + uint64_t(t.lane) * p.columns + t.column);
    load_halves(pivot, x, t.count);
    [[unroll]] for (uint i = 0; i < SPAN; i++)
        sum[i] = square[i] = 0;
    const uint rows = lane_rows(t, t.lane);
    for (uint r = 1; r < rows; r++) {
        x += 2 * uint64_t(t.lanes) * p.columns;
        load_halves(v, x, t.count);
        [[unroll]] for (uint i = 0; i < SPAN; i++) {
            const float d = v[i] - pivot[i];
            sum[i] += d;
            square[i] += d * d;
        }
    }
    [[unroll]] for (uint i = 0; i < SPAN; i++)
        if (i < t.count) {
            const float shift = sum[i] / float(rows);
            const float mean = pivot[i] - reference_of(t.group + group_of(t, i)) + shift;
            const uint at = t.lane * t.columns + t.column + i;
            means[at] = mean;
            squares[at] = not_finite(mean) ? mean : max(square[i] - shift * sum[i], 0);
        }
}

void main()
{
    const tile t = tile_of();
    if (t.count > 0 && t.lane < t.rows)
        column_moments(t);
    barrier();
    const uint lanes = min(t.lanes, t.rows);
    for (uint first = 0; first < t.groups; first += NORM_WARPS) {
        const uint g = first + THREAD / WARP;
        moments all = moments(0, 0, 0);
        for (uint i = THREAD % WARP; g < t.groups && i < lanes * t.group_columns; i += WARP) {
            const uint lane = i / t.group_columns;
            const uint at = lane * t.columns + g * t.group_columns + i % t.group_columns;
            all = combine(all, moments(float(lane_rows(t, lane)), means[at], squares[at]));
        }
        all = combine_warp(all);
        if (g < t.groups && THREAD % WARP == 0) {
            store_float(moments_of(t.group + g, gl_WorkGroupID.x), 0, all.mean);
            store_float(moments_of(t.group + g, gl_WorkGroupID.x), 1, all.squares);
        }
    }
}
