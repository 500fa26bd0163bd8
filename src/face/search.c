#include "face/search.h"

#include <math.h>
#include <string.h>

#define LARGE 0.5     /* of the picture's longer side */
#define TOO_LARGE 0.7 /* beyond it the plain view is at its limit */
#define PERIOD 8      /* frames */
#define SAME 0.3      /* overlap of a face with itself a frame before */
#define PART 0.5      /* of a box within a larger one: both are of one face */

static double size_of(const double box[4])
{
    return fmax(box[2] - box[0], box[3] - box[1]);
}

static double area_of(const double box[4])
{
    return fmax(box[2] - box[0], 0) * fmax(box[3] - box[1], 0);
}

static double common_area(const double a[4], const double b[4])
{
    const double both[] = {fmax(a[0], b[0]), fmax(a[1], b[1]), fmin(a[2], b[2]), fmin(a[3], b[3])};
    return area_of(both);
}

static bool is_same(const double a[4], const double b[4])
{
    const double both = common_area(a, b);
    return both > SAME * (area_of(a) + area_of(b) - both);
}

static bool is_part(const double a[4], const double b[4])
{
    return common_area(a, b) > PART * fmin(area_of(a), area_of(b));
}

/* Whether a large face of the frame before is missing. */
static bool lost(const ls_search *s, const ls_face *faces, size_t count)
{
    for (size_t i = 0; i < s->large; i++) {
        size_t k = 0;
        while (k < count && !is_same(s->boxes[i], faces[k].box))
            k++;
        if (k == count)
            return true;
    }
    return false;
}

/* Whether the view with a border is due beside the plain one. */
static bool is_due(ls_search *s, const ls_views *v, const ls_face *faces, size_t count)
{
    bool enough = false;
    for (size_t i = 0; i < count; i++) {
        if (size_of(faces[i].box) > TOO_LARGE * v->side)
            return s->want++ % PERIOD == 0;
        enough |= ls_face_eligible(&faces[i], v->min_face);
    }
    return enough ? lost(s, faces, count) : s->want++ % PERIOD == 0;
}

static int look_with_border(ls_search *s, const ls_views *v, size_t *count, ls_error *err)
{
    size_t found, kept = 0;
    int ret = v->find(v->opaque, true, s->bordered, LS_MAX_FACES, &found, err);
    for (size_t i = 0; !ret && i < found; i++)
        if (size_of(s->bordered[i].box) >= LARGE * v->side &&
            ls_face_eligible(&s->bordered[i], v->min_face))
            s->bordered[kept++] = s->bordered[i];
    *count = kept;
    return ret;
}

/* Adds the faces seen with a border, in place of those that are the same or part of them. */
static size_t merge(const ls_search *s, size_t bordered, ls_face *faces, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        size_t k = 0;
        while (k < bordered && !is_part(faces[i].box, s->bordered[k].box))
            k++;
        if (k == bordered && kept + bordered < LS_MAX_FACES)
            faces[kept++] = faces[i];
    }
    memcpy(faces + kept, s->bordered, bordered * sizeof *faces);
    return kept + bordered;
}

/* For the next frame; the last `bordered` faces were seen with a border. */
static void remember(ls_search *s, const ls_views *v, const ls_face *faces, size_t count,
                     size_t bordered)
{
    bool too_large = false;
    s->border = bordered;
    s->plain = false;
    s->large = 0;
    for (size_t i = 0; i < count; i++) {
        s->plain |= i + bordered < count && ls_face_eligible(&faces[i], v->min_face);
        too_large |= size_of(faces[i].box) > TOO_LARGE * v->side;
        if (size_of(faces[i].box) >= LARGE * v->side)
            memcpy(s->boxes[s->large++], faces[i].box, sizeof s->boxes[0]);
    }
    if (bordered || (s->plain && !too_large))
        s->want = !s->large; /* a small face that is lost has not become too large */
}

int ls_search_frame(ls_search *s, const ls_views *v, bool cut, ls_face faces[LS_MAX_FACES],
                    size_t *count, ls_error *err)
{
    size_t plain = 0, bordered = 0;
    int ret = 0;
    if (cut)
        *s = (ls_search){0};
    const bool border = s->border;
    if (border)
        ret = look_with_border(s, v, &bordered, err);
    if (!ret && (!bordered || s->plain))
        ret = v->find(v->opaque, false, faces, LS_MAX_FACES, &plain, err);
    if (!ret && !border && is_due(s, v, faces, plain))
        ret = look_with_border(s, v, &bordered, err);
    if (ret)
        return ret;
    *count = merge(s, bordered, faces, plain);
    remember(s, v, faces, *count, bordered);
    return 0;
}
