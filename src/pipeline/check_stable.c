#include "pipeline/check_stable.h"
#include "base/alloc.h"
#include "pipeline/check_sound.h"

#include <stdlib.h>
#include <string.h>

#define SIDE LS_STABLE_SYNCNET_RESOLUTION

struct ls_check_stable {
    ls_stable_syncnet *net;
    ls_stable_mel *mel;
    ls_cropper *cropper;
    ls_rgb_converter *rgb;
    size_t frames, columns; /* of the network */
    uint8_t *face, *halves; /* frame i's lower half is at i % frames */
    uint64_t run;           /* frames with a face without a gap, up to the latest */
    float *rows, *lips;
    ls_check_sound sound;
    ls_lag_sum sum;
};

/* The first row of the sound that belongs to frame `index`: 80 a second, 25 frames a second. */
static int64_t row_of(int64_t index)
{
    return (16 * index - (index < 0 ? 4 : 0)) / 5; // rounded down
}

static int hear(void *opaque, int64_t window, float *embedding, const ls_cancel *cancel,
                ls_error *err)
{
    ls_check_stable *c = opaque;
    int ret = ls_stable_mel_read(c->mel, row_of(window), c->columns, c->rows, err);
    return ret ? ret : ls_stable_syncnet_sound(c->net, c->rows, embedding, cancel, err);
}

/* Of unit vectors. */
static double distance(const float *lips, const float *sound, size_t width)
{
    double d = 1;
    for (size_t i = 0; i < width; i++)
        d -= (double)lips[i] * (double)sound[i];
    return d;
}

static int open_buffers(ls_check_stable *c, ls_error *err)
{
    c->frames = ls_stable_syncnet_frames(c->net);
    c->columns = ls_stable_syncnet_columns(c->net);
    const size_t width = ls_stable_syncnet_width(c->net);
    c->sound = (ls_check_sound){.hear = hear, .distance = distance, .opaque = c, .width = width};
    c->face = malloc((size_t)SIDE * SIDE * 3);
    c->halves = ls_malloc_array(c->frames, LS_STABLE_SYNCNET_FACE);
    c->rows = ls_malloc_array(c->columns * LS_MEL_BANDS, sizeof *c->rows);
    c->lips = ls_malloc_array(width, sizeof *c->lips);
    return c->face && c->halves && c->rows && c->lips ? ls_check_sound_open(&c->sound, err)
                                                      : ls_fail(err, LS_ENOMEM, "out of memory");
}

int ls_check_stable_open(ls_check_stable **out, ls_weights **w, const ls_pcm_source *sound,
                         int threads, ls_error *err)
{
    ls_check_stable *c = *out = ls_calloc_array(1, sizeof *c);
    if (!c) {
        ls_weights_close(w);
        return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    int ret = ls_stable_syncnet_open(&c->net, w, threads, err);
    if (!ret)
        ret = open_buffers(c, err);
    if (!ret)
        ret = ls_stable_mel_open(&c->mel, sound, err);
    if (!ret)
        ret = ls_cropper_open(&c->cropper, SIDE, err);
    if (!ret)
        ret = ls_rgb_converter_open(&c->rgb, err);
    if (ret)
        ls_check_stable_close(out);
    return ret;
}

void ls_check_stable_close(ls_check_stable **pc)
{
    ls_check_stable *c = *pc;
    if (!c)
        return;
    ls_stable_syncnet_close(&c->net);
    ls_stable_mel_close(&c->mel);
    ls_cropper_close(&c->cropper);
    ls_rgb_converter_close(&c->rgb);
    free(c->face);
    free(c->halves);
    free(c->rows);
    free(c->lips);
    ls_check_sound_close(&c->sound);
    free(c);
    *pc = NULL;
}

static int take_window(ls_check_stable *c, int64_t window, const ls_cancel *cancel, ls_error *err)
{
    const uint8_t *faces[LS_STABLE_SYNCNET_MOST_FRAMES];
    for (size_t i = 0; i < c->frames; i++)
        faces[i] = c->halves + ((size_t)window + i) % c->frames * LS_STABLE_SYNCNET_FACE;
    int ret = ls_stable_syncnet_lips(c->net, faces, c->lips, cancel, err);
    return ret ? ret : ls_check_sound_compare(&c->sound, window, c->lips, &c->sum, cancel, err);
}

int ls_check_stable_take(ls_check_stable *c, const ls_frame *frame, uint64_t index,
                         const ls_matrix *m, const ls_cancel *cancel, ls_error *err)
{
    const ls_picture p = ls_frame_picture(frame);
    ls_rect part = m ? ls_crop_bounds(m, SIDE, p.w, p.h) : (ls_rect){0};
    ls_rgb rgb;
    if (!part.w || !part.h) {
        c->run = 0;
        return 0;
    }
    int ret = ls_rgb_convert(c->rgb, frame, &part, &rgb, err);
    if (ret)
        return ret;
    ls_cropper_run(c->cropper, c->face, m, &rgb, part.x, part.y);
    memcpy(c->halves + index % c->frames * LS_STABLE_SYNCNET_FACE, c->face + LS_STABLE_SYNCNET_FACE,
           LS_STABLE_SYNCNET_FACE);
    const int64_t window = (int64_t)index + 1 - (int64_t)c->frames;
    return ++c->run >= c->frames && window % LS_CHECK_STABLE_STEP == 0
               ? take_window(c, window, cancel, err)
               : 0;
}

void ls_check_stable_end(ls_check_stable *c, ls_lag_sum *sum)
{
    *sum = c->sum;
    c->sum = (ls_lag_sum){0};
}
