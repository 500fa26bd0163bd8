/* Files of packed weights: what a store made of a checkpoint, for later processes to map instead of
 * packing it again (docs/FORMATS.md, "Packed weights"). They are in the folder latentsync/weights
 * of the user's cache folder, and named after the key that they are kept under. */
#ifndef LS_WEIGHTS_PACKED_H
#define LS_WEIGHTS_PACKED_H

#include "backend/device.h"
#include "base/cancel.h"
#include "base/path.h"

/* Writes where weights are kept under this key. LS_ENOENT where there is no cache folder. */
int ls_packed_path(char path[LS_PATH_SIZE], const char *key, ls_error *err);

/* Maps a file and checks all of it, on `threads` threads: that it is the user's own, its table, the
 * key, the checksum. LS_ENOENT if there is none; of one that must not be used the error says why.
 * Closing, after the stores that use it, sets *b to NULL. */
int ls_packed_open(ls_packed_before **out, const char *path, const char *key, int threads,
                   ls_error *err);
void ls_packed_close(ls_packed_before **b);

/* Writes the weights of a list that have a layout, and all of `before`, which may be NULL: the file
 * in which those of the list were found that say so. It replaces a file that exists. Together such
 * files take at most `most` bytes: those that were not used for the longest are removed before,
 * unless that was within the last hour. LS_ENOSPC without room in that, or on the disk. */
int ls_packed_write(const char *path, const char *key, const ls_packed *list,
                    const ls_packed_before *before, uint64_t most, const ls_cancel *cancel,
                    ls_error *err);

/* The folder, empty if there is none, and the bytes that it takes. */
uint64_t ls_packed_folder(char folder[LS_PATH_SIZE]);

#endif
