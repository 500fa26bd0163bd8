#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(push_constant, scalar) uniform layer_norm_params
{
    uint64_t x, weight, bias, positions, y, bad;
    uint rows, columns, image_rows, frames;
    float eps;
} p;

/* 32 threads a row. */
const uint NORM_THREADS = 256, WARP = 32, NORM_WARPS = NORM_THREADS / WARP;
shared float parts[NORM_THREADS];

/* Of 32 threads, the same in all of them. By all threads of the block. */
float sum_warp(float x)
{
    barrier();
    parts[THREAD] = x;
    for (uint mask = WARP / 2; mask > 0; mask /= 2) {
        barrier();
        if (THREAD % WARP < mask)
            parts[THREAD] += parts[THREAD + mask];
    }
    barrier();
    return parts[THREAD / WARP * WARP];
}

/* The mean is relative to the row's first value, as those of groups. */
void main()
{
    const uint row = min(BLOCK_X * NORM_WARPS + THREAD / WARP, p.rows - 1);
    const bool busy = BLOCK_X * NORM_WARPS + THREAD / WARP < p.rows;
    const uint first = THREAD % WARP * SPAN;
    const uint64_t x = p.x + 2 * (uint64_t(row) * p.columns);
    const float reference = load_half(x, 0);
    float sum = 0, squares = 0, v[SPAN], weight[SPAN], bias[SPAN];
    for (uint c = first; c < p.columns; c += WARP * SPAN) {
        const uint count = min(p.columns - c, SPAN);
        load_halves(v, x + 2 * c, count);
        [[unroll]] for (uint i = 0; i < SPAN; i++)
            sum += i < count ? v[i] - reference : 0;
    }
    const float mean = sum_warp(sum) / float(p.columns);
    for (uint c = first; c < p.columns; c += WARP * SPAN) {
        const uint count = min(p.columns - c, SPAN);
        load_halves(v, x + 2 * c, count);
        [[unroll]] for (uint i = 0; i < SPAN; i++) {
            const float d = i < count ? v[i] - reference - mean : 0;
            squares += d * d;
        }
    }
    const float scale = 1 / sqrt(sum_warp(squares) / float(p.columns) + p.eps);
    const uint64_t position = uint64_t(row / p.image_rows % p.frames) * p.columns;
    for (uint c = first; busy && c < p.columns; c += WARP * SPAN) {
        const uint count = min(p.columns - c, SPAN);
        load_halves(v, x + 2 * c, count);
        load_floats(weight, p.weight + 4 * c, count);
        load_floats(bias, p.bias + 4 * c, count);
        [[unroll]] for (uint i = 0; i < SPAN; i++)
            v[i] = (v[i] - reference - mean) * scale * weight[i] + bias[i];
        if (p.positions != 0) {
            load_floats(bias, p.positions + 4 * (position + c), count);
            [[unroll]] for (uint i = 0; i < SPAN; i++)
                v[i] += bias[i];
        }
        store_halves(p.y + 2 * (uint64_t(row) * p.columns + c), v, count, p.bad);
    }
}
