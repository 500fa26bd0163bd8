#define _GNU_SOURCE // O_TMPFILE
#include "base/temporary.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int ls_temporary_file(const char *folder, ls_error *err)
{
    char path[LS_PATH_SIZE];
    const char *tmp = getenv("TMPDIR");
    folder = folder ? folder : tmp ? tmp : "/tmp";
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    const int ret = ls_path_join(path, sizeof path, folder, ".latentsync-XXXXXX", err);
    if (ret)
        return ret;
    fd = mkstemp(path);
    if (fd < 0)
        return ls_fail_errno(err, errno, "cannot create a temporary file in %s", folder);
    unlink(path);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}
