#include "server/upload.h"
#include "server/basics.h"
#include "server/fail.h"
#include "server/tasks.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { SYNC_BYTES = 32 << 20, READ_BYTES = 256 << 10 };

/* Counted by its request and its tasks; those counts, `received` and the list are under the lock of
 * the server. */
struct http_writer {
    http_writer *next;
    http_request *request; /* that writes; NULL: it has ended */
    unsigned tasks;
    bool is_ending;
    int fd;
    uint64_t received, synced, size; /* synced: up to where a task was told to */
    char id[QUEUE_ID_SIZE], sha256[65];
};

typedef struct sync_task {
    task task;
    http_server *server;
    http_writer *writer;
    http_request *held; /* that waits for it, or NULL */
    uint64_t received;
    bool is_end;
} sync_task;

static http_writer *find(http_server *h, const char *id)
{
    http_writer *w = h->writers;
    while (w && strcmp(w->id, id))
        w = w->next;
    return w;
}

/* Under the lock. */
static void release(http_server *h, http_writer *w)
{
    if (w->request || w->tasks)
        return;
    for (http_writer **p = &h->writers; *p; p = &(*p)->next)
        if (*p == w) {
            *p = w->next;
            break;
        }
    close(w->fd);
    free(w);
}

uint64_t upload_received(http_server *h, const char *id, uint64_t recorded)
{
    pthread_mutex_lock(&h->lock);
    const http_writer *w = find(h, id);
    const uint64_t received = w ? w->received : recorded;
    pthread_mutex_unlock(&h->lock);
    return received;
}

bool upload_is_ending(http_server *h, const char *id)
{
    pthread_mutex_lock(&h->lock);
    const http_writer *w = find(h, id);
    const bool is_ending = w && w->is_ending;
    pthread_mutex_unlock(&h->lock);
    return is_ending;
}

int upload_digest(int fd, char out[65], ls_error *err)
{
    uint8_t digest[SHA256_DIGEST_SIZE], *bytes = malloc(READ_BYTES);
    struct sha256_ctx c;
    ssize_t n = -1;
    off_t at = 0;
    sha256_init(&c);
    while (bytes && (n = pread(fd, bytes, READ_BYTES, at)) > 0) {
        sha256_update(&c, (size_t)n, bytes);
        at += n;
    }
    free(bytes);
    if (n)
        return server_fail(err, LS_EIO, "cannot read the upload again: %s", strerror(errno));
    sha256_digest(&c, sizeof digest, digest);
    server_hex(digest, sizeof digest, out);
    return 0;
}

/* A file that is not what was announced is dropped. */
static int verify(sync_task *t, ls_error *err)
{
    http_server *h = t->server;
    http_writer *w = t->writer;
    char digest[65];
    int ret = *w->sha256 ? upload_digest(w->fd, digest, err) : 0;
    if (ret || !*w->sha256 || !strcasecmp(digest, w->sha256))
        return ret;
    pthread_mutex_lock(&h->lock);
    t->received = w->received = w->synced = 0;
    pthread_mutex_unlock(&h->lock);
    if (!ftruncate(w->fd, 0))
        queue_upload_received(h->queue, w->id, 0, false, err);
    return server_fail(err, LS_EFORMAT, "the file's SHA-256 is %s, not %s; send it again", digest,
                       w->sha256);
}

static int sync_and_record(sync_task *t, ls_error *err)
{
    const http_writer *w = t->writer;
    if (fdatasync(w->fd))
        return server_fail(err, errno == ENOSPC ? LS_ENOSPC : LS_EIO, "cannot write the upload: %s",
                           strerror(errno));
    const int ret = t->is_end ? verify(t, err) : 0;
    return ret ? ret : queue_upload_received(t->server->queue, w->id, t->received, t->is_end, err);
}

static void run_sync(task *base)
{
    sync_task *t = (sync_task *)base;
    http_server *h = t->server;
    ls_error err = {0};
    const int ret = sync_and_record(t, &err);
    pthread_mutex_lock(&h->lock);
    t->writer->tasks--;
    t->writer->is_ending = false;
    release(h, t->writer);
    pthread_mutex_unlock(&h->lock);
    if (t->held)
        http_answer(t->held, ret ? NULL : json_pack("{s:I}", "received", (json_int_t)t->received),
                    &err);
    free(t);
}

/* Under the lock. Whether a task was added. */
static bool add_task(http_server *h, http_writer *w, http_request *held)
{
    sync_task *t = calloc(1, sizeof *t);
    if (!t)
        return false;
    *t = (sync_task){.task.run = run_sync,
                     .server = h,
                     .writer = w,
                     .held = held,
                     .received = w->received,
                     .is_end = held && w->received == w->size};
    w->tasks++;
    w->synced = w->received;
    w->is_ending = w->is_ending || t->is_end;
    tasks_add(h->tasks, &t->task);
    return true;
}

int upload_write(int fd, const char *data, size_t size, uint64_t offset, ls_error *err)
{
    while (size) {
        const ssize_t n = pwrite(fd, data, size, (off_t)offset);
        if (n < 0 && errno != EINTR)
            return server_fail(err, errno == ENOSPC || errno == EDQUOT ? LS_ENOSPC : LS_EIO,
                               "cannot write the upload: %s", strerror(errno));
        if (n > 0) {
            data += n;
            size -= (size_t)n;
            offset += (uint64_t)n;
        }
    }
    return 0;
}

static bool take(http_request *r, const char *data, size_t size)
{
    http_writer *w = r->writer;
    ls_error err = {0};
    if (!w)
        return false; // another request writes there now
    if (size > w->size - w->received) {
        http_fail(r, MHD_HTTP_CONTENT_TOO_LARGE, NULL, "the upload was to have %llu bytes",
                  (unsigned long long)w->size);
        return true;
    }
    if (upload_write(w->fd, data, size, w->received, &err)) {
        http_fail_error(r, &err);
        return true;
    }
    pthread_mutex_lock(&r->server->lock);
    w->received += size;
    if (w->received - w->synced >= SYNC_BYTES && w->received < w->size)
        add_task(r->server, w, NULL);
    pthread_mutex_unlock(&r->server->lock);
    return true;
}

static http_writer *open_writer(http_request *r, const json_t *row, uint64_t offset)
{
    http_server *h = r->server;
    http_writer *w = calloc(1, sizeof *w);
    const char *sha256 = json_string_value(json_object_get(row, "sha256"));
    char path[4096];
    if (!w)
        return NULL;
    queue_upload_path(h->queue, r->id, path, sizeof path);
    w->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (w->fd < 0) {
        free(w);
        return NULL;
    }
    memcpy(w->id, r->id, sizeof w->id);
    snprintf(w->sha256, sizeof w->sha256, "%s", sha256 ? sha256 : "");
    w->received = w->synced = offset;
    w->size = (uint64_t)json_integer_value(json_object_get(row, "size"));
    w->next = h->writers;
    h->writers = w;
    return w;
}

bool upload_begin(http_request *r, const json_t *row, uint64_t offset)
{
    http_server *h = r->server;
    pthread_mutex_lock(&h->lock);
    http_writer *w = find(h, r->id);
    if (!w)
        w = open_writer(r, row, offset);
    else if (w->request)
        w->request->writer = NULL;
    if (w)
        w->request = r;
    pthread_mutex_unlock(&h->lock);
    r->writer = w;
    r->take = take;
    if (!w)
        http_fail(r, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, "cannot open the upload's file");
    return w;
}

void upload_end(http_request *r, void (*resume)(http_request *r))
{
    http_server *h = r->server;
    http_writer *w = r->writer;
    const ls_error none = {.code = LS_ENOMEM, .message = "out of memory"};
    http_hold(r, resume);
    pthread_mutex_lock(&h->lock);
    const bool ok = w && add_task(h, w, r);
    if (w) {
        w->request = NULL;
        r->writer = NULL;
        release(h, w);
    }
    pthread_mutex_unlock(&h->lock);
    if (!ok)
        http_answer(r, NULL, &none);
}

/* Under the lock. */
static void abandon(http_server *h, http_writer *w)
{
    if (w->request)
        w->request->writer = NULL;
    w->request = NULL;
    if (w->received != w->synced)
        add_task(h, w, NULL);
    release(h, w);
}

void upload_abandon(http_request *r)
{
    pthread_mutex_lock(&r->server->lock);
    if (r->writer)
        abandon(r->server, r->writer);
    pthread_mutex_unlock(&r->server->lock);
}

void upload_stop(http_server *h, const char *id)
{
    pthread_mutex_lock(&h->lock);
    http_writer *w = find(h, id);
    if (w)
        abandon(h, w);
    pthread_mutex_unlock(&h->lock);
}

void upload_abandon_all(http_server *h)
{
    pthread_mutex_lock(&h->lock);
    for (http_writer *w = h->writers, *next; w; w = next) {
        next = w->next;
        if (w->request)
            abandon(h, w);
    }
    pthread_mutex_unlock(&h->lock);
}
