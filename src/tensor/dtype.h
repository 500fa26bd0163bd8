#ifndef LS_TENSOR_DTYPE_H
#define LS_TENSOR_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LS_MAX_DIMS 8

typedef enum ls_dtype {
    LS_F32,
    LS_BF16,
    LS_F16,
    LS_F64,
    LS_I64,
    LS_I32,
    LS_I16,
    LS_I8,
    LS_U8,
    LS_BOOL,
    LS_DTYPE_COUNT
} ls_dtype;

/* Bytes of one element. */
size_t ls_dtype_size(ls_dtype t);
/* "float32", "bfloat16", ... */
const char *ls_dtype_name(ls_dtype t);

/* "[2, 3, 4]" into buf; returns buf. */
const char *ls_shape_text(char *buf, size_t size, const size_t *shape, size_t ndim);

/* `n` contiguous elements of any dtype to float32; unaligned sources are allowed. */
void ls_convert_to_f32(float *dst, const void *src, ls_dtype t, size_t n);

static inline float ls_bf16_to_f32(uint16_t v)
{
    uint32_t u = (uint32_t)v << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* Round to nearest even; NaN stays NaN. */
static inline uint16_t ls_f32_to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float ls_f16_to_f32(uint16_t v);
/* Round to nearest even, overflow to infinity. */
uint16_t ls_f32_to_f16(float f);

#endif
