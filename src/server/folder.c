#define _GNU_SOURCE // nftw, O_PATH

#include "server/folder.h"
#include "server/fail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

int folder_make(const char *path, ls_error *err)
{
    char part[PATH_SIZE];
    struct stat st;
    if (!*path || (size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
        return server_fail(err, LS_EINVAL, "%s is no possible name of a folder", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0700) && errno != EEXIST)
            return server_fail_errno(err, "cannot make", part);
        *slash = '/';
    }
    if (mkdir(path, 0700) && errno != EEXIST)
        return server_fail_errno(err, "cannot make", path);
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return server_fail(err, LS_EIO, "%s is not a folder", path);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path) && errno != ENOENT ? -1 : 0;
}

int folder_remove(const char *path, ls_error *err)
{
    if (!nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) || errno == ENOENT)
        return 0;
    return server_fail_errno(err, "cannot remove", path);
}

void folder_sweep(const char *path, bool (*is_kept)(void *opaque, const char *name), void *opaque)
{
    char inner[PATH_SIZE];
    struct dirent *e;
    DIR *dir = opendir(path);
    while (dir && (e = readdir(dir)))
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && !is_kept(opaque, e->d_name) &&
            (size_t)snprintf(inner, sizeof inner, "%s/%s", path, e->d_name) < sizeof inner)
            folder_remove(inner, NULL);
    if (dir)
        closedir(dir);
}

int folder_open(const char *path)
{
    char name[NAME_MAX + 1];
    int at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (at >= 0 && *path) {
        path += strspn(path, "/");
        const size_t n = strcspn(path, "/");
        const int how = path[n] ? O_PATH | O_DIRECTORY : O_RDONLY | O_NONBLOCK;
        const bool fits = (size_t)snprintf(name, sizeof name, "%.*s", (int)n, path) < sizeof name;
        const int next = fits ? openat(at, name, how | O_NOFOLLOW | O_CLOEXEC) : -1;
        const int number = fits ? errno : ENAMETOOLONG;
        close(at);
        errno = number;
        at = next;
        path += n;
    }
    return at;
}

int folder_lock(int *fd, const char *path, ls_error *err)
{
    char file[PATH_SIZE];
    snprintf(file, sizeof file, "%s/lock", path);
    *fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0)
        return server_fail_errno(err, "cannot open", file);
    if (!flock(*fd, LOCK_EX | LOCK_NB))
        return 0;
    const int number = errno;
    close(*fd);
    *fd = -1;
    errno = number;
    return number == EWOULDBLOCK
               ? server_fail(err, LS_EBUSY,
                             "another server works in %s: end it, or name another folder", path)
               : server_fail_errno(err, "cannot lock", file);
}

int folder_get_space(folder_space *out, const char *path, ls_error *err)
{
    struct statvfs v;
    *out = (folder_space){0};
    if (statvfs(path, &v))
        return server_fail_errno(err, "cannot look at", path);
    const uint64_t all = (uint64_t)v.f_frsize * v.f_blocks, most = 1000000000;
    out->free = (uint64_t)v.f_frsize * v.f_bavail;
    out->reserve = all / 20 < most ? all / 20 : most;
    return 0;
}
