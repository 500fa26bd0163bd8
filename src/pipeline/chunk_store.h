/* The new faces of finished chunks, in the folder of a job until their segment is finished:
 * chunk-00000.faces, bit for bit as the generator made them. A file is used only if it is complete
 * and was written for a description whose faces are the same (ls_describe_faces), so that what a
 * preview has made serves the whole. */
#ifndef LS_PIPELINE_CHUNK_STORE_H
#define LS_PIPELINE_CHUNK_STORE_H

#include "pipeline/job_folder.h"

#define LS_CHUNK_STORE_FRAMES 64 /* of a chunk, at most */

typedef struct ls_chunk_faces {
    uint64_t chunk; /* its number in the whole output */
    size_t frames, resolution;
    float *const *images; /* [R, R, 3] each; NULL where a frame gets no new face */
} ls_chunk_faces;

/* All of these: any number of threads and processes, if each chunk is one's alone. */

/* LS_ENOSPC also while 5 % of the disk, or 1 GB, would not stay free. */
int ls_chunk_store_keep(ls_job_folder *job, const ls_chunk_faces *faces, ls_error *err);
/* Fills the images with what was kept: LS_ENOENT when nothing was, LS_EFORMAT when it is damaged,
 * of another job, or has other frames; what is in the images then means nothing. */
int ls_chunk_store_take(const ls_job_folder *job, const ls_chunk_faces *faces, ls_error *err);
/* How many of chunks [first, end) are kept. */
uint64_t ls_chunk_store_count(const ls_job_folder *job, uint64_t first, uint64_t end);
/* Removes chunks [first, end), and what killed processes have left of them. */
void ls_chunk_store_drop(const ls_job_folder *job, uint64_t first, uint64_t end);

/* The most that so many chunks of `frames` take on the disk. */
uint64_t ls_chunk_store_bytes(uint64_t chunks, size_t frames, size_t resolution);

#endif
