/* Weights on a card, each packed once, in a few large blocks. */
#include "backend/gpu/card.h"
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
    gpu_address memory; /* one of these two; none in a dry store */
    uint8_t *pinned;
    size_t bytes, used;
} block;

typedef struct pool {
    block *blocks;
    size_t bytes;
    bool pinned;
} pool;

struct gpu_weight {
    gpu_weight *next;
    gpu_store *store;
    const ls_param *param; /* these three say which it is */
    gpu_pack pack;
    size_t bytes;
    gpu_address address; /* of a resident weight */
    uint8_t *pinned;     /* of a streamed one */
};

struct gpu_store {
    ls_store base;
    gpu_weight *weights;
    pool resident, streamed;
    gpu_ring ring;
    size_t node_bytes; /* of streamed weights, of the node that is being compiled */
};

static gpu_device *device_of(const gpu_store *st)
{
    return (gpu_device *)st->base.device;
}

static bool round_up(size_t bytes, size_t unit, size_t *out)
{
    const bool fits = ls_add_size(bytes, unit - 1, out);
    *out -= *out % unit;
    return fits;
}

static void count(gpu_store *st)
{
    st->base.bytes = st->resident.bytes + 2 * st->ring.half;
    st->base.pinned_bytes = st->streamed.bytes;
}

static int add_block(gpu_store *st, pool *p, size_t bytes, ls_error *err)
{
    gpu_device *dev = device_of(st);
    size_t size = p->bytes < BLOCK_LEAST ? BLOCK_LEAST : p->bytes;
    size = size > BLOCK_MOST ? BLOCK_MOST : size;
    if (!round_up(bytes > size ? bytes : size, BLOCK_LEAST, &size))
        return ls_fail(err, LS_ENOMEM, "more than memory can hold");
    block *b = ls_calloc_array(1, sizeof *b);
    int ret = b ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret && !ls_store_is_dry(&st->base))
        ret = p->pinned ? dev->api->pin(dev, size, &b->pinned, err)
                        : dev->api->alloc(dev, size, &b->memory, err);
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
static int place(gpu_store *st, pool *p, gpu_weight *w, ls_error *err)
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

static void free_pool(gpu_store *st, pool *p)
{
    gpu_device *dev = device_of(st);
    for (block *b = p->blocks, *next; b; b = next) {
        next = b->next;
        dev->api->release(dev, b->memory);
        dev->api->unpin(dev, b->pinned, b->bytes);
        free(b);
    }
}

static void free_ring_memory(gpu_store *st)
{
    gpu_device *dev = device_of(st);
    if (st->ring.memory) {
        dev->api->wait(dev, NULL);
        dev->api->release(dev, st->ring.memory);
    }
    st->ring.memory = 0;
    st->ring.half = st->ring.used = 0;
}

/* A half of the ring holds all weights of a node, so that none begins a half that it uses. */
static int grow_ring(gpu_store *st, size_t bytes, ls_error *err)
{
    gpu_ring *r = &st->ring;
    size_t half;
    if (!round_up(bytes, WEIGHT_ALIGN, &bytes) ||
        !ls_add_size(st->node_bytes, bytes, &st->node_bytes))
        return ls_fail(err, LS_ENOMEM, "more than memory can hold");
    if (st->node_bytes <= r->half)
        return 0;
    free_ring_memory(st);
    if (!round_up(st->node_bytes, BLOCK_LEAST / 2, &half) || half > SIZE_MAX / 2)
        return ls_fail(err, LS_ENOMEM, "more than memory can hold");
    gpu_device *dev = device_of(st);
    const int ret =
        ls_store_is_dry(&st->base) ? 0 : dev->api->alloc(dev, 2 * half, &r->memory, err);
    if (!ret)
        r->half = half;
    return ret;
}

/* Reads the weight, packs it and takes it to its place. */
static int fill(gpu_store *st, const gpu_weight *w, const void *opaque, ls_error *err)
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
        ret = device_of(st)->api->write(device_of(st), w->address, packed, w->bytes, err);
    if (!w->pinned)
        ls_aligned_free(packed);
    ls_aligned_free(values);
    return ret;
}

static gpu_weight *find(const gpu_store *st, const ls_param *p, size_t bytes, gpu_pack pack)
{
    gpu_weight *w = st->weights;
    while (w && (w->param != p || w->pack != pack || w->bytes != bytes))
        w = w->next;
    return w;
}

static bool is_streamed(const gpu_store *st, size_t bytes)
{
    return st->base.flags & LS_STORE_STREAMED && bytes > RESIDENT_MOST;
}

static int add_weight(gpu_store *st, gpu_weight *w, const void *opaque, ls_error *err)
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

int ls_gpu_weight(gpu_store *st, const ls_param *p, size_t bytes, gpu_pack pack, const void *opaque,
                  const gpu_weight **out, ls_error *err)
{
    int ret = 0;
    gpu_weight *w = find(st, p, bytes, pack);
    *out = NULL;
    if (!w) {
        w = ls_calloc_array(1, sizeof *w);
        if (!w)
            return ls_fail(err, LS_ENOMEM, "out of memory for %s", p->name);
        *w = (gpu_weight){.store = st, .param = p, .pack = pack, .bytes = bytes};
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

void ls_gpu_begin_node(gpu_store *st)
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

int ls_gpu_vector(gpu_store *st, const ls_param *p, const gpu_weight **out, ls_error *err)
{
    return ls_gpu_weight(st, p, p->count * sizeof(float), pack_vector, NULL, out, err);
}

/* Begins the other half, which the copies may fill once its last uses are over. */
static int begin_half(gpu_device *dev, gpu_ring *r, ls_error *err)
{
    dev->leaving = r;
    r->current = !r->current;
    r->used = 0;
    return dev->api->begin_half(dev, r, err);
}

static int send(gpu_device *dev, const gpu_weight *w, gpu_address *out, ls_error *err)
{
    gpu_ring *r = &w->store->ring;
    int ret = 0;
    if (w->bytes > r->half - r->used)
        ret = begin_half(dev, r, err);
    size_t bytes;
    round_up(w->bytes, WEIGHT_ALIGN, &bytes);
    *out = r->memory + r->current * r->half + r->used;
    r->used += bytes;
    return ret ? ret : dev->api->send(dev, r, *out, w->pinned, w->bytes, err);
}

int ls_gpu_weight_address(gpu_device *dev, const gpu_weight *w, gpu_address *out, ls_error *err)
{
    *out = w ? w->address : 0;
    return w && w->pinned ? send(dev, w, out, err) : 0;
}

int ls_gpu_leave_half(gpu_device *dev, ls_error *err)
{
    const gpu_ring *r = dev->leaving;
    dev->leaving = NULL;
    return r ? dev->api->leave_half(dev, r, err) : 0;
}

int ls_gpu_open_store(ls_device *base, unsigned flags, ls_store **out, ls_error *err)
{
    gpu_device *dev = (gpu_device *)base;
    int ret = ls_store_new(out, base, flags, sizeof(gpu_store), err);
    if (ret)
        return ret;
    gpu_store *st = (gpu_store *)*out;
    st->streamed.pinned = true;
    if (flags & LS_STORE_STREAMED && !ls_store_is_dry(&st->base)) {
        ret = dev->api->enter(dev, err);
        if (!ret) {
            ret = dev->api->open_ring(dev, &st->ring, err);
            dev->api->leave(dev);
        }
    }
    if (ret)
        ls_store_close(out);
    return ret;
}

void ls_gpu_close_store(ls_store *base)
{
    gpu_store *st = (gpu_store *)base;
    gpu_device *dev = device_of(st);
    const bool entered = !dev->api->enter(dev, NULL);
    dev->api->wait(dev, NULL);
    free_ring_memory(st);
    free_pool(st, &st->resident);
    free_pool(st, &st->streamed);
    dev->api->close_ring(dev, &st->ring);
    if (entered)
        dev->api->leave(dev);
    for (gpu_weight *w = st->weights, *next; w; w = next) {
        next = w->next;
        free(w);
    }
}
