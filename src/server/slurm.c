#define _GNU_SOURCE // pipe2

#include "server/slurm.h"
#include "server/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, ANSWER_SIZE = 16384, MOST_SEGMENTS = 4096, MOST_TRIES = 3 };

typedef struct follower {
    const char *folder;
    const atomic_bool *stop;
    pid_t parent;
    json_t *spec;  /* {"plan":[..],"render":[..],"join":[..]} or {"sync":[..]}: command lines */
    json_t *state; /* {"stage":"..","id":"..","tries":n,"segments":n} */
    bool is_out_of_touch;
} follower;

int slurm_find(ls_error *err)
{
    static const char *const names[] = {"sbatch", "squeue", "scancel"};
    char path[PATH_SIZE];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bool found = false;
        for (const char *p = getenv("PATH"); p && *p && !found;
             p += strcspn(p, ":") + (p[strcspn(p, ":")] == ':')) {
            snprintf(path, sizeof path, "%.*s/%s", (int)strcspn(p, ":"), p, names[i]);
            found = !access(path, X_OK);
        }
        if (!found)
            return server_fail(err, LS_EUNSUPPORTED, "Slurm is not here: there is no command %s",
                               names[i]);
    }
    return 0;
}

static void print_event(const char *name, json_t *members)
{
    json_t *event = json_pack("{s:s}", "event", name);
    json_object_update(event, members);
    char *text = json_dumps(event, JSON_COMPACT | JSON_REAL_PRECISION(6));
    if (text)
        puts(text);
    fflush(stdout);
    free(text);
    json_decref(event);
    json_decref(members);
}

static void say(const char *level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const char *level, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    print_event("message", json_pack("{s:s, s:s}", "level", level, "text", text));
}

static int end_with(int code, const char *message, int status)
{
    print_event("error", json_pack("{s:s, s:i, s:s, s:n}", "code", ls_error_name(code), "status",
                                   status, "message", message, "hint"));
    return status;
}

/* Runs a command; its first bytes, both of output and errors, are in `answer`. The exit status, or
 * -1 if it could not be run. */
static int run(char *const argv[], char answer[ANSWER_SIZE])
{
    extern char **environ;
    int ends[2], status = -1;
    pid_t pid;
    size_t n = 0;
    ssize_t got;
    char rest[1024];
    posix_spawn_file_actions_t actions;
    *answer = '\0';
    if (pipe2(ends, O_CLOEXEC))
        return -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    const int failed = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    while (!failed &&
           ((got = read(ends[0], rest, sizeof rest)) > 0 || (got < 0 && errno == EINTR))) {
        const size_t room = ANSWER_SIZE - 1 - n, part = got < 0              ? 0
                                                        : (size_t)got < room ? (size_t)got
                                                                             : room;
        memcpy(answer + n, rest, part);
        n += part;
    }
    answer[n] = '\0';
    close(ends[0]);
    while (!failed && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return failed || !WIFEXITED(status) ? -1 : WEXITSTATUS(status);
}

static const char *stage_of(const follower *f)
{
    const char *stage = json_string_value(json_object_get(f->state, "stage"));
    return stage ? stage : "";
}

static int save(const follower *f)
{
    char path[PATH_SIZE], temporary[PATH_SIZE];
    snprintf(path, sizeof path, "%s/slurm.state", f->folder);
    snprintf(temporary, sizeof temporary, "%s/slurm.state.new", f->folder);
    return json_dump_file(f->state, temporary, JSON_COMPACT) || rename(temporary, path) ? -1 : 0;
}

static void result_path(const follower *f, const char *stage, int64_t segment, char path[PATH_SIZE])
{
    if (segment < 0)
        snprintf(path, PATH_SIZE, "%s/%s.events", f->folder, stage);
    else
        snprintf(path, PATH_SIZE, "%s/%s.%lld.events", f->folder, stage, (long long)segment);
}

/* The last whole event that a task has written; NULL: none. */
static json_t *last_event(const follower *f, int64_t segment)
{
    char path[PATH_SIZE], data[32769];
    result_path(f, stage_of(f), segment, path);
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    if (fseek(file, -(long)(sizeof data - 1), SEEK_END))
        rewind(file);
    size_t n = fread(data, 1, sizeof data - 1, file);
    fclose(file);
    while (n && data[n - 1] != '\n') // a line that is being written
        n--;
    size_t start = n ? n - 1 : 0;
    while (start && data[start - 1] != '\n')
        start--;
    return json_loadb(data + start, n - start, 0, NULL);
}

static bool is_event(const json_t *event, const char *name)
{
    const char *is = json_string_value(json_object_get(event, "event"));
    return is && !strcmp(is, name);
}

static int64_t segments_of(const follower *f)
{
    return !strcmp(stage_of(f), "render")
               ? json_integer_value(json_object_get(f->state, "segments"))
               : 1;
}

/* The number by which the n-th task of the stage is known, -1 in a stage of one task. */
static int64_t number_of(const follower *f, int64_t n)
{
    return strcmp(stage_of(f), "render") ? -1 : n;
}

/* A script for sbatch: the command with every argument quoted, its events in a file. */
static int write_script(const follower *f, char path[PATH_SIZE])
{
    const bool is_array = !strcmp(stage_of(f), "render");
    size_t i;
    json_t *argument;
    snprintf(path, PATH_SIZE, "%s/%s.sh", f->folder, stage_of(f));
    FILE *file = fopen(path, "w");
    if (!file)
        return -1;
    fputs("#!/bin/sh\numask 077\nunset TMPDIR\nexec", file);
    json_array_foreach(json_object_get(f->spec, stage_of(f)), i, argument)
    {
        fputs(" '", file);
        for (const char *c = json_string_value(argument); c && *c; c++)
            fputs(*c == '\'' ? "'\\''" : (char[]){*c, '\0'}, file);
        fputc('\'', file);
    }
    fprintf(file, "%s >'%s/%s%s.events'\n", is_array ? " --segment \"$SLURM_ARRAY_TASK_ID\"" : "",
            f->folder, stage_of(f), is_array ? ".'\"$SLURM_ARRAY_TASK_ID\"'" : "");
    const int failed = ferror(file);
    return fclose(file) || failed ? -1 : 0;
}

/* "0-3,7": the tasks that have not made what they should; the number of them. */
static size_t list_missing(const follower *f, char *out, size_t size)
{
    const int64_t count = segments_of(f);
    size_t missing = 0, n = 0;
    *out = '\0';
    for (int64_t i = 0, from = -1; i <= count; i++) {
        json_t *event = i < count ? last_event(f, number_of(f, i)) : NULL;
        const bool is_missing = i < count && !is_event(event, "done");
        json_decref(event);
        missing += is_missing;
        if (is_missing && from < 0)
            from = i;
        if (is_missing || from < 0)
            continue;
        n += (size_t)snprintf(out + n, n < size ? size - n : 0,
                              i - 1 > from ? "%s%lld-%lld" : "%s%lld", n ? "," : "",
                              (long long)from, (long long)i - 1);
        from = -1;
    }
    return missing;
}

static bool is_canceled(const follower *f)
{
    return atomic_load(f->stop);
}

static void cancel(const follower *f)
{
    char answer[ANSWER_SIZE], program[] = "scancel";
    const char *id = json_string_value(json_object_get(f->state, "id"));
    if (!id || getppid() != f->parent) // the server was killed; the next one takes it up
        return;
    run((char *[]){program, (char *)(uintptr_t)id, NULL}, answer);
    json_object_del(f->state, "id");
    json_object_set_new(f->state, "tries", json_integer(0));
    save(f);
}

/* Submits the tasks of the stage that are missing. */
static int submit(follower *f)
{
    char script[PATH_SIZE], array[32768], answer[ANSWER_SIZE], log[PATH_SIZE], name[64],
        missing[ANSWER_SIZE];
    char program[] = "sbatch", parsable[] = "--parsable", one[] = "--requeue";
    const bool is_array = !strcmp(stage_of(f), "render");
    list_missing(f, missing, sizeof missing);
    snprintf(array, sizeof array, "--array=%s", missing);
    snprintf(name, sizeof name, "--job-name=latentsync-%s", stage_of(f));
    snprintf(log, sizeof log, "--output=%s/slurm.log", f->folder);
    if (write_script(f, script))
        return end_with(LS_EIO, "the script for Slurm cannot be written", 3);
    const int status =
        run((char *[]){program, parsable, name, log, is_array ? array : one, script, NULL}, answer);
    answer[strcspn(answer, "\n;")] = '\0';
    if (status || !*answer || strspn(answer, "0123456789") != strlen(answer)) {
        char text[400];
        snprintf(text, sizeof text, "sbatch failed: %.300s", answer);
        return end_with(LS_EBACKEND, text, 1);
    }
    json_object_set_new(f->state, "id", json_string(answer));
    json_object_set_new(f->state, "tries",
                        json_integer(json_integer_value(json_object_get(f->state, "tries")) + 1));
    say("info", "Slurm's job %s: %s%s%s", answer, stage_of(f), is_array ? ", segments " : "",
        is_array ? missing : "");
    if (!save(f))
        return 0;
    cancel(f);
    return end_with(LS_EIO, "what was submitted to Slurm cannot be recorded", 3);
}

/* Whether tasks of it are still known to the queue; an answer that does not come is no answer. */
static bool is_active(follower *f)
{
    char answer[ANSWER_SIZE], program[] = "squeue", h[] = "--noheader", format[] = "--format=%T",
                              jobs[64];
    snprintf(jobs, sizeof jobs, "--jobs=%s", json_string_value(json_object_get(f->state, "id")));
    const int status = run((char *[]){program, h, format, jobs, NULL}, answer);
    const bool is_unknown = status && strstr(answer, "Invalid job id");
    if (status && !is_unknown && !f->is_out_of_touch)
        say("warning", "squeue does not answer: %.300s", answer);
    f->is_out_of_touch = status && !is_unknown;
    return !is_unknown && (status || strspn(answer, " \n") != strlen(answer));
}

/* What Slurm's accounting, if there is one, says about tasks that are over. */
static void explain(const follower *f)
{
    static const char *const states[] = {"NODE_FAIL", "TIMEOUT",   "OUT_OF_MEMORY", "PREEMPTED",
                                         "BOOT_FAIL", "CANCELLED", "FAILED"};
    char answer[ANSWER_SIZE], program[] = "sacct", n[] = "-nXP", o[] = "--format=State", jobs[64];
    snprintf(jobs, sizeof jobs, "--jobs=%s", json_string_value(json_object_get(f->state, "id")));
    if (run((char *[]){program, n, o, jobs, NULL}, answer))
        return;
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        if (strstr(answer, states[i]))
            say("warning", "Slurm's job %s: %s", json_string_value(json_object_get(f->state, "id")),
                states[i]);
}

/* How far all tasks are. */
static void report(const follower *f)
{
    const int64_t count = segments_of(f);
    const bool is_array = !strcmp(stage_of(f), "render");
    double fraction = 0;
    json_int_t frames = 0;
    for (int64_t i = 0; i < count; i++) {
        json_t *event = last_event(f, number_of(f, i));
        fraction +=
            is_event(event, "done") ? 1 : json_number_value(json_object_get(event, "fraction"));
        frames = json_integer_value(json_object_get(event, "frames"))
                     ? json_integer_value(json_object_get(event, "frames"))
                     : frames;
        if (!is_array && is_event(event, "progress")) {
            json_object_del(event, "event");
            print_event("progress", event);
            return;
        }
        json_decref(event);
    }
    print_event("progress", json_pack("{s:s, s:I, s:f}", "stage", is_array ? "frames" : "prepare",
                                      "frames", frames, "fraction", fraction / (double)count));
}

/* An error of a task that another try would not mend; NULL: none. */
static json_t *lasting_error(const follower *f)
{
    for (int64_t i = 0; i < segments_of(f); i++) {
        json_t *event = last_event(f, number_of(f, i));
        if (is_event(event, "error") && !json_is_true(json_object_get(event, "retry")))
            return event;
        json_decref(event);
    }
    return NULL;
}

static void rest(const follower *f, int tenths)
{
    for (int i = 0; i < tenths && !is_canceled(f); i++)
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

static int give_up(follower *f, json_t *error)
{
    cancel(f);
    const int status = (int)json_integer_value(json_object_get(error, "status"));
    json_object_del(error, "event");
    print_event("error", error);
    return status ? status : 1;
}

/* Until every task of the stage has made its part; 0, or an exit status after the error. */
static int finish_stage(follower *f)
{
    char missing[ANSWER_SIZE];
    json_t *error;
    for (;;) {
        if (!json_object_get(f->state, "id")) {
            const int status = submit(f);
            if (status)
                return status;
        }
        while (!is_canceled(f) && is_active(f) && !(error = lasting_error(f))) {
            report(f);
            rest(f, 20);
        }
        if (is_canceled(f)) {
            cancel(f);
            return end_with(LS_ECANCELED, "canceled", 130);
        }
        if (list_missing(f, missing, sizeof missing))
            rest(f, 20); // other nodes' files may be seen late
        if ((error = lasting_error(f)))
            return give_up(f, error);
        if (!list_missing(f, missing, sizeof missing))
            return 0;
        explain(f);
        if (json_integer_value(json_object_get(f->state, "tries")) >= MOST_TRIES)
            return end_with(
                LS_EBACKEND,
                "Slurm ended the tasks of the job several times; its log is in the job's folder",
                1);
        json_object_del(f->state, "id");
    }
}

static int begin_stage(follower *f, const char *stage, int64_t segments)
{
    char path[PATH_SIZE];
    json_decref(f->state);
    f->state =
        json_pack("{s:s, s:i, s:I}", "stage", stage, "tries", 0, "segments", (json_int_t)segments);
    for (int64_t i = 0; i < segments_of(f); i++) {
        result_path(f, stage, number_of(f, i), path);
        unlink(path);
    }
    return save(f) ? end_with(LS_EIO, "the state of the job cannot be recorded", 3) : 0;
}

static int next_stage(follower *f, bool *is_over)
{
    json_t *event = last_event(f, -1);
    const int64_t segments = json_integer_value(json_object_get(event, "segments"));
    int status = 0;
    *is_over = false;
    if (!strcmp(stage_of(f), "plan"))
        status = segments > 0 && segments <= MOST_SEGMENTS
                     ? begin_stage(f, "render", segments)
                     : end_with(LS_EBACKEND, "the plan of the job has no segments", 1);
    else if (!strcmp(stage_of(f), "render"))
        status = begin_stage(f, "join", 0);
    else {
        *is_over = true;
        json_object_del(event, "event");
        print_event("done", json_incref(event));
    }
    json_decref(event);
    return status;
}

static int follow(follower *f)
{
    bool is_over = false;
    int status = 0;
    if (!json_is_object(f->spec))
        return end_with(LS_EFORMAT, "slurm.json cannot be read", 3);
    if (!json_is_object(f->state))
        status = begin_stage(f, json_object_get(f->spec, "sync") ? "sync" : "plan", 0);
    while (!status && !is_over) {
        status = finish_stage(f);
        if (!status)
            status = next_stage(f, &is_over);
    }
    return status;
}

int slurm_follow(const char *folder, const atomic_bool *stop)
{
    char path[PATH_SIZE];
    follower f = {.folder = folder, .stop = stop, .parent = getppid()};
    snprintf(path, sizeof path, "%s/slurm.json", folder);
    f.spec = json_load_file(path, 0, NULL);
    snprintf(path, sizeof path, "%s/slurm.state", folder);
    f.state = json_load_file(path, 0, NULL);
    const int status = follow(&f);
    if (status && status != 130) // so that the next attempt begins with another submission
        unlink(path);
    json_decref(f.spec);
    json_decref(f.state);
    return status;
}
