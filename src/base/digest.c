#include "base/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK ((size_t)64 << 10)
#define BLOCKS 256
#define WHOLE ((uint64_t)64 << 20)

/* Adds up to BLOCK bytes, starting at `offset`; returns their number, or -1. */
static ssize_t add_block(ls_sha256 *sha, int fd, uint8_t *block, uint64_t offset)
{
    ssize_t n;
    do
        n = pread(fd, block, BLOCK, (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        ls_sha256_add(sha, block, (size_t)n);
    return n;
}

static int digest(int fd, const char *path, bool sample, uint8_t *sha256, uint64_t *bytes,
                  ls_error *err)
{
    struct stat st;
    ls_sha256 sha;
    ssize_t n = 1;
    if (fstat(fd, &st))
        return ls_fail_errno(err, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return ls_fail(err, LS_EINVAL, "%s is not a regular file", path);
    uint8_t *block = malloc(BLOCK);
    if (!block)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    const uint64_t size = (uint64_t)st.st_size;
    ls_sha256_begin(&sha);
    *bytes = 0;
    if (sample)
        ls_sha256_add(&sha, &size, sizeof size);
    if (sample && size > WHOLE)
        for (uint64_t i = 0; i < BLOCKS && n > 0; i++)
            n = add_block(&sha, fd, block, (size - BLOCK) * i / (BLOCKS - 1));
    else
        while ((n = add_block(&sha, fd, block, *bytes)) > 0)
            *bytes += (uint64_t)n;
    const int ret = n < 0 ? ls_fail_errno(err, errno, "cannot read %s", path) : 0;
    ls_sha256_end(&sha, sha256);
    free(block);
    return ret;
}

static int digest_path(const char *path, bool sample, uint8_t *sha256, uint64_t *bytes,
                       ls_error *err)
{
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return ls_fail_errno(err, errno, "%s", path);
    const int ret = digest(fd, path, sample, sha256, bytes, err);
    close(fd);
    return ret;
}

int ls_digest_file(const char *path, uint8_t sha256[LS_SHA256_BYTES], uint64_t *bytes,
                   ls_error *err)
{
    return digest_path(path, false, sha256, bytes, err);
}

int ls_digest_sample(const char *path, uint8_t sha256[LS_SHA256_BYTES], ls_error *err)
{
    uint64_t bytes;
    return digest_path(path, true, sha256, &bytes, err);
}

int ls_digest_sample_of(int fd, const char *path, uint8_t sha256[LS_SHA256_BYTES], ls_error *err)
{
    uint64_t bytes;
    return digest(fd, path, true, sha256, &bytes, err);
}

ls_digest *ls_digest_new(void)
{
    ls_digest *d = malloc(sizeof *d);
    if (d)
        ls_sha256_begin(d);
    return d;
}

void ls_digest_free(ls_digest **d)
{
    free(*d);
    *d = NULL;
}

void ls_digest_text(char text[LS_SHA256_TEXT], const uint8_t sha256[LS_SHA256_BYTES])
{
    for (size_t i = 0; i < LS_SHA256_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", sha256[i]);
}
