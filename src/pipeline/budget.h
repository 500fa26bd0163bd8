/* How much memory a job may hold, of the process and of each card, and how it runs to fit. */
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
    bool streamed;       /* weights are sent to the card for each use */
} ls_budget_choice;

enum { LS_ON_CPU = -1 };

/* Of a card's own memory, in bytes. */
typedef struct ls_budget_card {
    char model[sizeof((ls_device_info *)0)->model];
    uint64_t total, limit; /* that it has, and that the job may hold */
} ls_budget_card;

/* Where the networks run. With several cards for the same networks these are the first one's, with
 * the smallest limit of all. */
typedef struct ls_budget_place {
    int at[LS_NETWORKS]; /* places in `cards`, or LS_ON_CPU */
    ls_budget_card cards[LS_NETWORKS];
    size_t card_count;
    size_t copies; /* how many of each card there are, every one with all networks */
} ls_budget_place;

typedef struct ls_budget_card_memory {
    uint64_t weights, activations; /* exact */
    uint64_t resident;             /* of the sampler, exact */
    uint64_t context;              /* of the driver, with kernels and what they are sent */
    uint64_t total;
} ls_budget_card_memory;

/* What that holds at most, in bytes. All but the first four are estimated from the size of a frame,
 * by measurement (docs/PERFORMANCE.md). */
typedef struct ls_budget_memory {
    uint64_t weights, activations, buffers; /* as ls_generator_memory */
    uint64_t program;                       /* with its libraries */
    uint64_t flight, decode, window, encode, restore, detect;
    uint64_t total;
    uint64_t space; /* of addresses, in addition to what the process has mapped before */
    ls_budget_card_memory cards[LS_NETWORKS];
} ls_budget_memory;

typedef struct ls_budget_job {
    /* What the networks would take if they ran so, without packing or allocating. */
    int (*measure)(void *opaque, ls_generator_memory *out, const ls_generator_settings *s,
                   bool streamed, ls_error *err);
    void *opaque;
    ls_budget_place place;
    ls_generator_settings settings; /* vae_frames and split_guidance aside */
    const ls_video_info *video;
    uint64_t encoder; /* bytes, as ls_encoder_memory */
    bool turns;       /* the video plays backwards too, or may do so */
    bool detects;     /* detects faces */
    int cores;
    uint64_t space;  /* ls_address_space_left */
    bool whole_crop; /* is pasted: ls_stream_parts */
} ls_budget_job;

/* Whether an encoder of that many bytes may be opened, as a trial; if not, ls_budget_choose fails.
 */
bool ls_budget_allows_encoder(uint64_t encoder, uint64_t budget);

/* Whether those networks that are not on the CPU stream their weights. */
void ls_budget_stream(ls_models *models, bool streamed);
/* A `measure` whose `opaque` is the ls_models. Leaves them as ls_budget_stream does. */
int ls_budget_measure(void *models, ls_generator_memory *out, const ls_generator_settings *s,
                      bool streamed, ls_error *err);
/* Where the networks of `count` models run, all on equal devices, and how much each card may hold:
 * max_vram, or 90 % of what was free when it was opened. All is allocated before the first frame,
 * so what is left is for other programs to grow, such as the desktop that the card shows. */
ls_budget_place ls_budget_place_of(ls_models *const *models, size_t count, uint64_t max_vram);

/* The fastest way to run that fits into `budget`, into the address space that is left, and onto
 * each card. LS_ENOMEM, naming the least that would do, if there is none; *choice and *memory are
 * then the smallest. */
int ls_budget_choose(ls_budget_choice *choice, ls_budget_memory *memory, const ls_budget_job *job,
                     uint64_t budget, ls_error *err);

/* The choice in words, to the log. */
void ls_budget_report(const ls_budget_choice *choice, const ls_budget_memory *memory,
                      const ls_budget_place *place, uint64_t budget, const char *dtype,
                      const ls_log *log);

#endif
