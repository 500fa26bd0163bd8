/* The kernels, as clang has compiled them: each source for each architecture of meson.build. */
#ifndef LS_BACKEND_CUDA_PTX_H
#define LS_BACKEND_CUDA_PTX_H

typedef struct ls_cuda_ptx {
    const char *name; /* the source's, without its ending */
    unsigned compute; /* capability that a card needs: 75, 80 */
    const char *text;
} ls_cuda_ptx;

extern const ls_cuda_ptx ls_cuda_modules[]; /* ends with a NULL name */

#endif
