#include "face/pace.h"
#include "face/follow.h"

#include <math.h>
#include <string.h>

bool ls_pace_is_due(const ls_pace *p, int64_t frame, bool cut)
{
    return cut || frame >= p->due;
}

static double shift_of(const ls_face *a, const ls_face *b)
{
    double most = 0;
    for (int i = 0; i < 4; i++)
        most = fmax(most, fabs(a->box[i] - b->box[i]));
    for (size_t i = 0; a->kind == b->kind && i < (size_t)a->kind; i++)
        most =
            fmax(most, hypot(a->points[i][0] - b->points[i][0], a->points[i][1] - b->points[i][1]));
    double box[4];
    ls_face_extent(b, box);
    return most / fmax(box[3] - box[1], 1);
}

/* By how much of their height the faces have moved at most; 1 if they are not the same. */
static double motion(const ls_pace *p, const ls_face *faces, size_t count)
{
    double most = 0;
    if (p->count != count)
        return 1;
    for (size_t i = 0; i < count; i++) {
        double least = 1;
        for (size_t k = 0; k < count; k++)
            least = fmin(least, shift_of(&p->faces[k], &faces[i]));
        most = fmax(most, least);
    }
    return most;
}

void ls_pace_take(ls_pace *p, int64_t frame, bool cut, const ls_face *faces, size_t count,
                  size_t min_face)
{
    ls_face used[LS_MAX_FACES];
    size_t n = 0;
    for (size_t i = 0; i < count && n < LS_MAX_FACES; i++)
        if (ls_face_eligible(&faces[i], min_face))
            used[n++] = faces[i];
    size_t stride = 1;
    if (!cut && p->stride) {
        const double each = motion(p, used, n) / (double)(frame - p->last),
                     allowed = each > 0 ? LS_PACE_MOTION / each : LS_PACE_MOST;
        stride = (size_t)fmax(1, fmin(fmin(allowed, LS_PACE_MOST), (double)(2 * p->stride)));
    }
    memcpy(p->faces, used, n * sizeof *used);
    p->count = n;
    p->stride = stride;
    p->last = frame;
    p->due = frame + (int64_t)stride;
}
