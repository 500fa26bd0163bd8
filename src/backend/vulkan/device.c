/* Vulkan devices: which there are, and opening one. */
#include "backend/vulkan/card.h"
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 32      /* devices */
#define MATRICES 64  /* shapes of a device that are looked at */
#define THREADS 256  /* of a block */
#define SHARED 32768 /* bytes of a block */
#define SUBGROUP 32  /* preferred */
#define LANES 8      /* threads that share a query of attention, at most */

int ls_vulkan_failed(vulkan_device *dev, VkResult r, ls_error *err, const char *what)
{
    if (!r)
        return 0;
    const bool lost = r == VK_ERROR_DEVICE_LOST || r == VK_TIMEOUT;
    const bool memory = r == VK_ERROR_OUT_OF_DEVICE_MEMORY || r == VK_ERROR_OUT_OF_HOST_MEMORY;
    dev->lost = lost && !dev->lost ? r : dev->lost;
    const int ret =
        ls_fail(err,
                lost     ? LS_EDEVICE
                : memory ? LS_ENOMEM
                         : LS_EBACKEND,
                "%s (%s) cannot %s%s (Vulkan error %d, %s)", dev->gpu.base.info.name,
                dev->gpu.base.info.model, what,
                lost ? ", and is lost to this process (another can resume the job)" : "", r,
                ls_vulkan_result_name(r));
    return memory ? ls_advise(err, ret, LS_HINT_CARD_MEMORY, "max-vram") : ret;
}

static int enter(gpu_device *gpu, ls_error *err)
{
    (void)err;
    pthread_mutex_lock(&ls_vulkan_of(gpu)->lock);
    return 0;
}

static void leave(gpu_device *gpu)
{
    pthread_mutex_unlock(&ls_vulkan_of(gpu)->lock);
}

static void close_device(gpu_device *gpu)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    if (dev->device) {
        ls_vulkan_wait(gpu, NULL);
        ls_gpu_close_submission(gpu);
        ls_vulkan_close_queue(dev);
        ls_vulkan_close_pipelines(dev);
        if (!dev->lost && dev->vk.DestroyDevice)
            dev->vk.DestroyDevice(dev->device, NULL);
    }
    if (!dev->lost) /* otherwise the driver may still be at work in what it was given */
        ls_vulkan_loader_close(&dev->vk);
    pthread_mutex_destroy(&dev->lock);
    free(dev);
}

static const gpu_driver api = {
    .name = "vulkan",
    .enter = enter,
    .leave = leave,
    .alloc = ls_vulkan_alloc,
    .release = ls_vulkan_release,
    .pin = ls_vulkan_pin,
    .unpin = ls_vulkan_unpin,
    .write = ls_vulkan_write,
    .read = ls_vulkan_read,
    .wait = ls_vulkan_wait,
    .fetch = ls_vulkan_fetch,
    .clear = ls_vulkan_clear,
    .expect = ls_vulkan_expect,
    .launch = ls_vulkan_launch,
    .mark = ls_vulkan_mark,
    .elapsed = ls_vulkan_elapsed,
    .open_ring = ls_vulkan_open_ring,
    .close_ring = ls_vulkan_close_ring,
    .begin_half = ls_vulkan_begin_half,
    .send = ls_vulkan_send,
    .leave_half = ls_vulkan_leave_half,
    .close = close_device,
};

/* What a device has of what is needed. */
typedef struct abilities {
    VkPhysicalDeviceProperties2 properties;
    VkPhysicalDeviceVulkan11Properties v11;
    VkPhysicalDeviceMaintenance3Properties limits;
    VkPhysicalDeviceDriverProperties driver;
    VkPhysicalDeviceSubgroupSizeControlProperties subgroup;
    VkPhysicalDeviceFeatures2 features;
    VkPhysicalDevice16BitStorageFeatures storage16;
    VkPhysicalDeviceScalarBlockLayoutFeatures scalar;
    VkPhysicalDeviceBufferDeviceAddressFeatures addresses;
    VkPhysicalDeviceTimelineSemaphoreFeatures timeline;
    VkPhysicalDeviceSubgroupSizeControlFeatures sizes;
    VkPhysicalDeviceShaderFloat16Int8Features halves;
    VkPhysicalDeviceVulkanMemoryModelFeatures model;
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices;
    VkPhysicalDeviceCooperativeMatrixPropertiesKHR matrix_stages;
    vulkan_matrix matrix;
    VkPhysicalDeviceMemoryProperties memory;
    uint32_t family, family_count;
    VkQueueFamilyProperties families[16];
    bool has_sizes, has_budget, has_matrices;
} abilities;

static void find_extensions(const vulkan_loader *vk, VkPhysicalDevice card, abilities *a)
{
    uint32_t count = 0;
    if (vk->EnumerateDeviceExtensionProperties(card, NULL, &count, NULL))
        return;
    VkExtensionProperties *all = ls_calloc_array(count + 1, sizeof *all);
    if (!all || vk->EnumerateDeviceExtensionProperties(card, NULL, &count, all) < 0)
        count = 0;
    for (uint32_t i = 0; i < count; i++) {
        a->has_sizes |= !strcmp(all[i].extensionName, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
        a->has_budget |= !strcmp(all[i].extensionName, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
        a->has_matrices |= !strcmp(all[i].extensionName, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME);
    }
    free(all);
}

/* Links what is not NULL in front of the chain. */
static void chain(void *first, void *next)
{
    VkBaseOutStructure *f = first, *n = next;
    n->pNext = f->pNext;
    f->pNext = n;
}

static void set_types(abilities *a)
{
    a->properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    a->v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES;
    a->limits.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES;
    a->driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
    a->subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES;
    a->features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    a->storage16.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES;
    a->scalar.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SCALAR_BLOCK_LAYOUT_FEATURES;
    a->addresses.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES;
    a->timeline.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES;
    a->sizes.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES;
    a->halves.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
    a->model.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES;
    a->matrices.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
    a->matrix_stages.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
}

/* A queue that computes and does nothing else is not in the way of a screen. */
static uint32_t choose_family(const abilities *a)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < a->family_count; i++) {
        const VkQueueFlags flags = a->families[i].queueFlags;
        if (flags & VK_QUEUE_COMPUTE_BIT &&
            (best == UINT32_MAX || !(flags & VK_QUEUE_GRAPHICS_BIT)))
            best = i;
    }
    return best;
}

/* Whether kernels can ask for a size of subgroups. */
static bool has_sized_subgroups(const abilities *a)
{
    return a->has_sizes && a->sizes.subgroupSizeControl && a->sizes.computeFullSubgroups &&
           a->subgroup.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT &&
           a->subgroup.minSubgroupSize <= a->subgroup.maxSubgroupSize;
}

static bool is_software(const abilities *a)
{
    return a->properties.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
}

/* The largest shape for which there are tiles. Matrix units work with the smallest subgroups: that
 * is their only size where a driver's compiler has just one for them. */
static void find_matrix(const vulkan_loader *vk, VkPhysicalDevice card, abilities *a)
{
    VkCooperativeMatrixPropertiesKHR all[MATRICES];
    const char *wanted = getenv("LS_VULKAN_MATRIX");
    uint32_t count = MATRICES;
    if ((wanted && !strcmp(wanted, "0")) || !vk->matrices || !a->has_matrices ||
        !a->matrices.cooperativeMatrix || !a->halves.shaderFloat16 || !a->model.vulkanMemoryModel ||
        !has_sized_subgroups(a) ||
        !(a->v11.subgroupSupportedOperations & VK_SUBGROUP_FEATURE_VOTE_BIT) ||
        !(a->matrix_stages.cooperativeMatrixSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT))
        return;
    for (uint32_t i = 0; i < MATRICES; i++)
        all[i] = (VkCooperativeMatrixPropertiesKHR){
            .sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR};
    if (vk->matrices(card, &count, all) < 0)
        return;
    for (uint32_t i = 0; i < count; i++) {
        const VkCooperativeMatrixPropertiesKHR *p = &all[i];
        const vulkan_matrix m = {p->MSize, p->NSize, p->KSize, a->subgroup.minSubgroupSize};
        if (p->scope == VK_SCOPE_SUBGROUP_KHR && p->AType == VK_COMPONENT_TYPE_FLOAT16_KHR &&
            p->BType == VK_COMPONENT_TYPE_FLOAT16_KHR &&
            p->CType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
            p->ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR && !p->saturatingAccumulation &&
            (uint64_t)m.rows * m.columns * m.depth >
                (uint64_t)a->matrix.rows * a->matrix.columns * a->matrix.depth &&
            ls_vulkan_takes_matrix(&m, a->subgroup.maxComputeWorkgroupSubgroups))
            a->matrix = m;
    }
}

/* What the device lacks; NULL: nothing. */
static const char *find_abilities(const vulkan_loader *vk, VkPhysicalDevice card, abilities *a)
{
    memset(a, 0, sizeof *a);
    set_types(a);
    vk->GetPhysicalDeviceProperties2(card, &a->properties);
    if (a->properties.properties.apiVersion < VK_API_VERSION_1_2)
        return "Vulkan 1.2";
    find_extensions(vk, card, a);
    void *const properties[] = {&a->v11, &a->limits, &a->driver}, *const features[] = {
                                                                      &a->storage16, &a->scalar,
                                                                      &a->addresses, &a->timeline};
    for (size_t i = 0; i < LS_COUNT(properties); i++)
        chain(&a->properties, properties[i]);
    for (size_t i = 0; i < LS_COUNT(features); i++)
        chain(&a->features, features[i]);
    if (a->has_sizes) {
        chain(&a->properties, &a->subgroup);
        chain(&a->features, &a->sizes);
    }
    if (a->has_matrices) {
        chain(&a->properties, &a->matrix_stages);
        chain(&a->features, &a->halves);
        chain(&a->features, &a->model);
        chain(&a->features, &a->matrices);
    }
    vk->GetPhysicalDeviceProperties2(card, &a->properties);
    vk->GetPhysicalDeviceFeatures2(card, &a->features);
    find_matrix(vk, card, a);
    VkPhysicalDeviceMemoryProperties2 memory = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    vk->GetPhysicalDeviceMemoryProperties2(card, &memory);
    a->memory = memory.memoryProperties;
    a->family_count = LS_COUNT(a->families);
    vk->GetPhysicalDeviceQueueFamilyProperties(card, &a->family_count, a->families);
    a->family = choose_family(a);
    const VkPhysicalDeviceLimits *most = &a->properties.properties.limits;
    const VkSubgroupFeatureFlags shuffles =
        VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
    return !a->storage16.storageBuffer16BitAccess ? "16-bit storage"
           : !a->features.features.shaderInt64    ? "64-bit integers"
           : !a->scalar.scalarBlockLayout         ? "scalar block layout"
           : !a->addresses.bufferDeviceAddress    ? "buffer device addresses"
           : !a->timeline.timelineSemaphore       ? "timeline semaphores"
           : a->family == UINT32_MAX              ? "a queue that computes"
           : (a->v11.subgroupSupportedOperations & shuffles) != shuffles ||
                   a->v11.subgroupSize < LANES
               ? "subgroup shuffles"
           : most->maxComputeSharedMemorySize < SHARED ||
                   most->maxComputeWorkGroupInvocations < THREADS
               ? "workgroups of 256 threads and 32 KB"
               : NULL;
}

static void describe(const abilities *a, unsigned number, ls_device_info *info)
{
    const VkPhysicalDeviceProperties *p = &a->properties.properties;
    *info = (ls_device_info){.fast = LS_F16,
                             .software = is_software(a),
                             .discrete = p->deviceType == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU};
    snprintf(info->name, sizeof info->name, "vulkan:%u", number % 100);
    snprintf(info->model, sizeof info->model, "%.95s", p->deviceName);
    snprintf(info->version, sizeof info->version, "Vulkan %u.%u, %s%.32s",
             VK_API_VERSION_MAJOR(p->apiVersion), VK_API_VERSION_MINOR(p->apiVersion),
             a->matrix.rows ? "matrix units, " : "", a->driver.driverInfo);
    const uint32_t heap =
        a->memory.memoryTypes[ls_vulkan_card_type(&a->memory, UINT32_MAX)].heapIndex;
    info->total = a->memory.memoryHeaps[heap].size;
}

static int enumerate(const vulkan_loader *vk, VkPhysicalDevice cards[MOST], uint32_t *count,
                     ls_error *err)
{
    *count = MOST;
    const VkResult r = vk->EnumeratePhysicalDevices(vk->instance, count, cards);
    if (r < 0)
        *count = 0;
    return r < 0 ? ls_fail(err, LS_EUNSUPPORTED, "Vulkan finds no device (%s)",
                           ls_vulkan_result_name(r))
                 : 0;
}

/* As the layered driver of Direct3D is, which computes wrongly. */
static bool is_trusted(const abilities *a)
{
    return a->driver.driverID != VK_DRIVER_ID_MESA_DOZEN;
}

/* The device `number`, or with -1 the first that is a card, discrete if possible. */
static int find_card(vulkan_device *dev, long number, abilities *a, ls_error *err)
{
    VkPhysicalDevice cards[MOST];
    ls_device_info *info = &dev->gpu.base.info;
    uint32_t count;
    const int ret = enumerate(&dev->vk, cards, &count, err);
    if (ret)
        return ret;
    if (number >= (long)count)
        return ls_fail(err, LS_EINVAL, "there is no device vulkan:%ld: Vulkan finds %u of them",
                       number, count);
    for (int wanted = 1; number < 0 && wanted >= 0; wanted--)
        for (uint32_t i = 0; number < 0 && i < count; i++)
            if (!find_abilities(&dev->vk, cards[i], a)) {
                describe(a, i, info);
                if (!info->software && info->discrete >= wanted && is_trusted(a))
                    number = (long)i;
            }
    if (number < 0)
        return ls_fail(err, LS_EUNSUPPORTED,
                       count ? "Vulkan finds no card that can be used" : "Vulkan finds no device");
    const char *lacks = find_abilities(&dev->vk, cards[number], a);
    describe(a, (unsigned)number, info);
    if (lacks)
        return ls_fail(err, LS_EUNSUPPORTED, "%s (%s) cannot be used: it lacks %s", info->name,
                       info->model, lacks);
    dev->physical = cards[number];
    return 0;
}

/* For copies beside the work: a queue of a family that only copies, else a second one of the same
 * family, else the same one. */
static void choose_copy_queue(vulkan_device *dev, const abilities *a)
{
    const VkQueueFlags others = VK_QUEUE_SPARSE_BINDING_BIT | VK_QUEUE_PROTECTED_BIT;
    dev->copy_family = a->family;
    dev->copy_index = a->families[a->family].queueCount > 1;
    for (uint32_t i = 0; i < a->family_count; i++)
        if ((a->families[i].queueFlags & ~others) == VK_QUEUE_TRANSFER_BIT) {
            dev->copy_family = i;
            dev->copy_index = 0;
        }
}

static void choose(vulkan_device *dev, const abilities *a)
{
    const VkPhysicalDeviceLimits *limits = &a->properties.properties.limits;
    const VkQueueFamilyProperties *family = &a->families[a->family];
    dev->family = a->family;
    choose_copy_queue(dev, a);
    dev->memory = a->memory;
    dev->card_memory = ls_vulkan_card_type(&a->memory, UINT32_MAX);
    dev->largest = a->limits.maxMemoryAllocationSize;
    dev->has_budget = a->has_budget;
    dev->sized_subgroups = has_sized_subgroups(a);
    dev->matrix = a->matrix;
    dev->subgroup = a->v11.subgroupSize;
    if (dev->sized_subgroups)
        dev->subgroup = a->subgroup.maxSubgroupSize < SUBGROUP   ? a->subgroup.maxSubgroupSize
                        : a->subgroup.minSubgroupSize > SUBGROUP ? a->subgroup.minSubgroupSize
                                                                 : SUBGROUP;
    if (family->timestampValidBits)
        dev->tick = (double)limits->timestampPeriod * 1e-9;
    dev->tick_mask = family->timestampValidBits >= 64
                         ? UINT64_MAX
                         : (UINT64_C(1) << family->timestampValidBits) - 1;
    dev->gpu.limits.shared = limits->maxComputeSharedMemorySize;
}

static VkResult create_device(vulkan_device *dev, const abilities *has)
{
    const float priorities[] = {1, 1};
    const VkDeviceQueueCreateInfo queues[] = {
        {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
         .queueFamilyIndex = dev->family,
         .queueCount = 1 + (dev->copy_family == dev->family ? dev->copy_index : 0),
         .pQueuePriorities = priorities},
        {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
         .queueFamilyIndex = dev->copy_family,
         .queueCount = 1,
         .pQueuePriorities = priorities},
    };
    abilities a;
    memset(&a, 0, sizeof a);
    set_types(&a);
    a.features.features.shaderInt64 = VK_TRUE;
    a.storage16.storageBuffer16BitAccess = VK_TRUE;
    a.scalar.scalarBlockLayout = VK_TRUE;
    a.addresses.bufferDeviceAddress = VK_TRUE;
    a.timeline.timelineSemaphore = VK_TRUE;
    a.sizes.subgroupSizeControl = a.sizes.computeFullSubgroups = VK_TRUE;
    a.halves.shaderFloat16 = a.model.vulkanMemoryModel = a.matrices.cooperativeMatrix = VK_TRUE;
    void *const features[] = {&a.storage16, &a.scalar, &a.addresses, &a.timeline};
    for (size_t i = 0; i < LS_COUNT(features); i++)
        chain(&a.features, features[i]);
    if (dev->sized_subgroups)
        chain(&a.features, &a.sizes);
    if (dev->matrix.rows) {
        chain(&a.features, &a.halves);
        chain(&a.features, &a.model);
        chain(&a.features, &a.matrices);
    }
    const char *extensions[3];
    uint32_t count = 0;
    if (dev->sized_subgroups)
        extensions[count++] = VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME;
    if (has->has_budget)
        extensions[count++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    if (dev->matrix.rows)
        extensions[count++] = VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME;
    const VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &a.features,
        .queueCreateInfoCount = 1 + (dev->copy_family != dev->family),
        .pQueueCreateInfos = queues,
        .enabledExtensionCount = count,
        .ppEnabledExtensionNames = extensions,
    };
    const VkResult r = dev->vk.CreateDevice(dev->physical, &info, NULL, &dev->device);
    if (r)
        dev->device = VK_NULL_HANDLE;
    return r;
}

static int start(vulkan_device *dev, long number, ls_error *err)
{
    abilities a;
    int ret = ls_vulkan_loader_open(&dev->vk, err);
    if (!ret)
        ret = find_card(dev, number, &a, err);
    if (ret)
        return ret;
    choose(dev, &a);
    ret = ls_vulkan_failed(dev, create_device(dev, &a), err, "be opened");
    if (!ret)
        ret = ls_vulkan_loader_find(&dev->vk, dev->device, err);
    if (ret)
        return ret;
    dev->vk.GetDeviceQueue(dev->device, dev->family, 0, &dev->queue);
    dev->vk.GetDeviceQueue(dev->device, dev->copy_family, dev->copy_index, &dev->copy_queue);
    ret = ls_vulkan_open_pipelines(dev, err);
    if (!ret)
        ret = ls_vulkan_open_queue(dev, err);
    if (!ret)
        ret = ls_gpu_open_submission(&dev->gpu, err);
    if (!ret)
        dev->gpu.base.info.available = ls_vulkan_available(dev);
    return ret;
}

/* "vulkan": -1, "vulkan:N": N; others: -2. */
static long number_of(const char *name)
{
    int number = 0, end = 0;
    if (!strcmp(name, "vulkan"))
        return -1;
    return sscanf(name, "vulkan:%4d%n", &number, &end) == 1 && !name[end] && name[7] >= '0' &&
                   name[7] <= '9'
               ? number
               : -2;
}

int ls_device_vulkan_open(ls_device **out, const char *name, ls_error *err)
{
    const long number = number_of(name);
    *out = NULL;
    if (number < -1)
        return ls_fail(err, LS_EINVAL, "there is no device \"%s\"; use vulkan or vulkan:N", name);
    vulkan_device *dev = ls_calloc_array(1, sizeof *dev);
    if (!dev)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&dev->lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    dev->gpu.base.vtable = &ls_gpu_vtable;
    dev->gpu.api = &api;
    const int ret = start(dev, number, err);
    if (ret)
        close_device(&dev->gpu);
    else
        *out = &dev->gpu.base;
    return ret;
}

size_t ls_device_vulkan_list(ls_device_info *list, size_t most)
{
    vulkan_loader vk;
    VkPhysicalDevice cards[MOST];
    abilities a;
    uint32_t count = 0;
    size_t n = 0;
    if (!ls_vulkan_loader_open(&vk, NULL))
        enumerate(&vk, cards, &count, NULL);
    for (uint32_t i = 0; n < most && i < count; i++)
        if (!find_abilities(&vk, cards[i], &a) && is_trusted(&a))
            describe(&a, i, &list[n++]);
    ls_vulkan_loader_close(&vk);
    return n;
}
