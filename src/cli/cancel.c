#include "cli/cli.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

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

/* What is sent does not matter. */
static void *wait_for_end(void *unused)
{
    char block[4096];
    ssize_t n;
    (void)unused;
    while ((n = read(STDIN_FILENO, block, sizeof block)) > 0 || (n < 0 && errno == EINTR))
        ;
    kill(getpid(), SIGTERM);
    return NULL;
}

bool cli_watch_stdin(void)
{
    pthread_t thread;
    if (!cli_cancel() || pthread_create(&thread, NULL, wait_for_end, NULL))
        return false;
    pthread_detach(thread);
    return true;
}
