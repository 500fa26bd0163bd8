/* Who may make a request. A page of another site can make a browser send requests here, and a name
 * of its own resolve to this address; what it cannot choose are the headers Host, Origin and
 * Sec-Fetch-Site. */
#include "server/fail.h"
#include "server/basics.h"
#include "server/http.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MIN_TOKEN = 16, MAX_TOKEN = 512 };

struct http_guard {
    const char *hosts;
    char address[256]; /* as in a Host header, without the port */
    unsigned port;     /* 0: a socket file */
    bool is_any;       /* every address of the machine */
    bool has_token;
    uint8_t digest[SHA256_DIGEST_SIZE];
    char cookie[2 * SHA256_DIGEST_SIZE + 1]; /* says that the token was known, not the token */
};

static void digest(const char *text, size_t n, uint8_t out[SHA256_DIGEST_SIZE])
{
    struct sha256_ctx c;
    sha256_init(&c);
    sha256_update(&c, n, (const uint8_t *)text);
    sha256_digest(&c, SHA256_DIGEST_SIZE, out);
}

static void make_cookie(http_guard *g, const char *token)
{
    static const char purpose[] = "session of latentsync";
    struct hmac_sha256_ctx c;
    uint8_t mac[SHA256_DIGEST_SIZE];
    hmac_sha256_set_key(&c, strlen(token), (const uint8_t *)token);
    hmac_sha256_update(&c, sizeof purpose - 1, (const uint8_t *)purpose);
    hmac_sha256_digest(&c, sizeof mac, mac);
    server_hex(mac, sizeof mac, g->cookie);
}

static int read_token(http_guard *g, const char *path, ls_error *err)
{
    char token[MAX_TOKEN + 3] = "";
    FILE *f = fopen(path, "rb");
    if (!f)
        return server_fail(err, LS_ENOENT, "cannot read the token in %s: %s", path,
                           strerror(errno));
    const size_t read = fread(token, 1, sizeof token - 1, f);
    fclose(f);
    const size_t n = strcspn(token, "\r\n");
    bool ok = n >= MIN_TOKEN && n <= MAX_TOKEN && n + strspn(token + n, "\r\n") == read;
    for (size_t i = 0; i < n; i++)
        ok = ok && isgraph((unsigned char)token[i]);
    if (!ok)
        return server_fail(err, LS_EINVAL,
                           "%s: a token is one line of %d to %d printable characters without "
                           "spaces; \"openssl rand -hex 32\" makes one",
                           path, MIN_TOKEN, MAX_TOKEN);
    token[n] = '\0';
    digest(token, n, g->digest);
    make_cookie(g, token);
    g->has_token = true;
    return 0;
}

int http_guard_open(http_guard **out, const server_settings *s, const char *host, unsigned port,
                    ls_error *err)
{
    http_guard *g = calloc(1, sizeof *g);
    int ret = g ? 0 : LS_ENOMEM;
    if (g) {
        g->hosts = s->hosts ? s->hosts : "";
        g->port = port;
        g->is_any = !strcmp(host, "0.0.0.0") || !strcmp(host, "::");
        snprintf(g->address, sizeof g->address, strchr(host, ':') ? "[%.253s]" : "%.255s", host);
        ret = s->token_file ? read_token(g, s->token_file, err) : 0;
    }
    if (ret) {
        free(g);
        g = NULL;
    }
    *out = g;
    return ret;
}

void http_guard_close(http_guard *g)
{
    free(g);
}

bool http_guard_has_token(const http_guard *g)
{
    return g->has_token;
}

const char *http_guard_cookie(const http_guard *g)
{
    return g->cookie;
}

bool http_guard_is_token(const http_guard *g, const char *token)
{
    uint8_t d[SHA256_DIGEST_SIZE];
    digest(token, strlen(token), d);
    return !g->has_token || memeql_sec(d, g->digest, sizeof d);
}

/* How much of "name:port" or "[::1]:port" is the name. */
static size_t name_length(const char *host)
{
    const char *end = *host == '[' ? strchr(host, ']') : NULL;
    return end ? (size_t)(end + 1 - host) : strcspn(host, ":");
}

static bool is_same(const char *host, size_t n, const char *name)
{
    return strlen(name) == n && !strncasecmp(host, name, n);
}

/* One of the names that the settings list, with any port unless the list says which. */
static bool is_listed(const http_guard *g, const char *host)
{
    const size_t whole = strlen(host), n = name_length(host);
    for (const char *p = g->hosts; *p; p += strspn(p, ", ")) {
        const size_t m = strcspn(p, ", ");
        if (m && ((m == whole && !strncasecmp(p, host, m)) || (m == n && !strncasecmp(p, host, m))))
            return true;
        p += m;
    }
    return false;
}

static bool is_address(const char *host, size_t n)
{
    char text[64];
    struct in6_addr a;
    if (*host == '[')
        return snprintf(text, sizeof text, "%.*s", (int)n - 2, host + 1) < (int)sizeof text &&
               inet_pton(AF_INET6, text, &a) == 1;
    return snprintf(text, sizeof text, "%.*s", (int)n, host) < (int)sizeof text &&
           inet_pton(AF_INET, text, &a) == 1;
}

/* A number needs no name to be resolved, so no other site can stand behind it. */
static bool is_own(const http_guard *g, const char *host)
{
    char port[16];
    const size_t n = name_length(host);
    snprintf(port, sizeof port, ":%u", g->port);
    if (g->port && strcmp(host + n, port) && !(g->port == 80 && !host[n]))
        return false;
    return is_same(host, n, "localhost") || is_same(host, n, "127.0.0.1") ||
           is_same(host, n, "[::1]") || (g->port && is_same(host, n, g->address)) ||
           (g->is_any && is_address(host, n));
}

static enum MHD_Result count_host(void *opaque, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    unsigned *count = opaque;
    (void)kind, (void)value;
    *count += !strcasecmp(name, "Host");
    return MHD_YES;
}

static bool check_host(http_request *r)
{
    const http_guard *g = r->server->guard;
    const char *host = http_value(r, "Host");
    unsigned count = 0;
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, count_host, &count);
    if (count > 1) {
        http_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "there is more than one header Host");
        return false;
    }
    if (host && (is_own(g, host) || is_listed(g, host)))
        return true;
    http_fail(r, MHD_HTTP_MISDIRECTED_REQUEST, "start the server with --host NAME",
              "this server is not known under the name \"%.100s\"", host ? host : "");
    return false;
}

/* Whether a page of this server made the request, or no page at all. */
static bool is_from_here(const http_request *r)
{
    const char *origin = http_value(r, "Origin"), *host = http_value(r, "Host");
    const char *site = http_value(r, "Sec-Fetch-Site");
    if (site && !strcasecmp(site, "cross-site"))
        return false;
    if (!origin)
        return true;
    if (strncasecmp(origin, "http://", 7) && strncasecmp(origin, "https://", 8))
        return false;
    origin = strstr(origin, "//") + 2;
    return !strcasecmp(origin, host) || is_listed(r->server->guard, origin);
}

static bool check_origin(http_request *r, const char *method)
{
    if (!strcmp(method, "GET") || is_from_here(r))
        return true;
    http_fail(r, MHD_HTTP_FORBIDDEN, NULL, "requests of other sites' pages are refused");
    return false;
}

static bool has_session(const http_request *r)
{
    const char *cookie = MHD_lookup_connection_value(r->connection, MHD_COOKIE_KIND, "latentsync");
    const char *own = r->server->guard->cookie;
    return cookie && strlen(cookie) == strlen(own) && memeql_sec(cookie, own, strlen(own));
}

static bool check_token(http_request *r)
{
    const http_guard *g = r->server->guard;
    const char *given = http_value(r, "Authorization");
    if (!g->has_token || r->route->flags & HTTP_OPEN)
        return true;
    if (given && !strncasecmp(given, "Bearer ", 7) && http_guard_is_token(g, given + 7))
        return true;
    if (has_session(r))
        return true;
    http_fail(r, MHD_HTTP_UNAUTHORIZED, NULL, "this needs the server's token");
    return false;
}

bool http_guard_allows(http_request *r)
{
    return check_host(r) && check_origin(r, r->route->method) && check_token(r);
}
