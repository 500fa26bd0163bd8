#include "face/mask.h"
#include "base/alloc.h"
#include "face/align.h"
#include "face/lanczos.h"

#include <stdlib.h>
#include <string.h>

#define MASK_SIZE 256

struct ls_mask {
    size_t resolution;
    uint8_t *pixels;  /* [R, R] */
    float *latent;    /* [R/8, R/8] */
    double keep[256]; /* of a mask pixel: its share of the face */
    float value[256]; /* of a face's sample, in -1..1 */
};

/* From row `y` on, columns from .. to-1 are generated; the last row of the table ends it. */
static const struct {
    uint8_t y, from, to;
} runs[] = {
    {128, 9, 248},   {135, 9, 247},   {136, 10, 247},  {149, 10, 246}, {150, 11, 246},
    {163, 11, 245},  {164, 12, 245},  {170, 12, 244},  {171, 13, 244}, {172, 13, 243},
    {173, 14, 243},  {174, 14, 242},  {175, 15, 242},  {176, 15, 241}, {177, 16, 241},
    {178, 16, 240},  {179, 17, 239},  {180, 18, 239},  {181, 18, 238}, {182, 19, 237},
    {184, 20, 236},  {185, 21, 235},  {187, 22, 234},  {188, 22, 233}, {189, 23, 233},
    {190, 24, 232},  {191, 25, 231},  {192, 26, 231},  {193, 26, 230}, {194, 27, 229},
    {195, 28, 229},  {196, 29, 228},  {197, 30, 227},  {198, 31, 226}, {199, 32, 225},
    {200, 33, 224},  {201, 34, 224},  {202, 34, 223},  {203, 35, 222}, {204, 36, 221},
    {205, 37, 220},  {206, 38, 219},  {207, 39, 218},  {208, 40, 217}, {209, 42, 216},
    {210, 43, 215},  {211, 44, 214},  {212, 45, 213},  {213, 47, 212}, {214, 48, 211},
    {215, 49, 209},  {216, 51, 208},  {217, 52, 207},  {218, 54, 205}, {219, 56, 204},
    {220, 57, 203},  {221, 59, 201},  {222, 60, 200},  {223, 62, 198}, {224, 64, 197},
    {225, 66, 195},  {226, 68, 193},  {227, 70, 192},  {228, 72, 190}, {229, 74, 188},
    {230, 76, 186},  {231, 78, 184},  {232, 80, 181},  {233, 82, 179}, {234, 85, 176},
    {235, 87, 174},  {236, 90, 172},  {237, 93, 169},  {238, 95, 167}, {239, 99, 165},
    {240, 104, 161}, {241, 108, 157}, {242, 131, 153}, {243, 0, 0},
};

static void draw(uint8_t mask[MASK_SIZE][MASK_SIZE])
{
    memset(mask, 255, MASK_SIZE * MASK_SIZE);
    for (size_t y = 95; y < runs[0].y; y++) { /* the cheeks, left and right of the nose */
        memset(mask[y] + 9, 0, 78 - 9);
        memset(mask[y] + 178, 0, 247 - 178);
    }
    for (size_t i = 0; i + 1 < sizeof(runs) / sizeof(*runs); i++)
        for (size_t y = runs[i].y; y < runs[i + 1].y; y++)
            memset(mask[y] + runs[i].from, 0, (size_t)(runs[i].to - runs[i].from));
}

int ls_mask_open(ls_mask **out, size_t resolution, ls_error *err)
{
    *out = NULL;
    if (!ls_resolution_valid(resolution))
        return ls_fail(err, LS_EINVAL, "resolution %zu: use a multiple of 8 up to %d", resolution,
                       LS_MAX_RESOLUTION);
    uint8_t(*drawn)[MASK_SIZE] = ls_malloc_array(MASK_SIZE, MASK_SIZE);
    ls_mask *m = ls_calloc_array(1, sizeof(*m));
    ls_lanczos *resize = NULL;
    int ret = ls_lanczos_open(&resize, MASK_SIZE, MASK_SIZE, resolution, resolution, 1, err);
    size_t n = resolution / 8;
    if (!ret && (!drawn || !m || !(m->pixels = ls_malloc_array(resolution, resolution)) ||
                 !(m->latent = ls_malloc_array(n * n, sizeof(float)))))
        ret = ls_fail(err, LS_ENOMEM, "mask of %zu x %zu: out of memory", resolution, resolution);
    if (ret) {
        ls_mask_close(&m);
    } else {
        m->resolution = resolution;
        for (int i = 0; i < 256; i++) {
            m->keep[i] = i / 255.;
            m->value[i] = ((float)i / 255.f - 0.5f) / 0.5f;
        }
        draw(drawn);
        ls_lanczos_run(resize, m->pixels, drawn[0]);
        for (size_t i = 0; i < n * n; i++)
            m->latent[i] = (float)(m->pixels[i / n * 8 * resolution + i % n * 8] / 255.);
    }
    ls_lanczos_close(&resize);
    free(drawn);
    *out = m;
    return ret;
}

void ls_mask_close(ls_mask **m)
{
    if (!*m)
        return;
    free((*m)->pixels);
    free((*m)->latent);
    free(*m);
    *m = NULL;
}

const uint8_t *ls_mask_pixels(const ls_mask *m)
{
    return m->pixels;
}

const float *ls_mask_latent(const ls_mask *m)
{
    return m->latent;
}

void ls_mask_prepare(const ls_mask *m, const uint8_t *face, float *pixels, float *masked)
{
    for (size_t i = 0; i < m->resolution * m->resolution; i++) {
        const double keep = m->keep[m->pixels[i]];
        for (size_t c = 3 * i; c < 3 * i + 3; c++) {
            const float v = m->value[face[c]];
            if (pixels)
                pixels[c] = v;
            if (masked)
                masked[c] = (float)(v * keep);
        }
    }
}

void ls_mask_composite(const ls_mask *m, float *image, const float *decoded, const uint8_t *face)
{
    for (size_t i = 0; i < m->resolution * m->resolution; i++) {
        float keep = m->pixels[i] / 255.f;
        for (size_t c = 3 * i; c < 3 * i + 3; c++)
            image[c] = decoded[c] * (1 - keep) + m->value[face[c]] * keep;
    }
}
