/* The output of "-o -": a file in a temporary folder of its own, sent when it is complete. */
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME "/out.mkv"

int cli_stdout_open(const cli_call *call, char *path, size_t size)
{
    const char *tmp = getenv("TMPDIR");
    if (call->console.mode == CLI_PROGRESS_JSON)
        return cli_usage(call->command, "events and the video cannot both be standard output; name "
                                        "a FILE");
    if (isatty(STDOUT_FILENO))
        return cli_usage(call->command, "standard output is a terminal; send it to a pipe or a "
                                        "file, or name a FILE");
    const int n = snprintf(path, size, "%s/latentsync-XXXXXX" NAME, tmp ? tmp : "/tmp");
    if (n < 0 || (size_t)n >= size)
        return cli_usage(call->command, "the name of the folder for temporary files is too long");
    path[(size_t)n - strlen(NAME)] = '\0';
    if (!mkdtemp(path)) {
        fprintf(stderr, "latentsync: cannot make a temporary folder in %s: %s\n",
                tmp ? tmp : "/tmp", strerror(errno));
        return CLI_FAILED;
    }
    strcat(path, NAME);
    return CLI_OK;
}

int cli_stdout_send(const char *path)
{
    char block[65536];
    size_t n;
    FILE *f = fopen(path, "rb");
    while (f && (n = fread(block, 1, sizeof block, f)) > 0 && fwrite(block, 1, n, stdout) == n)
        ;
    const bool failed = !f || ferror(f);
    if (failed)
        fprintf(stderr, "latentsync: cannot read %s: %s\n", path, strerror(errno));
    if (f)
        fclose(f);
    const int status = cli_flush();
    if (!failed && status == CLI_OK)
        unlink(path);
    else
        fprintf(stderr, "latentsync: the video is kept as %s\n", path);
    return failed ? CLI_FAILED : status;
}

void cli_stdout_close(char *path)
{
    path[strlen(path) - strlen(NAME)] = '\0';
    rmdir(path); // unless a job, or an output that could not be sent, is left in it
}
