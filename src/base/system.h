/* The machine's resources, and what this process uses of them. */
#ifndef LS_BASE_SYSTEM_H
#define LS_BASE_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ls_cpu {
    char model[128];
    int cores; /* that this process may use, by affinity and by its cgroups' quota */
    bool avx2, fma, avx512, avx512_vnni, avx512_bf16, amx_bf16;
} ls_cpu;

/* `root` holds /proc and /sys: "" except in tests. Features are those that the kernel lets programs
 * use. */
void ls_cpu_detect(ls_cpu *cpu, const char *root);

/* Bytes; 0 if unknown. */
typedef struct ls_process_memory {
    uint64_t resident, peak_resident, anonymous;
} ls_process_memory;

ls_process_memory ls_process_memory_now(void);

/* Bytes that this process may still map before RLIMIT_AS or RLIMIT_DATA refuses; UINT64_MAX without
 * such a limit. Stacks of threads and mapped files count there, used or not. */
uint64_t ls_address_space_left(void);
/* Bytes that a new thread's stack takes of it. */
uint64_t ls_thread_stack(void);

/* Bytes; UINT64_MAX if there is no limit, 0 if unknown. */
typedef struct ls_machine_memory {
    uint64_t total, available;
    uint64_t cgroup_limit; /* the tightest from the process's cgroup upwards */
    uint64_t cgroup_used;  /* of the cgroup with that limit, or else the process's own; without the
                              file cache, mapped files included */
    double pressure;       /* percent of the last 10 s in which some task of the cgroup, or else of
                              the machine, waited for memory; -1: unknown */
    double cgroup_cpus;    /* CPU quota in cores; 0 for none */
} ls_machine_memory;

/* Supports cgroup v2, and v1 controllers at their usual mount points. `root` as above. */
void ls_machine_memory_now(ls_machine_memory *m, const char *root);

#endif
