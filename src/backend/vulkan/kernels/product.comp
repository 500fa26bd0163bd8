#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "finish.glsl"

/* A block computes a tile of so many rows and columns, a thread a part of it. A row of the left
 * factor is what the window at a pixel covers, gathered tap by tap straight from the image. */
layout(constant_id = 1) const uint ROWS = 64;
layout(constant_id = 2) const uint COLUMNS = 64;
layout(constant_id = 3) const uint PART_ROWS = 4;
layout(constant_id = 4) const uint PART_COLUMNS = 8;

layout(push_constant, scalar) uniform product_params
{
    FINISH;
    uint64_t x, w, partial;
    uint channels, height, width, out_height, out_width, taps, kernel_width;
    uint stride, pad; /* of rows in the lower half, of columns in the upper */
    uint row_tiles, column_tiles, steps, stages;
} p;

FINISH_FUNCTIONS

/* Tiles of as many rows share their columns' weights while these are in the cache. */
const uint NEIGHBOURS = 8;
const uint STEP = 4;  /* chunks of 8 channels in a step of `steps` */
const uint PIECE = 2; /* of those, chunks that are in shared memory at once */
const uint DEPTH = PIECE * 8;
const uint ROW_PITCH = ROWS + 4, COLUMN_PITCH = COLUMNS + 4;
/* Fours of a part's rows and columns lie apart, so that neighbours read neighbours. */
const uint V = PART_COLUMNS < 4 ? PART_COLUMNS : 4;
const uint ACROSS = COLUMNS / PART_COLUMNS, DOWN = ROWS / PART_ROWS, ALL = ACROSS * DOWN;
const uint LOADS = (ROWS * PIECE + ALL - 1) / ALL; /* of a thread, from x; 1 or 2 */

shared float left[DEPTH * ROW_PITCH], right[DEPTH * COLUMN_PITCH];

uint origin[2]; /* in chunks, of the window at the row's pixel; below 0 it wraps around, and back */
uint inside[2]; /* a bit for each tap that falls into the image */
uvec4 from_x[2], from_w;

void start_row(uint i, uint row)
{
    const uint pixels = p.out_height * p.out_width, pixel = row % pixels;
    const uint y = pixel / p.out_width * (p.stride & 0xffffu) - (p.pad & 0xffffu);
    const uint x = pixel % p.out_width * (p.stride >> 16) - (p.pad >> 16);
    uint bits = 0, tap_row = y, tap_column = 0;
    for (uint tap = 0; tap < p.taps && row < p.rows; tap++) {
        if (tap_row < p.height && x + tap_column < p.width)
            bits |= 1u << tap;
        if (++tap_column == p.kernel_width) {
            tap_column = 0;
            tap_row++;
        }
    }
    inside[i] = bits;
    origin[i] = ((row / pixels * p.height + y) * p.width + x) * (p.channels / 8);
}

/* The thread's share of a piece of a tap, from its chunk `first` on. */
void fetch(uint tap, uint first, uint column)
{
    const uint chunks = p.channels / 8, own = first + THREAD % PIECE;
    const uint way = (tap / p.kernel_width * p.width + tap % p.kernel_width) * chunks + own;
    [[unroll]] for (uint i = 0; i < LOADS; i++) {
        from_x[i] = uvec4(0);
        if (THREAD + i * ALL < ROWS * PIECE && own < chunks && (inside[i] >> tap & 1u) != 0)
            from_x[i] = chunk_ref(p.x + 16 * uint64_t(origin[i] + way)).v;
    }
    column += THREAD / PIECE;
    from_w = uvec4(0);
    if (THREAD < COLUMNS * PIECE && own < chunks && column < p.outputs)
        from_w = chunk_ref(p.w + 16 * (uint64_t(column) * p.taps * chunks + tap * chunks + own)).v;
}

void share()
{
    const uint k = THREAD % PIECE * 8;
    [[unroll]] for (uint i = 0; i < LOADS; i++) {
        const uint row = (THREAD + i * ALL) / PIECE;
        if (row >= ROWS)
            continue;
        const vec4 a = unpack(from_x[i].xy), b = unpack(from_x[i].zw);
        [[unroll]] for (uint j = 0; j < 4; j++) {
            left[(k + j) * ROW_PITCH + row] = a[j];
            left[(k + 4 + j) * ROW_PITCH + row] = b[j];
        }
    }
    if (THREAD < COLUMNS * PIECE) {
        const uint column = THREAD / PIECE;
        const vec4 a = unpack(from_w.xy), b = unpack(from_w.zw);
        [[unroll]] for (uint j = 0; j < 4; j++) {
            right[(k + j) * COLUMN_PITCH + column] = a[j];
            right[(k + 4 + j) * COLUMN_PITCH + column] = b[j];
        }
    }
}

uint row_of(uint i)
{
    return THREAD / ACROSS * 4 + i % 4 + i / 4 * (DOWN * 4);
}

uint column_of(uint j)
{
    return THREAD % ACROSS * V + j % V + j / V * (ACROSS * V);
}

void main()
{
    const uint group = NEIGHBOURS * p.column_tiles, in_group = BLOCK_X % group;
    const uint first_tile = BLOCK_X / group * NEIGHBOURS;
    const uint neighbours = min(p.row_tiles - first_tile, NEIGHBOURS);
    const uint row = (first_tile + in_group % neighbours) * ROWS;
    const uint column = in_group / neighbours * COLUMNS;
    const uint chunks = p.channels / 8, per_tap = divide_up(chunks, STEP);
    const uint end = min((BLOCK_Y + 1) * p.steps, p.taps * per_tap);
    float sums[PART_ROWS * PART_COLUMNS];
    [[unroll]] for (uint i = 0; i < PART_ROWS * PART_COLUMNS; i++)
        sums[i] = 0;
    [[unroll]] for (uint i = 0; i < LOADS; i++)
        start_row(i, row + (THREAD + i * ALL) / PIECE);

    uint place = BLOCK_Y * p.steps, chunk = place % per_tap * STEP;
    fetch(place / per_tap, chunk, column);
    while (place < end) {
        barrier();
        share();
        barrier();
        chunk += PIECE;
        if (chunk >= chunks || chunk % STEP == 0) {
            place++;
            chunk = place % per_tap * STEP;
        }
        if (place < end)
            fetch(place / per_tap, chunk, column);
        for (uint k = 0; k < DEPTH; k++) {
            float a[PART_ROWS], b[PART_COLUMNS];
            [[unroll]] for (uint i = 0; i < PART_ROWS; i++)
                a[i] = left[k * ROW_PITCH + row_of(i)];
            [[unroll]] for (uint j = 0; j < PART_COLUMNS; j++)
                b[j] = right[k * COLUMN_PITCH + column_of(j)];
            [[unroll]] for (uint i = 0; i < PART_ROWS; i++)
                [[unroll]] for (uint j = 0; j < PART_COLUMNS; j++)
                    sums[i * PART_COLUMNS + j] = fma(a[i], b[j], sums[i * PART_COLUMNS + j]);
        }
    }

    [[unroll]] for (uint i = 0; i < PART_ROWS; i++) {
        const uint r = row + row_of(i);
        if (r >= p.rows)
            continue;
        [[unroll]] for (uint j = 0; j < PART_COLUMNS; j += V) {
            const uint c = column + column_of(j);
            const uint at = i * PART_COLUMNS + j;
            if (c >= p.outputs)
                continue;
            if (p.partial != 0) {
                const uint64_t to = (uint64_t(BLOCK_Y) * p.rows + r) * p.outputs + c;
                if (V == 4 && (p.outputs & 3u) == 0)
                    four_ref(p.partial + 4 * to).v =
                        vec4(sums[at], sums[at + 1], sums[at + 2], sums[at + 3]);
                else
                    [[unroll]] for (uint l = 0; l < V; l++)
                        if (c + l < p.outputs)
                            store_float(p.partial, to + l, sums[at + l]);
            } else if (V == 4) {
                finish_four(r, c, vec4(sums[at], sums[at + 1], sums[at + 2], sums[at + 3]));
            } else {
                finish(r, c, sums[at]);
            }
        }
    }
}
