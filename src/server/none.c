#include "server/fail.h"
#include "server/server.h"
#include "server/slurm.h"

int server_run(const server_settings *s, const atomic_bool *stop,
               void (*ready)(void *opaque, const char *url), ls_error *err)
{
    (void)s;
    (void)stop;
    (void)ready;
    return server_fail(err, LS_EUNSUPPORTED,
                       "this build of latentsync has no server: it was built without "
                       "libmicrohttpd, SQLite or Nettle");
}

int slurm_follow(const char *folder, const atomic_bool *stop)
{
    (void)folder;
    (void)stop;
    return 1;
}
