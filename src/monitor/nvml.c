#include "monitor/nvml.h"
#include "base/alloc.h"

#include <dlfcn.h>
#include <stdlib.h>

/* As NVML's reference documents them. */
typedef struct memory_info {
    unsigned long long total, free, used;
} memory_info;
typedef struct utilization {
    unsigned gpu, memory; /* percent */
} utilization;

struct ls_nvml {
    void *library;
    int (*init)(void);
    int (*shutdown)(void);
    int (*get_count)(unsigned *count);
    int (*get_handle)(unsigned index, void **device);
    int (*get_memory)(void *device, memory_info *info);
    int (*get_utilization)(void *device, utilization *u);
    bool running;
    unsigned count;
    void *devices[LS_NVML_DEVICES];
};

/* `function` points to a function pointer, which POSIX lets us store as an object pointer. */
static bool find(const ls_nvml *n, const char *name, void *function)
{
    return (*(void **)function = dlsym(n->library, name)) != NULL;
}

static bool start(ls_nvml *n, const char *library)
{
    unsigned count = 0;
    n->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    n->running = n->library && find(n, "nvmlInit_v2", &n->init) &&
                 find(n, "nvmlShutdown", &n->shutdown) &&
                 find(n, "nvmlDeviceGetCount_v2", &n->get_count) &&
                 find(n, "nvmlDeviceGetHandleByIndex_v2", &n->get_handle) &&
                 find(n, "nvmlDeviceGetMemoryInfo", &n->get_memory) &&
                 find(n, "nvmlDeviceGetUtilizationRates", &n->get_utilization) && !n->init();
    if (!n->running || n->get_count(&count))
        return false;
    for (unsigned i = 0; i < count && n->count < LS_NVML_DEVICES; i++)
        n->count += !n->get_handle(i, &n->devices[n->count]);
    return n->count > 0;
}

ls_nvml *ls_nvml_open(const char *library)
{
    ls_nvml *n = ls_calloc_array(1, sizeof *n);
    if (n && !start(n, library))
        ls_nvml_close(&n);
    return n;
}

void ls_nvml_close(ls_nvml **n)
{
    if (!*n)
        return;
    if ((*n)->running)
        (*n)->shutdown();
    if ((*n)->library)
        dlclose((*n)->library);
    free(*n);
    *n = NULL;
}

void ls_nvml_driver_version(const char *library, char *text, size_t size)
{
    ls_nvml *n = ls_nvml_open(library);
    int (*get_version)(char *version, unsigned length);
    if (!n || !find(n, "nvmlSystemGetDriverVersion", &get_version) ||
        get_version(text, (unsigned)size))
        *text = '\0';
    text[size - 1] = '\0';
    ls_nvml_close(&n);
}

bool ls_nvml_read(ls_nvml *n, ls_nvml_figures *figures)
{
    unsigned loads = 0, percent = 0;
    *figures = (ls_nvml_figures){0};
    for (unsigned i = 0; i < n->count; i++) {
        memory_info m;
        utilization u;
        if (n->get_memory(n->devices[i], &m))
            continue;
        ls_nvml_device *d = &figures->devices[figures->count++];
        *d = (ls_nvml_device){m.used, m.total, -1};
        figures->used += m.used;
        figures->total += m.total;
        if (!n->get_utilization(n->devices[i], &u)) {
            loads++;
            percent += u.gpu;
            d->percent = u.gpu;
        }
    }
    figures->percent = loads ? (double)percent / loads : -1;
    return figures->count > 0;
}
