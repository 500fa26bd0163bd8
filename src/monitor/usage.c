#include "monitor/usage.h"
#include "monitor/nvml.h"
#include "base/alloc.h"
#include "base/system.h"
#include "base/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ls_usage_meter {
    char *root;
    double start, last, last_cpu; /* seconds */
    double cpu_percent;
    ls_nvml *nvml; /* NULL: none */
};

int ls_usage_open(ls_usage_meter **out, const char *root, ls_error *err)
{
    char library[4096];
    ls_usage_meter *m = *out = ls_calloc_array(1, sizeof *m);
    if (m)
        m->root = strdup(root);
    if (!m || !m->root) {
        ls_usage_close(out);
        return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    snprintf(library, sizeof library, "%s%s" LS_NVML_LIBRARY, root, *root ? "/" : "");
    m->nvml = ls_nvml_open(library);
    m->start = m->last = ls_time_now();
    m->last_cpu = ls_time_cpu();
    return 0;
}

void ls_usage_close(ls_usage_meter **m)
{
    if (!*m)
        return;
    ls_nvml_close(&(*m)->nvml);
    free((*m)->root);
    free(*m);
    *m = NULL;
}

void ls_usage_sample(ls_usage_meter *m, ls_usage *u)
{
    double now = ls_time_now(), cpu = ls_time_cpu();
    if (now - m->last > 1e-3) { // below this, the clocks' granularity would show
        m->cpu_percent = 100 * (cpu - m->last_cpu) / (now - m->last);
        m->last = now;
        m->last_cpu = cpu;
    }
    ls_process_memory process = ls_process_memory_now();
    ls_machine_memory machine;
    ls_machine_memory_now(&machine, m->root);
    *u = (ls_usage){
        .seconds = now - m->start,
        .cpu_percent = m->cpu_percent,
        .resident = process.resident,
        .anonymous = process.anonymous,
        .cgroup_used = machine.cgroup_used,
        .cgroup_limit = machine.cgroup_limit,
        .pressure = machine.pressure,
    };
    ls_nvml_figures gpu;
    if (m->nvml && ls_nvml_read(m->nvml, &gpu)) {
        u->has_gpu = true;
        u->gpu_used = gpu.used;
        u->gpu_total = gpu.total;
        u->gpu_percent = gpu.percent;
        u->gpu_count = gpu.count;
        memcpy(u->gpus, gpu.devices, gpu.count * sizeof *u->gpus);
    }
}
