/* Rows of one head of a sequence, as the attention kernels move them. */
#ifndef LS_CUDA_ATTENTION_ROWS_H
#define LS_CUDA_ATTENTION_ROWS_H

#include "dialect.h"
#include "backend/gpu/params/attention.h"

typedef struct head_rows {
    size_t start; /* in elements of the tensor */
    uint32_t step, count, width;
    bool odd; /* rows do not begin and end at chunks of 16 bytes, and are moved by element */
} head_rows;

DEVICE head_rows rows_of(const attention_params *p, uint32_t sequence, uint32_t head,
                         uint32_t count, bool odd)
{
    const size_t first = (size_t)(sequence / p->step) * p->step * count + sequence % p->step;
    head_rows r;
    r.start = first * p->channels + (size_t)head * p->width;
    r.step = p->step * p->channels;
    r.count = count;
    r.width = p->width;
    r.odd = odd;
    return r;
}

/* 8 elements of a row; zeros beyond its end and beyond the last row. */
DEVICE chunk16 load_chunk(const uint16_t *x, const head_rows *r, uint32_t row, uint32_t column)
{
    chunk16 c = {{0, 0, 0, 0}};
    if (row >= r->count || column >= r->width)
        return c;
    const uint16_t *const from = x + r->start + (size_t)row * r->step + column;
    if (!r->odd)
        return *(const chunk16 *)from;
    for (uint32_t i = r->width - column < 8 ? r->width - column : 8; i-- > 0;) {
        c.word[3] = c.word[3] << 16 | c.word[2] >> 16;
        c.word[2] = c.word[2] << 16 | c.word[1] >> 16;
        c.word[1] = c.word[1] << 16 | c.word[0] >> 16;
        c.word[0] = c.word[0] << 16 | from[i];
    }
    return c;
}

DEVICE void store_chunk(uint16_t *y, const head_rows *r, uint32_t row, uint32_t column, chunk16 c)
{
    if (row >= r->count || column >= r->width)
        return;
    uint16_t *const to = y + r->start + (size_t)row * r->step + column;
    if (!r->odd) {
        *(chunk16 *)to = c;
        return;
    }
    for (uint32_t i = 0; i < 8 && column + i < r->width; i++) {
        to[i] = (uint16_t)c.word[0];
        c.word[0] = c.word[0] >> 16 | c.word[1] << 16;
        c.word[1] = c.word[1] >> 16 | c.word[2] << 16;
        c.word[2] = c.word[2] >> 16 | c.word[3] << 16;
        c.word[3] >>= 16;
    }
}

/* `count` rows from `first` on, to shared memory, as wide as `width` with zeros. By all threads of
 * a block; asynchronous. */
DEVICE void load_rows(uint16_t *to, const uint16_t *x, const head_rows *r, uint32_t first,
                      uint32_t count, uint32_t width, uint32_t threads)
{
    const uint32_t chunks = width / 8, rows = threads / chunks; /* at a time */
    const uint32_t column = THREAD % chunks * 8;
    if (THREAD >= rows * chunks)
        return;
    const uint16_t *from = x + r->start + (size_t)(first + THREAD / chunks) * r->step + column;
    for (uint32_t row = THREAD / chunks; row < count; row += rows) {
        uint16_t *const chunk = to + row * ATTENTION_PITCH(width) + column;
        const bool valid = first + row < r->count && column < r->width;
        if (r->odd)
            *(chunk16 *)chunk = load_chunk(x, r, first + row, column);
        else
            copy16_async(chunk, valid ? from : x, valid);
        from += (size_t)rows * r->step;
    }
}

/* The other way, by `threads` threads of which this is one. */
DEVICE void store_rows(uint16_t *y, const head_rows *r, uint32_t first, const uint16_t *from,
                       uint32_t count, uint32_t width, uint32_t thread, uint32_t threads)
{
    for (uint32_t i = thread; i < count * (width / 8); i += threads) {
        const uint32_t row = i / (width / 8), column = i % (width / 8) * 8;
        store_chunk(y, r, first + row, column,
                    *(const chunk16 *)(from + row * ATTENTION_PITCH(width) + column));
    }
}

/* A quad of lanes holds two rows of a 16 x 8 tile of a product: each lane elements 0, 1 of one, and
 * 2, 3 of the one 8 below. */
DEVICE float over_quad_maximum(float x)
{
    x = maximum(x, shuffle_xor(x, 1));
    return maximum(x, shuffle_xor(x, 2));
}

DEVICE float over_quad_sum(float x)
{
    x += shuffle_xor(x, 1);
    return x + shuffle_xor(x, 2);
}

DEVICE void clear_tile(float c[4])
{
    c[0] = c[1] = c[2] = c[3] = 0;
}

/* Bits 15 and 31 are set where a half of the pair is not finite; to be gathered by `|`. */
DEVICE uint32_t not_finite(uint32_t pair)
{
    return (pair & 0x7c007c00u) + 0x04000400u;
}

DEVICE void report(uint32_t gathered, uint32_t *bad)
{
    if (gathered & 0x80008000u)
        *bad = 1;
}

/* Two halves of shared memory. */
typedef uint32_t __attribute__((may_alias)) word;

#define LOWEST (-__builtin_inff())
/* Powers are relative to a base that follows a row's maximum so far when that is SLACK above it: so
 * what is summed seldom has to be scaled. No power is more than 2^SLACK. */
#define SLACK 8

#endif
