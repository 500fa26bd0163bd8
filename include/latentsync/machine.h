/* What this machine offers, and the libraries underneath. */
#ifndef LATENTSYNC_MACHINE_H
#define LATENTSYNC_MACHINE_H

#include "latentsync/common.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes are 0 where unknown, UINT64_MAX where there is no limit. */
typedef struct ls_machine {
    size_t size; /* of this struct as the caller knows it */
    char cpu[128];
    char features[128];  /* "avx2 fma avx512", those that kernels use */
    int cores;           /* that this process may use, its cgroup's quota included */
    int compute_type;    /* what LS_COMPUTE_AUTO means here */
    double cgroup_cores; /* CPU quota; 0: none */
    uint64_t memory, available, cgroup_limit, cgroup_used;
    char no_card[1024];       /* empty, or why networks run on no card here unless it is named */
    char weights_cache[4096]; /* folder of packed weights; empty where there is none */
    uint64_t weights_cache_bytes;
    char choice[1100]; /* "cuda:0: WHY": the device that jobs are run on unless one is named */
} ls_machine;

/* A device that networks can run on. */
typedef struct ls_machine_device {
    size_t size;       /* of this struct as the caller knows it */
    char name[32];     /* "cpu", "cuda:0", "vulkan:0": what the option "device" takes */
    char model[128];   /* "NVIDIA GeForce RTX 4090" */
    char version[128]; /* what computes: "oneDNN 2.6.3", "driver 550.54.14, CUDA 12.4, sm_89" */
    int compute_type;  /* what LS_COMPUTE_AUTO means there */
    uint64_t memory, available; /* of its own; both 0 on the CPU, `available` where unknown */
    int is_unproven; /* 1: its kernels were tested on an emulator only, not on such a device */
    int is_software; /* 1: a card that the CPU imitates, slowly */
} ls_machine_device;

/* Fills what `size`, sizeof *m, covers. Any thread. */
LS_API void ls_machine_get(ls_machine *m, size_t size);

/* The devices, the CPU first. Fills what `size`, sizeof *d, covers; 0 past the last, and *d is as
 * it was. Any thread. */
LS_API int ls_machine_get_device(ls_machine_device *d, size_t size, size_t index);

/* The video encoders that a job may name; NULL past the last. Static storage; any thread. */
LS_API const char *ls_encoder_name(size_t index);

/* Versions of FFmpeg's libraries, "libavcodec 59.37.100". Static storage; any thread. */
LS_API const char *ls_codec_version(void);
/* Whether FFmpeg's own messages go to standard error. They are a setting of the process, which the
 * library leaves alone otherwise; FFmpeg's default is 1. */
LS_API void ls_codec_messages(int show);

#ifdef __cplusplus
}
#endif
#endif
