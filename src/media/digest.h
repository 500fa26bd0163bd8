/* SHA-256 (FIPS 180-4) of files and of bytes as they come. */
#ifndef LS_MEDIA_DIGEST_H
#define LS_MEDIA_DIGEST_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LS_SHA256_BYTES 32
#define LS_SHA256_TEXT (2 * LS_SHA256_BYTES + 1)

/* Of all its bytes. */
int ls_digest_file(const char *path, uint8_t sha256[LS_SHA256_BYTES], uint64_t *bytes,
                   ls_error *err);
/* Of its size and all its bytes, or of a file above 64 MB 256 evenly spread blocks of 64 kB with
 * both ends: enough to tell one recording or checkpoint from another in no time. */
int ls_digest_sample(const char *path, uint8_t sha256[LS_SHA256_BYTES], ls_error *err);
/* Bytes as they come: begin, add any number of times, end; and again from the beginning. */
typedef struct ls_digest ls_digest;
ls_digest *ls_digest_new(void); /* begun; NULL when out of memory */
void ls_digest_begin(ls_digest *d);
void ls_digest_add(ls_digest *d, const void *data, size_t size);
void ls_digest_end(ls_digest *d, uint8_t sha256[LS_SHA256_BYTES]);
void ls_digest_free(ls_digest **d);

/* Hexadecimal digits. */
void ls_digest_text(char text[LS_SHA256_TEXT], const uint8_t sha256[LS_SHA256_BYTES]);

#endif
