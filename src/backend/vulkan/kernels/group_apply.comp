#version 460
#extension GL_GOOGLE_include_directive : require
#include "norm.glsl"

const uint GROUPS_MOST = 2048;
shared float means[GROUPS_MOST], scales[GROUPS_MOST];

/* Of a group, over all slices; right in the first of 32 threads. */
moments combine_slices(tile t, uint group, bool busy)
{
    moments all = moments(0, 0, 0);
    for (uint i = THREAD % WARP; busy && i < p.slices; i += WARP) {
        const uint64_t from = moments_of(group, i);
        const uint rows = min(p.rows - i * p.slice_rows, p.slice_rows);
        all = combine(all, moments(float(rows) * float(t.group_columns), load_float(from, 0),
                                   load_float(from, 1)));
    }
    return combine_warp(all);
}

void main()
{
    const tile t = tile_of();
    for (uint first = 0; first < t.groups; first += NORM_WARPS) {
        const uint g = first + THREAD / WARP;
        const moments all = combine_slices(t, t.group + g, g < t.groups);
        if (g < t.groups && THREAD % WARP == 0) {
            means[g] = all.mean;
            scales[g] = 1 / sqrt(all.squares / all.count + p.eps);
        }
    }
    barrier();
    if (t.count == 0)
        return;
    float reference[SPAN], scale[SPAN], bias[SPAN], v[SPAN];
    const uint column = t.group * t.group_columns + t.column;
    load_floats(scale, p.weight + 4 * column, t.count);
    load_floats(bias, p.bias + 4 * column, t.count);
    [[unroll]] for (uint i = 0; i < SPAN; i++) {
        const uint g = group_of(t, i);
        reference[i] = reference_of(t.group + g);
        scale[i] *= scales[g];
        bias[i] -= means[g] * scale[i];
    }
    for (uint r = t.lane; r < t.rows; r += t.lanes) {
        const uint64_t at = 2 * (t.start + uint64_t(r) * p.columns + t.column);
        load_halves(v, p.x + at, t.count);
        [[unroll]] for (uint i = 0; i < SPAN; i++)
            v[i] = apply_act(p.act, (v[i] - reference[i]) * scale[i] + bias[i]);
        store_halves(p.y + at, v, t.count, p.bad);
    }
}
