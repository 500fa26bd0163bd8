#version 460
#extension GL_GOOGLE_include_directive : require
#include "matrix.glsl"
#define PIECE 4
#define PART_THREADS LANES
#include "product.glsl"

const uint PITCH = PIECE + 1; /* chunks of a row; odd, so that rows are in different banks */
const uint MATRICES_DOWN = PART_ROWS / MATRIX_ROWS, MATRICES_ACROSS = PART_COLUMNS / MATRIX_COLUMNS;
const uint FACTORS = (ROWS + COLUMNS) * PITCH;
const uint FOURS = PART_COLUMNS / 4, STRIP = MATRIX_ROWS * FOURS; /* sums of a row of matrices */
const uint STRIPS = ACROSS * DOWN * STRIP;

/* The rows of the left factor, then the columns of the right one; in the end, sums. */
shared uvec4 tile[FACTORS > STRIPS ? FACTORS : STRIPS];

void share()
{
    [[unroll]] for (uint i = 0; i < LEFT_LOADS; i++) {
        const uint at = THREAD + i * ALL;
        if (at < ROWS * PIECE)
            tile[at / PIECE * PITCH + at % PIECE] = from_x[i];
    }
    [[unroll]] for (uint i = 0; i < RIGHT_LOADS; i++) {
        const uint at = THREAD + i * ALL;
        if (at < COLUMNS * PIECE)
            tile[(ROWS + at / PIECE) * PITCH + at % PIECE] = from_w[i];
    }
}

void main()
{
    const uint part_row = gl_SubgroupID / ACROSS * PART_ROWS;
    const uint part_column = gl_SubgroupID % ACROSS * PART_COLUMNS;
    MATRIX_SUM sums[MATRICES_DOWN * MATRICES_ACROSS];
    [[unroll]] for (uint i = 0; i < MATRICES_DOWN * MATRICES_ACROSS; i++)
        sums[i] = MATRIX_SUM(0.0);
    start();
    while (advance())
        /* unrolled it would have more in registers */
        [[dont_unroll]] for (uint k = 0; k < PIECE; k += MATRIX_DEPTH / 8) {
            MATRIX_LEFT a[MATRICES_DOWN];
            [[unroll]] for (uint i = 0; i < MATRICES_DOWN; i++)
                MATRIX_LOAD(a[i], tile, (part_row + i * MATRIX_ROWS) * PITCH + k, PITCH);
            [[unroll]] for (uint j = 0; j < MATRICES_ACROSS; j++) {
                MATRIX_RIGHT b;
                MATRIX_LOAD_TRANSPOSED(
                    b, tile, (ROWS + part_column + j * MATRIX_COLUMNS) * PITCH + k, PITCH);
                [[unroll]] for (uint i = 0; i < MATRICES_DOWN; i++) {
                    const uint at = i * MATRICES_ACROSS + j;
                    sums[at] = MATRIX_MULTIPLY_ADD(a[i], b, sums[at]);
                }
            }
        }
    const uint strip = gl_SubgroupID * STRIP;
    [[unroll]] for (uint i = 0; i < MATRICES_DOWN; i++) {
        barrier();
        [[unroll]] for (uint j = 0; j < MATRICES_ACROSS; j++)
            MATRIX_STORE(sums[i * MATRICES_ACROSS + j], tile, strip + j * (MATRIX_COLUMNS / 4),
                         FOURS);
        barrier();
        for (uint at = gl_SubgroupInvocationID; at < STRIP; at += LANES)
            put_four(part_row + i * MATRIX_ROWS + at / FOURS, part_column + at % FOURS * 4,
                     uintBitsToFloat(tile[strip + at]));
    }
}
