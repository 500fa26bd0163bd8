/* --progress json: events, one JSON object a line on standard output, each written out at once.
 * docs/FORMATS.md describes them. */
#ifndef LS_CLI_EVENT_H
#define LS_CLI_EVENT_H

#include "cli/cli.h"

#include <jansson.h>

enum { CLI_EVENT_SCHEMA = 1 };

/* A string; null for NULL. Bytes that are not UTF-8 become U+FFFD. */
json_t *cli_json(const char *text);
/* Writes one line and takes the object over. A reader that has gone away ends nothing. */
void cli_json_print(json_t *object);

/* With --progress json, the event `name` with the members of `members`, which it takes over;
 * otherwise nothing. Returns whether it was written. */
bool cli_event(cli_call *call, const char *name, json_t *members);

/* The first event; either may be NULL. */
void cli_event_start(cli_call *call, const char *output, const char *job);
void cli_event_progress(cli_call *call, const ls_progress *p);
void cli_event_error(cli_call *call, const ls_error *err, const char *message, const char *hint,
                     const char *folder);

#endif
