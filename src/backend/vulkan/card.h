/* A Vulkan device from the inside. */
#ifndef LS_BACKEND_VULKAN_CARD_H
#define LS_BACKEND_VULKAN_CARD_H

#include "backend/gpu/card.h"
#include "backend/vulkan/loader.h"

#include <pthread.h>

#define VULKAN_SLOTS 4 /* command buffers, one of them being recorded */

/* Memory, as one buffer. */
typedef struct vulkan_block {
    struct vulkan_block *next;
    VkBuffer buffer;
    VkDeviceMemory memory;
    VkDeviceAddress address; /* of the card's memory, or */
    uint8_t *mapped;         /* of pinned memory of the process */
    size_t bytes;
} vulkan_block;

typedef struct vulkan_slot {
    VkCommandBuffer commands, copies; /* the work waits for the copies, of streamed weights */
    bool copying;                     /* there are such */
    uint64_t number;                  /* of its last submission */
    double work; /* of that, in units of vulkan_device.speed; 0: its time is taken */
} vulkan_slot;

typedef struct vulkan_staging {
    uint8_t *memory;
    size_t filled;
    uint64_t used; /* the number of the last submission that reads it */
} vulkan_staging;

/* What the matrix units of a subgroup of `lanes` threads multiply at a time: halves, rows x depth
 * by depth x columns, with sums of floats. */
typedef struct vulkan_matrix {
    uint32_t rows, columns, depth, lanes; /* 0: there are none, or none that can be used */
} vulkan_matrix;

typedef struct vulkan_device {
    gpu_device gpu;
    vulkan_loader vk;
    pthread_mutex_t lock;
    bool has_lock;
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue, copy_queue; /* one and the same where a card has no other */
    uint32_t family, copy_family, copy_index;
    uint32_t subgroup; /* its size, where kernels use it */
    bool sized_subgroups, has_budget;
    vulkan_matrix matrix;
    VkPhysicalDeviceMemoryProperties memory;
    uint32_t card_memory; /* its type */
    VkDeviceSize largest; /* allocation */
    size_t allocated;
    vulkan_block *blocks;

    VkCommandPool pool, copy_pool;
    vulkan_slot slots[VULKAN_SLOTS];
    vulkan_slot *recording;   /* NULL: none */
    VkSemaphore done, copied; /* the number of the last submission that is, and whose copies are */
    uint64_t submitted;
    uint64_t copy_after;    /* this submission: the next copies overwrite what it uses */
    double recorded, speed; /* work being recorded; work a second, as measured */
    VkQueryPool times;      /* marks, then two for each slot. None where the card tells no times */
    double tick;            /* seconds */
    uint64_t tick_mask;
    VkResult lost; /* how it was; 0: it is not */

    VkPipelineCache cache;
    size_t cached; /* bytes of it that are in the file */
    VkPipelineLayout layout;
    VkPipeline pipelines[GPU_FUNCTION_COUNT];
    uint32_t expected; /* to be launched */
    vulkan_staging staging[2];
    unsigned turn; /* the staging that is being filled */
} vulkan_device;

static inline vulkan_device *ls_vulkan_of(gpu_device *gpu)
{
    return (vulkan_device *)gpu;
}

/* 0 for success; otherwise the error that the device could not do `what`. */
int ls_vulkan_failed(vulkan_device *dev, VkResult r, ls_error *err, const char *what);

/* memory.c */
int ls_vulkan_alloc(gpu_device *gpu, size_t bytes, gpu_address *out, ls_error *err);
void ls_vulkan_release(gpu_device *gpu, gpu_address memory);
int ls_vulkan_pin(gpu_device *gpu, size_t bytes, void *out, ls_error *err);
void ls_vulkan_unpin(gpu_device *gpu, void *memory, size_t bytes);
/* The type of the card's memory, of those in `bits`. */
uint32_t ls_vulkan_card_type(const VkPhysicalDeviceMemoryProperties *m, uint32_t bits);
/* Bytes of the card's memory that are free. */
uint64_t ls_vulkan_available(vulkan_device *dev);
/* The block in which `bytes` of the card's or of pinned memory are. */
const vulkan_block *ls_vulkan_block_of(const vulkan_device *dev, uint64_t address, size_t bytes,
                                       VkDeviceSize *offset);
const vulkan_block *ls_vulkan_pinned_block_of(const vulkan_device *dev, const void *memory,
                                              size_t bytes, VkDeviceSize *offset);

/* submit.c */
int ls_vulkan_open_queue(vulkan_device *dev, ls_error *err);
void ls_vulkan_close_queue(vulkan_device *dev);
/* Command buffer in which to record, after a barrier; submits what was recorded before if that is
 * enough. `work` is in floating-point operations. */
int ls_vulkan_record(vulkan_device *dev, double work, VkCommandBuffer *out, ls_error *err);
int ls_vulkan_wait(gpu_device *gpu, ls_error *err);
int ls_vulkan_write(gpu_device *gpu, gpu_address to, const void *from, size_t bytes, ls_error *err);
int ls_vulkan_read(gpu_device *gpu, void *to, gpu_address from, size_t bytes, ls_error *err);
int ls_vulkan_fetch(gpu_device *gpu, void *to, gpu_address from, size_t bytes, ls_error *err);
int ls_vulkan_clear(gpu_device *gpu, gpu_address to, size_t bytes, ls_error *err);
int ls_vulkan_mark(gpu_device *gpu, size_t i, ls_error *err);
int ls_vulkan_elapsed(gpu_device *gpu, size_t i, double *seconds, ls_error *err);
int ls_vulkan_open_ring(gpu_device *gpu, gpu_ring *r, ls_error *err);
void ls_vulkan_close_ring(gpu_device *gpu, gpu_ring *r);
int ls_vulkan_begin_half(gpu_device *gpu, gpu_ring *r, ls_error *err);
int ls_vulkan_send(gpu_device *gpu, gpu_ring *r, gpu_address to, const void *pinned, size_t bytes,
                   ls_error *err);
int ls_vulkan_leave_half(gpu_device *gpu, const gpu_ring *r, ls_error *err);

/* launch.c */
/* Whether there are tiles for it, in blocks of so many subgroups at most. */
bool ls_vulkan_takes_matrix(const vulkan_matrix *m, uint32_t subgroups);
int ls_vulkan_open_pipelines(vulkan_device *dev, ls_error *err);
void ls_vulkan_close_pipelines(vulkan_device *dev);
void ls_vulkan_expect(gpu_device *gpu, uint32_t functions);
int ls_vulkan_launch(gpu_device *gpu, gpu_function f, const size_t grid[3], size_t shared,
                     const void *params, size_t size, ls_error *err);

#endif
