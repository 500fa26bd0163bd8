#include "face/hide.h"
#include "face/cover.h"

#include <math.h>

#define SIZE (LS_HIDE_AHEAD + 1)

ls_face_turn ls_face_turn_of(const ls_face *face)
{
    ls_face_turn turn = {0, 0.4};
    double p[5][2];
    if (!ls_face_five_points(face, p))
        return turn;
    const double ex = p[1][0] - p[0][0], ey = p[1][1] - p[0][1], square = ex * ex + ey * ey;
    const double mx = (p[0][0] + p[1][0]) / 2, my = (p[0][1] + p[1][1]) / 2;
    const double nx = p[2][0] - mx, ny = p[2][1] - my;
    const double lx = (p[3][0] + p[4][0]) / 2 - mx, ly = (p[3][1] + p[4][1]) / 2 - my;
    const double nose = ny * ex - nx * ey, mouth = ly * ex - lx * ey;
    if (square >= 1)
        turn.yaw = 2 * (nx * ex + ny * ey) / square;
    if (mouth >= 1)
        turn.pitch = nose / mouth;
    return turn;
}

/* What a frame shows; the reason must be strong to begin. */
static ls_hidden reason_of(const ls_face *f, bool begin)
{
    const ls_face_turn turn = ls_face_turn_of(f);
    if (f->covered >= (begin ? 0.45 : 0.3))
        return LS_HIDDEN_COVERED;
    if (fabs(turn.yaw) >= (begin ? 1 : 0.8) || turn.pitch < (begin ? 0 : 0.05) ||
        turn.pitch > (begin ? 0.9 : 0.85))
        return LS_HIDDEN_TURNED;
    return LS_SHOWN;
}

static ls_chosen_face *frame_of(ls_hider *h, int64_t frame)
{
    const int64_t first = h->ring[h->head].frame;
    return &h->ring[(h->head + (size_t)(frame - first)) % SIZE];
}

/* Hides frames up to one pushed before `end`, and those between them and earlier ones that are too
 * few to be shown. */
static void hide(ls_hider *h, int64_t from, int64_t end, ls_hidden reason)
{
    if (h->end > h->begin && from - h->end <= LS_HIDE_JOIN)
        from = h->end;
    from = from < h->begin ? h->begin : from;
    for (int64_t i = from; i < end; i++) {
        ls_chosen_face *c = frame_of(h, i);
        if (!c->hidden)
            c->hidden = reason;
    }
    h->end = h->end < end ? end : h->end;
}

/* A reason that has lasted long enough hides its frames, and some before and after. Beside frames
 * that lack the face every one does, since it explains them. */
static void look(ls_hider *h, int64_t frame, const ls_face *face)
{
    const ls_hidden reason = face->hidden < 0 ? LS_SHOWN : reason_of(face, h->since < 0);
    const bool found = h->was_lost && (h->since < 0 ? frame : h->since) == h->begin;
    const bool lasted = found ? reason || h->since >= 0
                              : h->since >= 0 && frame - h->since >= LS_HIDE_LEAST - !!reason;
    if (!reason && lasted)
        h->tail = LS_HIDE_MARGIN;
    if (h->tail && h->tail--)
        hide(h, frame, frame + 1, h->reason);
    if (!reason || h->since < 0)
        h->since = reason ? frame : -1;
    if (reason && lasted)
        hide(h, h->since - LS_HIDE_MARGIN, frame + 1, reason);
    h->reason = reason ? reason : h->reason;
}

void ls_hider_push(ls_hider *h, const ls_chosen_face *chosen)
{
    const int64_t frame = chosen->frame;
    ls_chosen_face *c = &h->ring[(h->head + h->count++) % SIZE];
    *c = *chosen;
    c->hidden = LS_SHOWN;
    if (chosen->cut || chosen->id != h->id) {
        if (!chosen->cut && !chosen->id && h->since >= 0)
            hide(h, h->since - LS_HIDE_MARGIN, frame, h->reason);
        h->was_lost = !chosen->cut && h->lost;
        h->id = chosen->id;
        h->begin = h->end = frame;
        h->since = -1;
        h->tail = 0;
    }
    h->lost = !chosen->id;
    if (h->lost)
        return;
    if (chosen->face.hidden > 0)
        hide(h, frame, frame + 1, LS_HIDDEN_GIVEN);
    look(h, frame, &chosen->face);
}

void ls_hider_finish(ls_hider *h)
{
    h->finished = true;
}

bool ls_hider_pop(ls_hider *h, ls_chosen_face *out)
{
    if (!h->count || (h->count <= LS_HIDE_AHEAD && !h->finished))
        return false;
    *out = h->ring[h->head];
    if (out->face.hidden < 0)
        out->hidden = LS_SHOWN;
    h->head = (h->head + 1) % SIZE;
    h->count--;
    return true;
}
