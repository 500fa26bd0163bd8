#include "cli/cli.h"
#include "backend/backend.h"
#include "base/system.h"
#include "media/codecs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: latentsync info\n"
    "\n"
    "Prints what matters for speed and memory on this machine: CPU features and the compute\n"
    "type they lead to, memory and cgroup limits, and the video encoders to choose from.\n";

static void print_gb(const char *name, uint64_t bytes)
{
    if (bytes == UINT64_MAX)
        printf("%-16s none\n", name);
    else if (bytes)
        printf("%-16s %.1f GB\n", name, (double)bytes / 1e9);
    else
        printf("%-16s unknown\n", name);
}

int cmd_info(int argc, char **argv)
{
    if (argc > 1) {
        bool help = !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h");
        if (!help)
            return cli_usage("info", "info takes no arguments");
        fputs(usage, stdout);
        return EXIT_OK;
    }
    ls_cpu cpu;
    ls_machine_memory m;
    ls_cpu_detect(&cpu, "");
    ls_machine_memory_now(&m, "");
    printf("%-16s %s\n", "version", LS_VERSION_STRING);
    printf("%-16s %s, %d cores\n", "cpu", cpu.model, cpu.cores);
    printf("%-16s%s%s%s%s%s%s\n", "features", cpu.avx2 ? " avx2" : "", cpu.fma ? " fma" : "",
           cpu.avx512 ? " avx512" : "", cpu.avx512_vnni ? " avx512-vnni" : "",
           cpu.avx512_bf16 ? " avx512-bf16" : "", cpu.amx_bf16 ? " amx-bf16" : "");
    printf("%-16s %s\n", "compute type", ls_backend_prefers_bf16() ? "bfloat16" : "float32");
    print_gb("memory", m.total);
    print_gb("available", m.available);
    print_gb("cgroup limit", m.cgroup_limit);
    if (m.cgroup_limit != UINT64_MAX)
        print_gb("cgroup used", m.cgroup_used);
    if (m.cgroup_cpus > 0)
        printf("%-16s %.1f cores\n", "cgroup cpu", m.cgroup_cpus);
    printf("%-16s FFmpeg %s\n%-16s", "media", ls_media_version(), "video encoders");
    const char *encoder;
    for (int i = 0; (encoder = ls_media_encoder(i)); i++)
        printf(" %s", encoder);
    putchar('\n');
    return EXIT_OK;
}
