/* What a client asks to be made. */
#ifndef LS_SERVER_REQUEST_H
#define LS_SERVER_REQUEST_H

#include "latentsync/option.h"

#include <jansson.h>
#include <stdbool.h>

/* The request with every member, checked: "video", "audio", "features_from", "name", "priority",
 * "preview", "options", "webhook"; a new object, or NULL: LS_EINVAL, naming the member or option.
 */
json_t *request_check(const json_t *given, ls_error *err);

/* Of the output: a container that holds what the encoder makes. */
const char *request_extension(const json_t *request);

/* Arguments of a command. */
typedef struct arguments {
    char *list[128]; /* ends with NULL */
    size_t count;
    bool is_incomplete; /* one did not fit */
} arguments;

void arguments_add(arguments *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The options of a checked request that the library's `use` (LS_OPTION_SYNC, LS_OPTION_ESTIMATE)
 * takes. */
void arguments_add_options(arguments *a, const json_t *request, int use);
void arguments_free(arguments *a);

#endif
