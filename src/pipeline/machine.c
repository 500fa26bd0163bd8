/* The public view of the machine and of the codecs. */
#include "latentsync/machine.h"
#include "base/alloc.h"
#include "backend/device.h"
#include "base/system.h"
#include "latentsync/sync.h"
#include "media/codecs.h"

#include <stdio.h>
#include <string.h>

static void list_features(char *text, size_t size, const ls_cpu *cpu)
{
    const struct {
        bool has;
        const char *name;
    } all[] = {{cpu->avx2, "avx2"},
               {cpu->fma, "fma"},
               {cpu->avx512, "avx512"},
               {cpu->avx512_vnni, "avx512-vnni"},
               {cpu->avx512_bf16, "avx512-bf16"},
               {cpu->amx_bf16, "amx-bf16"}};
    *text = '\0';
    for (size_t i = 0, n = 0; i < LS_COUNT(all) && n < size; i++)
        if (all[i].has)
            n += (size_t)snprintf(text + n, size - n, "%s%s", n ? " " : "", all[i].name);
}

void ls_machine_get(ls_machine *out, size_t size)
{
    ls_cpu cpu;
    ls_device_info device;
    ls_machine_memory memory;
    ls_cpu_detect(&cpu, "");
    ls_device_list(0, &device);
    ls_machine_memory_now(&memory, "");
    ls_machine m = {.size = size,
                    .cores = cpu.cores,
                    .compute_type =
                        device.fast == LS_BF16 ? LS_COMPUTE_BFLOAT16 : LS_COMPUTE_FLOAT32,
                    .cgroup_cores = memory.cgroup_cpus,
                    .memory = memory.total,
                    .available = memory.available,
                    .cgroup_limit = memory.cgroup_limit,
                    .cgroup_used = memory.cgroup_used};
    snprintf(m.cpu, sizeof m.cpu, "%s", cpu.model);
    list_features(m.features, sizeof m.features, &cpu);
    memcpy(out, &m, size < sizeof m ? size : sizeof m);
}

const char *ls_encoder_name(size_t index)
{
    return ls_media_encoder((int)index);
}

const char *ls_codec_version(void)
{
    return ls_media_version();
}

void ls_codec_messages(int show)
{
    ls_media_show_libav_messages(show);
}
