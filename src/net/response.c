#include "net/response.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The value of "NAME: value", trimmed and cut to fit; false if this is another line. */
static bool field(const char *line, size_t n, const char *name, char *value, size_t size)
{
    const size_t skip = strlen(name);
    if (n <= skip || strncasecmp(line, name, skip) || line[skip] != ':')
        return false;
    for (line += skip + 1, n -= skip + 1; n && (*line == ' ' || *line == '\t'); line++)
        n--;
    while (n && strchr(" \t\r\n", line[n - 1]))
        n--;
    snprintf(value, size, "%.*s", (int)(n < size ? n : size - 1), line);
    return true;
}

/* Whether equal tags guarantee equal bytes, and the tag can be sent back: a strong one. */
static bool is_strong(const char *tag)
{
    const size_t n = strlen(tag);
    if (n < 2 || *tag != '"' || tag[n - 1] != '"')
        return false;
    while (*tag > ' ' && *tag < 0x7f)
        tag++;
    return !*tag;
}

void ls_response_line(ls_response *r, const char *line, size_t n)
{
    char v[LS_ETAG_SIZE];
    if (n >= 5 && !strncmp(line, "HTTP/", 5)) {
        ls_response next = {0};
        memcpy(next.linked_sha256, r->linked_sha256, sizeof next.linked_sha256);
        *r = next;
    } else if (field(line, n, "etag", v, sizeof v)) {
        if (is_strong(v))
            memcpy(r->etag, v, sizeof v);
    } else if (field(line, n, "x-linked-etag", v, sizeof v) && !*r->linked_sha256) {
        char *hex = v + strspn(v, "W/\"");
        hex[strcspn(hex, "\"")] = 0;
        if (ls_is_sha256(hex))
            memcpy(r->linked_sha256, hex, sizeof r->linked_sha256);
    } else if (field(line, n, "content-length", v, sizeof v)) {
        r->has_length = true;
        r->length = ls_file_size_of(v);
    } else if (field(line, n, "content-range", v, sizeof v)) {
        r->has_range =
            sscanf(v, "bytes %" SCNu64 "-%*u/%" SCNu64, &r->range_start, &r->range_total) == 2;
    }
}

int ls_response_check(const ls_response *r, const ls_download *d, bool partial, ls_error *err)
{
    const uint64_t sent = partial ? r->range_total : r->has_length ? r->length : d->size;
    if (sent != d->size)
        return ls_fail(err, LS_EFORMAT, "%s: %s sends %" PRIu64 " bytes, but the file has %" PRIu64,
                       d->name, d->url, sent, d->size);
    if (*r->linked_sha256 && strcmp(r->linked_sha256, d->sha256))
        return ls_fail(err, LS_EFORMAT,
                       "%s: %s has a file with SHA-256 %s instead of the published one with %s",
                       d->name, d->url, r->linked_sha256, d->sha256);
    return 0;
}
