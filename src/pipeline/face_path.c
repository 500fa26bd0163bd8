#include "pipeline/face_path.h"
#include "base/alloc.h"

#include <stdlib.h>

/* The smoothing keeps 0.2 of its state a frame: 0.2^24 is far below the last bit of a float. */
#define RUN_UP 24

struct ls_face_path {
    ls_track *track;
    ls_align align;
    int64_t next; /* frame that `align` is ready for */
    ls_face face;
};

int ls_face_path_open(ls_face_path **out, ls_track **t, size_t resolution, ls_error *err)
{
    ls_face_path *p = *out = ls_calloc_array(1, sizeof *p);
    if (!p) {
        ls_track_close(t);
        return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    p->track = *t;
    p->align.resolution = resolution;
    *t = NULL;
    return 0;
}

void ls_face_path_close(ls_face_path **p)
{
    if (!*p)
        return;
    ls_track_close(&(*p)->track);
    free(*p);
    *p = NULL;
}

static int step(ls_face_path *p, ls_matrix *m, ls_error *err)
{
    int ret = ls_track_get(p->track, p->next++, &p->face, err);
    if (ret > 0)
        ret = ls_align_next(&p->align, &p->face, m);
    if (ret <= 0)
        ls_align_reset(&p->align);
    return ret;
}

int ls_face_path_get(ls_face_path *p, int64_t frame, ls_matrix *m, ls_error *err)
{
    if (frame != p->next) {
        ls_align_reset(&p->align);
        p->next = frame > RUN_UP ? frame - RUN_UP : 0;
    }
    int ret = 0;
    while (ret >= 0 && p->next <= frame)
        ret = step(p, m, err);
    return ret;
}
