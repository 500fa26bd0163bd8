#include "backend/onednn/isa.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

const ls_kernels *ls_kernels_get(void)
{
#if defined(__x86_64__)
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
#else
    bool avx2 = false, avx512 = false, bf16 = false;
#endif
    const struct {
        const char *name;
        bool usable;
        const ls_kernels *kernels;
    } table[] = {
#if defined(__x86_64__)
        {"avx512bf16", bf16, &ls_kernels_avx512bf16},
        {"avx512", avx512, &ls_kernels_avx512},
        {"avx2", avx2, &ls_kernels_avx2},
#endif
        {"base", true, &ls_kernels_base},
    };
    (void)avx2, (void)avx512, (void)bf16;
    const char *wanted = getenv("LS_ISA");
    const ls_kernels *best = NULL;
    for (size_t i = 0; i < LS_COUNT(table); i++) {
        if (!table[i].usable)
            continue;
        if (wanted && !strcmp(wanted, table[i].name))
            return table[i].kernels;
        if (!best)
            best = table[i].kernels;
    }
    return best;
}
