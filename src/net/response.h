/* What the header of a response says about a file. */
#ifndef LS_NET_RESPONSE_H
#define LS_NET_RESPONSE_H

#include "net/part.h"

/* The last response's header; X-Linked-* are those of the first response that has them. */
typedef struct ls_response {
    char etag[256], linked_sha256[LS_SHA256_TEXT];
    uint64_t length, range_start, range_total, linked_size;
    bool has_length, has_range;
} ls_response;

/* Takes one line; a status line starts the next response. */
void ls_response_line(ls_response *r, const char *line, size_t size);

/* What the file must be, by what the server says and the caller knows; `partial`: status 206.
 * LS_EFORMAT when that is too little or contradictory. */
int ls_response_identify(const ls_response *r, const ls_download *d, bool partial, ls_identity *out,
                         ls_error *err);

#endif
