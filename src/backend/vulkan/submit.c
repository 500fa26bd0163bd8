/* What a Vulkan device is to do, recorded and submitted in pieces that take it some 50 ms: cards
 * that also drive a screen would make it wait, and their systems end what takes seconds. */
#include "backend/vulkan/card.h"

#include <string.h>

#define PIECE 0.05       /* seconds */
#define FIRST_SPEED 1e11 /* until it is measured */
#define LIMIT 600        /* seconds; what takes longer is taken to be stuck */
#define STAGING ((size_t)8 << 20)
#define STAGES (VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT)
#define WRITES (VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT)
#define READS (VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT)

enum { MARKS = GPU_NODES_MAX + 1, QUERIES = MARKS + 2 * VULKAN_SLOTS };

/* The queries around what a slot does. */
static uint32_t times_of(const vulkan_device *dev, const vulkan_slot *s)
{
    return (uint32_t)(MARKS + 2 * (s - dev->slots));
}

static int wait_for(vulkan_device *dev, uint64_t number, ls_error *err)
{
    const VkSemaphoreWaitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
        .semaphoreCount = 1,
        .pSemaphores = &dev->done,
        .pValues = &number,
    };
    const VkResult r =
        dev->lost ? VK_ERROR_DEVICE_LOST
                  : dev->vk.WaitSemaphores(dev->device, &info, (uint64_t)LIMIT * 1000000000);
    return ls_vulkan_failed(dev, r, err, "finish its work");
}

/* Seconds from a query to the next; 0 where they are not known. */
static double seconds_from(const vulkan_device *dev, uint32_t query)
{
    uint64_t t[2];
    if (!dev->times || dev->vk.GetQueryPoolResults(dev->device, dev->times, query, 2, sizeof t, t,
                                                   sizeof *t, VK_QUERY_RESULT_64_BIT))
        return 0;
    return (double)((t[1] - t[0]) & dev->tick_mask) * dev->tick;
}

/* Of a slot that is done: how fast the card was. */
static void learn(vulkan_device *dev, vulkan_slot *s)
{
    const double seconds = s->work > 0 ? seconds_from(dev, times_of(dev, s)) : 0;
    const double speed = seconds > 0 ? s->work / seconds : 0;
    if (seconds > PIECE / 10 || speed > dev->speed) /* what is short is slow to start */
        dev->speed = (dev->speed + speed) / 2;
    s->work = 0;
}

static int begin(vulkan_device *dev, ls_error *err)
{
    vulkan_slot *s = &dev->slots[dev->submitted % VULKAN_SLOTS];
    int ret = s->number ? wait_for(dev, s->number, err) : 0;
    if (ret)
        return ret;
    learn(dev, s);
    const VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                           .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    ret =
        ls_vulkan_failed(dev, dev->vk.BeginCommandBuffer(s->commands, &info), err, "be given work");
    if (ret)
        return ret;
    if (dev->times) {
        dev->vk.CmdResetQueryPool(s->commands, dev->times, times_of(dev, s), 2);
        dev->vk.CmdWriteTimestamp(s->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, dev->times,
                                  times_of(dev, s));
    }
    dev->recording = s;
    dev->recorded = 0;
    return 0;
}

static int submit(vulkan_device *dev, ls_error *err)
{
    vulkan_slot *s = dev->recording;
    const VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                     .srcAccessMask = WRITES,
                                     .dstAccessMask = VK_ACCESS_HOST_READ_BIT};
    if (!s)
        return 0;
    dev->vk.CmdPipelineBarrier(s->commands, STAGES, VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier, 0,
                               NULL, 0, NULL);
    if (dev->times)
        dev->vk.CmdWriteTimestamp(s->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, dev->times,
                                  times_of(dev, s) + 1);
    const uint64_t number = dev->submitted + 1;
    const VkTimelineSemaphoreSubmitInfo values = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &number,
    };
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .pNext = &values,
        .commandBufferCount = 1,
        .pCommandBuffers = &s->commands,
        .signalSemaphoreCount = 1,
        .pSignalSemaphores = &dev->done,
    };
    dev->recording = NULL;
    VkResult r = dev->lost ? VK_ERROR_DEVICE_LOST : dev->vk.EndCommandBuffer(s->commands);
    if (!r)
        r = dev->vk.QueueSubmit(dev->queue, 1, &info, VK_NULL_HANDLE);
    if (!r) {
        dev->submitted = s->number = number;
        s->work = dev->recorded;
    }
    return ls_vulkan_failed(dev, r, err, "be given work");
}

int ls_vulkan_record(vulkan_device *dev, double work, VkCommandBuffer *out, ls_error *err)
{
    const VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                     .srcAccessMask = WRITES,
                                     .dstAccessMask = WRITES | READS};
    int ret = 0;
    if (dev->recording && dev->recorded + work > PIECE * dev->speed)
        ret = submit(dev, err);
    if (!ret && !dev->recording)
        ret = begin(dev, err);
    if (ret)
        return ret;
    dev->recorded += work;
    *out = dev->recording->commands;
    dev->vk.CmdPipelineBarrier(*out, STAGES, STAGES, 0, 1, &barrier, 0, NULL, 0, NULL);
    return 0;
}

int ls_vulkan_wait(gpu_device *gpu, ls_error *err)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    const int ret = submit(dev, err);
    return ret ? ret : dev->submitted ? wait_for(dev, dev->submitted, err) : 0;
}

static int copy(vulkan_device *dev, const vulkan_block *to, VkDeviceSize to_offset,
                const vulkan_block *from, VkDeviceSize from_offset, size_t bytes, ls_error *err)
{
    VkCommandBuffer commands;
    if (!to || !from)
        return ls_fail(err, LS_EINVAL, "%zu bytes are not in memory of %s", bytes,
                       dev->gpu.base.info.name);
    const int ret = ls_vulkan_record(dev, (double)bytes, &commands, err);
    if (!ret)
        dev->vk.CmdCopyBuffer(commands, from->buffer, to->buffer, 1,
                              &(VkBufferCopy){from_offset, to_offset, bytes});
    return ret;
}

static int copy_to_card(vulkan_device *dev, gpu_address to, const void *pinned, size_t bytes,
                        ls_error *err)
{
    VkDeviceSize at, from;
    const vulkan_block *target = ls_vulkan_block_of(dev, to, bytes, &at);
    const vulkan_block *source = ls_vulkan_pinned_block_of(dev, pinned, bytes, &from);
    return copy(dev, target, at, source, from, bytes, err);
}

int ls_vulkan_send(gpu_device *gpu, gpu_ring *r, gpu_address to, const void *pinned, size_t bytes,
                   ls_error *err)
{
    (void)r;
    return copy_to_card(ls_vulkan_of(gpu), to, pinned, bytes, err);
}

int ls_vulkan_write(gpu_device *gpu, gpu_address to, const void *from, size_t bytes, ls_error *err)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    int ret = 0;
    for (size_t at = 0, part; !ret && at < bytes; at += part) {
        vulkan_staging *s = &dev->staging[dev->turn++ % 2];
        part = bytes - at < STAGING ? bytes - at : STAGING;
        if (s->used > dev->submitted)
            ret = submit(dev, err);
        const uint64_t used = s->used < dev->submitted ? s->used : dev->submitted;
        if (!ret && used)
            ret = wait_for(dev, used, err);
        if (ret)
            break;
        memcpy(s->memory, (const char *)from + at, part);
        ret = copy_to_card(dev, to + at, s->memory, part, err);
        s->used = dev->submitted + 1;
    }
    return ret;
}

int ls_vulkan_fetch(gpu_device *gpu, void *to, gpu_address from, size_t bytes, ls_error *err)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    VkDeviceSize at, start;
    const vulkan_block *target = ls_vulkan_pinned_block_of(dev, to, bytes, &at);
    const vulkan_block *source = ls_vulkan_block_of(dev, from, bytes, &start);
    return copy(dev, target, at, source, start, bytes, err);
}

int ls_vulkan_read(gpu_device *gpu, void *to, gpu_address from, size_t bytes, ls_error *err)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    int ret = ls_vulkan_wait(gpu, err); // then nothing uses the staging
    for (size_t at = 0, part; !ret && at < bytes; at += part) {
        part = bytes - at < STAGING ? bytes - at : STAGING;
        ret = ls_vulkan_fetch(gpu, dev->staging[0].memory, from + at, part, err);
        if (!ret)
            ret = ls_vulkan_wait(gpu, err);
        if (!ret)
            memcpy((char *)to + at, dev->staging[0].memory, part);
    }
    return ret;
}

int ls_vulkan_clear(gpu_device *gpu, gpu_address to, size_t bytes, ls_error *err)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    VkCommandBuffer commands;
    VkDeviceSize at;
    const vulkan_block *target = ls_vulkan_block_of(dev, to, bytes, &at);
    if (!target)
        return ls_fail(err, LS_EINVAL, "%zu bytes are not in memory of %s", bytes,
                       gpu->base.info.name);
    const int ret = ls_vulkan_record(dev, (double)bytes, &commands, err);
    if (!ret)
        dev->vk.CmdFillBuffer(commands, target->buffer, at, bytes, 0);
    return ret;
}

int ls_vulkan_mark(gpu_device *gpu, size_t i, ls_error *err)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    VkCommandBuffer commands;
    if (!dev->times)
        return 0;
    const int ret = ls_vulkan_record(dev, 0, &commands, err);
    if (ret)
        return ret;
    if (i == 0)
        dev->vk.CmdResetQueryPool(commands, dev->times, 0, MARKS);
    dev->vk.CmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, dev->times,
                              (uint32_t)i);
    return 0;
}

int ls_vulkan_elapsed(gpu_device *gpu, size_t i, double *seconds, ls_error *err)
{
    (void)err;
    *seconds = seconds_from(ls_vulkan_of(gpu), (uint32_t)i);
    return 0;
}

static VkResult create_queue(vulkan_device *dev)
{
    const vulkan_loader *vk = &dev->vk;
    const VkCommandPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
        .queueFamilyIndex = dev->family,
    };
    VkResult r = vk->CreateCommandPool(dev->device, &pool, NULL, &dev->pool);
    for (size_t i = 0; !r && i < VULKAN_SLOTS; i++) {
        const VkCommandBufferAllocateInfo buffer = {
            .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
            .commandPool = dev->pool,
            .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
            .commandBufferCount = 1,
        };
        r = vk->AllocateCommandBuffers(dev->device, &buffer, &dev->slots[i].commands);
    }
    const VkSemaphoreTypeCreateInfo type = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
        .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
    };
    const VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
                                             .pNext = &type};
    if (!r)
        r = vk->CreateSemaphore(dev->device, &semaphore, NULL, &dev->done);
    const VkQueryPoolCreateInfo times = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                         .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                         .queryCount = QUERIES};
    if (!r && dev->tick > 0)
        r = vk->CreateQueryPool(dev->device, &times, NULL, &dev->times);
    return r;
}

int ls_vulkan_open_queue(vulkan_device *dev, ls_error *err)
{
    int ret = ls_vulkan_failed(dev, create_queue(dev), err, "be given work");
    dev->speed = FIRST_SPEED;
    for (size_t i = 0; !ret && i < 2; i++)
        ret = ls_vulkan_pin(&dev->gpu, STAGING, &dev->staging[i].memory, err);
    return ret;
}

void ls_vulkan_close_queue(vulkan_device *dev)
{
    const vulkan_loader *vk = &dev->vk;
    for (size_t i = 0; i < 2; i++)
        ls_vulkan_unpin(&dev->gpu, dev->staging[i].memory, STAGING);
    if (dev->lost)
        return;
    if (dev->times)
        vk->DestroyQueryPool(dev->device, dev->times, NULL);
    if (dev->done)
        vk->DestroySemaphore(dev->device, dev->done, NULL);
    if (dev->pool)
        vk->DestroyCommandPool(dev->device, dev->pool, NULL);
}
