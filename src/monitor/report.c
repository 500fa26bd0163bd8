#include "latentsync/latentsync.h"
#include "monitor/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* One colour per meaning, distinguishable in both schemes and by most colour-blind readers. */
static const char style[] =
    ":root{color-scheme:light dark;--page:#f4f4f2;--card:#fff;--text:#1c1c1a;--soft:#63635f;"
    "--grid:#e6e6e2;--edge:#dededa;--a:#2a6fd0;--b:#1a9c6e;--bound:#c23b34;--bound2:#9a6b00;"
    "--hot:#d9601f;--point:#00000012}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#141413;--card:#1e1e1c;--text:#f1f1ee;"
    "--soft:#a3a39d;--grid:#31312e;--edge:#31312e;--a:#5b9bf0;--b:#2fb98a;--bound:#f0716a;"
    "--bound2:#d9a72e;--hot:#f0883e;--point:#ffffff16}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;padding:1.5rem 1rem 3rem;background:var(--page);color:var(--text);"
    "font:15px/1.45 system-ui,sans-serif;font-variant-numeric:tabular-nums}\n"
    "main{max-width:62rem;margin:auto}\n"
    "h1{font-size:1.5rem;margin:0;overflow-wrap:anywhere}\n"
    "h2{font-size:1.05rem;margin:0}\n"
    "p{margin:.2rem 0 0;color:var(--soft)}\n"
    "small{color:var(--soft);font-size:.87em}\n"
    "section,.tile{background:var(--card);border:1px solid var(--edge);border-radius:.6rem}\n"
    "section{margin-top:1rem;padding:1rem 1.2rem 1.2rem}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.8rem,1fr));gap:.7rem;"
    "margin-top:1.2rem}\n"
    ".tile{padding:.7rem .9rem .8rem;overflow-wrap:anywhere}\n"
    ".tile b{display:block;font-size:1.25rem;line-height:1.4;font-weight:650}\n"
    ".tile b small{font-size:.85rem;font-weight:400}\n"
    ".tile.over b{color:var(--bound)}\n"
    ".meter{height:.35rem;border-radius:.2rem;background:var(--grid);margin-top:.35rem;"
    "overflow:hidden}\n"
    ".meter i{display:block;height:100%;background:var(--a)}\n"
    ".over .meter i{background:var(--bound)}\n"
    ".legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1.4rem;margin:.35rem 0 0;"
    "padding:0}\n"
    ".legend i{display:inline-block;width:1.1em;border-top:3px solid var(--c);margin-right:.45em;"
    "vertical-align:.25em}\n"
    ".legend .bound i{border-top-style:dashed;border-top-width:2px}\n"
    ".a{--c:var(--a)}.b{--c:var(--b)}.bound1{--c:var(--bound)}.bound2{--c:var(--bound2)}\n"
    ".plot{position:relative;height:12rem;margin:1rem .6rem 1.6rem 4.2rem}\n"
    "svg{display:block;width:100%;height:100%;overflow:visible}\n"
    "path{fill:none;stroke-width:1.7;stroke-linejoin:round;vector-effect:non-scaling-stroke}\n"
    ".line{stroke:var(--c)}.line.bound{stroke-dasharray:6 4;stroke-width:1.5}\n"
    ".range{fill:var(--c);opacity:.22}\n"
    ".grid{stroke:var(--grid);stroke-width:1}\n"
    ".start{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 3}\n"
    ".pointers rect{fill:transparent}.pointers rect:hover{fill:var(--point)}\n"
    ".y,.x{position:absolute;font-size:.8rem;color:var(--soft);white-space:nowrap}\n"
    ".y{right:calc(100% + .5rem);transform:translateY(-50%)}\n"
    ".x{top:calc(100% + .25rem);transform:translateX(-50%)}\n"
    ".strips{display:grid;grid-auto-flow:dense;"
    "grid-template-columns:minmax(4rem,max-content) 1fr max-content;"
    "gap:.55rem .9rem;margin:.9rem 0 1.4rem;align-items:center}\n"
    ".strip{--c:var(--a);grid-column:2;position:relative;height:2.1rem;background:var(--page)}\n"
    ".strip.hot{--c:var(--hot)}.strip.queue{--c:var(--b)}\n"
    ".strip .line{stroke-width:1.2}.area{fill:var(--c);opacity:.3}\n"
    ".name{grid-column:1;overflow-wrap:anywhere;max-width:12rem;font-weight:600}\n"
    ".value small{display:block}.value{grid-column:3;text-align:right;line-height:1.2}\n"
    ".strip.axis{height:0;background:none}\n"
    "footer{margin-top:1.2rem;color:var(--soft);font-size:.85rem}\n"
    "@media(max-width:38rem){body{padding:1rem .6rem 2rem}section{padding:.8rem .8rem 1rem}"
    ".tiles{grid-template-columns:1fr 1fr}.x.odd{display:none}.plot{margin-left:3.9rem;"
    "height:10rem}.strips{grid-template-columns:1fr max-content;gap:.1rem .9rem}.strip{"
    "grid-column:1/3;margin-bottom:.6rem}.value{grid-column:2}.value small{display:inline;"
    "margin-left:.6em}}\n"
    "@media print{body{background:none}section{break-inside:avoid}}\n";

static const ls_bin *all_of(const ls_history *h, enum ls_figure figure)
{
    return &h->figures[figure].all;
}

static double mean(const ls_bin *b)
{
    return b->weight > 0 ? b->sum / b->weight : 0;
}

static bool known(const ls_history *h, enum ls_figure figure)
{
    return all_of(h, figure)->weight > 0;
}

static void put_head(ls_page *p, const ls_history *h, const char *stats)
{
    const char *slash = strrchr(stats, '/');
    char text[LS_FORMAT_SIZE];
    ls_page_put(p, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                   "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                   "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                   "style-src 'unsafe-inline'\">\n<title>latentsync: ");
    ls_page_text(p, slash ? slash + 1 : stats);
    ls_page_put(p, "</title>\n<style>\n");
    for (const char *at = style; *at;) { // in pieces that ls_page_put accepts
        int n = (int)strcspn(at, "\n") + 1;
        ls_page_put(p, "%.*s", n, at);
        at += n;
    }
    ls_page_put(p, "</style></head>\n<body><main>\n<header><h1>");
    ls_page_text(p, slash ? slash + 1 : stats);
    ls_page_put(p, "</h1>\n<p>");
    for (size_t i = 0; i < LS_HISTORY_PHASES && *h->phases[i].name; i++) {
        ls_page_put(p, "%s", i ? " · " : "");
        ls_page_text(p, h->phases[i].name);
        ls_page_put(p, " %s", ls_format_seconds(text, h->phases[i].seconds));
    }
    ls_page_put(p, "</p></header>\n");
}

static void open_tile(ls_page *p, const char *name, bool over)
{
    ls_page_put(p, "<div class=\"tile%s\"><small>%s</small><b>", over ? " over" : "", name);
}

static void put_memory_tile(ls_page *p, const ls_history *h)
{
    char text[LS_FORMAT_SIZE], share[LS_FORMAT_SIZE];
    double peak = all_of(h, LS_FIGURE_RESIDENT)->max, budget = all_of(h, LS_FIGURE_BUDGET)->max;
    if (!known(h, LS_FIGURE_RESIDENT))
        return;
    bool bounded = known(h, LS_FIGURE_BUDGET) && budget > 0, over = bounded && peak > budget;
    open_tile(p, "Peak memory", over);
    ls_page_put(p, "%s</b>", ls_format_bytes(text, peak));
    if (bounded)
        ls_page_put(p,
                    "<small>%s of the %s budget</small><div class=\"meter\"><i style=\"width:"
                    "%d%%\"></i></div>",
                    ls_format_percent(share, 100 * peak / budget), ls_format_bytes(text, budget),
                    (int)fmin(lround(fmin(100 * peak / budget, 100)), 100));
    else
        ls_page_put(p, "<small>no budget</small>");
    ls_page_put(p, "</div>\n");
}

/* The busiest stage; SIZE_MAX if there is none. */
static size_t busiest(const ls_history *h)
{
    size_t k = SIZE_MAX;
    for (size_t i = 0; i < h->stage_count; i++)
        if (h->stages[i].busy.all.sum > (k == SIZE_MAX ? 0 : h->stages[k].busy.all.sum))
            k = i;
    return k;
}

static void put_tiles(ls_page *p, const ls_history *h)
{
    char text[LS_FORMAT_SIZE], other[LS_FORMAT_SIZE];
    double speed = h->frames_done / h->seconds;
    size_t k = busiest(h);
    ls_page_put(p, "<div class=\"tiles\">\n");
    open_tile(p, "Duration", false);
    ls_page_put(p, "%s</b>", ls_format_seconds(text, h->seconds));
    if (h->parts > 1)
        ls_page_put(p, "<small>in %zu parts</small>", h->parts);
    ls_page_put(p, "</div>\n");
    open_tile(p, "Frames", false);
    ls_page_put(p, "%s</b>", ls_format_number(text, h->frame, 0));
    if (h->frames > 0)
        ls_page_put(p, "<small>of %s</small>", ls_format_number(text, h->frames, 0));
    ls_page_put(p, "</div>\n");
    open_tile(p, "Mean speed", false);
    if (speed > 0)
        ls_page_put(p, "%s <small>frames/s</small></b><small>%s/frame</small></div>\n",
                    ls_format_number(text, speed, speed < 9.995 ? 2 : 1),
                    ls_format_seconds(other, 1 / speed));
    else
        ls_page_put(p, "–</b><small>no frame finished</small></div>\n");
    put_memory_tile(p, h);
    if (known(h, LS_FIGURE_CPU)) {
        const ls_bin *cpu = all_of(h, LS_FIGURE_CPU);
        open_tile(p, "Mean CPU", false);
        ls_page_put(p, "%s</b><small>", ls_format_percent(text, mean(cpu)));
        ls_page_put(p, "%s cores, up to %s</small></div>\n",
                    ls_format_number(text, mean(cpu) / 100, 1),
                    ls_format_number(other, cpu->max / 100, 1));
    }
    if (k != SIZE_MAX) {
        open_tile(p, "Busiest stage", false);
        ls_page_text(p, h->stages[k].busy.name);
        ls_page_put(p, "</b><small>%s of the time</small></div>\n",
                    ls_format_percent(text, h->stages[k].busy.all.sum / h->seconds));
    }
    ls_page_put(p, "</div>\n");
}

static void open_section(ls_page *p, const char *title, const char *note)
{
    ls_page_put(p, "<section><h2>%s</h2><p>%s</p>\n", title, note);
}

static void put_charts(ls_page *p, const ls_history *h)
{
    const ls_series *f = h->figures;
    const ls_chart_line memory[] = {
        {&f[LS_FIGURE_RESIDENT], "process", "a", false},
        {&f[LS_FIGURE_CGROUP], "cgroup", "b", false},
        {&f[LS_FIGURE_BUDGET], "budget", "bound2", true},
        {&f[LS_FIGURE_CGROUP_LIMIT], "cgroup’s limit", "bound1", true},
    };
    const ls_chart_line cpu = {&f[LS_FIGURE_CPU], "CPU", "a", false};
    const ls_chart_line pressure = {&f[LS_FIGURE_PRESSURE], "waiting", "a", false};
    const ls_chart_line gpu[] = {
        {&f[LS_FIGURE_GPU_MEMORY], "used", "a", false},
        {&f[LS_FIGURE_GPU_TOTAL], "total", "bound1", true},
    };
    const ls_chart_line load = {&f[LS_FIGURE_GPU_LOAD], "GPU", "a", false};
    if (known(h, LS_FIGURE_RESIDENT) || known(h, LS_FIGURE_CGROUP)) {
        open_section(
            p, "Memory",
            "Resident in the process, and used by its cgroup without droppable file cache.");
        ls_chart_lines(p, h, memory, 4, ls_format_bytes, 1e6);
        ls_page_put(p, "</section>\n");
    }
    if (known(h, LS_FIGURE_CPU)) {
        open_section(p, "CPU", "100 % is one core.");
        ls_chart_lines(p, h, &cpu, 1, ls_format_percent, 100);
        ls_page_put(p, "</section>\n");
    }
    if (all_of(h, LS_FIGURE_PRESSURE)->max > 0) {
        open_section(p, "Memory pressure",
                     "Share of the last ten seconds in which some task had to wait for memory.");
        ls_chart_lines(p, h, &pressure, 1, ls_format_percent, 10);
        ls_page_put(p, "</section>\n");
    }
    if (known(h, LS_FIGURE_GPU_MEMORY)) {
        open_section(p, "GPU memory", "Total of all devices and programs.");
        ls_chart_lines(p, h, gpu, 2, ls_format_bytes, 1e6);
        ls_page_put(p, "</section>\n");
    }
    if (known(h, LS_FIGURE_GPU_LOAD)) {
        open_section(p, "GPU load", "Share of the time in which a kernel ran.");
        ls_chart_lines(p, h, &load, 1, ls_format_percent, 100);
        ls_page_put(p, "</section>\n");
    }
}

static void put_strip(ls_page *p, const ls_history *h, const ls_series *s, const char *css,
                      const char *value, const char *more)
{
    ls_page_put(p, "<div class=\"name\">");
    ls_page_text(p, s->name);
    ls_page_put(p, "</div><div class=\"value\"><b>%s</b><small>%s</small></div>\n", value, more);
    ls_page_put(p, "<div class=\"strip %s\">\n", css);
    ls_chart_strip(p, h, s);
    ls_page_put(p, "</div>\n");
}

static void open_strips(ls_page *p, const char *title, const char *note)
{
    open_section(p, title, note);
    ls_page_put(p, "<div class=\"strips\">\n");
}

static void close_strips(ls_page *p, const ls_history *h)
{
    ls_page_put(p, "<div class=\"strip axis\">\n");
    ls_chart_time_axis(p, h);
    ls_page_put(p, "</div></div></section>\n");
}

/* A strip of how busy a stage or a device was, and what it waited for. */
static void put_worker(ls_page *p, const ls_history *h, const ls_worker *w, const char *css)
{
    char share[LS_FORMAT_SIZE], text[LS_FORMAT_SIZE], more[5 * LS_FORMAT_SIZE];
    const double busy = w->busy.all.sum / 100;
    int n = snprintf(more, sizeof more, "%s", ls_format_seconds(text, busy));
    if (w->frames > 0)
        n += snprintf(more + n, sizeof more - (size_t)n, ", %s/frame",
                      ls_format_seconds(text, busy / w->frames));
    if (w->input + w->room > 0) {
        n += snprintf(more + n, sizeof more - (size_t)n, "; waits: %s for frames",
                      ls_format_percent(text, 100 * w->input / h->seconds));
        snprintf(more + n, sizeof more - (size_t)n, ", %s for later stages",
                 ls_format_percent(text, 100 * w->room / h->seconds));
    }
    put_strip(p, h, &w->busy, css, ls_format_percent(share, 100 * busy / h->seconds), more);
}

static void put_stages(ls_page *p, const ls_history *h)
{
    if (!h->stage_count)
        return;
    open_strips(p, "Stages",
                "Share of the time in which each worked rather than waited for another. The one "
                "nearest to 100 % sets the pace.");
    for (size_t k = 0, hot = busiest(h); k < h->stage_count; k++)
        put_worker(p, h, &h->stages[k], k == hot ? "hot" : "");
    close_strips(p, h);
}

static void put_devices(ls_page *p, const ls_history *h)
{
    if (!h->device_count)
        return;
    open_strips(p, "Devices",
                "Share of the time in which each had a chunk of frames. One that waits for frames "
                "is faster than decoding and finding faces; one that waits for later stages, than "
                "restoring and encoding.");
    for (size_t k = 0; k < h->device_count; k++)
        put_worker(p, h, &h->devices[k], "");
    close_strips(p, h);
}

static void put_gpus(ls_page *p, const ls_history *h)
{
    char text[LS_FORMAT_SIZE], total[LS_FORMAT_SIZE], more[3 * LS_FORMAT_SIZE];
    if (!h->gpu_count)
        return;
    open_strips(p, "Each GPU",
                "Share of the time in which a kernel of any program ran, and the "
                "largest amount of memory used.");
    for (size_t k = 0; k < h->gpu_count; k++) {
        const ls_gpu *g = &h->gpus[k];
        snprintf(more, sizeof more, "%s of %s", ls_format_bytes(text, g->bytes),
                 ls_format_bytes(total, g->total));
        put_strip(p, h, &g->load, "", ls_format_percent(text, mean(&g->load.all)), more);
    }
    close_strips(p, h);
}

static void put_queues(ls_page *p, const ls_history *h)
{
    char text[LS_FORMAT_SIZE], peak[LS_FORMAT_SIZE], more[2 * LS_FORMAT_SIZE];
    if (!h->queue_count)
        return;
    open_strips(p, "Queues",
                "How full each is. A full one waits for the stage behind it, an empty one for the "
                "stage before it.");
    for (size_t k = 0; k < h->queue_count; k++) {
        const ls_bin *all = &h->queues[k].all;
        snprintf(more, sizeof more, "up to %s", ls_format_percent(peak, all->max));
        put_strip(p, h, &h->queues[k], "queue", ls_format_percent(text, mean(all)), more);
    }
    close_strips(p, h);
}

static void put_foot(ls_page *p, const ls_history *h)
{
    char text[LS_FORMAT_SIZE], other[LS_FORMAT_SIZE];
    ls_page_put(p, "<footer>latentsync %s, from %s samples", LS_VERSION_STRING,
                ls_format_number(text, (double)h->samples, 0));
    if (h->bin_seconds > 1)
        ls_page_put(p, "; lines are means of %s, shades the range within",
                    ls_format_seconds(other, h->bin_seconds));
    ls_page_put(p, ".%s</footer>\n", h->parts > 1 ? " Dotted: here the run was resumed." : "");
    ls_page_put(p, "</main></body></html>\n");
}

static int write_page(const ls_history *h, const char *stats, const char *html, ls_error *err)
{
    ls_output_file output;
    int ret = ls_output_open(&output, html, err);
    if (ret)
        return ret;
    ls_page page = {.output = &output, .err = err};
    put_head(&page, h, stats);
    put_tiles(&page, h);
    put_charts(&page, h);
    put_gpus(&page, h);
    put_devices(&page, h);
    put_stages(&page, h);
    put_queues(&page, h);
    put_foot(&page, h);
    return ls_output_close(&output, ls_page_flush(&page), err);
}

int ls_report_write(const char *stats, const char *html, ls_error *err)
{
    struct stat in, out;
    ls_history *h;
    if (!stat(stats, &in) && !stat(html, &out) && in.st_dev == out.st_dev &&
        in.st_ino == out.st_ino)
        return ls_fail(err, LS_EINVAL,
                       "%s would overwrite the statistics; choose another name for the report",
                       html);
    int ret = ls_history_read(&h, stats, err);
    if (!ret)
        ret = write_page(h, stats, html, err);
    ls_history_free(&h);
    return ret;
}
