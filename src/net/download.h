/* One file over HTTP or HTTPS: resumed, checked, and under its name only when it is complete.
 *
 * Hugging Face's hub answers with a redirect to where the bytes are, and tells on it what they
 * will be: X-Linked-Etag, for a file in its large storage the SHA-256, and X-Linked-Size. (For a
 * small file that is a SHA-1 of git's, which counts as none here.) See huggingface_hub,
 * get_hf_file_metadata. A server that does not tell serves only files whose SHA-256 the caller
 * knows: nothing is taken unchecked. */
#ifndef LS_NET_DOWNLOAD_H
#define LS_NET_DOWNLOAD_H

#include "base/cancel.h"
#include "base/error.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct ls_download_progress {
    const char *name;
    bool checking; /* reading what is on the disk already */
    uint64_t bytes, total;
    double bytes_per_second; /* since this run began with the file; 0 while unknown */
} ls_download_progress;

typedef struct ls_download {
    const char *name; /* for messages */
    const char *url;  /* http or https; of redirects from https only https is followed */
    const char *path; /* in a folder that is there. One process at a time */
    /* The file as the caller knows it, NULL and 0 if not: used when the server does not tell, or,
     * if `fixed`, in any case. */
    const char *sha256;
    uint64_t size;
    bool fixed;
    int stall_seconds; /* how long nothing may come */
    int retries;       /* of a connection that fails without bringing the file forward */
    const ls_cancel *cancel;
    ls_log log;
    void (*progress)(void *opaque, const ls_download_progress *p); /* or NULL */
    void *opaque;
} ls_download;

/* A file that is there as it has to be is left alone: *there is then true. Until a file is complete
 * PATH.part has its beginning, and PATH.part.info says of what; they stay after a cut connection, a
 * full disk and LS_ECANCELED, and the next call goes on with them. Certificates are the system's,
 * or those in the file that SSL_CERT_FILE names. LS_EFORMAT: what came is not the file, or the
 * server contradicts itself. Blocks; any thread. */
int ls_download_file(const ls_download *d, bool *there, ls_error *err);

/* Whether the file at `path` has this SHA-256 (hexadecimal): 1, 0, or an error. Tells progress. */
int ls_download_check(const ls_download *d, const char *path, const char *sha256, ls_error *err);

#endif
