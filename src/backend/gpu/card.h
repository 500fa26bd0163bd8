/* A card from the inside: for the files of this folder and for those that open cards. */
#ifndef LS_BACKEND_GPU_CARD_H
#define LS_BACKEND_GPU_CARD_H

#include "backend/gpu/gpu.h"

/* What is enqueued from one wait to the next; with more there is a wait in between. */
#define GPU_NODES_MAX 2048

typedef struct gpu_node {
    char name[sizeof((ls_kernel *)0)->name];
    ls_op op;
} gpu_node;

/* Where the weights of a streamed store are while they are used: one half is used while the other
 * is filled. */
typedef struct gpu_ring {
    gpu_address memory;
    size_t half, used; /* bytes of a half; of those, bytes used in the current one */
    unsigned current;
    void *driver; /* what the driver needs for it */
} gpu_ring;

/* What a driver does. All but `close` are called between enter and leave, and what they enqueue is
 * done in this order. */
typedef struct gpu_driver {
    const char *name; /* "cuda", for messages */
    int (*enter)(gpu_device *dev, ls_error *err);
    void (*leave)(gpu_device *dev);
    /* Never more than is free. */
    int (*alloc)(gpu_device *dev, size_t bytes, gpu_address *out, ls_error *err);
    void (*release)(gpu_device *dev, gpu_address memory); /* 0: nothing */
    /* The process's memory, for copies: counted as LS_MEM_BACKEND. */
    int (*pin)(gpu_device *dev, size_t bytes, void *out, ls_error *err);
    void (*unpin)(gpu_device *dev, void *memory, size_t bytes); /* NULL: nothing */
    /* `from` may be reused at once. */
    int (*write)(gpu_device *dev, gpu_address to, const void *from, size_t bytes, ls_error *err);
    /* Waits for all that is enqueued. */
    int (*read)(gpu_device *dev, void *to, gpu_address from, size_t bytes, ls_error *err);
    int (*wait)(gpu_device *dev, ls_error *err);
    /* `to` is pinned, and has the bytes after the next wait. */
    int (*fetch)(gpu_device *dev, void *to, gpu_address from, size_t bytes, ls_error *err);
    int (*clear)(gpu_device *dev, gpu_address to, size_t bytes, ls_error *err);
    /* These will be launched: GPU_BIT of each. NULL where there is nothing to prepare. */
    void (*expect)(gpu_device *dev, uint32_t functions);
    int (*launch)(gpu_device *dev, gpu_function f, const size_t grid[3], size_t shared,
                  const void *params, size_t size, ls_error *err);
    /* The time before node i, or after the last; after a wait, the seconds from mark i to the next.
     */
    int (*mark)(gpu_device *dev, size_t i, ls_error *err);
    int (*elapsed)(gpu_device *dev, size_t i, double *seconds, ls_error *err);
    /* Streamed weights. The copies to a half wait for all that used it before: begin_half is called
     * before the first of them, leave_half after the last node that uses the other half. */
    int (*open_ring)(gpu_device *dev, gpu_ring *r, ls_error *err);
    void (*close_ring)(gpu_device *dev, gpu_ring *r);
    int (*begin_half)(gpu_device *dev, gpu_ring *r, ls_error *err);
    int (*send)(gpu_device *dev, gpu_ring *r, gpu_address to, const void *pinned, size_t bytes,
                ls_error *err);
    int (*leave_half)(gpu_device *dev, const gpu_ring *r, ls_error *err);
    void (*close)(gpu_device *dev);
} gpu_driver;

/* The devices of drivers embed it as their first member. */
struct gpu_device {
    ls_device base;
    const gpu_driver *api;
    gpu_limits limits;
    gpu_node *nodes; /* enqueued since the last wait */
    size_t node_count;
    gpu_address flags;    /* a uint32_t for each of them, zero unless its values are not finite */
    uint32_t *flags_read; /* pinned */
    bool measured;        /* this submission is: there are marks around each node */
    double seconds[LS_OP_COUNT];
    gpu_node bad;      /* the first whose values are not finite; no name: none */
    gpu_ring *leaving; /* of which the node that is being enqueued has begun the other half */
};

extern const ls_device_vtable ls_gpu_vtable;

/* run.c: what a submission needs, and the entries of the vtable. */
int ls_gpu_open_submission(gpu_device *dev, ls_error *err);
void ls_gpu_close_submission(gpu_device *dev);
int ls_gpu_enqueue(ls_device *base, ls_kernel *k, void *const in[LS_MAX_INPUTS], void *out,
                   void *scratch, ls_error *err);
int ls_gpu_finish(ls_device *base, double seconds[LS_OP_COUNT], ls_error *err);

/* store.c */
int ls_gpu_open_store(ls_device *base, unsigned flags, ls_store **out, ls_error *err);
void ls_gpu_close_store(ls_store *st);
/* Before a node asks for its weights: those of a node are used together. */
void ls_gpu_begin_node(gpu_store *st);
/* After a node is enqueued: marks where the uses of the half that it left end. */
int ls_gpu_leave_half(gpu_device *dev, ls_error *err);

#endif
