#include "functions.h"
#include "spans.h"
#include "backend/gpu/params/elementwise.h"

#define SPAN_INDEX (BLOCK_X * ELEMENTWISE_THREADS + THREAD)

/* The part of a flat tensor that is the thread's. */
typedef struct part {
    uint64_t start;
    uint32_t count;
} part;

DEVICE part part_of(uint32_t i, uint64_t count)
{
    part s;
    s.start = (uint64_t)i * SPAN;
    s.count = s.start >= count ? 0 : count - s.start < SPAN ? (uint32_t)(count - s.start) : SPAN;
    return s;
}

KERNEL(activate, elementwise_params, ELEMENTWISE_THREADS, 4)
{
    const part s = part_of(SPAN_INDEX, p.count);
    if (!s.count)
        return;
    float v[SPAN];
    load_halves(v, (const uint16_t *)p.a + s.start, s.count);
    UNROLL
    for (uint32_t i = 0; i < SPAN; i++)
        v[i] = apply_act(p.act, v[i]);
    store_halves((uint16_t *)p.y + s.start, v, s.count, p.bad);
}

KERNEL(add, elementwise_params, ELEMENTWISE_THREADS, 4)
{
    const part s = part_of(SPAN_INDEX, p.count);
    if (!s.count)
        return;
    float a[SPAN], b[SPAN];
    load_halves(a, (const uint16_t *)p.a + s.start, s.count);
    load_halves(b, (const uint16_t *)p.b + s.start, s.count);
    UNROLL
    for (uint32_t i = 0; i < SPAN; i++)
        a[i] += b[i];
    store_halves((uint16_t *)p.y + s.start, a, s.count, p.bad);
}

KERNEL(cast_to_half, elementwise_params, ELEMENTWISE_THREADS, 4)
{
    const part s = part_of(SPAN_INDEX, p.count);
    if (!s.count)
        return;
    float v[SPAN];
    load_floats(v, (const float *)p.a + s.start, s.count);
    store_halves((uint16_t *)p.y + s.start, v, s.count, p.bad);
}

KERNEL(cast_to_float, elementwise_params, ELEMENTWISE_THREADS, 4)
{
    const part s = part_of(SPAN_INDEX, p.count);
    if (!s.count)
        return;
    float v[SPAN];
    load_halves(v, (const uint16_t *)p.a + s.start, s.count);
    store_floats((float *)p.y + s.start, v, s.count, p.bad);
}

KERNEL(geglu, elementwise_params, ELEMENTWISE_THREADS, 4)
{
    const uint32_t columns = p.columns[0];
    const span s = span_of(SPAN_INDEX, columns);
    if (s.row >= p.rows)
        return;
    const uint16_t *x = (const uint16_t *)p.a + (uint64_t)s.row * 2 * columns + s.column;
    float v[SPAN], gate[SPAN];
    load_halves(v, x, s.count);
    load_halves(gate, x + columns, s.count);
    UNROLL
    for (uint32_t i = 0; i < SPAN; i++)
        v[i] *= gelu(gate[i]);
    store_halves((uint16_t *)p.y + (uint64_t)s.row * columns + s.column, v, s.count, p.bad);
}

/* A row's spans of a come first, then those of b. */
KERNEL(concat, elementwise_params, ELEMENTWISE_THREADS, 4)
{
    const uint32_t a = p.columns[0], b = p.columns[1];
    const uint32_t spans_a = spans_of(a), spans = spans_a + spans_of(b);
    const uint32_t row = SPAN_INDEX / spans, i = SPAN_INDEX % spans;
    if (row >= p.rows)
        return;
    const bool second = i >= spans_a;
    const uint32_t columns = second ? b : a, column = (second ? i - spans_a : i) * SPAN;
    const uint32_t count = smaller(columns - column, SPAN);
    float v[SPAN];
    load_halves(v, (const uint16_t *)(second ? p.b : p.a) + (uint64_t)row * columns + column,
                count);
    store_halves((uint16_t *)p.y + (uint64_t)row * (a + b) + (second ? a : 0) + column, v, count,
                 p.bad);
}

KERNEL(upsample, elementwise_params, ELEMENTWISE_THREADS, 4)
{
    const span s = span_of(SPAN_INDEX, p.columns[0]);
    if (s.row >= p.rows)
        return;
    const uint32_t line = s.row / p.to[1], image = line / p.to[0];
    const uint32_t top = line % p.to[0] * p.from[0] / p.to[0];
    const uint32_t left = s.row % p.to[1] * p.from[1] / p.to[1];
    const uint64_t pixel = ((uint64_t)image * p.from[0] + top) * p.from[1] + left;
    float v[SPAN];
    load_halves(v, (const uint16_t *)p.a + pixel * p.columns[0] + s.column, s.count);
    store_halves((uint16_t *)p.y + (uint64_t)s.row * p.columns[0] + s.column, v, s.count, p.bad);
}

/* 1 + x + x^2 / 2! + .. to the power `terms` */
DEVICE double exponential_series(double x, int terms)
{
    double y = 1;
    for (int i = terms; i > 0; i--)
        y = 1 + y * x / i;
    return y;
}

/* Of x = -10 .. 0: the 16th root's series, squared four times. */
DEVICE double exponential_double(double x)
{
    double y = exponential_series(x / 16, 14);
    for (int i = 0; i < 4; i++)
        y *= y;
    return y;
}

/* |x| < 1e6. A multiple of pi / 2 is taken off; which one decides what is the cosine of x. */
DEVICE void cosine_and_sine(double x, float result[2])
{
    const double quarter = 1.57079632679489661923;
    const int64_t quarters = (int64_t)(x / quarter);
    const double r = x - (double)quarters * quarter, square = r * r;
    double c = 1, s = 1;
    for (int i = 14; i > 0; i -= 2) {
        c = 1 - c * square / (i * (i - 1));
        s = 1 - s * square / (i * (i + 1));
    }
    s *= r;
    const bool swapped = quarters & 1, negative = quarters & 2;
    result[0] = (float)(swapped ? -s : c);
    result[1] = (float)(swapped ? c : s);
    if (negative)
        result[0] = -result[0], result[1] = -result[1];
}

/* Frequencies and angles are rounded to float32, as in diffusers: at t = 1000 an angle's last bit
 * is 6e-5, so all else is done in double. */
KERNEL(timestep, elementwise_params, ELEMENTWISE_THREADS, 1)
{
    const float log_10000 = 9.210340371976184f;
    const uint32_t i = SPAN_INDEX, half = p.columns[0];
    if (i >= half)
        return;
    const float exponent = -log_10000 * (float)i / (float)half;
    const float angle = *(const float *)p.a * (float)exponential_double(exponent);
    float y[2];
    cosine_and_sine((double)angle, y);
    if (!is_finite(y[0]) || !is_finite(y[1]))
        *p.bad = 1;
    ((float *)p.y)[i] = y[0];
    ((float *)p.y)[half + i] = y[1];
}
