/* Convolutions and linear layers: matrix products of half floats, added up in float32. A row of the
 * left factor is what the window at a pixel covers, gathered tap by tap straight from the image. */
#include "dialect.h"
#include "functions.h"
#include "backend/gpu/params/product.h"

/* Tiles of as many rows share their columns' weights while these are in the cache. */
#define NEIGHBOURS 8

#define MMA_ROWS 16
#define MMA_COLUMNS 8
#define MMA_DEPTH 16
#define CHUNK PRODUCT_CHUNK
#define CHUNKS (PRODUCT_DEPTH / CHUNK) /* of a row of a stage */
#define ROW_BYTES (PRODUCT_DEPTH * 2)
#define MAX_ROW_BLOCKS 4
#define MAX_COLUMN_BLOCKS 4
#define BLOCK_SUMS 4 /* of a thread, of MMA_ROWS x MMA_COLUMNS */
#define MAX_SUMS (MAX_ROW_BLOCKS * MAX_COLUMN_BLOCKS * BLOCK_SUMS)
#define MAX_LOADS 4

typedef struct __attribute__((aligned(16))) floats4 {
    float value[4];
} floats4;

typedef struct __attribute__((aligned(8))) floats2 {
    float value[2];
} floats2;

/* A sum becomes a result. */
DEVICE void finish_one(const product_finish *f, uint32_t row, uint32_t column, float sum)
{
    const size_t at = (size_t)row * f->outputs + column;
    float v = f->bias ? sum + f->bias[column] : sum, residual = 0;
    if (f->residual)
        residual = f->residual_float ? ((const float *)f->residual)[at]
                                     : from_half(((const uint16_t *)f->residual)[at]);
    v = f->act_last ? apply_act(f->act, v + residual) : apply_act(f->act, v) + residual;
    if (f->out_float)
        ((float *)f->out)[at] = v;
    else
        ((uint16_t *)f->out)[at] = checked_half(v, f->bad);
}

DEVICE void add_floats(float v[CHUNK], const float *from)
{
    UNROLL
    for (uint32_t i = 0; i < CHUNK; i += 4) {
        const floats4 four = *(const floats4 *)(const void *)(from + i);
        UNROLL
        for (uint32_t j = 0; j < 4; j++)
            v[i + j] += four.value[j];
    }
}

DEVICE void store_floats(float *to, const float v[CHUNK])
{
    UNROLL
    for (uint32_t i = 0; i < CHUNK; i += 4) {
        floats4 four;
        UNROLL
        for (uint32_t j = 0; j < 4; j++)
            four.value[j] = v[i + j];
        *(floats4 *)(void *)(to + i) = four;
    }
}

DEVICE void add_residual(const product_finish *f, float v[CHUNK], size_t at)
{
    if (f->residual_float) {
        add_floats(v, (const float *)f->residual + at);
        return;
    }
    const chunk16 halves = *(const chunk16 *)((const uint16_t *)f->residual + at);
    UNROLL
    for (uint32_t i = 0; i < CHUNK; i++)
        v[i] += half_of(&halves, i);
}

/* Eight neighbouring sums of a row become results, where the number of outputs is a multiple of
 * eight. */
DEVICE void finish_chunk(const product_finish *f, uint32_t row, uint32_t column, float v[CHUNK])
{
    const size_t at = (size_t)row * f->outputs + column;
    if (f->bias)
        add_floats(v, f->bias + column);
    if (f->residual && f->act_last)
        add_residual(f, v, at);
    if (f->act != ACT_NONE) {
        UNROLL
        for (uint32_t i = 0; i < CHUNK; i++)
            v[i] = apply_act(f->act, v[i]);
    }
    if (f->residual && !f->act_last)
        add_residual(f, v, at);
    if (f->out_float) {
        store_floats((float *)f->out + at, v);
        return;
    }
    chunk16 halves;
    UNROLL
    for (uint32_t i = 0; i < CHUNK; i += 2)
        halves.word[i / 2] =
            (uint32_t)checked_half(v[i], f->bad) | (uint32_t)checked_half(v[i + 1], f->bad) << 16;
    *(chunk16 *)((uint16_t *)f->out + at) = halves;
}

typedef struct tile {
    uint32_t rows, columns, warp_rows, warp_columns;
} tile;

DEVICE uint32_t tile_threads(tile t)
{
    return t.rows / t.warp_rows * (t.columns / t.warp_columns) * WARP;
}

/* A stage holds PRODUCT_DEPTH halves of each row of the tile, then of each column. Four chunks of a
 * row are 64 bytes, half of what the banks span: chunks trade places so that neither the eight rows
 * of a matrix nor two whole rows meet in a bank. */
DEVICE uint32_t chunk_offset(uint32_t row, uint32_t chunk)
{
    return row * ROW_BYTES + (chunk ^ row / 2 % CHUNKS) * 16;
}

/* Where a thread's next step reads. Offsets count chunks; below 0 they wrap around, and back. */
typedef struct cursor {
    uint32_t tap, tap_column, chunk; /* the block's first chunk of the tap */
    uint32_t x, w;                   /* offsets from a window's first pixel, and into weights */
} cursor;

/* What a thread copies: the chunk of its number modulo CHUNKS, of every n-th row and column. */
typedef struct loader {
    uint32_t origin[MAX_LOADS]; /* of the window at the row's pixel */
    uint32_t inside[MAX_LOADS]; /* a bit for each tap that falls into the image */
    uint32_t weights, columns;  /* of the first column; how many there are from it on */
} loader;

DEVICE void start_row(const product_params *p, loader *l, uint32_t i, uint32_t row)
{
    const uint32_t pixels = p->out_height * p->out_width, pixel = row % pixels;
    const uint32_t y = pixel / p->out_width * p->stride[0] - p->pad[0];
    const uint32_t x = pixel % p->out_width * p->stride[1] - p->pad[1];
    l->inside[i] = 0;
    l->origin[i] = ((row / pixels * p->height + y) * p->width + x) * (p->channels / CHUNK);
    uint32_t tap_row = y, tap_column = 0;
    for (uint32_t tap = 0; tap < p->taps && row < p->finish.rows; tap++) {
        if (tap_row < p->height && x + tap_column < p->width)
            l->inside[i] |= 1u << tap;
        if (++tap_column == p->kernel_width) {
            tap_column = 0;
            tap_row++;
        }
    }
}

DEVICE void start_loader(const product_params *p, tile t, loader *l, uint32_t row, uint32_t column)
{
    const uint32_t first = THREAD / CHUNKS, step = tile_threads(t) / CHUNKS;
    UNROLL
    for (uint32_t i = 0; i < t.rows / step; i++)
        start_row(p, l, i, row + first + i * step);
    column += first;
    l->weights = column * p->taps * (p->channels / CHUNK);
    l->columns = column < p->finish.outputs ? p->finish.outputs - column : 0;
}

DEVICE cursor start_cursor(const product_params *p, const loader *l, uint32_t step)
{
    const uint32_t chunks = p->channels / CHUNK, per_tap = (chunks + CHUNKS - 1) / CHUNKS;
    cursor c;
    c.tap = step / per_tap;
    c.tap_column = c.tap % p->kernel_width;
    c.chunk = step % per_tap * CHUNKS;
    const uint32_t own = c.chunk + THREAD % CHUNKS;
    c.x = (c.tap / p->kernel_width * p->width + c.tap_column) * chunks + own;
    c.w = l->weights + c.tap * chunks + own;
    return c;
}

DEVICE void advance(const product_params *p, cursor *c)
{
    const uint32_t chunks = p->channels / CHUNK;
    uint32_t by = CHUNKS;
    c->chunk += CHUNKS;
    if (c->chunk >= chunks) {
        by += chunks - c->chunk;
        c->chunk = 0;
        c->tap++;
        if (++c->tap_column == p->kernel_width) {
            c->tap_column = 0;
            c->x += (p->width - p->kernel_width) * chunks;
        }
    }
    c->x += by;
    c->w += by;
}

/* What is not valid is not read, so its address may be anywhere. */
DEVICE void load_stage(const product_params *p, tile t, const loader *l, const cursor *c,
                       uint8_t *stage)
{
    const uint32_t chunks = p->channels / CHUNK;
    const uint32_t step = tile_threads(t) / CHUNKS, first = THREAD / CHUNKS;
    const bool there = c->chunk + THREAD % CHUNKS < chunks;
    uint8_t *const to = stage + chunk_offset(first, THREAD % CHUNKS);
    UNROLL
    for (uint32_t i = 0; i < t.rows / step; i++)
        copy16_async(to + i * step * ROW_BYTES, p->x + (size_t)(l->origin[i] + c->x) * CHUNK,
                     there & (l->inside[i] >> c->tap & 1));
    if (t.columns < step && first >= t.columns)
        return;
    UNROLL
    for (uint32_t i = 0; i < (t.columns + step - 1) / step; i++)
        copy16_async(to + (t.rows + i * step) * ROW_BYTES,
                     p->w + (size_t)(c->w + i * step * p->taps * chunks) * CHUNK,
                     there & (i * step < l->columns));
}

/* Adds the products of a stage to a warp's part of the tile. */
DEVICE void multiply_stage(tile t, const uint8_t *stage, uint32_t warp_row, uint32_t warp_column,
                           float sums[MAX_SUMS])
{
    const uint32_t lane = THREAD % WARP;
    const uint32_t rows = t.warp_rows / MMA_ROWS, columns = t.warp_columns / MMA_COLUMNS;
    const uint8_t *const weights = stage + t.rows * ROW_BYTES;
    const uint32_t a_row = warp_row + lane % MMA_ROWS;
    const uint32_t b_row = (warp_column + lane % 8 + lane / 16 * 8) % t.columns;
    UNROLL
    for (uint32_t k = 0; k < CHUNKS; k += MMA_DEPTH / CHUNK) {
        uint32_t a[MAX_ROW_BLOCKS * 4], b[MAX_COLUMN_BLOCKS * 2];
        UNROLL
        for (uint32_t i = 0; i < rows; i++)
            load_matrices(a + i * 4, stage + chunk_offset(a_row + i * MMA_ROWS, k + lane / 16));
        UNROLL
        for (uint32_t j = 0; j < columns; j += 2) {
            uint32_t two[4];
            load_matrices(two, weights + chunk_offset(b_row + j * MMA_COLUMNS, k + lane / 8 % 2));
            UNROLL
            for (uint32_t r = 0; r < 4; r++)
                b[j * 2 + r] = two[r];
        }
        mma_tiles(sums, a, b, rows, columns);
    }
}

DEVICE void wait_stage(uint32_t stages)
{
    if (stages == 2) {
        copy_wait(0);
    } else if (stages == 3) {
        copy_wait(1);
    } else {
        copy_wait(2);
    }
}

DEVICE void multiply(const product_params *p, tile t, const loader *l, uint32_t warp_row,
                     uint32_t warp_column, uint8_t *memory, float sums[MAX_SUMS])
{
    const uint32_t per_tap = (p->channels + PRODUCT_DEPTH - 1) / PRODUCT_DEPTH;
    const uint32_t bytes = (t.rows + t.columns) * ROW_BYTES, first = BLOCK_Y * p->steps;
    const uint32_t all = p->taps * per_tap;
    const uint32_t end = all - first < p->steps ? all : first + p->steps;
    const uint32_t last = (p->stages - 1) * bytes;
    cursor c = start_cursor(p, l, first);
    uint32_t load = 0, left = end - first, ahead = left;
    for (; load < last; load += bytes) {
        if (ahead) {
            load_stage(p, t, l, &c, memory + load);
            advance(p, &c);
            ahead--;
        }
        copy_commit();
    }
    for (; left; left--) {
        wait_stage(p->stages);
        sync_block(); /* the next stage is there for all, and this one is no longer read */
        const uint32_t use = load == last ? 0 : load + bytes;
        if (left >= p->stages) {
            load_stage(p, t, l, &c, memory + load);
            advance(p, &c);
        }
        copy_commit();
        multiply_stage(t, memory + use, warp_row, warp_column, sums);
        load = use;
    }
    copy_wait(0);
    sync_block();
}

/* A warp's sums pass through its own memory, MMA_ROWS rows at a time, so that every thread gets
 * eight neighbours. Groups of four trade places within a row: of the threads that the banks serve
 * at once no two meet, in writing as in reading. */
DEVICE float *staged(tile t, float *memory, uint32_t row, uint32_t column)
{
    const uint32_t swap = (row % 4 * 2 + row % 2) % (t.warp_columns / 4);
    return memory + row * t.warp_columns + ((column / 4) ^ swap) * 4 + column % 4;
}

DEVICE void stage_sums(tile t, float *memory, const float *sums)
{
    const uint32_t lane = THREAD % WARP;
    UNROLL
    for (uint32_t j = 0; j < t.warp_columns / MMA_COLUMNS; j++) {
        UNROLL
        for (uint32_t half = 0; half < 2; half++) {
            const float *const two = sums + j * BLOCK_SUMS + half * 2;
            const floats2 pair = {{two[0], two[1]}};
            const uint32_t row = lane / 4 + half * 8, column = j * MMA_COLUMNS + lane % 4 * 2;
            *(floats2 *)(void *)staged(t, memory, row, column) = pair;
        }
    }
}

DEVICE void store_staged(const product_params *p, tile t, float *memory, uint32_t row,
                         uint32_t column)
{
    const product_finish *const f = &p->finish;
    const uint32_t width = f->outputs % CHUNK ? 1 : CHUNK, per_row = t.warp_columns / width;
    float *const partial =
        p->partial ? p->partial + (size_t)BLOCK_Y * f->rows * f->outputs : (float *)0;
    for (uint32_t i = THREAD % WARP; i < MMA_ROWS * per_row; i += WARP) {
        const uint32_t r = i / per_row, c = i % per_row * width;
        if (row + r >= f->rows || column + c >= f->outputs)
            continue;
        const size_t at = (size_t)(row + r) * f->outputs + column + c;
        if (width == 1) {
            const float sum = *staged(t, memory, r, c);
            if (partial)
                partial[at] = sum;
            else
                finish_one(f, row + r, column + c, sum);
            continue;
        }
        float v[CHUNK];
        UNROLL
        for (uint32_t j = 0; j < CHUNK; j += 4) {
            const floats4 four = *(const floats4 *)(void *)staged(t, memory, r, c + j);
            UNROLL
            for (uint32_t k = 0; k < 4; k++)
                v[j + k] = four.value[k];
        }
        if (partial)
            store_floats(partial + at, v);
        else
            finish_chunk(f, row + r, column + c, v);
    }
}

/* Those of the next rows move up: in registers, indices must be constants. */
DEVICE void store_sums(const product_params *p, tile t, float *memory, uint32_t row,
                       uint32_t column, float sums[MAX_SUMS])
{
    const uint32_t per_block = t.warp_columns / MMA_COLUMNS * BLOCK_SUMS;
    const uint32_t blocks = t.warp_rows / MMA_ROWS;
    for (uint32_t block = 0; block < blocks; block++) {
        stage_sums(t, memory, sums);
        UNROLL
        for (uint32_t i = per_block; i < blocks * per_block; i++)
            sums[i - per_block] = sums[i];
        sync_warp();
        store_staged(p, t, memory, row + block * MMA_ROWS, column);
        sync_warp();
    }
}

DEVICE void product(const product_params *p, tile t, uint8_t *memory)
{
    const uint32_t group = NEIGHBOURS * p->column_tiles, in_group = BLOCK_X % group;
    const uint32_t first = BLOCK_X / group * NEIGHBOURS, left = p->row_tiles - first;
    const uint32_t neighbours = left < NEIGHBOURS ? left : NEIGHBOURS;
    const uint32_t row = (first + in_group % neighbours) * t.rows;
    const uint32_t column = in_group / neighbours * t.columns;
    const uint32_t warp = THREAD / WARP, warps_down = t.rows / t.warp_rows;
    const uint32_t warp_row = warp % warps_down * t.warp_rows;
    const uint32_t warp_column = warp / warps_down * t.warp_columns;
    loader l;
    float sums[MAX_SUMS];
    start_loader(p, t, &l, row, column);
    UNROLL
    for (uint32_t i = 0; i < MAX_SUMS; i++)
        sums[i] = 0;
    multiply(p, t, &l, warp_row, warp_column, memory, sums);
    store_sums(p, t, (float *)(void *)memory + warp * MMA_ROWS * t.warp_columns, row + warp_row,
               column + warp_column, sums);
}

/* Turing's 64 KiB of shared memory bound the blocks before registers do. */
#if defined __CUDA_ARCH__ && __CUDA_ARCH__ < 800
#define FITTING(rows, columns, blocks)                                                             \
    (65536 / (PRODUCT_MIN_STAGES * ROW_BYTES * ((rows) + (columns))))
#else
#define FITTING(rows, columns, blocks) blocks
#endif

#define PRODUCT_KERNEL(name, rows, columns, warp_rows, warp_columns, threads, blocks)              \
    KERNEL(product_##name, product_params, threads, FITTING(rows, columns, blocks))                \
    {                                                                                              \
        SHARED(memory);                                                                            \
        const tile t = {rows, columns, warp_rows, warp_columns};                                   \
        product(&p, t, memory);                                                                    \
    }
PRODUCT_TILES(PRODUCT_KERNEL)

KERNEL(product_sum, product_sum_params, PRODUCT_SUM_THREADS, 4)
{
    const product_finish *const f = &p.finish;
    const uint32_t width = f->outputs % CHUNK ? 1 : CHUNK, per_row = f->outputs / width;
    const uint32_t i = BLOCK_X * PRODUCT_SUM_THREADS + THREAD;
    if (i >= f->rows * per_row)
        return;
    const size_t at = (size_t)i * width, step = (size_t)f->rows * f->outputs;
    if (width == 1) {
        float sum = 0;
        for (uint32_t s = 0; s < p.splits; s++)
            sum += p.partial[s * step + at];
        finish_one(f, i / per_row, i % per_row, sum);
        return;
    }
    float v[CHUNK] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (uint32_t s = 0; s < p.splits; s++)
        add_floats(v, p.partial + s * step + at);
    finish_chunk(f, i / per_row, i % per_row * width, v);
}

KERNEL(product_pad, product_pad_params, PRODUCT_SUM_THREADS, 4)
{
    const uint32_t per_row = p.to / CHUNK, i = BLOCK_X * PRODUCT_SUM_THREADS + THREAD;
    if (i >= p.rows * per_row)
        return;
    const uint32_t row = i / per_row, first = i % per_row * CHUNK;
    chunk16 c = {{0, 0, 0, 0}};
    UNROLL
    for (uint32_t j = 0; j < CHUNK; j++)
        if (first + j < p.from)
            c.word[j / 2] |= (uint32_t)p.x[(size_t)row * p.from + first + j] << j % 2 * 16;
    *(chunk16 *)(p.out + (size_t)i * CHUNK) = c;
}

/* One warp an output: for rows so few that reading the weights is all there is to do, and for
 * inputs in float32. */
KERNEL(product_vector, product_vector_params, PRODUCT_VECTOR_THREADS, 8)
{
    const uint32_t row = BLOCK_X, lane = THREAD % WARP;
    const uint32_t output = BLOCK_Y * (PRODUCT_VECTOR_THREADS / WARP) + THREAD / WARP;
    if (output >= p.finish.outputs)
        return;
    const size_t x = (size_t)row * p.channels;
    float sum = 0;
    for (uint32_t first = lane * CHUNK; first < p.channels; first += WARP * CHUNK) {
        const chunk16 w = *(const chunk16 *)(p.w + (size_t)output * p.stored + first);
        UNROLL
        for (uint32_t j = 0; j < CHUNK; j++) {
            const uint32_t c = first + j;
            if (c < p.channels)
                sum = fused_multiply_add(p.x_float ? ((const float *)p.x)[x + c]
                                                   : from_half(((const uint16_t *)p.x)[x + c]),
                                         half_of(&w, j), sum);
        }
    }
    for (uint32_t mask = WARP / 2; mask; mask /= 2)
        sum += shuffle_xor(sum, mask);
    if (lane == 0)
        finish_one(&p.finish, row, output, sum);
}
