/* Between a program and the Vulkan loader, for tests: what FAKE_VULKAN says is done, the rest goes
 * through. Its words, read at each call, are separated by commas:
 *   discrete                 devices are discrete cards
 *   odd_matrices             matrix units multiply three rows at a time
 *   null                     nothing but compiling is done, as by drivers without hardware;
 *                            kernels' specialisation constants are told
 *   fail=FUNCTION:N:RESULT   the N-th call of a function, counted from when FAKE_VULKAN was last
 *                            set, does nothing and gives this result
 *   together                 the first kernel is compiled only while another one is
 *   running                  calls count from when the first kernel is compiled
 *   copies                   devices have a second family of queues, which only copies: what it is
 *                            given is done before all work that it does not wait for, or
 *   late                     after all work that does not wait for it
 * A kernel without a barrier before it, which the validation layers would not notice, ends the
 * process. */
#define VK_NO_PROTOTYPES
#include "backend/vulkan/matrix.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NULL_BYTES ((size_t)1 << 32)
#define API __attribute__((visibility("default")))

static PFN_vkGetInstanceProcAddr real_instance;
static PFN_vkGetDeviceProcAddr real_device;
static PFN_vkGetPhysicalDeviceProperties2 real_properties;
static PFN_vkGetPhysicalDeviceQueueFamilyProperties real_families;
static PFN_vkCreateDevice real_create;
static PFN_vkGetPhysicalDeviceMemoryProperties2 real_memory;
static PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR real_matrices;
static int running;

static bool has_word(const char *word)
{
    const char *settings = getenv("FAKE_VULKAN");
    return settings && strstr(settings, word);
}

static VkResult next_fault(const char *function)
{
    static char before[200];
    static int calls;
    const char *settings = getenv("FAKE_VULKAN");
    char name[64];
    int number, result;
    settings = settings ? settings : "";
    if (strcmp(settings, before)) {
        snprintf(before, sizeof before, "%s", settings);
        calls = 0;
    }
    const char *fail = strstr(settings, "fail=");
    running |= !strcmp(function, "vkCreateComputePipelines");
    if (!fail || (strstr(settings, "running") && !running) ||
        sscanf(fail, "fail=%63[^:]:%d:%d", name, &number, &result) != 3 || strcmp(name, function))
        return VK_SUCCESS;
    return ++calls == number ? (VkResult)result : VK_SUCCESS;
}

/* The result that a call is to have, 0: that of the function. */
static VkResult fault(const char *function)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    const VkResult r = next_fault(function);
    pthread_mutex_unlock(&lock);
    return r;
}

static void VKAPI_CALL properties(VkPhysicalDevice card, VkPhysicalDeviceProperties2 *p)
{
    real_properties(card, p);
    if (has_word("discrete"))
        p->properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

/* lavapipe has one family. */
static void VKAPI_CALL families(VkPhysicalDevice card, uint32_t *n, VkQueueFamilyProperties *f)
{
    const bool more = f && has_word("copies") && *n > 1;
    real_families(card, n, f);
    if (more)
        f[(*n)++] = (VkQueueFamilyProperties){.queueFlags = VK_QUEUE_TRANSFER_BIT, .queueCount = 1};
}

static VkResult VKAPI_CALL matrices(VkPhysicalDevice card, uint32_t *count,
                                    VkCooperativeMatrixPropertiesKHR *m)
{
    const VkResult r = real_matrices(card, count, m);
    for (uint32_t i = 0; m && has_word("odd_matrices") && i < *count; i++)
        m[i].MSize = 3;
    return r;
}

/* What is without hardware has no memory either. */
static void VKAPI_CALL null_memory(VkPhysicalDevice card, VkPhysicalDeviceMemoryProperties2 *m)
{
    real_memory(card, m);
    VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget = m->pNext;
    for (uint32_t i = 0; i < VK_MAX_MEMORY_HEAPS; i++) {
        m->memoryProperties.memoryHeaps[i].size = NULL_BYTES;
        if (budget)
            budget->heapBudget[i] = NULL_BYTES;
    }
}

static VkResult VKAPI_CALL null_map(VkDevice d, VkDeviceMemory m, VkDeviceSize at, VkDeviceSize n,
                                    VkMemoryMapFlags flags, void **out)
{
    (void)d, (void)m, (void)at, (void)n, (void)flags;
    *out = malloc(NULL_BYTES);
    return *out ? VK_SUCCESS : VK_ERROR_MEMORY_MAP_FAILED;
}

static VkDeviceAddress VKAPI_CALL null_address(VkDevice d, const VkBufferDeviceAddressInfo *i)
{
    static VkDeviceAddress last;
    (void)d, (void)i;
    return last += NULL_BYTES;
}

static VkResult VKAPI_CALL null_work(void)
{
    return VK_SUCCESS;
}

static void tell(const VkSpecializationInfo *s)
{
    const uint32_t *values = s->pData;
    fputs("kernel", stderr);
    for (uint32_t i = 0; i < s->mapEntryCount; i++)
        fprintf(stderr, " %u", values[i]);
    fputc('\n', stderr);
}

#define FAULTY(name, params, args)                                                                 \
    static PFN_vk##name real_##name;                                                               \
    static VkResult VKAPI_CALL faulty_##name params                                                \
    {                                                                                              \
        const VkResult r = fault("vk" #name);                                                      \
        return r ? r : real_##name args;                                                           \
    }

/* Work that is held back until it is waited for, with what it points to. */
typedef struct submission {
    VkSubmitInfo info;
    VkTimelineSemaphoreSubmitInfo values;
    VkSemaphore wait, signal;
    uint64_t wait_value, signal_value;
    VkPipelineStageFlags stages;
    VkCommandBuffer commands;
} submission;

typedef struct held {
    submission of[8];
    size_t count;
} held;

static held works, copies;
static VkQueue queue; /* the real one */
static char copy_queue;
static PFN_vkQueueSubmit real_QueueSubmit;
static PFN_vkWaitSemaphores real_WaitSemaphores;

static VkResult VKAPI_CALL create(VkPhysicalDevice card, const VkDeviceCreateInfo *info,
                                  const VkAllocationCallbacks *c, VkDevice *out)
{
    VkDeviceCreateInfo one = *info;
    if (has_word("copies") && one.queueCreateInfoCount != 2)
        return VK_ERROR_INITIALIZATION_FAILED;
    one.queueCreateInfoCount = 1;
    works.count = copies.count = 0; // of a device that was lost
    return real_create(card, &one, c, out);
}

static void hold(held *h, const VkSubmitInfo *s)
{
    const VkTimelineSemaphoreSubmitInfo *values = s->pNext;
    if (h->count == sizeof h->of / sizeof *h->of)
        abort();
    submission *o = &h->of[h->count++];
    *o = (submission){.info = *s,
                      .values = *values,
                      .commands = s->pCommandBuffers[0],
                      .signal = s->pSignalSemaphores[0],
                      .signal_value = values->pSignalSemaphoreValues[0]};
    if (s->waitSemaphoreCount) {
        o->wait = s->pWaitSemaphores[0];
        o->wait_value = values->pWaitSemaphoreValues[0];
        o->stages = s->pWaitDstStageMask[0];
    }
}

/* All up to this number; work after the copies that it waits for. */
static VkResult let_go(held *h, uint64_t number)
{
    VkResult r = VK_SUCCESS;
    size_t n = 0;
    for (; !r && n < h->count && h->of[n].signal_value <= number; n++) {
        submission *o = &h->of[n];
        o->values.pWaitSemaphoreValues = &o->wait_value;
        o->values.pSignalSemaphoreValues = &o->signal_value;
        o->info.pNext = &o->values;
        o->info.pWaitSemaphores = &o->wait;
        o->info.pWaitDstStageMask = &o->stages;
        o->info.pCommandBuffers = &o->commands;
        o->info.pSignalSemaphores = &o->signal;
        if (h == &works)
            r = let_go(&copies, o->wait_value);
        if (!r)
            r = real_QueueSubmit(queue, 1, &o->info, VK_NULL_HANDLE);
    }
    h->count -= n;
    memmove(h->of, h->of + n, h->count * sizeof *h->of);
    return r;
}

static VkResult VKAPI_CALL faulty_QueueSubmit(VkQueue q, uint32_t n, const VkSubmitInfo *s,
                                              VkFence f)
{
    const VkTimelineSemaphoreSubmitInfo *values = s->pNext;
    const bool is_copy = q == (VkQueue)&copy_queue;
    VkResult r = fault("vkQueueSubmit");
    if (!r && is_copy && !has_word("late"))
        r = let_go(&works, values->pWaitSemaphoreValues[0]);
    if (r || !has_word("copies") || (is_copy && !has_word("late")))
        return r ? r : real_QueueSubmit(queue, n, s, f);
    hold(is_copy ? &copies : &works, s);
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL faulty_WaitSemaphores(VkDevice d, const VkSemaphoreWaitInfo *w,
                                                 uint64_t t)
{
    VkResult r = fault("vkWaitSemaphores");
    if (!r)
        r = let_go(&works, w->pValues[0]);
    return r ? r : real_WaitSemaphores(d, w, t);
}

static PFN_vkGetDeviceQueue real_GetDeviceQueue;
static void VKAPI_CALL faulty_GetDeviceQueue(VkDevice d, uint32_t family, uint32_t i, VkQueue *q)
{
    if (family == 1)
        *q = (VkQueue)&copy_queue;
    else
        real_GetDeviceQueue(d, family, i, q);
    queue = family == 1 ? queue : *q;
}

static PFN_vkCreateCommandPool real_CreateCommandPool;
static VkResult VKAPI_CALL faulty_CreateCommandPool(VkDevice d, const VkCommandPoolCreateInfo *i,
                                                    const VkAllocationCallbacks *c,
                                                    VkCommandPool *p)
{
    VkCommandPoolCreateInfo first = *i;
    first.queueFamilyIndex = 0;
    return real_CreateCommandPool(d, &first, c, p);
}

/* Both families may use every buffer. */
static PFN_vkCreateBuffer real_CreateBuffer;
static VkResult VKAPI_CALL faulty_CreateBuffer(VkDevice d, const VkBufferCreateInfo *i,
                                               const VkAllocationCallbacks *c, VkBuffer *b)
{
    VkBufferCreateInfo one = *i;
    const bool shared = one.sharingMode == VK_SHARING_MODE_CONCURRENT &&
                        one.queueFamilyIndexCount == 2 && one.pQueueFamilyIndices[1] == 1;
    if (shared != has_word("copies"))
        return VK_ERROR_FEATURE_NOT_PRESENT;
    one.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
    return real_CreateBuffer(d, &one, c, b);
}

FAULTY(AllocateMemory,
       (VkDevice d, const VkMemoryAllocateInfo *i, const VkAllocationCallbacks *c,
        VkDeviceMemory *m),
       (d, i, c, m))

static PFN_vkCreateComputePipelines real_CreateComputePipelines;
static VkResult VKAPI_CALL faulty_CreateComputePipelines(VkDevice d, VkPipelineCache k, uint32_t n,
                                                         const VkComputePipelineCreateInfo *i,
                                                         const VkAllocationCallbacks *c,
                                                         VkPipeline *p)
{
    static atomic_int begun;
    const VkResult r = fault("vkCreateComputePipelines");
    begun += has_word("together");
    for (int tenths = 0; has_word("together") && begun < 2; tenths++) {
        if (tenths == 100)
            return VK_ERROR_UNKNOWN;
        usleep(100000);
    }
    return r ? r : real_CreateComputePipelines(d, k, n, i, c, p);
}

static VkCommandBuffer ordered; /* its last command is a barrier */
static PFN_vkCmdPipelineBarrier real_CmdPipelineBarrier;
static void VKAPI_CALL faulty_CmdPipelineBarrier(
    VkCommandBuffer c, VkPipelineStageFlags from, VkPipelineStageFlags to, VkDependencyFlags flags,
    uint32_t n, const VkMemoryBarrier *b, uint32_t buffers, const VkBufferMemoryBarrier *of_buffer,
    uint32_t images, const VkImageMemoryBarrier *of_image)
{
    const VkPipelineStageFlags stages =
        VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    const VkAccessFlags writes = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                        reads = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT;
    const bool all = n == 1 && (from & stages) == stages && (b->srcAccessMask & writes) == writes;
    const bool kernels =
        to & VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT && (b->dstAccessMask & reads) == reads;
    ordered = all && kernels ? c : NULL;
    real_CmdPipelineBarrier(c, from, to, flags, n, b, buffers, of_buffer, images, of_image);
}

/* The blocks that are not from the first on are the rest of a kernel. */
static PFN_vkCmdDispatchBase real_CmdDispatchBase;
static void VKAPI_CALL faulty_CmdDispatchBase(VkCommandBuffer c, uint32_t x, uint32_t y, uint32_t z,
                                              uint32_t nx, uint32_t ny, uint32_t nz)
{
    if (!z && c != ordered)
        abort();
    ordered = NULL;
    real_CmdDispatchBase(c, x, y, z, nx, ny, nz);
}

static PFN_vkCreateComputePipelines null_create;
static VkResult VKAPI_CALL null_compile(VkDevice d, VkPipelineCache k, uint32_t n,
                                        const VkComputePipelineCreateInfo *i,
                                        const VkAllocationCallbacks *c, VkPipeline *p)
{
    tell(i->stage.pSpecializationInfo);
    return null_create(d, k, n, i, c, p);
}

/* NULL: the driver's. */
static PFN_vkVoidFunction null_function(const char *name, PFN_vkVoidFunction f)
{
    if (!strcmp(name, "vkCreateComputePipelines")) {
        null_create = (PFN_vkCreateComputePipelines)f;
        return (PFN_vkVoidFunction)null_compile;
    }
    const bool work = !strncmp(name, "vkCmd", 5) || strstr(name, "CommandBuffer") ||
                      strstr(name, "Semaphore") || !strcmp(name, "vkQueueSubmit");
    return work                                        ? (PFN_vkVoidFunction)null_work
           : !strcmp(name, "vkMapMemory")              ? (PFN_vkVoidFunction)null_map
           : !strcmp(name, "vkGetBufferDeviceAddress") ? (PFN_vkVoidFunction)null_address
                                                       : NULL;
}

static PFN_vkVoidFunction VKAPI_CALL device_function(VkDevice device, const char *name)
{
    const PFN_vkVoidFunction f = real_device(device, name);
    const PFN_vkVoidFunction without = has_word("null") ? null_function(name, f) : NULL;
    if (without)
        return without;
#define REPLACE(n)                                                                                 \
    if (!strcmp(name, "vk" #n)) {                                                                  \
        real_##n = (PFN_vk##n)f;                                                                   \
        return (PFN_vkVoidFunction)faulty_##n;                                                     \
    }
    REPLACE(QueueSubmit)
    REPLACE(WaitSemaphores)
    REPLACE(GetDeviceQueue)
    REPLACE(CreateCommandPool)
    REPLACE(CreateBuffer)
    REPLACE(CmdPipelineBarrier)
    REPLACE(CmdDispatchBase)
    REPLACE(AllocateMemory)
    REPLACE(CreateComputePipelines)
    return f;
}

API PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance, const char *name);
API PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance, const char *name)
{
    if (!real_instance) {
        void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
        /* Loaded anew for each device, it would soon be left out without a word. */
        if (getenv("VK_INSTANCE_LAYERS"))
            dlopen("libVkLayer_khronos_validation.so", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (library)
            *(void **)&real_instance = dlsym(library, "vkGetInstanceProcAddr");
        if (!real_instance)
            return NULL;
    }
    const PFN_vkVoidFunction f = real_instance(instance, name);
    if (!strcmp(name, "vkGetDeviceProcAddr")) {
        real_device = (PFN_vkGetDeviceProcAddr)f;
        return (PFN_vkVoidFunction)device_function;
    }
    if (!strcmp(name, "vkGetPhysicalDeviceProperties2")) {
        real_properties = (PFN_vkGetPhysicalDeviceProperties2)f;
        return (PFN_vkVoidFunction)properties;
    }
    if (!strcmp(name, "vkGetPhysicalDeviceQueueFamilyProperties")) {
        real_families = (PFN_vkGetPhysicalDeviceQueueFamilyProperties)f;
        return (PFN_vkVoidFunction)families;
    }
    if (!strcmp(name, "vkCreateDevice")) {
        real_create = (PFN_vkCreateDevice)f;
        return (PFN_vkVoidFunction)create;
    }
    if (!strcmp(name, "vkGetPhysicalDeviceMemoryProperties2") && has_word("null")) {
        real_memory = (PFN_vkGetPhysicalDeviceMemoryProperties2)f;
        return (PFN_vkVoidFunction)null_memory;
    }
    if (f && !strcmp(name, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR")) {
        real_matrices = (PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)f;
        return (PFN_vkVoidFunction)matrices;
    }
    return f;
}
