/* The Vulkan loader, found at run time: neither starting the program nor the CPU needs it. */
#ifndef LS_BACKEND_VULKAN_LOADER_H
#define LS_BACKEND_VULKAN_LOADER_H

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include "backend/vulkan/matrix.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define LS_VULKAN_INSTANCE_FUNCTIONS(X)                                                            \
    X(CreateDevice)                                                                                \
    X(DestroyInstance)                                                                             \
    X(EnumerateDeviceExtensionProperties)                                                          \
    X(EnumeratePhysicalDevices)                                                                    \
    X(GetDeviceProcAddr)                                                                           \
    X(GetPhysicalDeviceFeatures2)                                                                  \
    X(GetPhysicalDeviceMemoryProperties2)                                                          \
    X(GetPhysicalDeviceProperties2)                                                                \
    X(GetPhysicalDeviceQueueFamilyProperties)

#define LS_VULKAN_DEVICE_FUNCTIONS(X)                                                              \
    X(AllocateCommandBuffers)                                                                      \
    X(AllocateMemory)                                                                              \
    X(BeginCommandBuffer)                                                                          \
    X(BindBufferMemory)                                                                            \
    X(CmdBindPipeline)                                                                             \
    X(CmdCopyBuffer)                                                                               \
    X(CmdDispatchBase)                                                                             \
    X(CmdFillBuffer)                                                                               \
    X(CmdPipelineBarrier)                                                                          \
    X(CmdPushConstants)                                                                            \
    X(CmdResetQueryPool)                                                                           \
    X(CmdWriteTimestamp)                                                                           \
    X(CreateBuffer)                                                                                \
    X(CreateCommandPool)                                                                           \
    X(CreateComputePipelines)                                                                      \
    X(CreatePipelineCache)                                                                         \
    X(CreatePipelineLayout)                                                                        \
    X(CreateQueryPool)                                                                             \
    X(CreateSemaphore)                                                                             \
    X(CreateShaderModule)                                                                          \
    X(DestroyBuffer)                                                                               \
    X(DestroyCommandPool)                                                                          \
    X(DestroyDevice)                                                                               \
    X(DestroyPipeline)                                                                             \
    X(DestroyPipelineCache)                                                                        \
    X(DestroyPipelineLayout)                                                                       \
    X(DestroyQueryPool)                                                                            \
    X(DestroySemaphore)                                                                            \
    X(DestroyShaderModule)                                                                         \
    X(EndCommandBuffer)                                                                            \
    X(FreeMemory)                                                                                  \
    X(GetBufferDeviceAddress)                                                                      \
    X(GetBufferMemoryRequirements)                                                                 \
    X(GetDeviceQueue)                                                                              \
    X(GetPipelineCacheData)                                                                        \
    X(GetQueryPoolResults)                                                                         \
    X(MapMemory)                                                                                   \
    X(QueueSubmit)                                                                                 \
    X(WaitSemaphores)

typedef struct vulkan_loader {
    void *library;
    VkInstance instance;
#define LS_X(name) PFN_vk##name name;
    LS_VULKAN_INSTANCE_FUNCTIONS(LS_X)
    LS_VULKAN_DEVICE_FUNCTIONS(LS_X)
#undef LS_X
    PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR matrices; /* NULL: there is none */
} vulkan_loader;

/* Opens "libvulkan.so.1", or the library that LS_VULKAN_LIBRARY names in the environment, for
 * tests, and makes an instance. LS_EUNSUPPORTED where there is no loader or only an older Vulkan
 * than 1.2. */
int ls_vulkan_loader_open(vulkan_loader *l, ls_error *err);
/* Finds the functions of a device. */
int ls_vulkan_loader_find(vulkan_loader *l, VkDevice device, ls_error *err);
/* Also after failure. */
void ls_vulkan_loader_close(vulkan_loader *l);

/* "VK_ERROR_DEVICE_LOST" */
const char *ls_vulkan_result_name(VkResult r);

#endif
