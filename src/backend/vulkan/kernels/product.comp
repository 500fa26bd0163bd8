#version 460
#extension GL_GOOGLE_include_directive : require
#define PIECE 2
#define PART_THREADS 1
#include "product.glsl"

const uint DEPTH = PIECE * 8;
const uint ROW_PITCH = ROWS + 4, COLUMN_PITCH = COLUMNS + 4;
/* Fours of a part's rows and columns lie apart, so that neighbours read neighbours. */
const uint V = PART_COLUMNS < 4 ? PART_COLUMNS : 4;

shared float left[DEPTH * ROW_PITCH], right[DEPTH * COLUMN_PITCH];

void share()
{
    const uint k = THREAD % PIECE * 8;
    [[unroll]] for (uint i = 0; i < LEFT_LOADS; i++) {
        const uint row = (THREAD + i * ALL) / PIECE;
        if (row >= ROWS)
            continue;
        const vec4 a = unpack(from_x[i].xy), b = unpack(from_x[i].zw);
        [[unroll]] for (uint j = 0; j < 4; j++) {
            left[(k + j) * ROW_PITCH + row] = a[j];
            left[(k + 4 + j) * ROW_PITCH + row] = b[j];
        }
    }
    [[unroll]] for (uint i = 0; i < RIGHT_LOADS; i++) {
        const uint column = (THREAD + i * ALL) / PIECE;
        if (column >= COLUMNS)
            continue;
        const vec4 a = unpack(from_w[i].xy), b = unpack(from_w[i].zw);
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
    float sums[PART_ROWS * PART_COLUMNS];
    [[unroll]] for (uint i = 0; i < PART_ROWS * PART_COLUMNS; i++)
        sums[i] = 0;
    start();
    while (advance())
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
    [[unroll]] for (uint i = 0; i < PART_ROWS; i++)
        [[unroll]] for (uint j = 0; j < PART_COLUMNS; j += V) {
            const uint at = i * PART_COLUMNS + j;
            if (V == 4)
                put_four(row_of(i), column_of(j),
                         vec4(sums[at], sums[at + 1], sums[at + 2], sums[at + 3]));
            else
                put(row_of(i), column_of(j), sums[at]);
        }
}
