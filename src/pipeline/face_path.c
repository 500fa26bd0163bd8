#include "pipeline/face_path.h"
#include "base/alloc.h"
#include "base/temporary.h"
#include "face/follow.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The smoothing keeps 0.2 of its state a frame: 0.2^24 is far below the last bit of a float. */
#define RUN_UP 24
#define BOX_REACH 6 /* frames that a box is the median of, either way */

/* One frame in the file; a hole of the file reads as zeros. */
typedef struct spot {
    uint32_t id;     /* 0: no face */
    uint16_t cut;    /* a shot begins here */
    uint16_t hidden; /* an ls_hidden */
    double points[3][2];
    double box[3]; /* as ls_face_path_box */
} spot;

struct ls_face_path {
    int file;
    pthread_mutex_t lock; /* of the four below */
    pthread_cond_t grown;
    int64_t count; /* frames in the file */
    int64_t end;   /* frames of the video, once finished; INT64_MAX before */
    int code;
    int64_t first; /* with a face; -1: none */
    /* of the consumer's thread */
    ls_align align;
    spot last;    /* that `align` has seen */
    int64_t next; /* frame that `align` is ready for */
};

int ls_face_path_open(ls_face_path **out, size_t resolution, const char *folder, ls_error *err)
{
    ls_face_path *p = *out = ls_calloc_array(1, sizeof *p);
    if (!p)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->grown, NULL);
    p->align.resolution = resolution;
    p->end = INT64_MAX;
    p->first = -1;
    p->file = ls_temporary_file(folder, err);
    if (p->file >= 0)
        return 0;
    int ret = p->file;
    ls_face_path_close(out);
    return ret;
}

void ls_face_path_close(ls_face_path **pp)
{
    ls_face_path *p = *pp;
    if (!p)
        return;
    if (p->file >= 0)
        close(p->file);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->grown);
    free(p);
    *pp = NULL;
}

int ls_face_path_put(ls_face_path *p, const ls_chosen_face *chosen, ls_error *err)
{
    spot s = {.cut = chosen->cut};
    if (chosen->id && ls_face_three_points(&chosen->face, s.points)) {
        double box[4];
        s.id = chosen->id;
        s.hidden = (uint16_t)chosen->hidden;
        ls_face_extent(&chosen->face, box);
        s.box[0] = (box[0] + box[2]) / 2;
        s.box[1] = (box[1] + box[3]) / 2;
        s.box[2] = fmax(box[2] - box[0], box[3] - box[1]) / 2;
    }
    ssize_t n = sizeof s;
    if (s.id || s.cut)
        n = pwrite(p->file, &s, sizeof s, (off_t)chosen->frame * (off_t)sizeof s);
    if (n != sizeof s)
        return ls_fail_errno(err, n < 0 ? errno : ENOSPC,
                             "cannot write the temporary file of where the faces are");
    pthread_mutex_lock(&p->lock);
    p->count = chosen->frame + 1;
    if (s.id && p->first < 0)
        p->first = chosen->frame;
    pthread_cond_signal(&p->grown);
    pthread_mutex_unlock(&p->lock);
    return 0;
}

void ls_face_path_finish(ls_face_path *p, int64_t frames, int code)
{
    pthread_mutex_lock(&p->lock);
    if (p->end == INT64_MAX) {
        p->end = frames > p->count ? frames : p->count;
        p->code = code;
    }
    pthread_cond_signal(&p->grown);
    pthread_mutex_unlock(&p->lock);
}

int64_t ls_face_path_first(ls_face_path *p)
{
    pthread_mutex_lock(&p->lock);
    const int64_t frame = p->first;
    pthread_mutex_unlock(&p->lock);
    return frame;
}

int64_t ls_face_path_count(ls_face_path *p)
{
    pthread_mutex_lock(&p->lock);
    const int64_t n = p->count;
    pthread_mutex_unlock(&p->lock);
    return n;
}

static int read_spot(const ls_face_path *p, int64_t frame, int64_t count, spot *s, ls_error *err)
{
    *s = (spot){0};
    if (frame >= count)
        return 0;
    ssize_t n = pread(p->file, s, sizeof *s, (off_t)frame * (off_t)sizeof *s);
    if (n && n != sizeof *s)
        return ls_fail(err, LS_EIO, "cannot read the temporary file of where the faces are");
    return 0;
}

static int step(ls_face_path *p, int64_t count, ls_matrix *m, ls_error *err)
{
    spot s;
    int ret = read_spot(p, p->next++, count, &s, err);
    if (ret)
        return ret;
    if (!s.id || s.id != p->last.id || s.cut)
        ls_align_reset(&p->align);
    p->last = s;
    if (!s.id)
        return 0;
    ls_align_next(&p->align, (const double(*)[2])s.points, m);
    return 1;
}

/* 1, except near frames of the same shot that lack the face, or in which it is hidden. */
static int opacity_of(const ls_face_path *p, int64_t frame, int64_t count, int64_t end,
                      double *opacity, ls_error *err)
{
    *opacity = 1;
    for (int side = -1; side <= 1; side += 2) {
        spot s = p->last;
        for (int64_t d = 1; d <= LS_FADE_FRAMES; d++) {
            const int64_t at = frame + side * d;
            if (at < 0 || at >= end || (side < 0 && s.cut))
                break;
            int ret = read_spot(p, at, count, &s, err);
            if (ret)
                return ret;
            if (side > 0 && s.cut)
                break;
            if (s.id != p->last.id || s.hidden) {
                *opacity = fmin(*opacity, (double)d / (LS_FADE_FRAMES + 1));
                break;
            }
        }
    }
    return 0;
}

/* Until `frame` is known, or there is none; returns the code of ls_face_path_finish. */
static int wait_for(ls_face_path *p, int64_t frame, int64_t *count, int64_t *end)
{
    pthread_mutex_lock(&p->lock);
    while (p->end == INT64_MAX && p->count <= frame)
        pthread_cond_wait(&p->grown, &p->lock);
    *count = p->count;
    *end = p->end;
    const int ret = p->code;
    pthread_mutex_unlock(&p->lock);
    return ret;
}

int ls_face_path_get(ls_face_path *p, int64_t frame, ls_placement *out, ls_error *err)
{
    int64_t count, end;
    int ret = wait_for(p, frame + LS_FADE_FRAMES, &count, &end);
    if (frame != p->next) {
        p->last = (spot){0};
        p->next = frame > RUN_UP ? frame - RUN_UP : 0;
    }
    while (ret >= 0 && p->next <= frame)
        ret = step(p, count, &out->matrix, err);
    out->hidden = ret > 0 ? p->last.hidden : LS_SHOWN;
    if (ret <= 0 || out->hidden)
        return ret < 0 ? ret : 0;
    ret = opacity_of(p, frame, count, end, &out->opacity, err);
    return ret ? ret : 1;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int ls_face_path_box(ls_face_path *p, int64_t frame, double box[3], ls_error *err)
{
    double near[3][2 * BOX_REACH + 1];
    int64_t count, end;
    size_t n = 0;
    spot s, there;
    int ret = wait_for(p, frame + BOX_REACH, &count, &end);
    if (!ret)
        ret = read_spot(p, frame, count, &s, err);
    if (ret || !s.id || s.hidden)
        return ret;
    for (int64_t at = frame > BOX_REACH ? frame - BOX_REACH : 0; at <= frame + BOX_REACH; at++) {
        ret = read_spot(p, at, count, &there, err);
        if (ret)
            return ret;
        for (size_t c = 0; c < 3 && there.id == s.id; c++)
            near[c][n] = there.box[c];
        n += there.id == s.id;
    }
    for (size_t c = 0; c < 3; c++) {
        qsort(near[c], n, sizeof near[c][0], compare);
        box[c] = near[c][n / 2];
    }
    return 1;
}
