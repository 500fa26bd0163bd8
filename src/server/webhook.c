#include "server/webhook.h"
#include "server/basics.h"
#include "server/fail.h"
#include "server/store.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <nettle/base64.h>
#include <nettle/hmac.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SECRET_SIZE = 512, MAX_ANSWER = 64 << 10, CALL_SECONDS = 20, KEPT_SECONDS = 7 * 86400 };

/* Seconds before each repetition. */
static const double pauses[] = {1, 5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600};

struct webhooks {
    const server_settings *s;
    queue *q;
    store *store; /* the thread's, once it runs */
    CURL *curl;
    uint8_t secret[SECRET_SIZE];
    size_t secret_size;
    size_t answered; /* bytes of the answer that is read */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    json_t *changed; /* the jobs' IDs are its keys */
    bool is_closing;
};

static void say(const webhooks *w, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void say(const webhooks *w, int level, const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (w->s->message)
        w->s->message(w->s->opaque, level, line);
}

/* Calls for each entry of the list of hosts until one fits. */
static bool lists(const server_settings *s, bool (*fits)(const char *entry, const void *of),
                  const void *of)
{
    char entry[300];
    for (const char *p = s->webhook_hosts; p && *p; p += *p == ',') {
        const size_t n = strcspn(p, ",");
        if (n < sizeof entry) {
            snprintf(entry, sizeof entry, "%.*s", (int)n, p);
            if (fits(entry, of))
                return true;
        }
        p += n;
    }
    return false;
}

typedef struct destination {
    const char *host; /* an IPv6 address in brackets */
    const char *port;
} destination;

static bool is_destination(const char *entry, const void *of)
{
    const destination *d = of;
    const size_t n = strlen(d->host);
    if (strncasecmp(entry, d->host, n))
        return false;
    return entry[n] == ':' ? !strcmp(entry + n + 1, d->port) : !entry[n] && !strcmp(d->port, "443");
}

static int check_parts(const server_settings *s, CURLU *u, const char *url, ls_error *err)
{
    char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
    int ret = 0;
    if (curl_url_set(u, CURLUPART_URL, url, 0) || curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
        curl_url_get(u, CURLUPART_HOST, &host, 0) ||
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) || strcmp(scheme, "https"))
        ret = server_fail(err, LS_EINVAL, "webhook: expected an address that begins with https://");
    else if (!curl_url_get(u, CURLUPART_USER, &user, 0))
        ret = server_fail(err, LS_EINVAL, "webhook: the address must not have a user's name");
    else if (!lists(s, is_destination, &(destination){host, port}))
        ret = server_fail(err, LS_EINVAL, "webhook: %s:%s is not among the hosts of this server",
                          host, port);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(user);
    return ret;
}

int webhook_check(const server_settings *s, const char *url, ls_error *err)
{
    if (!s->webhook_hosts)
        return server_fail(err, LS_EINVAL, "webhook: this server calls nobody");
    CURLU *u = curl_url();
    const int ret = u ? check_parts(s, u, url, err) : server_fail(err, LS_ENOMEM, "out of memory");
    curl_url_cleanup(u);
    return ret;
}

/* Whether an entry is this very address. */
static bool is_address(const char *entry, const void *of)
{
    const struct sockaddr *a = of;
    char text[INET6_ADDRSTRLEN + 2] = "";
    if (a->sa_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)of)->sin_addr, text, sizeof text);
    } else {
        *text = '[';
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)of)->sin6_addr, text + 1,
                  sizeof text - 2);
        strcat(text, "]");
    }
    const size_t n = strlen(text);
    return !strncasecmp(entry, text, n) && (!entry[n] || entry[n] == ':');
}

static bool is_public_v4(uint32_t a)
{
    static const struct {
        uint32_t net;
        int bits;
    } inner[] = {{0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},
                 {0xa9fe0000, 16}, {0xac100000, 12}, {0xc0000000, 24}, {0xc0000200, 24},
                 {0xc0a80000, 16}, {0xc6120000, 15}, {0xc6336400, 24}, {0xcb007100, 24},
                 {0xe0000000, 3}}; // IANA's registry; the last are multicast and reserved
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++)
        if (a >> (32 - inner[i].bits) == inner[i].net >> (32 - inner[i].bits))
            return false;
    return true;
}

/* Of IPv6 only global unicast addresses that hold no IPv4 address of another network. */
static bool is_public(const struct sockaddr *address)
{
    const void *of = address;
    if (address->sa_family == AF_INET)
        return is_public_v4(ntohl(((const struct sockaddr_in *)of)->sin_addr.s_addr));
    if (address->sa_family != AF_INET6)
        return false;
    const uint8_t *b = ((const struct sockaddr_in6 *)of)->sin6_addr.s6_addr;
    const bool is_6to4 = b[0] == 0x20 && b[1] == 0x02,
               is_special = b[0] == 0x20 && b[1] == 0x01 && b[2] < 0x02,
               is_example = b[0] == 0x20 && b[1] == 0x01 && b[2] == 0x0d && b[3] == 0xb8;
    return b[0] >> 5 == 1 && !is_6to4 && !is_special && !is_example;
}

/* Looks at the address that a name stands for at the moment of the call. */
static curl_socket_t open_socket(void *opaque, curlsocktype purpose, struct curl_sockaddr *a)
{
    const webhooks *w = opaque;
    (void)purpose;
    if (!is_public(&a->addr) && !lists(w->s, is_address, &a->addr))
        return CURL_SOCKET_BAD;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static size_t drop(char *data, size_t size, size_t n, void *opaque)
{
    webhooks *w = opaque;
    (void)data;
    w->answered += size * n;
    return w->answered <= MAX_ANSWER ? size * n : 0;
}

static int go_on(void *opaque, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    webhooks *w = opaque;
    (void)a, (void)b, (void)c, (void)d;
    pthread_mutex_lock(&w->lock);
    const bool closing = w->is_closing;
    pthread_mutex_unlock(&w->lock);
    return closing;
}

/* As the Standard Webhooks have it: "v1," and base64 of the HMAC of id.timestamp.body. */
static struct curl_slist *make_headers(const webhooks *w, const char *id, const char *body)
{
    uint8_t mac[SHA256_DIGEST_SIZE];
    char code[BASE64_ENCODE_RAW_LENGTH(SHA256_DIGEST_SIZE) + 1] = "", line[256], start[160];
    struct curl_slist *list = NULL;
    struct hmac_sha256_ctx ctx;
    const long long now = (long long)server_time();
    const int n = snprintf(start, sizeof start, "%s.%lld.", id, now);
    list = curl_slist_append(list, "Content-Type: application/json");
    list = curl_slist_append(list, "Expect:");
    snprintf(line, sizeof line, "webhook-id: %s", id);
    list = curl_slist_append(list, line);
    snprintf(line, sizeof line, "webhook-timestamp: %lld", now);
    list = curl_slist_append(list, line);
    if (!w->secret_size)
        return list;
    hmac_sha256_set_key(&ctx, w->secret_size, w->secret);
    hmac_sha256_update(&ctx, (size_t)n, (const uint8_t *)start);
    hmac_sha256_update(&ctx, strlen(body), (const uint8_t *)body);
    hmac_sha256_digest(&ctx, sizeof mac, mac);
    base64_encode_raw(code, sizeof mac, mac);
    snprintf(line, sizeof line, "webhook-signature: v1,%s", code);
    return curl_slist_append(list, line);
}

/* The status of the answer, 0 if there was none. */
static long call(webhooks *w, const char *id, const char *url, const char *body, char *why)
{
    const char *authorities = getenv("SSL_CERT_FILE");
    struct curl_slist *headers = make_headers(w, id, body);
    CURL *c = w->curl;
    long status = 0;
    w->answered = 0;
    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(c, CURLOPT_PROXY, ""); // it would resolve the name itself
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, w);
    curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)CALL_SECONDS);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "latentsync/" LS_VERSION_STRING);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, drop);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, w);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, go_on);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, w);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    if (authorities && *authorities)
        curl_easy_setopt(c, CURLOPT_CAINFO, authorities);
    *why = '\0';
    const CURLcode code = curl_easy_perform(c);
    if (!code)
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, NULL);
    if (!*why)
        snprintf(why, CURL_ERROR_SIZE, "%s", code ? curl_easy_strerror(code) : "no success");
    return status;
}

static bool failed(const webhooks *w, int ret, const ls_error *err)
{
    if (ret)
        say(w, LS_MESSAGE_ERROR, "webhooks: %s", err->message);
    return ret;
}

static bool has_ended(const char *state)
{
    return state &&
           (!strcmp(state, "done") || !strcmp(state, "failed") || !strcmp(state, "canceled"));
}

/* Keeps the call that is due for a job, unless it is there. */
static void note(webhooks *w, const char *job_id)
{
    char id[128], type[32];
    ls_error err = {0};
    json_t *job = queue_job(w->q, job_id), *request = queue_job_request(w->q, job_id);
    const char *state = json_string_value(json_object_get(job, "state")),
               *finished = json_string_value(json_object_get(job, "finished")),
               *url = json_string_value(json_object_get(request, "webhook"));
    if (url && has_ended(state) && finished) {
        snprintf(id, sizeof id, "%s_%s_%s", job_id, state, finished);
        snprintf(type, sizeof type, "job.%s", state);
        json_t *o = json_pack("{s:s, s:s, s:O}", "type", type, "timestamp", finished, "data", job);
        char *body = o ? json_dumps(o, JSON_COMPACT) : NULL;
        if (body)
            failed(w,
                   store_do(w->store, &err,
                            "INSERT OR IGNORE INTO calls(id, url, body, due) VALUES(?, ?, ?, ?)",
                            "sssd", id, url, body, server_time()),
                   &err);
        free(body);
        json_decref(o);
    }
    json_decref(job);
    json_decref(request);
}

/* Those that ended while nobody listened. */
static void note_all(webhooks *w)
{
    static const char *const states[] = {"done", "failed", "canceled"};
    ls_error err = {0};
    const json_t *job;
    size_t k;
    failed(w,
           store_do(w->store, &err, "DELETE FROM calls WHERE open = 0 AND due < ?", "d",
                    server_time() - KEPT_SECONDS),
           &err);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        json_t *list = queue_jobs(w->q, 1000, NULL, states[i], &err);
        json_array_foreach(json_object_get(list, "jobs"), k, job)
            note(w, json_string_value(json_object_get(job, "id")));
        json_decref(list);
    }
}

static bool settle(webhooks *w, const char *id, size_t tries, long status, const char *why)
{
    ls_error err = {0};
    const bool taken = status >= 200 && status < 300, gone = status == 410;
    if (!taken && !gone && tries < sizeof pauses / sizeof *pauses) {
        const int ret =
            store_do(w->store, &err, "UPDATE calls SET tries = tries + 1, due = ? WHERE id = ?",
                     "ds", server_time() + pauses[tries], id);
        return !failed(w, ret, &err);
    }
    if (!taken)
        say(w, LS_MESSAGE_WARNING, "webhook of %s was given up: status %ld, %s", id, status, why);
    return !failed(w,
                   store_do(w->store, &err, "UPDATE calls SET open = 0, due = ? WHERE id = ?", "ds",
                            server_time(), id),
                   &err);
}

/* False: that it was made could not be recorded. */
static bool make_call(webhooks *w, const json_t *row)
{
    char why[CURL_ERROR_SIZE];
    ls_error err = {0};
    const char *id = json_string_value(json_object_get(row, "id")),
               *url = json_string_value(json_object_get(row, "url")),
               *body = json_string_value(json_object_get(row, "body"));
    if (!id || !url || !body)
        return false;
    const bool refused = webhook_check(w->s, url, &err); // the list may have changed since
    const long status = refused ? 410 : call(w, id, url, body, why);
    return go_on(w, 0, 0, 0, 0) ||
           settle(w, id, (size_t)json_integer_value(json_object_get(row, "tries")), status,
                  refused ? err.message : why);
}

/* Makes the next call that is due. Seconds until another may be; 0: perhaps at once. */
static double work(webhooks *w)
{
    ls_error err = {0};
    json_t *row = store_first(
        w->store, &err,
        "SELECT id, url, body, tries, due FROM calls WHERE open = 1 ORDER BY due LIMIT 1", "");
    double left =
        json_is_object(row) ? json_number_value(json_object_get(row, "due")) - server_time() : 3600;
    if (!failed(w, row ? 0 : err.code, &err) && left <= 0)
        left = make_call(w, row) ? 0 : 60;
    json_decref(row);
    return left > 0 ? left : 0;
}

static void *run(void *opaque)
{
    webhooks *w = opaque;
    const char *id;
    json_t *value;
    note_all(w);
    pthread_mutex_lock(&w->lock);
    while (!w->is_closing) {
        json_t *changed = w->changed;
        w->changed = json_object();
        pthread_mutex_unlock(&w->lock);
        json_object_foreach(changed, id, value) note(w, id);
        json_decref(changed);
        const double pause = work(w);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += (time_t)pause;
        until.tv_nsec += (long)((pause - (double)(time_t)pause) * 1e9);
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_mutex_lock(&w->lock);
        if (pause > 0 && !w->is_closing && !json_object_size(w->changed))
            pthread_cond_timedwait(&w->wake, &w->lock, &until);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void notice(void *opaque, const char *id)
{
    webhooks *w = opaque;
    pthread_mutex_lock(&w->lock);
    if (!w->is_closing)
        json_object_set_new(w->changed, id, json_null());
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

/* "whsec_" is followed by base64; anything else is the secret itself. */
static int read_secret(webhooks *w, ls_error *err)
{
    char text[SECRET_SIZE + 1] = "";
    struct base64_decode_ctx ctx;
    const char *path = w->s->webhook_secret;
    FILE *f = path ? fopen(path, "re") : NULL;
    if (!f)
        return path ? server_fail_errno(err, "cannot read", path) : 0;
    const size_t n = fread(text, 1, SECRET_SIZE, f);
    fclose(f);
    text[n == SECRET_SIZE ? 0 : n] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    const bool coded = !strncmp(text, "whsec_", 6);
    const char *rest = text + (coded ? 6 : 0);
    w->secret_size = strlen(rest);
    if (coded) {
        base64_decode_init(&ctx);
        if (!base64_decode_update(&ctx, &w->secret_size, w->secret, strlen(rest), rest) ||
            !base64_decode_final(&ctx))
            w->secret_size = 0;
    } else {
        memcpy(w->secret, rest, w->secret_size);
    }
    return w->secret_size ? 0
                          : server_fail(err, LS_EINVAL, "%s: expected a secret of up to %d bytes",
                                        path, SECRET_SIZE - 1);
}

/* A connection of its own to the server's database; "due" is when a call is made next, or was for
 * the last time. */
static int open_store(webhooks *w, ls_error *err)
{
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/latentsync.db", w->s->data);
    if (n >= (int)sizeof path)
        return server_fail(err, LS_EINVAL, "the name of the data folder is too long");
    int ret = store_open(&w->store, path, err);
    if (!ret)
        ret = store_do(w->store, err,
                       "CREATE TABLE IF NOT EXISTS calls(id TEXT PRIMARY KEY NOT NULL,"
                       " url TEXT NOT NULL, body TEXT NOT NULL, due REAL NOT NULL,"
                       " tries INTEGER NOT NULL DEFAULT 0, open INTEGER NOT NULL DEFAULT 1)",
                       "");
    return ret ? ret
               : store_do(w->store, err, "CREATE INDEX IF NOT EXISTS due ON calls(open, due)", "");
}

int webhook_open(webhooks **out, const server_settings *s, queue *q, ls_error *err)
{
    *out = NULL;
    if (!s->webhook_hosts)
        return 0;
    webhooks *w = calloc(1, sizeof *w);
    if (!w)
        return server_fail(err, LS_ENOMEM, "out of memory");
    w->s = s;
    w->q = q;
    w->is_closing = true; // until there is a thread
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    w->changed = json_object();
    w->curl = curl_easy_init();
    int ret =
        w->changed && w->curl ? read_secret(w, err) : server_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        ret = open_store(w, err);
    w->is_closing = ret;
    if (!ret && pthread_create(&w->thread, NULL, run, w)) {
        w->is_closing = true;
        ret = server_fail(err, LS_ENOMEM, "cannot start a thread");
    }
    if (ret)
        webhook_close(w);
    else
        queue_listen(q, notice, w);
    *out = ret ? NULL : w;
    return ret;
}

void webhook_quiesce(webhooks *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->is_closing = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
}

void webhook_close(webhooks *w)
{
    if (!w)
        return;
    store_close(w->store);
    curl_easy_cleanup(w->curl);
    json_decref(w->changed);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    memset(w->secret, 0, sizeof w->secret);
    free(w);
}
