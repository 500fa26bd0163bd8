/* A card from the inside: for device.c, run.c and store.c. */
#ifndef LS_BACKEND_CUDA_CARD_H
#define LS_BACKEND_CUDA_CARD_H

#include "backend/cuda/cuda.h"
#include "backend/cuda/driver.h"

/* What is enqueued from one wait to the next; with more there is a wait in between. */
#define CUDA_NODES_MAX 2048

typedef struct cuda_node {
    char name[sizeof((ls_kernel *)0)->name];
    ls_op op;
} cuda_node;

/* Pinned memory from which a part of a write is sent. */
typedef struct cuda_staging {
    uint8_t *memory;
    cu_event sent;
} cuda_staging;

/* Where the weights of a streamed store are while they are used: one half is used while the other
 * is filled. */
typedef struct cuda_ring {
    cu_deviceptr memory;
    size_t half, used; /* bytes of a half; of those, bytes used in the current one */
    unsigned current;
    cu_event left[2], sent; /* all uses of a half are over; a weight has arrived */
} cuda_ring;

struct cuda_device {
    ls_device base;
    cuda_driver driver;
    cu_device card;
    cu_context context;
    cu_stream work, copies; /* copies: of streamed weights */
    cu_module *modules;
    size_t module_count;
    cu_function functions[CUDA_FUNCTION_COUNT + 1];
    cuda_limits limits;
    cuda_staging staging[2];
    unsigned turn; /* the staging to be used next */
    cu_event done;

    cuda_node *nodes; /* enqueued since the last wait */
    size_t node_count;
    cu_deviceptr flags;   /* a uint32_t for each of them, zero unless its values are not finite */
    uint32_t *flags_read; /* pinned */
    bool measured;        /* this submission is; */
    cu_event *marks;      /* then these are around each node. NULL until the first */
    double seconds[LS_OP_COUNT];
    cuda_node bad;      /* the first whose values are not finite; no name: none */
    cuda_ring *leaving; /* of which the node that is being enqueued has begun the other half */
};

/* Makes the context current in this thread, until ls_cuda_leave. */
int ls_cuda_enter(cuda_device *dev, ls_error *err);
void ls_cuda_leave(cuda_device *dev);
/* As ls_cuda_check: the card could not do `what`. */
int ls_cuda_failed(const cuda_device *dev, cu_result r, ls_error *err, const char *what, ...)
    __attribute__((format(printf, 4, 5)));

/* These need the context. Memory of the card: never more than is free. */
int ls_cuda_alloc(cuda_device *dev, size_t bytes, cu_deviceptr *out, ls_error *err);
int ls_cuda_pinned_alloc(cuda_device *dev, size_t bytes, void *out, ls_error *err);
void ls_cuda_pinned_free(cuda_device *dev, void *memory, size_t bytes);
int ls_cuda_write(cuda_device *dev, cu_deviceptr to, const void *from, size_t bytes, ls_error *err);
/* Until all that is enqueued is done. */
int ls_cuda_wait(cuda_device *dev, ls_error *err);

/* run.c: what a submission needs, and the entries of the vtable. */
int ls_cuda_open_submission(cuda_device *dev, ls_error *err);
void ls_cuda_close_submission(cuda_device *dev);
int ls_cuda_enqueue(ls_device *base, ls_kernel *k, void *const in[LS_MAX_INPUTS], void *out,
                    void *scratch, ls_error *err);
int ls_cuda_finish(ls_device *base, double seconds[LS_OP_COUNT], ls_error *err);

/* store.c */
int ls_cuda_open_store(ls_device *base, unsigned flags, ls_store **out, ls_error *err);
void ls_cuda_close_store(ls_store *st);
/* Before a node asks for its weights: those of a node are used together. */
void ls_cuda_begin_node(cuda_store *st);
/* After a node is enqueued: marks where the uses of the half that it left end. */
int ls_cuda_leave_half(cuda_device *dev, ls_error *err);

#endif
