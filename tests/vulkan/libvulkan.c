/* Between a program and the Vulkan loader, for tests: what FAKE_VULKAN says is done, the rest goes
 * through. Its words, read at each call, are separated by commas:
 *   discrete                 devices are discrete cards
 *   fail=FUNCTION:N:RESULT   the N-th call of a function, counted from when FAKE_VULKAN was last
 *                            set, does nothing and gives this result
 *   running                  calls count from when the first kernel is compiled */
#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))

static PFN_vkGetInstanceProcAddr real_instance;
static PFN_vkGetDeviceProcAddr real_device;
static PFN_vkGetPhysicalDeviceProperties2 real_properties;
static int running;

/* The result that a call is to have, 0: that of the function. */
static VkResult fault(const char *function)
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

static void VKAPI_CALL properties(VkPhysicalDevice card, VkPhysicalDeviceProperties2 *p)
{
    const char *settings = getenv("FAKE_VULKAN");
    real_properties(card, p);
    if (settings && strstr(settings, "discrete"))
        p->properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

#define FAULTY(name, params, args)                                                                 \
    static PFN_vk##name real_##name;                                                               \
    static VkResult VKAPI_CALL faulty_##name params                                                \
    {                                                                                              \
        const VkResult r = fault("vk" #name);                                                      \
        return r ? r : real_##name args;                                                           \
    }
FAULTY(QueueSubmit, (VkQueue q, uint32_t n, const VkSubmitInfo *s, VkFence f), (q, n, s, f))
FAULTY(WaitSemaphores, (VkDevice d, const VkSemaphoreWaitInfo *w, uint64_t t), (d, w, t))
FAULTY(AllocateMemory,
       (VkDevice d, const VkMemoryAllocateInfo *i, const VkAllocationCallbacks *c,
        VkDeviceMemory *m),
       (d, i, c, m))
FAULTY(CreateComputePipelines,
       (VkDevice d, VkPipelineCache k, uint32_t n, const VkComputePipelineCreateInfo *i,
        const VkAllocationCallbacks *c, VkPipeline *p),
       (d, k, n, i, c, p))

static PFN_vkVoidFunction VKAPI_CALL device_function(VkDevice device, const char *name)
{
    const PFN_vkVoidFunction f = real_device(device, name);
#define REPLACE(n)                                                                                 \
    if (!strcmp(name, "vk" #n)) {                                                                  \
        real_##n = (PFN_vk##n)f;                                                                   \
        return (PFN_vkVoidFunction)faulty_##n;                                                     \
    }
    REPLACE(QueueSubmit)
    REPLACE(WaitSemaphores)
    REPLACE(AllocateMemory)
    REPLACE(CreateComputePipelines)
    return f;
}

API PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance, const char *name);
API PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance, const char *name)
{
    if (!real_instance) {
        void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
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
    return f;
}
