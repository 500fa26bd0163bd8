#include "face/choose.h"
#include "base/alloc.h"
#include "face/follow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY ((size_t)2 * LS_CHOOSE_WINDOW)

struct ls_chooser {
    ls_choice choice;
    uint32_t chosen;   /* 0: none */
    int64_t last_seen; /* frame of the chosen one */
    int64_t next;      /* frame that the next push must have; -1 before the first */
    bool finished;
    size_t head, pending;
    ls_face_record ring[CAPACITY];
};

/* Digits with an optional sign and decimal point, whatever the locale; NULL if there are none. */
static const char *parse_number(const char *text, double *out)
{
    bool negative = *text == '-';
    double v = 0, unit = 1;
    size_t digits = 0;
    for (text += negative; *text >= '0' && *text <= '9'; text++, digits++)
        v = 10 * v + (*text - '0');
    if (*text == '.')
        for (text++; *text >= '0' && *text <= '9'; text++, digits++)
            v += (*text - '0') * (unit /= 10);
    *out = negative ? -v : v;
    return digits && digits < 20 ? text : NULL;
}

bool ls_choice_parse(ls_choice *c, const char *text)
{
    static const char *const words[] = {"largest", "left", "right"};
    static const ls_choice_kind kinds[] = {LS_CHOOSE_LARGEST, LS_CHOOSE_LEFT, LS_CHOOSE_RIGHT};
    *c = (ls_choice){0};
    for (size_t i = 0; i < 3; i++)
        if (!strcmp(text, words[i])) {
            c->kind = kinds[i];
            return true;
        }
    const char *end = parse_number(text, &c->x);
    if (end && *end == ',') {
        c->kind = LS_CHOOSE_POINT;
        end = parse_number(end + 1, &c->y);
        return end && !*end && fabs(c->x) <= LS_MAX_COORDINATE && fabs(c->y) <= LS_MAX_COORDINATE;
    }
    if (!end || *end || strspn(text, "0123456789") != strlen(text) || c->x < 1 ||
        c->x > LS_MAX_FACE_ID)
        return false;
    *c = (ls_choice){.kind = LS_CHOOSE_ID, .id = (uint32_t)c->x};
    return true;
}

int ls_chooser_open(ls_chooser **out, const ls_choice *choice, ls_error *err)
{
    ls_chooser *c = *out = ls_calloc_array(1, sizeof(*c));
    if (!c)
        return ls_fail(err, LS_ENOMEM, "choosing a face: out of memory");
    c->choice = *choice;
    c->next = -1;
    return 0;
}

void ls_chooser_close(ls_chooser **c)
{
    free(*c);
    *c = NULL;
}

int ls_chooser_push(ls_chooser *c, const ls_face_record *rec, ls_error *err)
{
    if (rec->frame < 0 || (c->next >= 0 && rec->frame != c->next))
        return ls_fail(err, LS_EINVAL, "choosing a face: got frame %lld, expected %lld",
                       (long long)rec->frame, (long long)c->next);
    if (c->pending == CAPACITY)
        return ls_fail(err, LS_EINVAL, "choosing a face: pending frames must be taken first");
    c->ring[(c->head + c->pending++) % CAPACITY] = *rec;
    c->next = rec->frame + 1;
    return 0;
}

void ls_chooser_finish(ls_chooser *c)
{
    c->finished = true;
}

static const ls_face_record *record_at(const ls_chooser *c, size_t i)
{
    return &c->ring[(c->head + i) % CAPACITY];
}

static const ls_tracked_face *find(const ls_face_record *rec, uint32_t id)
{
    for (size_t i = 0; i < rec->count; i++)
        if (rec->faces[i].id == id)
            return &rec->faces[i];
    return NULL;
}

/* The number of pending frames up to a cut, at most `most`; *whole: no push can change it. */
static size_t window(const ls_chooser *c, size_t most, bool *whole)
{
    size_t n = c->pending < most ? c->pending : most;
    for (size_t i = 1; i < n; i++)
        if (record_at(c, i)->cut) {
            *whole = true;
            return i;
        }
    *whole = c->finished || n == most;
    return n;
}

/* The score of choosing an identity first seen in frame i of a window of n. */
static double merit(const ls_chooser *c, uint32_t id, size_t i, size_t n)
{
    double area = 0, centre = 0, count = 0;
    bool point = c->choice.kind == LS_CHOOSE_POINT;
    for (size_t k = i; k < n; k++) {
        const ls_tracked_face *f = find(record_at(c, k), id);
        double b[4];
        if (!f)
            continue;
        ls_face_extent(&f->face, b);
        double x = c->choice.x, y = c->choice.y;
        if (point) /* inside beats outside: distances stay below 1e7 */
            return (x >= b[0] && x <= b[2] && y >= b[1] && y <= b[3] ? 1e8 : 0) -
                   hypot((b[0] + b[2]) / 2 - x, (b[1] + b[3]) / 2 - y);
        area += fmax(b[2] - b[0], 0) * fmax(b[3] - b[1], 0);
        centre += (b[0] + b[2]) / 2;
        count++;
    }
    if (c->choice.kind == LS_CHOOSE_LARGEST)
        return area;
    return c->choice.kind == LS_CHOOSE_LEFT ? -centre / count : centre / count;
}

static uint32_t choose(const ls_chooser *c, size_t n)
{
    uint32_t best = 0;
    double best_merit = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < record_at(c, i)->count; k++) {
            uint32_t id = record_at(c, i)->faces[k].id;
            bool seen = false;
            for (size_t j = 0; j < i && !seen; j++)
                seen = find(record_at(c, j), id);
            if (seen)
                continue;
            double m = merit(c, id, i, n);
            if (!best || m > best_merit || (m == best_merit && id < best)) {
                best = id;
                best_merit = m;
            }
        }
    return best;
}

/* Decides who is chosen in the first pending frame, which has a face. False: more frames are
 * needed. */
static bool decide(ls_chooser *c)
{
    const ls_face_record *rec = record_at(c, 0);
    bool whole;
    if (c->choice.kind == LS_CHOOSE_ID) {
        c->chosen = c->choice.id;
        return true;
    }
    if (c->chosen && find(rec, c->chosen))
        return true;
    int64_t left = c->chosen ? c->last_seen + LS_CHOOSE_WINDOW - rec->frame + 1 : 0;
    if (left > 0) {
        size_t n = window(c, (size_t)left, &whole);
        for (size_t i = 1; i < n; i++)
            if (find(record_at(c, i), c->chosen))
                return true;
        if (!whole)
            return false;
    }
    size_t n = window(c, LS_CHOOSE_WINDOW, &whole);
    if (!whole)
        return false;
    c->chosen = choose(c, n);
    c->last_seen = rec->frame; /* the chosen one appears within the window */
    return true;
}

bool ls_chooser_pop(ls_chooser *c, ls_chosen_face *out)
{
    const ls_face_record *rec = record_at(c, 0);
    if (!c->pending)
        return false;
    if (rec->cut)
        c->chosen = 0;
    if (rec->count && !decide(c))
        return false;
    const ls_tracked_face *f = c->chosen ? find(rec, c->chosen) : NULL;
    *out = (ls_chosen_face){.frame = rec->frame, .cut = rec->cut};
    if (f) {
        out->id = f->id;
        out->interpolated = f->interpolated;
        out->face = f->face;
        c->last_seen = rec->frame;
    }
    c->head = (c->head + 1) % CAPACITY;
    c->pending--;
    return true;
}
