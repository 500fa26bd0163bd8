#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

/* A thread computes one span, or, of timestep, a cosine and a sine. */
layout(constant_id = 1) const uint OP = 0;
const uint ACTIVATE = 0, ADD = 1, CAST_TO_HALF = 2, CAST_TO_FLOAT = 3, GEGLU = 4, CONCAT = 5,
           UPSAMPLE = 6, TIMESTEP = 7;

layout(push_constant, scalar) uniform elementwise_params
{
    uint64_t a, b, y, bad, count;
    uint rows, columns[2], from[2], to[2], act;
} p;

void store_floats(uint64_t y, const float v[SPAN], uint count)
{
    [[unroll]] for (uint i = 0; i < SPAN; i++)
        if (i < count) {
            store_float(y, i, v[i]);
            if (not_finite(v[i]))
                flag_ref(p.bad).v = 1;
        }
}

/* Of tensors that are taken as they lie in memory. */
void pointwise(uint i)
{
    const uint64_t start = uint64_t(i) * SPAN;
    if (start >= p.count)
        return;
    const uint count = uint(min(p.count - start, uint64_t(SPAN)));
    float v[SPAN], w[SPAN];
    if (OP == CAST_TO_HALF)
        load_floats(v, p.a + 4 * start, count);
    else
        load_halves(v, p.a + 2 * start, count);
    if (OP == ADD)
        load_halves(w, p.b + 2 * start, count);
    [[unroll]] for (uint j = 0; j < SPAN; j++) {
        if (OP == ADD)
            v[j] += w[j];
        if (OP == ACTIVATE)
            v[j] = apply_act(p.act, v[j]);
    }
    if (OP == CAST_TO_FLOAT)
        store_floats(p.y + 4 * start, v, count);
    else
        store_halves(p.y + 2 * start, v, count, p.bad);
}

void geglu(uint i)
{
    const uint columns = p.columns[0], spans = divide_up(columns, SPAN);
    const uint row = i / spans, column = i % spans * SPAN;
    if (row >= p.rows)
        return;
    const uint count = min(columns - column, SPAN);
    const uint64_t x = p.a + 2 * (uint64_t(row) * 2 * columns + column);
    float v[SPAN], gate[SPAN];
    load_halves(v, x, count);
    load_halves(gate, x + 2 * columns, count);
    [[unroll]] for (uint j = 0; j < SPAN; j++)
        v[j] *= apply_act(2, gate[j]);
    store_halves(p.y + 2 * (uint64_t(row) * columns + column), v, count, p.bad);
}

/* A row's spans of a come first, then those of b. */
void concat(uint i)
{
    const uint a = p.columns[0], b = p.columns[1];
    const uint spans_a = divide_up(a, SPAN), spans = spans_a + divide_up(b, SPAN);
    const uint row = i / spans, part = i % spans;
    if (row >= p.rows)
        return;
    const bool second = part >= spans_a;
    const uint columns = second ? b : a, column = (second ? part - spans_a : part) * SPAN;
    const uint count = min(columns - column, SPAN);
    float v[SPAN];
    load_halves(v, (second ? p.b : p.a) + 2 * (uint64_t(row) * columns + column), count);
    store_halves(p.y + 2 * (uint64_t(row) * (a + b) + (second ? a : 0) + column), v, count, p.bad);
}

void upsample(uint i)
{
    const uint columns = p.columns[0], spans = divide_up(columns, SPAN);
    const uint row = i / spans, column = i % spans * SPAN;
    if (row >= p.rows)
        return;
    const uint count = min(columns - column, SPAN);
    const uint line = row / p.to[1], image = line / p.to[0];
    const uint top = line % p.to[0] * p.from[0] / p.to[0];
    const uint left = row % p.to[1] * p.from[1] / p.to[1];
    const uint64_t pixel = (uint64_t(image) * p.from[0] + top) * p.from[1] + left;
    float v[SPAN];
    load_halves(v, p.a + 2 * (pixel * columns + column), count);
    store_halves(p.y + 2 * (uint64_t(row) * columns + column), v, count, p.bad);
}

/* Rounded to float32 as if computed with more bits, but for rare last bits: at t = 1000 an angle's
 * last bit is 6e-5. Of x = -10 .. 0; what the multiple of ln 2 is made of has zeros at its end. */
float exponential(float x)
{
    const float n = round(x * 1.44269504);
    precise float high = x - n * 0.693359375;
    precise float low = n * 2.12194440e-4;
    precise float r = high + low, lost = low - (r - high);
    precise float tail =
        r * r * (0.5 + r * (1.0 / 6 + r * (1.0 / 24 + r * (1.0 / 120 + r * (1.0 / 720 + r / 5040)))));
    precise float one = 1 + r;
    precise float rest = (r - (one - 1)) + (tail + lost);
    precise float sum = one + rest;
    return ldexp(sum, int(n));
}

/* |x| < 2000: a multiple of pi / 2, in three parts with zeros at their ends, is taken off. */
vec2 cosine_and_sine(float x)
{
    const float n = round(x * 0.636619772);
    precise float r = ((x - n * 1.5703125) - n * 4.837512969970703125e-4) - n * 7.54978995489e-8;
    const float s2 = r * r;
    const float c = 1 + s2 * (-0.5 + s2 * (1.0 / 24 + s2 * (-1.0 / 720 + s2 / 40320)));
    const float s =
        r + r * s2 * (-1.0 / 6 + s2 * (1.0 / 120 + s2 * (-1.0 / 5040 + s2 / 362880)));
    const int quarters = int(n) & 3;
    const vec2 y = (quarters & 1) != 0 ? vec2(-s, c) : vec2(c, s);
    return (quarters & 2) != 0 ? -y : y;
}

void timestep(uint i)
{
    const uint half_columns = p.columns[0];
    if (i >= half_columns)
        return;
    const float t = float_ref(p.a).v;
    precise float exponent = -9.210340371976184 * float(i) / float(half_columns);
    precise float angle = t * exponential(exponent);
    const vec2 y = not_finite(angle) ? vec2(angle) : cosine_and_sine(angle);
    if (not_finite(angle))
        flag_ref(p.bad).v = 1;
    store_float(p.y, i, y.x);
    store_float(p.y, half_columns + i, y.y);
}

void main()
{
    const uint i = BLOCK_X * THREADS + THREAD;
    if (OP <= CAST_TO_FLOAT)
        pointwise(i);
    else if (OP == GEGLU)
        geglu(i);
    else if (OP == CONCAT)
        concat(i);
    else if (OP == UPSAMPLE)
        upsample(i);
    else
        timestep(i);
}
