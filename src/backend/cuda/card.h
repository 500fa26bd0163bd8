/* An NVIDIA card from the inside. */
#ifndef LS_BACKEND_CUDA_CARD_H
#define LS_BACKEND_CUDA_CARD_H

#include "backend/cuda/driver.h"
#include "backend/gpu/card.h"

/* Pinned memory from which a part of a write is sent. */
typedef struct cuda_staging {
    uint8_t *memory;
    cu_event sent;
} cuda_staging;

/* Of a gpu_ring: all uses of a half are over; a weight has arrived. */
typedef struct cuda_ring {
    cu_event left[2], sent;
} cuda_ring;

typedef struct cuda_device {
    gpu_device gpu;
    cuda_driver driver;
    cu_device card;
    cu_context context;
    cu_stream work, copies; /* copies: of streamed weights */
    cu_module *modules;
    size_t module_count;
    cu_function functions[GPU_FUNCTION_COUNT + 1];
    cuda_staging staging[2];
    unsigned turn; /* the staging to be used next */
    cu_event done;
    cu_event *marks; /* around each node of a measured submission. NULL until the first */
} cuda_device;

/* As ls_cuda_check: the card could not do `what`. */
int ls_cuda_failed(const cuda_device *dev, cu_result r, ls_error *err, const char *what, ...)
    __attribute__((format(printf, 4, 5)));

#endif
