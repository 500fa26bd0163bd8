#include "cli/cli.h"
#include "cli/event.h"
#include "cli/text.h"

#include <stdarg.h>
#include <string.h>

int cli_status_of(const ls_error *err)
{
    switch (err->code) {
    case LS_EINVAL:
        return CLI_USAGE;
    case LS_EMODEL:
        return CLI_MODEL;
    case LS_ENOFACE:
        return CLI_NO_FACE;
    case LS_ENOSPC:
    case LS_ENOMEM:
    case LS_EDEVICE:
        return CLI_RESOURCES;
    case LS_EBUSY:
        return CLI_BUSY;
    case LS_ECANCELED:
        return CLI_INTERRUPTED;
    case LS_EFORMAT:
    case LS_ENOENT:
    case LS_EUNSUPPORTED:
    case LS_EIO:
    case LS_ESHAPE:
        return CLI_INPUT;
    default:
        return CLI_FAILED;
    }
}

static void print_try(const cli_command *c)
{
    fprintf(stderr, "Try \"latentsync%s%s --help\".\n", c ? " " : "", c ? c->name : "");
}

int cli_usage(const cli_command *command, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("latentsync: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    print_try(command);
    va_end(ap);
    return CLI_USAGE;
}

int cli_flush(void)
{
    if (!fflush(stdout) && !ferror(stdout))
        return CLI_OK;
    fputs("latentsync: cannot write to standard output\n", stderr);
    return CLI_FAILED;
}

/* "--steps: expected ..." of "steps: expected ...", and "VIDEO: ..." of "video: ...". */
static void name_option(const cli_command *c, const ls_error *err, char *out, size_t size)
{
    const ls_option *o = cli_option_find(c, err->option);
    const size_t n = strlen(err->option);
    const char *rest = n && !strncmp(err->message, err->option, n) && err->message[n] == ':'
                           ? err->message + n
                           : NULL;
    if (err->code == LS_ECANCELED)
        snprintf(out, size, "interrupted");
    else if (!*err->message)
        snprintf(out, size, "%s", ls_error_text(err->code));
    else if (rest && o && cli_is_operand(c, o))
        snprintf(out, size, "%s%s", o->value, rest);
    else if (rest && o)
        snprintf(out, size, "--%s%s", o->name, rest);
    else
        snprintf(out, size, "%s", err->message);
}

/* What would help, in terms of this command; empty: nothing is known. */
static void advise(const cli_call *call, const ls_error *err, char *out, size_t size)
{
    char folder[4096], job[4200] = "JOB", *add;
    const bool is_new = call->command->library & LS_OPTION_SYNC;
    if (cli_job(call, folder, sizeof folder))
        cli_quote(folder, job, sizeof job);
    *out = '\0';
    switch (err->hint) {
    case LS_HINT_INSTALL_MODEL:
        snprintf(out, size,
                 "\"latentsync models pull\" downloads one (5.8 GB), or --models names "
                 "the directory of one");
        break;
    case LS_HINT_MODEL_DIRECTORY:
        snprintf(out, size,
                 "\"latentsync models --help\" lists what a model directory holds, "
                 "\"latentsync models check DIR\" checks one");
        break;
    case LS_HINT_LIST_FACES:
        snprintf(out, size, "\"latentsync faces VIDEO\" lists them");
        break;
    case LS_HINT_SMALLER_FACES:
        snprintf(out, size,
                 "--min-face N uses faces of N pixels in height or more; small ones come out "
                 "blurred");
        break;
    case LS_HINT_MORE_MEMORY:
        snprintf(out, size,
                 "raise --max-memory, end other programs, choose a faster --preset, or use a model "
                 "made for a smaller resolution");
        break;
    case LS_HINT_CARD_MEMORY:
        snprintf(out, size,
                 "raise --max-vram, end other programs that use the card, use a model made for a "
                 "smaller resolution, or compute with --device cpu");
        break;
    case LS_HINT_LIST_DEVICES:
        snprintf(out, size,
                 "\"latentsync info\" lists the devices; --device cpu uses none of them");
        break;
    case LS_HINT_ANY_DEVICE:
        snprintf(out, size,
                 "--any-device resumes it here all the same; the frames made here differ from the "
                 "others in their last bits");
        break;
    case LS_HINT_RESUME_OR_REMOVE:
    case LS_HINT_REMOVE_JOB:
        if (err->hint == LS_HINT_RESUME_OR_REMOVE)
            snprintf(out, size, "\"latentsync resume %s\" resumes the job as it was started; ",
                     job);
        add = out + strlen(out);
        if (is_new)
            snprintf(add, size - (size_t)(add - out), "--restart starts it again");
        else
            snprintf(add, size - (size_t)(add - out), "remove %s to start again", job);
        break;
    case LS_HINT_RENDER_MISSING:
        snprintf(out, size,
                 "\"latentsync render %s --segment K\" makes a segment; \"latentsync "
                 "resume %s\" makes all that are missing, and the output",
                 job, job);
        break;
    case LS_HINT_OTHER_OUTPUT:
        snprintf(out, size, "-o names another output");
        break;
    case LS_HINT_ACCEPT_LICENCE:
        snprintf(out, size,
                 "--accept-licence accepts the terms, --without-faces leaves the face "
                 "networks out");
        break;
    case LS_HINT_TRUST_JOB:
        snprintf(out, size, "--trust-job writes there all the same");
        break;
    case LS_HINT_ALLOW_HTTP:
        snprintf(out, size,
                 "--insecure allows it all the same; each file is still checked by its SHA-256");
        break;
    default:
        snprintf(out, size, "%s",
                 err->code == LS_ECANCELED && call->command->run == cmd_pull
                     ? "run the same command to resume"
                     : ls_hint_text(err->hint));
    }
}

int cli_fail(cli_call *call, const ls_error *err, const char *folder)
{
    char message[sizeof err->message + 64], advice[9000], quoted[4200];
    const int status = cli_status_of(err);
    const bool is_about_job = err->hint == LS_HINT_RESUME_OR_REMOVE ||
                              err->hint == LS_HINT_REMOVE_JOB ||
                              err->hint == LS_HINT_RENDER_MISSING;
    name_option(call->command, err, message, sizeof message);
    advise(call, err, advice, sizeof advice);
    cli_end_line(&call->console);
    if (call->console.mode == CLI_PROGRESS_JSON) {
        cli_event_error(call, err, message, advice, folder);
        return status;
    }
    fprintf(stderr, "latentsync: %s\n", message);
    if (*advice)
        fprintf(stderr, "latentsync: %s\n", advice);
    else if (status == CLI_USAGE && *err->option)
        print_try(call->command);
    if (folder && cli_has(call, "preview"))
        fputs("latentsync: finished chunks are kept; the same command resumes\n", stderr);
    else if (folder && !is_about_job)
        fprintf(stderr,
                "latentsync: finished segments are kept; resume with \"latentsync resume %s\"\n",
                cli_quote(folder, quoted, sizeof quoted));
    return status;
}
