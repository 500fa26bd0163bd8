#include "pipeline/events.h"
#include "base/alloc.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WAITING 1000 /* messages; what a callback that hangs does not get */

typedef struct message {
    struct message *next;
    int level;
    char line[];
} message;

struct ls_events {
    ls_listener to;
    pthread_mutex_t lock; /* of all below; never held in a call */
    message *first, **last;
    size_t waiting;
    bool has_report, delivering;
    ls_report report;
};

int ls_events_open(ls_events **out, const ls_listener *listener, ls_error *err)
{
    ls_events *e = *out = ls_calloc_array(1, sizeof *e);
    if (!e)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    e->to = *listener;
    e->last = &e->first;
    pthread_mutex_init(&e->lock, NULL);
    return 0;
}

void ls_events_close(ls_events **pe)
{
    ls_events *e = *pe;
    if (!e)
        return;
    for (message *m = e->first, *next; m; m = next) {
        next = m->next;
        free(m);
    }
    pthread_mutex_destroy(&e->lock);
    free(e);
    *pe = NULL;
}

static void deliver_message(ls_events *e)
{
    message *m = e->first;
    e->first = m->next;
    e->waiting--;
    if (!e->first)
        e->last = &e->first;
    pthread_mutex_unlock(&e->lock);
    e->to.message(e->to.opaque, m->level, m->line);
    free(m);
    pthread_mutex_lock(&e->lock);
}

static void deliver_report(ls_events *e)
{
    ls_report r = e->report;
    e->has_report = false;
    pthread_mutex_unlock(&e->lock);
    e->to.progress(e->to.opaque, ls_report_progress(&r));
    pthread_mutex_lock(&e->lock);
}

/* With the lock, which it gives up. */
static void deliver(ls_events *e)
{
    if (!e->delivering) {
        e->delivering = true;
        while (e->first || e->has_report) {
            if (e->first)
                deliver_message(e);
            else
                deliver_report(e);
        }
        e->delivering = false;
    }
    pthread_mutex_unlock(&e->lock);
}

static void write_line(void *opaque, int level, const char *line)
{
    ls_events *e = opaque;
    const size_t n = strlen(line) + 1;
    message *m = e->to.message ? malloc(sizeof *m + n) : NULL;
    if (!m)
        return;
    m->next = NULL;
    m->level = level;
    memcpy(m->line, line, n);
    pthread_mutex_lock(&e->lock);
    if (e->waiting < MAX_WAITING) {
        *e->last = m;
        e->last = &m->next;
        e->waiting++;
    } else {
        free(m);
    }
    deliver(e);
}

ls_log ls_events_log(ls_events *e)
{
    return (ls_log){LS_LOG_DEBUG, write_line, e};
}

void ls_events_report(ls_events *e, const ls_report *r)
{
    if (!e->to.progress)
        return;
    pthread_mutex_lock(&e->lock);
    e->report = *r;
    e->has_report = true;
    deliver(e);
}
