/* Uploads on their way in. What has arrived is written at once; it is synced to the disk, checked
 * and recorded by the thread for tasks, and only then acknowledged. */
#ifndef LS_SERVER_UPLOAD_H
#define LS_SERVER_UPLOAD_H

#include "server/http.h"

/* How much of an upload has arrived, where its row may be behind; `recorded` otherwise. */
uint64_t upload_received(http_server *h, const char *id, uint64_t recorded);
/* Whether its last bytes are being checked. */
bool upload_is_ending(http_server *h, const char *id);
/* Sends the rest of the request's body to the file of the upload `row`, from `offset` on, which is
 * all that has arrived; a request that writes there loses its place. False after an answer. */
bool upload_begin(http_request *r, const json_t *row, uint64_t offset);
/* After the body: holds the request until all is recorded. The answer is {"received":N}. */
void upload_end(http_request *r, void (*resume)(http_request *r));
/* The request is over, or the upload is not to be written any more; records what has arrived. */
void upload_abandon(http_request *r);
void upload_abandon_all(http_server *h);
void upload_stop(http_server *h, const char *id);

/* Writes to a new file; LS_ENOSPC, LS_EIO. */
int upload_write(int fd, const char *data, size_t size, uint64_t offset, ls_error *err);
/* SHA-256 of a file as 64 hex digits. */
int upload_digest(int fd, char out[65], ls_error *err);

#endif
