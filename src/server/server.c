#include "server/basics.h"
#include "server/fail.h"
#include "server/http.h"
#include "server/listen.h"
#include "server/webhook.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static int check_prefix(const char *prefix, ls_error *err)
{
    const size_t n = strlen(prefix);
    if (!n || (*prefix == '/' && n < 200 && prefix[n - 1] != '/' && !strstr(prefix, "//") &&
               server_is_plain(prefix, n, "._-/")))
        return 0;
    return server_fail(err, LS_EINVAL, "\"%s\" is no prefix: expected a path such as /lips",
                       prefix);
}

static void wait(http_server *h, const atomic_bool *stop)
{
    while (!atomic_load(stop)) {
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
        http_tick(h);
    }
}

int server_run(const server_settings *s, const atomic_bool *stop,
               void (*ready)(void *opaque, const char *url), ls_error *err)
{
    queue *q = NULL;
    http_server *h = NULL;
    webhooks *w = NULL;
    int ret = check_prefix(s->prefix, err);
    if (!ret)
        ret = http_open(&h, s, err);
    if (!ret)
        ret = queue_open(&q, s, err);
    if (!ret)
        ret = webhook_open(&w, s, q, err);
    if (!ret)
        ret = http_start(h, q, err);
    if (!ret) {
        ready(s->opaque, http_url(h));
        wait(h, stop);
        http_quiesce(h);
    }
    webhook_quiesce(w);
    queue_close(q);
    webhook_close(w);
    http_close(h);
    return ret;
}
