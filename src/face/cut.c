#include "face/cut.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 8 /* of blocks */
#define ROWS 6
#define BLOCK_W 20 /* samples */
#define BLOCK_H 15
#define LEVELS 256
/* Levels by which the samples of a block change on average. Talking heads give 0.5, the start of a
 * pan by a fifth of the frame 10, a different framing of the same scene 15 and more. */
#define THRESHOLD 12

typedef uint16_t histogram[LEVELS];

struct ls_cut {
    size_t frames;
    double moved; /* between the last two frames */
    histogram blocks[2][ROWS * COLUMNS];
};

int ls_cut_open(ls_cut **out, ls_error *err)
{
    *out = ls_calloc_array(1, sizeof(**out));
    return *out ? 0 : ls_fail(err, LS_ENOMEM, "scene cuts: out of memory");
}

void ls_cut_close(ls_cut **c)
{
    free(*c);
    *c = NULL;
}

static void count_levels(histogram *blocks, const uint8_t *luma, ptrdiff_t stride, size_t w,
                         size_t h, unsigned bits)
{
    memset(blocks, 0, ROWS * COLUMNS * sizeof(*blocks));
    for (size_t y = 0; y < ROWS * BLOCK_H; y++) {
        const uint8_t *row = luma + (ptrdiff_t)((2 * y + 1) * h / (2 * ROWS * BLOCK_H)) * stride;
        for (size_t x = 0; x < COLUMNS * BLOCK_W; x++) {
            size_t at = (2 * x + 1) * w / (2 * COLUMNS * BLOCK_W);
            uint16_t v = row[bits > 8 ? 0 : at];
            if (bits > 8) {
                memcpy(&v, row + 2 * at, 2);
                v = (uint16_t)(v >> (bits - 8));
            }
            blocks[y / BLOCK_H * COLUMNS + x / BLOCK_W][v < LEVELS ? v : LEVELS - 1]++;
        }
    }
}

/* The mean over blocks of the earth mover's distance of their histograms. */
static double distance(const histogram *a, const histogram *b)
{
    int64_t sum = 0;
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        int difference = 0;
        for (size_t v = 0; v < LEVELS; v++) {
            difference += a[i][v] - b[i][v];
            sum += abs(difference);
        }
    }
    return (double)sum / (ROWS * COLUMNS * BLOCK_W * BLOCK_H);
}

bool ls_cut_next(ls_cut *c, const uint8_t *luma, ptrdiff_t stride, size_t w, size_t h,
                 unsigned bits)
{
    histogram *now = c->blocks[c->frames % 2], *last = c->blocks[(c->frames + 1) % 2];
    count_levels(now, luma, stride, w, h, bits);
    if (!c->frames++)
        return false;
    double before = c->moved;
    c->moved = distance(now, last);
    return fmin(c->moved, fabs(c->moved - before)) > THRESHOLD;
}
