/* A line for each request: when it ended, who asked, for what, the status, how long it took. */
#include "server/basics.h"
#include "server/fail.h"
#include "server/http.h"

#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int http_log_open(http_server *h, ls_error *err)
{
    const char *path = h->settings->access_log;
    if (!path)
        return 0;
    const int fd = strcmp(path, "-") ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640)
                                     : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    h->log = fd >= 0 ? fdopen(fd, "a") : NULL;
    if (h->log)
        return setvbuf(h->log, NULL, _IOLBF, 0);
    server_fail_errno(err, "cannot write the log of requests", path);
    if (fd >= 0)
        close(fd);
    return err->code;
}

void http_log_begin(http_request *r, const char *method, const char *path)
{
    const size_t n = strlen(method) + strlen(path) + 2;
    r->begun = server_clock();
    r->target = r->server->log ? malloc(n) : NULL;
    if (r->target)
        snprintf(r->target, n, "%s %s", method, path);
}

static void print_address(FILE *out, struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *sa = i ? i->client_addr : NULL;
    char host[64] = "-"; // of a socket file
    if (sa && sa->sa_family != AF_UNIX)
        getnameinfo(
            sa, sa->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6),
            host, sizeof host, NULL, 0, NI_NUMERICHOST);
    fputs(host, out);
}

/* What would end a field or the line is escaped as in addresses; the method and the path are fields
 * of their own. */
static void print_target(FILE *out, const char *text)
{
    const char *path = strchr(text, '/');
    for (const char *p = text; *p; p++)
        if ((*p > ' ' && *p <= '~' && *p != '%') || (path && p + 1 == path))
            fputc(*p, out);
        else
            fprintf(out, "%%%02X", (unsigned char)*p);
}

void http_log_end(http_request *r)
{
    FILE *out = r->server->log;
    const double now = server_time();
    const time_t whole = (time_t)now;
    struct tm tm;
    char date[40];
    if (!r->target || !gmtime_r(&whole, &tm) ||
        !strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &tm))
        return;
    fprintf(out, "%s ", date);
    print_address(out, r->connection);
    fputc(' ', out);
    print_target(out, r->target);
    fprintf(out, " %u %.3f\n", r->status, server_clock() - r->begun);
}
