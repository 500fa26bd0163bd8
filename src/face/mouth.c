#include "face/mouth.h"

#include <math.h>
#include <stddef.h>

#define DARKEST 0.03 /* of the pixels */

typedef struct region {
    size_t top, bottom, left, right;
} region;

typedef struct histogram {
    unsigned luma[256], pixels;
} histogram;

static const region mouth = {70, 112, 38, 92}, cheeks[2] = {{60, 80, 18, 34}, {60, 80, 94, 110}};

static void count(histogram *h, const uint8_t *face, const region *r)
{
    for (size_t y = r->top; y < r->bottom; y++)
        for (size_t x = r->left; x < r->right; x++) {
            const uint8_t *p = face + (y * LS_MOUTH_RESOLUTION + x) * 3;
            h->luma[(299 * p[0] + 587 * p[1] + 114 * p[2] + 500) / 1000]++;
            h->pixels++;
        }
}

/* The mean of the darkest `share` of the pixels. */
static double mean_of_darkest(const histogram *h, double share)
{
    const double wanted = fmax(1, share * h->pixels);
    double left = wanted, sum = 0;
    for (int i = 0; i < 256 && left > 0; i++) {
        const double n = fmin(left, h->luma[i]);
        sum += n * i;
        left -= n;
    }
    return sum / wanted;
}

static double median(const histogram *h)
{
    unsigned below = 0;
    int i = 0;
    while (i < 255 && (below += h->luma[i]) * 2 < h->pixels)
        i++;
    return i;
}

double ls_mouth_opening(const uint8_t *face)
{
    histogram inside = {0}, skin = {0};
    count(&inside, face, &mouth);
    count(&skin, face, &cheeks[0]);
    count(&skin, face, &cheeks[1]);
    return fmax(0, 1 - mean_of_darkest(&inside, DARKEST) / fmax(1, median(&skin)));
}
