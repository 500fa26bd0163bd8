/* Calls of a user's server when a job has ended: POST over HTTPS, signed, repeated until they are
 * taken, also by a server that is started later. */
#ifndef LS_SERVER_WEBHOOK_H
#define LS_SERVER_WEBHOOK_H

#include "server/queue.h"

typedef struct webhooks webhooks;

/* Whether calls of that address are made: https, of a host of s->webhook_hosts, which is "HOST" or
 * "HOST:PORT", 443 without. LS_EINVAL. */
int webhook_check(const server_settings *s, const char *url, ls_error *err);

/* Reads the secret, opens the database, finds jobs that ended without a call, listens to the
 * queue and starts the thread that calls. *out is NULL without s->webhook_hosts, and on failure. */
int webhook_open(webhooks **out, const server_settings *s, queue *q, ls_error *err);
/* Ends the thread and what it is doing; the queue is not used any more. Takes NULL. */
void webhook_quiesce(webhooks *w);
/* After queue_close. Takes NULL. */
void webhook_close(webhooks *w);

#endif
