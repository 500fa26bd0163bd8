#include "media/video.h"
#include "base/alloc.h"

#include <stdlib.h>

#define MIN_WINDOW 4
#define MAX_WINDOW 64

struct ls_pingpong {
    ls_video *video;
    size_t window_bytes;
    bool backwards;
    uint64_t length; /* frames of the timeline, once its end was met */
    uint64_t sequence;
    uint64_t current; /* index of the next frame, or past it when going backwards */
    ls_frame *window[MAX_WINDOW];
    uint64_t window_start;
    size_t window_count;
};

int ls_pingpong_open(ls_pingpong **out, ls_video **v, size_t window_bytes, ls_error *err)
{
    *out = ls_calloc_array(1, sizeof **out);
    if (!*out) {
        ls_video_close(v);
        return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    (*out)->video = *v;
    (*out)->window_bytes = window_bytes;
    *v = NULL;
    return 0;
}

static void clear_window(ls_pingpong *p)
{
    while (p->window_count)
        ls_frame_unref(&p->window[--p->window_count]);
}

void ls_pingpong_close(ls_pingpong **pp)
{
    ls_pingpong *p = *pp;
    if (!p)
        return;
    clear_window(p);
    ls_video_close(&p->video);
    free(p);
    *pp = NULL;
}

ls_video *ls_pingpong_video(const ls_pingpong *p)
{
    return p->video;
}

/* Decodes the frames that end just before p->current, as many as the window holds. */
static int fill_window(ls_pingpong *p, ls_error *err)
{
    const ls_video_info *i = ls_video_get_info(p->video);
    size_t bytes = i->width * i->height * 3 / 2 * (i->depth > 8 ? 2 : 1) + 1;
    size_t n = p->window_bytes / bytes;
    n = n < MIN_WINDOW ? MIN_WINDOW : n > MAX_WINDOW ? MAX_WINDOW : n;
    p->window_start = p->current > n ? p->current - n : 0;
    int ret = ls_video_seek(p->video, p->window_start, err);
    while (!ret && p->window_start + p->window_count < p->current) {
        ret = ls_video_next(p->video, &p->window[p->window_count], err);
        if (!ret)
            p->window_count++;
    }
    return ret == LS_EOF ? ls_fail(err, LS_EIO, "the video cannot be decoded a second time") : ret;
}

static int next_backwards(ls_pingpong *p, ls_frame **out, uint64_t *index, ls_error *err)
{
    if (!p->window_count) {
        int ret = fill_window(p, err);
        if (ret)
            return ret;
    }
    *out = p->window[--p->window_count];
    *index = --p->current;
    p->backwards = p->current > 0;
    return 0;
}

static int pp_next(ls_pingpong *p, ls_frame **out, uint64_t *index, ls_error *err)
{
    if (p->backwards)
        return next_backwards(p, out, index, err);
    int ret = ls_video_position(p->video) == p->current
                  ? 0
                  : ls_video_seek(p->video, p->current, err); // the turn at the first frame
    if (!ret)
        ret = ls_video_next(p->video, out, err);
    if (!ret) {
        *index = p->current++;
        return 0;
    }
    if (ret != LS_EOF)
        return ret;
    if (!p->current)
        return ls_fail(err, LS_EFORMAT, "the video has no frames");
    p->length = p->current;
    p->backwards = true;
    return next_backwards(p, out, index, err);
}

int ls_pingpong_next(ls_pingpong *p, ls_frame **out, uint64_t *index, ls_error *err)
{
    p->sequence++;
    return pp_next(p, out, index, err);
}

int ls_pingpong_seek(ls_pingpong *p, uint64_t index, ls_error *err)
{
    int ret = 0;
    while (!ret && p->sequence < index) {
        ls_frame *f;
        uint64_t i;
        ret = ls_pingpong_next(p, &f, &i, err);
        ls_frame_unref(&f);
    }
    return ret;
}

int ls_video_save_index(const ls_video *v, const char *path, ls_error *err)
{
    (void)v;
    (void)path;
    (void)err;
    return 0;
}

int ls_video_load_index(ls_video *v, const char *path, ls_error *err)
{
    (void)v;
    (void)path;
    (void)err;
    return 0;
}
