/* Preloaded into the program: a machine on which things go wrong.
 *   LS_FAULT_PATH    only files whose path has this in it
 *   LS_FAULT_WRITE   after so many bytes written to them the disk is full
 *   LS_FAULT_READ    after so many bytes read from them the disk cannot be read
 *   LS_FAULT_FREE    so many bytes are free on every disk
 *   LS_FAULT_MALLOC  the allocation of that number fails, of those that the program makes itself
 *   LS_FAULT_FROZEN  nothing new can be made in folders whose path has this in it
 *   LS_FAULT_CLOCK   the wall clock goes backwards */
#define _GNU_SOURCE
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static atomic_long written, read_bytes;

static bool is_ours(int fd)
{
    char link[64], path[4096];
    const char *want = getenv("LS_FAULT_PATH");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = want ? readlink(link, path, sizeof path - 1) : -1;
    path[n < 0 ? 0 : n] = 0;
    return n > 0 && strstr(path, want);
}

/* Whether this many bytes more are past what works. */
static bool fails(const char *name, atomic_long *count, int fd, size_t n)
{
    const char *limit = getenv(name);
    return limit && is_ours(fd) && atomic_fetch_add(count, (long)n) + (long)n > atol(limit);
}

EXPORT ssize_t write(int fd, const void *data, size_t n)
{
    if (fails("LS_FAULT_WRITE", &written, fd, n)) {
        errno = ENOSPC;
        return -1;
    }
    return REAL(write)(fd, data, n);
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t n, off_t offset)
{
    if (fails("LS_FAULT_WRITE", &written, fd, n)) {
        errno = ENOSPC;
        return -1;
    }
    return REAL(pwrite)(fd, data, n, offset);
}

EXPORT ssize_t pwrite64(int fd, const void *data, size_t n, off64_t offset)
{
    if (fails("LS_FAULT_WRITE", &written, fd, n)) {
        errno = ENOSPC;
        return -1;
    }
    return REAL(pwrite64)(fd, data, n, offset);
}

EXPORT ssize_t read(int fd, void *data, size_t n)
{
    if (fails("LS_FAULT_READ", &read_bytes, fd, n)) {
        errno = EIO;
        return -1;
    }
    return REAL(read)(fd, data, n);
}

EXPORT int fstatvfs64(int fd, struct statvfs64 *fs)
{
    const char *free_bytes = getenv("LS_FAULT_FREE");
    const int ret = REAL(fstatvfs64)(fd, fs);
    if (!ret && free_bytes) {
        fs->f_blocks = (fsblkcnt64_t)1000000000000 / fs->f_frsize;
        fs->f_bavail = (fsblkcnt64_t)atol(free_bytes) / fs->f_frsize;
    }
    return ret;
}

EXPORT int statvfs64(const char *path, struct statvfs64 *fs)
{
    const int fd = REAL(open)(path, O_PATH | O_CLOEXEC), ret = fd < 0 ? -1 : fstatvfs64(fd, fs);
    if (fd >= 0)
        close(fd);
    return ret;
}

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);

static uintptr_t code[2]; /* of the program, from and to */

static int find_code(struct dl_phdr_info *info, size_t size, void *opaque)
{
    (void)size, (void)opaque;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
            code[0] = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            code[1] = code[0] + info->dlpi_phdr[i].p_memsz;
        }
    return 1; // the first is the program
}

static long fatal = -1; /* the number of the allocation that fails */

__attribute__((constructor)) static void start(void)
{
    const char *wanted = getenv("LS_FAULT_MALLOC");
    dl_iterate_phdr(find_code, NULL);
    fatal = wanted ? atol(wanted) : -1;
}

static bool lacks_memory(const void *caller)
{
    static atomic_long count;
    if (fatal < 0 || (uintptr_t)caller < code[0] || (uintptr_t)caller >= code[1])
        return false;
    errno = ENOMEM;
    return atomic_fetch_add(&count, 1) == fatal;
}

EXPORT void *malloc(size_t n)
{
    return lacks_memory(__builtin_return_address(0)) ? NULL : __libc_malloc(n);
}

EXPORT void *calloc(size_t n, size_t size)
{
    return lacks_memory(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}

EXPORT void *realloc(void *p, size_t n)
{
    return lacks_memory(__builtin_return_address(0)) ? NULL : __libc_realloc(p, n);
}

EXPORT int posix_memalign(void **out, size_t align, size_t n)
{
    *out = lacks_memory(__builtin_return_address(0)) ? NULL : __libc_memalign(align, n);
    return *out ? 0 : ENOMEM;
}

EXPORT char *strdup(const char *s)
{
    const size_t n = strlen(s) + 1;
    char *copy = lacks_memory(__builtin_return_address(0)) ? NULL : __libc_malloc(n);
    return copy ? memcpy(copy, s, n) : NULL;
}

static bool is_frozen(const char *path)
{
    char folder[4096], whole[4096 + 4096];
    const char *frozen = getenv("LS_FAULT_FROZEN");
    if (!frozen || *path == '/' || !getcwd(folder, sizeof folder))
        snprintf(whole, sizeof whole, "%s", path);
    else
        snprintf(whole, sizeof whole, "%s/%s", folder, path);
    if (!frozen || !strstr(whole, frozen))
        return false;
    errno = EROFS;
    return true;
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    return is_frozen(path) ? -1 : REAL(mkdir)(path, mode);
}

static int open_any(int (*real)(const char *, int, ...), const char *path, int flags, va_list ap)
{
    const bool makes = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
    const mode_t mode = makes ? va_arg(ap, mode_t) : 0;
    return (makes || flags & (O_WRONLY | O_RDWR)) && is_frozen(path) ? -1 : real(path, flags, mode);
}

EXPORT int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    int fd = open_any(REAL(open), path, flags, ap);
    va_end(ap);
    return fd;
}

EXPORT int open64(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    int fd = open_any(REAL(open64), path, flags, ap);
    va_end(ap);
    return fd;
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *t)
{
    static atomic_long calls;
    int ret = REAL(clock_gettime)(clock, t);
    if (clock == CLOCK_REALTIME && getenv("LS_FAULT_CLOCK"))
        t->tv_sec -= 3600 * atomic_fetch_add(&calls, 1);
    return ret;
}

EXPORT time_t time(time_t *out)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}

EXPORT int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *t = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}
