/* The published files as they were when this was written: for the hub's, the same values that the
 * server sends (X-Linked-Etag); for the SyncNets and InsightFace's archive, what other programs
 * pin. They identify a file that exists already, and one from a mirror that sends no hash; the
 * archive must match. */
#ifndef LS_PULL_KNOWN_H
#define LS_PULL_KNOWN_H

#include <stdint.h>

typedef struct ls_known_file {
    const char *name; /* "1.6/latentsync_unet.pt", "whisper/tiny.pt" */
    const char *sha256;
    uint64_t size;
} ls_known_file;

/* NULL for an unknown name. Static storage; any thread. */
const ls_known_file *ls_known_file_find(const char *name);

#endif
