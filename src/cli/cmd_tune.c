#include "cli/cli.h"

static void print_line(void *opaque, const char *line)
{
    (void)opaque;
    puts(line);
    fflush(stdout);
}

int cmd_tune(cli_call *call)
{
    ls_error err = {0};
    return ls_tune(print_line, NULL, cli_cancel(), &err) ? cli_fail(call, &err, NULL) : cli_flush();
}
