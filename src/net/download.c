#include "net/download.h"
#include "base/output.h"
#include "base/time.h"
#include "latentsync/version.h"
#include "base/digest.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define BLOCK ((size_t)1 << 20)
#define MAX_REDIRECTS 10
#define FORWARD ((uint64_t)1 << 20) /* bytes that make a connection worth another try */

/* What a part is the beginning of: the lines of its .info, after the URL. */
typedef struct identity {
    char etag[256];
    char sha256[LS_SHA256_TEXT];
    uint64_t size;
} identity;

/* The last response's header; what is linked is that of the first that tells. */
typedef struct response {
    char etag[256], linked_sha256[LS_SHA256_TEXT];
    uint64_t length, range_start, range_total, linked_size;
    bool has_length, has_range;
} response;

typedef struct transfer {
    const ls_download *d;
    CURL *curl;
    ls_digest *sha;
    char *part, *info;
    char there[LS_SHA256_TEXT]; /* of the file under its name, empty: none */
    int fd;
    uint64_t have; /* bytes of the part; `sha` has seen them all */
    identity of;
    response header;
    bool begun, is_there, anew, drop;
    double started;
    uint64_t started_at;
    int failed; /* the code with which a callback has ended the transfer */
    ls_error *err;
} transfer;

static void show(const transfer *t, bool checking, uint64_t bytes, uint64_t total)
{
    const double elapsed = ls_time_now() - t->started;
    if (t->d->progress)
        t->d->progress(
            t->d->opaque,
            &(ls_download_progress){t->d->name, checking, bytes, total,
                                    elapsed > 0.5 ? (double)(bytes - t->started_at) / elapsed : 0});
}

static void start_clock(transfer *t, uint64_t at)
{
    t->started = ls_time_now();
    t->started_at = at;
}

/* Adds what is left of the file to `t->sha`; the number of bytes is in *bytes. */
static int digest_rest(transfer *t, int fd, const char *path, uint64_t *bytes, ls_error *err)
{
    struct stat st;
    uint8_t *block = malloc(BLOCK);
    int ret = block ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret && fstat(fd, &st))
        ret = ls_fail_errno(err, errno, "%s", path);
    start_clock(t, 0);
    for (*bytes = 0; !ret;) {
        const ssize_t n = read(fd, block, BLOCK);
        if (ls_canceled(t->d->cancel))
            ret = ls_fail(err, LS_ECANCELED, "canceled");
        else if (n < 0 && errno != EINTR)
            ret = ls_fail_errno(err, errno, "cannot read %s", path);
        else if (n == 0)
            break;
        else if (n > 0) {
            ls_digest_add(t->sha, block, (size_t)n);
            *bytes += (uint64_t)n;
            show(t, true, *bytes, (uint64_t)st.st_size);
        }
    }
    free(block);
    return ret;
}

static void end_digest(transfer *t, char text[LS_SHA256_TEXT])
{
    uint8_t sha256[LS_SHA256_BYTES];
    ls_digest_end(t->sha, sha256);
    ls_digest_text(text, sha256);
    ls_digest_begin(t->sha);
}

/* LS_ENOENT without a message when there is no such file. */
static int digest_whole(transfer *t, const char *path, char text[LS_SHA256_TEXT], ls_error *err)
{
    uint64_t bytes;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return LS_ENOENT;
    int ret =
        fd < 0 ? ls_fail_errno(err, errno, "%s", path) : digest_rest(t, fd, path, &bytes, err);
    end_digest(t, text);
    if (fd >= 0)
        close(fd);
    return ret;
}

/* 0 where there is none, or one that no file has. */
static uint64_t number(const char *text)
{
    const uint64_t n = strtoull(text, NULL, 10);
    return n < (uint64_t)INT64_MAX ? n : 0;
}

static bool is_sha256(const char *text)
{
    return strlen(text) == LS_SHA256_TEXT - 1 &&
           strspn(text, "0123456789abcdef") == LS_SHA256_TEXT - 1;
}

static bool read_line(FILE *f, char *line, size_t size)
{
    if (!fgets(line, (int)size, f))
        return false;
    char *end = strchr(line, '\n');
    if (end)
        *end = 0;
    return end;
}

/* Whether the part is known to be one of this URL's. */
static bool read_info(transfer *t)
{
    const ls_download *d = t->d;
    char url[4096], sha256[LS_SHA256_TEXT + 1], size[32];
    FILE *f = fopen(t->info, "re");
    bool ok = f && read_line(f, url, sizeof url) && !strcmp(url, d->url) &&
              read_line(f, t->of.etag, sizeof t->of.etag) && read_line(f, sha256, sizeof sha256) &&
              is_sha256(sha256) && !(d->fixed && strcmp(sha256, d->sha256)) &&
              read_line(f, size, sizeof size) && (t->of.size = number(size));
    if (ok)
        memcpy(t->of.sha256, sha256, sizeof t->of.sha256);
    if (f)
        fclose(f);
    return ok;
}

static int write_info(const transfer *t, ls_error *err)
{
    ls_output_file o;
    char text[8192];
    const int n = snprintf(text, sizeof text, "%s\n%s\n%s\n%" PRIu64 "\n", t->d->url, t->of.etag,
                           t->of.sha256, t->of.size);
    if (n >= (int)sizeof text)
        return ls_fail(err, LS_EINVAL, "%s: the URL is too long", t->d->name);
    int ret = ls_output_open(&o, t->info, err);
    return ret ? ret : ls_output_close(&o, ls_output_write(&o, text, (size_t)n, err), err);
}

static void forget_part(transfer *t)
{
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
    unlink(t->part);
    unlink(t->info);
    t->have = 0;
    t->of = (identity){0};
    ls_digest_begin(t->sha);
}

/* Opens the part, and reads what it has. */
static int open_part(transfer *t, ls_error *err)
{
    for (;;) {
        if (!read_info(t))
            forget_part(t);
        if ((t->fd = open(t->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666)) < 0)
            return ls_fail_errno(err, errno, "cannot write %s", t->part);
        const int ret = digest_rest(t, t->fd, t->part, &t->have, err);
        if (ret || t->have <= t->of.size)
            return ret;
        forget_part(t);
    }
}

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

static bool is_printable(const char *text)
{
    while (*text > ' ' && *text < 0x7f)
        text++;
    return !*text;
}

static size_t on_header(char *line, size_t one, size_t n, void *opaque)
{
    transfer *t = opaque;
    response *h = &t->header;
    char v[256];
    (void)one;
    if (t->begun)
        return n; // a trailer
    if (n >= 5 && !strncmp(line, "HTTP/", 5)) {
        response next = {.linked_size = h->linked_size};
        memcpy(next.linked_sha256, h->linked_sha256, sizeof next.linked_sha256);
        *h = next;
    } else if (field(line, n, "etag", v, sizeof v)) {
        const size_t last = strlen(v) - (*v != 0);
        if (last && *v == '"' && v[last] == '"' &&
            is_printable(v)) // else it cannot vouch for bytes
            memcpy(h->etag, v, sizeof v);
    } else if (field(line, n, "x-linked-etag", v, sizeof v) && !*h->linked_sha256) {
        char *hex = v + strspn(v, "W/\"");
        hex[strcspn(hex, "\"")] = 0;
        if (is_sha256(hex))
            memcpy(h->linked_sha256, hex, sizeof h->linked_sha256);
    } else if (field(line, n, "x-linked-size", v, sizeof v) && !h->linked_size) {
        h->linked_size = number(v);
    } else if (field(line, n, "content-length", v, sizeof v)) {
        h->has_length = true;
        h->length = number(v);
    } else if (field(line, n, "content-range", v, sizeof v)) {
        h->has_range =
            sscanf(v, "bytes %" SCNu64 "-%*u/%" SCNu64, &h->range_start, &h->range_total) == 2;
    }
    return n;
}

/* What the file has to be, from what the server told and the caller knows. */
static int identify(transfer *t, bool partial, identity *is)
{
    const ls_download *d = t->d;
    const response *h = &t->header;
    const bool known = d->fixed || !*h->linked_sha256;
    const char *sha256 = known ? d->sha256 : h->linked_sha256;
    const uint64_t promised = known && d->size ? d->size : h->linked_size;
    const uint64_t sent = partial ? h->range_total : h->has_length ? h->length : 0;
    if (!sha256)
        return ls_fail(
            t->err, LS_EFORMAT,
            "%s: %s does not tell the file's SHA-256 (X-Linked-Etag), so it could not be "
            "checked; use a mirror that passes it on",
            d->name, d->url);
    if (promised && sent && promised != sent)
        return ls_fail(t->err, LS_EFORMAT,
                       "%s: %s sends %" PRIu64 " bytes, and %" PRIu64 " are what the file has",
                       d->name, d->url, sent, promised);
    if (!promised && !sent)
        return ls_fail(t->err, LS_EFORMAT, "%s: %s does not tell the file's size", d->name, d->url);
    snprintf(is->sha256, sizeof is->sha256, "%s", sha256);
    memcpy(is->etag, h->etag, sizeof is->etag);
    is->size = promised ? promised : sent;
    if (!known && d->sha256 && strcmp(d->sha256, is->sha256))
        ls_log_msg(&d->log, LS_LOG_WARN,
                   "%s is not the file that this version of latentsync was written for: the "
                   "publisher has changed it, or the mirror has",
                   d->name);
    return 0;
}

/* Before the first byte: whether it is the right one, and where it goes. */
static int begin(transfer *t)
{
    const ls_download *d = t->d;
    const response *h = &t->header;
    identity is;
    struct statvfs fs;
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    const bool partial = status == 206;
    t->begun = true;
    if (status != 200 && (!partial || !t->have || !h->has_range))
        return ls_fail(t->err, LS_EFORMAT, "%s: %s answers with status %ld", d->name, d->url,
                       status);
    int ret = identify(t, partial, &is);
    if (ret)
        return ret;
    if (!strcmp(t->there, is.sha256)) {
        t->is_there = true;
        return LS_EOF;
    }
    const bool same = !strcmp(is.sha256, t->of.sha256) && is.size == t->of.size;
    if (partial && (!same || h->range_start != t->have)) {
        t->anew = true;
        return LS_EOF;
    }
    if (!partial) {
        if (t->have)
            ls_log_msg(&d->log, LS_LOG_INFO, "%s: the server sends it from the beginning", d->name);
        t->have = 0;
        ls_digest_begin(t->sha);
        if (ftruncate(t->fd, 0))
            return ls_fail_errno(t->err, errno, "cannot write %s", t->part);
    }
    if (!fstatvfs(t->fd, &fs) && fs.f_blocks && (is.size - t->have) / fs.f_frsize >= fs.f_bavail)
        return ls_fail(t->err, LS_ENOSPC,
                       "%s needs %.2f GB more than it has of %s, and %.2f are free", d->name,
                       (double)(is.size - t->have) / 1e9, d->path,
                       (double)fs.f_bavail * (double)fs.f_frsize / 1e9);
    if (lseek(t->fd, (off_t)t->have, SEEK_SET) < 0)
        return ls_fail_errno(t->err, errno, "cannot write %s", t->part);
    t->of = is;
    start_clock(t, t->have);
    return write_info(t, t->err);
}

static size_t on_body(char *data, size_t one, size_t n, void *opaque)
{
    transfer *t = opaque;
    (void)one;
    if (!t->begun && (t->failed = begin(t)))
        return 0;
    if (n > t->of.size - t->have) {
        t->drop = true;
        t->failed = ls_fail(t->err, LS_EFORMAT,
                            "%s: %s sends more than the %" PRIu64 " bytes that the file has",
                            t->d->name, t->d->url, t->of.size);
        return 0;
    }
    for (size_t left = n; left;) {
        const ssize_t w = write(t->fd, data, left);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0) {
            t->failed = ls_fail_errno(t->err, errno, "cannot write %s", t->part);
            return 0;
        }
        ls_digest_add(t->sha, data, (size_t)w);
        t->have += (uint64_t)w;
        data += w;
        left -= (size_t)w;
    }
    return n;
}

static int on_progress(void *opaque, curl_off_t down, curl_off_t now, curl_off_t up,
                       curl_off_t sent)
{
    const transfer *t = opaque;
    (void)down, (void)now, (void)up, (void)sent;
    if (t->begun && t->of.size)
        show(t, false, t->have, t->of.size);
    return ls_canceled(t->d->cancel);
}

static bool may_pass(CURLcode code, long status)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return true;
    case CURLE_HTTP_RETURNED_ERROR:
        return status >= 500 || status == 408 || status == 429;
    default:
        return false;
    }
}

static void set_options(transfer *t, const struct curl_slist *headers, char *text)
{
    const ls_download *d = t->d;
    const char *authorities = getenv("SSL_CERT_FILE");
    const bool secure = !strncasecmp(d->url, "https:", 6);
    CURL *c = t->curl;
    char range[32];
    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, d->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
    curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L); // a proxy's are not the server's
    curl_easy_setopt(c, CURLOPT_USERAGENT, "latentsync/" LS_VERSION_STRING);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)d->stall_seconds);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)d->stall_seconds);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, text);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    if (authorities && *authorities)
        curl_easy_setopt(c, CURLOPT_CAINFO, authorities);
    if (t->have) {
        snprintf(range, sizeof range, "%" PRIu64 "-", t->have);
        curl_easy_setopt(c, CURLOPT_RANGE, range);
    }
}

/* One request. *again: it failed in a way that may pass, or has to be made anew. */
static int attempt(transfer *t, bool *again, ls_error *err)
{
    char text[CURL_ERROR_SIZE] = "", condition[300];
    struct curl_slist *headers = curl_slist_append(NULL, "Accept-Encoding: identity"), *more;
    long status = 0;
    if (t->have && *t->of.etag) {
        snprintf(condition, sizeof condition, "If-Range: %s", t->of.etag);
        if ((more = curl_slist_append(headers, condition)))
            headers = more;
    }
    t->header = (response){0};
    t->begun = t->anew = t->drop = *again = false;
    t->failed = 0;
    t->err = err;
    set_options(t, headers, text);
    const CURLcode code = curl_easy_perform(t->curl);
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    if (code == CURLE_OK && !t->begun)
        t->failed = begin(t);
    if (status == 416 && t->have)
        t->anew = true;
    if (t->is_there)
        return 0;
    if (t->anew || t->drop)
        forget_part(t);
    if (t->anew) {
        ls_log_msg(&t->d->log, LS_LOG_INFO, "%s: the file has changed; from the beginning",
                   t->d->name);
        *again = true;
        return LS_EOF;
    }
    if (t->failed)
        return t->failed;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return ls_fail(err, LS_ECANCELED, "canceled");
    if (code == CURLE_OK && t->have == t->of.size)
        return 0;
    *again = code == CURLE_OK || may_pass(code, status);
    if (code == CURLE_OK)
        snprintf(text, sizeof text, "the connection ended too early");
    return ls_fail(err, status == 404 ? LS_ENOENT : LS_EIO, "%s: %s: %s", t->d->name, t->d->url,
                   *text ? text : curl_easy_strerror(code));
}

static int wait_seconds(const ls_download *d, int seconds, ls_error *err)
{
    for (int i = 0; i < 10 * seconds; i++) {
        if (ls_canceled(d->cancel))
            return ls_fail(err, LS_ECANCELED, "canceled");
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return 0;
}

/* Until the part has all bytes, or it is clear that it will not. */
static int fetch(transfer *t, ls_error *err)
{
    const ls_download *d = t->d;
    bool again = true;
    int ret = open_part(t, err), failures = 0;
    if (!ret && t->have && t->have == t->of.size)
        return 0;
    if (!ret && t->have)
        ls_log_msg(&d->log, LS_LOG_INFO, "%s: going on after %.1f of %.1f MB", d->name,
                   (double)t->have / 1e6, (double)t->of.size / 1e6);
    while (!ret) {
        ls_error why = {0};
        const uint64_t before = t->have;
        if (!(ret = attempt(t, &again, &why)))
            return 0;
        if (t->anew) {
            ret = open_part(t, err);
            continue;
        }
        failures = t->have >= before + FORWARD ? 1 : failures + 1;
        if (!again || failures > d->retries)
            return ls_fail(err, ret, "%s%s", why.message,
                           again || ret == LS_ENOSPC
                               ? "; what has come is kept, and the same command goes on with it"
                               : "");
        const int seconds = failures < 6 ? 1 << (failures - 1) : 30;
        ls_log_msg(&d->log, LS_LOG_WARN, "%s; again in %d s (%d of %d)", why.message, seconds,
                   failures, d->retries);
        ret = wait_seconds(d, seconds, err);
    }
    return ret;
}

static int finish(transfer *t, ls_error *err)
{
    char sha256[LS_SHA256_TEXT];
    end_digest(t, sha256);
    show(t, false, t->have, t->of.size);
    if (strcmp(sha256, t->of.sha256)) {
        const identity of = t->of;
        forget_part(t);
        return ls_fail(err, LS_EFORMAT,
                       "%s: what %s sent has the SHA-256 %s instead of %s; it was removed: run the "
                       "command again, or use another mirror",
                       t->d->name, t->d->url, sha256, of.sha256);
    }
    if (fsync(t->fd) || rename(t->part, t->d->path))
        return ls_fail_errno(err, errno, "cannot write %s", t->d->path);
    unlink(t->info);
    ls_output_sync_name(t->d->path);
    return 0;
}

static int open_transfer(transfer *t, const ls_download *d, ls_error *err)
{
    const size_t size = strlen(d->path) + sizeof ".part.info";
    *t = (transfer){.d = d, .fd = -1, .err = err};
    t->sha = ls_digest_new();
    t->part = malloc(size);
    t->info = malloc(size);
    if (!t->sha || !t->part || !t->info)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    snprintf(t->part, size, "%s.part", d->path);
    snprintf(t->info, size, "%s.part.info", d->path);
    return 0;
}

static void close_transfer(transfer *t)
{
    if (t->fd >= 0)
        close(t->fd);
    ls_digest_free(&t->sha);
    free(t->part);
    free(t->info);
}

int ls_download_file(const ls_download *d, bool *there, ls_error *err)
{
    transfer t;
    *there = false;
    int ret = open_transfer(&t, d, err);
    if (!ret && (ret = digest_whole(&t, d->path, t.there, err)) == LS_ENOENT) {
        *t.there = 0;
        ret = 0;
    }
    *there = !ret && d->sha256 && !strcmp(t.there, d->sha256);
    if (!ret && !*there) {
        bool started = !curl_global_init(CURL_GLOBAL_DEFAULT);
        t.curl = started ? curl_easy_init() : NULL;
        ret = t.curl ? fetch(&t, err) : ls_fail(err, LS_ENOMEM, "libcurl cannot be started");
        *there = !ret && t.is_there;
        if (*there || (ret && !t.have))
            forget_part(&t);
        else if (!ret)
            ret = finish(&t, err);
        curl_easy_cleanup(t.curl);
        if (started)
            curl_global_cleanup();
    }
    close_transfer(&t);
    return ret;
}

int ls_download_check(const ls_download *d, const char *path, const char *sha256, ls_error *err)
{
    transfer t;
    char text[LS_SHA256_TEXT];
    int ret = open_transfer(&t, d, err);
    ret = ret ? ret : digest_whole(&t, path, text, err);
    close_transfer(&t);
    return ret == LS_ENOENT ? 0 : ret ? ret : !strcmp(text, sha256);
}
