/* Charts of a history as HTML with inline SVG: pictures stretch with the page, text does not. */
#ifndef LS_MONITOR_CHART_H
#define LS_MONITOR_CHART_H

#include "base/output.h"
#include "monitor/history.h"

/* A page as it is written; the first error stays, and nothing is written after it. */
typedef struct ls_page {
    const ls_output_file *output;
    ls_error *err;
    int ret;
    size_t used;
    char text[16384];
} ls_page;

/* Markup, in pieces below 4 kB. */
void ls_page_put(ls_page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Foreign text: no markup comes through. */
void ls_page_text(ls_page *p, const char *text);
int ls_page_flush(ls_page *p);

/* Figures as people read them, "3.42 GB", "12 min 30 s", the same in every locale; ls_number
 * without zeros at its end. Values of 0 to 1e18. They return `text`. */
enum { LS_FORMAT_SIZE = 40 };
char *ls_format_number(char text[LS_FORMAT_SIZE], double v, int decimals);
char *ls_format_bytes(char text[LS_FORMAT_SIZE], double v);
char *ls_format_seconds(char text[LS_FORMAT_SIZE], double v);
char *ls_format_percent(char text[LS_FORMAT_SIZE], double v);

typedef char *ls_format(char text[LS_FORMAT_SIZE], double v);

typedef struct ls_chart_line {
    const ls_series *series; /* one without samples is left out */
    const char *name;
    const char *css; /* class that gives it its colour */
    bool bound;      /* dashed; not in the picture when far above the others */
} ls_chart_line;

/* Lines over time with the range of each bin, a legend, axes, and figures where the mouse points.
 * The axis reaches `least`, which is above 0, at least. */
void ls_chart_lines(ls_page *p, const ls_history *h, const ls_chart_line *lines, size_t count,
                    ls_format *format, double least);

/* A strip of 0 to 100 % over time. */
void ls_chart_strip(ls_page *p, const ls_history *h, const ls_series *s);
/* The axis below strips. */
void ls_chart_time_axis(ls_page *p, const ls_history *h);

#endif
