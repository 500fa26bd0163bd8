/* Eight neighbours of a row at once: 16 bytes of halves where all are there and aligned, one by one
 * at ends of rows and in rows whose length is no multiple of eight. */
#ifndef LS_CUDA_SPANS_H
#define LS_CUDA_SPANS_H

#include "dialect.h"

enum { SPAN = 8 };

/* Of a thread: `count` elements from `column` of `row`. */
typedef struct span {
    uint32_t row, column, count;
} span;

DEVICE uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

DEVICE uint32_t spans_of(uint32_t columns)
{
    return (columns + SPAN - 1) / SPAN;
}

/* The i-th span of rows of `columns`. */
DEVICE span span_of(uint32_t i, uint32_t columns)
{
    const uint32_t spans = spans_of(columns);
    span s;
    s.row = i / spans;
    s.column = i % spans * SPAN;
    s.count = smaller(columns - s.column, SPAN);
    return s;
}

DEVICE bool whole(const void *p, uint32_t count)
{
    return count == SPAN && (size_t)p % 16 == 0;
}

/* Elements from `count` on become 0. */
DEVICE void load_halves(float v[SPAN], const uint16_t *x, uint32_t count)
{
    if (whole(x, count)) {
        const chunk16 c = *(const chunk16 *)(const void *)x;
        UNROLL
        for (uint32_t i = 0; i < SPAN; i++)
            v[i] = half_of(&c, i);
    } else {
        UNROLL
        for (uint32_t i = 0; i < SPAN; i++)
            v[i] = i < count ? from_half(x[i]) : 0;
    }
}

DEVICE void store_halves(uint16_t *y, const float v[SPAN], uint32_t count, uint32_t *bad)
{
    if (whole(y, count)) {
        chunk16 c;
        UNROLL
        for (uint32_t i = 0; i < SPAN; i += 2)
            c.word[i / 2] = checked_half(v[i], bad) | (uint32_t)checked_half(v[i + 1], bad) << 16;
        *(chunk16 *)(void *)y = c;
    } else {
        UNROLL
        for (uint32_t i = 0; i < SPAN; i++)
            if (i < count)
                y[i] = checked_half(v[i], bad);
    }
}

/* One by one it goes backwards: clang would take the first element out of both branches, and split
 * the sixteen bytes. */
DEVICE void load_floats(float v[SPAN], const float *x, uint32_t count)
{
    if (whole(x, count)) {
        const chunk16 c[2] = {*(const chunk16 *)(const void *)x,
                              *(const chunk16 *)(const void *)(x + SPAN / 2)};
        __builtin_memcpy(v, c, sizeof c);
    } else {
        UNROLL
        for (uint32_t i = SPAN; i-- > 0;)
            v[i] = i < count ? x[i] : 0;
    }
}

DEVICE void store_floats(float *y, const float v[SPAN], uint32_t count, uint32_t *bad)
{
    UNROLL
    for (uint32_t i = 0; i < SPAN; i++)
        if (i < count && !is_finite(v[i]))
            *bad = 1;
    if (whole(y, count)) {
        chunk16 c[2];
        __builtin_memcpy(c, v, sizeof c);
        *(chunk16 *)(void *)y = c[0];
        *(chunk16 *)(void *)(y + SPAN / 2) = c[1];
    } else {
        UNROLL
        for (uint32_t i = SPAN; i-- > 0;)
            if (i < count)
                y[i] = v[i];
    }
}

#endif
