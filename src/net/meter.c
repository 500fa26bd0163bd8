#include "net/meter.h"
#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK ((size_t)1 << 20)

ls_meter ls_meter_start(const ls_download *d, uint64_t from)
{
    return (ls_meter){d, ls_time_now(), from};
}

void ls_meter_show(const ls_meter *m, bool checking, uint64_t bytes, uint64_t total)
{
    const double elapsed = ls_time_now() - m->started;
    const double rate = elapsed > 0.5 ? (double)(bytes - m->from) / elapsed : 0;
    if (m->d->progress)
        m->d->progress(m->d->opaque,
                       &(ls_models_progress){m->d->name, checking, bytes, total, rate});
}

int ls_meter_digest(const ls_download *d, ls_digest *sha, int fd, const char *path, uint64_t *bytes,
                    ls_error *err)
{
    struct stat st;
    uint8_t *block = malloc(BLOCK);
    int ret = block ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret && fstat(fd, &st))
        ret = ls_fail_errno(err, errno, "%s", path);
    const ls_meter meter = ls_meter_start(d, 0);
    for (*bytes = 0; !ret;) {
        const ssize_t n = read(fd, block, BLOCK);
        if (ls_canceled(d->cancel)) {
            ret = ls_fail(err, LS_ECANCELED, "canceled");
        } else if (n < 0 && errno != EINTR) {
            ret = ls_fail_errno(err, errno, "cannot read %s", path);
        } else if (n == 0) {
            break;
        } else if (n > 0) {
            ls_digest_add(sha, block, (size_t)n);
            *bytes += (uint64_t)n;
            ls_meter_show(&meter, true, *bytes, (uint64_t)st.st_size);
        }
    }
    free(block);
    return ret;
}

/* The SHA-256 of a file, or "" when it does not exist. */
static int digest_file(const ls_download *d, const char *path, char text[LS_SHA256_TEXT],
                       ls_error *err)
{
    uint8_t sha256[LS_SHA256_BYTES];
    uint64_t bytes;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    *text = '\0';
    if (fd < 0)
        return errno == ENOENT ? 0 : ls_fail_errno(err, errno, "%s", path);
    ls_digest *sha = ls_digest_new();
    int ret = sha ? ls_meter_digest(d, sha, fd, path, &bytes, err)
                  : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        ls_digest_end(sha, sha256);
        ls_digest_text(text, sha256);
    }
    ls_digest_free(&sha);
    close(fd);
    return ret;
}

int ls_download_check(const ls_download *d, const char *path, const char *sha256, ls_error *err)
{
    char text[LS_SHA256_TEXT];
    const int ret = digest_file(d, path, text, err);
    return ret ? ret : !strcmp(text, sha256);
}
