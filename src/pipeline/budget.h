/* How much memory a job may hold, and how it runs to fit. */
#ifndef LS_PIPELINE_BUDGET_H
#define LS_PIPELINE_BUDGET_H

#include "base/log.h"
#include "media/video.h"
#include "pipeline/generator.h"

/* 70 % of what the machine and the cgroup have free, but no more than the address space that the
 * process has left; in bytes. */
uint64_t ls_budget_default(void);

/* LS_ENOMEM when the process's limit of address space does not even allow to open a job. */
int ls_budget_check_opening(ls_error *err);

/* How a job runs. The frames of its output do not depend on any of it. */
typedef struct ls_budget_choice {
    size_t frames;       /* in flight */
    size_t vae_frames;   /* in a call of the VAE */
    bool split_guidance; /* the UNet's batch rows one after the other */
    int workers;         /* threads that restore, at most */
    size_t window_bytes; /* of frames held to go backwards */
} ls_budget_choice;

/* What that holds at most, in bytes. All but the first four are estimated from the size of a frame,
 * by measurement (docs/PERFORMANCE.md). */
typedef struct ls_budget_memory {
    uint64_t weights, activations, buffers; /* as ls_generator_memory */
    uint64_t program;                       /* with its libraries */
    uint64_t flight, decode, window, encode, restore, detect;
    uint64_t total;
    uint64_t space; /* of addresses, in addition to what the process has mapped before */
} ls_budget_memory;

typedef struct ls_budget_job {
    ls_models *models;
    ls_generator_settings settings; /* vae_frames and split_guidance aside */
    const ls_video_info *video;
    uint64_t encoder; /* bytes, as ls_encoder_memory */
    bool turns;       /* the video plays backwards too, or may do so */
    bool detects;     /* detects faces */
    int cores;
    uint64_t space; /* ls_address_space_left */
} ls_budget_job;

/* Whether an encoder of that many bytes may be opened, as a trial; if not, ls_budget_choose fails.
 */
bool ls_budget_allows_encoder(uint64_t encoder, uint64_t budget);

/* The fastest way to run that fits into `budget`, and into the address space that is left.
 * LS_ENOMEM, naming the least that would do, if there is none; *choice and *memory are then the
 * smallest. */
int ls_budget_choose(ls_budget_choice *choice, ls_budget_memory *memory, const ls_budget_job *job,
                     uint64_t budget, ls_error *err);

/* The choice in words, to the log. */
void ls_budget_report(const ls_budget_choice *choice, const ls_budget_memory *memory,
                      uint64_t budget, const char *dtype, const ls_log *log);

#endif
