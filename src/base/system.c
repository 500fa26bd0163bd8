#include "base/system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 4096

/* The value after `key` in a "key: value" file, without leading spaces. */
static bool read_field(const char *path, const char *key, char *value, size_t size)
{
    FILE *f = fopen(path, "re");
    char line[1024];
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key)))
            continue;
        const char *v = line + strlen(key);
        v += strspn(v, " \t:");
        snprintf(value, size, "%.*s", (int)strcspn(v, "\n"), v);
        found = true;
    }
    if (f)
        fclose(f);
    return found;
}

static uint64_t read_kb(const char *path, const char *key)
{
    char text[64];
    return read_field(path, key, text, sizeof text) ? strtoull(text, NULL, 10) * 1024 : 0;
}

void ls_cpu_detect(ls_cpu *cpu)
{
    *cpu = (ls_cpu){.cores = (int)sysconf(_SC_NPROCESSORS_ONLN)};
    if (!read_field("/proc/cpuinfo", "model name", cpu->model, sizeof cpu->model))
        snprintf(cpu->model, sizeof cpu->model, "unknown CPU");
#if defined(__x86_64__)
    char flags[4096] = " ";
    read_field("/proc/cpuinfo", "flags", flags + 1, sizeof flags - 2);
    strcat(flags, " ");
    cpu->avx2 = strstr(flags, " avx2 ");
    cpu->fma = strstr(flags, " fma ");
    cpu->avx512 = strstr(flags, " avx512f ") && strstr(flags, " avx512bw ");
    cpu->avx512_vnni = strstr(flags, " avx512_vnni ");
    cpu->avx512_bf16 = strstr(flags, " avx512_bf16 ");
    cpu->amx_bf16 = strstr(flags, " amx_bf16 ");
#endif
}

ls_process_memory ls_process_memory_now(void)
{
    const char *status = "/proc/self/status";
    return (ls_process_memory){read_kb(status, "VmRSS"), read_kb(status, "VmHWM"),
                               read_kb(status, "RssAnon")};
}

/* A number in a file of its own; "max" is UINT64_MAX, no file is 0. */
static uint64_t read_number(const char *dir, const char *file)
{
    char path[PATH_SIZE + 64], text[64] = "";
    snprintf(path, sizeof path, "%s/%s", dir, file);
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(text, sizeof text, f);
    if (f)
        fclose(f);
    return !ok ? 0 : !strncmp(text, "max", 3) ? UINT64_MAX : strtoull(text, NULL, 10);
}

static void read_cpu_max(const char *dir, ls_machine_memory *m)
{
    char path[PATH_SIZE + 64];
    double quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", dir);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%lf %lf", &quota, &period) == 2 && period > 0 &&
        (m->cgroup_cpus == 0 || quota / period < m->cgroup_cpus))
        m->cgroup_cpus = quota / period;
    if (f)
        fclose(f);
}

/* Limits count from the process's group up to the root of the hierarchy. */
static void walk_up(ls_machine_memory *m, const char *mount, const char *group, bool v2)
{
    char dir[PATH_SIZE];
    size_t base = strlen(mount);
    if (snprintf(dir, sizeof dir, "%s%s", mount, group) >= PATH_SIZE)
        return;
    for (;;) {
        uint64_t limit = read_number(dir, v2 ? "memory.max" : "memory.limit_in_bytes");
        if (limit > (uint64_t)1 << 60) // v1 says "none" by a huge number
            limit = UINT64_MAX;
        if (limit && limit < m->cgroup_limit) {
            m->cgroup_limit = limit;
            m->cgroup_used = read_number(dir, v2 ? "memory.current" : "memory.usage_in_bytes");
        }
        if (v2)
            read_cpu_max(dir, m);
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < base)
            return;
        *slash = 0;
    }
}

void ls_machine_memory_now(ls_machine_memory *m, const char *root)
{
    char path[PATH_SIZE], line[1024], mount[PATH_SIZE];
    *m = (ls_machine_memory){.cgroup_limit = UINT64_MAX};
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    m->total = read_kb(path, "MemTotal");
    m->available = read_kb(path, "MemAvailable");
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) { // "0::/group" or "5:cpu,memory:/group"
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'),
             *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = 0;
        bool v2 = !controllers[1];
        if (!v2 && !strstr(controllers, "memory"))
            continue;
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup%s", root, v2 ? "" : "/memory");
        walk_up(m, mount, strcmp(group, "/") ? group : "", v2);
    }
    if (f)
        fclose(f);
}
