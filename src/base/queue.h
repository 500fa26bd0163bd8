#ifndef LS_BASE_QUEUE_H
#define LS_BASE_QUEUE_H

#include "base/error.h"
#include <stddef.h>

/* The one queue between stages: first in first out, bounded by count and by bytes, blocking at
 * both ends. Either end may finish it, so a consumer that stops ends its producers. */
typedef struct ls_queue ls_queue;

typedef struct ls_queue_fill {
    size_t items, bytes, peak_bytes;
} ls_queue_fill;

/* `destroy` frees items left in the queue when it is closed. An item larger than `max_bytes` still
 * passes, alone. NULL if out of memory. */
ls_queue *ls_queue_open(size_t max_items, size_t max_bytes, void (*destroy)(void *item));
/* Only when no thread uses it any more. Sets *q to NULL; takes NULL. */
void ls_queue_close(ls_queue **q);

/* Blocks while full. 0: the queue owns `item`. Otherwise the code the queue was finished with
 * (LS_EOF for a normal end), and the caller still owns `item`. */
int ls_queue_push(ls_queue *q, void *item, size_t bytes);
/* Blocks while empty. 0: the caller owns *item. LS_EOF once a normally finished queue is drained;
 * an error code at once, without draining. */
int ls_queue_pop(ls_queue *q, void **item);

/* Ends the stream: code 0 is the producer's normal end (what is queued is still delivered), a
 * negative code is an error or a consumer that stopped. The first error decides. */
void ls_queue_finish(ls_queue *q, int code);

ls_queue_fill ls_queue_state(ls_queue *q);

#endif
