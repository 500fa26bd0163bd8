#include "pipeline/check_syncnet.h"
#include "base/alloc.h"
#include "pipeline/check_sound.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIDE LS_SYNCNET_RESOLUTION
#define MARGIN 0.4 /* of half the box: beside it, and twice below */
#define BESIDE 110 /* grey */
#define FRAME_SAMPLES 640

struct ls_check_syncnet {
    ls_syncnet *net;
    ls_mfcc *mfcc;
    ls_rgb_converter *rgb;
    uint8_t *faces[LS_SYNCNET_FRAMES]; /* frame i is at i % LS_SYNCNET_FRAMES */
    uint64_t run;                      /* frames with a face without a gap, up to the latest */
    int64_t sounds;                    /* windows of sound in the recording */
    float lips[LS_SYNCNET_WIDTH];
    ls_check_sound sound;
    ls_lag_sum sum;
};

/* Beside the recording all numbers are 0. */
static int hear(void *opaque, int64_t window, float *embedding, const ls_cancel *cancel,
                ls_error *err)
{
    ls_check_syncnet *c = opaque;
    float rows[LS_SYNCNET_ROWS * LS_MFCC_COUNT];
    if (window < 0 || window >= c->sounds) {
        memset(embedding, 0, LS_SYNCNET_WIDTH * sizeof *embedding);
        return 0;
    }
    int ret = ls_mfcc_read(c->mfcc, (size_t)window * 4, LS_SYNCNET_ROWS, rows, err);
    return ret ? ret : ls_syncnet_sound(c->net, rows, embedding, cancel, err);
}

static double distance(const float *lips, const float *sound, size_t width)
{
    double sum = 0;
    for (size_t i = 0; i < width; i++)
        sum += ((double)lips[i] - (double)sound[i]) * ((double)lips[i] - (double)sound[i]);
    return sqrt(sum);
}

int ls_check_syncnet_open(ls_check_syncnet **out, ls_weights **w, const ls_pcm_source *sound,
                          int threads, ls_error *err)
{
    ls_check_syncnet *c = *out = ls_calloc_array(1, sizeof *c);
    if (!c) {
        ls_weights_close(w);
        return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    int ret = ls_syncnet_open(&c->net, w, threads, err);
    c->sounds = (int64_t)(sound->samples / FRAME_SAMPLES) - LS_SYNCNET_FRAMES;
    c->sound = (ls_check_sound){
        .hear = hear, .distance = distance, .opaque = c, .width = LS_SYNCNET_WIDTH};
    bool whole = true;
    for (size_t i = 0; i < LS_SYNCNET_FRAMES; i++)
        whole &= (c->faces[i] = malloc(LS_SYNCNET_FACE)) != NULL;
    if (!ret && !whole)
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        ret = ls_check_sound_open(&c->sound, err);
    if (!ret)
        ret = ls_mfcc_open(&c->mfcc, sound, err);
    if (!ret)
        ret = ls_rgb_converter_open(&c->rgb, err);
    if (ret)
        ls_check_syncnet_close(out);
    return ret;
}

void ls_check_syncnet_close(ls_check_syncnet **pc)
{
    ls_check_syncnet *c = *pc;
    if (!c)
        return;
    ls_syncnet_close(&c->net);
    ls_mfcc_close(&c->mfcc);
    ls_rgb_converter_close(&c->rgb);
    for (size_t i = 0; i < LS_SYNCNET_FRAMES; i++)
        free(c->faces[i]);
    ls_check_sound_close(&c->sound);
    free(c);
    *pc = NULL;
}

typedef struct crop {
    long left, top, w, h;
} crop;

/* Rounded as the original does, which cuts it out of a padded picture. */
static crop crop_of(const double box[3])
{
    const double half = box[2], pad = trunc(half * (1 + 2 * MARGIN)), x = box[0] + pad,
                 y = box[1] + pad;
    const double left = trunc(x - half * (1 + MARGIN)), right = trunc(x + half * (1 + MARGIN)),
                 top = trunc(y - half), bottom = trunc(y + half * (1 + 2 * MARGIN));
    return (crop){(long)(left - pad), (long)(top - pad), (long)(right - left),
                  (long)(bottom - top)};
}

static void clip(long from, long n, size_t most, size_t *begin, size_t *size)
{
    const long first = from < 0 ? 0 : from, end = from + n < (long)most ? from + n : (long)most;
    *begin = (size_t)first;
    *size = end > first ? (size_t)(end - first) : 0;
}

ls_rect ls_check_syncnet_region(const double box[3], size_t w, size_t h)
{
    const crop c = crop_of(box);
    ls_rect r;
    clip(c.left, c.w, w, &r.x, &r.w);
    clip(c.top, c.h, h, &r.y, &r.h);
    return r;
}

static double pixel(const ls_rgb *rgb, long x, long y, size_t channel)
{
    return x >= 0 && y >= 0 && x < (long)rgb->w && y < (long)rgb->h
               ? rgb->data[y * rgb->stride + x * 3 + (long)channel]
               : BESIDE;
}

/* Where pixel `i` of SIDE lies between the pixels of n. */
static long place(size_t i, long n, double *part)
{
    const double at = ((double)i + 0.5) * (double)n / SIDE - 0.5;
    *part = at - floor(at);
    if (at < 0 || at >= (double)(n - 1))
        *part = 0;
    return at < 0 ? 0 : at >= (double)(n - 1) ? n - 1 : (long)floor(at);
}

void ls_check_syncnet_crop(uint8_t *face, const double box[3], const ls_rgb *rgb, size_t x,
                           size_t y)
{
    const crop c = crop_of(box);
    for (size_t i = 0; i < SIDE; i++) {
        double down, across;
        const long row = place(i, c.h, &down) + c.top - (long)y;
        for (size_t j = 0; j < SIDE; j++) {
            const long column = place(j, c.w, &across) + c.left - (long)x;
            for (size_t k = 0; k < 3; k++) {
                const double above = (1 - across) * pixel(rgb, column, row, 2 - k) +
                                     across * pixel(rgb, column + 1, row, 2 - k),
                             below = (1 - across) * pixel(rgb, column, row + 1, 2 - k) +
                                     across * pixel(rgb, column + 1, row + 1, 2 - k);
                face[(i * SIDE + j) * 3 + k] = (uint8_t)lrint((1 - down) * above + down * below);
            }
        }
    }
}

static int take_window(ls_check_syncnet *c, int64_t window, const ls_cancel *cancel, ls_error *err)
{
    const uint8_t *faces[LS_SYNCNET_FRAMES];
    for (size_t i = 0; i < LS_SYNCNET_FRAMES; i++)
        faces[i] = c->faces[((size_t)window + i) % LS_SYNCNET_FRAMES];
    int ret = ls_syncnet_lips(c->net, faces, c->lips, cancel, err);
    return ret ? ret : ls_check_sound_compare(&c->sound, window, c->lips, &c->sum, cancel, err);
}

int ls_check_syncnet_take(ls_check_syncnet *c, const ls_frame *frame, uint64_t index,
                          const double box[3], const ls_cancel *cancel, ls_error *err)
{
    const ls_picture p = ls_frame_picture(frame);
    ls_rect part = box && box[2] >= 4 ? ls_check_syncnet_region(box, p.w, p.h) : (ls_rect){0};
    ls_rgb rgb;
    if (!part.w || !part.h) {
        c->run = 0;
        return 0;
    }
    int ret = ls_rgb_convert(c->rgb, frame, &part, &rgb, err);
    if (ret)
        return ret;
    ls_check_syncnet_crop(c->faces[index % LS_SYNCNET_FRAMES], box, &rgb, part.x, part.y);
    const int64_t window = (int64_t)index + 1 - LS_SYNCNET_FRAMES;
    return ++c->run >= LS_SYNCNET_FRAMES && window < c->sounds ? take_window(c, window, cancel, err)
                                                               : 0;
}

void ls_check_syncnet_end(ls_check_syncnet *c, ls_lag_sum *sum)
{
    *sum = c->sum;
    c->sum = (ls_lag_sum){0};
}
