/* A job in one request: multipart/form-data with the files and the fields of POST /v1/jobs. Files
 * are written as they arrive. */
#ifndef LS_SERVER_FORM_H
#define LS_SERVER_FORM_H

#include "server/http.h"

/* Whether the request has such a body. */
bool form_is(const http_request *r);
/* Before the body; may answer. */
void form_begin(http_request *r);
/* A form of ours, for a request that has its files otherwise. False: out of memory. */
bool form_open(http_request *r);
/* Adds a file to it as "video", "audio" or "features_from"; may answer. */
void form_add_file(http_request *r, const char *member, const char *data, size_t size);
/* The job to ask for, as in POST /v1/jobs; its members are the caller's to set. */
json_t *form_job(http_request *r);
/* After the body: holds the request until the uploads are on the disk and the queue has answered,
 * as to queue_job_add. `key` may be NULL. */
void form_end(http_request *r, const char *key, void (*resume)(http_request *r));
/* Removes the uploads that `r` made, for a job that is not made of them. */
void form_remove_uploads(http_request *r);
/* Takes NULL. */
void form_free(http_form *f);

#endif
