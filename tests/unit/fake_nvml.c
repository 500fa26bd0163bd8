/* The functions of libnvidia-ml.so.1 that are used, for two devices that do not exist. The
 * environment's FAKE_NVML makes it fail: "init", "count", "memory", "load". */
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))

static int devices[2] = {0, 1};
static int running;

static int fails(const char *what)
{
    const char *wanted = getenv("FAKE_NVML");
    return wanted && !strcmp(wanted, what) ? 999 : 0;
}

API int nvmlInit_v2(void);
API int nvmlInit_v2(void)
{
    running += !fails("init");
    return fails("init");
}

API int nvmlShutdown(void);
API int nvmlShutdown(void)
{
    return --running;
}

__attribute__((destructor)) static void unload(void)
{
    if (running)
        abort();
}

API int nvmlSystemGetDriverVersion(char *version, unsigned length);
API int nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    strncpy(version, "550.54.14", length);
    return fails("version");
}

API int nvmlDeviceGetCount_v2(unsigned *count);
API int nvmlDeviceGetCount_v2(unsigned *count)
{
    *count = 3;
    return fails("count");
}

API int nvmlDeviceGetHandleByIndex_v2(unsigned index, int **device);
API int nvmlDeviceGetHandleByIndex_v2(unsigned index, int **device)
{
    if (index == 1) // one that this user may not see
        return 4;
    *device = &devices[index / 2];
    return 0;
}

API int nvmlDeviceGetMemoryInfo(const int *device, unsigned long long *info);
API int nvmlDeviceGetMemoryInfo(const int *device, unsigned long long *info)
{
    info[0] = 80000000000;
    info[1] = 80000000000 - (*device ? 30000000000 : 5000000000);
    info[2] = *device ? 30000000000 : 5000000000;
    return fails("memory");
}

API int nvmlDeviceGetUtilizationRates(const int *device, unsigned *percent);
API int nvmlDeviceGetUtilizationRates(const int *device, unsigned *percent)
{
    percent[0] = *device ? 75 : 20;
    percent[1] = 1;
    return fails("load");
}
