/* Golden tensors of tests/data: a reader of trusted safetensors files, and the formula that their
 * inputs come from. Everything asserts; pointers live until golden_close. */
#ifndef LS_GOLDEN_H
#define LS_GOLDEN_H

#include "test.h"

#include <jansson.h>
#include <math.h>

typedef struct golden {
    char *bytes;
    const char *data;
    json_t *header;
} golden;

static inline golden *golden_open(const char *name)
{
    char path[4096];
    FILE *f = fopen(test_data(path, name), "rb");
    if (!f)
        fail_msg("%s cannot be opened", path);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long size = ftell(f);
    assert_true(size > 8);
    rewind(f);
    golden *g = malloc(sizeof(*g));
    assert_non_null(g);
    g->bytes = malloc((size_t)size);
    assert_non_null(g->bytes);
    assert_int_equal(fread(g->bytes, 1, (size_t)size, f), (size_t)size);
    fclose(f);
    uint64_t n;
    memcpy(&n, g->bytes, 8);
    assert_true(n <= (uint64_t)size - 8);
    g->data = g->bytes + 8 + n;
    g->header = json_loadb(g->bytes + 8, n, 0, NULL);
    assert_non_null(g->header);
    return g;
}

static inline void golden_close(golden *g)
{
    json_decref(g->header);
    free(g->bytes);
    free(g);
}

/* NULL when the metadata has no such key. */
static inline const char *golden_meta(golden *g, const char *key)
{
    return json_string_value(json_object_get(json_object_get(g->header, "__metadata__"), key));
}

/* The number of dimensions. */
static inline size_t golden_shape(golden *g, const char *key, size_t shape[static 8])
{
    json_t *s = json_object_get(json_object_get(g->header, key), "shape"), *v;
    if (!s)
        fail_msg("no tensor %s", key);
    size_t i;
    json_array_foreach(s, i, v) shape[i] = (size_t)json_integer_value(v);
    return json_array_size(s);
}

static inline const void *golden_raw(golden *g, const char *key, const char *dtype, size_t size,
                                     size_t *count)
{
    json_t *t = json_object_get(g->header, key);
    if (!t)
        fail_msg("no tensor %s", key);
    assert_string_equal(json_string_value(json_object_get(t, "dtype")), dtype);
    json_t *o = json_object_get(t, "data_offsets");
    size_t from = (size_t)json_integer_value(json_array_get(o, 0));
    size_t to = (size_t)json_integer_value(json_array_get(o, 1));
    if (count)
        *count = (to - from) / size;
    return g->data + from;
}

/* `count` may be NULL. */
static inline const float *golden_f32(golden *g, const char *key, size_t *count)
{
    return golden_raw(g, key, "F32", 4, count);
}
static inline const double *golden_f64(golden *g, const char *key, size_t *count)
{
    return golden_raw(g, key, "F64", 8, count);
}
static inline const uint8_t *golden_u8(golden *g, const char *key, size_t *count)
{
    return golden_raw(g, key, "U8", 1, count);
}
static inline const int16_t *golden_i16(golden *g, const char *key, size_t *count)
{
    return golden_raw(g, key, "I16", 2, count);
}
static inline const int64_t *golden_i64(golden *g, const char *key, size_t *count)
{
    return golden_raw(g, key, "I64", 8, count);
}

/* The formula's values for `name`, i = 0 .. n-1. */
static inline void golden_fill(const char *name, size_t n, double scale, double offset, float *out)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (const char *c = name; *c; c++)
        h = (h ^ (uint8_t)*c) * 0x100000001b3u;
    for (size_t i = 0; i < n; i++) {
        uint64_t z = h + (i + 1) * 0x9E3779B97F4A7C15u;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        out[i] = (float)((2 * ((double)(z >> 40) * 0x1p-24) - 1) * scale + offset);
    }
}

/* The norm of the difference, relative to that of `want`. */
static inline double golden_error(const float *got, const float *want, size_t n)
{
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += pow((double)got[i] - (double)want[i], 2);
        norm += pow((double)want[i], 2);
    }
    return sqrt(diff / norm);
}

/* Pictures: `share` of the samples must be equal, none may differ by more than one level. */
static inline void golden_assert_u8(const char *what, const uint8_t *got, const uint8_t *want,
                                    size_t n, double share)
{
    size_t equal = 0;
    int worst = 0;
    for (size_t i = 0; i < n; i++) {
        int d = abs(got[i] - want[i]);
        equal += !d;
        worst = d > worst ? d : worst;
    }
    print_message("%s: max %d level(s), %.4f %% equal\n", what, worst, 100. * equal / n);
    assert_true(worst <= 1);
    assert_true(equal >= share * n);
}

#endif
