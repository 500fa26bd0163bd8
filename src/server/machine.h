#ifndef LS_SERVER_MACHINE_H
#define LS_SERVER_MACHINE_H

#include "server/server.h"

#include <jansson.h>

/* What `latentsync info --json` says, asked of a process of its own, since a look at cards brings
 * their driver into memory; without paths. Takes a moment. NULL on failure. */
json_t *machine_ask(const server_settings *s);

#endif
