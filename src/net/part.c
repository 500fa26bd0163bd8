#include "net/part.h"
#include "base/output.h"
#include "net/meter.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

int ls_part_init(ls_part *p, const ls_download *d, ls_error *err)
{
    const size_t size = strlen(d->path) + sizeof ".part.info";
    *p = (ls_part){
        .d = d, .fd = -1, .path = malloc(size), .info = malloc(size), .sha = ls_digest_new()};
    if (!p->sha || !p->path || !p->info)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    snprintf(p->path, size, "%s.part", d->path);
    snprintf(p->info, size, "%s.part.info", d->path);
    return 0;
}

void ls_part_free(ls_part *p)
{
    if (p->fd >= 0)
        close(p->fd);
    ls_digest_free(&p->sha);
    free(p->path);
    free(p->info);
}

bool ls_is_sha256(const char *text)
{
    return strlen(text) == LS_SHA256_TEXT - 1 &&
           strspn(text, "0123456789abcdef") == LS_SHA256_TEXT - 1;
}

uint64_t ls_file_size_of(const char *text)
{
    const uint64_t n = strtoull(text, NULL, 10);
    return n < (uint64_t)INT64_MAX ? n : 0;
}

static bool read_line(FILE *f, char *line, size_t size)
{
    if (!fgets(line, (int)size, f))
        return false;
    char *end = strchr(line, '\n');
    if (end)
        *end = 0;
    return end;
}

/* Whether the part is known to come from this URL. */
static bool read_info(ls_part *p)
{
    const ls_download *d = p->d;
    char url[4096], sha256[LS_SHA256_TEXT + 1], size[32];
    FILE *f = fopen(p->info, "re");
    bool ok = f && read_line(f, url, sizeof url) && !strcmp(url, d->url) &&
              read_line(f, p->etag, sizeof p->etag) && read_line(f, sha256, sizeof sha256) &&
              !strcmp(sha256, d->sha256) && read_line(f, size, sizeof size) &&
              ls_file_size_of(size) == d->size;
    if (f)
        fclose(f);
    return ok;
}

static int write_info(const ls_part *p, ls_error *err)
{
    ls_output_file o;
    char text[8192];
    const int n = snprintf(text, sizeof text, "%s\n%s\n%s\n%" PRIu64 "\n", p->d->url, p->etag,
                           p->d->sha256, p->d->size);
    if (n >= (int)sizeof text)
        return ls_fail(err, LS_EINVAL, "%s: the URL is too long", p->d->name);
    int ret = ls_output_open(&o, p->info, err);
    return ret ? ret : ls_output_close(&o, ls_output_write(&o, text, (size_t)n, err), err);
}

void ls_part_discard(ls_part *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    unlink(p->path);
    unlink(p->info);
    p->have = 0;
    *p->etag = '\0';
    ls_digest_begin(p->sha);
}

int ls_part_open(ls_part *p, ls_error *err)
{
    for (;;) {
        if (!read_info(p))
            ls_part_discard(p);
        if ((p->fd = open(p->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666)) < 0)
            return ls_fail_errno(err, errno, "cannot write %s", p->path);
        const int ret = ls_meter_digest(p->d, p->sha, p->fd, p->path, &p->have, err);
        if (ret || p->have <= p->d->size)
            return ret;
        ls_part_discard(p);
    }
}

static int check_space(const ls_part *p, ls_error *err)
{
    struct statvfs fs;
    const uint64_t needed = p->d->size - p->have;
    if (fstatvfs(p->fd, &fs) || !fs.f_blocks || needed / fs.f_frsize < fs.f_bavail)
        return 0;
    return ls_advise(err,
                     ls_fail(err, LS_ENOSPC,
                             "%s needs %.2f GB more for %s, but only %.2f GB are free", p->d->name,
                             (double)needed / 1e9, p->d->path,
                             (double)fs.f_bavail * (double)fs.f_frsize / 1e9),
                     LS_HINT_FREE_SPACE, NULL);
}

int ls_part_start(ls_part *p, const char *etag, bool append, ls_error *err)
{
    if (!append) {
        p->have = 0;
        ls_digest_begin(p->sha);
    }
    snprintf(p->etag, sizeof p->etag, "%s", etag);
    if (ftruncate(p->fd, (off_t)p->have) || lseek(p->fd, (off_t)p->have, SEEK_SET) < 0)
        return ls_fail_errno(err, errno, "cannot write %s", p->path);
    const int ret = check_space(p, err);
    return ret ? ret : write_info(p, err);
}

int ls_part_write(ls_part *p, const void *data, size_t size, ls_error *err)
{
    for (const uint8_t *from = data; size;) {
        const ssize_t n = write(p->fd, from, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ls_fail_errno(err, errno, "cannot write %s", p->path);
        ls_digest_add(p->sha, from, (size_t)n);
        p->have += (uint64_t)n;
        from += n;
        size -= (size_t)n;
    }
    return 0;
}

int ls_part_finish(ls_part *p, ls_error *err)
{
    uint8_t sha256[LS_SHA256_BYTES];
    char text[LS_SHA256_TEXT];
    ls_digest_end(p->sha, sha256);
    ls_digest_text(text, sha256);
    if (strcmp(text, p->d->sha256)) {
        ls_part_discard(p);
        return ls_fail(err, LS_EFORMAT,
                       "%s: what %s sent has SHA-256 %s instead of %s and was removed: try again, "
                       "or use another mirror",
                       p->d->name, p->d->url, text, p->d->sha256);
    }
    if (fsync(p->fd) || rename(p->path, p->d->path))
        return ls_fail_errno(err, errno, "cannot write %s", p->d->path);
    unlink(p->info);
    ls_output_sync_name(p->d->path);
    return 0;
}
