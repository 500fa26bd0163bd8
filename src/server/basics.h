/* Small things that all of the server needs. Any thread. */
#ifndef LS_SERVER_BASICS_H
#define LS_SERVER_BASICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Seconds of a clock that only goes forward. */
double server_clock(void);
/* Seconds since 1970. */
double server_time(void);
/* 2 * n lower-case digits and the final 0. */
void server_hex(const uint8_t *bytes, size_t n, char *out);
/* Whether these `n` bytes are letters, digits and those of `more` alone. */
bool server_is_plain(const char *text, size_t n, const char *more);
/* 1 to 255 bytes without control characters: what clients may call things. Takes NULL. */
bool server_is_label(const char *text);

#endif
