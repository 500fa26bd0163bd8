#define _GNU_SOURCE // pipe2
#include "server/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 64 << 10 };

static pid_t start(const char *program, int out)
{
    char name[] = "latentsync", command[] = "info", format[] = "--json";
    char *const arguments[] = {name, command, format, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    if (posix_spawn(&pid, program, &actions, NULL, arguments, environ))
        pid = -1;
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static json_t *read_all(int fd)
{
    char *text = malloc(MOST);
    size_t size = 0;
    ssize_t n;
    while (text && size < MOST &&
           ((n = read(fd, text + size, MOST - size)) > 0 || (n < 0 && errno == EINTR)))
        size += n > 0 ? (size_t)n : 0;
    json_t *info = text ? json_loadb(text, size, 0, NULL) : NULL;
    free(text);
    return info;
}

static const char *last_part(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash && slash[1] ? slash + 1 : path;
}

static void remove_paths(json_t *info, const char *models)
{
    const char *own = json_string_value(json_object_get(info, "model"));
    json_t *model =
        json_pack("{s:s?, s:b}", "name", last_part(models ? models : own), "is_built_in",
                  !models && json_is_true(json_object_get(info, "model_is_built_in")));
    json_object_set_new(info, "model", model);
    json_object_del(info, "model_is_built_in");
    json_object_del(info, "weights_cache");
}

json_t *machine_ask(const server_settings *s)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return NULL;
    const pid_t pid = start(s->program, ends[1]);
    close(ends[1]);
    json_t *info = pid > 0 ? read_all(ends[0]) : NULL;
    close(ends[0]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (info)
        remove_paths(info, s->models);
    return info;
}
