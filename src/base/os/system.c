#define _GNU_SOURCE // sched_getaffinity
#include "base/system.h"
#include "base/alloc.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATH_SIZE 4096

/* The value after `key` in a "key: value" file, without leading spaces; to be freed. NULL if there
 * is none. */
static char *read_field(const char *path, const char *key)
{
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t size = 0, n = strlen(key);
    bool found = false;
    while (f && !found && getline(&line, &size, f) > 0)
        found = !strncmp(line, key, n) && strchr(" \t:", line[n]);
    if (f)
        fclose(f);
    if (!found) {
        free(line);
        return NULL;
    }
    char *value = line + n + strspn(line + n, " \t:");
    value[strcspn(value, "\n")] = 0;
    memmove(line, value, strlen(value) + 1);
    return line;
}

static uint64_t read_kb(const char *path, const char *key)
{
    char *text = read_field(path, key);
    uint64_t kb = text ? strtoull(text, NULL, 10) : 0;
    free(text);
    return kb * 1024;
}

/* Whether a list of words contains this one. */
static bool has_word(const char *list, const char *word, const char *separators)
{
    size_t n = strlen(word);
    for (const char *at = list; at && *at; at += strcspn(at, separators)) {
        at += strspn(at, separators);
        if (strcspn(at, separators) == n && !strncmp(at, word, n))
            return true;
    }
    return false;
}

static int allowed_cores(void)
{
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set))
        return CPU_COUNT(&set);
    return (int)sysconf(_SC_NPROCESSORS_ONLN); // more CPUs than fit a cpu_set_t
}

void ls_cpu_detect(ls_cpu *cpu, const char *root)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/proc/cpuinfo", root);
    char *model = read_field(path, "model name");
    *cpu = (ls_cpu){.cores = allowed_cores()};
    snprintf(cpu->model, sizeof cpu->model, "%s", model ? model : "unknown CPU");
    free(model);
    ls_machine_memory m;
    ls_machine_memory_now(&m, root);
    if (m.cgroup_cpus > 0 && m.cgroup_cpus < cpu->cores)
        cpu->cores = (int)ceil(m.cgroup_cpus);
#if defined(__x86_64__)
    static const struct {
        const char *name;
        size_t offset;
    } flags[] = {
        {"avx2", offsetof(ls_cpu, avx2)},
        {"fma", offsetof(ls_cpu, fma)},
        {"avx512bw", offsetof(ls_cpu, avx512)},
        {"avx512_vnni", offsetof(ls_cpu, avx512_vnni)},
        {"avx512_bf16", offsetof(ls_cpu, avx512_bf16)},
        {"amx_bf16", offsetof(ls_cpu, amx_bf16)},
    };
    char *found = read_field(path, "flags");
    for (size_t i = 0; i < LS_COUNT(flags); i++)
        *(bool *)((char *)cpu + flags[i].offset) = has_word(found, flags[i].name, " ");
    free(found);
#endif
}

ls_process_memory ls_process_memory_now(void)
{
    const char *status = "/proc/self/status";
    return (ls_process_memory){read_kb(status, "VmRSS"), read_kb(status, "VmHWM"),
                               read_kb(status, "RssAnon")};
}

static uint64_t left_of(int resource, const char *used)
{
    struct rlimit l;
    if (getrlimit(resource, &l) || l.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    const uint64_t now = read_kb("/proc/self/status", used);
    return l.rlim_cur > now ? l.rlim_cur - now : 0;
}

uint64_t ls_address_space_left(void)
{
    const uint64_t all = left_of(RLIMIT_AS, "VmSize"), data = left_of(RLIMIT_DATA, "VmData");
    return all < data ? all : data;
}

uint64_t ls_thread_stack(void)
{
    pthread_attr_t a;
    size_t size = 0;
    if (!pthread_attr_init(&a)) {
        pthread_attr_getstacksize(&a, &size);
        pthread_attr_destroy(&a);
    }
    return size;
}

/* The number that a file contains; UINT64_MAX for "max", 0 if there is no file. */
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

static void read_cpu_quota(ls_machine_memory *m, const char *dir, bool v2)
{
    double quota = 0, period = 0;
    if (v2) {
        char path[PATH_SIZE + 64];
        snprintf(path, sizeof path, "%s/cpu.max", dir);
        FILE *f = fopen(path, "re");
        if (f && fscanf(f, "%lf %lf", &quota, &period) != 2)
            quota = 0; // "max"
        if (f)
            fclose(f);
    } else { // -1: none
        quota = (double)(int64_t)read_number(dir, "cpu.cfs_quota_us");
        period = (double)read_number(dir, "cpu.cfs_period_us");
    }
    if (quota > 0 && period > 0 && (m->cgroup_cpus == 0 || quota / period < m->cgroup_cpus))
        m->cgroup_cpus = quota / period;
}

/* Pressure stall information; -1 if the kernel does not provide it. */
static double read_pressure(const char *dir, const char *file)
{
    char path[PATH_SIZE + 64];
    unsigned whole, hundredths;
    snprintf(path, sizeof path, "%s/%s", dir, file);
    FILE *f = fopen(path, "re");
    bool ok = f && fscanf(f, "some avg10=%u.%2u", &whole, &hundredths) == 2;
    if (f)
        fclose(f);
    return ok ? whole + hundredths / 100.0 : -1;
}

static uint64_t read_memory_used(const char *dir, bool v2)
{
    static const char *const cached[2][2] = {{"total_inactive_file", "total_active_file"},
                                             {"inactive_file", "active_file"}};
    char path[PATH_SIZE + 64];
    uint64_t used = read_number(dir, v2 ? "memory.current" : "memory.usage_in_bytes");
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    for (int i = 0; i < 2; i++) {
        char *text = read_field(path, cached[v2][i]);
        const uint64_t cache = text ? strtoull(text, NULL, 10) : 0;
        free(text);
        used = cache < used ? used - cache : 0;
    }
    return used;
}

static void read_memory(ls_machine_memory *m, const char *dir, bool v2)
{
    uint64_t limit = read_number(dir, v2 ? "memory.max" : "memory.limit_in_bytes");
    if (limit > (uint64_t)1 << 60) // v1 expresses "none" as a huge number
        limit = UINT64_MAX;
    bool tighter = limit && limit < m->cgroup_limit;
    if (tighter)
        m->cgroup_limit = limit;
    if (tighter || !m->cgroup_used)
        m->cgroup_used = read_memory_used(dir, v2);
    if (m->pressure < 0)
        m->pressure = read_pressure(dir, "memory.pressure");
}

typedef void group_reader(ls_machine_memory *m, const char *dir, bool v2);

/* Limits apply from the process's group up to the root of the hierarchy. */
static void walk_up(ls_machine_memory *m, const char *mount, const char *group, bool v2,
                    group_reader *read)
{
    char dir[PATH_SIZE];
    size_t base = strlen(mount);
    if (snprintf(dir, sizeof dir, "%s%s", mount, group) >= PATH_SIZE)
        return;
    for (;;) {
        read(m, dir, v2);
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < base)
            return;
        *slash = 0;
    }
}

void ls_machine_memory_now(ls_machine_memory *m, const char *root)
{
    static const struct {
        const char *name, *v1_mount;
        group_reader *read;
    } controllers[] = {
        {"memory", "/memory", read_memory},
        {"cpu", "/cpu", read_cpu_quota},
    };
    char path[PATH_SIZE], line[PATH_SIZE], mount[PATH_SIZE];
    *m = (ls_machine_memory){.cgroup_limit = UINT64_MAX, .pressure = -1};
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    m->total = read_kb(path, "MemTotal");
    m->available = read_kb(path, "MemAvailable");
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) { // "0::/group" or "5:cpu,memory:/group"
        line[strcspn(line, "\n")] = 0;
        char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = 0;
        bool v2 = !*++names;
        for (size_t i = 0; i < LS_COUNT(controllers); i++) {
            if (!v2 && !has_word(names, controllers[i].name, ","))
                continue;
            snprintf(mount, sizeof mount, "%s/sys/fs/cgroup%s", root,
                     v2 ? "" : controllers[i].v1_mount);
            walk_up(m, mount, strcmp(group, "/") ? group : "", v2, controllers[i].read);
        }
    }
    if (f)
        fclose(f);
    if (m->pressure < 0) {
        snprintf(path, sizeof path, "%s/proc", root);
        m->pressure = read_pressure(path, "pressure/memory");
    }
}
