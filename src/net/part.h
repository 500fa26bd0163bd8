/* The beginning of a file that is being downloaded: PATH.part, and PATH.part.info, which describes
 * the file that it belongs to. */
#ifndef LS_NET_PART_H
#define LS_NET_PART_H

#include "base/digest.h"
#include "net/download.h"

#define LS_ETAG_SIZE 256

typedef struct ls_part {
    const ls_download *d;
    char *path, *info;
    int fd;
    uint64_t have;           /* bytes */
    ls_digest *sha;          /* of those */
    char etag[LS_ETAG_SIZE]; /* "" if the server has none that guarantees equal bytes */
} ls_part;

/* After a failure, too, ls_part_free is due. */
int ls_part_init(ls_part *p, const ls_download *d, ls_error *err);
void ls_part_free(ls_part *p);

/* Opens and reads the part of an earlier call, or makes an empty one. */
int ls_part_open(ls_part *p, ls_error *err);
/* Closes and removes it. */
void ls_part_discard(ls_part *p);

/* Before the first byte of a response: appends from now on, or from the beginning. LS_ENOSPC when
 * the disk lacks the space for the rest. */
int ls_part_start(ls_part *p, const char *etag, bool append, ls_error *err);
int ls_part_write(ls_part *p, const void *data, size_t size, ls_error *err);

/* Gives a part that has all bytes the file's name; one with a wrong SHA-256 is discarded. */
int ls_part_finish(ls_part *p, ls_error *err);

/* Whether `text` is 64 hexadecimal digits. */
bool ls_is_sha256(const char *text);
/* A decimal number; 0 for anything else, and for what no file has. */
uint64_t ls_file_size_of(const char *text);

#endif
