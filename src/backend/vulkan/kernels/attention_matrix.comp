#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_shuffle : require
#extension GL_KHR_shader_subgroup_vote : require
#include "matrix.glsl"
#include "heads.glsl"

/* A block has QUERIES queries of one head of a sequence, in rounds of PART_ROWS for each subgroup.
 * What a thread has of a matrix is the device's secret: scores pass through shared memory to become
 * powers, and results are divided by a matrix whose columns are alike. */
layout(constant_id = 1) const uint WIDTH = 48; /* of heads at most; whole matrices */
layout(constant_id = 2) const uint QUERIES = 128;
layout(constant_id = 3) const uint PART_ROWS = 16;
layout(constant_id = 4) const uint KEYS = 32;  /* in shared memory at a time */
layout(constant_id = 5) const uint ODD = 0;    /* widths that are no multiple of 8 */
layout(constant_id = 6) const uint PLACES = 2; /* 1: values take the place of keys */

const uint CHUNKS = WIDTH / 8, PITCH = CHUNKS + 1; /* odd, so that rows are in different banks */
const uint DOWN = PART_ROWS / MATRIX_ROWS, ACROSS = WIDTH / MATRIX_COLUMNS;
const uint ALONG = KEYS / MATRIX_COLUMNS;
/* Threads of a row of scores, rows of a thread, groups of 8 keys that it has of each. */
const uint SHARERS = LANES > PART_ROWS ? LANES / PART_ROWS : 1;
const uint OWN = PART_ROWS * SHARERS / LANES, GROUPS = KEYS / 8 / SHARERS;

/* Shared memory, in chunks: queries of all, keys, values, and what a subgroup has alone. That is
 * scores, then powers and divisors, in the end results. */
const uint PARTS = gl_WorkGroupSize.x / LANES;
const uint KEYS_AT = PARTS * PART_ROWS * PITCH;
const uint VALUES_AT = KEYS_AT + (PLACES - 1) * KEYS * PITCH;
const uint ALONE_AT = VALUES_AT + KEYS * PITCH;
const uint SCORE_PITCH = KEYS / 4 + 1, POWER_PITCH = KEYS / 8 + 1, FOURS = MATRIX_COLUMNS / 4;
const uint DIVISORS_AT = PART_ROWS * POWER_PITCH;
const uint STRIP = SCORE_PITCH / FOURS, STRIP_PITCH = STRIP * FOURS; /* matrices of results at once */
const uint ALONE = PART_ROWS * SCORE_PITCH; /* divisors fit: KEYS >= 2 * MATRIX_COLUMNS */
shared uvec4 room[ALONE_AT + PARTS * ALONE];

MATRIX_SUM results[DOWN * ACROSS];
uint alone; /* where the subgroup's own begins */
uint row_of_lane, sharer;

void load_rows(uint64_t x, uint sequence, uint head, uint count, uint first, uint rows, uint to)
{
    for (uint i = THREAD; i < rows * CHUNKS; i += THREADS) {
        const uint row = first + i / CHUNKS, chunk = i % CHUNKS;
        uvec4 w = uvec4(0);
        if (row < count)
            w = load_chunk(x, row_at(sequence, head, count, row), chunk * 8, ODD != 0);
        room[to + i / CHUNKS * PITCH + chunk] = w;
    }
}

uint row_of(uint i)
{
    return row_of_lane + i * (LANES / SHARERS);
}

void make_scores()
{
    MATRIX_SUM sums[DOWN * ALONG];
    [[unroll]] for (uint i = 0; i < DOWN * ALONG; i++)
        sums[i] = MATRIX_SUM(0.0);
    [[dont_unroll]] for (uint k = 0; k < CHUNKS; k += MATRIX_DEPTH / 8) {
        MATRIX_LEFT a[DOWN];
        [[unroll]] for (uint i = 0; i < DOWN; i++)
            MATRIX_LOAD(a[i], room,
                        (gl_SubgroupID * PART_ROWS + i * MATRIX_ROWS) * PITCH + k, PITCH);
        [[unroll]] for (uint j = 0; j < ALONG; j++) {
            MATRIX_RIGHT b;
            MATRIX_LOAD_TRANSPOSED(b, room, KEYS_AT + j * MATRIX_COLUMNS * PITCH + k, PITCH);
            [[unroll]] for (uint i = 0; i < DOWN; i++)
                sums[i * ALONG + j] = MATRIX_MULTIPLY_ADD(a[i], b, sums[i * ALONG + j]);
        }
    }
    [[unroll]] for (uint i = 0; i < DOWN; i++)
        [[unroll]] for (uint j = 0; j < ALONG; j++)
            MATRIX_STORE(sums[i * ALONG + j], room,
                         alone + i * MATRIX_ROWS * SCORE_PITCH + j * FOURS, SCORE_PITCH);
}

void add_values()
{
    [[dont_unroll]] for (uint k = 0; k < KEYS; k += MATRIX_DEPTH) {
        MATRIX_LEFT a[DOWN];
        [[unroll]] for (uint i = 0; i < DOWN; i++)
            MATRIX_LOAD(a[i], room, alone + i * MATRIX_ROWS * POWER_PITCH + k / 8, POWER_PITCH);
        [[unroll]] for (uint j = 0; j < ACROSS; j++) {
            MATRIX_RIGHT b;
            MATRIX_LOAD(b, room, VALUES_AT + k * PITCH + j * (MATRIX_COLUMNS / 8), PITCH);
            [[unroll]] for (uint i = 0; i < DOWN; i++)
                results[i * ACROSS + j] =
                    MATRIX_MULTIPLY_ADD(a[i], b, results[i * ACROSS + j]);
        }
    }
}

/* What divide() is to divide the thread's rows of results by, after a barrier. */
void put_divisors(float by[OWN])
{
    [[unroll]] for (uint i = 0; i < OWN; i++)
        [[unroll]] for (uint n = 0; n < FOURS; n += SHARERS)
            if (n + sharer < FOURS)
                room[alone + DIVISORS_AT + row_of(i) * FOURS + n + sharer] =
                    floatBitsToUint(vec4(by[i]));
}

void divide()
{
    [[unroll]] for (uint i = 0; i < DOWN; i++) {
        MATRIX_SUM d;
        MATRIX_LOAD(d, room, alone + DIVISORS_AT + i * MATRIX_ROWS * FOURS, FOURS);
        [[unroll]] for (uint j = 0; j < ACROSS; j++)
            results[i * ACROSS + j] = results[i * ACROSS + j] / d;
    }
}

void store_results(uint sequence, uint head, uint first)
{
    [[unroll]] for (uint j = 0; j < ACROSS; j += STRIP) {
        subgroupBarrier();
        [[unroll]] for (uint n = 0; n < STRIP && j + n < ACROSS; n++)
            [[unroll]] for (uint i = 0; i < DOWN; i++)
                MATRIX_STORE(results[i * ACROSS + j + n], room,
                             alone + i * MATRIX_ROWS * STRIP_PITCH + n * FOURS, STRIP_PITCH);
        subgroupBarrier();
        [[unroll]] for (uint n = 0; n < PART_ROWS * STRIP_PITCH; n += LANES * 2) {
            const uint at = n + gl_SubgroupInvocationID * 2;
            const uint query = first + at / STRIP_PITCH;
            const uint column = j * MATRIX_COLUMNS + at % STRIP_PITCH * 4;
            if (at >= PART_ROWS * STRIP_PITCH || query >= p.queries || column >= p.width)
                continue;
            const vec4 a = uintBitsToFloat(room[alone + at]);
            const vec4 b = uintBitsToFloat(room[alone + at + 1]);
            const float y[SPAN] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
            store_halves(p.results + 2 * (row_at(sequence, head, p.queries, query) + column), y,
                         min(p.width - column, SPAN), p.bad);
        }
    }
}

void attend(uint sequence, uint head, uint start)
{
    float base[OWN], sum[OWN];
    [[unroll]] for (uint i = 0; i < OWN; i++) {
        base[i] = LOWEST;
        sum[i] = 0;
    }
    [[unroll]] for (uint i = 0; i < DOWN * ACROSS; i++)
        results[i] = MATRIX_SUM(0.0);
    barrier();
    load_rows(p.q, sequence, head, p.queries, start, PARTS * PART_ROWS, 0);
    for (uint key = 0; key < p.keys; key += KEYS) {
        barrier();
        load_rows(p.k, sequence, head, p.keys, key, KEYS, KEYS_AT);
        if (PLACES > 1)
            load_rows(p.v, sequence, head, p.keys, key, KEYS, VALUES_AT);
        barrier();
        make_scores();
        subgroupBarrier();
        vec4 s[OWN * GROUPS * 2];
        float shrink[OWN];
        bool grown = false;
        [[unroll]] for (uint i = 0; i < OWN; i++) {
            float most = base[i];
            [[unroll]] for (uint j = 0; j < GROUPS * 2; j++) {
                const uint four = (sharer + j / 2 * SHARERS) * 2 + j % 2;
                const uint at = i * GROUPS * 2 + j;
                s[at] = uintBitsToFloat(room[alone + row_of(i) * SCORE_PITCH + four]) * p.scale;
                [[unroll]] for (uint n = 0; n < 4; n++) {
                    if (key + four * 4 + n >= p.keys)
                        s[at][n] = LOWEST;
                    most = max(most, s[at][n]);
                }
            }
            for (uint mask = 1; mask < SHARERS; mask *= 2)
                most = max(most, subgroupShuffleXor(most, mask));
            grown = grown || most > base[i];
            shrink[i] = exp2(min(most - base[i], 100)); /* 1 / it, and what is 0 remains so */
            sum[i] /= shrink[i];
            base[i] = most;
        }
        subgroupBarrier();
        [[unroll]] for (uint i = 0; i < OWN; i++)
            [[unroll]] for (uint j = 0; j < GROUPS; j++) {
                const uint at = (i * GROUPS + j) * 2;
                const vec4 a = exp2(s[at] - base[i]), b = exp2(s[at + 1] - base[i]);
                sum[i] += dot(a + b, vec4(1));
                room[alone + row_of(i) * POWER_PITCH + sharer + j * SHARERS] =
                    uvec4(packFloat2x16(f16vec2(a.xy)), packFloat2x16(f16vec2(a.zw)),
                          packFloat2x16(f16vec2(b.xy)), packFloat2x16(f16vec2(b.zw)));
            }
        grown = subgroupAny(grown);
        if (grown) /* no barrier here: some drivers take it for one of all subgroups */
            put_divisors(shrink);
        if (PLACES == 1) {
            barrier();
            load_rows(p.v, sequence, head, p.keys, key, KEYS, VALUES_AT);
            barrier();
        }
        subgroupBarrier();
        if (grown)
            divide();
        add_values();
    }
    [[unroll]] for (uint i = 0; i < OWN; i++)
        for (uint mask = 1; mask < SHARERS; mask *= 2)
            sum[i] += subgroupShuffleXor(sum[i], mask);
    subgroupBarrier();
    put_divisors(sum);
    subgroupBarrier();
    divide();
    store_results(sequence, head, start + gl_SubgroupID * PART_ROWS);
}

void main()
{
    const uint blocks = divide_up(p.queries, QUERIES);
    const uint start = BLOCK_X % blocks * QUERIES, end = min(start + QUERIES, p.queries);
    alone = ALONE_AT + gl_SubgroupID * ALONE;
    row_of_lane = gl_SubgroupInvocationID / SHARERS;
    sharer = gl_SubgroupInvocationID % SHARERS;
    for (uint first = start; first < end; first += PARTS * PART_ROWS)
        attend(BLOCK_X / blocks, BLOCK_Y, first);
}
