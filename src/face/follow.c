#include "face/follow.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LIVE 64 /* identities that may come back */
#define SAME 0.6    /* overlap of one face found twice */
#define BACK 0.3 /* of a face with one that was lost, of which it is probably the same person's */

/* Costs of assigning a face to an identity, in sides of the face; above 1 it is not. */
#define COST_SIZE 0.7    /* per factor e in size */
#define COST_RESTED 0.25 /* for not having moved as predicted */
#define COST_ABSENT 0.15 /* for an absence, to prefer those present; and per frame: */
#define COST_ABSENCE 0.01
#define COST_NEW 1.25 /* for a new identity */
#define NEVER 1e3
#define MAX_SIZE 0.7      /* maximum |log| of the factor in size */
#define REACH_GROWTH 0.05 /* how much farther away it may be, per frame of absence */
#define MAX_REACH 1.6
#define MIN_GAIN 0.3 /* least weight of the newest step in the motion */

typedef struct shape {
    double x, y, w, h; /* centre and size */
} shape;

typedef struct identity {
    uint32_t id;
    int64_t last; /* frame of `face` */
    ls_face face;
    shape at, step; /* of `face`; its change per frame */
    size_t steps;   /* averaged in `step` */
    ls_cover cover;
} identity;

struct ls_follow {
    ls_follow_settings s;
    int64_t next; /* frame that the next push must have; -1 before the first */
    size_t reach; /* longest absence in frames */
    uint32_t ids; /* assigned so far */
    size_t live;
    identity identities[MAX_LIVE];
    identity ended; /* the last of this shot; id 0: none */
    size_t head, pending, capacity;
    ls_face_record *ring;
};

ls_follow_settings ls_follow_default_settings(void)
{
    return (ls_follow_settings){.max_gap = 12, .every = 1, .min_face = 80};
}

static bool has_box(const ls_face *f)
{
    return f->box[0] || f->box[1] || f->box[2] || f->box[3];
}

size_t ls_face_least_width(size_t min_height)
{
    return (5 * min_height + 7) / 8;
}

bool ls_face_eligible(const ls_face *f, size_t min_height)
{
    if (!has_box(f))
        return true;
    double w = trunc(f->box[2]) - trunc(f->box[0]), h = trunc(f->box[3]) - trunc(f->box[1]);
    return w >= (double)ls_face_least_width(min_height) && h >= (double)min_height &&
           w / h <= 1.5 && w / h >= 0.2 && f->score >= 0.5;
}

void ls_face_extent(const ls_face *f, double box[4])
{
    memcpy(box, f->box, sizeof f->box);
    if (has_box(f) || !f->kind)
        return;
    for (size_t c = 0; c < 2; c++) {
        box[c] = box[2 + c] = f->points[0][c];
        for (size_t i = 1; i < (size_t)f->kind; i++) {
            box[c] = fmin(box[c], f->points[i][c]);
            box[2 + c] = fmax(box[2 + c], f->points[i][c]);
        }
    }
}

static shape shape_of(const ls_face *f)
{
    double b[4];
    ls_face_extent(f, b);
    return (shape){(b[0] + b[2]) / 2, (b[1] + b[3]) / 2, fmax(b[2] - b[0], 1),
                   fmax(b[3] - b[1], 1)};
}

static double overlap(const shape *a, const shape *b)
{
    double w = fmin(a->x + a->w / 2, b->x + b->w / 2) - fmax(a->x - a->w / 2, b->x - b->w / 2);
    double h = fmin(a->y + a->h / 2, b->y + b->h / 2) - fmax(a->y - a->h / 2, b->y - b->h / 2);
    double both = fmax(w, 0) * fmax(h, 0);
    return both / (a->w * a->h + b->w * b->h - both);
}

static bool usable(const ls_face *f, size_t min_height)
{
    bool ok = f->kind != LS_FACE_NONE && fabs(f->score) <= LS_MAX_COORDINATE &&
              ls_face_eligible(f, min_height);
    for (size_t i = 0; i < 4; i++)
        ok &= fabs(f->box[i]) <= LS_MAX_COORDINATE;
    for (size_t i = 0; i < (size_t)f->kind; i++)
        ok &= fabs(f->points[i][0]) <= LS_MAX_COORDINATE &&
              fabs(f->points[i][1]) <= LS_MAX_COORDINATE;
    return ok;
}

int ls_follow_open(ls_follow **out, const ls_follow_settings *s, ls_error *err)
{
    *out = NULL;
    if (s->max_gap > LS_FOLLOW_MAX_GAP || !s->every || s->every > LS_FOLLOW_MAX_EVERY)
        return ls_fail(err, LS_EINVAL,
                       "following faces: a gap of %zu with one frame in %zu examined; allowed are "
                       "0 to %d and 1 to %d",
                       s->max_gap, s->every, LS_FOLLOW_MAX_GAP, LS_FOLLOW_MAX_EVERY);
    ls_follow *f = *out = ls_calloc_array(1, sizeof(*f));
    if (f) {
        f->s = *s;
        f->next = -1;
        f->reach = s->max_gap + s->every - 1;
        f->capacity = f->reach + 1;
        f->ring = ls_malloc_array(f->capacity, sizeof(*f->ring));
    }
    if (f && f->ring)
        return 0;
    ls_follow_close(out);
    return ls_fail(err, LS_ENOMEM, "following faces: out of memory");
}

void ls_follow_close(ls_follow **f)
{
    if (!*f)
        return;
    free((*f)->ring);
    free(*f);
    *f = NULL;
}

/* The cost of taking `d`, found in `frame`, to be `t`. */
static double join_cost(const ls_follow *f, const identity *t, const shape *d, int64_t frame)
{
    double dt = (double)(frame - t->last), missed = fmax(dt - (double)f->s.every, 0);
    double side = sqrt(fmax(t->at.w * t->at.h, d->w * d->h));
    double moved = hypot(d->x - t->at.x - dt * t->step.x, d->y - t->at.y - dt * t->step.y) / side;
    double rested = hypot(d->x - t->at.x, d->y - t->at.y) / side + COST_RESTED;
    double w = fmax(t->at.w + dt * t->step.w, t->at.w / 2);
    double h = fmax(t->at.h + dt * t->step.h, t->at.h / 2);
    double grown = fabs(log(d->w * d->h / (w * h))) / 2;
    double size = fmin(grown, fabs(log(d->w * d->h / (t->at.w * t->at.h))) / 2);
    double cost =
        (fmin(moved, rested) + COST_SIZE * size) / fmin(1 + REACH_GROWTH * (dt - 1), MAX_REACH);
    if (cost > 1 || size > MAX_SIZE)
        return NEVER;
    return cost + (missed > 0 ? COST_ABSENT + COST_ABSENCE * missed : 0);
}

/* The assignment of rows to columns at the least total cost: the Hungarian method by shortest
 * augmenting paths. Not more rows than columns; to[i] is the column of row i. */
static void assign(size_t rows, size_t columns, double cost[LS_MAX_FACES][MAX_LIVE + LS_MAX_FACES],
                   size_t *to)
{
    enum { N = MAX_LIVE + LS_MAX_FACES + 1 };
    double u[LS_MAX_FACES + 1] = {0}, v[N] = {0};
    size_t row_of[N] = {0}, way[N] = {0}; /* counted from 1; column 0 holds the row being added */
    for (size_t i = 1; i <= rows; i++) {
        double least[N];
        bool done[N] = {false};
        size_t at = 0;
        for (size_t j = 0; j <= columns; j++)
            least[j] = INFINITY;
        row_of[0] = i;
        do {
            size_t row = row_of[at], next = 0;
            double delta = INFINITY;
            done[at] = true;
            for (size_t j = 1; j <= columns; j++) {
                double c = cost[row - 1][j - 1] - u[row] - v[j];
                if (done[j])
                    continue;
                if (c < least[j]) {
                    least[j] = c;
                    way[j] = at;
                }
                if (least[j] < delta) {
                    delta = least[j];
                    next = j;
                }
            }
            for (size_t j = 0; j <= columns; j++)
                if (done[j]) {
                    u[row_of[j]] += delta;
                    v[j] -= delta;
                } else {
                    least[j] -= delta;
                }
            at = next;
        } while (row_of[at]);
        for (; at; at = way[at])
            row_of[at] = row_of[way[at]];
    }
    for (size_t j = 1; j <= columns; j++)
        if (row_of[j])
            to[row_of[j] - 1] = j - 1;
}

static double mix(double a, double b, double t)
{
    return a + t * (b - a);
}

static void interpolate(ls_face *out, const ls_face *a, const ls_face *b, double t)
{
    *out = t <= 0.5 ? *a : *b;
    if (a->kind != b->kind)
        return;
    out->score = mix(a->score, b->score, t);
    out->covered = mix(a->covered, b->covered, t);
    for (size_t i = 0; i < 4 && has_box(a) && has_box(b); i++)
        out->box[i] = mix(a->box[i], b->box[i], t);
    for (size_t i = 0; i < (size_t)a->kind; i++)
        for (size_t c = 0; c < 2; c++)
            out->points[i][c] = mix(a->points[i][c], b->points[i][c], t);
}

static ls_face_record *record_of(ls_follow *f, int64_t frame)
{
    size_t i = (size_t)(frame - (f->next - (int64_t)f->pending));
    return &f->ring[(f->head + i) % f->capacity];
}

static ls_face *add_face(ls_follow *f, int64_t frame, uint32_t id, bool interpolated)
{
    ls_face_record *rec = record_of(f, frame);
    if (rec->count == LS_MAX_FACES)
        return NULL;
    ls_tracked_face *to = &rec->faces[rec->count++];
    to->id = id;
    to->interpolated = interpolated;
    return &to->face;
}

static void join(ls_follow *f, identity *t, const ls_face *face, const shape *at, int64_t frame)
{
    double dt = (double)(frame - t->last);
    double gain = fmax(1 / (double)(t->steps + 1), MIN_GAIN);
    for (int64_t i = t->last + 1; i < frame; i++) {
        ls_face *to = add_face(f, i, t->id, true);
        if (to)
            interpolate(to, &t->face, face, (double)(i - t->last) / dt);
    }
    t->step.x = mix(t->step.x, (at->x - t->at.x) / dt, gain);
    t->step.y = mix(t->step.y, (at->y - t->at.y) / dt, gain);
    t->step.w = mix(t->step.w, (at->w - t->at.w) / dt, gain);
    t->step.h = mix(t->step.h, (at->h - t->at.h) / dt, gain);
    t->steps++;
    t->last = frame;
}

/* A new identity, replacing the longest absent one if there is no room. */
static identity *new_identity(ls_follow *f)
{
    identity *t = &f->identities[0];
    if (f->live < MAX_LIVE)
        t = &f->identities[f->live++];
    else
        for (size_t i = 1; i < MAX_LIVE; i++)
            if (f->identities[i].last < t->last)
                t = &f->identities[i];
    memset(t, 0, sizeof(*t));
    t->id = ++f->ids;
    return t;
}

typedef struct found {
    ls_face *face;
    shape at;
} found;

/* The largest usable faces, from left to right. */
static size_t select_faces(ls_face *faces, size_t count, size_t min_height, found *out)
{
    size_t n = 0, k;
    for (size_t i = 0; i < count; i++) {
        if (!usable(&faces[i], min_height))
            continue;
        found new = {&faces[i], shape_of(&faces[i])};
        for (k = n; k && out[k - 1].at.w * out[k - 1].at.h < new.at.w *new.at.h; k--)
            if (k < LS_MAX_FACES)
                out[k] = out[k - 1];
        if (k < LS_MAX_FACES)
            out[k] = new;
        n += n < LS_MAX_FACES;
    }
    for (size_t i = 1; i < n; i++) {
        found new = out[i];
        for (k = i; k && out[k - 1].at.x > new.at.x; k--)
            out[k] = out[k - 1];
        out[k] = new;
    }
    return n;
}

/* Merges a face found twice: the identity is kept, with the face of the higher score. */
static void drop_repeated(const found *d, size_t n, size_t live, size_t *to, bool *drop)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n && to[i] >= live && !drop[i]; k++) {
            bool better = d[i].face->score > d[k].face->score;
            if (k == i || drop[k] || overlap(&d[i].at, &d[k].at) <= SAME)
                continue;
            if (to[k] < live && better) {
                size_t swap = to[i];
                to[i] = to[k];
                to[k] = swap;
                drop[k] = true;
            } else if (to[k] < live || !better) {
                drop[i] = true;
            } else {
                drop[k] = true;
            }
        }
}

static void examine(ls_follow *f, int64_t frame, ls_face *faces, const ls_look *looks, size_t count)
{
    found d[LS_MAX_FACES];
    double cost[LS_MAX_FACES][MAX_LIVE + LS_MAX_FACES];
    size_t n = select_faces(faces, count, f->s.min_face, d), live = f->live, to[LS_MAX_FACES];
    bool drop[LS_MAX_FACES] = {false};
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < live + n; j++)
            cost[i][j] = j < live ? join_cost(f, &f->identities[j], &d[i].at, frame) : COST_NEW;
    assign(n, live + n, cost, to);
    for (size_t i = 0; i < n; i++)
        if (to[i] < live && cost[i][to[i]] >= NEVER)
            to[i] = live;
    drop_repeated(d, n, live, to, drop);
    for (size_t i = 0; i < n; i++) {
        if (drop[i] || to[i] >= live)
            continue;
        identity *t = &f->identities[to[i]];
        if (looks)
            d[i].face->covered =
                ls_cover_next(&t->cover, &looks[d[i].face - faces], (double)(frame - t->last));
        join(f, t, d[i].face, &d[i].at, frame);
    }
    for (size_t i = 0; i < n; i++) {
        if (drop[i])
            continue;
        identity *t = to[i] < live ? &f->identities[to[i]] : new_identity(f);
        if (to[i] >= live && f->ended.id && overlap(&d[i].at, &f->ended.at) > BACK)
            t->cover = f->ended.cover;
        if (looks && to[i] >= live)
            d[i].face->covered = ls_cover_next(&t->cover, &looks[d[i].face - faces], 1);
        t->last = frame;
        t->face = *d[i].face;
        t->at = d[i].at;
        *add_face(f, frame, t->id, false) = t->face;
    }
}

int ls_follow_push(ls_follow *f, int64_t frame, bool cut, bool examined, ls_face *faces,
                   const ls_look *looks, size_t count, ls_error *err)
{
    if (frame < 0 || (f->next >= 0 && frame != f->next))
        return ls_fail(err, LS_EINVAL, "following faces: got frame %lld, expected %lld",
                       (long long)frame, (long long)f->next);
    if (f->pending == f->capacity)
        return ls_fail(err, LS_EINVAL, "following faces: pending records must be taken first");
    f->next = frame + 1;
    f->pending++;
    *record_of(f, frame) = (ls_face_record){.frame = frame, .cut = cut};
    if (cut)
        f->live = f->ended.id = 0;
    if (examined)
        examine(f, frame, faces, looks, count);
    size_t kept = 0;
    for (size_t i = 0; i < f->live; i++)
        if (frame - f->identities[i].last <= (int64_t)f->reach)
            f->identities[kept++] = f->identities[i];
        else
            f->ended = f->identities[i];
    f->live = kept;
    return 0;
}

void ls_follow_finish(ls_follow *f)
{
    f->live = 0;
}

bool ls_follow_pop(ls_follow *f, ls_face_record *out)
{
    int64_t frame = f->next - (int64_t)f->pending;
    if (!f->pending)
        return false;
    for (size_t i = 0; i < f->live; i++)
        if (f->identities[i].last < frame)
            return false;
    *out = f->ring[f->head];
    f->head = (f->head + 1) % f->capacity;
    f->pending--;
    for (size_t i = 1; i < out->count; i++)
        for (size_t k = i; k && out->faces[k - 1].id > out->faces[k].id; k--) {
            ls_tracked_face swap = out->faces[k];
            out->faces[k] = out->faces[k - 1];
            out->faces[k - 1] = swap;
        }
    return true;
}
