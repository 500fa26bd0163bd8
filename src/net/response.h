/* What the header of a response says about a file. */
#ifndef LS_NET_RESPONSE_H
#define LS_NET_RESPONSE_H

#include "net/part.h"

/* The last response's header; X-Linked-Etag is that of the first response that has it. */
typedef struct ls_response {
    char etag[LS_ETAG_SIZE], linked_sha256[LS_SHA256_TEXT];
    uint64_t length, range_start, range_total;
    bool has_length, has_range;
} ls_response;

/* Takes one line; a status line starts the next response. */
void ls_response_line(ls_response *r, const char *line, size_t size);

/* LS_EFORMAT when the server says that it has another file than the caller knows; `partial`: status
 * 206. What it says is otherwise not relied on. */
int ls_response_check(const ls_response *r, const ls_download *d, bool partial, ls_error *err);

#endif
