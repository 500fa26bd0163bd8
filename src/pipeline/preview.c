#include "pipeline/preview.h"
#include "base/alloc.h"
#include "face/draw.h"
#include "media/png.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct preview {
    const char *dir;
    const ls_scout_track *tracks;
    size_t count, written;
    ls_rgb_converter *converter;
} preview;

/* One image: a copy of the frame with the face drawn on it. */
static int write_track(preview *p, const ls_frame *frame, const ls_scout_track *t, ls_error *err)
{
    const ls_picture pic = ls_frame_picture(frame);
    ls_rect whole = {0, 0, pic.w, pic.h};
    ls_rgb rgb;
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/track-%" PRIu32 ".png", p->dir, t->summary.id);
    if (n < 0 || (size_t)n >= sizeof path)
        return ls_fail(err, LS_EINVAL, "%s: the name is too long", p->dir);
    int ret = ls_rgb_convert(p->converter, frame, &whole, &rgb, err);
    uint8_t *copy = ret ? NULL : ls_malloc_array(rgb.w * rgb.h, 3);
    if (!ret && !copy)
        return ls_fail(err, LS_ENOMEM, "out of memory for a picture");
    if (ret)
        return ret;
    memcpy(copy, rgb.data, rgb.w * rgb.h * 3);
    rgb.data = copy;
    ls_draw_face(&rgb, &t->best, t->summary.id);
    ret = ls_png_write(path, copy, rgb.stride, rgb.w, rgb.h, err);
    free(copy);
    p->written += !ret;
    return ret;
}

static int write_all(preview *p, ls_video *video, const ls_cancel *cancel, ls_error *err)
{
    int64_t last = -1;
    for (size_t i = 0; i < p->count; i++)
        last = p->tracks[i].best_frame > last ? p->tracks[i].best_frame : last;
    int ret = 0;
    for (int64_t at = 0; !ret && at <= last; at++) {
        ls_frame *frame = NULL;
        ret = ls_canceled(cancel) ? ls_fail(err, LS_ECANCELED, "canceled")
                                  : ls_video_next(video, &frame, err);
        for (size_t i = 0; !ret && i < p->count; i++)
            if (p->tracks[i].best_frame == at)
                ret = write_track(p, frame, &p->tracks[i], err);
        ls_frame_unref(&frame);
    }
    return ret;
}

int ls_preview_write(const char *dir, const char *video, const ls_video_settings *settings,
                     const ls_scout_track *tracks, size_t count, size_t *written,
                     const ls_cancel *cancel, ls_error *err)
{
    preview p = {.dir = dir, .tracks = tracks, .count = count};
    ls_video *v = NULL;
    *written = 0;
    if (mkdir(dir, 0777) && errno != EEXIST)
        return ls_fail_errno(err, errno, "%s: cannot create the folder for previews", dir);
    int ret = ls_video_open(&v, video, settings, err);
    if (!ret)
        ret = ls_rgb_converter_open(&p.converter, err);
    if (!ret)
        ret = write_all(&p, v, cancel, err);
    ls_rgb_converter_close(&p.converter);
    ls_video_close(&v);
    *written = p.written;
    return ret;
}
