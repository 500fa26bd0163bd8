/* The queue with a program that stands in for this one: jobs that crash, hang, flood and lie. What
 * is left in the folder is looked at by itself, the database with SQLite's own program. */
#include "test.h"
#include "server/queue.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

typedef struct fixture {
    char folder[64], data[80];
    server_settings s;
    queue *q;
} fixture;

static fixture *open_fixture(fixture *f)
{
    static const server_settings usual = {.executor = "local",
                                          .prefix = "/p",
                                          .workers = 1,
                                          .max_queue = 10,
                                          .max_memory = 1u << 30,
                                          .max_seconds = 60,
                                          .max_pixels = 1920 * 1080};
    *f = (fixture){.s = usual};
    strcpy(f->folder, "/tmp/ls-queue-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->data, sizeof f->data, "%s/a/data", f->folder);
    f->s.data = f->data;
    f->s.program = getenv("LS_STAND_IN");
    assert_non_null(f->s.program);
    return f;
}

static void start(fixture *f)
{
    ls_error err = {0};
    if (queue_open(&f->q, &f->s, &err))
        fail_msg("%s", err.message);
}

static void stop(fixture *f)
{
    queue_close(f->q);
    f->q = NULL;
}

static void run_command(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void run_command(const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    assert_int_equal(system(text), 0);
}

static void close_fixture(fixture *f)
{
    stop(f);
    run_command("rm -r %s", f->folder);
}

static bool exists(const char *path)
{
    struct stat st;
    return !lstat(path, &st);
}

static size_t count_entries(const fixture *f, const char *name)
{
    char path[128];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/%s", f->data, name);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        count += *e->d_name != '.';
    closedir(dir);
    return count;
}

/* What SQLite's own program says, without the end of the line. */
static void sqlite(const fixture *f, const char *sql, char *out, size_t size)
{
    char command[512];
    snprintf(command, sizeof command, "sqlite3 %s/latentsync.db \"%s\"", f->data, sql);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    out[fread(out, 1, size - 1, p)] = '\0';
    assert_int_equal(pclose(p), 0);
    out[strcspn(out, "\n")] = '\0';
}

static void upload(fixture *f, const char *text, char id[QUEUE_ID_SIZE])
{
    char path[512];
    ls_error err = {0};
    queue_new_id(id);
    assert_true(queue_is_id(id));
    queue_upload_path(f->q, id, path, sizeof path);
    test_write(path, text, strlen(text));
    assert_int_equal(queue_upload_add(f->q, id, text, strlen(text), NULL, &err), 0);
    assert_int_equal(queue_upload_received(f->q, id, strlen(text), true, &err), 0);
}

typedef struct answered {
    pthread_mutex_t lock;
    pthread_cond_t is_given;
    int count;
    json_t *result;
    ls_error err;
} answered;

static void take_answer(void *opaque, json_t *result, const ls_error *err)
{
    answered *a = opaque;
    pthread_mutex_lock(&a->lock);
    a->result = result;
    if (!result)
        a->err = *err;
    a->count++;
    pthread_cond_signal(&a->is_given);
    pthread_mutex_unlock(&a->lock);
}

static void await(answered *a)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&a->lock);
    while (!a->count)
        assert_int_equal(pthread_cond_timedwait(&a->is_given, &a->lock, &until), 0);
    pthread_mutex_unlock(&a->lock);
    assert_int_equal(a->count, 1);
}

#define ANSWERED                                                                                   \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .is_given = PTHREAD_COND_INITIALIZER                    \
    }

/* The answer, to be freed; NULL with *err set. */
static json_t *add(fixture *f, json_t *request, const char *key, ls_error *err)
{
    answered a = ANSWERED;
    *err = (ls_error){0};
    const int ret = queue_job_add(f->q, request, key, take_answer, &a, err);
    json_decref(request);
    if (ret) {
        assert_int_equal(a.count, 0);
        assert_int_equal(ret, err->code);
        return NULL;
    }
    await(&a);
    if (!a.result)
        *err = a.err;
    return a.result;
}

static void add_job(fixture *f, const char *what, int priority, char id[QUEUE_ID_SIZE])
{
    char video[QUEUE_ID_SIZE];
    ls_error err;
    upload(f, what, video);
    json_t *answer =
        add(f, json_pack("{s:s, s:s, s:i}", "video", video, "audio", video, "priority", priority),
            NULL, &err);
    if (!answer)
        fail_msg("%s", err.message);
    snprintf(id, QUEUE_ID_SIZE, "%s",
             json_string_value(json_object_get(json_object_get(answer, "job"), "id")));
    json_decref(answer);
}

static bool is_state(fixture *f, const char *id, const char *state)
{
    json_t *job = queue_job(f->q, id);
    const bool is = job && !strcmp(json_string_value(json_object_get(job, "state")), state);
    json_decref(job);
    return is;
}

static void pause_a_moment(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

/* The job in that state, to be freed. */
static json_t *await_state(fixture *f, const char *id, const char *state)
{
    for (int i = 0; i < 6000 && !is_state(f, id, state); i++)
        pause_a_moment();
    json_t *job = queue_job(f->q, id);
    if (!job || !is_state(f, id, state))
        fail_msg("never %s: %s", state, job ? json_dumps(job, 0) : "gone");
    return job;
}

static void await_progress(fixture *f, const char *id)
{
    bool is_there = false;
    for (int i = 0; i < 6000 && !is_there; i++) {
        json_t *job = queue_job(f->q, id);
        is_there = json_is_object(json_object_get(job, "progress"));
        json_decref(job);
        pause_a_moment();
    }
    assert_true(is_there);
}

static const char *text_at(const json_t *object, const char *a, const char *b)
{
    const json_t *inner = json_object_get(object, a);
    return json_string_value(b ? json_object_get(inner, b) : inner);
}

static void runs_a_job(void **state)
{
    (void)state;
    fixture f;
    char id[QUEUE_ID_SIZE], path[512], said[256];
    size_t size;
    bool is_last;
    start(open_fixture(&f));
    add_job(&f, "ok", 0, id);
    json_t *job = await_state(&f, id, "done");
    assert_string_equal(text_at(job, "name", NULL), "ok");
    assert_string_equal(text_at(job, "video", "name"), "ok");
    assert_non_null(strchr(text_at(job, "finished", NULL), 'T'));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(job, "result"), "frames")),
                     10);
    assert_null(json_object_get(json_object_get(job, "result"), "output"));
    assert_null(json_object_get(json_object_get(job, "progress"), "secret"));
    assert_null(json_object_get(json_object_get(job, "progress"), "stages"));
    snprintf(said, sizeof said, "/p/v1/jobs/%s/events", id);
    assert_string_equal(text_at(job, "links", "events"), said);
    json_decref(job);
    queue_job_path(f.q, id, "output", path, sizeof path);
    void *bytes = test_read(path, &size);
    assert_non_null(bytes);
    free(bytes);
    json_t *events = queue_events(f.q, id, 0, &is_last);
    assert_true(is_last);
    const size_t count = json_array_size(events);
    assert_string_equal(text_at(json_array_get(events, count - 2), "event", NULL), "done");
    assert_string_equal(text_at(json_array_get(events, count - 1), "data", "state"), "done");
    const json_int_t last =
        json_integer_value(json_object_get(json_array_get(events, count - 1), "id"));
    json_decref(events);
    events = queue_events(f.q, id, (uint64_t)last - 1, &is_last);
    assert_int_equal(json_array_size(events), 1);
    json_decref(events);
    assert_int_equal(count_entries(&f, "tmp"), 0);
    sqlite(&f, "PRAGMA journal_mode", said, sizeof said);
    assert_string_equal(said, "wal");
    sqlite(&f, "SELECT state FROM jobs", said, sizeof said);
    assert_string_equal(said, "done");
    close_fixture(&f);
}

/* A job that waits for "go" holds the one place. */
static void keeps_the_order(void **state)
{
    (void)state;
    fixture f;
    char first[QUEUE_ID_SIZE], late[QUEUE_ID_SIZE], urgent[QUEUE_ID_SIZE], unwanted[QUEUE_ID_SIZE],
        said[256], path[512];
    ls_error err;
    start(open_fixture(&f));
    add_job(&f, "slow", 0, first);
    json_decref(await_state(&f, first, "running"));
    add_job(&f, "ok", 0, late);
    add_job(&f, "ok", 5, urgent);
    add_job(&f, "ok", 9, unwanted);
    json_t *job = queue_job(f.q, late);
    assert_int_equal(json_integer_value(json_object_get(job, "position")), 3);
    json_decref(job);
    assert_int_equal(queue_job_cancel(f.q, unwanted, &err), 0);
    assert_true(is_state(&f, unwanted, "canceled"));
    assert_int_equal(queue_job_cancel(f.q, unwanted, &err), 0);
    job = queue_job(f.q, late);
    assert_int_equal(json_integer_value(json_object_get(job, "position")), 2);
    json_decref(job);
    queue_job_path(f.q, first, "go", path, sizeof path);
    test_write(path, "", 0);
    json_decref(await_state(&f, late, "done"));
    assert_true(is_state(&f, unwanted, "canceled"));
    sqlite(&f,
           "SELECT group_concat(priority) FROM (SELECT priority FROM jobs WHERE state='done' ORDER "
           "BY started)",
           said, sizeof said);
    assert_string_equal(said, "0,5,0");
    close_fixture(&f);
}

static void cancels_and_resumes(void **state)
{
    (void)state;
    fixture f;
    char id[QUEUE_ID_SIZE], path[512];
    size_t size;
    ls_error err;
    start(open_fixture(&f));
    add_job(&f, "slow", 0, id);
    await_progress(&f, id);
    assert_int_equal(queue_job_resume(f.q, id, &err), LS_EINVAL);
    assert_int_equal(queue_job_cancel(f.q, id, &err), 0);
    json_decref(await_state(&f, id, "canceled"));
    queue_job_path(f.q, id, "go", path, sizeof path);
    test_write(path, "", 0);
    assert_int_equal(queue_job_resume(f.q, id, &err), 0);
    json_decref(await_state(&f, id, "done"));
    queue_job_path(f.q, id, "job/starts", path, sizeof path);
    char *starts = test_read(path, &size);
    assert_memory_equal(starts, "sync\nresume\n", 12);
    free(starts);
    assert_int_equal(queue_job_cancel(f.q, id, &err), LS_EINVAL);
    close_fixture(&f);
}

/* SIGTERM is ignored, so it takes ten seconds. */
static void kills_what_does_not_listen(void **state)
{
    (void)state;
    fixture f;
    char id[QUEUE_ID_SIZE];
    ls_error err;
    start(open_fixture(&f));
    add_job(&f, "deaf", 0, id);
    await_progress(&f, id);
    assert_int_equal(queue_job_remove(f.q, id, &err), 0);
    assert_null(queue_job(f.q, id));
    assert_int_equal(queue_job_remove(f.q, id, &err), LS_ENOENT);
    for (int i = 0; i < 3000 && count_entries(&f, "jobs"); i++)
        pause_a_moment();
    assert_int_equal(count_entries(&f, "jobs"), 0);
    close_fixture(&f);
}

static void retries_crashes(void **state)
{
    (void)state;
    fixture f;
    char id[QUEUE_ID_SIZE], once[QUEUE_ID_SIZE], path[512];
    size_t size;
    start(open_fixture(&f));
    add_job(&f, "crash", 0, id);
    json_t *job = await_state(&f, id, "failed");
    assert_non_null(strstr(text_at(job, "error", "message"), "crashed 3 times"));
    assert_non_null(strstr(text_at(job, "error", "message"), "signal 11"));
    assert_string_equal(text_at(job, "error", "code"), "LS_EBACKEND");
    assert_true(json_is_object(json_object_get(job, "progress")));
    json_decref(job);
    queue_job_path(f.q, id, "job/starts", path, sizeof path);
    char *starts = test_read(path, &size);
    assert_int_equal(size, strlen("sync\nresume\nresume\n"));
    free(starts);
    add_job(&f, "crash once", 0, once);
    job = await_state(&f, once, "done");
    assert_int_equal(json_array_size(json_object_get(job, "messages")), 1);
    json_decref(job);
    close_fixture(&f);
}

static void reports_errors_without_paths(void **state)
{
    (void)state;
    fixture f;
    char id[QUEUE_ID_SIZE];
    ls_error err;
    start(open_fixture(&f));
    add_job(&f, "error", 0, id);
    json_t *job = await_state(&f, id, "failed");
    assert_string_equal(text_at(job, "error", "code"), "LS_ENOFACE");
    assert_string_equal(text_at(job, "error", "message"), "no face in error");
    json_decref(job);
    char video[QUEUE_ID_SIZE];
    upload(&f, "no media", video);
    assert_null(add(&f, json_pack("{s:s, s:s}", "video", video, "audio", video), NULL, &err));
    assert_int_equal(err.code, LS_EFORMAT);
    assert_string_equal(err.message, "no media: not a media file");
    close_fixture(&f);
}

static void keeps_processes_in(void **state)
{
    (void)state;
    fixture f;
    char id[QUEUE_ID_SIZE];
    setenv("SECRET_TOKEN", "1", 1);
    start(open_fixture(&f));
    add_job(&f, "spy", 0, id);
    json_t *job = await_state(&f, id, "done");
    const json_t *messages = json_object_get(job, "messages");
    const char *environment = text_at(json_array_get(messages, 1), "text", NULL);
#ifdef HAVE_SECCOMP
    assert_string_equal(text_at(json_array_get(messages, 0), "text", NULL),
                        "network PermissionError");
#endif
    assert_null(strstr(environment, "SECRET_TOKEN"));
    assert_non_null(strstr(environment, "TMPDIR"));
    assert_string_equal(text_at(json_array_get(messages, 2), "text", NULL),
                        "a look at spy from output.mp4");
    json_decref(job);
    close_fixture(&f);
}

static void bears_hostile_output(void **state)
{
    (void)state;
    fixture f;
    char id[QUEUE_ID_SIZE], said[256];
    start(open_fixture(&f));
    add_job(&f, "hostile", 0, id);
    json_decref(await_state(&f, id, "done"));
    sqlite(&f,
           "SELECT count(*)<=200 AND max(length(data_json))<1100 FROM events WHERE event='message'",
           said, sizeof said);
    assert_string_equal(said, "1");
    add_job(&f, "flood", 0, id);
    json_t *job = await_state(&f, id, "failed");
    assert_non_null(strstr(text_at(job, "error", "message"), "more than events do"));
    json_decref(job);
    close_fixture(&f);
}

static void checks_requests(void **state)
{
    (void)state;
    fixture f;
    char video[QUEUE_ID_SIZE], sound[QUEUE_ID_SIZE], lengthy[QUEUE_ID_SIZE], partial[QUEUE_ID_SIZE];
    ls_error err;
    start(open_fixture(&f));
    upload(&f, "slow", video);
    upload(&f, "sound", sound);
    upload(&f, "long", lengthy);
    queue_new_id(partial);
    assert_int_equal(queue_upload_add(f.q, partial, "p", 10, NULL, &err), 0);
    const struct {
        const char *video, *option, *value;
        int code;
    } bad[] = {{video, "steps", "many", LS_EINVAL},    {video, "output", "/etc/x", LS_EINVAL},
               {video, "face-track", "x", LS_EINVAL},  {video, "stats", "x", LS_EINVAL},
               {video, "face", "a\nb", LS_EINVAL},     {video, "nonsense", "1", LS_EINVAL},
               {video, "quality", "worst", LS_EINVAL}, {"../../etc/passwd", "seed", "1", LS_EINVAL},
               {sound, "seed", "1", LS_EFORMAT},       {lengthy, "seed", "1", LS_EUNSUPPORTED},
               {partial, "seed", "1", LS_EINVAL}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *request = json_pack("{s:s, s:s, s:{s:s}}", "video", bad[i].video, "audio", video,
                                    "options", bad[i].option, bad[i].value);
        assert_null(add(&f, request, NULL, &err));
        if (err.code != bad[i].code)
            fail_msg("%s=%s: %s", bad[i].option, bad[i].value, err.message);
    }
    assert_null(add(&f, json_pack("{s:s}", "video", video), NULL, &err));
    assert_string_equal(err.message, "audio: it is missing");
    assert_int_equal(count_entries(&f, "jobs"), 0);
    close_fixture(&f);
}

static void replays_keys(void **state)
{
    (void)state;
    fixture f;
    char video[QUEUE_ID_SIZE], id[QUEUE_ID_SIZE];
    ls_error err;
    start(open_fixture(&f));
    upload(&f, "ok", video);
    for (int i = 0; i < 2; i++) {
        json_t *answer = add(
            &f,
            json_pack("{s:s, s:s, s:{s:i}}", "video", video, "audio", video, "options", "seed", 7),
            "key", &err);
        assert_non_null(answer);
        assert_int_equal(json_is_true(json_object_get(answer, "is_replayed")), i);
        if (i)
            assert_string_equal(text_at(answer, "job", "id"), id);
        snprintf(id, sizeof id, "%s", text_at(answer, "job", "id"));
        json_decref(answer);
        stop(&f);
        start(&f);
    }
    assert_null(add(&f, json_pack("{s:s, s:s}", "video", video, "audio", video), "key", &err));
    assert_int_equal(err.code, LS_EINVAL);
    json_decref(await_state(&f, id, "done"));
    assert_int_equal(queue_job_remove(f.q, id, &err), 0);
    json_t *answer = add(&f, json_pack("{s:s, s:s}", "video", video, "audio", video), "key", &err);
    assert_true(json_is_false(json_object_get(answer, "is_replayed")));
    json_decref(answer);
    close_fixture(&f);
}

static void limits_the_queue(void **state)
{
    (void)state;
    fixture f;
    char id[QUEUE_ID_SIZE], video[QUEUE_ID_SIZE];
    ls_error err;
    open_fixture(&f)->s.max_queue = 2;
    start(&f);
    add_job(&f, "slow", 0, id);
    json_decref(await_state(&f, id, "running"));
    add_job(&f, "ok", 0, id);
    add_job(&f, "ok", 0, id);
    upload(&f, "ok", video);
    assert_null(add(&f, json_pack("{s:s, s:s}", "video", video, "audio", video), NULL, &err));
    assert_int_equal(err.code, LS_EBUSY);
    close_fixture(&f);
}

static void lists_in_pages(void **state)
{
    (void)state;
    fixture f;
    char ids[5][QUEUE_ID_SIZE];
    ls_error err;
    start(open_fixture(&f));
    for (int i = 0; i < 5; i++)
        add_job(&f, "ok", 0, ids[i]);
    json_decref(await_state(&f, ids[4], "done"));
    json_t *page = NULL;
    for (int i = 4; i >= 0; i--) {
        json_t *next = queue_jobs(f.q, 1, text_at(page, "next", NULL), "done", &err);
        json_decref(page);
        page = next;
        assert_int_equal(json_array_size(json_object_get(page, "jobs")), 1);
        assert_string_equal(text_at(json_array_get(json_object_get(page, "jobs"), 0), "id", NULL),
                            ids[i]);
    }
    assert_true(json_is_null(json_object_get(page, "next")));
    json_decref(page);
    assert_null(queue_jobs(f.q, 1, "1 OR 1", NULL, &err));
    assert_null(queue_jobs(f.q, 1, NULL, "x", &err));
    close_fixture(&f);
}

static void uses_tools(void **state)
{
    (void)state;
    fixture f;
    char video[QUEUE_ID_SIZE], bad[QUEUE_ID_SIZE], path[512];
    answered probe = ANSWERED, again = ANSWERED, estimate = ANSWERED, crash = ANSWERED;
    ls_error err;
    start(open_fixture(&f));
    upload(&f, "ok", video);
    upload(&f, "probe crash", bad);
    assert_int_equal(queue_probe(f.q, video, take_answer, &probe, &err), 0);
    assert_int_equal(queue_probe(f.q, bad, take_answer, &crash, &err), 0);
    await(&probe);
    assert_string_equal(text_at(probe.result, "name", NULL), "ok");
    assert_null(json_object_get(probe.result, "path"));
    json_decref(probe.result);
    assert_int_equal(queue_probe(f.q, video, take_answer, &again, &err), 0);
    assert_int_equal(again.count, 1); // known now
    json_decref(again.result);
    await(&crash);
    assert_null(crash.result);
    assert_int_equal(crash.err.code, LS_EBACKEND);
    json_t *request =
        json_pack("{s:s, s:s, s:{s:i}}", "video", video, "audio", video, "options", "steps", 7);
    assert_int_equal(queue_estimate(f.q, request, take_answer, &estimate, &err), 0);
    json_decref(request);
    await(&estimate);
    assert_int_equal(json_array_size(json_object_get(estimate.result, "estimates")), 2);
    json_decref(estimate.result);
    json_t *faces = NULL;
    for (int i = 0; i < 3000 && strcmp(i ? text_at(faces, "state", NULL) : "", "done"); i++) {
        json_decref(faces);
        pause_a_moment();
        faces = queue_faces(f.q, video, &err);
        assert_non_null(faces);
    }
    snprintf(path, sizeof path, "/p/v1/uploads/%s/faces/1.png", video);
    assert_string_equal(text_at(json_array_get(json_object_get(faces, "faces"), 0), "image", NULL),
                        path);
    json_decref(faces);
    queue_face_path(f.q, video, 1, path, sizeof path);
    assert_true(exists(path));
    assert_int_equal(queue_upload_remove(f.q, video, &err), 0);
    assert_int_equal(queue_upload_remove(f.q, bad, &err), 0);
    assert_int_equal(count_entries(&f, "uploads"), 0);
    close_fixture(&f);
}

static void protects_uploads_in_use(void **state)
{
    (void)state;
    fixture f;
    char id[QUEUE_ID_SIZE];
    ls_error err;
    start(open_fixture(&f));
    add_job(&f, "slow", 0, id);
    json_t *job = await_state(&f, id, "running");
    const char *video = text_at(job, "video", "id");
    assert_int_equal(queue_upload_remove(f.q, video, &err), LS_EBUSY);
    assert_int_equal(queue_job_cancel(f.q, id, &err), 0);
    json_decref(await_state(&f, id, "canceled"));
    assert_int_equal(queue_upload_remove(f.q, video, &err), 0);
    assert_int_equal(queue_job_resume(f.q, id, &err), LS_ENOENT);
    json_decref(job);
    close_fixture(&f);
}

/* The server in a process of its own, killed in the middle of a job. */
static void survives_a_kill(void **state)
{
    (void)state;
    fixture f;
    char path[512], id[QUEUE_ID_SIZE], said[256];
    size_t size;
    open_fixture(&f);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        start(&f);
        add_job(&f, "slow", 0, id);
        await_progress(&f, id);
        snprintf(path, sizeof path, "%s/id", f.folder);
        test_write(path, id, sizeof id);
        pause();
    }
    snprintf(path, sizeof path, "%s/id", f.folder);
    for (int i = 0; i < 6000 && !exists(path); i++)
        pause_a_moment();
    pause_a_moment();
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    char *known = test_read(path, &size);
    assert_int_equal(size, sizeof id);
    memcpy(id, known, sizeof id);
    free(known);
    sqlite(&f, "SELECT state FROM jobs", said, sizeof said);
    assert_string_equal(said, "running");
    run_command("touch %s/jobs/%s/go; mkdir -p %s/jobs/stray; touch %s/uploads/stray", f.data, id,
                f.data, f.data);
    start(&f);
    json_decref(await_state(&f, id, "done"));
    bool is_last;
    json_t *events = queue_events(f.q, id, 0, &is_last), *e;
    size_t i;
    json_int_t last = 0;
    json_array_foreach(events, i, e)
    {
        assert_true(json_integer_value(json_object_get(e, "id")) > last);
        last = json_integer_value(json_object_get(e, "id"));
    }
    json_decref(events);
    assert_int_equal(count_entries(&f, "jobs"), 1);
    assert_int_equal(count_entries(&f, "uploads"), 1);
    close_fixture(&f);
}

static void resumes_after_an_orderly_end(void **state)
{
    (void)state;
    fixture f;
    char id[QUEUE_ID_SIZE], path[512], said[256];
    start(open_fixture(&f));
    add_job(&f, "slow", 0, id);
    await_progress(&f, id);
    stop(&f);
    sqlite(&f, "SELECT state FROM jobs", said, sizeof said);
    assert_string_equal(said, "queued");
    start(&f);
    queue_job_path(f.q, id, "go", path, sizeof path);
    test_write(path, "", 0);
    json_decref(await_state(&f, id, "done"));
    close_fixture(&f);
}

static void forgets_what_is_old(void **state)
{
    (void)state;
    fixture f;
    char id[QUEUE_ID_SIZE], said[256];
    open_fixture(&f)->s.keep_seconds = 3600;
    start(&f);
    add_job(&f, "ok", 0, id);
    json_decref(await_state(&f, id, "done"));
    stop(&f);
    sqlite(&f, "UPDATE jobs SET finished=finished-4000; UPDATE uploads SET used=used-4000", said,
           sizeof said);
    start(&f);
    for (int i = 0; i < 3000 && count_entries(&f, "jobs") + count_entries(&f, "uploads"); i++)
        pause_a_moment();
    assert_int_equal(count_entries(&f, "jobs") + count_entries(&f, "uploads"), 0);
    sqlite(&f,
           "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM uploads) + (SELECT count(*) "
           "FROM events)",
           said, sizeof said);
    assert_string_equal(said, "0");
    close_fixture(&f);
}

static void refuses_other_databases(void **state)
{
    (void)state;
    fixture f;
    queue *second;
    char said[256];
    ls_error err;
    start(open_fixture(&f));
    assert_int_equal(queue_open(&second, &f.s, &err), LS_EBUSY);
    assert_null(second);
    stop(&f);
    sqlite(&f, "PRAGMA user_version=9", said, sizeof said);
    assert_int_equal(queue_open(&second, &f.s, &err), LS_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "newer version"));
    run_command("dd if=/dev/urandom of=%s/latentsync.db bs=4096 count=4 2>/dev/null", f.data);
    assert_int_equal(queue_open(&second, &f.s, &err), LS_EFORMAT);
    close_fixture(&f);
}

/* 64 cores and 64 GB, of which 70 % are for the jobs, in shares of at least 6 GB. */
static void shares_the_machine_out(void **state)
{
    (void)state;
    fixture f;
    char id[QUEUE_ID_SIZE];
    open_fixture(&f)->s.workers = 0;
    f.s.max_memory = 0;
    start(&f);
    add_job(&f, "arguments", 0, id);
    json_t *job = await_state(&f, id, "done");
    assert_string_equal(text_at(json_array_get(json_object_get(job, "messages"), 0), "text", NULL),
                        "memory 6862360692 threads 9");
    json_decref(job);
    job = queue_state(f.q);
    assert_int_equal(json_integer_value(json_object_get(job, "workers")), 7);
    json_decref(job);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_a_job),
        cmocka_unit_test(keeps_the_order),
        cmocka_unit_test(cancels_and_resumes),
        cmocka_unit_test(kills_what_does_not_listen),
        cmocka_unit_test(retries_crashes),
        cmocka_unit_test(reports_errors_without_paths),
        cmocka_unit_test(keeps_processes_in),
        cmocka_unit_test(bears_hostile_output),
        cmocka_unit_test(shares_the_machine_out),
        cmocka_unit_test(checks_requests),
        cmocka_unit_test(replays_keys),
        cmocka_unit_test(limits_the_queue),
        cmocka_unit_test(lists_in_pages),
        cmocka_unit_test(uses_tools),
        cmocka_unit_test(protects_uploads_in_use),
        cmocka_unit_test(survives_a_kill),
        cmocka_unit_test(resumes_after_an_orderly_end),
        cmocka_unit_test(forgets_what_is_old),
        cmocka_unit_test(refuses_other_databases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
