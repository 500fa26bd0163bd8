#include "tensor/dtype.h"

#include <stdio.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[LS_DTYPE_COUNT] = {
    [LS_F32] = {"float32", 4}, [LS_BF16] = {"bfloat16", 2}, [LS_F16] = {"float16", 2},
    [LS_F64] = {"float64", 8}, [LS_I64] = {"int64", 8},     [LS_I32] = {"int32", 4},
    [LS_I16] = {"int16", 2},   [LS_I8] = {"int8", 1},       [LS_U8] = {"uint8", 1},
    [LS_BOOL] = {"bool", 1},
};

size_t ls_dtype_size(ls_dtype t)
{
    return dtypes[t].size;
}

const char *ls_dtype_name(ls_dtype t)
{
    return dtypes[t].name;
}

const char *ls_shape_text(char *buf, size_t size, const size_t *shape, size_t ndim)
{
    size_t n = (size_t)snprintf(buf, size, "[");
    for (size_t i = 0; i < ndim && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%zu", i ? ", " : "", shape[i]);
    if (n < size)
        snprintf(buf + n, size - n, "]");
    return buf;
}

float ls_f16_to_f32(uint16_t v)
{
    uint32_t sign = (uint32_t)(v >> 15) << 31, exp = v >> 10 & 31, frac = v & 1023, u;
    if (exp == 31) {
        u = sign | 0x7f800000 | frac << 13;
    } else if (exp) {
        u = sign | (exp + 112) << 23 | frac << 13;
    } else {
        float f = (float)frac * 0x1p-24f; // zero and subnormals
        memcpy(&u, &f, 4);
        u |= sign;
    }
    float f;
    memcpy(&f, &u, 4);
    return f;
}

uint16_t ls_f32_to_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    uint32_t sign = u >> 16 & 0x8000, abs = u & 0x7fffffff;
    if (abs > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (abs >= 0x477ff000) // rounds to 65536 or more
        return (uint16_t)(sign | 0x7c00);
    if (abs < 0x38800000) { // below the smallest normal: adding 0.5 rounds at the right bit
        float g;
        memcpy(&g, &abs, 4);
        g += 0.5f;
        memcpy(&u, &g, 4);
        return (uint16_t)(sign | (u - 0x3f000000));
    }
    return (uint16_t)(sign | (abs - 0x38000000 + 0xfff + (abs >> 13 & 1)) >> 13);
}

void ls_convert_to_f32(float *dst, const void *src, ls_dtype t, size_t n)
{
    const uint8_t *s = src;
#define LS_EACH(type, expr)                                                                        \
    for (size_t i = 0; i < n; i++) {                                                               \
        type v;                                                                                    \
        memcpy(&v, s + i * sizeof v, sizeof v);                                                    \
        dst[i] = (expr);                                                                           \
    }                                                                                              \
    return;
    switch (t) {
    case LS_F32:
        memcpy(dst, src, n * 4);
        return;
    case LS_BF16:
        LS_EACH(uint16_t, ls_bf16_to_f32(v))
    case LS_F16:
        LS_EACH(uint16_t, ls_f16_to_f32(v))
    case LS_F64:
        LS_EACH(double, (float)v)
    case LS_I64:
        LS_EACH(int64_t, (float)v)
    case LS_I32:
        LS_EACH(int32_t, (float)v)
    case LS_I16:
        LS_EACH(int16_t, v)
    case LS_I8:
        LS_EACH(int8_t, v)
    case LS_U8:
        LS_EACH(uint8_t, v)
    case LS_BOOL:
        LS_EACH(uint8_t, v ? 1.0f : 0.0f)
    case LS_DTYPE_COUNT:
        return;
    }
#undef LS_EACH
}
