/* Charts of a history as HTML with inline SVG: graphics stretch with the page, text does not. */
#ifndef LS_MONITOR_CHART_H
#define LS_MONITOR_CHART_H

#include "base/output.h"
#include "monitor/history.h"

/* A page being written; the first error is kept, and nothing is written after it. */
typedef struct ls_page {
    const ls_output_file *output;
    ls_error *err;
    int ret;
    size_t used;
    char text[16384];
} ls_page;

/* Writes markup, less than 4 kB per call. */
void ls_page_put(ls_page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Writes untrusted text, escaped. */
void ls_page_text(ls_page *p, const char *text);
int ls_page_flush(ls_page *p);

/* Formats numbers for people, "3.42 GB", "12 min 30 s", independent of the locale; ls_format_number
 * omits trailing zeros. Values from 0 to 1e18. Each returns `text`. */
enum { LS_FORMAT_SIZE = 40 };
char *ls_format_number(char text[LS_FORMAT_SIZE], double v, int decimals);
char *ls_format_bytes(char text[LS_FORMAT_SIZE], double v);
char *ls_format_seconds(char text[LS_FORMAT_SIZE], double v);
char *ls_format_percent(char text[LS_FORMAT_SIZE], double v);

typedef char *ls_format(char text[LS_FORMAT_SIZE], double v);

typedef struct ls_chart_line {
    const ls_series *series; /* one without samples is left out */
    const char *name;
    const char *css; /* class that sets its colour */
    bool bound;      /* dashed; not drawn if far above the others */
} ls_chart_line;

/* Lines over time with the range of each bin, a legend, axes, and values at the mouse pointer. The
 * axis extends at least to `least`, which is above 0. */
void ls_chart_lines(ls_page *p, const ls_history *h, const ls_chart_line *lines, size_t count,
                    ls_format *format, double least);

/* A strip of 0 to 100 % over time. */
void ls_chart_strip(ls_page *p, const ls_history *h, const ls_series *s);
/* The axis below strips. */
void ls_chart_time_axis(ls_page *p, const ls_history *h);

#endif
