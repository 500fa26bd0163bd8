/* Shared by the readers of the formats. Included only in src/weights and the tests. */
#ifndef LS_WEIGHTS_INTERNAL_H
#define LS_WEIGHTS_INTERNAL_H

#include "weights/weights.h"

#include <jansson.h>
#include <pthread.h>

/* Where a tensor lies: element (i, j, ...) is at data + offset + (i*stride[0] + j*stride[1] + ...)
 * elements. */
typedef struct ls_weight_entry {
    ls_weight_info info; // first: callers hold a pointer to it
    size_t offset;       // bytes from the start of the file
    size_t stride[LS_MAX_DIMS];
} ls_weight_entry;

struct ls_weights {
    char *path;
    const uint8_t *data;
    size_t size;
    int fd; // of the mapping; -1: `data` is borrowed or there is none
    ls_weight_entry *entries;
    size_t count, capacity;
    const ls_weight_info **by_name; // sorted
    json_t *meta;                   // flat object: integers, reals, strings
    bool formula, low_gain;
    pthread_mutex_t lock; // of the digest
    bool has_digest;
    uint8_t sha256[LS_SHA256_BYTES];
};

/* As ls_weights_open, of an open file, of which it takes ownership, also on failure. */
int ls_weights_open_fd(ls_weights **out, int fd, const char *path, ls_error *err);

/* As ls_weights_open, over bytes that the caller keeps alive and unchanged until close. */
int ls_weights_open_memory(ls_weights **out, const char *name, const uint8_t *data, size_t size,
                           ls_error *err);

/* An empty ls_weights for a format that is not a file. */
ls_weights *ls_weights_new(const char *path);
/* Appends a tensor of a checked shape (sets info.count and info.name, a copy of `name_len`
 * arbitrary bytes). The caller checks offset and strides. */
int ls_weights_add(ls_weights *w, const ls_weight_entry *e, const char *name, size_t name_len,
                   ls_error *err);
/* Sorts the names, after the last ls_weights_add; a name that occurs twice is an error. */
int ls_weights_index(ls_weights *w, ls_error *err);

/* The product of a shape; false on overflow of `count` elements of 8 bytes. */
bool ls_shape_count(const size_t *shape, size_t ndim, size_t *count);
/* Fills entry->stride for a tensor stored contiguously in row-major order. */
void ls_contiguous(ls_weight_entry *e);

/* Formats: fill an ls_weights whose data and size are set. */
/* "F32" for LS_F32. */
const char *ls_safetensors_dtype(ls_dtype t);
int ls_safetensors_read(ls_weights *w, ls_error *err);
int ls_torch_zip_read(ls_weights *w, ls_error *err);
int ls_torch_legacy_read(ls_weights *w, ls_error *err);

/* A tensor of formula weights, in float32. */
void ls_formula_tensor(const ls_weight_info *info, bool low_gain, float *dst);

#endif
