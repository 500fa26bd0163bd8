/* Progress of reading or receiving one file. */
#ifndef LS_NET_METER_H
#define LS_NET_METER_H

#include "base/digest.h"
#include "net/download.h"

typedef struct ls_meter {
    const ls_download *d;
    double started;
    uint64_t from; /* bytes that were there at that time */
} ls_meter;

ls_meter ls_meter_start(const ls_download *d, uint64_t from);
void ls_meter_show(const ls_meter *m, bool checking, uint64_t bytes, uint64_t total);

/* Adds the rest of the open file to `sha` and sets *bytes to the size of that, with progress. */
int ls_meter_digest(const ls_download *d, ls_digest *sha, int fd, const char *path, uint64_t *bytes,
                    ls_error *err);

#endif
