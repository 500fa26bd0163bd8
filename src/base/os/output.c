#include "base/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define RESERVE 1e9 /* bytes that stay free on a disk */
#define CHECK_DISTANCE (16 << 20)

enum { NAME_BYTES = 200 }; /* of the final name, in that of the temporary file */

int ls_output_open(ls_output_file *o, const char *path, ls_error *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t size = strlen(path) + 48;
    *o = (ls_output_file){path, malloc(size), -1};
    if (!o->temporary)
        return ls_fail(err, LS_ENOMEM, "cannot write %s: out of memory", path);
    errno = EEXIST;
    for (int n = 0; n < 1000 && o->fd < 0 && errno == EEXIST; n++) {
        snprintf(o->temporary, size, "%.*s.%.*s.%ld.%d.part", (int)(name - path), path, NAME_BYTES,
                 name, (long)getpid(), n);
        o->fd = open(o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    if (o->fd >= 0)
        return 0;
    int ret = ls_fail_errno(err, errno, "cannot write %s", path);
    free(o->temporary);
    return ret;
}

int ls_output_write(const ls_output_file *o, const void *data, size_t size, ls_error *err)
{
    for (const uint8_t *p = data; size;) {
        ssize_t n = write(o->fd, p, size);
        if (n < 0 && errno != EINTR)
            return ls_fail_errno(err, errno, "cannot write %s", o->path);
        p += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

void ls_output_sync_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

int ls_output_place(ls_output_file *o, int ret, ls_error *err)
{
    if (o->fd >= 0 && close(o->fd) && !ret)
        ret = ls_fail_errno(err, errno, "cannot write %s", o->path);
    if (!ret && rename(o->temporary, o->path))
        ret = ls_fail_errno(err, errno, "cannot write %s", o->path);
    if (ret)
        unlink(o->temporary);
    free(o->temporary);
    return ret;
}

int ls_output_close(ls_output_file *o, int ret, ls_error *err)
{
    if (!ret && fsync(o->fd))
        ret = ls_fail_errno(err, errno, "cannot write %s", o->path);
    ret = ls_output_place(o, ret, err);
    if (!ret)
        ls_output_sync_name(o->path);
    return ret;
}

/* ".name.PID.N.part" */
bool ls_output_is_temporary(const char *name, size_t *n)
{
    static const char end[] = ".part";
    const size_t all = strlen(name);
    if (*name != '.' || all < sizeof end || strcmp(name + all - (sizeof end - 1), end))
        return false;
    const char *p = name + all - (sizeof end - 1);
    for (int i = 0; i < 2; i++) {
        const char *digits = p;
        while (p > name && p[-1] >= '0' && p[-1] <= '9')
            p--;
        if (p == digits || p == name || *--p != '.')
            return false;
    }
    if (p <= name + 1)
        return false;
    *n = (size_t)(p - (name + 1));
    return true;
}

void ls_output_remove_stale(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *folder = slash ? strndup(path, (size_t)(name - path)) : strdup(".");
    DIR *d = folder ? opendir(folder) : NULL;
    const size_t kept = strlen(name) < NAME_BYTES ? strlen(name) : NAME_BYTES;
    size_t n;
    for (struct dirent *e; d && (e = readdir(d));)
        if (ls_output_is_temporary(e->d_name, &n) && n == kept && !strncmp(e->d_name + 1, name, n))
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    free(folder);
}

/* Reads more of a file, or of a pipe that may be empty for now; 0 at its end. */
static int read_some(int fd, uint8_t *block, size_t size, ssize_t *n, const ls_cancel *cancel,
                     const char *name, ls_error *err)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    do {
        if (ls_canceled(cancel))
            return ls_fail(err, LS_ECANCELED, "canceled");
        const int polled = poll(&ready, 1, 100);
        *n = polled > 0 ? read(fd, block, size) : -1;
        errno = polled ? errno : EINTR;
    } while (*n < 0 && (errno == EINTR || errno == EAGAIN));
    return *n < 0 ? ls_fail_errno(err, errno, "cannot read %s", name) : 0;
}

/* What is free on the disk, and whether some of it stays free after so much more. */
static bool has_room(const ls_output_file *o, uint64_t bytes, double *left)
{
    struct statvfs fs;
    if (fstatvfs(o->fd, &fs) || !fs.f_blocks)
        return true;
    const double unit = (double)fs.f_frsize, all = (double)fs.f_blocks * unit,
                 reserve = all / 20 < RESERVE ? all / 20 : RESERVE;
    *left = (double)fs.f_bavail * unit;
    return *left >= reserve + (double)bytes;
}

bool ls_output_has_room(const ls_output_file *o, uint64_t bytes)
{
    double left;
    return has_room(o, bytes, &left);
}

/* Whatever comes may never end. */
static int check_space(const ls_output_file *o, const char *from, uint64_t written, ls_error *err)
{
    double left = 0;
    if (has_room(o, 0, &left))
        return 0;
    return ls_advise(
        err,
        ls_fail(err, LS_ENOSPC,
                "%s does not end, or is too long: after %.2f GB of it only %.2f GB are "
                "free for %s",
                from, (double)written / 1e9, left / 1e9, o->path),
        LS_HINT_FREE_SPACE, NULL);
}

int ls_output_fill(const ls_output_file *o, const char *from, const ls_cancel *cancel,
                   ls_error *err)
{
    uint8_t block[65536];
    uint64_t written = 0, checked = 0;
    ssize_t n = 1;
    struct stat st;
    int fd = open(from, O_RDONLY | O_NONBLOCK | O_CLOEXEC); // a pipe may have no writer yet
    int ret = fd < 0 || fstat(fd, &st) ? ls_fail_errno(err, errno, "%s", from) : 0;
    while (!ret && n > 0) {
        if (!S_ISREG(st.st_mode) && written >= checked) {
            ret = check_space(o, from, written, err);
            checked = written + CHECK_DISTANCE;
        }
        if (!ret)
            ret = read_some(fd, block, sizeof block, &n, cancel, from, err);
        if (!ret)
            ret = ls_output_write(o, block, (size_t)n, err);
        written += (uint64_t)n;
    }
    if (fd >= 0)
        close(fd);
    return ret;
}

int ls_output_copy(const char *from, const char *to, const ls_cancel *cancel, ls_error *err)
{
    ls_output_file o;
    int ret = ls_output_open(&o, to, err);
    return ret ? ret : ls_output_close(&o, ls_output_fill(&o, from, cancel, err), err);
}
