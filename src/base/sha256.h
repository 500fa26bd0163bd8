/* SHA-256 (FIPS 180-4). */
#ifndef LS_BASE_SHA256_H
#define LS_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define LS_SHA256_BYTES 32
#define LS_SHA256_TEXT (2 * LS_SHA256_BYTES + 1)

typedef struct ls_sha256 {
    uint32_t state[8];
    uint64_t size; /* bytes so far */
    uint8_t block[64];
} ls_sha256;

/* Begin, add any number of times, end; then begin again. */
void ls_sha256_begin(ls_sha256 *s);
void ls_sha256_add(ls_sha256 *s, const void *data, size_t size);
void ls_sha256_end(ls_sha256 *s, uint8_t sha256[LS_SHA256_BYTES]);

#endif
