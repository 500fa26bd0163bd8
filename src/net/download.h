/* One file over HTTP or HTTPS: resumed, checked, and under its name only when it is complete.
 *
 * What the file is the caller knows, not the server. Hugging Face's hub answers with a redirect to
 * where the bytes are, whose header has the SHA-256 of a file in its large storage: X-Linked-Etag
 * (see huggingface_hub, get_hf_file_metadata; for a small file it is a SHA-1 of git's, which is
 * ignored here). So a server that has another file is refused before it has sent it. */
#ifndef LS_NET_DOWNLOAD_H
#define LS_NET_DOWNLOAD_H

#include "base/cancel.h"
#include "base/error.h"
#include "base/log.h"
#include "latentsync/models.h"

#include <stdbool.h>

typedef struct ls_download {
    const char *name;   /* for messages */
    const char *url;    /* http or https; redirects of https must be https too */
    const char *path;   /* in an existing folder. One process at a time */
    const char *sha256; /* of the file, hexadecimal */
    uint64_t size;
    bool insecure;     /* redirects may lead to any host by http */
    const char *token; /* or NULL; sent to the host of `url` only, not where it redirects to */
    /* Whether the host of `url` has ever answered, kept by the caller over several files. Until it
     * has, a name that does not resolve or a connection that cannot be made is not retried. */
    bool *reached;
    int stall_seconds; /* give up a connection that is silent or slower than 1 kB/s after that */
    int retries;       /* of a connection that fails before the file has grown */
    const ls_cancel *cancel;
    ls_log log;
    void (*progress)(void *opaque, const ls_models_progress *p); /* or NULL */
    void *opaque;
} ls_download;

/* Leaves a file alone that is complete already, *there is then true. Until then PATH.part has its
 * beginning, and PATH.part.info describes of what; they stay after a cut connection, a full disk
 * and LS_ECANCELED, and the next call resumes from them. Certificates are the system's, or those in
 * the file that SSL_CERT_FILE names. LS_EIO for a connection that fails (with
 * LS_HINT_FETCH_BY_HAND if the host has never answered), LS_ENOENT for status 404,
 * LS_EFORMAT when what came is not the file or the server contradicts itself, LS_EUNSUPPORTED in a
 * build without networking. Blocks; any thread. */
int ls_download_file(const ls_download *d, bool *there, ls_error *err);

/* Whether what this URL sends can be read and altered on its way: http, and to another machine. */
bool ls_url_is_open(const char *url);

/* Whether the file at `path` has this SHA-256 (hexadecimal): 1, 0, or an error. Reports progress.
 */
int ls_download_check(const ls_download *d, const char *path, const char *sha256, ls_error *err);

#endif
