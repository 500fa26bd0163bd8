#include "backend/gpu/cost.h"
#include "backend/gpu/params/attention.h"
#include "backend/gpu/params/elementwise.h"
#include "backend/gpu/params/norm.h"
#include "backend/gpu/params/product.h"

#include <string.h>

enum { HALF = 2 };

static gpu_cost product_cost(const product_params *p)
{
    const double rows = p->finish.rows, outputs = p->finish.outputs;
    const double depth = (double)p->taps * p->channels;
    const double pixels = rows / p->out_height / p->out_width * p->height * p->width;
    const double results =
        p->partial ? 0 : rows * outputs; /* product_sum has those of partial sums */
    return (gpu_cost){2 * rows * outputs * depth,
                      HALF * (pixels * p->channels + outputs * depth + results)};
}

static gpu_cost sum_cost(const product_sum_params *p)
{
    const double results = (double)p->finish.rows * p->finish.outputs;
    return (gpu_cost){0, results * (2.0 * p->splits * sizeof(float) + HALF)};
}

static gpu_cost pad_cost(const product_pad_params *p)
{
    return (gpu_cost){0, HALF * (double)p->rows * ((double)p->from + p->to)};
}

static gpu_cost vector_cost(const product_vector_params *p)
{
    return (gpu_cost){0, HALF * (double)p->finish.outputs * p->stored};
}

static gpu_cost attention_cost(const attention_params *p)
{
    const double rows = p->sequences * (double)p->channels;
    return (gpu_cost){4 * rows * p->queries * p->keys,
                      HALF * rows * (2.0 * p->queries + 2.0 * p->keys)};
}

static gpu_cost group_norm_cost(const group_norm_params *p, uint32_t batches, double passes)
{
    return (gpu_cost){0, passes * HALF * p->rows * p->columns * batches};
}

static gpu_cost layer_norm_cost(const layer_norm_params *p)
{
    return (gpu_cost){0, 2.0 * HALF * p->rows * p->columns};
}

gpu_cost ls_gpu_cost(const char *name, const void *params, const uint32_t grid[3], uint32_t threads)
{
    if (!strcmp(name, "product_sum"))
        return sum_cost(params);
    if (!strcmp(name, "product_pad"))
        return pad_cost(params);
    if (!strcmp(name, "product_vector"))
        return vector_cost(params);
    if (!strncmp(name, "product_", 8))
        return product_cost(params);
    if (!strncmp(name, "attention_", 10))
        return attention_cost(params);
    if (!strcmp(name, "group_moments"))
        return group_norm_cost(params, grid[2], 1);
    if (!strcmp(name, "group_apply"))
        return group_norm_cost(params, grid[2], 2);
    if (!strcmp(name, "layer_norm"))
        return layer_norm_cost(params);
    /* elementwise: eight elements a thread, of one operand and the result */
    return (gpu_cost){0, 2.0 * HALF * 8 * threads * grid[0] * grid[1] * grid[2]};
}
