/* NVIDIA's driver, found at run time: neither building nor starting the program needs it. Types,
 * numbers and functions are those that the CUDA driver API documents, under its names. */
#ifndef LS_BACKEND_CUDA_DRIVER_H
#define LS_BACKEND_CUDA_DRIVER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int cu_result; /* 0: success */
typedef int cu_device;
typedef uint64_t cu_deviceptr;
typedef struct CUctx_st *cu_context;
typedef struct CUmod_st *cu_module;
typedef struct CUfunc_st *cu_function;
typedef struct CUstream_st *cu_stream;
typedef struct CUevent_st *cu_event;

enum {
    CU_OUT_OF_MEMORY = 2,
    CU_DEVICE_UNAVAILABLE = 46, /* another process has it for itself */
    CU_NO_DEVICE = 100,
    CU_NOT_FOUND = 500,

    CU_DEVICE_CLOCK_KHZ = 13,
    CU_DEVICE_MULTIPROCESSORS = 16,
    CU_DEVICE_MEMORY_CLOCK_KHZ = 36,
    CU_DEVICE_MEMORY_BUS_BITS = 37,
    CU_DEVICE_COMPUTE_MAJOR = 75,
    CU_DEVICE_COMPUTE_MINOR = 76,
    CU_DEVICE_SHARED_OPTIN = 97, /* bytes of shared memory that a block can ask for */
    CU_FUNCTION_DYNAMIC_SHARED = 8,
    CU_JIT_ERROR_LOG = 5,
    CU_JIT_ERROR_LOG_BYTES = 6,
    CU_STREAM_NON_BLOCKING = 1,
    CU_EVENT_BLOCKING = 1, /* waiting for it sleeps */
    CU_EVENT_NO_TIME = 2
};

/* member, symbol, parameters */
#define LS_CUDA_DRIVER(X)                                                                          \
    X(cuInit, "cuInit", (unsigned flags))                                                          \
    X(cuGetErrorName, "cuGetErrorName", (cu_result r, const char **text))                          \
    X(cuGetErrorString, "cuGetErrorString", (cu_result r, const char **text))                      \
    X(cuDeviceGetCount, "cuDeviceGetCount", (int *count))                                          \
    X(cuDeviceGet, "cuDeviceGet", (cu_device * device, int ordinal))                               \
    X(cuDeviceGetName, "cuDeviceGetName", (char *name, int size, cu_device device))                \
    X(cuDeviceGetAttribute, "cuDeviceGetAttribute", (int *value, int attribute, cu_device device)) \
    X(cuDeviceTotalMem, "cuDeviceTotalMem_v2", (size_t * bytes, cu_device device))                 \
    X(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain",                                        \
      (cu_context * context, cu_device device))                                                    \
    X(cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", (cu_device device))               \
    X(cuCtxPushCurrent, "cuCtxPushCurrent_v2", (cu_context context))                               \
    X(cuCtxPopCurrent, "cuCtxPopCurrent_v2", (cu_context * context))                               \
    X(cuMemGetInfo, "cuMemGetInfo_v2", (size_t * available, size_t * total))                       \
    X(cuMemAlloc, "cuMemAlloc_v2", (cu_deviceptr * out, size_t bytes))                             \
    X(cuMemFree, "cuMemFree_v2", (cu_deviceptr memory))                                            \
    X(cuMemHostAlloc, "cuMemHostAlloc", (void **out, size_t bytes, unsigned flags))                \
    X(cuMemFreeHost, "cuMemFreeHost", (void *memory))                                              \
    X(cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2",                                                   \
      (cu_deviceptr to, const void *from, size_t bytes, cu_stream stream))                         \
    X(cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2",                                                   \
      (void *to, cu_deviceptr from, size_t bytes, cu_stream stream))                               \
    X(cuMemsetD32Async, "cuMemsetD32Async",                                                        \
      (cu_deviceptr to, unsigned value, size_t count, cu_stream stream))                           \
    X(cuModuleLoadDataEx, "cuModuleLoadDataEx",                                                    \
      (cu_module * module, const void *image, unsigned count, int *options, void **values))        \
    X(cuModuleUnload, "cuModuleUnload", (cu_module module))                                        \
    X(cuModuleGetFunction, "cuModuleGetFunction",                                                  \
      (cu_function * function, cu_module module, const char *name))                                \
    X(cuFuncSetAttribute, "cuFuncSetAttribute", (cu_function function, int attribute, int value))  \
    X(cuLaunchKernel, "cuLaunchKernel",                                                            \
      (cu_function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,  \
       unsigned block_y, unsigned block_z, unsigned shared, cu_stream stream, void **params,       \
       void **extra))                                                                              \
    X(cuStreamCreate, "cuStreamCreate", (cu_stream * stream, unsigned flags))                      \
    X(cuStreamDestroy, "cuStreamDestroy_v2", (cu_stream stream))                                   \
    X(cuStreamWaitEvent, "cuStreamWaitEvent", (cu_stream stream, cu_event event, unsigned flags))  \
    X(cuEventCreate, "cuEventCreate", (cu_event * event, unsigned flags))                          \
    X(cuEventDestroy, "cuEventDestroy_v2", (cu_event event))                                       \
    X(cuEventRecord, "cuEventRecord", (cu_event event, cu_stream stream))                          \
    X(cuEventSynchronize, "cuEventSynchronize", (cu_event event))                                  \
    X(cuEventElapsedTime, "cuEventElapsedTime", (float *milliseconds, cu_event from, cu_event to))

typedef struct cuda_driver {
    void *library;
    int version; /* of CUDA, the newest that it supports: 12040 is 12.4 */
#define LS_X(member, symbol, params) cu_result(*member) params;
    LS_CUDA_DRIVER(LS_X)
#undef LS_X
} cuda_driver;

/* Opens the driver's library: "libcuda.so.1", or the one that LS_CUDA_LIBRARY names in the
 * environment, for tests. Opening it repeatedly is cheap. LS_EUNSUPPORTED where there is no driver,
 * or an older one than the kernels need, or no card. */
int ls_cuda_driver_open(cuda_driver *d, ls_error *err);
/* Also after failure. */
void ls_cuda_driver_close(cuda_driver *d);

/* 0 for success; otherwise an error that begins with `what` and ends with what the driver says. */
int ls_cuda_check(const cuda_driver *d, cu_result r, ls_error *err, const char *what, ...)
    __attribute__((format(printf, 4, 5)));
/* Whether a process can do nothing more with the card after this. */
bool ls_cuda_is_lost(cu_result r);

#endif
