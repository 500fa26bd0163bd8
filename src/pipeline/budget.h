/* How much memory a job may hold, and what is done to fit into it. */
#ifndef LS_PIPELINE_BUDGET_H
#define LS_PIPELINE_BUDGET_H

#include "base/error.h"

#include <stdint.h>

/* 70 % of what the machine and the cgroup have free, in bytes. */
uint64_t ls_budget_default(void);

#endif
