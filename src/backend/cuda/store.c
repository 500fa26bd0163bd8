/* Weights on a card, each packed once, in a few large blocks. */
#include "backend/cuda/card.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

/* A store's bytes are known before any is taken, because blocks are all that it takes: of at least
 * as much as it has, within these limits, in the unit that the driver itself allots. */
#define BLOCK_LEAST ((size_t)2 << 20)
#define BLOCK_MOST ((size_t)64 << 20)
#define WEIGHT_ALIGN 256
/* Larger weights of a streamed store are sent for each use. */
#define RESIDENT_MOST ((size_t)64 << 10)

typedef struct block {
    struct block *next;
    cu_deviceptr memory; /* one of these two; none in a dry store */
    uint8_t *pinned;
    size_t bytes, used;
} block;

typedef struct pool {
    block *blocks;
    size_t bytes;
    bool pinned;
} pool;

struct cuda_weight {
    cuda_weight *next;
    cuda_store *store;
    const ls_param *param; /* these three say which it is */
    cuda_pack pack;
    size_t bytes;
    cu_deviceptr address; /* of a resident weight */
    uint8_t *pinned;      /* of a streamed one */
};

struct cuda_store {
    ls_store base;
    cuda_weight *weights;
    pool resident, streamed;
    cuda_ring ring;
    size_t node_bytes; /* of streamed weights, of the node that is being compiled */
};

static cuda_device *device_of(const cuda_store *st)
{
    return (cuda_device *)st->base.device;
}

static bool round_up(size_t bytes, size_t unit, size_t *out)
{
    const bool fits = ls_add_size(bytes, unit - 1, out);
    *out -= *out % unit;
    return fits;
}

static void count(cuda_store *st)
{
    st->base.bytes = st->resident.bytes + 2 * st->ring.half;
    st->base.pinned_bytes = st->streamed.bytes;
}

static int add_block(cuda_store *st, pool *p, size_t bytes, ls_error *err)
{
    size_t size = p->bytes < BLOCK_LEAST ? BLOCK_LEAST : p->bytes;
    size = size > BLOCK_MOST ? BLOCK_MOST : size;
    if (!round_up(bytes > size ? bytes : size, BLOCK_LEAST, &size))
        return ls_fail(err, LS_ENOMEM, "more than memory can hold");
    block *b = ls_calloc_array(1, sizeof *b);
    int ret = b ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret && !ls_store_is_dry(&st->base))
        ret = p->pinned ? ls_cuda_pinned_alloc(device_of(st), size, &b->pinned, err)
                        : ls_cuda_alloc(device_of(st), size, &b->memory, err);
    if (ret) {
        free(b);
        return ret;
    }
    b->bytes = size;
    b->next = p->blocks;
    p->blocks = b;
    p->bytes += size;
    return 0;
}

/* Gives `w` its memory, in the first block that has room. */
static int place(cuda_store *st, pool *p, cuda_weight *w, ls_error *err)
{
    size_t bytes;
    int ret = round_up(w->bytes, WEIGHT_ALIGN, &bytes)
                  ? 0
                  : ls_fail(err, LS_ENOMEM, "more than memory can hold");
    block *b = p->blocks;
    while (!ret && b && b->bytes - b->used < bytes)
        b = b->next;
    if (!ret && !b) {
        ret = add_block(st, p, bytes, err);
        b = p->blocks;
    }
    if (ret)
        return ret;
    if (b->memory)
        w->address = b->memory + b->used;
    if (b->pinned)
        w->pinned = b->pinned + b->used;
    b->used += bytes;
    return 0;
}

static void free_pool(cuda_store *st, pool *p)
{
    for (block *b = p->blocks, *next; b; b = next) {
        next = b->next;
        if (b->memory)
            device_of(st)->driver.cuMemFree(b->memory);
        ls_cuda_pinned_free(device_of(st), b->pinned, b->bytes);
        free(b);
    }
}

static void free_ring_memory(cuda_store *st)
{
    if (st->ring.memory) {
        ls_cuda_wait(device_of(st), NULL);
        device_of(st)->driver.cuMemFree(st->ring.memory);
    }
    st->ring.memory = 0;
    st->ring.half = st->ring.used = 0;
}

/* A half of the ring holds all weights of a node, so that none begins a half that it uses. */
static int grow_ring(cuda_store *st, size_t bytes, ls_error *err)
{
    cuda_ring *r = &st->ring;
    size_t half;
    if (!round_up(bytes, WEIGHT_ALIGN, &bytes) ||
        !ls_add_size(st->node_bytes, bytes, &st->node_bytes))
        return ls_fail(err, LS_ENOMEM, "more than memory can hold");
    if (st->node_bytes <= r->half)
        return 0;
    free_ring_memory(st);
    if (!round_up(st->node_bytes, BLOCK_LEAST / 2, &half) || half > SIZE_MAX / 2)
        return ls_fail(err, LS_ENOMEM, "more than memory can hold");
    const int ret =
        ls_store_is_dry(&st->base) ? 0 : ls_cuda_alloc(device_of(st), 2 * half, &r->memory, err);
    if (!ret)
        r->half = half;
    return ret;
}

/* Reads the weight, packs it and takes it to its place. */
static int fill(cuda_store *st, const cuda_weight *w, const void *opaque, ls_error *err)
{
    const ls_param *p = w->param;
    size_t bytes;
    float *values = ls_mul_size(p->count, sizeof *values, &bytes)
                        ? ls_aligned_alloc(LS_MEM_BACKEND, bytes)
                        : NULL;
    uint8_t *packed = w->pinned ? w->pinned : ls_aligned_alloc(LS_MEM_BACKEND, w->bytes);
    int ret = values && packed ? p->read(p, values, err) : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        w->pack(packed, w->bytes, values, p, opaque);
    if (!ret && !w->pinned)
        ret = ls_cuda_write(device_of(st), w->address, packed, w->bytes, err);
    if (!w->pinned)
        ls_aligned_free(packed);
    ls_aligned_free(values);
    return ret;
}

static cuda_weight *find(const cuda_store *st, const ls_param *p, size_t bytes, cuda_pack pack)
{
    cuda_weight *w = st->weights;
    while (w && (w->param != p || w->pack != pack || w->bytes != bytes))
        w = w->next;
    return w;
}

static bool is_streamed(const cuda_store *st, size_t bytes)
{
    return st->base.flags & LS_STORE_STREAMED && bytes > RESIDENT_MOST;
}

static int add_weight(cuda_store *st, cuda_weight *w, const void *opaque, ls_error *err)
{
    int ret = place(st, is_streamed(st, w->bytes) ? &st->streamed : &st->resident, w, err);
    if (!ret && !ls_store_is_dry(&st->base))
        ret = fill(st, w, opaque, err);
    if (ret)
        return ret;
    w->next = st->weights;
    st->weights = w;
    return 0;
}

int ls_cuda_weight(cuda_store *st, const ls_param *p, size_t bytes, cuda_pack pack,
                   const void *opaque, const cuda_weight **out, ls_error *err)
{
    int ret = 0;
    cuda_weight *w = find(st, p, bytes, pack);
    *out = NULL;
    if (!w) {
        w = ls_calloc_array(1, sizeof *w);
        if (!w)
            return ls_fail(err, LS_ENOMEM, "out of memory for %s", p->name);
        *w = (cuda_weight){.store = st, .param = p, .pack = pack, .bytes = bytes};
        ret = add_weight(st, w, opaque, err);
        if (ret)
            free(w);
    }
    if (!ret && is_streamed(st, bytes))
        ret = grow_ring(st, bytes, err);
    count(st);
    if (ret)
        return ls_fail_context(err, ret, "%s", p->name);
    *out = w;
    return 0;
}

void ls_cuda_begin_node(cuda_store *st)
{
    st->node_bytes = 0;
}

static void pack_vector(void *to, size_t bytes, const float *values, const ls_param *p,
                        const void *opaque)
{
    (void)p;
    (void)opaque;
    memcpy(to, values, bytes);
}

int ls_cuda_vector(cuda_store *st, const ls_param *p, const cuda_weight **out, ls_error *err)
{
    return ls_cuda_weight(st, p, p->count * sizeof(float), pack_vector, NULL, out, err);
}

/* Begins the other half, which the copies may fill once its last uses are over. */
static cu_result begin_half(cuda_device *dev, cuda_ring *r)
{
    dev->leaving = r;
    r->current = !r->current;
    r->used = 0;
    return dev->driver.cuStreamWaitEvent(dev->copies, r->left[r->current], 0);
}

static int send(cuda_device *dev, const cuda_weight *w, cuda_address *out, ls_error *err)
{
    const cuda_driver *d = &dev->driver;
    cuda_ring *r = &w->store->ring;
    cu_result result = 0;
    if (w->bytes > r->half - r->used)
        result = begin_half(dev, r);
    size_t bytes;
    round_up(w->bytes, WEIGHT_ALIGN, &bytes);
    *out = r->memory + r->current * r->half + r->used;
    r->used += bytes;
    if (!result)
        result = d->cuMemcpyHtoDAsync(*out, w->pinned, w->bytes, dev->copies);
    if (!result)
        result = d->cuEventRecord(r->sent, dev->copies);
    if (!result)
        result = d->cuStreamWaitEvent(dev->work, r->sent, 0);
    return ls_cuda_failed(dev, result, err, "be sent a weight");
}

int ls_cuda_weight_address(cuda_device *dev, const cuda_weight *w, cuda_address *out, ls_error *err)
{
    *out = w ? w->address : 0;
    return w && w->pinned ? send(dev, w, out, err) : 0;
}

int ls_cuda_leave_half(cuda_device *dev, ls_error *err)
{
    const cuda_ring *r = dev->leaving;
    dev->leaving = NULL;
    return r ? ls_cuda_failed(dev, dev->driver.cuEventRecord(r->left[!r->current], dev->work), err,
                              "be sent weights")
             : 0;
}

int ls_cuda_open_store(ls_device *base, unsigned flags, ls_store **out, ls_error *err)
{
    cuda_device *dev = (cuda_device *)base;
    int ret = ls_store_new(out, base, flags, sizeof(cuda_store), err);
    if (ret)
        return ret;
    cuda_store *st = (cuda_store *)*out;
    st->streamed.pinned = true;
    if (flags & LS_STORE_STREAMED && !ls_store_is_dry(&st->base))
        ret = ls_cuda_enter(dev, err);
    if (!ret && flags & LS_STORE_STREAMED && !ls_store_is_dry(&st->base)) {
        cu_event *const events[] = {&st->ring.left[0], &st->ring.left[1], &st->ring.sent};
        cu_result r = 0;
        for (size_t i = 0; !r && i < LS_COUNT(events); i++)
            r = dev->driver.cuEventCreate(events[i], CU_EVENT_NO_TIME);
        ret = ls_cuda_failed(dev, r, err, "be sent weights");
        ls_cuda_leave(dev);
    }
    if (ret)
        ls_store_close(out);
    return ret;
}

void ls_cuda_close_store(ls_store *base)
{
    cuda_store *st = (cuda_store *)base;
    cuda_device *dev = device_of(st);
    const cu_event events[] = {st->ring.left[0], st->ring.left[1], st->ring.sent};
    const bool entered = !ls_cuda_enter(dev, NULL);
    ls_cuda_wait(dev, NULL);
    free_ring_memory(st);
    free_pool(st, &st->resident);
    free_pool(st, &st->streamed);
    for (size_t i = 0; i < LS_COUNT(events); i++)
        if (events[i])
            dev->driver.cuEventDestroy(events[i]);
    if (entered)
        ls_cuda_leave(dev);
    for (cuda_weight *w = st->weights, *next; w; w = next) {
        next = w->next;
        free(w);
    }
}
