/* What a Vulkan device is to do, recorded and submitted in pieces that take it some 50 ms: cards
 * that also drive a screen would make it wait, and their systems end what takes seconds. */
#include "backend/vulkan/card.h"
#include "base/alloc.h"

#include <stdlib.h>
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
        dev->lost ? dev->lost
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

static const VkCommandBufferBeginInfo once = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                              .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};

static int begin(vulkan_device *dev, ls_error *err)
{
    vulkan_slot *s = &dev->slots[dev->submitted % VULKAN_SLOTS];
    int ret = s->number ? wait_for(dev, s->number, err) : 0;
    if (ret)
        return ret;
    learn(dev, s);
    const VkResult r = dev->lost ? dev->lost : dev->vk.BeginCommandBuffer(s->commands, &once);
    ret = ls_vulkan_failed(dev, r, err, "be given work");
    if (ret)
        return ret;
    if (dev->times) {
        dev->vk.CmdResetQueryPool(s->commands, dev->times, times_of(dev, s), 2);
        dev->vk.CmdWriteTimestamp(s->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, dev->times,
                                  times_of(dev, s));
    }
    dev->recording = s;
    dev->recorded = 0;
    s->copying = false;
    return 0;
}

/* Of what the slot's work, submission `number`, waits for. */
static VkResult submit_copies(vulkan_device *dev, const vulkan_slot *s, uint64_t number)
{
    const VkPipelineStageFlags stages = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    const VkTimelineSemaphoreSubmitInfo values = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .waitSemaphoreValueCount = 1,
        .pWaitSemaphoreValues = &dev->copy_after,
        .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &number,
    };
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .pNext = &values,
        .waitSemaphoreCount = 1,
        .pWaitSemaphores = &dev->done,
        .pWaitDstStageMask = &stages,
        .commandBufferCount = 1,
        .pCommandBuffers = &s->copies,
        .signalSemaphoreCount = 1,
        .pSignalSemaphores = &dev->copied,
    };
    const VkResult r = dev->vk.EndCommandBuffer(s->copies);
    return r ? r : dev->vk.QueueSubmit(dev->copy_queue, 1, &info, VK_NULL_HANDLE);
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
    const VkPipelineStageFlags stages = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    const VkTimelineSemaphoreSubmitInfo values = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .waitSemaphoreValueCount = s->copying,
        .pWaitSemaphoreValues = &number,
        .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &number,
    };
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .pNext = &values,
        .waitSemaphoreCount = s->copying,
        .pWaitSemaphores = &dev->copied,
        .pWaitDstStageMask = &stages,
        .commandBufferCount = 1,
        .pCommandBuffers = &s->commands,
        .signalSemaphoreCount = 1,
        .pSignalSemaphores = &dev->done,
    };
    dev->recording = NULL;
    VkResult r = dev->lost ? dev->lost : dev->vk.EndCommandBuffer(s->commands);
    if (!r && s->copying)
        r = submit_copies(dev, s, number);
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

/* Between the card's memory and pinned memory, in one direction. */
typedef struct transfer {
    const vulkan_block *card, *pinned;
    VkDeviceSize at, pinned_at;
} transfer;

static int find_blocks(const vulkan_device *dev, transfer *t, gpu_address card, const void *pinned,
                       size_t bytes, ls_error *err)
{
    t->card = ls_vulkan_block_of(dev, card, bytes, &t->at);
    t->pinned = ls_vulkan_pinned_block_of(dev, pinned, bytes, &t->pinned_at);
    return t->card && t->pinned ? 0
                                : ls_fail(err, LS_EINVAL, "%zu bytes are not in memory of %s",
                                          bytes, dev->gpu.base.info.name);
}

static void copy_to_card(const vulkan_device *dev, VkCommandBuffer commands, const transfer *t,
                         size_t bytes)
{
    dev->vk.CmdCopyBuffer(commands, t->pinned->buffer, t->card->buffer, 1,
                          &(VkBufferCopy){t->pinned_at, t->at, bytes});
}

/* left[h]: the submission after which half h may be overwritten. */
int ls_vulkan_open_ring(gpu_device *gpu, gpu_ring *r, ls_error *err)
{
    (void)gpu;
    r->driver = ls_calloc_array(2, sizeof(uint64_t));
    return r->driver ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
}

void ls_vulkan_close_ring(gpu_device *gpu, gpu_ring *r)
{
    (void)gpu;
    free(r->driver);
}

/* What uses the other half is submitted without waiting for the copies to this one. */
int ls_vulkan_begin_half(gpu_device *gpu, gpu_ring *r, ls_error *err)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    const uint64_t left = ((const uint64_t *)r->driver)[r->current];
    const int ret = submit(dev, err);
    dev->copy_after = left > dev->copy_after ? left : dev->copy_after;
    return ret;
}

int ls_vulkan_send(gpu_device *gpu, gpu_ring *r, gpu_address to, const void *pinned, size_t bytes,
                   ls_error *err)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    transfer t;
    (void)r;
    int ret = find_blocks(dev, &t, to, pinned, bytes, err);
    if (!ret && !dev->recording)
        ret = begin(dev, err);
    if (!ret && !dev->recording->copying)
        ret = ls_vulkan_failed(dev, dev->vk.BeginCommandBuffer(dev->recording->copies, &once), err,
                               "be sent weights");
    if (ret)
        return ret;
    dev->recording->copying = true;
    copy_to_card(dev, dev->recording->copies, &t, bytes);
    return 0;
}

int ls_vulkan_leave_half(gpu_device *gpu, const gpu_ring *r, ls_error *err)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    const int ret = submit(dev, err);
    ((uint64_t *)r->driver)[!r->current] = dev->submitted;
    return ret;
}

/* Begins the other staging, once it is copied. */
static int turn_staging(vulkan_device *dev, ls_error *err)
{
    dev->turn = !dev->turn;
    vulkan_staging *s = &dev->staging[dev->turn];
    s->filled = 0;
    const int ret = s->used > dev->submitted ? submit(dev, err) : 0;
    return ret || !s->used ? ret : wait_for(dev, s->used, err);
}

/* What is small shares the staging, so that it is submitted together. */
int ls_vulkan_write(gpu_device *gpu, gpu_address to, const void *from, size_t bytes, ls_error *err)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    int ret = 0;
    for (size_t at = 0, part; !ret && at < bytes; at += part) {
        VkCommandBuffer commands;
        transfer t;
        if (dev->staging[dev->turn].filled >= STAGING)
            ret = turn_staging(dev, err);
        vulkan_staging *s = &dev->staging[dev->turn];
        uint8_t *memory = s->memory + s->filled;
        part = bytes - at < STAGING - s->filled ? bytes - at : STAGING - s->filled;
        if (!ret)
            ret = find_blocks(dev, &t, to + at, memory, part, err);
        if (!ret)
            ret = ls_vulkan_record(dev, (double)part, &commands, err);
        if (ret)
            break;
        memcpy(memory, (const char *)from + at, part);
        copy_to_card(dev, commands, &t, part);
        s->used = dev->submitted + 1;
        s->filled += (part + 15) / 16 * 16;
    }
    return ret;
}

int ls_vulkan_fetch(gpu_device *gpu, void *to, gpu_address from, size_t bytes, ls_error *err)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    VkCommandBuffer commands;
    transfer t;
    int ret = find_blocks(dev, &t, from, to, bytes, err);
    if (!ret)
        ret = ls_vulkan_record(dev, (double)bytes, &commands, err);
    if (!ret)
        dev->vk.CmdCopyBuffer(commands, t.card->buffer, t.pinned->buffer, 1,
                              &(VkBufferCopy){t.at, t.pinned_at, bytes});
    return ret;
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

static VkResult create_pool(const vulkan_device *dev, uint32_t family, VkCommandPool *out)
{
    const VkCommandPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
        .queueFamilyIndex = family,
    };
    return dev->vk.CreateCommandPool(dev->device, &pool, NULL, out);
}

static VkResult create_commands(const vulkan_device *dev, VkCommandPool pool, VkCommandBuffer *out)
{
    const VkCommandBufferAllocateInfo buffer = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    return dev->vk.AllocateCommandBuffers(dev->device, &buffer, out);
}

static VkResult create_queue(vulkan_device *dev)
{
    const vulkan_loader *vk = &dev->vk;
    VkResult r = create_pool(dev, dev->family, &dev->pool);
    if (!r)
        r = create_pool(dev, dev->copy_family, &dev->copy_pool);
    for (size_t i = 0; !r && i < VULKAN_SLOTS; i++) {
        r = create_commands(dev, dev->pool, &dev->slots[i].commands);
        if (!r)
            r = create_commands(dev, dev->copy_pool, &dev->slots[i].copies);
    }
    const VkSemaphoreTypeCreateInfo type = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
        .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
    };
    const VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
                                             .pNext = &type};
    if (!r)
        r = vk->CreateSemaphore(dev->device, &semaphore, NULL, &dev->done);
    if (!r)
        r = vk->CreateSemaphore(dev->device, &semaphore, NULL, &dev->copied);
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
    if (dev->copied)
        vk->DestroySemaphore(dev->device, dev->copied, NULL);
    if (dev->pool)
        vk->DestroyCommandPool(dev->device, dev->pool, NULL);
    if (dev->copy_pool)
        vk->DestroyCommandPool(dev->device, dev->copy_pool, NULL);
}
