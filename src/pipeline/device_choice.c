#include "pipeline/device_choice.h"
#include "base/alloc.h"
#include "base/list.h"
#include "latentsync/sync.h"
#include "monitor/nvml.h"
#include "pipeline/calibration.h"

#include <stdio.h>
#include <string.h>

static const char *const keys[LS_NETWORKS] = {"unet", "vae", "whisper"};
static const char *const titles[LS_NETWORKS] = {"UNet", "VAE", "Whisper"};

enum { UNET, VAE, WHISPER };

static bool is_card(const char *name)
{
    return !ls_device_is_host(name);
}

/* In the order in which they are preferred. */
static const char *const kinds[] = {"cuda", "vulkan"};

/* "cuda" or "cuda:N" of the n characters, for the kind "cuda". */
static bool is_of_kind(const char *text, size_t n, const char *kind)
{
    const size_t length = strlen(kind);
    if (n < length || strncmp(text, kind, length))
        return false;
    const size_t digits = n > length ? strspn(text + length + 1, "0123456789") : 0;
    return n == length ||
           (text[length] == ':' && digits > 0 && digits <= 3 && n == length + 1 + digits);
}

/* "cpu", or a card or all cards of a kind, of the n characters. */
static bool read_name(char name[LS_DEVICE_NAME], const char *text, size_t n)
{
    bool ok = n == 3 && !strncmp(text, "cpu", n);
    for (size_t i = 0; !ok && i < LS_COUNT(kinds); i++)
        ok = is_of_kind(text, n, kinds[i]);
    if (ok)
        snprintf(name, LS_DEVICE_NAME, "%.*s", (int)n, text);
    return ok;
}

/* "unet=cuda:0,vae=cpu" */
static bool read_list(ls_device_names *names, const char *text)
{
    for (const char *end = text; *end; text = end + 1) {
        end = text + strcspn(text, ",");
        size_t i = 0, n = 0;
        while (i < LS_NETWORKS &&
               (n = strlen(keys[i]), strncmp(text, keys[i], n) || text[n] != '='))
            i++;
        if (i == LS_NETWORKS || *names->of[i] ||
            !read_name(names->of[i], text + n + 1, (size_t)(end - text) - n - 1))
            return false;
    }
    return *names->of[UNET];
}

int ls_device_wish_parse(ls_device_wish *w, const char *text, ls_error *err)
{
    *w = (ls_device_wish){.automatic = !text || !strcmp(text, "auto")};
    if (w->automatic)
        return 0;
    char(*of)[LS_DEVICE_NAME] = w->names.of;
    if (!read_name(of[UNET], text, strlen(text)) && !read_list(&w->names, text))
        return ls_advise(
            err,
            ls_fail(err, LS_EINVAL,
                    "device: expected auto, cpu, cuda, cuda:N, vulkan, vulkan:N, or one "
                    "for each network, such as unet=cuda:0,vae=cpu, not \"%s\"",
                    text),
            LS_HINT_NONE, "device");
    if (!*of[VAE])
        memcpy(of[VAE], of[UNET], LS_DEVICE_NAME);
    if (!*of[WHISPER])
        snprintf(of[WHISPER], LS_DEVICE_NAME, "cpu");
    return 0;
}

bool ls_device_wish_of_job(ls_device_wish *w, const json_t *description)
{
    const json_t *networks = json_object_get(description, "networks");
    *w = (ls_device_wish){0};
    for (size_t i = 0; i < LS_NETWORKS; i++) {
        const json_t *device = json_object_get(networks, titles[i]);
        const char *kind = json_string_value(json_object_get(device, "kind")),
                   *model = json_string_value(json_object_get(device, "model"));
        if (!kind || strchr(kind, ':') || !read_name(w->names.of[i], kind, strlen(kind)))
            return false;
        if (model && !*w->model)
            snprintf(w->model, sizeof w->model, "%s", model);
    }
    return true;
}

ls_device_choice ls_device_choice_cpu(void)
{
    return (ls_device_choice){.names = {{{"cpu", "cpu", "cpu"}}}, .count = 1};
}

static const ls_dtype dtypes[] = {[LS_COMPUTE_AUTO] = LS_F32,
                                  [LS_COMPUTE_FLOAT32] = LS_F32,
                                  [LS_COMPUTE_BFLOAT16] = LS_BF16,
                                  [LS_COMPUTE_FLOAT16] = LS_F16,
                                  [LS_COMPUTE_INT8] = LS_I8};

ls_dtype ls_dtype_of(int compute_type)
{
    return dtypes[compute_type];
}

int ls_compute_type_of(ls_dtype t)
{
    int type = LS_COMPUTE_FLOAT32;
    while (dtypes[type] != t)
        type++;
    return type;
}

int ls_device_choice_on_cpu(const ls_device_choice *p)
{
    return !is_card(p->names->of[UNET]) + !is_card(p->names->of[VAE]);
}

static int fail_missing(const char *name, bool lists, ls_error *err)
{
    ls_device_info all[LS_DEVICES_MAX];
    ls_device *device;
    char there[400] = "";
    int ret = ls_device_open(&device, name, 1, err); // says why
    ls_device_close(&device);
    if (!ret)
        ret = ls_fail(err, LS_EUNSUPPORTED, "%s cannot be used", name);
    const size_t count = lists ? ls_device_list(NULL, all, LS_COUNT(all)) : 0;
    for (const ls_device_info *d = all; d < all + count; d++)
        ls_list_add(there, sizeof there, "%s%s%s%s", d->name, *d->model ? " (" : "", d->model,
                    *d->model ? ")" : "");
    if (err && lists) {
        const size_t n = strlen(err->message);
        snprintf(err->message + n, sizeof err->message - n, "; devices that can be used: %s",
                 there);
    }
    return ls_advise(err, ret, LS_HINT_LIST_DEVICES, "device");
}

typedef struct cards {
    ls_device_info info[LS_CARDS_MAX];
    size_t count;
} cards;

static void list_cards(cards *c, const char *kind)
{
    c->count += ls_device_list(kind, c->info + c->count, LS_COUNT(c->info) - c->count);
}

static bool is_card_of(const ls_device_info *info, const char *kind)
{
    return is_of_kind(info->name, strlen(info->name), kind);
}

/* Cards of a kind: of the model, or if it is not among them, of the first one's. What the CPU
 * imitates and, unless there is nothing else and it will do, what is no discrete card is among them
 * only as that model. */
static cards cards_of_kind(const cards *all, const char *kind, bool discrete, const char *model)
{
    cards c = {.count = 0};
    size_t first = 0, n = 0;
    for (size_t i = 0; i < all->count; i++)
        discrete = discrete || (is_card_of(&all->info[i], kind) && all->info[i].discrete);
    for (size_t i = 0; i < all->count; i++) {
        const ls_device_info *info = &all->info[i];
        const bool usual = !info->software && (info->discrete || !discrete);
        if (is_card_of(info, kind) && (usual || !strcmp(info->model, model)))
            c.info[c.count++] = *info;
    }
    while (first < c.count && strcmp(c.info[first].model, model))
        first++;
    if (first == c.count)
        first = 0;
    const ls_device_info like = c.info[first];
    for (size_t i = 0; i < c.count; i++)
        if (!strcmp(c.info[i].model, like.model) && !strcmp(c.info[i].version, like.version))
            c.info[n++] = c.info[i];
    c.count = n;
    return c;
}

static bool is_among(const cards *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (!strcmp(c->info[i].name, name))
            return true;
    return false;
}

/* Lists cards up to the first kind of which there are any to use; where there is none, returns the
 * one of which to say why. Drivers of others are not loaded. */
static const char *list_preferred(cards *all)
{
    for (size_t i = 0; i < LS_COUNT(kinds); i++) {
        list_cards(all, kinds[i]);
        if (cards_of_kind(all, kinds[i], true, "").count)
            return kinds[i];
    }
    return kinds[0];
}

static void list_named(cards *all, const ls_device_names *names)
{
    for (size_t k = 0; k < LS_COUNT(kinds); k++) {
        bool named = false;
        for (size_t i = 0; i < LS_NETWORKS; i++)
            named = named || is_of_kind(names->of[i], strlen(names->of[i]), kinds[k]);
        if (named)
            list_cards(all, kinds[k]);
    }
}

int ls_device_choice_find(ls_device_choice *p, const ls_device_wish *w, ls_error *err)
{
    cards all = {.count = 0}, of[LS_NETWORKS];
    ls_device_names names = w->names;
    if (w->automatic) {
        const char *kind = list_preferred(&all);
        for (size_t i = 0; i < LS_NETWORKS; i++)
            snprintf(names.of[i], LS_DEVICE_NAME, "%s", i == WHISPER ? "cpu" : kind);
    } else {
        list_named(&all, &names);
    }
    for (size_t i = 0; i < LS_NETWORKS; i++) {
        const bool numbered = strchr(names.of[i], ':');
        of[i] = cards_of_kind(&all, names.of[i], w->automatic, w->model);
        if (is_card(names.of[i]) && (numbered ? !is_among(&all, names.of[i]) : !of[i].count))
            return fail_missing(names.of[i], !w->automatic, err);
    }
    *p->card = '\0';
    if (is_card(names.of[UNET])) {
        const bool numbered = strchr(names.of[UNET], ':');
        const ls_device_info *info = numbered ? all.info : of[UNET].info;
        while (numbered && strcmp(info->name, names.of[UNET]))
            info++;
        snprintf(p->card, sizeof p->card, "%s, %s", info->model, info->version);
    }
    p->count = is_card(names.of[UNET]) && !strchr(names.of[UNET], ':') ? of[UNET].count : 1;
    for (size_t k = 0; k < p->count; k++) {
        p->names[k] = names;
        for (size_t i = 0; i < LS_NETWORKS; i++)
            if (is_card(names.of[i]) && !strchr(names.of[i], ':'))
                memcpy(p->names[k].of[i], of[i].info[k < of[i].count ? k : 0].name, LS_DEVICE_NAME);
    }
    return 0;
}

int ls_device_choice_worthwhile(const ls_device_choice *p, ls_error *err)
{
    double card, cpu;
    if (!ls_calibration_card(p->card, &card, &cpu) || card <= cpu * (double)p->count)
        return 0;
    return ls_fail(err, LS_EUNSUPPORTED,
                   "%s is slower than the CPU: a step of the published UNet was measured to take "
                   "%.1f s, on the CPU %.1f s",
                   p->card, card, cpu);
}

void ls_device_version(const ls_device_info *info, char *text, size_t size)
{
    char driver[80] = "";
    if (is_card_of(info, "cuda"))
        ls_nvml_driver_version(LS_NVML_LIBRARY, driver, sizeof driver);
    snprintf(text, size, "%s%s%s%s", *driver ? "driver " : "", driver, *driver ? ", " : "",
             info->version);
}

void ls_device_text(const json_t *device, char *text, size_t size)
{
    const char *model = json_string_value(json_object_get(device, "model")),
               *version = json_string_value(json_object_get(device, "version"));
    snprintf(text, size, "%s (%s)", model ? model : "the CPU", version ? version : "unknown");
}

static json_t *describe(const ls_device_info *info)
{
    char version[160];
    if (info->host)
        return json_pack("{s:s, s:s}", "kind", "cpu", "version", info->version);
    ls_device_version(info, version, sizeof version);
    return json_pack("{s:s%, s:s, s:s}", "kind", info->name, strcspn(info->name, ":"), "model",
                     info->model, "version", version);
}

json_t *ls_devices_describe(const ls_models *m)
{
    ls_network *nets[LS_NETWORKS];
    json_t *all = json_object();
    ls_models_list(m, nets);
    bool ok = all;
    for (size_t i = 0; ok && i < LS_NETWORKS; i++)
        ok = !json_object_set_new(all, titles[i], describe(ls_network_device(nets[i])));
    if (ok)
        return all;
    json_decref(all);
    return NULL;
}
