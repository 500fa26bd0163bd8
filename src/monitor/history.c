#include "monitor/history.h"
#include "base/alloc.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINE = 65536 };
#define MAX_TIME 1e9   // 30 years
#define MAX_VALUE 1e18 // larger values are clamped to this

/* What the last sample of this part said of a stage or device. */
typedef struct counters {
    bool seen;
    double busy, input, room, frames;
    double changed; // when `busy` last grew
} counters;

typedef struct reader {
    const char *name;
    FILE *file;
    uint64_t line;
    ls_history *h;
    double from, to;   // span of the current line, in seconds since the first part's start
    double start;      // of the current part
    double time;       // last in the current part, since its start
    double part_frame; // last in the current part; negative before the first
    bool fresh;        // this part is recorded from its start
    counters stages[LS_HISTORY_NAMES], devices[LS_HISTORY_NAMES];
    char text[MAX_LINE + 1];
} reader;

static int fail(const reader *r, ls_error *err, const char *key, const char *what)
{
    return ls_fail(err, LS_EFORMAT, "%s, line %llu: %s%s%s%s", r->name, (unsigned long long)r->line,
                   *key ? "\"" : "", key, *key ? "\" " : "", what);
}

static void add_to_bin(ls_bin *bin, const ls_bin *more)
{
    if (more->weight > 0) {
        bin->min = bin->weight > 0 ? fmin(bin->min, more->min) : more->min;
        bin->max = bin->weight > 0 ? fmax(bin->max, more->max) : more->max;
    }
    bin->weight += more->weight;
    bin->sum += more->sum;
}

static void halve(ls_series *s)
{
    for (size_t i = 0; i < LS_HISTORY_BINS; i++) {
        ls_bin bin = s->bins[i];
        s->bins[i] = (ls_bin){0};
        add_to_bin(&s->bins[i / 2], &bin);
    }
}

/* Widens the bins until `seconds` fits. */
static void make_room(ls_history *h, double seconds)
{
    while (seconds > h->bin_seconds * LS_HISTORY_BINS) {
        h->bin_seconds *= 2;
        for (size_t i = 0; i < LS_FIGURES; i++)
            halve(&h->figures[i]);
        for (size_t i = 0; i < LS_HISTORY_NAMES; i++) {
            halve(&h->stages[i].busy);
            halve(&h->devices[i].busy);
            halve(&h->queues[i]);
            halve(&h->gpus[i].load);
        }
        for (size_t i = 0; i < LS_HISTORY_BINS; i++) {
            bool start = h->starts[i];
            h->starts[i] = false;
            h->starts[i / 2] |= start;
        }
    }
}

static size_t bin_at(const ls_history *h, double seconds)
{
    double i = seconds / h->bin_seconds;
    return i < LS_HISTORY_BINS - 1 ? (size_t)i : LS_HISTORY_BINS - 1;
}

/* Adds `amount` per second from `from` to `to`; if `known`, these seconds become known. */
static void spread(const ls_history *h, ls_series *s, double from, double to, double amount,
                   bool known)
{
    for (size_t i = bin_at(h, from), last = bin_at(h, to); i <= last; i++) {
        double a = fmax(from, (double)i * h->bin_seconds);
        double b = fmin(to, (double)(i + 1) * h->bin_seconds);
        if (b > a)
            add_to_bin(&s->bins[i], &(ls_bin){known ? b - a : 0, amount * (b - a), amount, amount});
    }
    double seconds = to - from;
    add_to_bin(&s->all, &(ls_bin){known ? seconds : 0, amount * seconds, amount, amount});
}

/* An absent key leaves *out unchanged. */
static int read_number(const reader *r, json_t *object, const char *key, double *out, ls_error *err)
{
    json_t *v = json_object_get(object, key);
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_number(v) || json_number_value(v) < 0)
        return fail(r, err, key, "must be a number, 0 or more");
    *out = fmin(json_number_value(v), MAX_VALUE);
    return 0;
}

static int read_figures(reader *r, json_t *object, ls_error *err)
{
    static const char *const keys[LS_FIGURES] = {
        [LS_FIGURE_RESIDENT] = "resident_bytes",
        [LS_FIGURE_CGROUP] = "cgroup_bytes",
        [LS_FIGURE_CGROUP_LIMIT] = "cgroup_limit_bytes",
        [LS_FIGURE_BUDGET] = "budget_bytes",
        [LS_FIGURE_CPU] = "cpu_percent",
        [LS_FIGURE_PRESSURE] = "memory_pressure",
        [LS_FIGURE_GPU_MEMORY] = "gpu_bytes",
        [LS_FIGURE_GPU_TOTAL] = "gpu_total_bytes",
        [LS_FIGURE_GPU_LOAD] = "gpu_percent",
    };
    for (size_t i = 0; i < LS_FIGURES; i++) {
        double v = -1;
        int ret = read_number(r, object, keys[i], &v, err);
        if (ret)
            return ret;
        if (v >= 0)
            spread(r->h, &r->h->figures[i], r->from, r->to, v, true);
    }
    return 0;
}

/* The index of a name in a list of series, each in an element of `size` bytes; a new name is
 * appended. */
static int find_series(const reader *r, void *list, size_t size, size_t *count, const char *name,
                       size_t *index, ls_error *err)
{
    for (*index = 0; *index < *count; ++*index)
        if (!strcmp(((ls_series *)((char *)list + *index * size))->name, name))
            return 0;
    if (*count == LS_HISTORY_NAMES)
        return fail(r, err, "", "more than 24 stages, devices or queues");
    if (strlen(name) >= LS_HISTORY_NAME_SIZE)
        return fail(r, err, "", "the name of a stage, device or queue is longer than 63 bytes");
    strcpy(((ls_series *)((char *)list + (*count)++ * size))->name, name);
    return 0;
}

/* The counter grows when a stage finishes something, which may have taken many samples: the work is
 * placed at the end of that time, where it must have been, and never before the last growth. */
static void add_work(const reader *r, ls_worker *w, counters *last, const counters *now)
{
    const bool count = last->seen || r->fresh;
    const double work = count ? now->busy - last->busy : 0;
    const double changed = last->seen ? last->changed : r->fresh ? r->start : r->from;
    if (count) {
        w->frames += fmax(now->frames - last->frames, 0);
        w->input += fmax(now->input - last->input, 0);
        w->room += fmax(now->room - last->room, 0);
    }
    *last = *now;
    last->seen = true;
    last->changed = changed;
    spread(r->h, &w->busy, r->from, r->to, 0, true);
    if (work <= 0)
        return;
    const double from = fmax(changed, fmin(r->from, r->to - work));
    if (from < r->to)
        spread(r->h, &w->busy, from, r->to, 100 * work / (r->to - from), false);
    last->changed = r->to;
}

static int read_workers(const reader *r, json_t *object, const char *key,
                        ls_worker list[LS_HISTORY_NAMES], size_t *count,
                        counters last[LS_HISTORY_NAMES], ls_error *err)
{
    json_t *all = json_object_get(object, key), *worker;
    const char *name;
    if (all && !json_is_object(all))
        return fail(r, err, key, "must be an object");
    json_object_foreach(all, name, worker)
    {
        size_t k;
        counters now = {.seen = true};
        int ret = json_is_object(worker) ? 0 : fail(r, err, name, "must be an object");
        if (!ret)
            ret = find_series(r, list, sizeof *list, count, name, &k, err);
        if (ret || (ret = read_number(r, worker, "busy_seconds", &now.busy, err)) ||
            (ret = read_number(r, worker, "input_seconds", &now.input, err)) ||
            (ret = read_number(r, worker, "room_seconds", &now.room, err)) ||
            (ret = read_number(r, worker, "frames", &now.frames, err)))
            return ret;
        add_work(r, &list[k], &last[k], &now);
    }
    return 0;
}

static int read_gpus(const reader *r, json_t *object, ls_error *err)
{
    ls_history *h = r->h;
    json_t *all = json_object_get(object, "gpus"), *gpu;
    size_t i;
    if (all && !json_is_array(all))
        return fail(r, err, "gpus", "must be an array");
    json_array_foreach(all, i, gpu)
    {
        if (i == LS_HISTORY_NAMES)
            break;
        ls_gpu *g = &h->gpus[i];
        double bytes = 0, total = 0, load = -1;
        int ret = json_is_object(gpu) ? 0 : fail(r, err, "gpus", "must hold objects");
        if (ret || (ret = read_number(r, gpu, "bytes", &bytes, err)) ||
            (ret = read_number(r, gpu, "total_bytes", &total, err)) ||
            (ret = read_number(r, gpu, "percent", &load, err)))
            return ret;
        snprintf(g->load.name, sizeof g->load.name, "GPU %zu", i);
        g->bytes = fmax(g->bytes, bytes);
        g->total = fmax(g->total, total);
        if (load >= 0)
            spread(h, &g->load, r->from, r->to, load, true);
        h->gpu_count = i + 1 > h->gpu_count ? i + 1 : h->gpu_count;
    }
    return 0;
}

static int read_queues(reader *r, json_t *object, ls_error *err)
{
    json_t *all = json_object_get(object, "queues"), *queue;
    const char *name;
    if (all && !json_is_object(all))
        return fail(r, err, "queues", "must be an object");
    json_object_foreach(all, name, queue)
    {
        static const char *const keys[] = {"items", "max_items", "bytes", "max_bytes"};
        size_t k;
        double v[4] = {0};
        int ret = json_is_object(queue) ? 0 : fail(r, err, name, "must be an object");
        if (!ret)
            ret = find_series(r, r->h->queues, sizeof *r->h->queues, &r->h->queue_count, name, &k,
                              err);
        for (int i = 0; i < 4 && !ret; i++)
            ret = read_number(r, queue, keys[i], &v[i], err);
        if (ret)
            return ret;
        double fill = fmax(v[1] > 0 ? v[0] / v[1] : 0, v[3] > 0 ? v[2] / v[3] : 0);
        spread(r->h, &r->h->queues[k], r->from, r->to, 100 * fmin(fill, 1), true);
    }
    return 0;
}

/* Places the sample: it covers the time since the one before, the first of a part about a second.
 */
static void place(reader *r, double time)
{
    ls_history *h = r->h;
    bool new_part = !h->samples++ || time < r->time;
    r->from = r->to;
    if (new_part) {
        r->fresh = time <= 2;
        r->start = r->from - (r->fresh ? 0 : time - 1);
        r->part_frame = -1;
        memset(r->stages, 0, sizeof r->stages);
        memset(r->devices, 0, sizeof r->devices);
    }
    r->time = time;
    r->to = fmax(r->start + time, r->from + 1e-3); // two samples may have the same time
    make_room(h, r->to);
    h->seconds = r->to;
    if (new_part && h->parts++)
        h->starts[bin_at(h, r->from)] = true;
}

static int read_phase(const reader *r, json_t *object, ls_error *err)
{
    json_t *stage = json_object_get(object, "stage");
    const char *name = json_string_value(stage);
    if (stage && !name)
        return fail(r, err, "stage", "must be a string");
    for (size_t i = 0; name && *name && i < LS_HISTORY_PHASES; i++) {
        ls_phase *p = &r->h->phases[i];
        if (!*p->name && strlen(name) < sizeof p->name)
            strcpy(p->name, name);
        if (!strcmp(p->name, name)) {
            p->seconds += r->to - r->from;
            break;
        }
    }
    return 0;
}

static int read_sample(reader *r, json_t *object, ls_error *err)
{
    ls_history *h = r->h;
    double time = -1;
    int ret = json_is_object(object)
                  ? read_number(r, object, "time", &time, err)
                  : fail(r, err, "", "not a JSON object like {\"time\": 1, ...}");
    if (!ret && (time < 0 || time > MAX_TIME))
        ret = fail(r, err, "time", "must be a number of seconds up to a billion");
    if (ret)
        return ret;
    place(r, time);
    if ((ret = read_number(r, object, "frame", &h->frame, err)) ||
        (ret = read_number(r, object, "frames", &h->frames, err)) ||
        (ret = read_phase(r, object, err)) || (ret = read_figures(r, object, err)) ||
        (ret = read_workers(r, object, "stages", h->stages, &h->stage_count, r->stages, err)) ||
        (ret = read_workers(r, object, "devices", h->devices, &h->device_count, r->devices, err)) ||
        (ret = read_gpus(r, object, err)) || (ret = read_queues(r, object, err)))
        return ret;
    if (r->part_frame >= 0)
        h->frames_done += fmax(h->frame - r->part_frame, 0);
    r->part_frame = h->frame;
    return 0;
}

/* 1: a line, in r->text. 0: the end of the file. *whole: the line has its newline. */
static int read_line(reader *r, size_t *length, bool *whole, ls_error *err)
{
    size_t n = 0;
    int c;
    r->line++;
    while ((c = getc_unlocked(r->file)) != EOF && c != '\n') {
        if (n == MAX_LINE)
            return fail(r, err, "", "longer than 65536 bytes; is this a statistics file?");
        r->text[n++] = (char)c;
    }
    if (c == EOF && ferror(r->file))
        return ls_fail_errno(err, errno, "%s: read", r->name);
    r->text[n] = 0;
    *length = n;
    *whole = c != EOF;
    return *whole || n;
}

static int read_all(reader *r, ls_error *err)
{
    size_t n = 0;
    bool whole = true;
    int ret;
    while ((ret = read_line(r, &n, &whole, err)) > 0) {
        json_error_t bad;
        json_t *object = json_loadb(r->text, n, JSON_REJECT_DUPLICATES, &bad);
        if (!object && !whole)
            break;
        if (!object && strspn(r->text, " \t\r\n") < n)
            return ls_fail(err, LS_EFORMAT, "%s, line %llu, column %d: not JSON: %s", r->name,
                           (unsigned long long)r->line, bad.column, bad.text);
        ret = object ? read_sample(r, object, err) : 0;
        json_decref(object);
        if (ret)
            return ret;
    }
    if (ret >= 0 && !r->h->samples)
        ret = ls_fail(err, LS_EFORMAT, "%s has no samples; is it a statistics file?", r->name);
    return ret < 0 ? ret : 0;
}

int ls_history_read(ls_history **out, const char *path, ls_error *err)
{
    int ret = 0;
    ls_history *h = *out = ls_calloc_array(1, sizeof *h);
    reader *r = ls_calloc_array(1, sizeof *r);
    if (!h || !r) {
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    } else if (*r = (reader){.name = path, .h = h}, !(r->file = fopen(path, "re"))) {
        ret = ls_fail_errno(err, errno, "%s", path);
    } else {
        h->bin_seconds = 1;
        ret = read_all(r, err);
        fclose(r->file);
    }
    free(r);
    if (ret)
        ls_history_free(out);
    return ret;
}

void ls_history_free(ls_history **h)
{
    free(*h);
    *h = NULL;
}
