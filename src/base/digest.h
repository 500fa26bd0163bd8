/* SHA-256 of files and of data in pieces. */
#ifndef LS_BASE_DIGEST_H
#define LS_BASE_DIGEST_H

#include "base/error.h"
#include "base/sha256.h"

/* Of a whole file; *bytes is its size. */
int ls_digest_file(const char *path, uint8_t sha256[LS_SHA256_BYTES], uint64_t *bytes,
                   ls_error *err);
/* Of a file's size and all its bytes, or, above 64 MB, of 256 evenly spread blocks of 64 kB
 * including both ends: quick, and enough to distinguish recordings or checkpoints. */
int ls_digest_sample(const char *path, uint8_t sha256[LS_SHA256_BYTES], ls_error *err);
/* As above, of an open file. */
int ls_digest_sample_of(int fd, const char *path, uint8_t sha256[LS_SHA256_BYTES], ls_error *err);

/* A heap-allocated ls_sha256. */
typedef ls_sha256 ls_digest;
ls_digest *ls_digest_new(void); /* started; NULL if out of memory */
void ls_digest_free(ls_digest **d);
#define ls_digest_begin ls_sha256_begin
#define ls_digest_add ls_sha256_add
#define ls_digest_end ls_sha256_end

/* Hexadecimal digits. */
void ls_digest_text(char text[LS_SHA256_TEXT], const uint8_t sha256[LS_SHA256_BYTES]);

#endif
