#include "base/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int ls_output_open(ls_output_file *o, const char *path, ls_error *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t size = strlen(path) + 48;
    *o = (ls_output_file){path, malloc(size), -1};
    if (!o->temporary)
        return ls_fail(err, LS_ENOMEM, "cannot write %s: out of memory", path);
    errno = EEXIST;
    for (int n = 0; n < 1000 && o->fd < 0 && errno == EEXIST; n++) {
        snprintf(o->temporary, size, "%.*s.%.200s.%ld.%d.part", (int)(name - path), path, name,
                 (long)getpid(), n);
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

int ls_output_close(ls_output_file *o, int ret, ls_error *err)
{
    if (!ret && fsync(o->fd))
        ret = ls_fail_errno(err, errno, "cannot write %s", o->path);
    if (o->fd >= 0 && close(o->fd) && !ret)
        ret = ls_fail_errno(err, errno, "cannot write %s", o->path);
    if (!ret && rename(o->temporary, o->path))
        ret = ls_fail_errno(err, errno, "cannot write %s", o->path);
    if (ret)
        unlink(o->temporary);
    else
        ls_output_sync_name(o->path);
    free(o->temporary);
    return ret;
}

/* "name.PID.N.part" after the dot. */
static bool is_temporary_of(const char *entry, const char *name)
{
    char start[204];
    const int n = snprintf(start, sizeof start, ".%.200s.", name);
    if (strncmp(entry, start, (size_t)n))
        return false;
    entry += n;
    for (int i = 0; i < 2; i++) {
        const size_t digits = strspn(entry, "0123456789");
        if (!digits || entry[digits] != '.')
            return false;
        entry += digits + 1;
    }
    return !strcmp(entry, "part");
}

void ls_output_remove_stale(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *folder = slash ? strndup(path, (size_t)(name - path)) : strdup(".");
    DIR *d = folder ? opendir(folder) : NULL;
    for (struct dirent *e; d && (e = readdir(d));)
        if (is_temporary_of(e->d_name, name))
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    free(folder);
}

int ls_output_copy(const char *from, const char *to, ls_error *err)
{
    uint8_t block[65536];
    ls_output_file o;
    ssize_t n = 0;
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    int ret = fd < 0 ? ls_fail_errno(err, errno, "%s", from) : ls_output_open(&o, to, err);
    if (!ret) {
        while (!ret && ((n = read(fd, block, sizeof block)) > 0 || (n < 0 && errno == EINTR)))
            ret = n > 0 ? ls_output_write(&o, block, (size_t)n, err) : 0;
        if (!ret && n < 0)
            ret = ls_fail_errno(err, errno, "cannot read %s", from);
        ret = ls_output_close(&o, ret, err);
    }
    if (fd >= 0)
        close(fd);
    return ret;
}
