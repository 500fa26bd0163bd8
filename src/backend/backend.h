/* Backends run graphs. A backend packs weights once, into the layout that its kernels need, and
 * compiles nodes into kernels; ls_plan (plan.h) drives it. Models do not know which backend they
 * run on.
 *
 * One backend instance holds the packed weights of one network: every plan compiled on it shares
 * them, and closing it frees them. */
#ifndef LS_BACKEND_BACKEND_H
#define LS_BACKEND_BACKEND_H

#include "tensor/graph.h"

typedef struct ls_backend ls_backend;
typedef struct ls_kernel ls_kernel; /* each backend's own */

typedef struct ls_backend_vtable {
    const char *name;
    /* Creates the kernel of a node and packs its weights. *scratch is the bytes of working memory
     * a run needs (aligned to LS_ALIGN). On failure *out is NULL. */
    int (*compile)(ls_backend *be, const ls_node *node, ls_kernel **out, size_t *scratch,
                   ls_error *err);
    /* in[i] is the memory of node->in[i]; NULL for absent inputs and for params. `out` overlaps no
     * input, except that it may be the one of in_place. Called by one thread at a time; may use the
     * backend's team of threads. Like compile, it restores the caller's OpenMP settings before
     * returning. */
    int (*run)(ls_backend *be, ls_kernel *k, void *const in[LS_MAX_INPUTS], void *out,
               void *scratch, ls_error *err);
    void (*free_kernel)(ls_kernel *k);
    /* The input whose memory `out` may share, -1 for none. May be NULL. */
    int (*in_place)(const ls_kernel *k);
    void (*close)(ls_backend *be);
} ls_backend_vtable;

/* Backends embed this as their first member. */
struct ls_backend {
    const ls_backend_vtable *vtable;
    int threads;         /* of the compute team; results do not depend on it */
    size_t packed_bytes; /* weights held in the backend's layouts */
    /* Set before the first compilation: weights are counted in packed_bytes, but neither read nor
     * kept, and nothing can run. */
    bool dry;
};

/* `name` is "ref" (the reference: plain C, float32 only) or "onednn". `threads` 0: all cores. */
int ls_backend_open(ls_backend **out, const char *name, int threads, ls_error *err);
void ls_backend_close(ls_backend **be);
/* The fastest in this build: "onednn", or "ref" if built without it. */
const char *ls_backend_default(void);
/* "oneDNN 2.6.3": the library at run time behind the default one, or its name. */
void ls_backend_version(char *text, size_t size);
/* Whether bfloat16 is worth using here: the CPU has AVX512-BF16 or AMX. */
bool ls_backend_prefers_bf16(void);

/* The constructors behind ls_backend_open. */
int ls_backend_ref_open(ls_backend **out, ls_error *err);
int ls_backend_onednn_open(ls_backend **out, ls_error *err);
void ls_backend_onednn_version(char *text, size_t size);

#endif
