/* The address that the server listens at. */
#ifndef LS_SERVER_LISTEN_H
#define LS_SERVER_LISTEN_H

#include "latentsync/latentsync.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct listen_address {
    char host[256];   /* "127.0.0.1", "::1"; of a socket file its path */
    unsigned port;    /* 0: a socket file */
    bool is_loopback; /* reached from this machine alone */
} listen_address;

/* Binds "127.0.0.1:7860", "[::1]:7860" or "unix:PATH"; port 0 is any free one, and *a says which.
 * The socket is the caller's. LS_EINVAL for the text, LS_EBUSY for an address in use, LS_EIO. */
int listen_open(int *fd, listen_address *a, const char *text, ls_error *err);
/* "http://127.0.0.1:7860/prefix/" */
void listen_url(const listen_address *a, const char *prefix, char *out, size_t size);
/* Removes a socket file. */
void listen_remove(const listen_address *a);

#endif
