/* Products, but for how a piece of both factors is multiplied: what product.comp and
 * product_matrix.comp have in common. A block computes a tile of so many rows and columns, each
 * PART_THREADS of its threads a part of it. A row of the left factor is what the window at a pixel
 * covers, gathered tap by tap straight from the image. */
#include "common.glsl"
#include "finish.glsl"

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
const uint STEP = 4; /* chunks of 8 channels in a step of `steps`; PIECE of them at once */
const uint ACROSS = COLUMNS / PART_COLUMNS, DOWN = ROWS / PART_ROWS;
const uint ALL = ACROSS * DOWN * PART_THREADS;
/* Chunks that a thread loads of either factor: the thread's number + i * ALL, row by row. */
const uint LEFT_LOADS = (ROWS * PIECE + ALL - 1) / ALL;
const uint RIGHT_LOADS = (COLUMNS * PIECE + ALL - 1) / ALL;

uint origin[LEFT_LOADS]; /* in chunks, of the window at the row's pixel; below 0 it wraps around */
uint inside[LEFT_LOADS]; /* a bit for each tap that falls into the image */
uvec4 from_x[LEFT_LOADS], from_w[RIGHT_LOADS];
uint tile_row, tile_column; /* the tile's first */
uint place, end, chunk;     /* the step to be fetched next, the last one's successor; its chunk */

/* Puts what was fetched into shared memory. */
void share();

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

/* The thread's share of the next piece. */
void fetch()
{
    const uint chunks = p.channels / 8, tap = place / divide_up(chunks, STEP);
    const uint own = chunk + THREAD % PIECE;
    const uint way = (tap / p.kernel_width * p.width + tap % p.kernel_width) * chunks + own;
    [[unroll]] for (uint i = 0; i < LEFT_LOADS; i++) {
        from_x[i] = uvec4(0);
        if (THREAD + i * ALL < ROWS * PIECE && own < chunks && (inside[i] >> tap & 1u) != 0)
            from_x[i] = chunk_ref(p.x + 16 * uint64_t(origin[i] + way)).v;
    }
    [[unroll]] for (uint i = 0; i < RIGHT_LOADS; i++) {
        const uint at = THREAD + i * ALL, column = tile_column + at / PIECE;
        from_w[i] = uvec4(0);
        if (at < COLUMNS * PIECE && own < chunks && column < p.outputs)
            from_w[i] =
                chunk_ref(p.w + 16 * (uint64_t(column) * p.taps * chunks + tap * chunks + own)).v;
    }
}

void start()
{
    const uint group = NEIGHBOURS * p.column_tiles, in_group = BLOCK_X % group;
    const uint first_tile = BLOCK_X / group * NEIGHBOURS;
    const uint neighbours = min(p.row_tiles - first_tile, NEIGHBOURS);
    const uint per_tap = divide_up(p.channels / 8, STEP);
    tile_row = (first_tile + in_group % neighbours) * ROWS;
    tile_column = in_group / neighbours * COLUMNS;
    place = BLOCK_Y * p.steps;
    end = min(place + p.steps, p.taps * per_tap);
    chunk = place % per_tap * STEP;
    [[unroll]] for (uint i = 0; i < LEFT_LOADS; i++)
        start_row(i, tile_row + (THREAD + i * ALL) / PIECE);
    fetch();
}

/* Whether there is a piece, which then is in shared memory; the one after it is on its way. */
bool advance()
{
    if (place >= end)
        return false;
    barrier();
    share();
    barrier();
    const uint chunks = p.channels / 8;
    chunk += PIECE;
    if (chunk >= chunks || chunk % STEP == 0) {
        place++;
        chunk = place % divide_up(chunks, STEP) * STEP;
    }
    if (place < end)
        fetch();
    return true;
}

/* The sum of a row and a column of the tile. */
void put(uint row, uint column, float sum)
{
    row += tile_row;
    column += tile_column;
    if (row >= p.rows || column >= p.outputs)
        return;
    if (p.partial == 0)
        finish(row, column, sum);
    else
        store_float(p.partial, (uint64_t(BLOCK_Y) * p.rows + row) * p.outputs + column, sum);
}

/* Of as many of four columns as there are. */
void put_four(uint row, uint column, vec4 sums)
{
    row += tile_row;
    column += tile_column;
    if (row >= p.rows || column >= p.outputs)
        return;
    if (p.partial == 0) {
        finish_four(row, column, sums);
        return;
    }
    const uint64_t to = (uint64_t(BLOCK_Y) * p.rows + row) * p.outputs + column;
    if ((p.outputs & 3u) == 0)
        four_ref(p.partial + 4 * to).v = sums;
    else
        [[unroll]] for (uint i = 0; i < 4; i++)
            if (column + i < p.outputs)
                store_float(p.partial, to + i, sums[i]);
}
