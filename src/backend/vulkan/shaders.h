/* The kernels, as glslc has compiled them: SPIR-V. */
#ifndef LS_BACKEND_VULKAN_SHADERS_H
#define LS_BACKEND_VULKAN_SHADERS_H

#include <stddef.h>
#include <stdint.h>

typedef struct ls_vulkan_shader {
    const uint32_t *words;
    size_t bytes;
} ls_vulkan_shader;

extern const ls_vulkan_shader ls_vulkan_elementwise, ls_vulkan_group_moments, ls_vulkan_group_apply,
    ls_vulkan_layer_norm, ls_vulkan_attention, ls_vulkan_attention_matrix,
    ls_vulkan_attention_short, ls_vulkan_product, ls_vulkan_product_matrix, ls_vulkan_product_sum,
    ls_vulkan_product_pad, ls_vulkan_product_vector;

#endif
