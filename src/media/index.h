/* Places of a video that decoding can be resumed from, and the file that keeps them. */
#ifndef LS_MEDIA_INDEX_H
#define LS_MEDIA_INDEX_H

#include "base/error.h"
#include "media/timeline.h"

#include <stddef.h>

/* The state of the timeline after a frame whose time is unique, and a checksum of that frame's
 * luma. */
typedef struct ls_checkpoint {
    ls_timeline t;
    uint32_t luma;
} ls_checkpoint;

/* Checkpoints in ascending order, 32 frames apart; when there are 4,096 every second one is dropped
 * and they are twice as far apart. Zero-initialize. */
typedef struct ls_index {
    ls_checkpoint *checkpoints;
    size_t count;
    int doublings;   /* of the distance */
    uint64_t length; /* of the timeline; 0: not known */
} ls_index;

void ls_index_free(ls_index *x);

/* Whether a checkpoint at `t` is due. */
bool ls_index_is_due(const ls_index *x, const ls_timeline *t);
int ls_index_add(ls_index *x, const ls_timeline *t, uint32_t luma, ls_error *err);
/* Drops checkpoints of frames at or after `pts`, because it turned out not to be unique. */
void ls_index_drop(ls_index *x, int64_t pts);
/* The last checkpoint at or before a frame of the timeline; NULL if there is none. */
const ls_checkpoint *ls_index_find(const ls_index *x, uint64_t frame);

/* What must be equal for an index to be of a video. */
typedef struct ls_index_key {
    uint64_t width, height, fps_num, fps_den;
    uint64_t bytes; /* of the video file; 0: unknown */
} ls_index_key;

/* The file: "LSINDEX2", the key, length, number of checkpoints and a CRC-32 of all else, then the
 * checkpoints; all 64-bit numbers in this machine's byte order. */
int ls_index_save(const ls_index *x, const ls_index_key *key, const char *path, ls_error *err);
/* LS_EFORMAT, and *x unchanged, for a file that is damaged or of another video. */
int ls_index_load(ls_index *x, const ls_index_key *key, const char *path, ls_error *err);

#endif
