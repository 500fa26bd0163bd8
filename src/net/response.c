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
    char v[256];
    if (n >= 5 && !strncmp(line, "HTTP/", 5)) {
        ls_response next = {.linked_size = r->linked_size};
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
    } else if (field(line, n, "x-linked-size", v, sizeof v) && !r->linked_size) {
        r->linked_size = ls_file_size_of(v);
    } else if (field(line, n, "content-length", v, sizeof v)) {
        r->has_length = true;
        r->length = ls_file_size_of(v);
    } else if (field(line, n, "content-range", v, sizeof v)) {
        r->has_range =
            sscanf(v, "bytes %" SCNu64 "-%*u/%" SCNu64, &r->range_start, &r->range_total) == 2;
    }
}

int ls_response_identify(const ls_response *r, const ls_download *d, bool partial, ls_identity *out,
                         ls_error *err)
{
    const bool known = d->fixed || !*r->linked_sha256;
    const char *sha256 = known ? d->sha256 : r->linked_sha256;
    const uint64_t promised = known && d->size ? d->size : r->linked_size;
    const uint64_t sent = partial ? r->range_total : r->has_length ? r->length : 0;
    if (!sha256)
        return ls_fail(err, LS_EFORMAT,
                       "%s: %s does not send the file's SHA-256 (X-Linked-Etag), so it could not "
                       "be checked; use a mirror that passes it on",
                       d->name, d->url);
    if (promised && sent && promised != sent)
        return ls_fail(err, LS_EFORMAT, "%s: %s sends %" PRIu64 " bytes, but the file has %" PRIu64,
                       d->name, d->url, sent, promised);
    if (!promised && !sent)
        return ls_fail(err, LS_EFORMAT, "%s: %s does not send the file's size", d->name, d->url);
    memcpy(out->etag, r->etag, sizeof out->etag);
    snprintf(out->sha256, sizeof out->sha256, "%s", sha256);
    out->size = promised ? promised : sent;
    if (!known && d->sha256 && strcmp(d->sha256, out->sha256))
        ls_log_msg(&d->log, LS_LOG_WARN,
                   "%s is not the file that this version of latentsync was written for: the "
                   "publisher or the mirror has changed it",
                   d->name);
    return 0;
}
