#include "backend/vulkan/loader.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

const char *ls_vulkan_result_name(VkResult r)
{
    switch (r) {
#define NAME(r)                                                                                    \
    case r:                                                                                        \
        return #r;
        NAME(VK_TIMEOUT)
        NAME(VK_ERROR_OUT_OF_HOST_MEMORY)
        NAME(VK_ERROR_OUT_OF_DEVICE_MEMORY)
        NAME(VK_ERROR_INITIALIZATION_FAILED)
        NAME(VK_ERROR_DEVICE_LOST)
        NAME(VK_ERROR_MEMORY_MAP_FAILED)
        NAME(VK_ERROR_LAYER_NOT_PRESENT)
        NAME(VK_ERROR_EXTENSION_NOT_PRESENT)
        NAME(VK_ERROR_FEATURE_NOT_PRESENT)
        NAME(VK_ERROR_INCOMPATIBLE_DRIVER)
        NAME(VK_ERROR_TOO_MANY_OBJECTS)
        NAME(VK_ERROR_INVALID_SHADER_NV)
#undef NAME
    default:
        return "unknown";
    }
}

static int create_instance(vulkan_loader *l, PFN_vkGetInstanceProcAddr get, ls_error *err)
{
    const PFN_vkEnumerateInstanceVersion version =
        (PFN_vkEnumerateInstanceVersion)get(NULL, "vkEnumerateInstanceVersion");
    const PFN_vkCreateInstance create = (PFN_vkCreateInstance)get(NULL, "vkCreateInstance");
    uint32_t number = VK_API_VERSION_1_0;
    if (version)
        version(&number);
    if (!create || number < VK_API_VERSION_1_2)
        return ls_fail(err, LS_EUNSUPPORTED,
                       "the Vulkan loader is too old: it has Vulkan %u.%u, and 1.2 is needed",
                       VK_API_VERSION_MAJOR(number), VK_API_VERSION_MINOR(number));
    const VkApplicationInfo app = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                   .pApplicationName = "latentsync",
                                   .apiVersion = VK_API_VERSION_1_2};
    const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                       .pApplicationInfo = &app};
    const VkResult r = create(&info, NULL, &l->instance);
    if (r)
        return ls_fail(err, LS_EUNSUPPORTED, "Vulkan cannot be started (%s)%s",
                       ls_vulkan_result_name(r),
                       r == VK_ERROR_INCOMPATIBLE_DRIVER ? ": no driver is installed" : "");
    return 0;
}

static int start(vulkan_loader *l, ls_error *err)
{
    PFN_vkGetInstanceProcAddr get;
    *(void **)&get = dlsym(l->library, "vkGetInstanceProcAddr");
    int ret = get ? create_instance(l, get, err)
                  : ls_fail(err, LS_EUNSUPPORTED, "the Vulkan loader is incomplete");
#define LS_X(name)                                                                                 \
    if (!ret) {                                                                                    \
        l->name = (PFN_vk##name)get(l->instance, "vk" #name);                                      \
        if (!l->name)                                                                              \
            ret = ls_fail(err, LS_EUNSUPPORTED, "the Vulkan loader has no vk" #name);              \
    }
    LS_VULKAN_INSTANCE_FUNCTIONS(LS_X)
#undef LS_X
    if (!ret)
        l->matrices = (PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)get(
            l->instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    return ret;
}

int ls_vulkan_loader_open(vulkan_loader *l, ls_error *err)
{
    const char *named = getenv("LS_VULKAN_LIBRARY"), *name = named ? named : "libvulkan.so.1";
    memset(l, 0, sizeof *l);
    l->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    const int ret = l->library ? start(l, err)
                               : ls_fail(err, LS_EUNSUPPORTED,
                                         "no Vulkan loader: %s could not be opened", name);
    return ret ? ls_advise(err, LS_EUNSUPPORTED, LS_HINT_NONE, NULL) : 0;
}

int ls_vulkan_loader_find(vulkan_loader *l, VkDevice device, ls_error *err)
{
    int ret = 0;
#define LS_X(name)                                                                                 \
    if (!ret) {                                                                                    \
        l->name = (PFN_vk##name)l->GetDeviceProcAddr(device, "vk" #name);                          \
        if (!l->name)                                                                              \
            ret = ls_fail(err, LS_EUNSUPPORTED, "the Vulkan driver has no vk" #name);              \
    }
    LS_VULKAN_DEVICE_FUNCTIONS(LS_X)
#undef LS_X
    return ret;
}

void ls_vulkan_loader_close(vulkan_loader *l)
{
    if (l->instance && l->DestroyInstance)
        l->DestroyInstance(l->instance, NULL);
    if (l->library)
        dlclose(l->library);
    memset(l, 0, sizeof *l);
}
