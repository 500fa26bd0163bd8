/* Small things that all of the server needs. Any thread. */
#ifndef LS_SERVER_BASICS_H
#define LS_SERVER_BASICS_H

#include <stddef.h>
#include <stdint.h>

/* Seconds of a clock that only goes forward. */
double server_clock(void);
/* Seconds since 1970. */
double server_time(void);
/* 2 * n lower-case digits and the final 0. */
void server_hex(const uint8_t *bytes, size_t n, char *out);

#endif
