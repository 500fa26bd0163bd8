/* Which devices the networks of a job run on: the option "device", and what becomes of it on a
 * machine. */
#ifndef LS_PIPELINE_DEVICE_CHOICE_H
#define LS_PIPELINE_DEVICE_CHOICE_H

#include "models/models.h"

#include <jansson.h>

#define LS_CARDS_MAX 16
#define LS_DEVICES_MAX (1 + LS_CARDS_MAX)
#define LS_DEVICE_NAME sizeof((ls_device_info *)0)->name

/* Of the UNet, the VAE and Whisper, in this order: "cpu", "cuda:N", "vulkan:N", or in a wish
 * also "cuda" and "vulkan", all cards of one model. */
typedef struct ls_device_names {
    char of[LS_NETWORKS][LS_DEVICE_NAME];
} ls_device_names;

/* What is asked for. */
typedef struct ls_device_wish {
    bool automatic;        /* what suits the machine */
    ls_device_names names; /* unless automatic */
    char model[96];        /* of the cards that "cuda" means; empty: that of the first card */
} ls_device_wish;

/* What that is here. The same networks on each of several cards, or once. */
typedef struct ls_device_choice {
    ls_device_names names[LS_CARDS_MAX];
    size_t count;
    char card[176]; /* the UNet's: model and version; empty: the CPU */
} ls_device_choice;

/* Reads the option. LS_EINVAL, naming the option and what is expected. */
int ls_device_wish_parse(ls_device_wish *w, const char *text, ls_error *err);
/* The kinds of device that a job was begun on, from its description; false if that has none. */
bool ls_device_wish_of_job(ls_device_wish *w, const json_t *description);

/* Finds the devices of a wish, an automatic one's being NVIDIA's cards, or where there are none,
 * discrete ones with Vulkan. Where they are not there or
 * cannot be used: LS_EINVAL or LS_EUNSUPPORTED, saying why and which there are. */
int ls_device_choice_find(ls_device_choice *p, const ls_device_wish *w, ls_error *err);
ls_device_choice ls_device_choice_cpu(void);
/* LS_EUNSUPPORTED if the CPU was measured to be faster than the cards of a choice (ls_tune). */
int ls_device_choice_worthwhile(const ls_device_choice *p, ls_error *err);

/* The number type of networks as settings name it, and as devices do; automatic: float32. */
ls_dtype ls_dtype_of(int compute_type);
int ls_compute_type_of(ls_dtype t);

/* How many of UNet and VAE run on the CPU. */
int ls_device_choice_on_cpu(const ls_device_choice *p);

/* "NVIDIA GeForce RTX 4090 (driver 550.54.14, CUDA 12.4, sm_89)", or "the CPU (oneDNN 2.6.3)", of
 * an object of ls_devices_describe. */
void ls_device_text(const json_t *device, char *text, size_t size);
/* What of the devices the last bits of a frame depend on, for the description of a job: an object
 * for each network, {"kind": "cuda", "model": .., "version": ..}. Which of several equal cards it
 * is, and how many there are, is no part of it. NULL: out of memory. */
json_t *ls_devices_describe(const ls_models *m);
/* The version that such an object has. */
void ls_device_version(const ls_device_info *info, char *text, size_t size);

#endif
