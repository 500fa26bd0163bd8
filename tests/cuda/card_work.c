#include "card.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

pthread_mutex_t card_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char message[512];

void card_message(char *text, size_t size)
{
    snprintf(text, size, "%s", message);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void sleep_until(double seconds)
{
    const struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL))
        ;
}

void stream_want(stream *s, uint64_t position)
{
    if (s->wanted >= position)
        return;
    s->wanted = position;
    pthread_cond_broadcast(&changed);
}

void event_want(event *e)
{
    if (e->done < e->recorded)
        stream_want(e->stream, e->position);
}

/* For the `record`-th record of e, at `position` of s. */
static void wait_for_record(event *e, uint64_t record, stream *s, uint64_t position)
{
    e->references++;
    while (e->done < record) {
        stream_want(s, position);
        pthread_cond_wait(&changed, &card_lock);
    }
    event_release(e);
}

void event_wait(event *e)
{
    wait_for_record(e, e->recorded, e->stream, e->position);
}

void event_release(event *e)
{
    if (!--e->references)
        free(e);
}

void stream_wait(stream *s, uint64_t position)
{
    stream_want(s, position);
    while (s->done < position)
        pthread_cond_wait(&changed, &card_lock);
}

void context_wait(context *c)
{
    for (stream *s = c->streams; s; s = s->next)
        stream_want(s, s->enqueued);
    for (stream *s = c->streams; s; s = s->next)
        stream_wait(s, s->enqueued);
}

static void run_kernel(context *c, operation *o)
{
    char text[sizeof message] = "";
    if (!card_translate(&c->memory, o->params, o->params_size)) {
        c->error = CUDA_ILLEGAL_ADDRESS;
        snprintf(message, sizeof message, "%s: a parameter is the address of no memory",
                 o->options.name);
        return;
    }
    if (!o->emulated)
        return;
    pthread_mutex_unlock(&card_lock);
    const int ret = emulator_launch(&o->options, o->kernel, o->params, o->grid, o->threads,
                                    o->shared, text, sizeof text);
    pthread_mutex_lock(&card_lock);
    if (ret) {
        c->error = CUDA_LAUNCH_FAILED;
        memcpy(message, text, sizeof text);
    }
}

static void run_copy(context *c, const operation *o)
{
    void *const to = o->to_host ? o->to_host : card_bytes(&c->memory, o->to, o->bytes);
    const void *const from =
        o->from_host ? o->from_host : card_bytes(&c->memory, o->from, o->bytes);
    if (!to || !from) {
        c->error = CUDA_ILLEGAL_ADDRESS;
        return;
    }
    pthread_mutex_unlock(&card_lock);
    memcpy(to, from, o->bytes);
    pthread_mutex_lock(&card_lock);
}

static void run_fill(context *c, const operation *o)
{
    uint8_t *const to = card_bytes(&c->memory, o->to, o->bytes);
    if (!to)
        c->error = CUDA_ILLEGAL_ADDRESS;
    for (size_t i = 0; to && i < o->bytes; i += o->unit)
        memcpy(to + i, &o->value, o->unit);
}

#define NAP 1e-3 /* seconds that are worth a sleep */

static void take_time(stream *s, const operation *o)
{
    if (o->seconds <= 0)
        return;
    s->idle_at = (s->idle_at > o->enqueued ? s->idle_at : o->enqueued) + o->seconds;
    if (o->kind == OPERATION_KERNEL && s->idle_at < now() + NAP)
        return; // what follows waits for it too
    pthread_mutex_unlock(&card_lock);
    sleep_until(s->idle_at);
    pthread_mutex_lock(&card_lock);
}

static void run(stream *s, operation *o)
{
    context *const c = s->context;
    if (o->kind == OPERATION_WAIT)
        wait_for_record(o->event, o->record, o->recorder, o->position);
    if (!c->error)
        c->error = o->fails;
    if (!c->error && o->kind == OPERATION_KERNEL)
        run_kernel(c, o);
    if (!c->error && o->kind == OPERATION_COPY)
        run_copy(c, o);
    if (!c->error && o->kind == OPERATION_FILL)
        run_fill(c, o);
    if (!c->error)
        take_time(s, o);
    if (o->kind == OPERATION_RECORD) {
        if (o->event->done < o->record)
            o->event->done = o->record;
        o->event->time = now();
    }
}

static void drop(context *c, operation *o)
{
    c->pinned_writes -= o->pinned_write;
    if (o->event)
        event_release(o->event);
    free(o->params);
    free(o->owned);
    free(o);
}

static void *work(void *arg)
{
    stream *const s = arg;
    pthread_mutex_lock(&card_lock);
    for (;;) {
        while (s->first ? s->done >= s->wanted : !s->ending)
            pthread_cond_wait(&changed, &card_lock);
        operation *const o = s->first;
        if (!o)
            break;
        run(s, o);
        s->first = o->next;
        if (!s->first)
            s->last = &s->first;
        drop(s->context, o);
        s->done++;
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&card_lock);
    return NULL;
}

stream *stream_open(context *c, bool eager)
{
    stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->context = c;
    s->last = &s->first;
    s->wanted = eager ? UINT64_MAX : 0;
    if (pthread_create(&s->thread, NULL, work, s)) {
        free(s);
        return NULL;
    }
    s->next = c->streams;
    c->streams = s;
    return s;
}

void stream_close(stream *s)
{
    stream_wait(s, s->enqueued);
    stream **at = &s->context->streams;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    s->ending = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&card_lock);
    pthread_join(s->thread, NULL);
    pthread_mutex_lock(&card_lock);
    free(s);
}

void stream_enqueue(stream *s, operation *o)
{
    s->enqueued++;
    o->enqueued = now();
    if (o->kind == OPERATION_RECORD) {
        o->event->stream = s;
        o->event->position = s->enqueued;
        o->event->recorded++;
    }
    if (o->event) {
        o->event->references++;
        o->record = o->event->recorded;
        o->recorder = o->event->stream;
        o->position = o->event->position;
    }
    s->context->pinned_writes += o->pinned_write;
    *s->last = o;
    s->last = &o->next;
    pthread_cond_broadcast(&changed);
}
