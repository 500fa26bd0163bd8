/* The published files as they were when this was written: of the hub's, what it tells of them too
 * (X-Linked-Etag); of InsightFace's archive, what a hundred programs pin. They identify a file
 * that is there already, and one from a mirror that tells nothing; the archive has to be this. */
#ifndef LS_PIPELINE_KNOWN_H
#define LS_PIPELINE_KNOWN_H

#include <stdint.h>

typedef struct ls_known_file {
    const char *name; /* "1.6/latentsync_unet.pt", "whisper/tiny.pt" */
    const char *sha256;
    uint64_t size;
} ls_known_file;

/* NULL for a name that is not known. Static storage; any thread. */
const ls_known_file *ls_known_file_find(const char *name);

#endif
