/* Files with ranges and conditions: RFC 9110, sections 13 and 14. */
#include "server/folder.h"
#include "server/http.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct range {
    uint64_t first, count;
} range;

enum { RANGE_NONE, RANGE_PART, RANGE_OUTSIDE };

bool http_number(const char **text, uint64_t *out)
{
    const size_t n = strspn(*text, "0123456789");
    if (!n || n > 18)
        return false;
    *out = strtoull(*text, NULL, 10);
    *text += n;
    return true;
}

/* Of "bytes=0-99", "bytes=100-" and "bytes=-100". What is malformed, or has several parts, is as if
 * it were not there, and the whole file the answer. */
static int read_range(const char *text, uint64_t size, range *out)
{
    uint64_t first, last = UINT64_MAX;
    if (!text || strncasecmp(text, "bytes=", 6))
        return RANGE_NONE;
    text += 6;
    if (*text == '-') {
        text++;
        if (!http_number(&text, &last) || *text)
            return RANGE_NONE;
        first = last < size ? size - last : 0;
        if (!last || !size)
            return RANGE_OUTSIDE;
        last = size - 1;
    } else {
        if (!http_number(&text, &first) || *text++ != '-')
            return RANGE_NONE;
        if (*text && (!http_number(&text, &last) || *text || last < first))
            return RANGE_NONE;
    }
    if (first >= size)
        return RANGE_OUTSIDE;
    last = last < size ? last : size - 1;
    *out = (range){first, last - first + 1};
    return RANGE_PART;
}

static bool is_listed(const char *list, const char *etag)
{
    const size_t n = strlen(etag);
    for (const char *p = list; *p; p += strcspn(p, ","), p += strspn(p, ", ")) {
        const char *tag = strncmp(p, "W/", 2) ? p : p + 2;
        if (*p == '*' || (!strncmp(tag, etag, n) && strchr(", \t", tag[n])))
            return true;
    }
    return false;
}

static void date_text(time_t t, char *out, size_t size)
{
    struct tm tm;
    if (!gmtime_r(&t, &tm) || !strftime(out, size, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        *out = '\0';
}

/* What no header or quoted string may hold becomes '_'. */
static void ascii_name(const char *name, char *out, size_t size)
{
    size_t n = 0;
    for (; *name && n + 1 < size; name++)
        if ((*name & 0xc0) != 0x80) // one character for each of UTF-8
            out[n++] = *name < ' ' || *name > '~' || strchr("\"\\%/", *name) ? '_' : *name;
    out[n] = '\0';
}

static void encoded_name(const char *name, char *out, size_t size)
{
    size_t n = 0;
    for (; *name && n + 4 < size; name++) {
        const unsigned char c = (unsigned char)*name;
        if ((c & 0xc0) == 0xc0 && n + 13 > size)
            break; // no room for the whole character
        if (c < 128 && (isalnum(c) || strchr("-._~", c)))
            out[n++] = (char)c;
        else
            n += (size_t)snprintf(out + n, size - n, "%%%02X", c);
    }
    out[n] = '\0';
}

static void add_name(http_request *r, const char *name)
{
    char plain[256], encoded[1600];
    ascii_name(name, plain, sizeof plain);
    encoded_name(name, encoded, sizeof encoded);
    http_header(r, "Content-Disposition", "attachment; filename=\"%s\"; filename*=UTF-8''%s", plain,
                encoded);
}

/* Whether the range counts: If-Range names the file as it is now. */
static bool is_current(const http_request *r, const char *etag, const char *date)
{
    const char *condition = http_value(r, "If-Range");
    return !condition || !strcmp(condition, etag) || !strcmp(condition, date);
}

static void send_range(http_request *r, int fd, uint64_t size, const char *etag, const char *date)
{
    range part = {0, size};
    const int what =
        is_current(r, etag, date) ? read_range(http_value(r, "Range"), size, &part) : RANGE_NONE;
    if (what == RANGE_OUTSIDE) {
        close(fd);
        http_fail(r, MHD_HTTP_RANGE_NOT_SATISFIABLE, NULL, "the file has %" PRIu64 " bytes", size);
        http_header(r, "Content-Range", "bytes */%" PRIu64, size);
        return;
    }
    http_reply(r, what == RANGE_PART ? MHD_HTTP_PARTIAL_CONTENT : MHD_HTTP_OK,
               MHD_create_response_from_fd_at_offset64(part.count, fd, part.first));
    if (what == RANGE_PART)
        http_header(r, "Content-Range", "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, part.first,
                    part.first + part.count - 1, size);
}

static void send_file(http_request *r, int fd, const struct stat *st, const char *type)
{
    char etag[80], date[64];
    const char *known = http_value(r, "If-None-Match");
    snprintf(etag, sizeof etag, "\"%llx-%llx-%llx\"", (unsigned long long)st->st_ino,
             (unsigned long long)st->st_size,
             (unsigned long long)st->st_mtim.tv_sec * 1000000000 +
                 (unsigned long long)st->st_mtim.tv_nsec);
    date_text(st->st_mtime, date, sizeof date);
    if (known && is_listed(known, etag)) {
        close(fd);
        http_reply_empty(r, MHD_HTTP_NOT_MODIFIED);
    } else {
        send_range(r, fd, (uint64_t)st->st_size, etag, date);
    }
    if (r->status == MHD_HTTP_RANGE_NOT_SATISFIABLE)
        return;
    http_header(r, "Content-Type", "%s", type);
    http_header(r, "ETag", "%s", etag);
    http_header(r, "Last-Modified", "%s", date);
    http_header(r, "Accept-Ranges", "bytes");
}

void http_reply_file(http_request *r, const char *path, const char *type, const char *name,
                     const char *cache)
{
    struct stat st;
    const int fd = folder_open(path);
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        if (fd >= 0)
            close(fd);
        if (fd < 0 && errno != ENOENT && errno != ELOOP && errno != ENOTDIR)
            http_fail(r, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, "the file cannot be opened");
        else
            http_fail(r, MHD_HTTP_NOT_FOUND, NULL, "there is nothing under this path");
        return;
    }
    send_file(r, fd, &st, type);
    http_header(r, "Cache-Control", "%s", cache);
    http_header(r, "Content-Security-Policy", "default-src 'none'; sandbox");
    if (name)
        add_name(r, name);
}

const char *http_media_type(const char *name)
{
    static const char *const types[][2] = {
        {".mp4", "video/mp4"},
        {".m4v", "video/mp4"},
        {".mov", "video/quicktime"},
        {".mkv", "video/x-matroska"},
        {".webm", "video/webm"},
        {".avi", "video/x-msvideo"},
        {".ts", "video/mp2t"},
        {".wav", "audio/wav"},
        {".mp3", "audio/mpeg"},
        {".m4a", "audio/mp4"},
        {".aac", "audio/aac"},
        {".flac", "audio/flac"},
        {".ogg", "audio/ogg"},
        {".opus", "audio/ogg"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".jpeg", "image/jpeg"},
        {".webp", "image/webp"},
        {".gif", "image/gif"},
        {".m4s", "video/iso.segment"},
        {".m3u8", "application/vnd.apple.mpegurl"},
    };
    const char *extension = strrchr(name, '.');
    for (size_t i = 0; extension && i < sizeof types / sizeof *types; i++)
        if (!strcasecmp(extension, types[i][0]))
            return types[i][1];
    return "application/octet-stream";
}
