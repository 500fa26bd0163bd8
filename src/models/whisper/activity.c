#include "models/whisper/activity.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GROUPS 8 /* of bands that lie side by side */
#define GROUP_BANDS (LS_MEL_BANDS / GROUPS)
#define SMOOTH 2    /* frames before and after, of which power is the mean */
#define BLOCK 50    /* frames */
#define AROUND 10   /* blocks before and after, in which noise and voice are sought */
#define OUTLIERS 2  /* blocks that may have less than the noise, such as a gap */
#define BRIEF 8     /* frames of the shortest strong sound */
#define BRIDGE 25   /* frames that weak sounds may lie from a strong one */
#define MARGIN 5    /* frames before and after a sound that belong to it */
#define SHORTEST 30 /* frames of a silence */
#define FADE 5      /* frames at each end of a silence */
#define SPAN (LS_ACTIVITY_MOST + 2 * LS_ACTIVITY_REACH)
#define BLOCKS (SPAN / BLOCK + 2)
#define MEL_FRAMES 128 /* read at a time */

_Static_assert((AROUND + 2) * BLOCK + SMOOTH + BRIEF + BRIDGE + MARGIN + SHORTEST + FADE <=
                   LS_ACTIVITY_REACH,
               "all that decides about a frame is within reach");

/* Levels are log10 of mel power, so 1 is 10 dB. */
#define LOUD 2.5f       /* below the loudest around */
#define FAINT 4.5f      /* below it: no sound under this is */
#define FAR 1.5f        /* below the loudest of all, which may be away */
#define ABSOLUTE (-8.f) /* about -85 dB of full scale */
#define CLEAR 1.2f      /* above the noise, or rather the least of it */
#define WEAK 0.7f
#define PEAKED 0.7f /* the mean of the groups' levels below the level of their mean */

enum { NONE, LOW, HIGH };

struct ls_activity {
    ls_log_mel *mel;
    float read[MEL_FRAMES][LS_MEL_BANDS];
    float power[SPAN][GROUPS];                  /* then levels */
    float noise[BLOCKS][GROUPS], voice[BLOCKS]; /* extremes within a block, then around it */
    uint8_t kind[SPAN];
    bool speech[SPAN];
};

size_t ls_activity_bytes(void)
{
    return sizeof(ls_activity);
}

int ls_activity_open(ls_activity **out, ls_log_mel *mel, ls_error *err)
{
    ls_activity *a = *out = ls_calloc_array(1, sizeof *a);
    if (!a)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    a->mel = mel;
    return 0;
}

void ls_activity_close(ls_activity **a)
{
    free(*a);
    *a = NULL;
}

static int read_power(ls_activity *a, size_t from, size_t n, ls_error *err)
{
    int ret = 0;
    for (size_t at = 0; !ret && at < n; at += MEL_FRAMES) {
        const size_t count = n - at < MEL_FRAMES ? n - at : MEL_FRAMES;
        ret = ls_log_mel_read(a->mel, from + at, count, a->read[0], err);
        for (size_t i = 0; !ret && i < count; i++)
            for (size_t g = 0; g < GROUPS; g++) {
                float sum = 0;
                for (size_t b = 0; b < GROUP_BANDS; b++)
                    sum += powf(10, 4 * a->read[i][g * GROUP_BANDS + b] - 4);
                a->power[at + i][g] = sum / GROUP_BANDS;
            }
    }
    return ret;
}

/* In place: of the frames before only those within SMOOTH are needed once more. */
static void find_levels(ls_activity *a, size_t n)
{
    float kept[SMOOTH + 1][GROUPS];
    for (size_t t = 0; t < n; t++) {
        const size_t first = t < SMOOTH ? 0 : t - SMOOTH, end = t + SMOOTH < n ? t + SMOOTH + 1 : n;
        memcpy(kept[t % (SMOOTH + 1)], a->power[t], sizeof kept[0]);
        for (size_t g = 0; g < GROUPS; g++) {
            float sum = 0;
            for (size_t k = first; k < end; k++)
                sum += k < t ? kept[k % (SMOOTH + 1)][g] : a->power[k][g];
            a->power[t][g] = log10f(sum / (float)(end - first));
        }
    }
}

static float loudest(const float level[GROUPS])
{
    float max = level[0];
    for (size_t g = 1; g < GROUPS; g++)
        max = fmaxf(max, level[g]);
    return max;
}

/* The OUTLIERS + 1 st lowest of blocks [first, end), or an earlier one where they are few. */
static float low_of(float noise[][GROUPS], size_t first, size_t end, size_t g)
{
    float lowest[OUTLIERS + 2];
    const size_t few = (end - first) / 4, rank = few < OUTLIERS ? few : OUTLIERS;
    size_t count = 0;
    for (size_t b = first; b < end; b++) {
        size_t k = count;
        for (; k > 0 && lowest[k - 1] > noise[b][g]; k--)
            lowest[k] = lowest[k - 1];
        lowest[k] = noise[b][g];
        count += count <= rank;
    }
    return lowest[rank];
}

/* Blocks lie on a grid of the recording, of which the first frame is a point. */
static void look_around(ls_activity *a, size_t n)
{
    float noise[BLOCKS][GROUPS], voice[BLOCKS];
    const size_t blocks = (n + BLOCK - 1) / BLOCK;
    for (size_t t = 0; t < n; t++) {
        const size_t b = t / BLOCK;
        const float level = loudest(a->power[t]);
        voice[b] = t % BLOCK ? fmaxf(voice[b], level) : level;
        for (size_t g = 0; g < GROUPS; g++)
            noise[b][g] = t % BLOCK ? fminf(noise[b][g], a->power[t][g]) : a->power[t][g];
    }
    for (size_t b = 0; b < blocks; b++) {
        const size_t first = b < AROUND ? 0 : b - AROUND,
                     end = b + AROUND < blocks ? b + AROUND + 1 : blocks;
        a->voice[b] = ls_log_mel_loudest(a->mel) - FAR;
        for (size_t k = first; k < end; k++)
            a->voice[b] = fmaxf(a->voice[b], voice[k]);
        for (size_t g = 0; g < GROUPS; g++)
            a->noise[b][g] = low_of(noise, first, end, g);
    }
}

static bool is_peaked(const float level[GROUPS])
{
    float mean = 0, power = 0;
    for (size_t g = 0; g < GROUPS; g++) {
        mean += level[g] / GROUPS;
        power += powf(10, level[g]) / GROUPS;
    }
    return mean < log10f(power) - PEAKED;
}

static int kind_of(const ls_activity *a, size_t t)
{
    const float *level = a->power[t], *noise = a->noise[t / BLOCK], voice = a->voice[t / BLOCK];
    const float loud = loudest(level);
    float above = 0;
    for (size_t g = 0; g < GROUPS; g++)
        above = fmaxf(above, level[g] - noise[g]);
    if (loud < ABSOLUTE || loud < voice - FAINT)
        return NONE;
    if ((loud > voice - LOUD) + (above > CLEAR) + is_peaked(level) >= 2)
        return HIGH;
    return above > WEAK ? LOW : NONE;
}

/* What is strong for a moment only, such as a click, counts as weak. */
static void weaken_clicks(ls_activity *a, size_t n)
{
    for (size_t t = 0, end; t < n; t = end + 1) {
        for (end = t; end < n && a->kind[end] == HIGH; end++)
            ;
        if (end - t < BRIEF)
            memset(a->kind + t, LOW, end - t);
    }
}

/* Strong sounds, and weak ones that are connected with them, with their margins. */
static void find_sounds(ls_activity *a, size_t n)
{
    for (size_t t = 0; t < n; t++) {
        a->kind[t] = (uint8_t)kind_of(a, t);
        a->speech[t] = false;
    }
    weaken_clicks(a, n);
    for (size_t t = 0; t < n; t++) {
        size_t first = t, last = t;
        if (a->kind[t] != HIGH)
            continue;
        while (first > 0 && t - first < BRIDGE && a->kind[first - 1] == LOW)
            first--;
        while (last + 1 < n && last - t < BRIDGE && a->kind[last + 1] == LOW)
            last++;
        first = first < MARGIN ? 0 : first - MARGIN;
        last = last + MARGIN < n ? last + MARGIN : n - 1;
        memset(a->speech + first, 1, (last - first + 1) * sizeof *a->speech);
    }
}

/* Of frame `at`; an end of the recording, which the span reaches there alone, ends no silence. */
static float part_of(const ls_activity *a, size_t at, size_t n)
{
    size_t first = at, end = at;
    if (a->speech[at])
        return 1;
    while (first > 0 && at - first < SHORTEST && !a->speech[first - 1])
        first--;
    while (end < n && end - at < SHORTEST && !a->speech[end])
        end++;
    if (end - first < SHORTEST && first > 0 && end < n)
        return 1;
    const size_t before = first > 0 ? at - first : FADE, after = end < n ? end - 1 - at : FADE;
    const size_t nearest = before < after ? before : after;
    return nearest >= FADE ? 0 : 1 - (float)(nearest + 1) / (FADE + 1);
}

int ls_activity_read(ls_activity *a, size_t start, size_t n, float *parts, ls_error *err)
{
    const size_t frames = ls_log_mel_frames(a->mel), reach = LS_ACTIVITY_REACH;
    const size_t end = start + n < frames ? start + n : frames;
    const size_t from = start < reach ? 0 : (start - reach + BLOCK - 1) / BLOCK * BLOCK,
                 to = end + reach < frames ? end + reach : frames;
    for (size_t i = 0; i < n; i++)
        parts[i] = 1;
    if (start >= end)
        return 0;
    int ret = read_power(a, from, to - from, err);
    if (ret)
        return ret;
    find_levels(a, to - from);
    look_around(a, to - from);
    find_sounds(a, to - from);
    for (size_t t = start; t < end; t++)
        parts[t - start] = part_of(a, t - from, to - from);
    return 0;
}
