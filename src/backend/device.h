/* Devices run graphs. A device is what computes, and the memory it computes in; a store holds the
 * weights of one network on a device, packed once into the layout that the device's kernels need,
 * and compiles nodes into kernels; ls_plan (plan.h) drives both. Models do not know what they run
 * on.
 *
 * An address in a device's memory is a pointer: on a host device an ordinary one, on others a
 * number that only the device may use. Address arithmetic is allowed, access is not.
 *
 * A device may be shared by networks; one thread at a time may use it (nn/network.h has the lock).
 *
 * What a kernel may assume: tensors are dense, row-major and aligned to LS_ALIGN; a convolution's
 * bias is float32, a weight [Co] or a value [Co] or [1, Co]; a residual may be a weight too. What
 * it must ensure: the result of a row does not depend on how many rows there are, nor on how work
 * is submitted; equal devices with equal drivers give equal bits. */
#ifndef LS_BACKEND_DEVICE_H
#define LS_BACKEND_DEVICE_H

#include "tensor/graph.h"

typedef struct ls_device ls_device;
typedef struct ls_store ls_store;
typedef struct ls_kernel ls_kernel; /* each device's own */

#define LS_PACKED_TEXT 500 /* bytes of name and layout together, at most */

/* A weight as a store keeps it. */
typedef struct ls_packed {
    struct ls_packed *next;
    const char *name; /* the param's */
    char *layout;     /* what its bytes mean, exactly; NULL where that cannot be said */
    void *data;       /* only read once it is packed */
    size_t bytes;
    bool found; /* among packed weights of before, to which `data` belongs */
} ls_packed;

/* Where packed weights of before are found: the data of that name, layout and size, or NULL. It is
 * aligned to LS_ALIGN and lives as long as the store. */
typedef struct ls_packed_before {
    void *(*find)(const struct ls_packed_before *b, const char *name, const char *layout,
                  size_t bytes);
} ls_packed_before;

typedef struct ls_device_info {
    char name[16];    /* "cpu", "ref", "cuda:0", "vulkan:0": what ls_device_open takes */
    char model[96];   /* "NVIDIA GeForce RTX 4090"; empty for the CPU */
    char version[64]; /* what computes: "oneDNN 2.6.3", "CUDA 12.4, sm_89" */
    bool software; /* a card that the CPU imitates: only for those who ask for it by its number */
    bool discrete; /* a card with memory of its own */
    bool host;     /* addresses are pointers; inputs and outputs are used where they are */
    ls_dtype fast; /* the dtype of activations that is worth using here */
    uint64_t total, available; /* bytes of its own memory; 0: the process's */
} ls_device_info;

enum {
    LS_STORE_DRY = 1,      /* weights are counted, but neither read nor kept; nothing can run */
    LS_STORE_STREAMED = 2, /* weights stay in the process's memory and are sent for each use */
    LS_STORE_INT8 = 4 /* products of bfloat16 are computed in eight bits where that is faster */
};

typedef struct ls_device_vtable {
    /* Uninitialised, aligned to LS_ALIGN. On failure *out is NULL. These two: any thread. */
    int (*alloc)(ls_device *dev, size_t bytes, void **out, ls_error *err);
    void (*release)(ls_device *dev, void *memory); /* NULL: nothing */
    /* Takes effect between what was enqueued before and what is enqueued later; `from` may be
     * reused at once. */
    int (*write)(ls_device *dev, void *to, const void *from, size_t bytes, ls_error *err);
    /* After everything that was enqueued before. Errors of that show at finish. */
    int (*read)(ls_device *dev, void *to, const void *from, size_t bytes, ls_error *err);

    int (*open_store)(ls_device *dev, unsigned flags, ls_store **out, ls_error *err);
    /* Releases what the store holds, but not itself. NULL where it holds nothing. */
    void (*close_store)(ls_store *st);

    /* Creates the kernel of a node and packs its weights. *scratch is the bytes of working memory
     * that it needs. On failure *out is NULL. LS_EUNSUPPORTED names the op and the dtype. */
    int (*compile)(ls_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                   ls_error *err);
    /* The input whose memory `out` may share, -1 for none. NULL where there never is one. */
    int (*in_place)(const ls_kernel *k);
    void (*free_kernel)(ls_kernel *k); /* NULL: nothing */

    /* in[i] is the memory of node->in[i]; NULL for absent inputs and for weights. `out` overlaps no
     * input, except that it may be the one of in_place. A host device has computed when this
     * returns, may use its team of threads, and like compile restores the caller's OpenMP settings;
     * others return at once. */
    int (*enqueue)(ls_device *dev, ls_kernel *k, void *const in[LS_MAX_INPUTS], void *out,
                   void *scratch, ls_error *err);
    /* Waits for all that is enqueued, reports its first error, and adds the seconds by kind of op.
     * NULL on host devices. */
    int (*finish)(ls_device *dev, double seconds[LS_OP_COUNT], ls_error *err);
    void (*close)(ls_device *dev);
} ls_device_vtable;

/* Devices and stores embed these as their first members. */
struct ls_device {
    const ls_device_vtable *vtable;
    ls_device_info info;
    int threads;  /* of a host device's team; results do not depend on it */
    bool profile; /* measure every node, at the price of speed, where that costs any */
};

struct ls_store {
    ls_device *device;
    unsigned flags;
    size_t bytes;        /* of weights in the device's memory */
    size_t pinned_bytes; /* of weights in the process's memory, of a streamed store */
    /* Of devices whose packed weights may be kept for later processes: what chooses their layouts,
     * apart from nodes and threads; empty elsewhere, and the rest unused. */
    char packing[64];
    const ls_packed_before *before; /* set before the first node is compiled; NULL: none */
    ls_packed *packed;              /* in the order of packing, the last first */
    size_t found_bytes;             /* of `bytes`: found in `before` */
};

static inline bool ls_store_is_dry(const ls_store *st)
{
    return st->flags & LS_STORE_DRY;
}

/* `name`: "cpu", the fastest that this build has on the CPU; "onednn" and "ref" (plain C, float32
 * only) say which; "cuda" or "cuda:N", the N-th NVIDIA card; "vulkan", the first card, discrete if
 * there is such, or "vulkan:N", the N-th that Vulkan finds. `threads`, of the CPU, 0: all cores.
 * LS_EINVAL: there is no device of that name; LS_EUNSUPPORTED: it is there but cannot be used. */
int ls_device_open(ls_device **out, const char *name, int threads, ls_error *err);
void ls_device_close(ls_device **dev);

/* The devices of a kind, "cpu", "cuda" or "vulkan", that ls_device_open would find, or with NULL
 * all, the CPU first: `most` of them at most; returns how many. Opens none, and loads no other
 * kind's driver. */
size_t ls_device_list(const char *kind, ls_device_info *list, size_t most);

int ls_store_open(ls_store **out, ls_device *dev, unsigned flags, ls_error *err);
void ls_store_close(ls_store **st);

/* For open_store: a store of `size` bytes, zero but for the device and the flags; NULL on failure.
 */
int ls_store_new(ls_store **out, ls_device *dev, unsigned flags, size_t size, ls_error *err);

/* Whether the device "cpu" has kernels for networks of this type here: oneDNN has those for
 * bfloat16 from AVX-512 on, not even slow ones before, and those for int8 with VNNI. */
bool ls_device_cpu_computes(ls_dtype t);

/* Whether `name` is that of a device that uses the process's memory. */
bool ls_device_is_host(const char *name);

/* The constructors behind ls_device_open. */
int ls_device_ref_open(ls_device **out, ls_error *err);
int ls_device_onednn_open(ls_device **out, ls_error *err);
void ls_device_onednn_version(char *text, size_t size);
int ls_device_cuda_open(ls_device **out, const char *name, ls_error *err);
/* As ls_device_list, of usable cards alone. `available` stays 0, unknown. */
size_t ls_device_cuda_list(ls_device_info *list, size_t most);
int ls_device_vulkan_open(ls_device **out, const char *name, ls_error *err);
size_t ls_device_vulkan_list(ls_device_info *list, size_t most);

/* Of host devices: the process's memory. */
int ls_host_alloc(ls_device *dev, size_t bytes, void **out, ls_error *err);
void ls_host_release(ls_device *dev, void *memory);
int ls_host_write(ls_device *dev, void *to, const void *from, size_t bytes, ls_error *err);
int ls_host_read(ls_device *dev, void *to, const void *from, size_t bytes, ls_error *err);

#endif
