#include "media/pingpong.h"
#include "media/intermediate.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

/* Frames that a seek to a window may decode, in windows and at least; beyond that all frames are
 * stored. Ordinary files, with a key frame every 250, stay below. */
#define MAX_SEEK_WINDOWS 32
#define MIN_SEEK_LIMIT 512

struct ls_pingpong {
    ls_video *video;
    char *folder;
    size_t window_bytes;
    bool backwards;
    uint64_t current; /* index of the next frame, or past it when going backwards */
    ls_frame *window[LS_PINGPONG_MOST];
    uint64_t window_start;
    size_t window_count;
    ls_intermediate *stored; /* all frames, if seeking is slow; or NULL */
};

int ls_pingpong_open(ls_pingpong **out, ls_video **v, size_t window_bytes, const char *folder,
                     ls_error *err)
{
    ls_pingpong *p = *out = ls_calloc_array(1, sizeof *p);
    if (!p) {
        ls_video_close(v);
        return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    p->video = *v;
    *v = NULL;
    p->window_bytes = window_bytes;
    p->folder = folder ? strdup(folder) : NULL;
    if (!folder || p->folder)
        return 0;
    ls_pingpong_close(out);
    return ls_fail(err, LS_ENOMEM, "out of memory");
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
    ls_intermediate_close(&p->stored);
    ls_video_close(&p->video);
    free(p->folder);
    free(p);
    *pp = NULL;
}

ls_video *ls_pingpong_video(const ls_pingpong *p)
{
    return p->video;
}

void ls_pingpong_set_window(ls_pingpong *p, size_t bytes)
{
    p->window_bytes = bytes;
}

static int fail_second_time(const ls_pingpong *p, ls_error *err)
{
    return ls_fail(err, LS_EIO, "%s: the video cannot be decoded a second time",
                   ls_video_path(p->video));
}

/* Decodes the whole file once more, into frames that can be read in any order. */
static int store_all(ls_pingpong *p, ls_error *err)
{
    const uint64_t length = ls_video_length(p->video);
    int ret = ls_intermediate_open(&p->stored, ls_video_model(p->video), p->folder, err);
    if (!ret)
        ret = ls_video_seek(p->video, 0, err);
    for (uint64_t i = 0; !ret && i < length; i++) {
        ls_frame *f;
        ret = ls_video_next(p->video, &f, err);
        if (!ret)
            ret = ls_intermediate_add(p->stored, f->av, err);
        ls_frame_unref(&f);
    }
    if (ret)
        ls_intermediate_close(&p->stored);
    return ret == LS_EOF ? fail_second_time(p, err) : ret;
}

/* Decodes the frames that end just before p->current, as many as the window holds. */
static int fill_window(ls_pingpong *p, ls_error *err)
{
    size_t n = p->window_bytes / ls_video_get_info(p->video)->frame_bytes;
    n = n < LS_PINGPONG_LEAST ? LS_PINGPONG_LEAST : n > LS_PINGPONG_MOST ? LS_PINGPONG_MOST : n;
    p->window_start = p->current > n ? p->current - n : 0;
    int ret = ls_video_seek(p->video, p->window_start, err);
    const uint64_t limit = n * MAX_SEEK_WINDOWS;
    if (!ret && ls_video_sought(p->video) > (limit > MIN_SEEK_LIMIT ? limit : MIN_SEEK_LIMIT))
        return store_all(p, err);
    while (!ret && p->window_start + p->window_count < p->current) {
        ret = ls_video_next(p->video, &p->window[p->window_count], err);
        if (!ret)
            p->window_count++;
    }
    return ret == LS_EOF ? fail_second_time(p, err) : ret;
}

static int next_backwards(ls_pingpong *p, ls_frame **out, uint64_t *index, ls_error *err)
{
    int ret = p->window_count || p->stored ? 0 : fill_window(p, err);
    if (!ret && p->stored)
        ret = ls_intermediate_get(p->stored, p->current - 1, out, err);
    if (ret)
        return ret;
    if (!p->stored)
        *out = p->window[--p->window_count];
    *index = --p->current;
    p->backwards = p->current > 0;
    return 0;
}

int ls_pingpong_next(ls_pingpong *p, ls_frame **out, uint64_t *index, ls_error *err)
{
    int ret = 0;
    if (p->backwards)
        return next_backwards(p, out, index, err);
    if (p->stored && p->current < ls_video_length(p->video)) {
        ret = ls_intermediate_get(p->stored, p->current, out, err);
    } else {
        if (ls_video_position(p->video) != p->current) // turning at the first frame
            ret = ls_video_seek(p->video, p->current, err);
        if (!ret)
            ret = ls_video_next(p->video, out, err);
    }
    if (!ret) {
        *index = p->current++;
        return 0;
    }
    if (ret != LS_EOF)
        return ret;
    if (!p->current)
        return ls_fail(err, LS_EFORMAT, "the video has no frames");
    p->backwards = true;
    return next_backwards(p, out, index, err);
}

int ls_pingpong_seek(ls_pingpong *p, uint64_t place, ls_error *err)
{
    uint64_t length = ls_video_length(p->video);
    clear_window(p);
    p->backwards = false;
    if (!length) {
        int ret = ls_video_seek(p->video, place, err);
        p->current = place;
        length = ls_video_length(p->video);
        if (ret != LS_EOF)
            return ret;
        if (!length)
            return ls_fail(err, LS_EFORMAT, "the video has no frames");
    }
    place %= 2 * length;
    p->backwards = place >= length;
    p->current = p->backwards ? 2 * length - place : place;
    return 0;
}
