/* The tables that ls_kernels_get chooses from, and their parts. */
#ifndef LS_BACKEND_ONEDNN_ISA_H
#define LS_BACKEND_ONEDNN_ISA_H

#include "backend/onednn/kernels.h"

#define LS_ISA_DECLARE(isa)                                                                        \
    extern const ls_kernels ls_kernels_##isa;                                                      \
    void ls_attend_##isa(const ls_attend *a, void *scratch);                                       \
    size_t ls_attend_scratch_##isa(size_t nq, size_t d);                                           \
    size_t ls_attend_rows_##isa(size_t d);
LS_ISA_DECLARE(base)
LS_ISA_DECLARE(avx2)
LS_ISA_DECLARE(avx512)
LS_ISA_DECLARE(avx512bf16)
#undef LS_ISA_DECLARE

#endif
