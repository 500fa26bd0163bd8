/* A Vulkan device's memory. Each allocation is one buffer: what asks for much memory (store.c,
 * workspaces) asks for large blocks and divides them itself. */
#include "backend/vulkan/card.h"
#include "base/alloc.h"

#include <stdlib.h>

/* The type, of those in `bits`, with all of `needed`, if possible with all of `wanted`, and with
 * nothing of `unwanted`. */
static uint32_t memory_type(const VkPhysicalDeviceMemoryProperties *m, uint32_t bits,
                            VkMemoryPropertyFlags needed, VkMemoryPropertyFlags wanted,
                            VkMemoryPropertyFlags unwanted)
{
    uint32_t best = 0;
    int best_score = -1;
    for (uint32_t i = 0; i < m->memoryTypeCount; i++) {
        const VkMemoryPropertyFlags flags = m->memoryTypes[i].propertyFlags;
        const int score = !(bits >> i & 1) || (flags & needed) != needed
                              ? -1
                              : 2 * ((flags & wanted) == wanted) + !(flags & unwanted);
        if (score > best_score) {
            best = i;
            best_score = score;
        }
    }
    return best;
}

/* Kinds that are for others, or that need a feature to be asked for. */
#define FOREIGN                                                                                    \
    (VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT | VK_MEMORY_PROPERTY_PROTECTED_BIT |                  \
     VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD | VK_MEMORY_PROPERTY_DEVICE_UNCACHED_BIT_AMD)

uint32_t ls_vulkan_card_type(const VkPhysicalDeviceMemoryProperties *m, uint32_t bits)
{
    return memory_type(m, bits, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0,
                       VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | FOREIGN);
}

static uint32_t pinned_type(const VkPhysicalDeviceMemoryProperties *m, uint32_t bits)
{
    return memory_type(
        m, bits, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
        VK_MEMORY_PROPERTY_HOST_CACHED_BIT, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | FOREIGN);
}

static void free_block(vulkan_device *dev, vulkan_block *b)
{
    if (!dev->lost) {
        if (b->buffer)
            dev->vk.DestroyBuffer(dev->device, b->buffer, NULL);
        if (b->memory)
            dev->vk.FreeMemory(dev->device, b->memory, NULL);
    }
    free(b);
}

static VkResult fill_block(vulkan_device *dev, vulkan_block *b, bool pinned)
{
    const vulkan_loader *vk = &dev->vk;
    const uint32_t families[] = {dev->family, dev->copy_family};
    const VkBufferCreateInfo buffer = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = (b->bytes + 15) / 16 * 16,
        .usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT |
                 (pinned ? 0
                         : VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
                               VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT),
        .sharingMode = dev->family == dev->copy_family ? VK_SHARING_MODE_EXCLUSIVE
                                                       : VK_SHARING_MODE_CONCURRENT,
        .queueFamilyIndexCount = LS_COUNT(families),
        .pQueueFamilyIndices = families,
    };
    VkResult r = vk->CreateBuffer(dev->device, &buffer, NULL, &b->buffer);
    if (r)
        return r;
    VkMemoryRequirements needs;
    vk->GetBufferMemoryRequirements(dev->device, b->buffer, &needs);
    const VkMemoryAllocateFlagsInfo flags = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
        .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT,
    };
    const VkMemoryAllocateInfo memory = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .pNext = pinned ? NULL : &flags,
        .allocationSize = needs.size,
        .memoryTypeIndex = pinned ? pinned_type(&dev->memory, needs.memoryTypeBits)
                                  : ls_vulkan_card_type(&dev->memory, needs.memoryTypeBits),
    };
    if (!pinned)
        dev->card_memory = memory.memoryTypeIndex;
    r = vk->AllocateMemory(dev->device, &memory, NULL, &b->memory);
    if (!r)
        r = vk->BindBufferMemory(dev->device, b->buffer, b->memory, 0);
    if (!r && pinned)
        r = vk->MapMemory(dev->device, b->memory, 0, VK_WHOLE_SIZE, 0, (void **)&b->mapped);
    if (!r && !pinned)
        b->address = vk->GetBufferDeviceAddress(
            dev->device,
            &(VkBufferDeviceAddressInfo){.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
                                         .buffer = b->buffer});
    return r;
}

static VkResult add_block(vulkan_device *dev, size_t bytes, bool pinned, vulkan_block **out)
{
    vulkan_block *b = *out = ls_calloc_array(1, sizeof *b);
    if (!b)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    b->bytes = bytes ? bytes : 1;
    const VkResult r = fill_block(dev, b, pinned);
    if (r) {
        free_block(dev, b);
        *out = NULL;
        return r;
    }
    b->next = dev->blocks;
    dev->blocks = b;
    if (!pinned)
        dev->allocated += b->bytes;
    return r;
}

/* The block must not be in use. */
static void remove_block(vulkan_device *dev, vulkan_block *b)
{
    vulkan_block **at = &dev->blocks;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    if (b->address)
        dev->allocated -= b->bytes;
    free_block(dev, b);
}

uint64_t ls_vulkan_available(vulkan_device *dev)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 memory = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
        .pNext = dev->has_budget ? &budget : NULL};
    dev->vk.GetPhysicalDeviceMemoryProperties2(dev->physical, &memory);
    const VkPhysicalDeviceMemoryProperties *m = &memory.memoryProperties;
    const uint32_t heap = m->memoryTypes[dev->card_memory].heapIndex;
    const uint64_t most = dev->has_budget ? budget.heapBudget[heap] : m->memoryHeaps[heap].size;
    const uint64_t used = dev->has_budget ? budget.heapUsage[heap] : dev->allocated;
    return most > used ? most - used : 0;
}

int ls_vulkan_alloc(gpu_device *gpu, size_t bytes, gpu_address *out, ls_error *err)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    vulkan_block *b = NULL;
    *out = 0;
    if (bytes > dev->largest)
        return ls_fail(err, LS_ENOMEM,
                       "%s (%s) cannot give %.1f MB of memory in one piece: its driver's limit is "
                       "%.1f MB",
                       gpu->base.info.name, gpu->base.info.model, (double)bytes / 1e6,
                       (double)dev->largest / 1e6);
    const uint64_t available = ls_vulkan_available(dev);
    const VkResult r =
        bytes > available ? VK_ERROR_OUT_OF_DEVICE_MEMORY : add_block(dev, bytes, false, &b);
    if (r == VK_ERROR_OUT_OF_DEVICE_MEMORY)
        return ls_advise(err,
                         ls_fail(err, LS_ENOMEM,
                                 "%s (%s) cannot give %.1f MB of memory: %.1f MB are free",
                                 gpu->base.info.name, gpu->base.info.model, (double)bytes / 1e6,
                                 (double)available / 1e6),
                         LS_HINT_CARD_MEMORY, "max-vram");
    if (!r)
        *out = b->address;
    return ls_vulkan_failed(dev, r, err, "allocate memory");
}

void ls_vulkan_release(gpu_device *gpu, gpu_address memory)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    vulkan_block *b = dev->blocks;
    if (!memory)
        return;
    while (b && b->address != memory)
        b = b->next;
    ls_vulkan_wait(gpu, NULL);
    if (b)
        remove_block(dev, b);
}

int ls_vulkan_pin(gpu_device *gpu, size_t bytes, void *out, ls_error *err)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    vulkan_block *b;
    const VkResult r = add_block(dev, bytes, true, &b);
    *(void **)out = r ? NULL : b->mapped;
    if (r == VK_ERROR_OUT_OF_DEVICE_MEMORY || r == VK_ERROR_OUT_OF_HOST_MEMORY)
        return ls_advise(err,
                         ls_fail(err, LS_ENOMEM,
                                 "%.1f MB of the machine's memory cannot be pinned for %s",
                                 (double)bytes / 1e6, gpu->base.info.name),
                         LS_HINT_CARD_MEMORY, "max-vram");
    if (!r)
        ls_memory_count(LS_MEM_BACKEND, (ptrdiff_t)bytes);
    return ls_vulkan_failed(dev, r, err, "pin memory");
}

void ls_vulkan_unpin(gpu_device *gpu, void *memory, size_t bytes)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    vulkan_block *b = dev->blocks;
    if (!memory)
        return;
    while (b && b->mapped != memory)
        b = b->next;
    ls_vulkan_wait(gpu, NULL);
    if (b)
        remove_block(dev, b);
    ls_memory_count(LS_MEM_BACKEND, -(ptrdiff_t)bytes);
}

static bool is_inside(uint64_t start, size_t size, uint64_t address, size_t bytes)
{
    return start && address >= start && address - start <= size &&
           bytes <= size - (address - start);
}

const vulkan_block *ls_vulkan_block_of(const vulkan_device *dev, uint64_t address, size_t bytes,
                                       VkDeviceSize *offset)
{
    const vulkan_block *b = dev->blocks;
    while (b && !is_inside(b->address, b->bytes, address, bytes))
        b = b->next;
    *offset = b ? address - b->address : 0;
    return b;
}

const vulkan_block *ls_vulkan_pinned_block_of(const vulkan_device *dev, const void *memory,
                                              size_t bytes, VkDeviceSize *offset)
{
    const uint64_t address = (uintptr_t)memory;
    const vulkan_block *b = dev->blocks;
    while (b && !is_inside((uintptr_t)b->mapped, b->bytes, address, bytes))
        b = b->next;
    *offset = b ? address - (uintptr_t)b->mapped : 0;
    return b;
}
