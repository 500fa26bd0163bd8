/* The table of a model's weights: every name with the shape that the configuration requires. The
 * graph builder defines it: running the builder on an unbound table fills it; on a bound table, its
 * requests are checked against it. */
#ifndef LS_NN_PARAMS_H
#define LS_NN_PARAMS_H

#include "tensor/graph.h"
#include "weights/weights.h"

typedef struct ls_params ls_params;

ls_params *ls_params_new(void);
void ls_params_free(ls_params **p);

/* The weight of that name and shape, owned by the table. An unbound table adds it; a bound one
 * returns NULL if it lacks it and records an error (ls_params_error). */
const ls_param *ls_params_get(ls_params *p, size_t ndim, const size_t *shape, const char *name);
int ls_params_error(const ls_params *p, ls_error *err);

/* Formula weights (ls_weights_open_formula) for every entry. Takes ownership of *p, on success and
 * on failure. */
int ls_params_formula(ls_weights **out, ls_params **p, bool low_gain, const char *meta,
                      ls_error *err);

typedef struct ls_params_rules {
    /* Other names a weight may have in a file: writes the k-th one (k = 0, 1, ...) or returns
     * false. NULL for none. */
    bool (*alias)(const char *name, size_t k, char *buf, size_t size);
    /* Tensors in the file that the model does not use. NULL: every extra tensor is an error. */
    bool (*ignore)(const char *name);
} ls_params_rules;

/* Binds every entry to its tensor in `w`, which must outlive the table. A missing, misshapen or
 * extra tensor is an error that names the file, the tensor, the shape expected and the shape found.
 */
int ls_params_bind(ls_params *p, ls_weights *w, const ls_params_rules *rules, ls_error *err);

#endif
