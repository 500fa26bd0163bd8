/* Convolutions and linear layers: which kernel computes one, its weights, its launches. */
#include "backend/gpu/gpu.h"
#include "backend/gpu/params/product.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

/* What tiles are chosen for, whatever the batch is: how many images there are at once by default
 * (16 frames, with and without guidance), and how many blocks keep a large card busy. */
#define IMAGES 32
#define BUSY_BLOCKS 256
/* A split is worth its sums' way through memory from so many steps on. */
#define MIN_SPLIT_STEPS 48
#define MAX_SPLITS 16

typedef struct operands {
    const gpu_weight *weight, *bias, *residual; /* NULL: none, or a value */
    product_finish finish;                      /* without addresses */
} operands;

typedef struct product_kernel {
    ls_kernel kernel;
    operands operands;
    product_params params; /* without addresses */
    gpu_function function;
    size_t blocks, splits, shared;
    product_pad_params pad; /* `from` is 0: x is used as it is */
    size_t partial;         /* where in scratch the sums are, behind what is padded */
} product_kernel;

typedef struct vector_kernel {
    ls_kernel kernel;
    operands operands;
    product_vector_params params; /* without addresses */
} vector_kernel;

typedef struct tile {
    gpu_function function;
    size_t rows, columns, blocks;
} tile;

static const tile tiles[] = {
#define LS_X(name, rows, columns, warp_rows, warp_columns, threads, blocks)                        \
    {GPU_product_##name, rows, columns, blocks},
    PRODUCT_TILES(LS_X)
#undef LS_X
};
enum { /* in `tiles` */
#define LS_X(name, ...) TILE_##name,
       PRODUCT_TILES(LS_X)
#undef LS_X
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t stored_channels(size_t channels)
{
    return ls_gpu_divide_up(channels, PRODUCT_CHUNK) * PRODUCT_CHUNK;
}

/* [Co, Ci, taps] -> float16 [Co, taps, Ci], zeros up to a multiple of PRODUCT_CHUNK. */
static void pack(void *to, size_t bytes, const float *values, const ls_param *p, const void *opaque)
{
    (void)opaque;
    const size_t outputs = p->shape[0], channels = p->shape[1];
    const size_t taps = p->count / outputs / channels, stored = stored_channels(channels);
    uint16_t *w = to;
    memset(w, 0, bytes);
    for (size_t o = 0; o < outputs; o++, w += taps * stored)
        for (size_t c = 0; c < channels; c++)
            for (size_t t = 0; t < taps; t++)
                w[t * stored + c] = ls_f32_to_f16(*values++);
}

static int unsupported(const ls_node *node, const char *what, ls_error *err)
{
    return ls_fail(err, LS_EUNSUPPORTED, "%s of %s on a card: %s", ls_op_name(node->op),
                   ls_dtype_name(node->in[0]->dtype), what);
}

static bool is_float(const ls_tensor *t)
{
    return t->dtype == LS_F32 || t->dtype == LS_F16;
}

static int find_operands(gpu_store *st, const ls_node *node, operands *o, ls_error *err)
{
    const ls_tensor *w = node->in[1], *bias = node->in[2], *residual = node->in[3];
    const size_t outputs = w->shape[0], rows = node->out->count / outputs;
    if (w->kind != LS_TENSOR_PARAM || !is_float(node->in[0]) || !is_float(node->out) ||
        (residual && !is_float(residual)))
        return unsupported(node, "operands are float16 or float32, and the matrix a weight", err);
    if (rows > INT32_MAX || outputs > INT32_MAX)
        return unsupported(node, "too large", err);
    o->finish = (product_finish){
        .rows = (uint32_t)rows,
        .outputs = (uint32_t)outputs,
        .act = (uint32_t)node->act,
        .act_last = node->op == LS_OP_CONV2D && node->u.conv.act_last,
        .out_float = node->out->dtype == LS_F32,
        .residual_float = residual && residual->dtype == LS_F32,
    };
    size_t bytes;
    if (!ls_mul_size(w->count / w->shape[1], stored_channels(w->shape[1]), &bytes) ||
        !ls_mul_size(bytes, sizeof(uint16_t), &bytes))
        return unsupported(node, "too large", err);
    int ret = ls_gpu_weight(st, w->param, bytes, pack, NULL, &o->weight, err);
    if (!ret && bias && bias->kind == LS_TENSOR_PARAM)
        ret = ls_gpu_vector(st, bias->param, &o->bias, err);
    if (!ret && residual && residual->kind == LS_TENSOR_PARAM)
        ret = ls_gpu_vector(st, residual->param, &o->residual, err);
    return ret;
}

/* The address of a weight, or of a value. */
static int place(gpu_device *dev, const gpu_weight *w, gpu_address value, gpu_address *out,
                 ls_error *err)
{
    *out = value;
    return w ? ls_gpu_weight_address(dev, w, out, err) : 0;
}

static int place_operands(gpu_device *dev, const operands *o, const gpu_places *at,
                          const uint16_t **weight, product_finish *f, ls_error *err)
{
    gpu_address w, bias = 0, residual = 0;
    int ret = place(dev, o->weight, 0, &w, err);
    if (!ret)
        ret = place(dev, o->bias, at->in[2], &bias, err);
    if (!ret)
        ret = place(dev, o->residual, at->in[3], &residual, err);
    if (ret)
        return ret;
    *weight = (const uint16_t *)(uintptr_t)w;
    *f = o->finish;
    f->out = (void *)(uintptr_t)at->out;
    f->bias = (const float *)(uintptr_t)bias;
    f->residual = (const void *)(uintptr_t)residual;
    f->bad = (uint32_t *)(uintptr_t)at->bad;
    return 0;
}

static int enqueue_pad(gpu_device *dev, const product_kernel *k, const gpu_places *at,
                       ls_error *err)
{
    product_pad_params p = k->pad;
    p.x = (const uint16_t *)(uintptr_t)at->in[0];
    p.out = (uint16_t *)(uintptr_t)at->scratch;
    const size_t chunks = (size_t)p.rows * (p.to / PRODUCT_CHUNK);
    const size_t grid[3] = {ls_gpu_divide_up(chunks, PRODUCT_SUM_THREADS), 1, 1};
    return ls_gpu_launch(dev, GPU_product_pad, grid, 0, &p, sizeof p, err);
}

static int enqueue_sum(gpu_device *dev, const product_kernel *k, const product_params *p,
                       ls_error *err)
{
    const product_sum_params sum = {p->finish, p->partial, (uint32_t)k->splits};
    const size_t count = (size_t)p->finish.rows * p->finish.outputs;
    const size_t threads = p->finish.outputs % PRODUCT_CHUNK ? count : count / PRODUCT_CHUNK;
    const size_t grid[3] = {ls_gpu_divide_up(threads, PRODUCT_SUM_THREADS), 1, 1};
    return ls_gpu_launch(dev, GPU_product_sum, grid, 0, &sum, sizeof sum, err);
}

static int enqueue_product(gpu_device *dev, const ls_kernel *kernel, const gpu_places *at,
                           ls_error *err)
{
    const product_kernel *k = (const product_kernel *)kernel;
    product_params p = k->params;
    int ret = place_operands(dev, &k->operands, at, &p.w, &p.finish, err);
    if (!ret && k->pad.from)
        ret = enqueue_pad(dev, k, at, err);
    if (ret)
        return ret;
    p.x = (const uint16_t *)(uintptr_t)(k->pad.from ? at->scratch : at->in[0]);
    p.partial = k->splits > 1 ? (float *)(uintptr_t)(at->scratch + k->partial) : NULL;
    const size_t grid[3] = {k->blocks, k->splits, 1};
    ret = ls_gpu_launch(dev, k->function, grid, k->shared, &p, sizeof p, err);
    return ret || k->splits == 1 ? ret : enqueue_sum(dev, k, &p, err);
}

static size_t blocks_of(const tile *t, size_t rows, size_t outputs)
{
    return ls_gpu_divide_up(rows, t->rows) * ls_gpu_divide_up(outputs, t->columns);
}

/* By what an image needs alone: results must not depend on how many there are. */
static const tile *choose(size_t image_rows, size_t outputs, size_t steps, size_t *splits)
{
    const size_t halves = ls_gpu_divide_up(outputs, 64), rows = image_rows * IMAGES;
    const bool wide = halves % 2 == 0 || halves > 8; /* little of 128 columns is wasted */
    const tile *const large = &tiles[wide ? TILE_128x128 : TILE_256x64];
    const size_t blocks = blocks_of(large, rows, outputs);
    *splits = 1;
    if (outputs <= tiles[TILE_128x8].columns)
        return &tiles[TILE_128x8];
    if (blocks < BUSY_BLOCKS && steps >= 2 * MIN_SPLIT_STEPS)
        *splits = smaller(smaller(ls_gpu_divide_up(BUSY_BLOCKS, blocks), steps / MIN_SPLIT_STEPS),
                          MAX_SPLITS);
    if (blocks >= BUSY_BLOCKS || *splits > 1)
        return large;
    const tile *const middle = &tiles[TILE_128x64];
    return blocks_of(middle, rows, outputs) >= BUSY_BLOCKS ? middle : &tiles[TILE_64x64];
}

/* As many stages as leave room for the blocks that are to share a multiprocessor; the order of sums
 * is the same with any. */
static size_t stages_of(const tile *t, size_t bytes, size_t shared)
{
    const size_t fit = shared / t->blocks / bytes;
    return fit < PRODUCT_MIN_STAGES   ? PRODUCT_MIN_STAGES
           : fit > PRODUCT_MAX_STAGES ? PRODUCT_MAX_STAGES
                                      : fit;
}

static void set_tile(gpu_store *st, product_kernel *k, size_t image_rows)
{
    product_params *p = &k->params;
    const size_t rows = k->operands.finish.rows, outputs = k->operands.finish.outputs;
    const size_t steps = p->taps * ls_gpu_divide_up(p->channels, PRODUCT_DEPTH);
    const tile *t = choose(image_rows, outputs, steps, &k->splits);
    const size_t stage = (t->rows + t->columns) * PRODUCT_DEPTH * sizeof(uint16_t);
    const size_t stages = stages_of(t, stage, ls_gpu_limits(st)->shared);
    k->function = t->function;
    k->blocks = blocks_of(t, rows, outputs);
    k->shared = stages * stage;
    p->row_tiles = (uint32_t)ls_gpu_divide_up(rows, t->rows);
    p->column_tiles = (uint32_t)ls_gpu_divide_up(outputs, t->columns);
    p->steps = (uint32_t)ls_gpu_divide_up(steps, k->splits);
    k->splits = ls_gpu_divide_up(steps, p->steps); /* none is empty */
    p->stages = (uint32_t)stages;
}

/* Bytes of scratch: x with its channels padded, then the sums of each split. */
static bool set_scratch(product_kernel *k, size_t pixels, size_t channels, size_t *scratch)
{
    const product_finish *f = &k->operands.finish;
    const size_t stored = stored_channels(channels);
    size_t chunks, sums, bytes = 0;
    if (!ls_mul_size(pixels, stored / PRODUCT_CHUNK, &chunks) || chunks > UINT32_MAX ||
        !ls_mul_size(f->rows, f->outputs, &sums) || (k->splits > 1 && sums > UINT32_MAX))
        return false;
    if (stored != channels) {
        k->pad = (product_pad_params){
            .rows = (uint32_t)pixels, .from = (uint32_t)channels, .to = (uint32_t)stored};
        bytes = ls_gpu_divide_up(chunks * PRODUCT_CHUNK * sizeof(uint16_t), LS_ALIGN) * LS_ALIGN;
    }
    k->partial = bytes;
    if (k->splits > 1 &&
        (!ls_mul_size(sums, k->splits * sizeof(float), &sums) || !ls_add_size(bytes, sums, &bytes)))
        return false;
    *scratch = bytes;
    return true;
}

/* `p` has the image and the window. */
static int compile_product(gpu_store *st, const ls_node *node, const product_params *p,
                           size_t image_rows, ls_kernel **out, size_t *scratch, ls_error *err)
{
    const size_t channels = node->in[1]->shape[1], outputs = node->in[1]->shape[0];
    const size_t stored = stored_channels(channels), pixels = node->in[0]->count / channels;
    size_t weights;
    if (node->in[0]->dtype != LS_F16)
        return unsupported(node, "images are float16", err);
    if (!ls_mul_size(outputs * p->taps, stored / PRODUCT_CHUNK, &weights) || weights > UINT32_MAX ||
        stored > INT32_MAX)
        return unsupported(node, "too large", err);
    product_kernel *k = (product_kernel *)ls_gpu_kernel_new(node, sizeof *k, enqueue_product);
    if (!k)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    k->params = *p;
    k->params.channels = (uint32_t)stored;
    int ret = find_operands(st, node, &k->operands, err);
    if (!ret) {
        set_tile(st, k, image_rows);
        if (!set_scratch(k, pixels, channels, scratch))
            ret = unsupported(node, "too large", err);
        k->kernel.functions = GPU_BIT(k->function) | (k->pad.from ? GPU_BIT(GPU_product_pad) : 0) |
                              (k->splits > 1 ? GPU_BIT(GPU_product_sum) : 0);
    }
    if (ret)
        free(k);
    else
        *out = &k->kernel;
    return ret;
}

int ls_gpu_compile_conv2d(gpu_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                          ls_error *err)
{
    const ls_window *win = &node->u.conv.window;
    const size_t *xs = node->in[0]->shape, *ys = node->out->shape;
    *out = NULL;
    *scratch = 0;
    if (node->u.conv.groups != 1)
        return unsupported(node, "groups", err);
    if (win->kernel[0] > PRODUCT_MAX_TAPS || win->kernel[1] > PRODUCT_MAX_TAPS / win->kernel[0])
        return unsupported(node, "a window of more than 32 pixels", err);
    for (int i = 0; i < 2; i++)
        if (xs[1 + i] > INT32_MAX || win->pad[i] > UINT16_MAX || win->stride[i] > UINT16_MAX)
            return unsupported(node, "too large", err);
    const product_params p = {
        .height = (uint32_t)xs[1],
        .width = (uint32_t)xs[2],
        .out_height = (uint32_t)ys[1],
        .out_width = (uint32_t)ys[2],
        .taps = (uint32_t)(win->kernel[0] * win->kernel[1]),
        .kernel_width = (uint32_t)win->kernel[1],
        .stride = {(uint16_t)win->stride[0], (uint16_t)win->stride[1]},
        .pad = {(uint16_t)win->pad[0], (uint16_t)win->pad[1]},
    };
    return compile_product(st, node, &p, ys[1] * ys[2], out, scratch, err);
}

static int enqueue_vector(gpu_device *dev, const ls_kernel *kernel, const gpu_places *at,
                          ls_error *err)
{
    const vector_kernel *k = (const vector_kernel *)kernel;
    product_vector_params p = k->params;
    const int ret = place_operands(dev, &k->operands, at, &p.w, &p.finish, err);
    if (ret)
        return ret;
    p.x = (const void *)(uintptr_t)at->in[0];
    const size_t warps = PRODUCT_VECTOR_THREADS / 32;
    const size_t grid[3] = {p.finish.rows, ls_gpu_divide_up(p.finish.outputs, warps), 1};
    return ls_gpu_launch(dev, GPU_product_vector, grid, 0, &p, sizeof p, err);
}

static int compile_vector(gpu_store *st, const ls_node *node, ls_kernel **out, ls_error *err)
{
    const size_t channels = node->in[1]->shape[1];
    if (channels > INT32_MAX)
        return unsupported(node, "too large", err);
    vector_kernel *k = (vector_kernel *)ls_gpu_kernel_new(node, sizeof *k, enqueue_vector);
    if (!k)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    k->params.channels = (uint32_t)channels;
    k->params.stored = (uint32_t)stored_channels(channels);
    k->params.x_float = node->in[0]->dtype == LS_F32;
    k->kernel.functions = GPU_BIT(GPU_product_vector);
    const int ret = find_operands(st, node, &k->operands, err);
    if (ret)
        free(k);
    else
        *out = &k->kernel;
    return ret;
}

int ls_gpu_compile_linear(gpu_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                          ls_error *err)
{
    const ls_tensor *x = node->in[0];
    const size_t rows = x->count / node->in[1]->shape[1], images = x->ndim > 1 ? x->shape[0] : 1;
    *out = NULL;
    *scratch = 0;
    if (x->dtype == LS_F32 || rows == images)
        return compile_vector(st, node, out, err);
    if (rows > INT32_MAX)
        return unsupported(node, "too large", err);
    const product_params p = {
        /* an image of one line */
        .height = 1, .width = (uint32_t)rows, .out_height = 1,  .out_width = (uint32_t)rows,
        .taps = 1,   .kernel_width = 1,       .stride = {1, 1},
    };
    return compile_product(st, node, &p, rows / images, out, scratch, err);
}
