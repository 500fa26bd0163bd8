/* The table of a model's weights: every name with the shape that its configuration asks for. The
 * table is what the graph builder itself asks for: a builder that runs on an unbound table fills
 * it, and one that runs on a bound table is held to it. */
#ifndef LS_NN_PARAMS_H
#define LS_NN_PARAMS_H

#include "tensor/graph.h"
#include "weights/weights.h"

typedef struct ls_params ls_params;

ls_params *ls_params_new(void);
void ls_params_free(ls_params **p);

/* The weight of that name and shape. An unbound table adds it; a bound one gives NULL with an error
 * kept in the table (ls_params_error) when it is not there. Owned by the table. */
const ls_param *ls_params_get(ls_params *p, size_t ndim, const size_t *shape, const char *name);
int ls_params_error(const ls_params *p, ls_error *err);

/* Formula weights (ls_weights_open_formula) for every entry. Takes *p over, on success and on
 * failure. */
int ls_params_formula(ls_weights **out, ls_params **p, bool low_gain, const char *meta,
                      ls_error *err);

typedef struct ls_params_rules {
    /* Other names a weight may have in a file: writes the k-th one (k = 0, 1, ...) or returns
     * false. NULL for none. */
    bool (*alias)(const char *name, size_t k, char *buf, size_t size);
    /* Tensors of the file that the model has no use for. NULL: every extra tensor is an error. */
    bool (*ignore)(const char *name);
} ls_params_rules;

/* Ties every entry to its tensor in `w`, which must outlive the table. A missing, misshapen or
 * extra tensor is an error that names the file, the tensor, the shape expected and the shape found.
 */
int ls_params_bind(ls_params *p, ls_weights *w, const ls_params_rules *rules, ls_error *err);

#endif
