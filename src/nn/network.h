/* What all networks have in common: weights, the table they are checked against, a store with the
 * packed copies, and one plan per shape requested. */
#ifndef LS_NN_NETWORK_H
#define LS_NN_NETWORK_H

#include "backend/plan.h"
#include "base/turn.h"
#include "nn/layers.h"

#define LS_NETWORK_KEY 8

/* A device with activation memory that its networks share, and a lock: calls may come from several
 * threads; each waits for those before it. */
typedef struct ls_workspace {
    ls_device *device;
    ls_turn turn;
    void *data; /* of the device's memory */
    size_t bytes;
} ls_workspace;

/* `device` and `threads` as ls_device_open takes them. On failure *ws is closed. */
int ls_workspace_open(ls_workspace *ws, const char *device, int threads, ls_error *err);
void ls_workspace_close(ls_workspace *ws); /* zeros: nothing */

typedef struct ls_compute {
    ls_workspace *workspace;
    ls_dtype dtype; /* of activations; LS_I8: those are bfloat16, products in eight bits */
} ls_compute;

typedef struct ls_network ls_network;

typedef struct ls_network_memory {
    size_t weights, activations; /* bytes packed, and of the largest plan, so far, on the device */
    size_t pinned;               /* bytes of streamed weights, in the process's memory */
    size_t mapped;               /* bytes of `weights` in a file that other processes may map too */
} ls_network_memory;

/* Appends the network to nn->g for the shapes in `key` (their meaning is the network's own), taking
 * its weights from nn->params. */
typedef void (*ls_network_build)(const void *config, ls_nn *nn, const size_t key[LS_NETWORK_KEY]);

/* The table of weights that a builder requests; `key` is any valid shape. */
int ls_network_table(ls_params **out, const void *config, ls_network_build build,
                     const size_t key[LS_NETWORK_KEY], ls_error *err);

/* Takes ownership of `*w`, on success and on failure. `config` is copied; `key` any valid shape. */
int ls_network_open(ls_network **out, ls_weights **w, const void *config, size_t config_size,
                    ls_network_build build, const size_t key[LS_NETWORK_KEY],
                    const ls_params_rules *rules, const ls_compute *compute, ls_error *err);
void ls_network_close(ls_network **net);

/* Compiles the plan for a shape, unless one exists, and grows the workspace as needed. The first
 * plan packs the weights. */
int ls_network_prepare(ls_network *net, const size_t key[LS_NETWORK_KEY], bool taps, ls_plan **plan,
                       ls_error *err);
/* Lets packed weights be kept in the user's cache folder, where all of them take so many bytes at
 * most, and be found there (weights/packed.h); 0, as at first: neither. Without effect once weights
 * are packed. */
void ls_network_set_kept(ls_network *net, uint64_t most);
typedef struct ls_network_kept {
    const char *path;    /* of the file; NULL: there is none. Text belongs to the network */
    size_t mapped;       /* bytes of weights that were found there */
    size_t written;      /* bytes of weights that this call has put there */
    const char *refused; /* why one that was there was not used; NULL: there was none such */
} ls_network_kept;

/* Keeps the packed weights for later processes, when all shapes are prepared: those that were not
 * found, unless they are too few for it to be worth while. On failure they are not kept, which is
 * no reason not to go on. */
int ls_network_keep(ls_network *net, ls_network_kept *out, const ls_cancel *cancel, ls_error *err);
/* Between these two calls, made with the workspace's turn taken, ls_network_prepare only measures:
 * it compiles as if nothing were packed yet, and reads, packs, allocates and keeps nothing; its
 * plan is NULL. ls_network_estimate_end returns what the prepared shapes would
 * have needed, prepared in that order. */
int ls_network_estimate_begin(ls_network *net, ls_error *err);
ls_network_memory ls_network_estimate_end(ls_network *net);
/* Meanwhile a run is only counted, and its results are zeros: the i-th shape that was run, and how
 * often; NULL past the last. The plan lives until ls_network_estimate_end. */
const ls_plan *ls_network_counted_plan(const ls_network *net, size_t i, size_t *runs);
/* Whether weights stay in the process's memory and are sent to the device for each use (see
 * LS_STORE_STREAMED). Without effect once weights are packed. */
void ls_network_stream(ls_network *net, bool streamed);
/* Memory of the network's device, uninitialised: for inputs and outputs that are ls_resident. Free
 * it before the network is closed; writing ends before it returns. */
int ls_network_alloc(ls_network *net, size_t bytes, void **out, ls_error *err);
void ls_network_release(ls_network *net, void *memory);
int ls_network_write(ls_network *net, void *to, const void *from, size_t bytes, ls_error *err);
/* Waits for the workspace, prepares and runs. */
int ls_network_run(ls_network *net, const size_t key[LS_NETWORK_KEY], const ls_binding *bindings,
                   size_t count, const ls_cancel *cancel, ls_error *err);

const ls_device_info *ls_network_device(const ls_network *net);
ls_weights *ls_network_weights(const ls_network *net);
const void *ls_network_config(const ls_network *net);
ls_dtype ls_network_dtype(const ls_network *net);
/* Reads one weight as float32 into memory that the caller frees with free(). */
int ls_network_read(ls_network *net, const char *name, size_t ndim, const size_t *shape,
                    float **out, ls_error *err);

ls_network_memory ls_network_usage(const ls_network *net);
/* Adds the seconds spent per kind of op to seconds[LS_OP_COUNT]. */
void ls_network_op_seconds(const ls_network *net, double *seconds);

#endif
