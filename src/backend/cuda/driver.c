#include "backend/cuda/driver.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OLDEST = 11000 }; /* the first with PTX ISA 7.0 */

/* `function` points to a function pointer, which POSIX lets us store as an object pointer. */
static int find(const cuda_driver *d, const char *name, void *function, ls_error *err)
{
    *(void **)function = dlsym(d->library, name);
    return *(void **)function ? 0
                              : ls_fail(err, LS_EUNSUPPORTED,
                                        "the NVIDIA driver is incomplete: it has no %s", name);
}

static int check_version(cuda_driver *d, ls_error *err)
{
    cu_result (*get_version)(int *version);
    const int ret = find(d, "cuDriverGetVersion", &get_version, err);
    if (ret)
        return ret;
    const cu_result r = get_version(&d->version);
    if (r)
        return ls_fail(err, LS_EUNSUPPORTED, "the NVIDIA driver does not tell its version (%d)", r);
    return d->version >= OLDEST
               ? 0
               : ls_fail(err, LS_EUNSUPPORTED,
                         "the NVIDIA driver is too old: it supports CUDA %d.%d, and 11.0 is "
                         "needed, which driver 450 is the first to have",
                         d->version / 1000, d->version % 1000 / 10);
}

static int start(cuda_driver *d, ls_error *err)
{
    int ret = check_version(d, err);
#define LS_X(member, symbol, params)                                                               \
    if (!ret)                                                                                      \
        ret = find(d, symbol, &d->member, err);
    LS_CUDA_DRIVER(LS_X)
#undef LS_X
    if (ret)
        return ret;
    const cu_result r = d->cuInit(0);
    if (r == CU_NO_DEVICE)
        return ls_fail(err, LS_EUNSUPPORTED,
                       "the NVIDIA driver finds no card (CUDA_VISIBLE_DEVICES, or the settings of "
                       "a container, may hide it)");
    return ls_cuda_check(d, r, err, "the NVIDIA driver cannot be started");
}

int ls_cuda_driver_open(cuda_driver *d, ls_error *err)
{
    const char *named = getenv("LS_CUDA_LIBRARY"), *name = named ? named : "libcuda.so.1";
    memset(d, 0, sizeof *d);
    d->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!d->library) {
        const char *why = dlerror();
        const size_t n = strlen(name);
        if (why && !strncmp(why, name, n) && !strncmp(why + n, ": ", 2))
            why += n + 2;
        if (why && strstr(why, "No such file")) // as usual without a card
            why = NULL;
        return ls_fail(err, LS_EUNSUPPORTED, "no NVIDIA driver: %s could not be opened%s%s", name,
                       why ? ": " : "", why ? why : "");
    }
    const int ret = start(d, err);
    return ret ? ls_advise(err, LS_EUNSUPPORTED, LS_HINT_NONE, NULL) : 0;
}

void ls_cuda_driver_close(cuda_driver *d)
{
    if (d->library)
        dlclose(d->library);
    memset(d, 0, sizeof *d);
}

bool ls_cuda_is_lost(cu_result r)
{
    static const cu_result lost[] = {
        214, /* uncorrectable error of its memory */
        220, /* of NVLink */
        226, /* contained */
        700, /* illegal address */
        702, /* launch timeout */
        709, /* context is destroyed */
        710, /* assert */
        714, /* hardware stack error */
        715, /* illegal instruction */
        716, /* misaligned address */
        717, /* invalid address space */
        718, /* invalid program counter */
        719, /* launch failed */
        999, /* unknown */
    };
    for (size_t i = 0; i < sizeof lost / sizeof *lost; i++)
        if (r == lost[i])
            return true;
    return false;
}

int ls_cuda_check(const cuda_driver *d, cu_result r, ls_error *err, const char *what, ...)
{
    if (!r)
        return 0;
    char text[800];
    const char *name = NULL, *meaning = NULL;
    va_list ap;
    va_start(ap, what);
    vsnprintf(text, sizeof text, what, ap);
    va_end(ap);
    if (d->cuGetErrorName(r, &name) || !name)
        name = "unknown to it";
    if (d->cuGetErrorString(r, &meaning) || !meaning)
        meaning = "no explanation";
    const int code = r == CU_OUT_OF_MEMORY        ? LS_ENOMEM
                     : r == CU_DEVICE_UNAVAILABLE ? LS_EBUSY
                     : ls_cuda_is_lost(r)         ? LS_EDEVICE
                                                  : LS_EBACKEND;
    return ls_fail(err, code, "%s: %s (CUDA error %d, %s)", text, meaning, r, name);
}
