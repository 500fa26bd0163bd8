#include "pipeline/watch.h"
#include "base/alloc.h"
#include "base/os/memory.h"
#include "monitor/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TIGHT 0.92 /* of a limit */
#define ROOMY 0.75
#define PRESSURE 20.0 /* percent */
#define CALM 10       /* seconds of room before more frames are allowed */

struct ls_watch {
    ls_watch_settings s;
    ls_usage_meter *meter;
    int stats; /* -1: none */
    size_t frames, calm;
    bool over;    /* the budget, which was reported */
    ls_error err; /* the first of writing statistics */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool ending;
};

size_t ls_watch_frames(const ls_watch_memory *m, size_t now, size_t least, size_t most)
{
    const double resident = (double)m->resident / (double)m->budget,
                 group = m->cgroup_limit && m->cgroup_limit != UINT64_MAX
                             ? (double)m->cgroup_used / (double)m->cgroup_limit
                             : 0;
    if (resident > TIGHT || group > TIGHT || m->pressure > PRESSURE)
        return now / 2 > least ? now / 2 : least;
    if (resident < ROOMY && group < ROOMY && m->pressure < PRESSURE / 4)
        return 2 * now < most ? 2 * now : most;
    return now;
}

static void keep_within(ls_watch *w, const ls_usage *u)
{
    const ls_watch_memory m = {u->resident, w->s.budget, u->cgroup_used, u->cgroup_limit,
                               u->pressure};
    const size_t want = ls_watch_frames(&m, w->frames, w->s.least, w->s.frames);
    w->calm = want > w->frames ? w->calm + 1 : 0;
    if (u->resident > w->s.budget && !w->over) {
        w->over = true;
        ls_log_msg(w->s.log, LS_LOG_WARN, "resident memory %.0f MB exceeds the %.0f MB budget",
                   (double)u->resident / 1e6, (double)w->s.budget / 1e6);
    }
    if (want < w->frames)
        ls_os_trim_heap(); // freed memory is resident until it is trimmed
    if (want == w->frames || (want > w->frames && w->calm < CALM))
        return;
    ls_log_msg(
        w->s.log, LS_LOG_DEBUG,
        "%.0f of %.0f MB resident, memory pressure %.0f %%: %zu frames in flight, %zu before",
        (double)u->resident / 1e6, (double)w->s.budget / 1e6, u->pressure > 0 ? u->pressure : 0,
        want, w->frames);
    w->frames = want;
    w->calm = 0;
    w->s.narrow(w->s.opaque, want);
}

/* A line in one write. */
static void write_stats(ls_watch *w, const ls_progress *p, const ls_usage *u)
{
    char line[16384];
    const size_t n = ls_stats_json(p, u, line, sizeof line);
    if (w->stats < 0 || !n || w->err.code)
        return;
    const ssize_t got = write(w->stats, line, n);
    if (got != (ssize_t)n)
        ls_fail_errno(&w->err, got < 0 ? errno : ENOSPC, "cannot write %s", w->s.stats);
}

static void look(ls_watch *w)
{
    ls_report r;
    ls_usage u;
    ls_usage_sample(w->meter, &u);
    w->s.look(w->s.progress, &r);
    r.p.resident_bytes = u.resident;
    r.p.cpu_percent = u.cpu_percent;
    r.p.budget_bytes = w->s.budget;
    r.p.gpu_percent = u.gpu_percent;
    r.p.gpu_bytes = u.gpu_used;
    r.p.gpu_total_bytes = u.gpu_total;
    write_stats(w, ls_report_progress(&r), &u);
    if (w->s.narrow)
        keep_within(w, &u);
    w->s.report(w->s.progress, &r);
}

static void *run(void *opaque)
{
    ls_watch *w = opaque;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    pthread_mutex_lock(&w->lock);
    while (!w->ending) {
        next.tv_sec++;
        while (!w->ending && !pthread_cond_timedwait(&w->wake, &w->lock, &next))
            ;
        pthread_mutex_unlock(&w->lock);
        look(w);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* Appends to the lines of an earlier run, whose last may be cut off. */
static int open_stats(ls_watch *w, ls_error *err)
{
    char last, first;
    w->stats = open(w->s.stats, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (w->stats < 0)
        return ls_fail_errno(err, errno, "cannot write %s", w->s.stats);
    if (pread(w->stats, &first, 1, 0) == 1 && first != '{')
        return ls_fail(err, LS_EINVAL, "%s exists and holds something other than statistics",
                       w->s.stats);
    off_t end = lseek(w->stats, 0, SEEK_END);
    while (end > 0 && pread(w->stats, &last, 1, end - 1) == 1 && last != '\n')
        end--;
    struct stat st;
    if (!fstat(w->stats, &st) && S_ISREG(st.st_mode) && end < st.st_size &&
        ftruncate(w->stats, end))
        return ls_fail_errno(err, errno, "cannot write %s", w->s.stats);
    return 0;
}

int ls_watch_open(ls_watch **out, const ls_watch_settings *s, ls_error *err)
{
    ls_watch *w = *out = ls_calloc_array(1, sizeof *w);
    pthread_condattr_t clock;
    if (!w)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    w->s = *s;
    w->stats = -1;
    w->frames = s->frames;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &clock);
    pthread_condattr_destroy(&clock);
    int ret = s->stats ? open_stats(w, err) : 0;
    if (!ret)
        ret = ls_usage_open(&w->meter, "", err);
    if (!ret && pthread_create(&w->thread, NULL, run, w)) {
        ret = ls_fail(err, LS_ENOMEM, "cannot start a thread");
        ls_usage_close(&w->meter);
    }
    if (ret)
        ls_watch_close(out, NULL);
    return ret;
}

int ls_watch_close(ls_watch **pw, ls_error *err)
{
    ls_watch *w = *pw;
    if (!w)
        return 0;
    if (w->meter) {
        pthread_mutex_lock(&w->lock);
        w->ending = true;
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
    }
    const int ret = w->err.code;
    if (ret && err)
        *err = w->err;
    ls_usage_close(&w->meter);
    if (w->stats >= 0)
        close(w->stats);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->wake);
    free(w);
    *pw = NULL;
    return ret;
}
