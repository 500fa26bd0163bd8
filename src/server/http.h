/* The HTTP side of the server: one thread of libmicrohttpd that finds the route of a request,
 * checks who may make it, collects its body and answers. Handlers run in that thread and must not
 * wait; one that has to holds its request instead. */
#ifndef LS_SERVER_HTTP_H
#define LS_SERVER_HTTP_H

#include "server/listen.h"
#include "server/queue.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

enum {
    HTTP_MAX_JSON = 64 << 10,   /* bytes of a JSON body */
    HTTP_MAX_LARGE = 16 << 20,  /* of one with files in it */
    HTTP_MAX_BODIES = 64 << 20, /* of all that are in memory */
    HTTP_MAX_DRAIN = 16 << 20,  /* of a refused body that are read so that the answer arrives */
    HTTP_CONNECTIONS = 400,     /* each may hold a file open too; 1,024 is a usual limit */
    HTTP_SECONDS = 30,          /* without a byte, or for headers and a small body */
    HTTP_LEAST_RATE = 1 << 10,  /* bytes a second of a body */
    HTTP_MEMORY = 32 << 10
};

typedef struct http_server http_server;
typedef struct http_request http_request;
typedef struct http_stream http_stream;
typedef struct http_writer http_writer;
typedef struct http_form http_form;

enum {
    HTTP_OPEN = 1,  /* needs no token */
    HTTP_JSON = 2,  /* has a JSON body, read before `run` */
    HTTP_BYTES = 4, /* `begin` says where its body goes */
    HTTP_LARGE = 8, /* the JSON may hold files */
};

typedef struct http_route {
    const char *method;
    const char *path; /* {id} is an ID, {name} a plain file name */
    int flags;
    void (*begin)(http_request *r); /* when the headers are there; NULL: nothing to do */
    void (*run)(http_request *r);   /* when the body is */
} http_route;

struct http_request {
    http_server *server;
    struct MHD_Connection *connection;
    const http_route *route;
    char id[QUEUE_ID_SIZE], name[64]; /* of the route */
    char *body;
    size_t body_size;
    json_t *json; /* the body of HTTP_JSON: an object */
    /* Takes a part of the body; NULL: it is dropped. False: the connection is closed. */
    bool (*take)(http_request *r, const char *data, size_t size);
    http_writer *writer; /* of an upload */
    http_form *form;
    struct MHD_Response *response;
    unsigned status; /* 0: the client left */
    double begun;
    char *target; /* for the log: method and path; NULL: there is none */
    uint64_t drained;
    size_t recent; /* bytes of the body since the deadline was set */
    /* A held request: */
    http_request *next_held;
    void (*resume)(http_request *r); /* when it was answered, with one of these: */
    json_t *result;
    ls_error error;
    double until; /* resumed by every change of the job `id`, and then; 0: by http_answer alone */
};

typedef struct http_connection {
    struct http_connection *next, **link;
    int fd;
    double deadline; /* 0: none */
} http_connection;

struct http_server {
    const server_settings *settings;
    queue *queue;
    struct tasks *tasks;
    struct MHD_Daemon *daemon;
    struct http_guard *guard;
    listen_address address;
    int socket; /* until the daemon has it; -1 */
    char url[300];
    pthread_mutex_t gate; /* held while a handler runs */
    bool is_closing;      /* under `gate`: the queue is not to be used any more */
    pthread_mutex_t lock; /* of these lists: */
    http_request *held;
    http_stream *streams;
    http_writer *writers;
    pthread_mutex_t sockets; /* of this one, and held by callbacks of libmicrohttpd: */
    http_connection *connections;
    FILE *log;     /* or NULL */
    size_t bodies; /* bytes of JSON bodies in memory */
    double started;
    uint64_t answers[6], received; /* answers by the first digit of their status */
};

/* Takes the address of `s`. LS_EINVAL, LS_EBUSY, LS_EIO; *out is then NULL. */
int http_open(http_server **out, const server_settings *s, ls_error *err);
/* Begins to answer. */
int http_start(http_server *h, queue *q, ls_error *err);
/* What to open in a browser. */
const char *http_url(const http_server *h);
/* To be called several times a second: ends what is too slow, keeps streams alive. */
void http_tick(http_server *h);
/* From here on no handler uses the queue, which may then be closed. */
void http_quiesce(http_server *h);
/* After queue_close. Takes NULL. */
void http_close(http_server *h);

/* Answers. The first counts. */
void http_reply(http_request *r, unsigned status, struct MHD_Response *response);
void http_reply_json(http_request *r, unsigned status, json_t *object); /* takes it over */
void http_reply_empty(http_request *r, unsigned status);
void http_header(http_request *r, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* With a code by the status; `hint` may be NULL. */
void http_fail(http_request *r, unsigned status, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* With a status by err->code. */
void http_fail_error(http_request *r, const ls_error *err);
/* A file, or the range of it that was asked for; 404 if it is not there. `name`: what to call it
 * when it is saved; NULL: it is to be shown. `cache`: of Cache-Control. */
void http_reply_file(http_request *r, const char *path, const char *type, const char *name,
                     const char *cache);
/* By the extension of a file; nothing that a browser would run. */
const char *http_media_type(const char *name);
void http_reply_page(http_request *r, const char *path);

/* Suspends the request until http_answer, in any thread; `resume` is then called in the thread of
 * the handlers. */
void http_hold(http_request *r, void (*resume)(http_request *r));
/* Resumes requests that wait for this job; NULL: those that have waited long enough. */
void http_resume(void *server, const char *id);
/* A queue_answer. */
void http_answer(void *request, json_t *result, const ls_error *err);

/* Streams of events: `changed` is for queue_listen, `tick` as http_tick, `end` before the stop. */
void http_events_changed(void *server, const char *id);
void http_events_tick(http_server *h);
void http_events_end(http_server *h);

/* The log of requests that the settings ask for. */
int http_log_open(http_server *h, ls_error *err);
void http_log_begin(http_request *r, const char *method, const char *path);
void http_log_end(http_request *r);

const char *http_value(const http_request *r, const char *header);
const char *http_argument(const http_request *r, const char *name);
/* Reads a decimal number of up to 18 digits, and moves on behind it. */
bool http_number(const char **text, uint64_t *out);
/* How many bytes the body will have; UINT64_MAX: unknown. */
uint64_t http_length(const http_request *r);

/* The body of HTTP_JSON, for a route that takes others too; both may answer. */
void http_begin_json(http_request *r);
void http_read_json(http_request *r);

/* Routes, ended by one without a method. */
extern const http_route http_routes[];

/* Host, Origin and token. */
typedef struct http_guard http_guard;
int http_guard_open(http_guard **out, const server_settings *s, const char *host, unsigned port,
                    ls_error *err);
void http_guard_close(http_guard *g);
/* False after an answer. */
bool http_guard_allows(http_request *r);
/* Whether `token` is the one of the file; true where there is none. */
bool http_guard_is_token(const http_guard *g, const char *token);
bool http_guard_has_token(const http_guard *g);
const char *http_guard_cookie(const http_guard *g);

#endif
