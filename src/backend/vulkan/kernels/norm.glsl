#include "common.glsl"

/* As CUDA's kernels/norm.c, of which these are the kernels with a warp's sums made in shared memory:
 * how many threads run together differs from device to device. */
layout(push_constant, scalar) uniform group_norm_params
{
    uint64_t x, weight, bias, y, moments, bad;
    uint rows, columns, groups, tile_groups, slices, slice_rows, act;
    float eps;
} p;

const uint NORM_THREADS = 256, WARP = 32, NORM_WARPS = NORM_THREADS / WARP;

/* Of some values: how many, their mean, and the sum of their squared differences from it. */
struct moments {
    float count, mean, squares;
};

shared vec3 halves_of_warps[NORM_THREADS];

/* Chan's: no large numbers are subtracted. */
moments combine(moments a, moments b)
{
    const float count = a.count + b.count, share = count > 0 ? b.count / count : 0;
    const float way = b.mean - a.mean;
    return moments(count, a.mean + way * share, a.squares + b.squares + way * way * a.count * share);
}

/* Of 32 threads, right in the first of them. By all threads of the block. */
moments combine_warp(moments a)
{
    barrier();
    halves_of_warps[THREAD] = vec3(a.count, a.mean, a.squares);
    for (uint mask = WARP / 2; mask > 0; mask /= 2) {
        barrier();
        if (THREAD % WARP < mask) {
            const vec3 b = halves_of_warps[THREAD + mask];
            a = combine(a, moments(b.x, b.y, b.z));
            halves_of_warps[THREAD] = vec3(a.count, a.mean, a.squares);
        }
    }
    return a;
}

/* The block's part of x, and the thread's: spans of rows lane, lane + lanes .. */
struct tile {
    uint64_t start; /* in x */
    uint rows, group, groups, group_columns, columns;
    uint lanes, lane, column, count; /* count is 0 in threads that are left over */
};

tile tile_of()
{
    tile t;
    const uint row = gl_WorkGroupID.x * p.slice_rows;
    t.rows = min(p.rows - row, p.slice_rows);
    t.group = gl_WorkGroupID.y * p.tile_groups;
    t.groups = min(p.groups - t.group, p.tile_groups);
    t.group_columns = p.columns / p.groups;
    t.columns = t.groups * t.group_columns;
    t.start = (uint64_t(gl_WorkGroupID.z) * p.rows + row) * p.columns + t.group * t.group_columns;
    const uint spans = divide_up(t.columns, SPAN);
    t.lanes = NORM_THREADS / spans;
    t.lane = THREAD / spans;
    t.column = THREAD % spans * SPAN;
    t.count = t.lane < t.lanes ? min(t.columns - t.column, SPAN) : 0;
    return t;
}

/* Rows that a lane has. */
uint lane_rows(tile t, uint lane)
{
    return lane < t.rows ? (t.rows - lane - 1) / t.lanes + 1 : 0;
}

/* Of the i-th column of the thread, in the tile. */
uint group_of(tile t, uint i)
{
    return min(t.column + i, t.columns - 1) / t.group_columns;
}

/* The first value of a group. Means are relative to it, so that they keep their bits where they are
 * large beside the spread. */
float reference_of(uint group)
{
    return load_half(p.x, uint64_t(gl_WorkGroupID.z) * p.rows * p.columns +
                              group * (p.columns / p.groups));
}

uint64_t moments_of(uint group, uint slice)
{
    return p.moments + 8 * (uint64_t(gl_WorkGroupID.z * p.groups + group) * p.slices + slice);
}
