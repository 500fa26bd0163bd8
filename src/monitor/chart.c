#include "monitor/chart.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Integers, because a locale may write fractions with a comma. */
enum { WIDTH = 10000, HEIGHT = 1000, LINE_POINTERS = 120, STRIP_POINTERS = 60 };

int ls_page_flush(ls_page *p)
{
    if (!p->ret)
        p->ret = ls_output_write(p->output, p->text, p->used, p->err);
    p->used = 0;
    return p->ret;
}

void ls_page_put(ls_page *p, const char *fmt, ...)
{
    va_list ap;
    if (sizeof p->text - p->used < 4096)
        ls_page_flush(p);
    va_start(ap, fmt);
    int n = vsnprintf(p->text + p->used, 4096, fmt, ap);
    va_end(ap);
    p->used += n < 0 ? 0 : n < 4096 ? (size_t)n : 4095;
}

void ls_page_text(ls_page *p, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (strchr("<>&\"'", c))
            ls_page_put(p, "&#%d;", c);
        else
            ls_page_put(p, "%c", c < 0x20 || c == 0x7f ? '?' : c);
    }
}

char *ls_format_number(char text[LS_FORMAT_SIZE], double v, int decimals)
{
    int64_t unit = 1;
    v = fmin(fmax(v, 0), 1e18);
    for (; decimals > 0 && v < 1e9; decimals--)
        unit *= 10;
    int64_t n = llround(v * (double)unit), part = n % unit;
    int used = snprintf(text, LS_FORMAT_SIZE, "%" PRId64 "%s", n / unit, part ? "." : "");
    for (; part; part %= unit) {
        unit /= 10;
        text[used++] = (char)('0' + part / unit);
    }
    text[used] = 0;
    return text;
}

/* Three digits, without trailing zeros. */
static int decimals_of(double v)
{
    return v < 9.995 ? 2 : v < 99.95 ? 1 : 0;
}

char *ls_format_bytes(char text[LS_FORMAT_SIZE], double v)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    size_t i = 0;
    for (; v >= 999.5 && i + 1 < sizeof units / sizeof *units; i++)
        v /= 1000;
    ls_format_number(text, v, i ? decimals_of(v) : 0);
    return strcat(strcat(text, " "), units[i]);
}

char *ls_format_seconds(char text[LS_FORMAT_SIZE], double v)
{
    static const struct {
        const char *name;
        int64_t seconds;
    } units[] = {{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}};
    if (v < 9.95) {
        bool ms = v > 0 && v < 0.9995;
        return strcat(ls_format_number(text, ms ? v * 1000 : v, 1 - (ms && v >= 0.00995)),
                      ms ? " ms" : " s");
    }
    int64_t left = llround(fmin(v, 1e18));
    size_t i = 0;
    while (i < 3 && left < units[i].seconds * (i ? 1 : 2)) // days only from the second on
        i++;
    int n =
        snprintf(text, LS_FORMAT_SIZE, "%" PRId64 " %s", left / units[i].seconds, units[i].name);
    left %= units[i].seconds;
    if (i < 3 && left / units[i + 1].seconds)
        snprintf(text + n, LS_FORMAT_SIZE - (size_t)n, " %" PRId64 " %s",
                 left / units[i + 1].seconds, units[i + 1].name);
    return text;
}

char *ls_format_percent(char text[LS_FORMAT_SIZE], double v)
{
    return strcat(ls_format_number(text, v, v < 9.95 ? 1 : 0), " %");
}

static double mean(const ls_bin *b)
{
    return b->weight > 0 ? b->sum / b->weight : 0;
}

/* The least 1, 2 or 5 times a power of ten that is not below `at_least`. */
static double round_up(double at_least)
{
    double power = pow(10, floor(log10(fmax(at_least, 1e-3))));
    double digits = at_least / power;
    return power * (digits <= 1 ? 1 : digits <= 2 ? 2 : digits <= 5 ? 5 : 10);
}

static double time_step(double seconds)
{
    static const int steps[] = {1,   2,   5,    10,   15,   30,    60,    120,   300,
                                600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (seconds <= 8.0 * steps[i])
            return steps[i];
    return 86400 * round_up(seconds / 8 / 86400);
}

static int x_at(const ls_history *h, double seconds)
{
    return (int)lround(fmin(fmax(seconds / h->seconds, 0), 1) * WIDTH);
}

static int y_at(double v, double top)
{
    return HEIGHT - (int)lround(fmin(fmax(v / top, 0), 1) * HEIGHT);
}

static size_t bin_count(const ls_history *h)
{
    double n = ceil(h->seconds / h->bin_seconds);
    return n < 1 ? 1 : n < LS_HISTORY_BINS ? (size_t)n : LS_HISTORY_BINS;
}

/* The first bin after `i` without a value or in another part of the run. */
static size_t run_end(const ls_history *h, const ls_series *s, size_t i, size_t bins)
{
    do
        i++;
    while (i < bins && s->bins[i].weight > 0 && !h->starts[i]);
    return i;
}

/* From the left end of the first bin, through the middles, to the right end of the last. */
static void put_run(ls_page *p, const ls_history *h, const ls_series *s, size_t first, size_t end,
                    double top)
{
    double w = h->bin_seconds;
    ls_page_put(p, "M%d,%d", x_at(h, (double)first * w), y_at(mean(&s->bins[first]), top));
    for (size_t i = first; i < end; i++)
        ls_page_put(p, "L%d,%d", x_at(h, ((double)i + 0.5) * w), y_at(mean(&s->bins[i]), top));
    ls_page_put(p, "L%d,%d", x_at(h, (double)end * w), y_at(mean(&s->bins[end - 1]), top));
}

static void put_range(ls_page *p, const ls_history *h, const ls_series *s, size_t first, size_t end,
                      double top)
{
    double w = h->bin_seconds;
    for (size_t i = first; i < end; i++)
        ls_page_put(p, "%c%d,%d", i == first ? 'M' : 'L', x_at(h, ((double)i + 0.5) * w),
                    y_at(s->bins[i].max, top));
    for (size_t i = end; i-- > first;)
        ls_page_put(p, "L%d,%d", x_at(h, ((double)i + 0.5) * w), y_at(s->bins[i].min, top));
    ls_page_put(p, "Z");
}

static void put_area(ls_page *p, const ls_history *h, const ls_series *s, size_t first, size_t end,
                     double top)
{
    put_run(p, h, s, first, end, top);
    ls_page_put(p, "V%dH%dZ", HEIGHT, x_at(h, (double)first * h->bin_seconds));
}

static void put_path(ls_page *p, const ls_history *h, const ls_series *s, double top,
                     const char *css, const char *kind,
                     void (*put)(ls_page *, const ls_history *, const ls_series *, size_t, size_t,
                                 double))
{
    size_t bins = bin_count(h);
    ls_page_put(p, "<path class=\"%s %s\" d=\"", kind, css);
    for (size_t i = 0, end; i < bins; i = end) {
        end = i + 1;
        if (s->bins[i].weight > 0)
            put(p, h, s, i, end = run_end(h, s, i, bins), top);
    }
    ls_page_put(p, "\"/>\n");
}

static void put_starts(ls_page *p, const ls_history *h)
{
    for (size_t i = 0; i < LS_HISTORY_BINS; i++)
        if (h->starts[i])
            ls_page_put(p, "<path class=\"start\" d=\"M%d,0V%d\"/>\n",
                        x_at(h, (double)i * h->bin_seconds), HEIGHT);
}

static void put_svg(ls_page *p)
{
    ls_page_put(p, "<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\">\n", WIDTH, HEIGHT);
}

/* Invisible columns that show their values on hover. */
static void put_pointers(ls_page *p, const ls_history *h, const ls_chart_line *lines, size_t count,
                         ls_format *format, size_t most)
{
    size_t bins = bin_count(h), wide = (bins + most - 1) / most;
    char text[LS_FORMAT_SIZE], peak[LS_FORMAT_SIZE];
    ls_page_put(p, "<g class=\"pointers\">\n");
    for (size_t first = 0; first < bins; first += wide) {
        double from = (double)first * h->bin_seconds;
        int x = x_at(h, from), end = x_at(h, from + (double)wide * h->bin_seconds);
        ls_page_put(p, "<rect x=\"%d\" width=\"%d\" height=\"%d\"><title>", x, end - x, HEIGHT);
        ls_page_put(p, "at %s", ls_format_seconds(text, from));
        for (size_t k = 0; k < count; k++) {
            ls_bin all = {0};
            for (size_t i = first; i < first + wide && i < bins; i++) {
                const ls_bin *b = &lines[k].series->bins[i];
                if (b->weight > 0) {
                    all.max = fmax(all.max, b->max);
                    all.weight += b->weight;
                    all.sum += b->sum;
                }
            }
            if (!(all.weight > 0))
                continue;
            ls_page_put(p, "\n");
            ls_page_text(p, lines[k].name);
            ls_page_put(p, "%s%s", *lines[k].name ? " " : "", format(text, mean(&all)));
            if (all.max > mean(&all) && strcmp(format(peak, all.max), text))
                ls_page_put(p, ", up to %s", peak);
        }
        ls_page_put(p, "</title></rect>\n");
    }
    ls_page_put(p, "</g>\n");
}

/* A label at the very end would overlap the one before it. */
void ls_chart_time_axis(ls_page *p, const ls_history *h)
{
    char text[LS_FORMAT_SIZE];
    double step = time_step(h->seconds);
    for (int i = 0; i * step <= h->seconds && x_at(h, i * step) <= WIDTH * 97 / 100; i++)
        ls_page_put(p, "<span class=\"x%s\" style=\"left:calc(%d%%/100)\">%s</span>\n",
                    i % 2 ? " odd" : "", x_at(h, i * step),
                    i ? ls_format_seconds(text, i * step) : "0");
}

static void put_legend(ls_page *p, const ls_chart_line *line, ls_format *format, bool above)
{
    char text[LS_FORMAT_SIZE], peak[LS_FORMAT_SIZE];
    const ls_bin *all = &line->series->all;
    ls_page_put(p, "<li class=\"%s%s\"><i></i>", line->css, line->bound ? " bound" : "");
    ls_page_text(p, line->name);
    if (line->bound)
        ls_page_put(p, " <b>%s</b>%s", format(text, all->max),
                    above ? " <small>(off the chart)</small>" : "");
    else
        ls_page_put(p, " <b>%s</b> <small>on average, up to</small> <b>%s</b>",
                    format(text, mean(all)), format(peak, all->max));
    ls_page_put(p, "</li>\n");
}

void ls_chart_lines(ls_page *p, const ls_history *h, const ls_chart_line *lines, size_t count,
                    ls_format *format, double least)
{
    ls_chart_line kept[8];
    size_t n = 0;
    double most = least;
    char text[LS_FORMAT_SIZE];
    for (size_t i = 0; i < count && n < 8; i++)
        if (lines[i].series->all.weight > 0) {
            kept[n++] = lines[i];
            if (!lines[i].bound)
                most = fmax(most, lines[i].series->all.max);
        }
    double highest = most;
    for (size_t i = 0; i < n; i++)
        if (kept[i].bound && kept[i].series->all.max <= 3 * most)
            highest = fmax(highest, kept[i].series->all.max);
    double step = round_up(highest / 5), top = step * ceil(highest / step - 1e-9);
    ls_page_put(p, "<ul class=\"legend\">\n");
    for (size_t i = 0; i < n; i++)
        put_legend(p, &kept[i], format, kept[i].series->all.max > top);
    ls_page_put(p, "</ul>\n<div class=\"plot\">\n");
    put_svg(p);
    for (double v = 0; v < top + step / 2; v += step)
        ls_page_put(p, "<path class=\"grid\" d=\"M0,%dH%d\"/>\n", y_at(v, top), WIDTH);
    put_starts(p, h);
    for (size_t i = 0; i < n && h->bin_seconds > 1; i++) // at 1 s, one sample each
        if (!kept[i].bound)
            put_path(p, h, kept[i].series, top, kept[i].css, "range", put_range);
    for (size_t i = n; i-- > 0;) // the first on top
        if (!kept[i].bound || kept[i].series->all.max <= top)
            put_path(p, h, kept[i].series, top, kept[i].css, kept[i].bound ? "line bound" : "line",
                     put_run);
    put_pointers(p, h, kept, n, format, LINE_POINTERS);
    ls_page_put(p, "</svg>\n");
    for (double v = 0; v < top + step / 2; v += step)
        ls_page_put(p, "<span class=\"y\" style=\"top:calc(%d%%/10)\">%s</span>\n", y_at(v, top),
                    v > 0 ? format(text, v) : "0");
    ls_chart_time_axis(p, h);
    ls_page_put(p, "</div>\n");
}

void ls_chart_strip(ls_page *p, const ls_history *h, const ls_series *s)
{
    put_svg(p);
    put_starts(p, h);
    put_path(p, h, s, 100, "", "area", put_area);
    put_path(p, h, s, 100, "", "line", put_run);
    put_pointers(p, h, &(ls_chart_line){.series = s, .name = s->name}, 1, ls_format_percent,
                 STRIP_POINTERS);
    ls_page_put(p, "</svg>\n");
}
