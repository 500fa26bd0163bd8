/* Server-sent events: a response without end, whose connection sleeps while there is nothing new.
 */
#include "server/api.h"
#include "server/basics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP_ALIVE_SECONDS = 15, BLOCK = 8192 };

/* What other threads touch is under the lock of the server. */
struct http_stream {
    http_stream *next;
    http_server *server;
    struct MHD_Connection *connection;
    char id[QUEUE_ID_SIZE];
    bool is_asleep, is_news, is_ending;
    double last; /* when something was sent */
    uint64_t after;
    bool is_over;
    char *text; /* to be sent */
    size_t sent, size;
};

static void append(http_stream *s, const char *text)
{
    const size_t n = strlen(text);
    char *grown = realloc(s->text, s->size + n);
    if (!grown) {
        s->is_over = true;
        return;
    }
    memcpy(grown + s->size, text, n);
    s->text = grown;
    s->size += n;
}

static void append_event(http_stream *s, const json_t *event)
{
    const char *name = json_string_value(json_object_get(event, "event"));
    char *data = json_dumps(json_object_get(event, "data"),
                            JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    char head[128];
    s->after = (uint64_t)json_integer_value(json_object_get(event, "id"));
    snprintf(head, sizeof head, "id: %" PRIu64 "\nevent: %.60s\ndata: ", s->after,
             name ? name : "message");
    append(s, head);
    append(s, data ? data : "null");
    append(s, "\n\n");
    free(data);
}

/* What has happened since; the queue is not asked once it may be closed. */
static void fill(http_stream *s)
{
    http_server *h = s->server;
    const json_t *event;
    size_t i;
    json_t *events = NULL;
    s->sent = s->size = 0;
    pthread_mutex_lock(&h->gate);
    if (!h->is_closing)
        events = queue_events(h->queue, s->id, s->after, &s->is_over);
    pthread_mutex_unlock(&h->gate);
    if (!events)
        s->is_over = true;
    json_array_foreach(events, i, event) append_event(s, event);
    json_decref(events);
    if (!s->size && !s->is_over && server_clock() - s->last >= KEEP_ALIVE_SECONDS)
        append(s, ": keep-alive\n\n");
}

/* Whether the connection now sleeps. */
static bool sleep_unless_news(http_stream *s)
{
    http_server *h = s->server;
    pthread_mutex_lock(&h->lock);
    const bool ok = !s->is_news && !s->is_ending;
    if (ok) {
        s->is_asleep = true;
        MHD_suspend_connection(s->connection);
    }
    pthread_mutex_unlock(&h->lock);
    return ok;
}

static void clear_news(http_stream *s)
{
    pthread_mutex_lock(&s->server->lock);
    s->is_news = false;
    pthread_mutex_unlock(&s->server->lock);
}

static ssize_t read_stream(void *opaque, uint64_t at, char *out, size_t most)
{
    http_stream *s = opaque;
    (void)at;
    while (s->sent == s->size) {
        if (s->is_over)
            return MHD_CONTENT_READER_END_OF_STREAM;
        clear_news(s);
        fill(s);
        if (s->sent == s->size && !s->is_over && sleep_unless_news(s))
            return 0;
    }
    const size_t n = s->size - s->sent < most ? s->size - s->sent : most;
    memcpy(out, s->text + s->sent, n);
    s->sent += n;
    s->last = server_clock();
    return (ssize_t)n;
}

static void close_stream(void *opaque)
{
    http_stream *s = opaque;
    http_server *h = s->server;
    pthread_mutex_lock(&h->lock);
    for (http_stream **p = &h->streams; *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            break;
        }
    pthread_mutex_unlock(&h->lock);
    free(s->text);
    free(s);
}

/* Under the lock. */
static void wake(http_stream *s)
{
    s->is_news = true;
    if (s->is_asleep) {
        s->is_asleep = false;
        MHD_resume_connection(s->connection);
    }
}

void http_events_changed(void *server, const char *id)
{
    http_server *h = server;
    pthread_mutex_lock(&h->lock);
    for (http_stream *s = h->streams; s; s = s->next)
        if (!strcmp(s->id, id))
            wake(s);
    pthread_mutex_unlock(&h->lock);
}

void http_events_tick(http_server *h)
{
    const double now = server_clock();
    pthread_mutex_lock(&h->lock);
    for (http_stream *s = h->streams; s; s = s->next)
        if (s->is_asleep && now - s->last >= KEEP_ALIVE_SECONDS)
            wake(s);
    pthread_mutex_unlock(&h->lock);
}

void http_events_end(http_server *h)
{
    pthread_mutex_lock(&h->lock);
    for (http_stream *s = h->streams; s; s = s->next) {
        s->is_ending = true;
        wake(s);
    }
    pthread_mutex_unlock(&h->lock);
}

static uint64_t last_seen(const http_request *r)
{
    const char *text = http_value(r, "Last-Event-ID");
    text = text ? text : http_argument(r, "after");
    uint64_t number;
    return text && http_number(&text, &number) && !*text ? number : 0;
}

static void reply_stream(http_request *r)
{
    http_server *h = r->server;
    http_stream *s = calloc(1, sizeof *s);
    if (!s)
        return;
    *s = (http_stream){
        .server = h, .connection = r->connection, .last = server_clock(), .after = last_seen(r)};
    memcpy(s->id, r->id, sizeof s->id);
    pthread_mutex_lock(&h->lock);
    s->next = h->streams;
    h->streams = s;
    pthread_mutex_unlock(&h->lock);
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_stream, s, close_stream);
    if (!response) {
        close_stream(s);
        return;
    }
    http_reply(r, MHD_HTTP_OK, response);
    http_header(r, "Content-Type", "text/event-stream");
    http_header(r, "Cache-Control", "no-store");
    http_header(r, "X-Accel-Buffering", "no");
}

void api_job_events(http_request *r)
{
    json_t *job = queue_job(r->server->queue, r->id);
    if (job)
        reply_stream(r);
    else
        http_fail(r, MHD_HTTP_NOT_FOUND, NULL, "there is no such job");
    json_decref(job);
}
