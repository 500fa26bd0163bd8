/* SHA-256 of files, and of bytes as they come. */
#ifndef LS_BASE_DIGEST_H
#define LS_BASE_DIGEST_H

#include "base/error.h"
#include "base/sha256.h"

/* Of all bytes of a file, whose number goes to *bytes. */
int ls_digest_file(const char *path, uint8_t sha256[LS_SHA256_BYTES], uint64_t *bytes,
                   ls_error *err);
/* Of its size and all its bytes, or of a file above 64 MB 256 evenly spread blocks of 64 kB with
 * both ends: enough to tell one recording or checkpoint from another in no time. */
int ls_digest_sample(const char *path, uint8_t sha256[LS_SHA256_BYTES], ls_error *err);

/* ls_sha256 in memory of its own. */
typedef ls_sha256 ls_digest;
ls_digest *ls_digest_new(void); /* begun; NULL when out of memory */
void ls_digest_free(ls_digest **d);
#define ls_digest_begin ls_sha256_begin
#define ls_digest_add ls_sha256_add
#define ls_digest_end ls_sha256_end

/* Hexadecimal digits. */
void ls_digest_text(char text[LS_SHA256_TEXT], const uint8_t sha256[LS_SHA256_BYTES]);

#endif
