/* The networks of one job: faces of a chunk of frames in, faces with new lips out. */
#ifndef LS_PIPELINE_GENERATOR_H
#define LS_PIPELINE_GENERATOR_H

#include "diffusion/sampler.h"
#include "face/mask.h"
#include "models/models.h"
#include "models/whisper/features.h"

#define LS_CHUNK_FRAMES 16

/* How many chunks have these frames. */
static inline uint64_t ls_chunks_of(uint64_t frames)
{
    return (frames + LS_CHUNK_FRAMES - 1) / LS_CHUNK_FRAMES;
}

typedef struct ls_generator_settings {
    size_t resolution;
    ls_sampler_settings sampler;
    uint64_t seed;
    size_t vae_frames; /* 1 .. LS_CHUNK_FRAMES: per call of the VAE; the result is the same */
} ls_generator_settings;

typedef struct ls_generator_memory {
    /* In the process's memory: */
    size_t weights;     /* packed, and those that are streamed */
    size_t activations; /* the workspace that networks share */
    size_t buffers;     /* of the generator, the sampler and the audio features */
    /* Wherever it is: */
    ls_network_memory networks[LS_NETWORKS]; /* in the order of ls_models_list */
    size_t resident;                         /* of the sampler, on the UNet's device */
} ls_generator_memory;

typedef struct ls_generator ls_generator;

/* What opening and preparing for chunks of `frames` will take, exactly for weights and activations,
 * without packing or allocating: a second for the published networks. Other users
 * of `models` wait meanwhile. */
int ls_generator_estimate(ls_generator_memory *out, ls_models *models,
                          const ls_generator_settings *s, size_t frames, ls_error *err);

/* `models` and `features` must outlive *out. With another device than the CPU, `features` reads
 * ahead from now on. */
int ls_generator_open(ls_generator **out, ls_models *models, ls_features *features,
                      const ls_generator_settings *s, ls_error *err);
void ls_generator_close(ls_generator **g);

/* The name of the device that the UNet runs on; lives as long as the models. */
const char *ls_generator_device(const ls_generator *g);

/* Compiles and packs everything for chunks of `frames`, so that memory is known before the work. */
int ls_generator_prepare(ls_generator *g, size_t frames, ls_error *err);

/* Denoising steps of the chunk that are done. */
typedef void (*ls_generator_progress)(void *opaque, size_t step, size_t steps);

/* Chunk `index` of the output: frames 16 * index and on, `frames` of them. faces[i] is [R, R, 3]
 * RGB; images[i] receives [R, R, 3] RGB in -1..1 where it is not NULL. The result depends on the
 * chunk's own index, faces and audio alone; chunks are requested in increasing order. `progress`
 * may be NULL. */
int ls_generator_run(ls_generator *g, size_t index, size_t frames, const uint8_t *const *faces,
                     float *const *images, ls_generator_progress progress, void *opaque,
                     const ls_cancel *cancel, ls_error *err);

#endif
