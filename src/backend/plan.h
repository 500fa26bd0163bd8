/* A compiled graph: kernels, and one arena in which every intermediate has a fixed offset. Running
 * allocates nothing. */
#ifndef LS_BACKEND_PLAN_H
#define LS_BACKEND_PLAN_H

#include "backend/device.h"
#include "base/cancel.h"

typedef struct ls_plan ls_plan;

/* Takes ownership of `g`, also on failure (*g becomes NULL). `st` must outlive the plan. */
int ls_plan_compile(ls_plan **out, ls_graph **g, ls_store *st, ls_error *err);
void ls_plan_close(ls_plan **p);

/* Exact number of bytes of the device's memory that a run needs for intermediates and working
 * memory, and where the process has another memory, for copies of inputs and outputs. */
size_t ls_plan_arena_bytes(const ls_plan *p);

/* Memory for an input or an output of the graph, dense and row-major: the process's, or for those
 * marked with ls_resident the device's. */
typedef struct ls_binding {
    const char *name;
    void *data;
    size_t bytes; /* must equal the tensor's size */
} ls_binding;

/* Runs every node in order, and waits. `arena` is ls_plan_arena_bytes of the device's memory; plans
 * that never run at the same time may share one. Every input and output must be bound.
 * LS_ECANCELED, between two nodes, once `cancel` (may be NULL) is set. */
int ls_plan_run(ls_plan *p, void *arena, const ls_binding *bindings, size_t count,
                const ls_cancel *cancel, ls_error *err);

/* Seconds spent in each kind of op since the plan was compiled, indexed by ls_op; 0 where measuring
 * would cost speed, unless the device is to profile. */
const double *ls_plan_op_seconds(const ls_plan *p);
/* The graph that was compiled, for the names and shapes of its inputs, outputs and taps. */
const ls_graph *ls_plan_graph(const ls_plan *p);

#endif
