/* The inside of the weights module: an open file, and how the format readers fill it. */
#ifndef LS_WEIGHTS_FILE_H
#define LS_WEIGHTS_FILE_H

#include "weights/weights.h"

#include <jansson.h>

/* Where a tensor's elements are: in the file's mapping. */
typedef struct ls_weight_source {
    size_t offset;               /* bytes */
    size_t strides[LS_MAX_DIMS]; /* elements */
} ls_weight_source;

struct ls_weights {
    char *path;
    const uint8_t *map;
    size_t map_size;
    bool mapped; /* by mmap; otherwise the caller's memory, or none */
    ls_weight_info *infos;
    ls_weight_source *sources;
    size_t count, capacity;
    size_t *by_name; /* indices in the order of names; made by ls_weights_seal */
    json_t *meta;    /* flat: dotted path -> integer, real or string */
    bool formula, low_gain;
};

/* Adds a tensor that lies in the mapping; `strides` NULL means contiguous. Every element is checked
 * to lie within [begin, end) of the mapping. `name` is copied. */
int ls_weights_add(ls_weights *w, const char *name, ls_dtype dtype, size_t ndim,
                   const size_t *shape, size_t offset, const size_t *strides, size_t begin,
                   size_t end, ls_error *err);
/* Sorts the names; two of one name are an error. */
int ls_weights_seal(ls_weights *w, ls_error *err);

/* A weights object over memory of the caller's, which must outlive it. `path` is for messages. */
int ls_weights_open_memory(ls_weights **out, const void *data, size_t size, const char *path,
                           ls_error *err);

/* The formats. Each fills `w` from w->map and is not called for another's first bytes. */
bool ls_is_torch_zip(const uint8_t *data, size_t size);
bool ls_is_torch_legacy(const uint8_t *data, size_t size);
int ls_read_torch_zip(ls_weights *w, ls_error *err);
int ls_read_torch_legacy(ls_weights *w, ls_error *err);
int ls_read_safetensors(ls_weights *w, ls_error *err);

/* The values of tensor `info` of a formula object. */
void ls_formula_read(const ls_weights *w, const ls_weight_info *info, float *dst);

#endif
