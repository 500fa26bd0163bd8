/* A card that does not exist: its memory, and the streams that carry its work. For libcuda.c, which
 * says what is particular about them. Results are those of the CUDA driver API: 0, or an error. */
#ifndef LS_TESTS_CUDA_CARD_H
#define LS_TESTS_CUDA_CARD_H

#include "emulator.h"

#include <pthread.h>
#include <stdbool.h>

enum {
    CUDA_INVALID_VALUE = 1,
    CUDA_OUT_OF_MEMORY = 2,
    CUDA_NOT_INITIALIZED = 3,
    CUDA_NO_DEVICE = 100,
    CUDA_INVALID_DEVICE = 101,
    CUDA_INVALID_IMAGE = 200,
    CUDA_INVALID_CONTEXT = 201,
    CUDA_INVALID_PTX = 218,
    CUDA_UNSUPPORTED_PTX = 222,
    CUDA_INVALID_HANDLE = 400,
    CUDA_NOT_FOUND = 500,
    CUDA_NOT_READY = 600,
    CUDA_ILLEGAL_ADDRESS = 700,
    CUDA_OUT_OF_RESOURCES = 701,
    CUDA_LAUNCH_FAILED = 719
};

/* ---- memory ---- */

typedef struct allocation {
    size_t offset, bytes;
    bool live;
} allocation;

/* Addresses that the host cannot use, and as many that it can, where the bytes are. */
typedef struct card_memory {
    uint8_t *addresses, *bytes;
    size_t total, used, top;
    allocation
        *allocations; /* ascending; those that were freed too, so that no address comes back */
    size_t count, live;
} card_memory;

int card_memory_open(card_memory *m, size_t total);
void card_memory_close(card_memory *m);
/* `bytes` of 0xff, or, unless `filled`, of whatever costs least. */
int card_alloc(card_memory *m, uint64_t *out, size_t bytes, bool filled);
int card_free(card_memory *m, uint64_t address);
/* Where the bytes are; NULL unless all are in one allocation. */
void *card_bytes(const card_memory *m, uint64_t address, size_t bytes);
/* Replaces addresses in a kernel's parameters by where the bytes are; false for one that is not, or
 * no more, allocated. */
bool card_translate(const card_memory *m, void *params, size_t size);

/* ---- work ---- */

typedef struct speed {
    double flops, bytes, link; /* a second; link: of copies from and to the host. 0: no limit */
} speed;

typedef struct stream stream;

typedef struct context {
    card_memory memory;
    int retained;
    stream *streams;
    int error;         /* the first of its work: no more is done then */
    int pinned_writes; /* in streams */
} context;

typedef struct event {
    context *context;
    unsigned flags;
    int references;
    stream *stream;          /* of the last record */
    uint64_t position;       /* of it there */
    uint64_t recorded, done; /* records enqueued, executed */
    double time;             /* of the last executed, in seconds */
} event;

typedef enum operation_kind {
    OPERATION_KERNEL,
    OPERATION_COPY,
    OPERATION_FILL,
    OPERATION_RECORD,
    OPERATION_WAIT
} operation_kind;

typedef struct operation {
    struct operation *next;
    operation_kind kind;
    int fails; /* with this error, when it is executed */
    /* kernel */
    emulator_options options;
    void (*kernel)(const void *);
    void *params; /* owned */
    size_t params_size;
    uint32_t grid[3], threads;
    size_t shared;
    bool emulated;
    double enqueued, seconds; /* when, and what it is to take at least */
    /* copy, fill: of host memory or of a card's, which is looked up in time */
    void *to_host;
    const void *from_host;
    void *owned; /* host memory to be freed */
    bool pinned_write;
    uint64_t to, from;
    size_t bytes, unit; /* unit: of a fill, 1 or 4 */
    uint32_t value;
    /* record, wait */
    event *event;
    uint64_t record; /* of the event: the how manieth, and where */
    stream *recorder;
    uint64_t position;
} operation;

struct stream {
    context *context;
    stream *next;
    pthread_t thread;
    operation *first, **last;
    uint64_t enqueued, done, wanted; /* operations; `wanted` may be executed */
    bool ending;
    double idle_at; /* seconds; when its simulated work is done */
};

/* Guards all of the above; functions below are called with it held, except where it says so. */
extern pthread_mutex_t card_lock;

stream *stream_open(context *c, bool eager);
/* After its work. */
void stream_close(stream *s);
/* Owns `o` from now on. */
void stream_enqueue(stream *s, operation *o);
/* Lets the first `position` operations be executed; until they are. */
void stream_want(stream *s, uint64_t position);
void stream_wait(stream *s, uint64_t position);
void context_wait(context *c);
/* Lets what the event is to record be executed. */
void event_want(event *e);
void event_wait(event *e);
void event_release(event *e);

/* What the emulator said last. */
void card_message(char *text, size_t size);

#endif
