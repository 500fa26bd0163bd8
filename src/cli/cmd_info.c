#include "cli/cli.h"
#include "cli/event.h"

static const char *find_model(char *dir, size_t size, int *built_in)
{
    return ls_models_find(dir, size, built_in, NULL) ? NULL : dir;
}

/* Bytes; "none" where there is no limit, and null for both that and what is unknown. */
static void print_gb(const char *name, uint64_t bytes)
{
    if (bytes == UINT64_MAX)
        printf("%-16s none\n", name);
    else if (bytes)
        printf("%-16s %.1f GB\n", name, (double)bytes / 1e9);
    else
        printf("%-16s unknown\n", name);
}

static json_t *bytes_json(uint64_t bytes)
{
    return bytes && bytes != UINT64_MAX ? json_integer((json_int_t)bytes) : json_null();
}

static const char *type_name(int compute_type)
{
    return compute_type == LS_COMPUTE_FLOAT16    ? "float16"
           : compute_type == LS_COMPUTE_BFLOAT16 ? "bfloat16"
                                                 : "float32";
}

static void print_devices(const ls_machine *m)
{
    ls_machine_device d;
    for (size_t i = 0; ls_machine_get_device(&d, sizeof d, i); i++) {
        printf("%-16s %s: %s, %s, %s", i ? "" : "devices", d.name, d.model, d.version,
               type_name(d.compute_type));
        if (d.memory)
            printf(", %.1f GB", (double)d.memory / 1e9);
        if (d.available)
            printf(", %.1f GB free", (double)d.available / 1e9);
        puts(d.is_software   ? " (imitated by the CPU)"
             : d.is_unproven ? " (tested on an emulator only)"
                             : "");
    }
    printf("%-16s %s\n", "device auto", m->choice);
}

static json_t *devices_json(void)
{
    ls_machine_device d;
    json_t *all = json_array();
    for (size_t i = 0; ls_machine_get_device(&d, sizeof d, i); i++)
        json_array_append_new(
            all, json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:b, s:b}", "name", d.name, "model",
                           cli_json(d.model), "version", cli_json(d.version), "compute_type",
                           type_name(d.compute_type), "memory_bytes", bytes_json(d.memory),
                           "available_bytes", bytes_json(d.available), "emulator_only",
                           d.is_unproven, "software", d.is_software));
    return all;
}

static void print_machine(const ls_machine *m)
{
    char dir[4096];
    const char *encoder;
    int built_in = 0;
    const char *model = find_model(dir, sizeof dir, &built_in);
    printf("%-16s %s\n", "version", ls_version());
    printf("%-16s %s, %d cores\n", "cpu", m->cpu, m->cores);
    printf("%-16s %s\n", "features", m->features);
    printf("%-16s %s\n", "compute type", type_name(m->compute_type));
    print_devices(m);
    print_gb("memory", m->memory);
    print_gb("available", m->available);
    print_gb("cgroup limit", m->cgroup_limit);
    if (m->cgroup_limit != UINT64_MAX)
        print_gb("cgroup used", m->cgroup_used);
    if (m->cgroup_cores > 0)
        printf("%-16s %.1f cores\n", "cgroup cpu", m->cgroup_cores);
    printf("%-16s %s%s\n", "model", model ? model : "none",
           built_in ? " (built-in, for drawn faces only)" : "");
    if (*m->weights_cache)
        printf("%-16s %s, %.1f GB\n", "packed weights", m->weights_cache,
               (double)m->weights_cache_bytes / 1e9);
    printf("%-16s %s\n%-16s", "media", ls_codec_version(), "video encoders");
    for (size_t i = 0; (encoder = ls_encoder_name(i)); i++)
        printf(" %s", encoder);
    putchar('\n');
}

static json_t *machine_json(const ls_machine *m)
{
    char dir[4096];
    const char *encoder;
    int built_in = 0;
    const char *model = find_model(dir, sizeof dir, &built_in);
    json_t *encoders = json_array();
    for (size_t i = 0; (encoder = ls_encoder_name(i)); i++)
        json_array_append_new(encoders, cli_json(encoder));
    return json_pack("{s:s, s:o, s:i, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, "
                     "s:I, s:o, s:o, s:s}",
                     "version", ls_version(), "cpu", cli_json(m->cpu), "cores", m->cores,
                     "features", cli_json(m->features), "compute_type", type_name(m->compute_type),
                     "devices", devices_json(), "no_card",
                     cli_json(*m->no_card ? m->no_card : NULL), "memory_bytes",
                     bytes_json(m->memory), "available_bytes", bytes_json(m->available),
                     "cgroup_limit_bytes", bytes_json(m->cgroup_limit), "cgroup_used_bytes",
                     bytes_json(m->cgroup_limit == UINT64_MAX ? 0 : m->cgroup_used), "cgroup_cores",
                     m->cgroup_cores > 0 ? json_real(m->cgroup_cores) : json_null(), "model",
                     cli_json(model), "model_is_built_in", built_in, "weights_cache",
                     cli_json(*m->weights_cache ? m->weights_cache : NULL), "weights_cache_bytes",
                     (json_int_t)m->weights_cache_bytes, "media", cli_json(ls_codec_version()),
                     "video_encoders", encoders, "device_auto", m->choice);
}

int cmd_info(cli_call *call)
{
    ls_machine m;
    ls_machine_get(&m, sizeof m);
    if (cli_has(call, "json"))
        cli_json_print(machine_json(&m));
    else
        print_machine(&m);
    return cli_flush();
}
