/* The models of an engine, lent to jobs. */
#ifndef LS_PIPELINE_ENGINE_H
#define LS_PIPELINE_ENGINE_H

#include "latentsync/engine.h"
#include "models/models.h"

typedef struct ls_model_request {
    const char *dir;
    ls_devices devices;
} ls_model_request;

/* The models asked for, opened now unless they are open and their files unchanged. They belong to
 * the engine; each of their networks' calls waits for its turn (nn/network.h), so several jobs may
 * use them. Errors as ls_models_open. Any thread. */
int ls_engine_borrow(ls_engine *e, const ls_model_request *r, ls_models **out, ls_error *err);
/* Sets *m to NULL; takes NULL. Any thread. */
void ls_engine_return(ls_engine *e, ls_models **m);

#endif
