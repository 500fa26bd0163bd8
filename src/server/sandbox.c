#define _GNU_SOURCE // memfd_create

#include "server/sandbox.h"
#include "server/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef HAVE_SECCOMP
#include <seccomp.h>
#endif

/* The filter is made once: between fork and exec nothing may allocate. */
struct sandbox {
    struct sock_fprog program;
    struct sock_filter filter[];
};

#ifdef HAVE_SECCOMP
/* Sockets of every family: with a local one other programs of this user could be asked to act. */
static int add_rules(scmp_filter_ctx filter)
{
    static const int denied[] = {SCMP_SYS(socket),
                                 SCMP_SYS(connect),
                                 SCMP_SYS(io_uring_setup),
                                 SCMP_SYS(ptrace),
                                 SCMP_SYS(pidfd_getfd),
                                 SCMP_SYS(process_vm_readv),
                                 SCMP_SYS(process_vm_writev),
                                 SCMP_SYS(bpf),
                                 SCMP_SYS(perf_event_open),
                                 SCMP_SYS(userfaultfd),
                                 SCMP_SYS(keyctl),
                                 SCMP_SYS(add_key),
                                 SCMP_SYS(request_key),
                                 SCMP_SYS(mount),
                                 SCMP_SYS(unshare),
                                 SCMP_SYS(setns)};
    int ret = 0;
    for (size_t i = 0; !ret && i < sizeof denied / sizeof *denied; i++)
        ret = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), denied[i], 0);
    return ret;
}

static int read_program(sandbox **out, int fd)
{
    struct stat st;
    if (fstat(fd, &st) || st.st_size <= 0 || st.st_size % (off_t)sizeof(struct sock_filter))
        return -1;
    const size_t bytes = (size_t)st.st_size;
    sandbox *s = malloc(sizeof *s + bytes);
    if (s && pread(fd, s->filter, bytes, 0) == st.st_size) {
        s->program.len = (unsigned short)(bytes / sizeof *s->filter);
        s->program.filter = s->filter;
        *out = s;
        return 0;
    }
    free(s);
    return -1;
}

int sandbox_open(sandbox **out, ls_error *err)
{
    *out = NULL;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    const int fd = memfd_create("filter", MFD_CLOEXEC);
    if (prctl(PR_GET_SECCOMP) >= 0 && filter && fd >= 0 && !add_rules(filter) &&
        !seccomp_export_bpf(filter, fd))
        read_program(out, fd);
    if (fd >= 0)
        close(fd);
    seccomp_release(filter);
    return *out ? 0
                : server_fail(err, LS_EUNSUPPORTED,
                              "this system cannot keep processes from the network");
}
#else
int sandbox_open(sandbox **out, ls_error *err)
{
    *out = NULL;
    return server_fail(err, LS_EUNSUPPORTED,
                       "built without libseccomp, so processes have a network");
}
#endif

void sandbox_close(sandbox *s)
{
    free(s);
}

static void die_first(void)
{
    const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "500", 3) == 3)
        close(fd);
}

int sandbox_enter(const sandbox *s, pid_t parent, int signal, uint64_t file_bytes)
{
    const struct rlimit core = {0, 0}, file = {file_bytes, file_bytes};
    struct sigaction ignored = {.sa_handler = SIG_IGN}; // a write then fails instead
    die_first();
    if (prctl(PR_SET_PDEATHSIG, signal) || getppid() != parent || setrlimit(RLIMIT_CORE, &core) ||
        setrlimit(RLIMIT_FSIZE, &file) || sigaction(SIGXFSZ, &ignored, NULL) ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -1;
    return s && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &s->program) ? -1 : 0;
}
