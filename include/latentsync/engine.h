/* An engine holds opened models for any number of jobs: the second job of a model starts at once
 * and adds no copy of its weights. */
#ifndef LATENTSYNC_ENGINE_H
#define LATENTSYNC_ENGINE_H

#include "latentsync/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ls_engine ls_engine;

/* Opens nothing yet: models are opened for the first job that names them, and kept until
 * ls_engine_trim or ls_engine_close. On failure *out is NULL; LS_ENOMEM. */
LS_API int ls_engine_open(ls_engine **out, ls_error *err);
/* Only when no job uses it any more. Sets *engine to NULL; takes NULL. */
LS_API void ls_engine_close(ls_engine **engine);

/* Closes the models that no open job uses. Any thread. */
LS_API void ls_engine_trim(ls_engine *engine);
/* How many models are open, one for each directory, device, compute type and number of threads, and
 * how many bytes their packed weights take; waits for the denoising steps that are being computed.
 * `weight_bytes` may be NULL. Any thread. */
LS_API size_t ls_engine_models(ls_engine *engine, uint64_t *weight_bytes);

#ifdef __cplusplus
}
#endif
#endif
