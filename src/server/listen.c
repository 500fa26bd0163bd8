#include "server/listen.h"
#include "server/fail.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 256 };

static int refuse(ls_error *err, const char *text)
{
    return server_fail(err, LS_EINVAL,
                       "\"%s\" is no address to listen at: expected HOST:PORT, [::1]:PORT or "
                       "unix:PATH",
                       text);
}

/* Whether someone answers there; what a server that was killed left behind does not. */
static bool is_alive(const struct sockaddr_un *sun)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool alive = fd >= 0 && (!connect(fd, (const struct sockaddr *)sun, sizeof *sun) ||
                                   errno != ECONNREFUSED);
    if (fd >= 0)
        close(fd);
    return alive;
}

static int bind_file(int *fd, listen_address *a, const char *path, ls_error *err)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct stat st;
    if (!*path || strlen(path) >= sizeof sun.sun_path || strlen(path) >= sizeof a->host)
        return server_fail(err, LS_EINVAL, "%s: the path of a socket has 1 to %zu bytes", path,
                           sizeof sun.sun_path - 1);
    strcpy(sun.sun_path, path);
    if (!lstat(path, &st)) {
        if (!S_ISSOCK(st.st_mode) || is_alive(&sun))
            return server_fail(err, LS_EBUSY, "%s is there already", path);
        unlink(path);
    }
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const mode_t mask = umask(0117);
    const int ret = *fd < 0 ? -1 : bind(*fd, (struct sockaddr *)&sun, sizeof sun);
    umask(mask);
    if (ret)
        return server_fail(err, LS_EIO, "cannot make the socket %s: %s", path, strerror(errno));
    strcpy(a->host, path); // ours from here on
    a->is_loopback = true;
    return 0;
}

static bool is_loopback(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)sa)->sin6_addr);
}

static void name(int fd, listen_address *a)
{
    struct sockaddr_storage ss;
    socklen_t n = sizeof ss;
    char port[8] = "0";
    if (getsockname(fd, (struct sockaddr *)&ss, &n) ||
        getnameinfo((struct sockaddr *)&ss, n, a->host, sizeof a->host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV))
        return;
    a->port = (unsigned)strtoul(port, NULL, 10);
    a->is_loopback = is_loopback((struct sockaddr *)&ss);
}

static int bind_port(int *fd, listen_address *a, const char *host, const char *port, ls_error *err)
{
    const struct addrinfo want = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                                  .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    const int failed = getaddrinfo(host, port, &want, &found), yes = 1;
    if (failed)
        return server_fail(err, LS_EINVAL, "cannot listen at %s: %s", host, gai_strerror(failed));
    *fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
    if (*fd >= 0)
        setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    const int ret = *fd < 0 ? -1 : bind(*fd, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (ret)
        return server_fail(err, errno == EADDRINUSE ? LS_EBUSY : LS_EIO,
                           "cannot listen at %s, port %s: %s", host, port, strerror(errno));
    name(*fd, a);
    return 0;
}

static int bind_any(int *fd, listen_address *a, const char *text, ls_error *err)
{
    char host[256], *end;
    const char *colon = strrchr(text, ':');
    if (!strncmp(text, "unix:", 5))
        return bind_file(fd, a, text + 5, err);
    if (!colon || colon == text || (size_t)(colon - text) >= sizeof host)
        return refuse(err, text);
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    if (!colon[1] || strtoul(colon + 1, &end, 10) > 65535 || *end)
        return refuse(err, text);
    if (*host == '[' && host[strlen(host) - 1] == ']') {
        memmove(host, host + 1, strlen(host));
        host[strlen(host) - 1] = '\0';
    } else if (strchr(host, ':')) {
        return refuse(err, text);
    }
    return bind_port(fd, a, host, colon + 1, err);
}

int listen_open(int *fd, listen_address *a, const char *text, ls_error *err)
{
    *fd = -1;
    *a = (listen_address){0};
    int ret = bind_any(fd, a, text, err);
    if (!ret && listen(*fd, BACKLOG))
        ret = server_fail(err, errno == EADDRINUSE ? LS_EBUSY : LS_EIO, "cannot listen at %s: %s",
                          text, strerror(errno));
    if (ret && *fd >= 0)
        close(*fd);
    return ret;
}

void listen_url(const listen_address *a, const char *prefix, char *out, size_t size)
{
    if (a->port)
        snprintf(out, size, strchr(a->host, ':') ? "http://[%s]:%u%s/" : "http://%s:%u%s/", a->host,
                 a->port, prefix);
    else
        snprintf(out, size, "unix:%s", a->host);
}

void listen_remove(const listen_address *a)
{
    if (!a->port && *a->host)
        unlink(a->host);
}
