#define _GNU_SOURCE // pipe2

#include "server/worker.h"
#include "server/basics.h"
#include "server/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h> // for what glibc has since 2.34 and 2.36
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* Events are a few kilobytes a second; who writes more than this does not write events. */
static const double burst_bytes = 4e6, second_bytes = 256e3;

static bool is_kept(const char *variable)
{
    static const char *const names[] = {
        "PATH=",           "HOME=",          "LANG=",         "TZ=", "LD_LIBRARY_PATH=",
        "XDG_CACHE_HOME=", "XDG_DATA_HOME=", "XDG_DATA_DIRS="};
    static const char *const prefixes[] = {"LC_",       "LS_",    "OMP_",    "DNNL_", "ONEDNN_",
                                           "OPENBLAS_", "CUDA_",  "NVIDIA_", "ASAN_", "LSAN_",
                                           "UBSAN_",    "SLURM_", "SBATCH_", "VK_",   "MESA_"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strncmp(variable, names[i], strlen(names[i])))
            return true;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (!strncmp(variable, prefixes[i], strlen(prefixes[i])))
            return true;
    return false;
}

/* The array is the caller's to free, the strings are not; but for the last two, in `own`. */
static char **environment(const worker_start_settings *s, char own[2][4160])
{
    size_t count = 0, kept = 0;
    while (environ[count])
        count++;
    char **all = calloc(count + 3, sizeof *all);
    for (size_t i = 0; all && i < count; i++)
        if (is_kept(environ[i]))
            all[kept++] = environ[i];
    if (!all)
        return NULL;
    snprintf(own[0], sizeof own[0], "TMPDIR=%s", s->temporary);
    all[kept++] = own[0];
    if (!getenv("XDG_CACHE_HOME") && !getenv("HOME")) {
        snprintf(own[1], sizeof own[1], "XDG_CACHE_HOME=%s", s->cache);
        all[kept++] = own[1];
    }
    return all;
}

/* Between fork and exec: only what is safe after a fork of one of several threads. */
static _Noreturn void become(const worker_start_settings *s, char **env, pid_t parent, int out,
                             int err)
{
    sigset_t none;
    sigemptyset(&none);
    const int null = open("/dev/null", O_RDONLY);
    if (null >= 0 && !setpgid(0, 0) && dup2(null, 0) == 0 && dup2(out, 1) == 1 &&
        dup2(err, 2) == 2 && !syscall(__NR_close_range, 3, ~0U, 0) &&
        !sandbox_enter(s->sandbox, parent, s->death_signal, s->file_bytes) &&
        !sigprocmask(SIG_SETMASK, &none, NULL)) {
        execve(s->program, (char *const *)s->argv, env);
        static const char text[] = "the program could not be started\n";
        if (write(2, text, sizeof text - 1) < 0)
            _exit(127);
    }
    _exit(127);
}

/* Pipes whose ends here do not block. Above 2, so that dup2 in the child finds each where it was.
 */
static int make_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC))
        return -1;
    for (int i = 0; i < 2 && ends[i] < 3; i++) {
        const int high = fcntl(ends[i], F_DUPFD_CLOEXEC, 3);
        close(ends[i]);
        ends[i] = high;
    }
    return ends[0] < 0 || ends[1] < 0 ? -1 : fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

int worker_start(worker *w, const worker_start_settings *s, ls_error *err)
{
    char own[2][4160];
    int fds[4] = {-1, -1, -1, -1};
    memset(w, 0, offsetof(worker, line));
    w->tail[0] = '\0';
    char **env = environment(s, own);
    const pid_t parent = getpid();
    if (!env || make_pipe(fds) || make_pipe(fds + 2) || (w->pid = fork()) < 0) {
        w->pid = 0;
        server_fail_errno(err, "cannot start", s->program);
        close_all(fds, 4);
        free(env);
        return err->code;
    }
    if (!w->pid)
        become(s, env, parent, fds[1], fds[3]);
    setpgid(w->pid, w->pid); // whoever is first
    free(env);
    close(fds[1]);
    close(fds[3]);
    w->out = fds[0];
    w->err = fds[2];
    w->process = (int)syscall(__NR_pidfd_open, w->pid, 0);
    w->started = server_clock();
    if (w->process >= 0)
        return 0;
    server_fail_errno(err, "cannot watch", s->program);
    worker_kill(w);
    return err->code;
}

size_t worker_poll(const worker *w, struct pollfd *fds)
{
    const int all[WORKER_FDS] = {w->process, w->out, w->err};
    size_t count = 0;
    for (size_t i = 0; i < WORKER_FDS && w->pid; i++)
        if (all[i] >= 0)
            fds[count++] = (struct pollfd){.fd = all[i], .events = POLLIN};
    return count;
}

static void take_lines(worker *w, const char *data, size_t bytes,
                       void (*line)(void *opaque, const char *text, size_t bytes), void *opaque)
{
    while (bytes) {
        const char *end = memchr(data, '\n', bytes);
        const size_t part = end ? (size_t)(end - data) : bytes;
        w->is_skipping = w->is_skipping || part > sizeof w->line - w->fill;
        if (!w->is_skipping) {
            memcpy(w->line + w->fill, data, part);
            w->fill += part;
        }
        if (end) {
            if (!w->is_skipping)
                line(opaque, w->line, w->fill);
            w->fill = 0;
            w->is_skipping = false;
        }
        data += part + (end != NULL);
        bytes -= part + (end != NULL);
    }
}

/* Keeps the last bytes. */
static void take_tail(worker *w, const char *data, size_t bytes)
{
    const size_t room = sizeof w->tail - 1;
    const size_t part = bytes < room ? bytes : room;
    const size_t kept = w->tail_fill < room - part ? w->tail_fill : room - part;
    memmove(w->tail, w->tail + w->tail_fill - kept, kept);
    memcpy(w->tail + kept, data + bytes - part, part);
    w->tail_fill = kept + part;
    w->tail[w->tail_fill] = '\0';
}

/* The bytes that came at once, -1 at the end. A bounded number, so that one process that floods the
 * server does not keep it from the others. */
static ssize_t take(int *fd, char *data, size_t size)
{
    const ssize_t n = *fd < 0 ? -1 : read(*fd, data, size);
    if (n > 0 || (n < 0 && *fd >= 0 && (errno == EAGAIN || errno == EINTR)))
        return n < 0 ? 0 : n;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return -1;
}

static bool has_ended(const worker *w)
{
    siginfo_t info = {0};
    return !waitid(P_PID, (id_t)w->pid, &info, WEXITED | WNOHANG | WNOWAIT) &&
           info.si_pid == w->pid;
}

/* The group first: while its leader is not reaped, its number is nobody else's. */
static void reap(worker *w)
{
    kill(-w->pid, SIGKILL);
    while (waitpid(w->pid, &w->status, 0) < 0 && errno == EINTR)
        ;
    close_all((int[]){w->process, w->out, w->err}, 3);
    w->pid = 0;
}

bool worker_read(worker *w, void (*line)(void *opaque, const char *text, size_t bytes),
                 void *opaque)
{
    char data[16384];
    ssize_t n;
    const bool ended = has_ended(w); // before the last bytes are read
    for (int i = 0; i < (ended ? 256 : 4) && (n = take(&w->out, data, sizeof data)) > 0; i++) {
        w->bytes += (uint64_t)n;
        take_lines(w, data, (size_t)n, line, opaque);
    }
    for (int i = 0; i < 4 && (n = take(&w->err, data, sizeof data)) > 0; i++)
        take_tail(w, data, (size_t)n);
    const double now = server_clock();
    w->is_flooding =
        w->is_flooding || (double)w->bytes > burst_bytes + second_bytes * (now - w->started);
    if (w->is_flooding || (w->kill_at > 0 && now >= w->kill_at))
        kill(-w->pid, SIGKILL);
    if (ended)
        reap(w);
    return ended;
}

void worker_stop(worker *w, double patience)
{
    if (!w->pid || w->kill_at > 0)
        return;
    kill(w->pid, SIGTERM);
    w->kill_at = server_clock() + patience;
}

void worker_kill(worker *w)
{
    if (!w->pid)
        return;
    kill(-w->pid, SIGKILL);
    kill(w->pid, SIGKILL); // it may not have its group yet
    reap(w);
}

void worker_end_text(const worker *w, char *out, size_t size)
{
    if (w->is_flooding)
        snprintf(out, size, "it wrote more than events do, and was ended");
    else if (WIFSIGNALED(w->status))
        snprintf(out, size, "it was ended by signal %d (%s)%s", WTERMSIG(w->status),
                 strsignal(WTERMSIG(w->status)),
                 WTERMSIG(w->status) == SIGKILL ? "; memory may have run out" : "");
    else
        snprintf(out, size, "it ended with status %d, without saying why", WEXITSTATUS(w->status));
}
