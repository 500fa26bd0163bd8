/* A reader of the part of Python's pickle format that torch.save writes. It builds plain values and
 * runs nothing: a fixed list of opcodes, and of globals that stand for tensors and containers;
 * anything else is refused by name. */
#ifndef LS_WEIGHTS_PICKLE_H
#define LS_WEIGHTS_PICKLE_H

#include "base/error.h"
#include "tensor/dtype.h"

#include <stdbool.h>

typedef enum ls_pickle_kind {
    LS_PICKLE_NONE,
    LS_PICKLE_BOOL,
    LS_PICKLE_INT,
    LS_PICKLE_FLOAT,
    LS_PICKLE_TEXT,
    LS_PICKLE_LIST, /* and tuple */
    LS_PICKLE_DICT, /* items: key, value, key, value, ... */
    LS_PICKLE_GLOBAL,
    LS_PICKLE_STORAGE,
    LS_PICKLE_TENSOR,
    LS_PICKLE_MARK
} ls_pickle_kind;

typedef struct ls_pickle_value ls_pickle_value;
struct ls_pickle_value {
    ls_pickle_kind kind;
    int64_t integer; /* also bool; of a tensor: offset in elements */
    double real;
    char *text; /* of a global: "module name"; of a storage: its key */
    ls_pickle_value **items;
    size_t count, capacity;
    /* storage and tensor */
    ls_dtype dtype;
    size_t numel;       /* of a storage */
    size_t view_offset; /* of a legacy storage that is a view: elements into the whole */
    size_t ndim, shape[LS_MAX_DIMS], strides[LS_MAX_DIMS];
    ls_pickle_value *storage; /* of a tensor */
    ls_pickle_value *next;    /* all values of one pickle */
};

typedef struct ls_pickle ls_pickle;

/* Reads one pickle from data[*at] on and moves *at past its end. The root belongs to *out. */
int ls_pickle_read(ls_pickle **out, const uint8_t *data, size_t size, size_t *at, ls_error *err);
void ls_pickle_free(ls_pickle **p);
const ls_pickle_value *ls_pickle_root(const ls_pickle *p);
/* A storage of that key that the pickle mentions, or NULL. */
const ls_pickle_value *ls_pickle_find_storage(const ls_pickle *p, const char *key);

#endif
