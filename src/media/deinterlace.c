#include "media/deinterlace.h"
#include "base/alloc.h"

#include <dlfcn.h>
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define MIN_SIZE 4 /* of the filter */

struct ls_deinterlacer {
    const char *name;
    const ls_log *log;
    bool works, ended;
    AVFrame *last;        /* that was put; it has been taken, or waits in the filter */
    bool is_ready;        /* `last` can be taken as it is */
    AVFilterGraph *graph; /* from the first interlaced frame on */
    AVFilterContext *source, *sink;
    int64_t durations[2]; /* of the frame that waits and the one after it */
};

/* Opened for the first interlaced frame: with the libraries that it brings it is half of what the
 * loader would have to do for every start of a program. */
#define LIBRARY "libavfilter.so." AV_STRINGIFY(LIBAVFILTER_VERSION_MAJOR)
#define FUNCTIONS(X)                                                                               \
    X(avfilter_get_by_name)                                                                        \
    X(avfilter_graph_alloc)                                                                        \
    X(avfilter_graph_config)                                                                       \
    X(avfilter_graph_create_filter)                                                                \
    X(avfilter_graph_free)                                                                         \
    X(avfilter_graph_set_auto_convert)                                                             \
    X(avfilter_link)                                                                               \
    X(av_buffersink_get_frame)                                                                     \
    X(av_buffersrc_add_frame_flags)

static struct {
#define X(name) __typeof__(&name) name;
    FUNCTIONS(X)
#undef X
    bool is_open;
} lib;

static void open_library(void)
{
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    lib.is_open = handle;
#define X(name)                                                                                    \
    if (lib.is_open && !(*(void **)&lib.name = dlsym(handle, #name)))                              \
        lib.is_open = false;
    FUNCTIONS(X)
#undef X
}

static void free_graph(ls_deinterlacer *d)
{
    if (d->graph)
        lib.avfilter_graph_free(&d->graph);
}

int ls_deinterlacer_open(ls_deinterlacer **out, const char *name, const ls_log *log, ls_error *err)
{
    ls_deinterlacer *d = *out = ls_calloc_array(1, sizeof *d);
    if (d && (d->last = av_frame_alloc())) {
        d->name = name;
        d->log = log;
        return 0;
    }
    ls_deinterlacer_close(out);
    return ls_fail(err, LS_ENOMEM, "out of memory");
}

void ls_deinterlacer_close(ls_deinterlacer **pd)
{
    ls_deinterlacer *d = *pd;
    if (!d)
        return;
    free_graph(d);
    av_frame_free(&d->last);
    free(d);
    *pd = NULL;
}

bool ls_deinterlacer_works(const ls_deinterlacer *d)
{
    return d->works;
}

void ls_deinterlacer_restart(ls_deinterlacer *d)
{
    free_graph(d);
    av_frame_unref(d->last);
    d->is_ready = d->ended = false;
}

static int open_graph(ls_deinterlacer *d, const AVFrame *like, ls_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    AVFilterContext *filter;
    char args[128];
    pthread_once(&once, open_library);
    if (!lib.is_open)
        return ls_fail(err, LS_EUNSUPPORTED,
                       "%s is interlaced, and " LIBRARY ", which deinterlaces, cannot be opened",
                       d->name);
    snprintf(args, sizeof args, "video_size=%dx%d:pix_fmt=%d:time_base=1/1", like->width,
             like->height, like->format);
    AVFilterGraph *g = d->graph = lib.avfilter_graph_alloc();
    if (!g)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    g->nb_threads = 1;
    lib.avfilter_graph_set_auto_convert(g, AVFILTER_AUTO_CONVERT_NONE);
    const AVFilter *bwdif = lib.avfilter_get_by_name("bwdif");
    if (!bwdif)
        return ls_fail(err, LS_EUNSUPPORTED, "this libavfilter lacks bwdif, which deinterlaces");
    int ret = lib.avfilter_graph_create_filter(&d->source, lib.avfilter_get_by_name("buffer"), "in",
                                               args, NULL, g);
    if (ret >= 0)
        ret = lib.avfilter_graph_create_filter(&filter, bwdif, "bwdif",
                                               "mode=send_frame:deint=interlaced", NULL, g);
    if (ret >= 0)
        ret = lib.avfilter_graph_create_filter(&d->sink, lib.avfilter_get_by_name("buffersink"),
                                               "out", NULL, NULL, g);
    if (ret >= 0)
        ret = lib.avfilter_link(d->source, 0, filter, 0);
    if (ret >= 0)
        ret = lib.avfilter_link(filter, 0, d->sink, 0);
    if (ret >= 0)
        ret = lib.avfilter_graph_config(g, NULL);
    return ret < 0 ? ls_fail_av(err, ret, "%s: cannot deinterlace frames of %s", d->name,
                                av_get_pix_fmt_name(like->format))
                   : 0;
}

/* Leaves `f` as it is. */
static int feed(ls_deinterlacer *d, AVFrame *f, ls_error *err)
{
    d->durations[0] = d->durations[1];
    d->durations[1] = f ? ls_av_duration(f) : 0;
    const int ret = lib.av_buffersrc_add_frame_flags(d->source, f, AV_BUFFERSRC_FLAG_KEEP_REF);
    return ret < 0 ? ls_fail_av(err, ret, "%s: cannot deinterlace a frame", d->name) : 0;
}

/* The filter begins with the frame before, which has been taken; so nothing comes out yet. */
static int start(ls_deinterlacer *d, const AVFrame *f, ls_error *err)
{
    int ret = open_graph(d, f, err);
    if (!d->works)
        ls_log_msg(d->log, LS_LOG_INFO, "%s is interlaced: its frames are deinterlaced", d->name);
    d->works = true;
    return !ret && d->last->buf[0] ? feed(d, d->last, err) : ret;
}

int ls_deinterlacer_put(ls_deinterlacer *d, AVFrame *f, ls_error *err)
{
    int ret = 0;
    const bool starts =
        f && !d->graph && ls_av_is_interlaced(f) && f->width >= MIN_SIZE && f->height >= MIN_SIZE;
    const bool skips = starts && d->last->buf[0];
    d->ended = !f;
    if (starts)
        ret = start(d, f, err);
    if (!ret && d->graph)
        ret = feed(d, f, err);
    if (!f || ret)
        return ret;
    av_frame_unref(d->last);
    av_frame_move_ref(d->last, f);
    d->is_ready = !d->graph;
    if (skips) {
        ls_deinterlacer_take(d, f, &ret, err);
        av_frame_unref(f);
    }
    return ret;
}

bool ls_deinterlacer_take(ls_deinterlacer *d, AVFrame *f, int *ret, ls_error *err)
{
    *ret = 0;
    if (!d->graph) {
        const bool is_ready = d->is_ready;
        d->is_ready = false;
        if (is_ready && av_frame_ref(f, d->last) < 0)
            *ret = ls_fail(err, LS_ENOMEM, "out of memory for a frame");
        else if (!is_ready && d->ended)
            *ret = LS_EOF;
        return is_ready || d->ended;
    }
    const int got = lib.av_buffersink_get_frame(d->sink, f);
    if (got == AVERROR(EAGAIN))
        return false;
    if (got == AVERROR_EOF)
        *ret = LS_EOF;
    else if (got < 0)
        *ret = ls_fail_av(err, got, "%s: cannot deinterlace a frame", d->name);
    if (got < 0)
        return true;
    f->pts = f->best_effort_timestamp; // the filter has a time base of its own
    ls_av_set_duration(f, d->durations[0]);
    return true;
}
