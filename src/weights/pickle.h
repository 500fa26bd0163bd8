/* A reader of pickles that builds plain values and tensors, and runs nothing. It knows the opcodes
 * that Python's pickler writes for protocols 2 to 5 and a fixed list of globals; anything else is
 * an error that names it and its position. */
#ifndef LS_WEIGHTS_PICKLE_H
#define LS_WEIGHTS_PICKLE_H

#include "base/error.h"
#include "tensor/dtype.h"

#include <stdbool.h>

typedef struct ls_value ls_value;

typedef enum ls_value_kind {
    LS_VALUE_NONE,
    LS_VALUE_BOOL,
    LS_VALUE_INT,
    LS_VALUE_LONG, // an integer of more than 8 bytes, as little-endian bytes in `text`
    LS_VALUE_FLOAT,
    LS_VALUE_TEXT,
    LS_VALUE_BYTES,
    LS_VALUE_TUPLE,
    LS_VALUE_LIST,
    LS_VALUE_DICT, // keys and values alternate in `seq`
    LS_VALUE_GLOBAL,
    LS_VALUE_STORAGE,
    LS_VALUE_TENSOR,
    LS_VALUE_OTHER, // harmless but unused: torch.device, encoded bytes
    LS_VALUE_MARK,
} ls_value_kind;

typedef struct ls_text {
    const char *s; // not terminated; points into the pickle
    size_t n;
} ls_text;

typedef struct ls_storage {
    ls_text key;
    ls_dtype dtype;
    size_t numel;            // of the whole storage
    size_t view, view_numel; // the part that this one represents
    size_t offset;           // bytes from the start of the file; the container's to fill
    struct ls_storage *next;
} ls_storage;

typedef struct ls_view {
    ls_storage *storage;
    size_t offset, ndim, shape[LS_MAX_DIMS], stride[LS_MAX_DIMS]; // in elements, unchecked
} ls_view;

struct ls_value {
    ls_value_kind kind;
    union {
        int64_t integer; // and BOOL
        double real;
        ls_text text;
        struct {
            ls_value **items;
            size_t n, capacity;
        } seq;
        const struct ls_global *global;
        ls_storage *storage;
        ls_view *tensor;
    };
};

/* Values of any number of pickles, freed together. */
typedef struct ls_pickle ls_pickle;

ls_pickle *ls_pickle_new(void);
void ls_pickle_close(ls_pickle **p);

/* Reads the pickle at the start of `data`, which must outlive `p`. *used is its length. Values may
 * share parts and contain themselves, so code that walks them must bound depth and steps. Memory is
 * bounded by a constant multiple of the pickle's length, and by 256 MB in total. */
int ls_pickle_load(ls_pickle *p, const uint8_t *data, size_t size, const ls_value **out,
                   size_t *used, ls_error *err);

/* All storages seen so far, the most recent first. */
ls_storage *ls_pickle_storages(const ls_pickle *p);

#endif
