/* The settings of a job: checked, owned, and as job.json keeps them. */
#ifndef LS_PIPELINE_SETTINGS_H
#define LS_PIPELINE_SETTINGS_H

#include "base/error.h"
#include "base/log.h"
#include "latentsync/faces.h"
#include "latentsync/sync.h"

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>

/* Copies the caller's settings, as many of them as its version has, over the defaults; LS_EINVAL
 * unless they were set up with ls_sync_default_settings or ls_faces_default_settings. Strings stay
 * the caller's. */
int ls_settings_take(ls_sync_settings *to, const ls_sync_settings *from, ls_error *err);
int ls_settings_take_faces(ls_faces_settings *to, const ls_faces_settings *from, ls_error *err);

/* All that can be checked without opening a file. */
int ls_settings_check(const ls_sync_settings *s, ls_error *err);

/* The factor of a gain like "-20dB" or "3"; below 0 if it is none. */
double ls_settings_gain(const char *text);

/* Reads an interval like "0.2:1" within 0 to 1; false if it is none. */
bool ls_settings_interval(const char *text, double *start, double *end);

/* How much may be sharpened, LS_SHARPEN_AUTO for NULL; NaN if the text is no number from 0 to 1. */
double ls_settings_sharpen(const char *text);

/* Whether the output says that a machine made the picture; NULL is the default. */
bool ls_settings_marks(const char *mark);
/* What its pictures say then; NULL: nothing. */
const char *ls_settings_label(const char *mark);

/* "a.preview.mp4" of "a.mp4". */
int ls_settings_preview_path(const char *output, char path[PATH_MAX], ls_error *err);

/* Makes the strings the settings' own, and names the job's folder. */
int ls_settings_own(ls_sync_settings *s, ls_error *err);
void ls_settings_free(ls_sync_settings *s);
int ls_settings_own_faces(ls_faces_settings *s, ls_error *err);
void ls_settings_free_faces(ls_faces_settings *s);

/* Replaces one of the settings' own strings by a copy of `value`. */
int ls_settings_replace(const char **string, const char *value, ls_error *err);

/* Where *models is NULL, makes it the directory of ls_models_find, with a notice to `log` if that
 * is the built-in one. */
int ls_settings_find_models(const char **models, const ls_log *log, ls_error *err);

/* Everything that decides what the output is: {"inputs": paths, "settings": values}, under the
 * names of the options with underscores. Paths are absolute. */
int ls_settings_describe(json_t **out, const ls_sync_settings *s, ls_error *err);
/* Those of such "settings" on which the new faces of a chunk depend; NULL: out of memory. */
json_t *ls_settings_of_faces(const json_t *settings);
/* The reverse, over what *s holds; strings belong to `description`, in which those paths that are
 * not UTF-8 are replaced. */
int ls_settings_parse(ls_sync_settings *s, json_t *description, const char *folder, ls_error *err);

#endif
