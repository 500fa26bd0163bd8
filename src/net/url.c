#include "net/download.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_this_machine(const char *host)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
    return !strcasecmp(host, "localhost") || !strcmp(host, "[::1]");
}

bool ls_url_is_open(const char *url)
{
    char host[64];
    if (strncasecmp(url, "http://", 7))
        return false;
    const char *from = url + 7, *end = from + strcspn(from, "/?#\\");
    for (const char *c = from; c < end; c++)
        from = *c == '@' ? c + 1 : from; // behind a name and a password
    const size_t n = *from == '[' ? strcspn(from, "]") + 1 : strcspn(from, ":/?#\\");
    return snprintf(host, sizeof host, "%.*s", (int)n, from) >= (int)sizeof host ||
           from + n > end || !is_this_machine(host);
}
