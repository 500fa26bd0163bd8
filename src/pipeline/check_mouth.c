#include "pipeline/check_mouth.h"
#include "base/alloc.h"
#include "face/mouth.h"

#include <math.h>
#include <stdlib.h>

#define GROUPS 8
#define BANDS (LS_MEL_BANDS / GROUPS)
#define MEL_RATE 4 /* of the sound's frames in one of the video's */
#define LONGEST (LS_CHECK_STRETCH + 2 * LS_LAG_MOST)

struct ls_check_mouth {
    ls_log_mel *sound;
    ls_cropper *cropper;
    ls_rgb_converter *rgb;
    size_t count;
    double lips[LS_CHECK_STRETCH], expected[LONGEST];
    float mel[LONGEST * MEL_RATE * LS_MEL_BANDS];
    uint8_t face[LS_MOUTH_RESOLUTION * LS_MOUTH_RESOLUTION * 3];
};

int ls_check_mouth_open(ls_check_mouth **out, ls_log_mel *sound, ls_error *err)
{
    ls_check_mouth *c = *out = ls_calloc_array(1, sizeof *c);
    if (!c)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    c->sound = sound;
    int ret = ls_cropper_open(&c->cropper, LS_MOUTH_RESOLUTION, err);
    if (!ret)
        ret = ls_rgb_converter_open(&c->rgb, err);
    if (ret)
        ls_check_mouth_close(out);
    return ret;
}

void ls_check_mouth_close(ls_check_mouth **pc)
{
    ls_check_mouth *c = *pc;
    if (!c)
        return;
    ls_cropper_close(&c->cropper);
    ls_rgb_converter_close(&c->rgb);
    free(c);
    *pc = NULL;
}

int ls_check_mouth_take(ls_check_mouth *c, const ls_frame *frame, const ls_matrix *m, ls_error *err)
{
    const ls_picture p = ls_frame_picture(frame);
    ls_rect part = m ? ls_crop_bounds(m, LS_MOUTH_RESOLUTION, p.w, p.h) : (ls_rect){0};
    ls_rgb rgb;
    c->lips[c->count] = NAN;
    if (part.w && part.h) {
        int ret = ls_rgb_convert(c->rgb, frame, &part, &rgb, err);
        if (ret)
            return ret;
        ls_cropper_run(c->cropper, c->face, m, &rgb, part.x, part.y);
        c->lips[c->count] = ls_mouth_opening(c->face);
    }
    c->count++;
    return 0;
}

/* How far the mouth of a voice is open, from Whisper's log-mel spectrogram: least squares over 40
 * drawn speakers, of five languages, from the means of ten bands each. */
static double expect(const float mel[LS_MEL_BANDS])
{
    static const double weights[GROUPS] = {-0.944, 0.824, 0.631, 0.380,
                                           0.001,  0.841, 0.016, -1.000};
    double sum = 0;
    for (int i = 0; i < LS_MEL_BANDS; i++)
        sum += weights[i / BANDS] * (double)mel[i] / BANDS;
    return sum;
}

/* Of the stretch, and LS_LAG_MOST frames before and after it; NAN where the sound has not begun or
 * has ended. */
static int listen(ls_check_mouth *c, uint64_t first, ls_error *err)
{
    const size_t rows = ls_log_mel_frames(c->sound), n = c->count + 2 * LS_LAG_MOST;
    const int64_t begin = ((int64_t)first - LS_LAG_MOST) * MEL_RATE;
    const size_t skip = begin < 0 ? (size_t)-begin : 0;
    int ret = ls_log_mel_read(c->sound, (size_t)(begin + (int64_t)skip), n * MEL_RATE - skip,
                              c->mel + skip * LS_MEL_BANDS, err);
    for (size_t i = 0; !ret && i < n; i++) {
        const int64_t row = begin + (int64_t)i * MEL_RATE;
        c->expected[i] =
            row >= 0 && row < (int64_t)rows ? expect(c->mel + i * MEL_RATE * LS_MEL_BANDS) : NAN;
    }
    return ret;
}

int ls_check_mouth_end(ls_check_mouth *c, uint64_t first, ls_lag_sum *sum, ls_error *err)
{
    *sum = (ls_lag_sum){0};
    int ret = listen(c, first, err);
    if (!ret)
        ls_lag_correlate(sum, c->lips, c->expected, c->count);
    c->count = 0;
    return ret;
}
