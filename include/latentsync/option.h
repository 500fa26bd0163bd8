/* The options of jobs, described once: a command line, its help, a form or an HTTP interface can be
 * made from this table, and settings filled by name. */
#ifndef LATENTSYNC_OPTION_H
#define LATENTSYNC_OPTION_H

#include "latentsync/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum ls_option_type {
    LS_OPTION_FLAG, /* "1" or "0" */
    LS_OPTION_INTEGER,
    LS_OPTION_NUMBER,
    LS_OPTION_BYTES,  /* a number; K, M, G or T after it multiply by powers of 1024 */
    LS_OPTION_CHOICE, /* one of `choices` */
    LS_OPTION_TEXT,
    LS_OPTION_INPUT,    /* a file that is read */
    LS_OPTION_OUTPUT,   /* a file or folder that is written */
    LS_OPTION_DIRECTORY /* a folder that is read */
};

/* What takes the option. */
enum {
    LS_OPTION_SYNC = 1,     /* ls_sync_settings, for a new job */
    LS_OPTION_RESUME = 2,   /* ls_sync_settings, for a job that exists */
    LS_OPTION_FACES = 4,    /* ls_faces_settings */
    LS_OPTION_ESTIMATE = 8, /* ls_sync_settings, for ls_estimate_sync */
    LS_OPTION_CHECK = 16    /* ls_sync_settings, for ls_check_video */
};

/* Later versions may add members at the end. */
typedef struct ls_option {
    const char *name; /* "max-gap": lower case, words joined by hyphens */
    int type;         /* an ls_option_type */
    int used_by;      /* LS_OPTION_SYNC and so on, added up */
    int is_required;
    int is_result;              /* whether the output depends on it; job.json keeps it */
    char letter;                /* short form on a command line; 0: none */
    const char *value;          /* what the value is, "N", "FILE"; NULL for a flag */
    const char *initial;        /* the default as text; NULL: none */
    const char *automatic;      /* what happens with "auto", and without a value where there is no
                                   default; NULL: a value is needed */
    double min, max;            /* of INTEGER, NUMBER and BYTES */
    const char *unit;           /* "frames", "seconds"; NULL: none */
    const char *const *choices; /* of a CHOICE; of a TEXT those values that have a meaning of their
                                   own, NULL where none has. Ends with NULL */
    const char *group;          /* the heading to list it under */
    const char *help;           /* what it does; a phrase without a final stop */
    const char *implied;        /* the value that the name alone stands for; NULL: none does */
} ls_option;

/* The options in the order to list them; NULL past the last. Static storage; any thread. */
LS_API const ls_option *ls_option_at(size_t index);
/* By name, NULL for an unknown one. Static storage; any thread. */
LS_API const ls_option *ls_option_find(const char *name);

typedef struct ls_option_value {
    int64_t integer; /* of FLAG, INTEGER, BYTES, and the place in `choices` of a CHOICE */
    double number;   /* of NUMBER */
    const char *text;
} ls_option_value;

/* Reads a value for an option, also for one of the caller's own. "auto" gives 0 and NULL where the
 * option has `automatic`; a NULL `text` sets a flag, or the value `implied`. `out->text` is `text`.
 * LS_EINVAL, naming the option and what is expected. Any thread. */
LS_API int ls_option_parse(const ls_option *o, const char *text, ls_option_value *out,
                           ls_error *err);

#ifdef __cplusplus
}
#endif
#endif
