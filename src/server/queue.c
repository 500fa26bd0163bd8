#include "server/queue_state.h"
#include "server/basics.h"
#include "server/machine.h"
#include "server/slurm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void queue_new_id(char id[QUEUE_ID_SIZE])
{
    unsigned char bytes[QUEUE_ID_SIZE / 2];
    size_t got = 0;
    while (got < sizeof bytes) {
        const ssize_t n = getrandom(bytes + got, sizeof bytes - got, 0);
        got += n > 0 ? (size_t)n : 0;
    }
    server_hex(bytes, sizeof bytes, id);
}

bool queue_is_id(const char *text)
{
    return strspn(text, "0123456789abcdef") == QUEUE_ID_SIZE - 1 && !text[QUEUE_ID_SIZE - 1];
}

json_t *queue_time_text(const json_t *seconds)
{
    char text[40];
    struct tm tm;
    const double s = json_number_value(seconds);
    const time_t whole = (time_t)s;
    if (!json_is_number(seconds) || !gmtime_r(&whole, &tm))
        return json_null();
    const size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof text - n, ".%03dZ", (int)((s - (double)whole) * 1000));
    return json_string(text);
}

void queue_wake(queue *q)
{
    const uint64_t one = 1;
    while (write(q->wake, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

queue_due *queue_new_due(queue_answer *answer, void *opaque, ls_error *err)
{
    queue_due *due = calloc(1, sizeof *due);
    if (due)
        *due = (queue_due){.answer = answer, .opaque = opaque};
    else
        server_fail(err, LS_ENOMEM, "no memory for an answer");
    return due;
}

void queue_owe(queue *q, queue_due *due, json_t *result, const ls_error *err)
{
    due->next = NULL;
    due->result = result;
    if (err)
        due->err = *err;
    *q->last_due = due;
    q->last_due = &due->next;
    queue_wake(q);
}

void queue_changed(queue *q, const char *id)
{
    json_object_set_new(q->changed, id, json_true());
    queue_wake(q);
}

void queue_listen(queue *q, void (*changed)(void *opaque, const char *id), void *opaque)
{
    pthread_mutex_lock(&q->lock);
    if (q->listener_count < QUEUE_LISTENERS) {
        q->listeners[q->listener_count].changed = changed;
        q->listeners[q->listener_count++].opaque = opaque;
    }
    pthread_mutex_unlock(&q->lock);
}

/* Called with the lock, which is open meanwhile. */
static void deliver(queue *q)
{
    const char *id;
    json_t *changed = q->changed, *value;
    queue_due *due = q->first_due;
    q->changed = json_object();
    q->first_due = NULL;
    q->last_due = &q->first_due;
    const size_t listeners = q->listener_count;
    pthread_mutex_unlock(&q->lock);
    while (due) {
        queue_due *next = due->next;
        due->answer(due->opaque, due->result, due->result ? NULL : &due->err);
        free(due);
        due = next;
    }
    json_object_foreach(changed, id, value)
    {
        for (size_t i = 0; i < listeners; i++)
            q->listeners[i].changed(q->listeners[i].opaque, id);
    }
    json_decref(changed);
    pthread_mutex_lock(&q->lock);
}

int queue_check_space(queue *q, uint64_t bytes, ls_error *err)
{
    folder_space space;
    const int ret = folder_get_space(&space, q->data, err);
    if (ret || (space.free >= space.reserve && space.free - space.reserve >= bytes))
        return ret;
    server_fail(err, LS_ENOSPC, "there is not enough space: %.1f MB are free",
                (double)space.free / 1e6);
    if (err)
        err->hint = LS_HINT_FREE_SPACE;
    return LS_ENOSPC;
}

void queue_program(const queue *q, char out[QUEUE_PATH])
{
    if (!realpath(q->s->program, out))
        snprintf(out, QUEUE_PATH, "%s", q->s->program);
}

int queue_start_worker(queue *q, worker *w, const arguments *a, const char *temporary,
                       const sandbox *box, int death_signal, ls_error *err)
{
    char cache[QUEUE_PATH], program[QUEUE_PATH];
    folder_space space = {0};
    queue_program(q, program);
    snprintf(cache, sizeof cache, "%s/cache", q->data);
    if (a->is_incomplete)
        return server_fail(err, LS_ENOMEM, "no memory for the arguments of a process");
    folder_get_space(&space, q->data, NULL);
    const worker_start_settings settings = {
        .program = program,
        .argv = (const char *const *)a->list,
        .temporary = temporary,
        .cache = cache,
        .sandbox = box,
        .death_signal = death_signal,
        .file_bytes = space.free > space.reserve ? space.free - space.reserve : 0};
    return worker_start(w, &settings, err);
}

void queue_share_arguments(const queue *q, arguments *a)
{
    arguments_add(a, "--max-memory=%llu", (unsigned long long)q->worker_memory);
    if (q->worker_threads)
        arguments_add(a, "--threads=%d", q->worker_threads);
}

void queue_input_arguments(const queue *q, arguments *a, const json_t *request, int use)
{
    const char *features = json_string_value(json_object_get(request, "features_from"));
    if (q->s->models)
        arguments_add(a, "--models=%s", q->s->models);
    if (q->s->device)
        arguments_add(a, "--device=%s", q->s->device);
    arguments_add_options(a, request, use);
    if (features)
        arguments_add(a, "--features-from=%s/uploads/%s", q->data, features);
    arguments_add(a, "%s/uploads/%s", q->data,
                  json_string_value(json_object_get(request, "video")));
    arguments_add(a, "%s/uploads/%s", q->data,
                  json_string_value(json_object_get(request, "audio")));
}

/* The pipes and the bell. Called with the lock, which is open meanwhile. */
static void wait_for_work(queue *q)
{
    const size_t most = 1 + WORKER_FDS * (q->workers + queue_tools_count(q));
    struct pollfd *fds = calloc(most, sizeof *fds);
    size_t count = 0;
    uint64_t rung;
    int milliseconds = 1000;
    if (fds) {
        fds[count++] = (struct pollfd){.fd = q->wake, .events = POLLIN};
        count += queue_runs_poll(q, fds + count);
        count += queue_tools_poll(q, fds + count);
    }
    if (q->first_due || json_object_size(q->changed))
        milliseconds = 0;
    pthread_mutex_unlock(&q->lock);
    poll(fds, count, milliseconds);
    while (read(q->wake, &rung, sizeof rung) > 0)
        ;
    pthread_mutex_lock(&q->lock);
    free(fds);
}

static void end_all(queue *q)
{
    for (size_t i = 0; i < q->workers; i++)
        worker_stop(&q->runs[i].worker, 10);
    queue_tools_end(q, NULL);
}

static uint64_t bytes_of(const json_t *machine, const char *name, uint64_t otherwise)
{
    const json_t *value = json_object_get(machine, name);
    return json_is_integer(value) ? (uint64_t)json_integer_value(value) : otherwise;
}

static uint64_t free_memory(const json_t *machine)
{
    const uint64_t bytes = bytes_of(machine, "available_bytes", 2ull << 30);
    const uint64_t limit = bytes_of(machine, "cgroup_limit_bytes", UINT64_MAX);
    const uint64_t used = bytes_of(machine, "cgroup_used_bytes", 0);
    const uint64_t rest = limit > used ? limit - used : 0;
    return rest < bytes ? rest : bytes;
}

/* Shares the machine out. One job makes use of all its cores up to about eight; several beside each
 * other would each take longer, and make nobody's result earlier. */
static void share_out(queue *q, const json_t *machine)
{
    const uint64_t own = 64u << 20, usual = 6ull << 30, least = 128u << 20;
    const size_t known = (size_t)bytes_of(machine, "cores", 1), cores = known ? known : 1;
    const bool has_card = json_array_size(json_object_get(machine, "devices")) > 1;
    uint64_t all = q->s->max_memory ? q->s->max_memory : free_memory(machine) / 10 * 7;
    all = all > own + least ? all - own : least;
    size_t workers = q->s->workers;
    if (!workers && q->is_cluster)
        workers = 8;
    else if (!workers && !has_card) // which one job takes
        workers = cores / 8 < all / usual ? cores / 8 : (size_t)(all / usual);
    q->workers = workers < 1 ? 1 : workers > QUEUE_MOST_WORKERS ? QUEUE_MOST_WORKERS : workers;
    const size_t shares = q->is_cluster ? 1 : q->workers;
    q->worker_memory = all / shares;
    q->worker_threads = shares == 1 ? 0 : cores > shares ? (int)(cores / shares) : 1;
}

static void *work(void *opaque)
{
    queue *q = opaque;
    json_t *machine = machine_ask(q->s);
    pthread_mutex_lock(&q->lock);
    share_out(q, machine);
    json_decref(machine);
    while (!q->stop || queue_runs_any(q) || queue_tools_count(q)) {
        if (q->stop)
            end_all(q);
        queue_keep(q);
        if (!q->stop) {
            queue_tools_start(q);
            queue_runs_start(q);
        }
        deliver(q);
        wait_for_work(q);
        queue_tools_read(q);
        queue_runs_read(q);
    }
    queue_tools_end(q, NULL);
    deliver(q);
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

static int open_folder(queue *q, ls_error *err)
{
    static const char *const names[] = {"uploads", "jobs", "tmp"};
    char path[QUEUE_PATH], real[QUEUE_PATH];
    int ret = folder_make(q->s->data, err);
    if (!ret && (!realpath(q->s->data, real) || strlen(real) >= sizeof q->data))
        ret = server_fail(err, LS_EINVAL, "%s: the path is too long", q->s->data);
    if (ret)
        return ret;
    memcpy(q->data, real, strlen(real) + 1);
    if (chmod(q->data, 0700))
        return server_fail_errno(err, "cannot make private", q->data);
    ret = folder_lock(&q->folder, q->data, err);
    for (size_t i = 0; !ret && i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", q->data, names[i]);
        ret = folder_make(path, err);
    }
    snprintf(path, sizeof path, "%s/latentsync.db", q->data);
    return ret ? ret : store_open(&q->store, path, err);
}

static int open_all(queue *q, ls_error *err)
{
    ls_error none = {0};
    q->is_cluster = q->s->executor && !strcmp(q->s->executor, "slurm");
    int ret = q->is_cluster ? slurm_find(err) : 0;
    if (!ret)
        ret = open_folder(q, err);
    if (ret)
        return ret;
    if (sandbox_open(&q->sandbox, &none) && q->s->message)
        q->s->message(q->s->opaque, LS_MESSAGE_NOTICE, none.message);
    q->runs = calloc(QUEUE_MOST_WORKERS, sizeof *q->runs);
    q->changed = json_object();
    q->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!q->runs || !q->changed || q->wake < 0)
        return server_fail(err, LS_ENOMEM, "no memory for the queue");
    ret = queue_recover(q, err);
    if (!ret && pthread_create(&q->thread, NULL, work, q))
        ret = server_fail(err, LS_ENOMEM, "the queue's thread cannot be started");
    q->has_thread = !ret;
    return ret;
}

int queue_open(queue **out, const server_settings *s, ls_error *err)
{
    *out = NULL;
    queue *q = calloc(1, sizeof *q);
    if (!q)
        return server_fail(err, LS_ENOMEM, "no memory for the queue");
    q->s = s;
    q->folder = q->wake = -1;
    q->last_due = &q->first_due;
    pthread_mutex_init(&q->lock, NULL);
    const int ret = open_all(q, err);
    if (ret)
        queue_close(q);
    else
        *out = q;
    return ret;
}

void queue_close(queue *q)
{
    if (!q)
        return;
    if (q->has_thread) {
        pthread_mutex_lock(&q->lock);
        q->stop = true;
        pthread_mutex_unlock(&q->lock);
        queue_wake(q);
        pthread_join(q->thread, NULL);
    }
    store_close(q->store);
    sandbox_close(q->sandbox);
    json_decref(q->changed);
    free(q->runs);
    if (q->wake >= 0)
        close(q->wake);
    if (q->folder >= 0)
        close(q->folder);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

int queue_error_code(const char *name)
{
#define LS_X(code, value, text)                                                                    \
    if (name && !strcmp(name, #code))                                                              \
        return code;
    LS_ERROR_MAP(LS_X)
#undef LS_X
    return LS_EBACKEND;
}

/* Copies a path's replacement; returns what follows the path. */
static const char *replace_path(queue *q, const char *path, char *out, size_t size)
{
    static const char *const kinds[] = {"/uploads/", "/jobs/"};
    char id[QUEUE_ID_SIZE] = "";
    const char *rest = path + strlen(q->data);
    *out = '\0';
    for (int i = 0; i < 2; i++) {
        const size_t n = strlen(kinds[i]);
        if (strncmp(rest, kinds[i], n) || strlen(rest) < n + QUEUE_ID_SIZE - 1)
            continue;
        snprintf(id, sizeof id, "%s", rest + n);
        if (!queue_is_id(id))
            continue;
        json_t *row = i ? NULL : queue_upload_row(q, id, NULL);
        const char *name = json_string_value(json_object_get(row, "name"));
        snprintf(out, size, "%s", name ? name : "");
        json_decref(row);
        rest += n + QUEUE_ID_SIZE - 1;
    }
    return *out || *rest != '/' ? rest : rest + 1;
}

json_t *queue_clean_text(queue *q, const char *text)
{
    char out[1024], name[256];
    size_t n = 0;
    while (text && *text && n + 1 < sizeof out) {
        if (!strncmp(text, q->data, strlen(q->data))) {
            text = replace_path(q, text, name, sizeof name);
            const int more = snprintf(out + n, sizeof out - n, "%s", name);
            n = n + (size_t)more < sizeof out ? n + (size_t)more : sizeof out - 1;
        } else {
            out[n++] = *text++;
        }
    }
    while (n && (out[n - 1] & 0xc0) == 0x80 && text && *text) // no half of a character
        n--;
    if (n && text && *text && (out[n - 1] & 0xc0) == 0xc0)
        n--;
    json_t *string = text ? json_stringn(out, n) : NULL;
    return string ? string : json_string("");
}

json_t *queue_clean_error(queue *q, const json_t *event)
{
    const char *code = json_string_value(json_object_get(event, "code"));
    const char *hint = json_string_value(json_object_get(event, "hint"));
    return json_pack("{s:s, s:o, s:o}", "code", ls_error_name(queue_error_code(code)), "message",
                     queue_clean_text(q, json_string_value(json_object_get(event, "message"))),
                     "hint", hint ? queue_clean_text(q, hint) : json_null());
}

static void count_states(json_t *out, const json_t *rows)
{
    size_t i;
    json_t *row;
    json_array_foreach((json_t *)rows, i, row)
    {
        json_object_set(out, json_string_value(json_object_get(row, "state")),
                        json_object_get(row, "count"));
    }
}

json_t *queue_state(queue *q)
{
    folder_space space = {0};
    ls_error err = {0};
    folder_get_space(&space, q->data, NULL);
    pthread_mutex_lock(&q->lock);
    json_t *rows =
        store_all(q->store, &err, "SELECT state, count(*) AS count FROM jobs GROUP BY state", "");
    json_t *uploads = store_first(q->store, &err,
                                  "SELECT count(*) AS count, coalesce(sum(received), 0) AS bytes"
                                  " FROM uploads",
                                  "");
    const char *problem = !rows || !uploads            ? err.message
                          : space.free < space.reserve ? "the disk is almost full"
                          : *q->problem                ? q->problem
                                                       : NULL;
    json_t *out = json_pack(
        "{s:i, s:i, s:i, s:i, s:i, s:I, s:O?, s:O?, s:I, s:f, s:I, s:s?}", "queued", 0, "running",
        0, "done", 0, "failed", 0, "canceled", 0, "workers", (json_int_t)q->workers, "uploads",
        json_object_get(uploads, "count"), "upload_bytes", json_object_get(uploads, "bytes"),
        "frames", (json_int_t)q->frames, "busy_seconds", q->busy_seconds, "disk_free",
        (json_int_t)space.free, "problem", problem);
    pthread_mutex_unlock(&q->lock);
    count_states(out, rows);
    json_decref(rows);
    json_decref(uploads);
    return out;
}
