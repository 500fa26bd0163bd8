#include "server/basics.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double server_clock(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double server_time(void)
{
    return seconds_of(CLOCK_REALTIME);
}

void server_hex(const uint8_t *bytes, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

bool server_is_plain(const char *text, size_t n, const char *more)
{
    static const char usual[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    for (size_t i = 0; i < n; i++)
        if (!text[i] || (!strchr(usual, text[i]) && !strchr(more, text[i])))
            return false;
    return true;
}

bool server_is_label(const char *text)
{
    const size_t n = text ? strlen(text) : 0;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 127)
            return false;
    return n > 0 && n <= 255;
}
