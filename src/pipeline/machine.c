/* The public view of the machine and of the codecs. */
#include "latentsync/machine.h"
#include "base/alloc.h"
#include "backend/device.h"
#include "base/list.h"
#include "base/system.h"
#include "latentsync/sync.h"
#include "media/codecs.h"
#include "pipeline/calibration.h"
#include "pipeline/device_choice.h"
#include "weights/packed.h"

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

static void explain_no_card(char *text, size_t size)
{
    static const char *const kinds[] = {"cuda", "vulkan"};
    ls_device_info all[LS_DEVICES_MAX];
    const size_t count = ls_device_list(NULL, all, LS_COUNT(all));
    for (size_t i = 0; i < LS_COUNT(kinds); i++) {
        ls_device *device = NULL;
        ls_error err = {0};
        if (!ls_device_open(&device, kinds[i], 1, &err))
            continue; // one that is left out below
        ls_list_add(text, size, "%s", err.message);
    }
    for (size_t i = 1; i < count; i++)
        ls_list_add(text, size, "%s %s, and is used only if it is named", all[i].name,
                    all[i].software ? "is imitated by the CPU" : "has no memory of its own");
}

/* What jobs are run on unless a device is named. */
static void explain_choice(ls_machine *m)
{
    const ls_device_wish automatic = {.automatic = true};
    ls_device_choice c;
    ls_error why = {0};
    double card, cpu;
    if (ls_device_choice_find(&c, &automatic, NULL))
        explain_no_card(m->no_card, sizeof m->no_card);
    else if (ls_device_choice_worthwhile(&c, &why))
        snprintf(m->no_card, sizeof m->no_card, "%s", why.message);
    if (*m->no_card)
        snprintf(m->choice, sizeof m->choice, "cpu: %s", m->no_card);
    else if (ls_calibration_card(c.card, &card, &cpu))
        snprintf(m->choice, sizeof m->choice,
                 "%s: a step of the published UNet was measured to take %.2f s there, %.2f s on "
                 "the CPU",
                 c.names[0].of[0], card, cpu);
    else
        snprintf(m->choice, sizeof m->choice,
                 "%s: cards are preferred to the CPU, and its speed was not measured",
                 c.names[0].of[0]);
}

void ls_machine_get(ls_machine *out, size_t size)
{
    ls_cpu cpu;
    ls_device_info device;
    ls_machine_memory memory;
    char folder[LS_PATH_SIZE];
    ls_cpu_detect(&cpu, "");
    ls_device_list("cpu", &device, 1);
    ls_machine_memory_now(&memory, "");
    ls_machine m = {.size = size,
                    .cores = cpu.cores,
                    .compute_type = ls_compute_type_of(device.fast),
                    .cgroup_cores = memory.cgroup_cpus,
                    .memory = memory.total,
                    .available = memory.available,
                    .cgroup_limit = memory.cgroup_limit,
                    .cgroup_used = memory.cgroup_used};
    snprintf(m.cpu, sizeof m.cpu, "%s", cpu.model);
    list_features(m.features, sizeof m.features, &cpu);
    explain_choice(&m);
    m.weights_cache_bytes = ls_packed_folder(folder);
    snprintf(m.weights_cache, sizeof m.weights_cache, "%s", folder);
    memcpy(out, &m, size < sizeof m ? size : sizeof m);
}

int ls_machine_get_device(ls_machine_device *out, size_t size, size_t index)
{
    ls_device_info all[LS_DEVICES_MAX];
    ls_cpu cpu;
    if (index >= ls_device_list(NULL, all, LS_COUNT(all)))
        return 0;
    const ls_device_info info = all[index];
    ls_machine_device d = {.size = size,
                           .compute_type = ls_compute_type_of(info.fast),
                           .memory = info.total,
                           .available = info.available,
                           .is_unproven = !info.host,
                           .is_software = info.software};
    if (info.host)
        ls_cpu_detect(&cpu, "");
    snprintf(d.name, sizeof d.name, "%s", info.name);
    snprintf(d.model, sizeof d.model, "%s", info.host ? cpu.model : info.model);
    ls_device_version(&info, d.version, sizeof d.version);
    memcpy(out, &d, size < sizeof d ? size : sizeof d);
    return 1;
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
