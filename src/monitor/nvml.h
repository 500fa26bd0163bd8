/* Memory and load of NVIDIA GPUs, through the driver's library, where there is one. */
#ifndef LS_MONITOR_NVML_H
#define LS_MONITOR_NVML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LS_NVML_LIBRARY "libnvidia-ml.so.1"

typedef struct ls_nvml ls_nvml;

enum { LS_NVML_DEVICES = 64 };

typedef struct ls_nvml_device {
    uint64_t used, total; /* bytes */
    double percent;       /* of time with a kernel running; -1: unknown */
} ls_nvml_device;

typedef struct ls_nvml_figures {
    uint64_t used, total; /* bytes, summed over all devices */
    double percent;       /* of time with a kernel running, mean over the devices; -1: unknown */
    size_t count;         /* of those that answer */
    ls_nvml_device devices[LS_NVML_DEVICES];
} ls_nvml_figures;

/* NULL if there is no such library, driver or device, which is not an error. `library` as for
 * dlopen: LS_NVML_LIBRARY except in tests. */
ls_nvml *ls_nvml_open(const char *library);
/* Sets *n to NULL; takes NULL. */
void ls_nvml_close(ls_nvml **n);

/* Writes the version of the driver, "550.54.14"; "" where there is none. `library` as above. Any
 * thread. */
void ls_nvml_driver_version(const char *library, char *text, size_t size);

/* False if no device answers. */
bool ls_nvml_read(ls_nvml *n, ls_nvml_figures *figures);

#endif
