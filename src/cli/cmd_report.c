#include "cli/cli.h"

int cmd_report(cli_call *call)
{
    ls_error err = {0};
    return ls_report_write(cli_text(call, "stats"), cli_text(call, "out"), &err)
               ? cli_fail(call, &err, NULL)
               : CLI_OK;
}
