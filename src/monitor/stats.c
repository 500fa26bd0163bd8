#include "monitor/stats.h"

#include <jansson.h>
#include <math.h>

/* A key is left out if its value cannot be created (not finite, not UTF-8, out of memory). */
static void add_real(json_t *o, const char *key, double v)
{
    json_object_set_new(o, key, json_real(round(v * 1000) / 1000));
}

static void add_count(json_t *o, const char *key, uint64_t v)
{
    json_object_set_new(o, key, json_integer(v < INT64_MAX ? (json_int_t)v : INT64_MAX));
}

static json_t *make_gpus(const ls_usage *u)
{
    json_t *all = json_array();
    for (size_t i = 0; i < u->gpu_count; i++) {
        json_t *o = json_object();
        add_count(o, "bytes", u->gpus[i].used);
        add_count(o, "total_bytes", u->gpus[i].total);
        if (u->gpus[i].percent >= 0)
            add_real(o, "percent", u->gpus[i].percent);
        json_array_append_new(all, o);
    }
    return all;
}

static void add_usage(json_t *o, const ls_progress *p, const ls_usage *u)
{
    add_real(o, "cpu_percent", u->cpu_percent);
    add_count(o, "resident_bytes", u->resident);
    add_count(o, "cgroup_bytes", u->cgroup_used);
    if (u->cgroup_limit && u->cgroup_limit != UINT64_MAX)
        add_count(o, "cgroup_limit_bytes", u->cgroup_limit);
    if (p->budget_bytes)
        add_count(o, "budget_bytes", p->budget_bytes);
    if (u->pressure >= 0)
        add_real(o, "memory_pressure", u->pressure);
    if (!u->has_gpu)
        return;
    add_count(o, "gpu_bytes", u->gpu_used);
    add_count(o, "gpu_total_bytes", u->gpu_total);
    if (u->gpu_percent >= 0)
        add_real(o, "gpu_percent", u->gpu_percent);
    if (u->gpu_count > 1)
        json_object_set_new(o, "gpus", make_gpus(u));
}

static json_t *make_times(const ls_progress_time *t, size_t count)
{
    json_t *all = json_object();
    for (size_t i = 0; i < count; i++) {
        json_t *o = json_object();
        add_real(o, "busy_seconds", t[i].busy_seconds);
        add_real(o, "input_seconds", t[i].input_seconds);
        add_real(o, "room_seconds", t[i].room_seconds);
        add_count(o, "frames", t[i].frames);
        json_object_set_new(all, t[i].name, o);
    }
    return all;
}

static json_t *make_queues(const ls_progress *p)
{
    json_t *all = json_object();
    for (size_t i = 0; i < p->queue_count; i++) {
        const ls_progress_queue *q = &p->queues[i];
        json_t *o = json_object();
        add_count(o, "items", q->items);
        add_count(o, "max_items", q->max_items);
        add_count(o, "bytes", q->bytes);
        json_object_set_new(all, q->name, o);
    }
    return all;
}

size_t ls_stats_json(const ls_progress *p, const ls_usage *u, char *text, size_t size)
{
    json_t *o = json_object();
    if (!o)
        return 0;
    add_real(o, "time", u->seconds);
    json_object_set_new(o, "stage", json_string(p->stage ? p->stage : ""));
    add_count(o, "frame", p->frame);
    add_count(o, "frames", p->frames);
    add_real(o, "fps", p->frames_per_second);
    add_real(o, "seconds_left", p->seconds_left);
    add_usage(o, p, u);
    json_object_set_new(o, "stages", make_times(p->times, p->time_count));
    json_object_set_new(o, "devices", make_times(p->devices, p->device_count));
    json_object_set_new(o, "queues", make_queues(p));
    size_t n = json_dumpb(o, text, size, JSON_COMPACT | JSON_REAL_PRECISION(12));
    json_decref(o);
    if (!n || n >= size)
        return 0;
    text[n] = '\n';
    return n + 1;
}
