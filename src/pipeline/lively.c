#include "pipeline/lively.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

#define MEL_RATE 100 /* frames a second */
#define STEP 4       /* of them, so 40 ms */
#define STEPS 64     /* read at once */
#define BANDS 6
#define EACH 10  /* filters of a band, */
#define LOWEST 4 /* and the first: 186 Hz; the last is at 4.5 kHz */
#define DB 40    /* that 1 of the log-mel is */
#define SILENCE (30.0 / DB)

typedef struct finder {
    ls_log_mel *mel;
    const ls_cancel *cancel;
    ls_error *err;
    size_t at, have, steps; /* the next step, those that are read, all */
    float rows[STEPS * STEP][LS_MEL_BANDS];
    double level[BANDS]; /* of the step before */
} finder;

static int read_steps(finder *f)
{
    if (ls_canceled(f->cancel))
        return ls_fail(f->err, LS_ECANCELED, "canceled");
    const size_t left = f->steps - f->at;
    const size_t n = left < STEPS ? left : STEPS;
    f->have = f->at + n;
    return ls_log_mel_read(f->mel, f->at * STEP, n * STEP, &f->rows[0][0], f->err);
}

/* How lively the next step is. */
static int next_step(finder *f, double *lively)
{
    const double floor = (double)ls_log_mel_floor(f->mel) + SILENCE;
    const size_t row = f->at % STEPS * STEP;
    int ret = f->at == f->have ? read_steps(f) : 0;
    *lively = 0;
    for (size_t b = 0; !ret && b < BANDS; b++) {
        double sum = 0;
        for (size_t i = 0; i < STEP; i++)
            for (size_t k = 0; k < EACH; k++)
                sum += fmax(f->rows[row + i][LOWEST + b * EACH + k], floor);
        const double level = DB * sum / (STEP * EACH);
        *lively += f->at ? fabs(level - f->level[b]) / BANDS : 0;
        f->level[b] = level;
    }
    f->at++;
    return ret;
}

/* All steps that begin before `end`, in steps. */
static int add_steps(finder *f, double end, double *lively)
{
    double one;
    int ret = 0;
    *lively = 0;
    while (!ret && f->at < f->steps && (double)f->at < end - 1e-6) {
        ret = next_step(f, &one);
        *lively += one;
    }
    return ret;
}

static int by_score(const void *a, const void *b)
{
    const ls_lively_window *x = a, *y = b;
    return x->score > y->score   ? -1
           : x->score < y->score ? 1
                                 : (x->first > y->first) - (x->first < y->first);
}

/* In the order of the scores, without overlaps. */
static size_t sort(ls_lively_window *w, size_t n, uint64_t length)
{
    size_t kept = 0;
    qsort(w, n, sizeof *w, by_score);
    for (size_t i = 0; i < n; i++) {
        bool apart = true;
        for (size_t k = 0; k < kept; k++)
            apart =
                apart && (w[i].first >= w[k].first + length || w[k].first >= w[i].first + length);
        if (apart)
            w[kept++] = w[i];
    }
    return kept;
}

static int find(finder *f, ls_lively_window *found, size_t *count, double *scores,
                const ls_lively_chunks *c, uint64_t window)
{
    const double steps = (double)MEL_RATE / STEP;
    const uint64_t starts = c->end - c->first - window + 1;
    size_t sections = 0;
    uint64_t last = UINT64_MAX; /* the section that found[sections - 1] is of */
    double before, sum = 0;
    int ret = add_steps(f, c->seconds(c->opaque, c->first) * steps, &before);
    for (uint64_t i = 0; !ret && i < c->end - c->first; i++) {
        double *score = &scores[i % window];
        ret = add_steps(f, c->seconds(c->opaque, c->first + i + 1) * steps, score);
        if (ret || i + 1 < window)
            continue;
        sum = 0; // anew, so that it does not depend on what was before
        for (uint64_t k = 0; k < window; k++)
            sum += scores[(i + 1 + k) % window];
        const uint64_t start = i + 1 - window, section = start * LS_LIVELY_SECTIONS / starts;
        sections += section != last;
        if (section != last || sum > found[sections - 1].score)
            found[sections - 1] = (ls_lively_window){c->first + start, sum};
        last = section;
    }
    *count = ret ? 0 : sort(found, sections, window);
    return ret;
}

int ls_lively_find(ls_lively_window found[LS_LIVELY_SECTIONS], size_t *count, ls_log_mel *mel,
                   const ls_lively_chunks *chunks, const ls_cancel *cancel, ls_error *err)
{
    const uint64_t all = chunks->end - chunks->first,
                   window = chunks->window < all ? chunks->window : all;
    finder *f = ls_calloc_array(1, sizeof *f);
    double *scores = ls_calloc_array(window, sizeof *scores);
    int ret = f && scores ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        *f = (finder){.mel = mel, .cancel = cancel, .err = err};
        f->steps = ls_log_mel_frames(mel) / STEP;
        ret = find(f, found, count, scores, chunks, window);
    }
    free(scores);
    free(f);
    return ret;
}
