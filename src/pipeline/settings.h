/* The settings of a job: checked, owned, and as job.json keeps them. */
#ifndef LS_PIPELINE_SETTINGS_H
#define LS_PIPELINE_SETTINGS_H

#include "base/error.h"
#include "latentsync/latentsync.h"

#include <jansson.h>

int ls_settings_check(const ls_sync_settings *s, ls_error *err);

/* Makes the strings the settings' own; the defaults for some that are NULL. */
int ls_settings_own(ls_sync_settings *s, ls_error *err);
void ls_settings_free(ls_sync_settings *s);

/* All that decides what the output is, its plan aside: {"inputs": paths, "settings": values}. Paths
 * are absolute. */
int ls_settings_describe(json_t **out, const ls_sync_settings *s, ls_error *err);
/* The reverse, over what *s holds; strings belong to `description`. */
int ls_settings_parse(ls_sync_settings *s, const json_t *description, const char *folder,
                      ls_error *err);

#endif
