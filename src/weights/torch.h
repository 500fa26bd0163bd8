/* From unpickled values to the table of tensors. */
#ifndef LS_WEIGHTS_TORCH_H
#define LS_WEIGHTS_TORCH_H

#include "weights/internal.h"
#include "weights/pickle.h"

/* Finds where a storage's bytes start in the file and checks that none are missing; sets
 * storage->offset. */
typedef int (*ls_locate_fn)(void *opaque, ls_storage *storage, ls_error *err);

/* Adds every tensor under `top`, and the numbers and strings next to them as metadata. */
int ls_torch_collect(ls_weights *w, const ls_value *top, ls_locate_fn locate, void *opaque,
                     ls_error *err);

#endif
