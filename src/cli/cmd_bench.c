#include "cli/cli.h"

#include <string.h>

static void print_line(void *opaque, const char *line)
{
    (void)opaque;
    puts(line);
    fflush(stdout);
}

int cmd_bench_gpu(cli_call *call)
{
    ls_bench_settings s;
    ls_error err = {0};
    size_t failed = 0;
    ls_bench_default_settings(&s, sizeof s);
    s.device = cli_text(call, "device");
    s.quick = cli_has(call, "quick");
    s.small = !strcmp(cli_text(call, "sizes"), "small");
    s.cancel = cli_cancel();
    s.line = print_line;
    if (ls_bench_gpu(&s, &failed, &err))
        return cli_fail(call, &err, NULL);
    const int status = cli_flush();
    return status ? status : failed ? CLI_FAILED : CLI_OK;
}
