/* The kernels of a Vulkan device: each is compiled for it when it is first needed, and kept in the
 * user's cache folder. */
#include "backend/vulkan/card.h"
#include "backend/vulkan/shaders.h"
#include "backend/gpu/cost.h"
#include "backend/gpu/params/attention.h"
#include "backend/gpu/params/elementwise.h"
#include "backend/gpu/params/norm.h"
#include "backend/gpu/params/product.h"
#include "base/alloc.h"
#include "base/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PARAMS_MOST 128 /* bytes of push constants that every device has */
#define CACHE_MOST ((long)16 << 20)
#define FOLD 32768               /* blocks beyond so many in x are in z: see kernels/common.glsl */
#define MATRIX_SHARED_MOST 2048u /* chunks of 16 bytes in shared memory, of kernels of matrices */
enum { CONSTANTS = 10 };
enum { ROWS, COLUMNS, PART_ROWS, PART_COLUMNS }; /* constants of products */
enum { WIDTH, QUERIES, ODD = 4 };                /* of attention */
enum { MATRIX = 6 };                             /* of kernels of matrices */

_Static_assert(sizeof(product_params) <= PARAMS_MOST && sizeof(product_sum_params) <= PARAMS_MOST &&
                   sizeof(product_vector_params) <= PARAMS_MOST &&
                   sizeof(attention_params) <= PARAMS_MOST &&
                   sizeof(elementwise_params) <= PARAMS_MOST &&
                   sizeof(group_norm_params) <= PARAMS_MOST &&
                   sizeof(layer_norm_params) <= PARAMS_MOST,
               "every device takes them as push constants");

/* How a kernel is made of its source: its threads, and what that has as specialisation constants
 * 1 .. */
typedef struct shape {
    uint32_t threads, constants[CONSTANTS];
} shape;

/* `small`, if there is one, is for what the CPU imitates, where long code costs more time to be
 * compiled than it saves. `matrix`, if there is one, is the source for devices with matrix units.
 */
typedef struct recipe {
    const char *name;
    const ls_vulkan_shader *shader, *matrix;
    shape usual, small;
} recipe;

/* rows, columns, those of a thread's part */
#define PRODUCT(rows, columns, threads, part_rows, part_columns, small_columns, matrix)            \
    {                                                                                              \
        "product_" #rows "x" #columns, &ls_vulkan_product, matrix,                                 \
            {threads, {rows, columns, part_rows, part_columns}},                                   \
        {                                                                                          \
            rows *columns / (4 * small_columns),                                                   \
            {                                                                                      \
                rows, columns, 4, small_columns                                                    \
            }                                                                                      \
        }                                                                                          \
    }
/* width, queries of a block, threads that share one of them, keys in shared memory, odd widths */
#define ATTENTION(name, width, queries, lanes, keys, odd, matrix)                                  \
    {                                                                                              \
#name, &ls_vulkan_attention, matrix, {256, {width, queries, lanes, keys, odd, 4 } },       \
        {                                                                                          \
            256,                                                                                   \
            {                                                                                      \
                width, queries, lanes, keys, odd, 1                                                \
            }                                                                                      \
        }                                                                                          \
    }
#define OTHER(name, source, threads, constant)                                                     \
    {                                                                                              \
#name, &ls_vulkan_##source, NULL, {threads, {constant } },                                 \
        {                                                                                          \
            0,                                                                                     \
            {                                                                                      \
                0                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }
#define ELEMENTWISE(name, op) OTHER(name, elementwise, ELEMENTWISE_THREADS, op)

static const recipe recipes[GPU_FUNCTION_COUNT] = {
    [GPU_activate] = ELEMENTWISE(activate, 0),
    [GPU_add] = ELEMENTWISE(add, 1),
    [GPU_cast_to_half] = ELEMENTWISE(cast_to_half, 2),
    [GPU_cast_to_float] = ELEMENTWISE(cast_to_float, 3),
    [GPU_geglu] = ELEMENTWISE(geglu, 4),
    [GPU_concat] = ELEMENTWISE(concat, 5),
    [GPU_upsample] = ELEMENTWISE(upsample, 6),
    [GPU_timestep] = ELEMENTWISE(timestep, 7),
    [GPU_group_moments] = OTHER(group_moments, group_moments, NORM_THREADS, 0),
    [GPU_group_apply] = OTHER(group_apply, group_apply, NORM_THREADS, 0),
    [GPU_layer_norm] = OTHER(layer_norm, layer_norm, NORM_THREADS, 0),
    [GPU_attention_16] = ATTENTION(attention_16, 16, 128, 2, 64, 1, &ls_vulkan_attention_matrix),
    [GPU_attention_40] = ATTENTION(attention_40, 40, 128, 2, 64, 0, &ls_vulkan_attention_matrix),
    [GPU_attention_64] = ATTENTION(attention_64, 64, 128, 2, 64, 0, &ls_vulkan_attention_matrix),
    [GPU_attention_80] = ATTENTION(attention_80, 80, 128, 4, 32, 0, &ls_vulkan_attention_matrix),
    [GPU_attention_160] = ATTENTION(attention_160, 160, 64, 8, 32, 0, &ls_vulkan_attention_matrix),
    [GPU_attention_odd] = ATTENTION(attention_odd, 160, 64, 8, 32, 1, &ls_vulkan_attention_matrix),
    [GPU_attention_wide] = ATTENTION(attention_wide, 512, 64, 8, 8, 0, NULL),
    [GPU_attention_short_16] = OTHER(attention_short_16, attention_short, 128, 16),
    [GPU_attention_short_32] = OTHER(attention_short_32, attention_short, 128, 32),
    [GPU_product_128x128] = PRODUCT(128, 128, 256, 8, 8, 4, &ls_vulkan_product_matrix),
    [GPU_product_256x64] = PRODUCT(256, 64, 256, 8, 8, 4, &ls_vulkan_product_matrix),
    [GPU_product_128x64] = PRODUCT(128, 64, 128, 8, 8, 4, &ls_vulkan_product_matrix),
    [GPU_product_64x64] = PRODUCT(64, 64, 128, 4, 8, 4, &ls_vulkan_product_matrix),
    [GPU_product_128x8] = PRODUCT(128, 8, 128, 8, 1, 1, NULL),
    [GPU_product_sum] = OTHER(product_sum, product_sum, PRODUCT_SUM_THREADS, 0),
    [GPU_product_pad] = OTHER(product_pad, product_pad, PRODUCT_SUM_THREADS, 0),
    [GPU_product_vector] = OTHER(product_vector, product_vector, PRODUCT_VECTOR_THREADS, 0),
};

/* The shape of a product whose parts are a subgroup's. They have as many elements for each thread
 * as without matrix units, and are square or twice as high as wide. False where matrices do not
 * fit. */
static bool product_of_matrices(const shape *s, const vulkan_matrix *m, shape *out)
{
    const uint32_t rows = s->constants[ROWS], columns = s->constants[COLUMNS];
    const uint32_t part = rows * columns / s->threads * m->lanes;
    uint32_t part_rows = 1;
    while (part_rows * part_rows < part)
        part_rows *= 2;
    const uint32_t part_columns = part / part_rows;
    *out = (shape){s->threads,
                   {rows, columns, part_rows, part_columns, [MATRIX] = m->rows, m->columns,
                    m->depth, m->lanes}};
    return s->threads % m->lanes == 0 && part_columns && rows % part_rows == 0 &&
           columns % part_columns == 0 && part_rows % m->rows == 0 &&
           part_columns % m->columns == 0 && PRODUCT_DEPTH % m->depth == 0 &&
           s->threads / m->lanes * m->rows * part_columns / 4 <= MATRIX_SHARED_MOST;
}

/* Subgroups have sixteen queries each; wide heads have fewer, and keys and values in one place. */
static bool attention_of_matrices(const shape *s, const vulkan_matrix *m, shape *out)
{
    enum { PART = 16, KEYS = 32, WIDE = 80 };
    const uint32_t whole = m->columns > m->depth ? m->columns : m->depth;
    const uint32_t width = (s->constants[WIDTH] + whole - 1) / whole * whole;
    const uint32_t subgroups = width > WIDE ? 2 : 4, places = width > WIDE ? 1 : 2;
    const uint32_t queries = s->constants[QUERIES], pitch = width / 8 + 1;
    *out = (shape){subgroups * m->lanes,
                   {width, queries, PART, KEYS, s->constants[ODD], places, m->rows, m->columns,
                    m->depth, m->lanes}};
    return PART % m->rows == 0 && m->columns % 8 == 0 && m->columns <= KEYS / 2 &&
           KEYS % m->columns == 0 && m->depth % 8 == 0 && KEYS % m->depth == 0 &&
           width % m->columns == 0 && width % m->depth == 0 && m->lanes <= PART * KEYS / 8 &&
           (m->lanes % PART == 0 || PART % m->lanes == 0) && queries % (subgroups * PART) == 0 &&
           subgroups * PART * (pitch + KEYS / 4 + 1) + places * KEYS * pitch <= MATRIX_SHARED_MOST;
}

static bool of_matrices(const recipe *k, const vulkan_matrix *m, shape *out)
{
    return k->matrix == &ls_vulkan_attention_matrix ? attention_of_matrices(&k->usual, m, out)
                                                    : product_of_matrices(&k->usual, m, out);
}

bool ls_vulkan_takes_matrix(const vulkan_matrix *m, uint32_t subgroups)
{
    shape s;
    for (size_t i = 0; i < GPU_FUNCTION_COUNT; i++)
        if (recipes[i].matrix &&
            (!of_matrices(&recipes[i], m, &s) || s.threads / m->lanes > subgroups))
            return false;
    return true;
}

static bool uses_matrix(const vulkan_device *dev, const recipe *k)
{
    return dev->matrix.rows && k->matrix;
}

static shape shape_of(const vulkan_device *dev, const recipe *k)
{
    shape s = dev->gpu.base.info.software && k->small.threads ? k->small : k->usual;
    if (uses_matrix(dev, k))
        of_matrices(k, &dev->matrix, &s);
    return s;
}

static VkResult build(const vulkan_device *dev, const recipe *k, VkPipeline *out)
{
    const vulkan_loader *vk = &dev->vk;
    const bool matrix = uses_matrix(dev, k);
    const ls_vulkan_shader *shader = matrix ? k->matrix : k->shader;
    const VkShaderModuleCreateInfo module = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = shader->bytes,
        .pCode = shader->words,
    };
    const shape s = shape_of(dev, k);
    uint32_t data[1 + CONSTANTS] = {s.threads};
    VkSpecializationMapEntry entries[1 + CONSTANTS];
    for (uint32_t i = 0; i < LS_COUNT(entries); i++)
        entries[i] = (VkSpecializationMapEntry){i, i * 4, 4};
    memcpy(data + 1, s.constants, sizeof s.constants);
    const VkSpecializationInfo constants = {LS_COUNT(entries), entries, sizeof data, data};
    const VkPipelineShaderStageRequiredSubgroupSizeCreateInfo size = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = matrix ? dev->matrix.lanes : dev->subgroup,
    };
    const bool sized = matrix || (dev->sized_subgroups && shader == &ls_vulkan_attention);
    VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .flags = VK_PIPELINE_CREATE_DISPATCH_BASE_BIT,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = sized ? &size : NULL,
                  .flags = sized ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .pName = "main",
                  .pSpecializationInfo = &constants},
        .layout = dev->layout,
    };
    VkResult r = vk->CreateShaderModule(dev->device, &module, NULL, &info.stage.module);
    if (!r)
        r = vk->CreateComputePipelines(dev->device, dev->cache, 1, &info, NULL, out);
    if (info.stage.module)
        vk->DestroyShaderModule(dev->device, info.stage.module, NULL);
    return r;
}

/* `f`, and beside it what else is expected: a driver's compiler uses one thread for each. If one of
 * those fails, it is tried again when it is launched. */
static int build_expected(vulkan_device *dev, gpu_function f, ls_error *err)
{
    gpu_function missing[GPU_FUNCTION_COUNT] = {f};
    VkResult results[GPU_FUNCTION_COUNT];
    size_t count = 1;
    for (gpu_function g = 0; g < GPU_FUNCTION_COUNT; g++)
        if (g != f && (dev->expected & GPU_BIT(g)) && !dev->pipelines[g])
            missing[count++] = g;
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t i = 0; i < count; i++)
        results[i] = build(dev, &recipes[missing[i]], &dev->pipelines[missing[i]]);
    const int ret = ls_vulkan_failed(dev, results[0], err, "compile a kernel");
    return ret ? ls_fail_context(err, ret, "%s", recipes[f].name) : 0;
}

void ls_vulkan_expect(gpu_device *gpu, uint32_t functions)
{
    ls_vulkan_of(gpu)->expected |= functions;
}

int ls_vulkan_launch(gpu_device *gpu, gpu_function f, const size_t grid[3], size_t shared,
                     const void *params, size_t size, ls_error *err)
{
    vulkan_device *dev = ls_vulkan_of(gpu);
    const vulkan_loader *vk = &dev->vk;
    const uint32_t blocks[3] = {(uint32_t)grid[0], (uint32_t)grid[1], (uint32_t)grid[2]};
    const uint32_t layers = blocks[0] / FOLD, rest = blocks[0] % FOLD;
    VkCommandBuffer commands;
    (void)shared;
    if (grid[0] > INT32_MAX || grid[1] > UINT16_MAX || grid[2] > UINT16_MAX ||
        (layers && grid[2] > 1))
        return ls_fail(err, LS_EINVAL, "%zu x %zu x %zu blocks are more than Vulkan allows",
                       grid[0], grid[1], grid[2]);
    int ret = dev->pipelines[f] ? 0 : build_expected(dev, f, err);
    if (ret)
        return ret;
    const gpu_cost cost =
        ls_gpu_cost(recipes[f].name, params, blocks, shape_of(dev, &recipes[f]).threads);
    ret = ls_vulkan_record(dev, cost.flops + 16 * cost.bytes, &commands, err);
    if (ret)
        return ret;
    vk->CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, dev->pipelines[f]);
    vk->CmdPushConstants(commands, dev->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, (uint32_t)size,
                         params);
    if (layers)
        vk->CmdDispatchBase(commands, 0, 0, 0, FOLD, blocks[1], layers);
    if (rest)
        vk->CmdDispatchBase(commands, 0, 0, layers, rest, blocks[1], blocks[2]);
    return 0;
}

/* "latentsync/vulkan-0123..ef", of this device and driver. */
static int cache_path(const vulkan_device *dev, char *path, size_t size, bool make, ls_error *err)
{
    VkPhysicalDeviceProperties2 p = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    char name[32 + 2 * VK_UUID_SIZE] = "latentsync/vulkan-";
    size_t n = strlen(name);
    dev->vk.GetPhysicalDeviceProperties2(dev->physical, &p);
    for (size_t i = 0; i < VK_UUID_SIZE; i++, n += 2)
        snprintf(name + n, sizeof name - n, "%02x", p.properties.pipelineCacheUUID[i]);
    return ls_cache_path(path, size, name, make, err);
}

/* The file's bytes, to be freed; NULL where there is none that can be used. */
static void *read_cache(const vulkan_device *dev, size_t *bytes)
{
    char path[LS_PATH_SIZE];
    void *data = NULL;
    *bytes = 0;
    if (cache_path(dev, path, sizeof path, false, NULL))
        return NULL;
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    const long size = fseek(f, 0, SEEK_END) ? -1 : ftell(f);
    if (size > 0 && size <= CACHE_MOST && !fseek(f, 0, SEEK_SET))
        data = malloc((size_t)size);
    if (data && fread(data, 1, (size_t)size, f) == (size_t)size)
        *bytes = (size_t)size;
    fclose(f);
    return data;
}

/* Failure is no reason to tell anybody: the kernels are compiled again next time. */
static void write_cache(vulkan_device *dev)
{
    char path[LS_PATH_SIZE], aside[LS_PATH_SIZE + 16];
    size_t bytes = 0, built = 0;
    for (size_t f = 0; f < GPU_FUNCTION_COUNT; f++)
        built += dev->pipelines[f] != VK_NULL_HANDLE;
    if (!built || dev->vk.GetPipelineCacheData(dev->device, dev->cache, &bytes, NULL) ||
        bytes <= dev->cached || bytes > (size_t)CACHE_MOST ||
        cache_path(dev, path, sizeof path, true, NULL))
        return;
    void *data = malloc(bytes);
    snprintf(aside, sizeof aside, "%s.%d", path, (int)getpid());
    FILE *f = data && !dev->vk.GetPipelineCacheData(dev->device, dev->cache, &bytes, data)
                  ? fopen(aside, "wb")
                  : NULL;
    if (f) {
        const bool whole = fwrite(data, 1, bytes, f) == bytes;
        if (fclose(f) || !whole || rename(aside, path))
            remove(aside);
    }
    free(data);
}

int ls_vulkan_open_pipelines(vulkan_device *dev, ls_error *err)
{
    const VkPushConstantRange params = {VK_SHADER_STAGE_COMPUTE_BIT, 0, PARAMS_MOST};
    const VkPipelineLayoutCreateInfo layout = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .pushConstantRangeCount = 1,
        .pPushConstantRanges = &params,
    };
    void *data = read_cache(dev, &dev->cached);
    VkPipelineCacheCreateInfo cache = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                       .initialDataSize = dev->cached,
                                       .pInitialData = data};
    VkResult r = dev->vk.CreatePipelineCache(dev->device, &cache, NULL, &dev->cache);
    free(data);
    if (!r)
        r = dev->vk.CreatePipelineLayout(dev->device, &layout, NULL, &dev->layout);
    return ls_vulkan_failed(dev, r, err, "be opened");
}

void ls_vulkan_close_pipelines(vulkan_device *dev)
{
    if (dev->lost)
        return;
    if (dev->cache) {
        write_cache(dev);
        dev->vk.DestroyPipelineCache(dev->device, dev->cache, NULL);
    }
    for (size_t f = 0; f < GPU_FUNCTION_COUNT; f++)
        if (dev->pipelines[f])
            dev->vk.DestroyPipeline(dev->device, dev->pipelines[f], NULL);
    if (dev->layout)
        dev->vk.DestroyPipelineLayout(dev->device, dev->layout, NULL);
}
