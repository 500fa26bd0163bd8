#include "cli/cli.h"

#include <signal.h>

static ls_cancel *token; // set before the handlers that read it

static void on_signal(int number)
{
    (void)number;
    signal(SIGINT, SIG_DFL); // a second one ends the program at once
    signal(SIGTERM, SIG_DFL);
    ls_cancel_request(token);
}

ls_cancel *cli_cancel(void)
{
    if (!token && (token = ls_cancel_new())) {
        signal(SIGINT, on_signal);
        signal(SIGTERM, on_signal);
    }
    return token;
}
