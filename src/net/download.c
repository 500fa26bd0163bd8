#include "net/download.h"
#include "latentsync/version.h"
#include "net/meter.h"
#include "net/part.h"
#include "net/response.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MAX_REDIRECTS 10L
#define LOW_SPEED 1000L /* bytes a second; a connection that stays below it is given up */
#define FORWARD ((uint64_t)1 << 20) /* bytes after which failures are counted from the start */

/* Of one request. */
typedef enum state {
    WAITING,   /* for the body of the last response */
    RECEIVING, /* it goes to the part */
    COMPLETE,  /* and has all bytes */
    CHANGED,   /* the part is of another file */
    BROKEN,    /* for reasons that may pass */
    FAILED,
    REJECTED, /* and the part is worthless */
} state;

typedef struct transfer {
    const ls_download *d;
    CURL *curl;
    ls_part part;
    state state;
    ls_error why; /* of BROKEN, FAILED and REJECTED */
    ls_response header;
    ls_meter meter;
} transfer;

/* Before each request, those of redirects included. */
static int on_request(void *opaque, char *to, char *from, int to_port, int from_port)
{
    transfer *t = opaque;
    const char *url = NULL;
    (void)to, (void)from, (void)to_port, (void)from_port;
    curl_easy_getinfo(t->curl, CURLINFO_EFFECTIVE_URL, &url);
    if (t->d->insecure || !url || !ls_url_is_open(url))
        return CURL_PREREQFUNC_OK;
    ls_fail(&t->why, LS_EIO, "%s: %s redirects to %s, where others could read and alter it",
            t->d->name, t->d->url, url);
    t->state = FAILED;
    return CURL_PREREQFUNC_ABORT;
}

static size_t on_header(char *line, size_t one, size_t n, void *opaque)
{
    transfer *t = opaque;
    (void)one;
    *t->d->reached = true;
    if (t->state == WAITING) // otherwise it is a trailer
        ls_response_line(&t->header, line, n);
    return n;
}

/* Before the first byte: whether it is the right one, and where it goes. */
static state start(transfer *t)
{
    const ls_response *h = &t->header;
    ls_part *p = &t->part;
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    const bool partial = status == 206;
    if (status != 200 && (!partial || !p->have || !h->has_range)) {
        ls_fail(&t->why, LS_EFORMAT, "%s: %s answers with status %ld", t->d->name, t->d->url,
                status);
        return FAILED;
    }
    if (ls_response_check(h, t->d, partial, &t->why))
        return FAILED;
    if (partial && h->range_start != p->have)
        return CHANGED;
    if (!partial && p->have)
        ls_log_msg(&t->d->log, LS_LOG_INFO, "%s: the server sends it from the beginning",
                   t->d->name);
    if (ls_part_start(p, h->etag, partial, &t->why))
        return FAILED;
    t->meter = ls_meter_start(t->d, p->have);
    return RECEIVING;
}

static size_t on_body(char *data, size_t one, size_t n, void *opaque)
{
    transfer *t = opaque;
    ls_part *p = &t->part;
    (void)one;
    if (t->state == WAITING)
        t->state = start(t);
    if (t->state != RECEIVING)
        return 0;
    if (n > t->d->size - p->have) {
        ls_fail(&t->why, LS_EFORMAT, "%s: %s sends more than the file's %" PRIu64 " bytes",
                t->d->name, t->d->url, t->d->size);
        t->state = REJECTED;
    } else if (ls_part_write(p, data, n, &t->why)) {
        t->state = FAILED;
    }
    return t->state == RECEIVING ? n : 0;
}

static int on_progress(void *opaque, curl_off_t down, curl_off_t now, curl_off_t up,
                       curl_off_t sent)
{
    const transfer *t = opaque;
    (void)down, (void)now, (void)up, (void)sent;
    if (t->state == RECEIVING)
        ls_meter_show(&t->meter, false, t->part.have, t->d->size);
    return ls_canceled(t->d->cancel);
}

static bool may_pass(const transfer *t, CURLcode code, long status)
{
    curl_off_t connected = 0;
    curl_easy_getinfo(t->curl, CURLINFO_CONNECT_TIME_T, &connected);
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return *t->d->reached;
    case CURLE_OPERATION_TIMEDOUT:
        return *t->d->reached || connected;
    case CURLE_OK: // but too short
    case CURLE_PARTIAL_FILE:
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
    curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_request);
    curl_easy_setopt(c, CURLOPT_PREREQDATA, t);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, MAX_REDIRECTS);
    curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L); // a proxy's are not the server's
    curl_easy_setopt(c, CURLOPT_USERAGENT, "latentsync/" LS_VERSION_STRING);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)d->stall_seconds);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, LOW_SPEED);
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
    if (d->token) { // not as a header, which would go to all hosts
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, d->token);
    }
    if (t->part.have) {
        snprintf(range, sizeof range, "%" PRIu64 "-", t->part.have);
        curl_easy_setopt(c, CURLOPT_RANGE, range);
    }
}

/* One request; returns with COMPLETE or a later state. */
static void request(transfer *t)
{
    char text[CURL_ERROR_SIZE] = "", condition[300];
    ls_part *p = &t->part;
    struct curl_slist *headers = curl_slist_append(NULL, "Accept-Encoding: identity"), *more;
    long status = 0;
    if (p->have && *p->etag) {
        snprintf(condition, sizeof condition, "If-Range: %s", p->etag);
        if ((more = curl_slist_append(headers, condition)))
            headers = more;
    }
    t->header = (ls_response){0};
    t->state = WAITING;
    set_options(t, headers, text);
    const CURLcode code = curl_easy_perform(t->curl);
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    if (code == CURLE_OK && t->state == WAITING) // no body
        t->state = start(t);
    if (t->state > RECEIVING)
        return;
    if (status == 416 && p->have) {
        t->state = CHANGED;
    } else if (code == CURLE_ABORTED_BY_CALLBACK) {
        ls_fail(&t->why, LS_ECANCELED, "canceled");
        t->state = FAILED;
    } else if (code == CURLE_OK && p->have == t->d->size) {
        t->state = COMPLETE;
    } else {
        t->state = may_pass(t, code, status) ? BROKEN : FAILED;
        ls_fail(&t->why, status == 404 ? LS_ENOENT : LS_EIO, "%s: %s: %s", t->d->name, t->d->url,
                code == CURLE_OK ? "the connection ended too early"
                : *text          ? text
                                 : curl_easy_strerror(code));
        if (!*t->d->reached)
            ls_advise(&t->why, t->why.code, LS_HINT_FETCH_BY_HAND, NULL);
    }
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

static int restart(transfer *t, ls_error *err)
{
    ls_log_msg(&t->d->log, LS_LOG_INFO, "%s: the file has changed; from the beginning", t->d->name);
    ls_part_discard(&t->part);
    return ls_part_open(&t->part, err);
}

/* After the failure of a request: waits, or gives up. */
static int recover(const transfer *t, int failures, ls_error *err)
{
    const ls_download *d = t->d;
    const int seconds = failures < 6 ? 1 << (failures - 1) : 30;
    if (t->state == BROKEN && failures <= d->retries) {
        ls_log_msg(&d->log, LS_LOG_WARN, "%s; retrying in %d s (%d of %d)", t->why.message, seconds,
                   failures, d->retries);
        return wait_seconds(d, seconds, err);
    }
    ls_fail(err, t->why.code, "%s%s", t->why.message,
            t->part.have ? "; what was received is kept, and the next run resumes from it" : "");
    return ls_advise(err, t->why.code, t->why.hint, NULL);
}

/* Retries until the part is complete or retries are exhausted. */
static int fetch(transfer *t, ls_error *err)
{
    const ls_part *p = &t->part;
    int ret = ls_part_open(&t->part, err), failures = 0;
    t->state = p->have && p->have == t->d->size ? COMPLETE : WAITING;
    if (!ret && p->have && t->state == WAITING)
        ls_log_msg(&t->d->log, LS_LOG_INFO, "%s: resuming after %.1f of %.1f MB", t->d->name,
                   (double)p->have / 1e6, (double)t->d->size / 1e6);
    while (!ret && t->state != COMPLETE) {
        const uint64_t before = p->have;
        request(t);
        if (t->state == REJECTED)
            ls_part_discard(&t->part);
        if (t->state == CHANGED) {
            ret = restart(t, err);
        } else if (t->state >= BROKEN) {
            failures = p->have >= before + FORWARD ? 1 : failures + 1;
            ret = recover(t, failures, err);
        }
    }
    return ret;
}

static int download(transfer *t, ls_error *err)
{
    const bool started = !curl_global_init(CURL_GLOBAL_DEFAULT);
    t->curl = started ? curl_easy_init() : NULL;
    int ret = t->curl ? fetch(t, err) : ls_fail(err, LS_ENOMEM, "cannot start libcurl");
    if (!ret && t->state == COMPLETE) {
        ls_meter_show(&t->meter, false, t->part.have, t->d->size);
        ret = ls_part_finish(&t->part, err);
    } else if (!ret || !t->part.have) {
        ls_part_discard(&t->part);
    }
    curl_easy_cleanup(t->curl);
    if (started)
        curl_global_cleanup();
    return ret;
}

int ls_download_file(const ls_download *d, bool *there, ls_error *err)
{
    transfer t = {.d = d, .meter = ls_meter_start(d, 0)};
    int ret = ls_part_init(&t.part, d, err);
    *there = false;
    if (!ret)
        ret = ls_download_check(d, d->path, d->sha256, err);
    if (ret == 1)
        *there = true;
    else if (!ret)
        ret = download(&t, err);
    ls_part_free(&t.part);
    return ret < 0 ? ret : 0;
}
