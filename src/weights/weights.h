/* One view of "named tensors" over every checkpoint format. */
#ifndef LS_WEIGHTS_WEIGHTS_H
#define LS_WEIGHTS_WEIGHTS_H

#include "base/error.h"
#include "base/sha256.h"
#include "tensor/dtype.h"

#include <stdbool.h>

typedef struct ls_weights ls_weights;

typedef struct ls_weight_info {
    const char *name; /* owned by the ls_weights */
    ls_dtype dtype;
    size_t ndim, shape[LS_MAX_DIMS];
    size_t count; /* elements: the product of the shape, checked */
} ls_weight_info;

/* Opens a checkpoint and reads its table of tensors; the format is detected from the content:
 *   safetensors; PyTorch zip ("torch.save" since 1.6); PyTorch legacy (consecutive pickles).
 * Tensors of a PyTorch file are named by their path of dictionary keys and list indices, joined by
 * ".", without a leading "state_dict" or "model_state_dict"; a file that is one bare tensor has
 * "tensor". Numbers, booleans (as 0, 1) and strings next to the tensors become metadata under their
 * path; None, bytes and dtypes are left out. Views, shared storages, parameters and expanded
 * tensors read as the values they represent.
 *
 * No code in a pickle is run. Errors: LS_EUNSUPPORTED for an opcode or global outside the fixed
 * list (such as those of numpy arrays, complex tensors and objects), a dtype not in ls_dtype, or
 * more than LS_MAX_DIMS dimensions; LS_EFORMAT for malformed or truncated files. On failure *out is
 * NULL, and err names the file, the fault and its place.
 *
 * Every offset, stride and product is checked against the file here, so that reads stay inside it;
 * a tensor may still have far more elements than the file has bytes (expanded by stride 0): check
 * shapes before allocating. The file is mapped, not read; *out owns the mapping. The file must not
 * shrink or be overwritten while it is open: reads notice a smaller file, but truncation during a
 * read raises SIGBUS, as with any mapping. Any thread; an ls_weights serves one at a time. */
int ls_weights_open(ls_weights **out, const char *path, ls_error *err);
void ls_weights_close(ls_weights **w);

/* Tensors in the order of the file (safetensors: of the data). */
size_t ls_weights_count(const ls_weights *w);
const ls_weight_info *ls_weights_at(const ls_weights *w, size_t i);
/* NULL if there is none of that name. */
const ls_weight_info *ls_weights_find(const ls_weights *w, const char *name);

/* Copies a tensor, contiguous in row-major order: in its own dtype, or converted to float32. `dst`
 * holds info->count elements; `info` is one of this `w`'s. The pages it touches are released again,
 * so reading a checkpoint tensor by tensor keeps none of it in memory. LS_EIO if the file has
 * shrunk. */
int ls_weights_read(ls_weights *w, const ls_weight_info *info, void *dst, ls_error *err);
int ls_weights_read_f32(ls_weights *w, const ls_weight_info *info, float *dst, ls_error *err);

/* Metadata: "dims.n_audio_head" of a Whisper checkpoint, "global_step", the strings of a
 * safetensors header's __metadata__. False or NULL if absent or of another type; a decimal integer
 * in a string can also be read as an integer, since safetensors has only strings. */
bool ls_weights_meta_int(const ls_weights *w, const char *key, int64_t *value);
const char *ls_weights_meta_text(const ls_weights *w, const char *key);

/* The path it was opened from, or "formula weights". */
const char *ls_weights_path(const ls_weights *w);
/* ls_digest_sample of the file as it was when this was first called. LS_EUNSUPPORTED where there is
 * no file. Any thread, at any time. */
int ls_weights_digest(ls_weights *w, uint8_t sha256[LS_SHA256_BYTES], ls_error *err);
/* The same with the file's size and time of change now: other bytes give another text. */
int ls_weights_identity(ls_weights *w, char *text, size_t size, ls_error *err);

/* A tensor's name and shape, as the models' tables give them. */
typedef struct ls_weight_spec {
    char name[200];
    size_t ndim, shape[4];
} ls_weight_spec;

/* The tests' stand-in for a checkpoint: float32 values that are a pure function of a tensor's name
 * and index (docs/MODEL.md, "Formula weights"): scale sqrt(3 / product of dims 1..) from two
 * dimensions on, 1 +- 0.1 for a one-dimensional ".weight" or ".running_var", 0.05 otherwise;
 * "*pos_encoder.pe" is the sinusoid of the motion modules. `low_gain` scales the first by 0.003
 * and the last by 0.01. Nothing is stored: tensors are computed when read, on the OpenMP team.
 * `specs` is copied. `meta` (may be NULL) is a JSON object of numbers and strings, possibly
 * nested, which becomes the metadata. */
int ls_weights_open_formula(ls_weights **out, const ls_weight_spec *specs, size_t count,
                            bool low_gain, const char *meta, ls_error *err);
/* One value stream of the formula: (2u - 1) * scale + offset for i = 0 .. n-1, in double, rounded
 * once; u from a hash of the name and i. */
void ls_formula_fill(const char *name, size_t n, double scale, double offset, float *dst);

/* Writers: one tensor at a time, with memory for the largest, to a temporary file next to `path`
 * that is synced and renamed when complete; on failure nothing is left and an older `path` is kept.
 * `dtype`, for floating-point tensors, is LS_F32, LS_F16 or LS_BF16; integers and booleans keep
 * theirs. Metadata is written too (safetensors: as strings). Equal tensors give identical files.
 * LS_ENOSPC for a full disk, LS_EIO, and the errors of ls_weights_read. */
int ls_weights_write_safetensors(const char *path, ls_weights *w, ls_dtype dtype, ls_error *err);
/* A PyTorch zip {..metadata of w.., dict_key: {name: tensor}}; `dict_key` is "state_dict" or
 * "model_state_dict". Readable by torch.load. */
int ls_weights_write_torch(const char *path, ls_weights *w, const char *dict_key, ls_dtype dtype,
                           ls_error *err);

#endif
