#include "server/basics.h"

#include <stdio.h>
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
