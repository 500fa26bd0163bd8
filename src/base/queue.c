#include "base/queue.h"
#include "base/alloc.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct slot {
    void *item;
    size_t bytes;
} slot;

struct ls_queue {
    pthread_mutex_t lock;
    pthread_cond_t can_push, can_pop;
    slot *ring;
    size_t max_items, max_bytes, head, count, bytes, peak_bytes;
    bool finished;
    int code;
    void (*destroy)(void *);
};

ls_queue *ls_queue_open(size_t max_items, size_t max_bytes, void (*destroy)(void *item))
{
    ls_queue *q = ls_calloc_array(1, sizeof *q);
    if (!q)
        return NULL;
    q->max_items = max_items ? max_items : 1;
    q->max_bytes = max_bytes;
    q->destroy = destroy;
    q->ring = ls_calloc_array(q->max_items, sizeof *q->ring);
    if (!q->ring) {
        free(q);
        return NULL;
    }
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->can_push, NULL);
    pthread_cond_init(&q->can_pop, NULL);
    return q;
}

void ls_queue_close(ls_queue **pq)
{
    ls_queue *q = *pq;
    if (!q)
        return;
    for (; q->count; q->count--, q->head = (q->head + 1) % q->max_items)
        if (q->destroy)
            q->destroy(q->ring[q->head].item);
    pthread_cond_destroy(&q->can_pop);
    pthread_cond_destroy(&q->can_push);
    pthread_mutex_destroy(&q->lock);
    free(q->ring);
    free(q);
    *pq = NULL;
}

static bool is_full(const ls_queue *q, size_t bytes)
{
    return q->count == q->max_items ||
           (q->count && (bytes > q->max_bytes || q->bytes > q->max_bytes - bytes));
}

int ls_queue_push(ls_queue *q, void *item, size_t bytes)
{
    pthread_mutex_lock(&q->lock);
    while (!q->finished && is_full(q, bytes))
        pthread_cond_wait(&q->can_push, &q->lock);
    int ret = q->finished ? (q->code ? q->code : LS_EOF) : 0;
    if (!ret) {
        q->ring[(q->head + q->count++) % q->max_items] = (slot){item, bytes};
        q->bytes += bytes;
        if (q->bytes > q->peak_bytes)
            q->peak_bytes = q->bytes;
        pthread_cond_signal(&q->can_pop);
    }
    pthread_mutex_unlock(&q->lock);
    return ret;
}

int ls_queue_pop(ls_queue *q, void **item)
{
    pthread_mutex_lock(&q->lock);
    while (!q->finished && !q->count)
        pthread_cond_wait(&q->can_pop, &q->lock);
    int ret = q->finished && q->code ? q->code : q->count ? 0 : LS_EOF;
    if (!ret) {
        slot s = q->ring[q->head];
        q->head = (q->head + 1) % q->max_items;
        q->count--;
        q->bytes -= s.bytes;
        *item = s.item;
        pthread_cond_broadcast(&q->can_push);
    }
    pthread_mutex_unlock(&q->lock);
    return ret;
}

void ls_queue_finish(ls_queue *q, int code)
{
    pthread_mutex_lock(&q->lock);
    if (!q->finished || (code && !q->code)) {
        q->finished = true;
        q->code = code;
    }
    pthread_cond_broadcast(&q->can_push);
    pthread_cond_broadcast(&q->can_pop);
    pthread_mutex_unlock(&q->lock);
}

ls_queue_fill ls_queue_state(ls_queue *q)
{
    pthread_mutex_lock(&q->lock);
    ls_queue_fill f = {q->count, q->bytes, q->peak_bytes};
    pthread_mutex_unlock(&q->lock);
    return f;
}
