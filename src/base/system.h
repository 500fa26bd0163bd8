/* What the machine offers and what this process uses of it. */
#ifndef LS_BASE_SYSTEM_H
#define LS_BASE_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ls_cpu {
    char model[128];
    int cores; /* that this process may run on */
    bool avx2, fma, avx512, avx512_vnni, avx512_bf16, amx_bf16;
} ls_cpu;

void ls_cpu_detect(ls_cpu *cpu);

/* Bytes; 0 where unknown. */
typedef struct ls_process_memory {
    uint64_t resident, peak_resident, anonymous;
} ls_process_memory;

ls_process_memory ls_process_memory_now(void);

/* Bytes; UINT64_MAX where there is no limit, 0 where unknown. */
typedef struct ls_machine_memory {
    uint64_t total, available;
    uint64_t cgroup_limit, cgroup_used; /* the tightest limit from the process's cgroup upwards */
    double cgroup_cpus;                 /* CPU quota in cores; 0 for none */
} ls_machine_memory;

/* `root` is where /proc and /sys are: "" but for tests. cgroup v2, and v1's memory controller. */
void ls_machine_memory_now(ls_machine_memory *m, const char *root);

#endif
