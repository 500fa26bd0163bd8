/* A job on a Slurm cluster: plan, an array of renders, and join; a preview is one task. */
#ifndef LS_SERVER_SLURM_H
#define LS_SERVER_SLURM_H

#include "latentsync/error.h"

#include <stdatomic.h>

/* Follows the job whose folder has slurm.json, until it has ended or *stop: prints the events of
 * "sync --progress json" and returns the exit status of sync. What was submitted is kept in the
 * folder, so that another call takes it up. When its parent has died it leaves all as it is; at
 * *stop it cancels what was submitted. The folder is one that all nodes share; what sbatch needs to
 * know beyond it is in its own environment variables (SBATCH_PARTITION and so on). */
int slurm_follow(const char *folder, const atomic_bool *stop);

/* Whether Slurm's commands are here; LS_EUNSUPPORTED. */
int slurm_find(ls_error *err);

#endif
