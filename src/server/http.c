#include "server/http.h"
#include "server/basics.h"
#include "server/fail.h"
#include "server/form.h"
#include "server/tasks.h"
#include "server/upload.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

const char *http_value(const http_request *r, const char *header)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, header);
}

const char *http_argument(const http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

uint64_t http_length(const http_request *r)
{
    const char *text = http_value(r, "Content-Length");
    if (text)
        return strtoull(text, NULL, 10);
    return http_value(r, "Transfer-Encoding") ? UINT64_MAX : 0;
}

static bool is_file_name(const char *text, size_t n)
{
    return n && n < sizeof((http_request *)0)->name && *text != '.' &&
           server_is_plain(text, n, "._-");
}

static bool match_part(http_request *r, const char *pattern, const char *text, size_t n)
{
    char id[QUEUE_ID_SIZE];
    const size_t m = strcspn(pattern, "/");
    if (m == 4 && !strncmp(pattern, "{id}", m)) {
        snprintf(id, sizeof id, "%.*s", (int)n, text);
        if (n != sizeof id - 1 || !queue_is_id(id))
            return false;
        memcpy(r->id, id, sizeof id);
        return true;
    }
    if (m == 6 && !strncmp(pattern, "{name}", m)) {
        if (!is_file_name(text, n))
            return false;
        snprintf(r->name, sizeof r->name, "%.*s", (int)n, text);
        return true;
    }
    return m == n && !strncmp(pattern, text, n);
}

static bool match(http_request *r, const char *pattern, const char *path)
{
    while (*pattern == '/' && *path == '/') {
        const size_t n = strcspn(++path, "/");
        if (!match_part(r, ++pattern, path, n))
            return false;
        pattern += strcspn(pattern, "/");
        path += n;
    }
    return !*pattern && !*path;
}

static void refuse_method(http_request *r, const char *path)
{
    char allow[128] = "";
    for (const http_route *t = http_routes; t->method; t++)
        if (match(r, t->path, path) && !strstr(allow, t->method)) {
            const size_t n = strlen(allow);
            snprintf(allow + n, sizeof allow - n, "%s%s%s", n ? ", " : "",
                     !strcmp(t->method, "GET") ? "HEAD, " : "", t->method);
        }
    if (!*allow) {
        http_fail(r, MHD_HTTP_NOT_FOUND, NULL, "there is nothing under this path");
        return;
    }
    http_fail(r, MHD_HTTP_METHOD_NOT_ALLOWED, NULL, "this path is for %s", allow);
    http_header(r, "Allow", "%s", allow);
}

static void find_route(http_request *r, const char *method, const char *path)
{
    static const http_route unknown = {.method = "", .path = ""};
    const char *prefix = r->server->settings->prefix;
    const size_t n = strlen(prefix);
    if (n && !strncmp(path, prefix, n) && (path[n] == '/' || !path[n]))
        path += n;
    if (!strcmp(method, "HEAD"))
        method = "GET"; // libmicrohttpd leaves the body out
    r->route = &unknown;
    for (const http_route *t = http_routes; t->method; t++)
        if (!strcmp(t->method, method) && match(r, t->path, path)) {
            r->route = t;
            return;
        }
    if (n && !*path) {
        http_reply_empty(r, MHD_HTTP_PERMANENT_REDIRECT);
        http_header(r, "Location", "%s/", prefix);
        return;
    }
    refuse_method(r, path);
}

static size_t most_json(const http_request *r)
{
    return r->route->flags & HTTP_LARGE ? HTTP_MAX_LARGE : HTTP_MAX_JSON;
}

static void refuse_large(http_request *r)
{
    http_fail(r, MHD_HTTP_CONTENT_TOO_LARGE,
              r->route->flags & HTTP_LARGE ? "send large files with POST /v1/uploads" : NULL,
              "the body has more than %zu bytes", most_json(r));
}

static void drop_body(http_request *r)
{
    r->server->bodies -= r->body_size;
    free(r->body);
    r->body = NULL;
    r->body_size = 0;
}

static bool take_json(http_request *r, const char *data, size_t size)
{
    if (size > most_json(r) - r->body_size) {
        refuse_large(r);
        return true;
    }
    if (size > HTTP_MAX_BODIES - r->server->bodies) {
        http_fail(r, MHD_HTTP_TOO_MANY_REQUESTS, NULL, "too many large requests at a time");
        return true;
    }
    char *grown = realloc(r->body, r->body_size + size);
    if (!grown)
        return false;
    memcpy(grown + r->body_size, data, size);
    r->body = grown;
    r->body_size += size;
    r->server->bodies += size;
    return true;
}

void http_begin_json(http_request *r)
{
    const char *type = http_value(r, "Content-Type");
    const uint64_t length = http_length(r);
    r->take = take_json;
    if (!type || strncasecmp(type, "application/json", 16) || (type[16] && !strchr("; ", type[16])))
        http_fail(r, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, NULL,
                  "the body must be JSON, with the Content-Type application/json");
    else if (length != UINT64_MAX && length > most_json(r))
        refuse_large(r);
}

void http_read_json(http_request *r)
{
    json_error_t e;
    r->json = json_loadb(r->body ? r->body : "", r->body_size, JSON_REJECT_DUPLICATES, &e);
    drop_body(r);
    if (!r->json)
        http_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "the body is not JSON: %s", e.text);
    else if (!json_is_object(r->json))
        http_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "the body is not a JSON object");
}

static void set_deadline(http_request *r, double seconds)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    http_connection *c = i ? i->socket_context : NULL;
    if (!c)
        return;
    pthread_mutex_lock(&r->server->sockets);
    c->deadline = seconds > 0 ? server_clock() + seconds : 0;
    pthread_mutex_unlock(&r->server->sockets);
}

static void begin(http_request *r, const char *method, const char *path)
{
    find_route(r, method, path);
    if (!http_guard_allows(r) || r->response)
        return;
    if (r->route->flags & HTTP_JSON)
        http_begin_json(r);
    if (!r->response && r->route->begin)
        r->route->begin(r);
}

static void run(http_request *r)
{
    if (r->route->flags & HTTP_JSON)
        http_read_json(r);
    if (!r->response)
        r->route->run(r);
}

/* Whether the answer is to be given before the body is read, which closes the connection. */
static bool is_early(const http_request *r)
{
    const uint64_t length = http_length(r);
    return r->response && length && (length > HTTP_MAX_DRAIN || http_value(r, "Expect"));
}

static enum MHD_Result send_answer(http_request *r)
{
    r->server->answers[r->status / 100 % 6]++;
    return MHD_queue_response(r->connection, r->status, r->response);
}

static bool take(http_request *r, const char *data, size_t size)
{
    r->server->received += size;
    r->recent += size;
    if (r->recent >= (size_t)HTTP_SECONDS * HTTP_LEAST_RATE) {
        r->recent = 0;
        set_deadline(r, HTTP_SECONDS);
    }
    if (!r->response && r->take)
        return r->take(r, data, size);
    r->drained += size;
    return r->drained <= HTTP_MAX_DRAIN;
}

static void answer_held(http_request *r)
{
    void (*resume)(http_request *) = r->resume;
    r->resume = NULL;
    resume(r);
}

static void close_down(http_request *r)
{
    r->resume = NULL;
    http_fail(r, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, "the server is ending");
    http_header(r, "Retry-After", "5");
}

/* A call after the first: a part of the body, its end, or an answer to a held request. */
static enum MHD_Result proceed(http_request *r, const char *data, size_t *size)
{
    if (*size) {
        const bool ok = take(r, data, *size);
        *size = 0;
        return ok ? MHD_YES : MHD_NO;
    }
    set_deadline(r, 0);
    if (!r->response && r->resume)
        answer_held(r);
    else if (!r->response)
        run(r);
    return r->response ? send_answer(r) : r->resume ? MHD_YES : MHD_NO;
}

static enum MHD_Result first(http_server *h, struct MHD_Connection *c, const char *path,
                             const char *method, void **context)
{
    http_request *r = calloc(1, sizeof *r);
    if (!r)
        return MHD_NO;
    *context = r;
    r->server = h;
    r->connection = c;
    http_log_begin(r, method, path);
    if (h->is_closing)
        close_down(r);
    else
        begin(r, method, path);
    set_deadline(r, HTTP_SECONDS);
    return is_early(r) ? send_answer(r) : MHD_YES;
}

static enum MHD_Result on_request(void *opaque, struct MHD_Connection *c, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **context)
{
    http_server *h = opaque;
    http_request *r = *context;
    enum MHD_Result result;
    (void)version;
    pthread_mutex_lock(&h->gate);
    if (r && h->is_closing && !r->response)
        close_down(r);
    result = r ? proceed(r, data, size) : first(h, c, path, method, context);
    pthread_mutex_unlock(&h->gate);
    return result;
}

static void on_completed(void *opaque, struct MHD_Connection *c, void **context,
                         enum MHD_RequestTerminationCode why)
{
    http_request *r = *context;
    http_server *h = opaque;
    (void)c;
    (void)why;
    if (!r)
        return;
    http_log_end(r);
    pthread_mutex_lock(&h->gate);
    set_deadline(r, HTTP_SECONDS);
    upload_abandon(r);
    form_free(r->form);
    if (r->response)
        MHD_destroy_response(r->response);
    json_decref(r->json);
    json_decref(r->result);
    drop_body(r);
    free(r->target);
    free(r);
    pthread_mutex_unlock(&h->gate);
    *context = NULL;
}

static void forget(http_connection *c)
{
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    free(c);
}

static void on_connection(void *opaque, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    http_server *h = opaque;
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    pthread_mutex_lock(&h->sockets);
    if (code == MHD_CONNECTION_NOTIFY_CLOSED && *context) {
        forget(*context);
        *context = NULL;
    } else if (code == MHD_CONNECTION_NOTIFY_STARTED && i) {
        http_connection *c = calloc(1, sizeof *c);
        if (c) {
            *c = (http_connection){.next = h->connections,
                                   .link = &h->connections,
                                   .fd = i->connect_fd,
                                   .deadline = server_clock() + HTTP_SECONDS};
            if (c->next)
                c->next->link = &c->next;
            h->connections = c;
            *context = c;
        }
    }
    pthread_mutex_unlock(&h->sockets);
}

static void on_log(void *opaque, const char *fmt, va_list ap)
{
    http_server *h = opaque;
    char line[512];
    const int n = vsnprintf(line, sizeof line, fmt, ap);
    if (n > 0 && h->settings->message) {
        line[strcspn(line, "\n")] = '\0';
        h->settings->message(h->settings->opaque, LS_MESSAGE_DEBUG, line);
    }
}

void http_hold(http_request *r, void (*resume)(http_request *r))
{
    http_server *h = r->server;
    r->resume = resume;
    pthread_mutex_lock(&h->lock);
    r->next_held = h->held;
    h->held = r;
    MHD_suspend_connection(r->connection);
    pthread_mutex_unlock(&h->lock);
}

/* Under the lock. */
static void release(http_server *h, http_request *r)
{
    for (http_request **p = &h->held; *p; p = &(*p)->next_held)
        if (*p == r) {
            *p = r->next_held;
            MHD_resume_connection(r->connection);
            break;
        }
}

void http_resume(void *server, const char *id)
{
    http_server *h = server;
    const double now = server_clock();
    pthread_mutex_lock(&h->lock);
    for (http_request *r = h->held, *next; r; r = next) {
        next = r->next_held;
        if (r->until > 0 && (id ? !strcmp(r->id, id) : now >= r->until))
            release(h, r);
    }
    pthread_mutex_unlock(&h->lock);
}

void http_answer(void *request, json_t *result, const ls_error *err)
{
    http_request *r = request;
    http_server *h = r->server;
    pthread_mutex_lock(&h->lock);
    r->result = result;
    if (!result && err)
        r->error = *err;
    release(h, r);
    pthread_mutex_unlock(&h->lock);
}

static int open_socket(http_server *h, ls_error *err)
{
    const server_settings *s = h->settings;
    listen_address *a = &h->address;
    int ret = listen_open(&h->socket, a, s->listen, err);
    if (!ret)
        ret = http_guard_open(&h->guard, s, a->host, a->port, err);
    if (!ret && !a->is_loopback && !http_guard_has_token(h->guard))
        ret = server_fail(err, LS_EINVAL,
                          "other machines could reach %s: a file with a token is needed, or an "
                          "address of this machine alone, such as 127.0.0.1",
                          s->listen);
    listen_url(a, s->prefix, h->url, sizeof h->url);
    return ret;
}

const char *http_url(const http_server *h)
{
    return h->url;
}

int http_open(http_server **out, const server_settings *s, ls_error *err)
{
    http_server *h = calloc(1, sizeof *h);
    *out = NULL;
    if (!h)
        return server_fail(err, LS_ENOMEM, "out of memory");
    h->settings = s;
    h->socket = -1;
    h->started = server_clock();
    pthread_mutex_init(&h->gate, NULL);
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_init(&h->sockets, NULL);
    int ret = open_socket(h, err);
    if (!ret)
        ret = http_log_open(h, err);
    if (!ret)
        ret = tasks_open(&h->tasks, err);
    if (ret)
        http_close(h);
    else
        *out = h;
    return ret;
}

/* An encoded zero would end the path early; as a 1 it is part of a name that does not exist. */
static size_t unescape(void *opaque, struct MHD_Connection *c, char *text)
{
    (void)opaque, (void)c;
    for (char *p = text; (p = strstr(p, "%00")); p += 3)
        p[2] = '1';
    return MHD_http_unescape(text);
}

int http_start(http_server *h, queue *q, ls_error *err)
{
    h->queue = q;
    queue_listen(q, http_events_changed, h);
    queue_listen(q, http_resume, h);
    h->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_log, h, MHD_OPTION_LISTEN_SOCKET, h->socket,
        MHD_OPTION_CONNECTION_LIMIT, HTTP_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, HTTP_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_MEMORY, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
        MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)(512 << 10), MHD_OPTION_END);
    if (!h->daemon)
        return server_fail(err, LS_EIO, "the HTTP server cannot start");
    h->socket = -1; // the daemon's
    return 0;
}

void http_tick(http_server *h)
{
    const double now = server_clock();
    pthread_mutex_lock(&h->sockets);
    for (http_connection *c = h->connections; c; c = c->next)
        if (c->deadline > 0 && now > c->deadline) {
            shutdown(c->fd, SHUT_RDWR); // its thread sees the end and closes it
            c->deadline = 0;
        }
    pthread_mutex_unlock(&h->sockets);
    http_events_tick(h);
    http_resume(h, NULL);
}

void http_quiesce(http_server *h)
{
    pthread_mutex_lock(&h->gate);
    h->is_closing = true;
    upload_abandon_all(h);
    pthread_mutex_unlock(&h->gate);
    tasks_close(&h->tasks);
}

void http_close(http_server *h)
{
    if (!h)
        return;
    tasks_close(&h->tasks);
    pthread_mutex_lock(&h->lock);
    while (h->held)
        release(h, h->held);
    pthread_mutex_unlock(&h->lock);
    http_events_end(h);
    if (h->daemon)
        MHD_stop_daemon(h->daemon);
    if (h->socket >= 0)
        close(h->socket);
    if (h->log)
        fclose(h->log);
    listen_remove(&h->address);
    http_guard_close(h->guard);
    pthread_mutex_destroy(&h->gate);
    pthread_mutex_destroy(&h->lock);
    pthread_mutex_destroy(&h->sockets);
    free(h);
}
