#include "pipeline/budget.h"
#include "base/list.h"
#include "base/system.h"
#include "face/paste.h"
#include "media/pingpong.h"

#include <stdio.h>
#include <string.h>

#define MB ((uint64_t)1000000)
#define PROGRAM (102 * MB)
#define DETECTOR (50 * MB)    /* SCRFD or YuNet at 640 x 640, and 2d106det */
#define DECODED_FRAMES 12     /* that a decoder holds, references included */
#define DEINTERLACED_FRAMES 4 /* more, where they wait for their neighbors */
#define WINDOW ((size_t)32 << 20)
#define TURN_FRAMES 9      /* that the decoder holds in addition, going back to a key frame */
#define CODE (64 * MB)     /* that oneDNN compiles for the networks */
#define HEAPS (64 * MB)    /* that malloc reserves for threads */
#define OPENING (100 * MB) /* of address space, until the plan */
#define OTHER_THREADS 11   /* stages, codecs, watch */
/* Of a card, an allowance until it has been measured on one: what the driver takes for a process,
 * the kernels, and buffers of the backend. */
#define CARD_CONTEXT (400 * MB)
#define CARD_PROGRAM (200 * MB) /* likewise, of the process */

uint64_t ls_budget_default(void)
{
    ls_machine_memory m;
    ls_machine_memory_now(&m, "");
    uint64_t left = m.available;
    if (m.cgroup_limit && m.cgroup_limit != UINT64_MAX) {
        const uint64_t group = m.cgroup_limit > m.cgroup_used ? m.cgroup_limit - m.cgroup_used : 0;
        left = group < left ? group : left;
    }
    const uint64_t space = ls_address_space_left();
    left = left / 10 * 7;
    return space < left ? space : left;
}

/* What is free was measured with the driver's context there. */
static uint64_t limit_of(const ls_device_info *info, uint64_t max_vram)
{
    return max_vram ? max_vram : (info->available + CARD_CONTEXT) / 10 * 9;
}

ls_budget_place ls_budget_place_of(ls_models *const *models, size_t count, uint64_t max_vram)
{
    ls_budget_place p = {.copies = count};
    for (size_t k = 0; k < count; k++) {
        ls_network *nets[LS_NETWORKS];
        ls_models_list(models[k], nets);
        for (size_t i = 0; i < LS_NETWORKS; i++) {
            const ls_device_info *info = ls_network_device(nets[i]);
            size_t first = 0;
            while (ls_network_device(nets[first]) != info)
                first++;
            if (!k)
                p.at[i] = info->host ? LS_ON_CPU : first < i ? p.at[first] : (int)p.card_count++;
            if (info->host)
                continue;
            ls_budget_card *card = &p.cards[p.at[i]];
            const uint64_t limit = limit_of(info, max_vram);
            if (!k)
                memcpy(card->model, info->model, sizeof card->model);
            card->limit = k && card->limit < limit ? card->limit : limit;
            card->total = info->total;
        }
    }
    return p;
}

int ls_budget_check_opening(ls_error *err)
{
    const uint64_t left = ls_address_space_left();
    return left >= OPENING
               ? 0
               : ls_fail(err, LS_ENOMEM,
                         "the address space of this process is limited (ulimit -v), "
                         "and too small: of it %llu MB are left, and opening a job "
                         "takes %llu",
                         (unsigned long long)(left / MB), (unsigned long long)(OPENING / MB));
}

/* Of address space, from the plan on. */
static uint64_t space_of(const ls_budget_memory *m, const ls_budget_choice *c,
                         const ls_budget_job *job)
{
    const uint64_t teams = (job->detects ? 2 : 1) * (uint64_t)(job->cores - 1),
                   threads = teams + (uint64_t)c->workers + OTHER_THREADS;
    return m->total - m->program + CODE + HEAPS + threads * ls_thread_stack();
}

#define FLIGHTS 3 /* numbers of frames in flight */

/* The i-th, from the fastest to the smallest; false past the last. */
static bool choice_at(ls_budget_choice *c, size_t i, const ls_budget_job *job)
{
    const int workers = job->cores < 4 ? job->cores : 4;
    const size_t cards = job->place.copies, way = i / FLIGHTS;
    const ls_budget_choice cpu[FLIGHTS] = {
        {3 * LS_CHUNK_FRAMES / 2, 1, false, workers, WINDOW, false},
        {LS_CHUNK_FRAMES, 1, false, 1, WINDOW / 4, false},
        {LS_CHUNK_FRAMES, 1, true, 1, 0, false},
    };
    /* while a card has a chunk, its neighbors are decoded, restored and encoded */
    const ls_budget_choice card[FLIGHTS] = {
        {(2 + cards) * LS_CHUNK_FRAMES, 1, way & 1, workers, WINDOW, way > 1},
        {cards * LS_CHUNK_FRAMES + LS_CHUNK_FRAMES / 2, 1, way & 1, workers, WINDOW, way > 1},
        {LS_CHUNK_FRAMES, 1, way & 1, 1, 0, way > 1},
    };
    const bool is_on_card = job->place.at[0] != LS_ON_CPU;
    if (way >= (is_on_card ? 4 : 1))
        return false;
    *c = (is_on_card ? card : cpu)[i % FLIGHTS];
    return true;
}

/* Of frames held to go backwards. */
static uint64_t window_of(const ls_budget_choice *c, uint64_t frame)
{
    const uint64_t n = c->window_bytes / frame;
    return frame * (TURN_FRAMES + (n < LS_PINGPONG_LEAST  ? LS_PINGPONG_LEAST
                                   : n > LS_PINGPONG_MOST ? LS_PINGPONG_MOST
                                                          : n));
}

void ls_budget_stream(ls_models *models, bool streamed)
{
    ls_network *nets[LS_NETWORKS];
    ls_models_list(models, nets);
    for (size_t i = 0; i < LS_NETWORKS; i++)
        ls_network_stream(nets[i], streamed && !ls_network_device(nets[i])->host);
}

int ls_budget_measure(void *models, ls_generator_memory *out, const ls_generator_settings *s,
                      bool streamed, ls_error *err)
{
    ls_budget_stream(models, streamed);
    return ls_generator_estimate(out, models, s, LS_CHUNK_FRAMES, err);
}

/* A way to run the networks. As many images are given to the VAE at once as need no more than the
 * UNet on the same card: their number does not change the result. */
static int measure(ls_generator_memory *net, ls_budget_choice *c, const ls_budget_job *job,
                   ls_error *err)
{
    ls_generator_settings g = job->settings;
    ls_generator_memory more;
    g.vae_frames = c->vae_frames = 1;
    g.sampler.split_guidance = c->split_guidance;
    int ret = job->measure(job->opaque, net, &g, c->streamed, err);
    if (ret || job->place.at[0] == LS_ON_CPU || job->place.at[1] != job->place.at[0])
        return ret;
    const size_t unet = net->networks[0].activations, vae = net->networks[1].activations;
    for (g.vae_frames = LS_CHUNK_FRAMES; !ret && g.vae_frames > 1; g.vae_frames /= 2) {
        if (vae > 2 * unet / g.vae_frames) // too many for sure
            continue;
        ret = job->measure(job->opaque, &more, &g, c->streamed, err);
        if (ret || more.networks[1].activations > unet)
            continue;
        *net = more;
        c->vae_frames = g.vae_frames;
        break;
    }
    return ret;
}

static void add_cards(ls_budget_memory *m, const ls_generator_memory *net,
                      const ls_budget_place *place)
{
    for (size_t k = 0; k < place->card_count; k++) {
        ls_budget_card_memory *card = &m->cards[k];
        *card = (ls_budget_card_memory){.context = CARD_CONTEXT};
        for (size_t i = 0; i < LS_NETWORKS; i++) {
            const ls_network_memory *n = &net->networks[i];
            if (place->at[i] != (int)k)
                continue;
            card->weights += n->weights;
            card->activations =
                n->activations > card->activations ? n->activations : card->activations;
            card->resident += i ? 0 : net->resident;
        }
        card->total = card->weights + card->activations + card->resident + card->context;
    }
}

static bool fits_on_cards(const ls_budget_memory *m, const ls_budget_place *place)
{
    for (size_t k = 0; k < place->card_count; k++)
        if (m->cards[k].total > place->cards[k].limit)
            return false;
    return true;
}

/* With several cards each has weights, a workspace for networks on the CPU and buffers. */
static void add_up(ls_budget_memory *m, const ls_budget_choice *c, const ls_generator_memory *net,
                   const ls_budget_job *job)
{
    const ls_generator_settings g = job->settings;
    const uint64_t copies = job->place.copies;
    const ls_video_info *v = job->video;
    const uint64_t frame = v->frame_bytes, face = (uint64_t)g.resolution * g.resolution * 3,
                   rgb = (uint64_t)v->width * v->height * 3,
                   decoded = DECODED_FRAMES + (v->deinterlaced ? DEINTERLACED_FRAMES : 0);
    *m = (ls_budget_memory){
        .weights = copies * net->weights,
        .activations = copies * net->activations,
        .buffers = copies * net->buffers,
        .program = PROGRAM + (job->place.card_count ? copies * CARD_PROGRAM : 0),
        .flight = c->frames * (frame + face) + LS_CHUNK_FRAMES * face * sizeof(float),
        .decode = (job->detects ? 2 : 1) * decoded * frame + rgb,
        .window = job->turns ? window_of(c, frame) : 0,
        .encode = job->encoder,
        .restore = (uint64_t)c->workers *
                   (job->whole_crop ? 4 * frame : 2 * frame + ls_paste_bytes(g.resolution)),
        .detect = job->detects ? DETECTOR + rgb : 0};
    m->total = m->weights + m->activations + m->buffers + m->program + m->flight + m->decode +
               m->window + m->encode + m->restore + m->detect;
    m->space = space_of(m, c, job);
    add_cards(m, net, &job->place);
}

static int fail_space(const ls_budget_memory *m, const ls_budget_job *job, ls_error *err)
{
    return ls_fail(err, LS_ENOMEM,
                   "resolution %zu needs %llu MB more of address space, which is limited for this "
                   "process (ulimit -v): %llu MB are left",
                   job->settings.resolution, (unsigned long long)((m->space + MB - 1) / MB),
                   (unsigned long long)(job->space / MB));
}

static int fail_card(const ls_budget_memory *m, const ls_budget_job *job, ls_error *err)
{
    size_t k = 0;
    while (m->cards[k].total <= job->place.cards[k].limit)
        k++;
    const ls_budget_card *card = &job->place.cards[k];
    ls_fail(err, LS_ENOMEM,
            "resolution %zu needs at least %llu MB of the memory of %s, %llu MB of them for the "
            "networks; the limit is %llu MB",
            job->settings.resolution, (unsigned long long)((m->cards[k].total + MB - 1) / MB),
            card->model, (unsigned long long)((m->cards[k].weights + m->cards[k].activations) / MB),
            (unsigned long long)(card->limit / MB));
    return ls_advise(err, LS_ENOMEM, LS_HINT_CARD_MEMORY, "max-vram");
}

static int fail_memory(const ls_budget_memory *m, const ls_budget_job *job, uint64_t budget,
                       ls_error *err)
{
    if (m->space > job->space)
        return fail_space(m, job, err);
    const uint64_t needed = (m->total + MB - 1) / MB;
    ls_fail(
        err, LS_ENOMEM,
        "resolution %zu needs at least %llu MB, %llu MB of them for the networks and %llu MB for "
        "the encoder; the limit is %llu MB",
        job->settings.resolution, (unsigned long long)needed,
        (unsigned long long)((m->weights + m->activations) / MB),
        (unsigned long long)(m->encode / MB), (unsigned long long)(budget / MB));
    return ls_advise(err, LS_ENOMEM, LS_HINT_MORE_MEMORY, "max-memory");
}

int ls_budget_choose(ls_budget_choice *choice, ls_budget_memory *memory, const ls_budget_job *job,
                     uint64_t budget, ls_error *err)
{
    ls_generator_memory net = {0};
    ls_budget_choice c, measured = {0};
    ls_budget_memory m;
    bool found = false; // a way that fits onto the cards
    for (size_t i = 0; choice_at(&c, i, job); i++) {
        if (!i || c.split_guidance != measured.split_guidance || c.streamed != measured.streamed) {
            measured = c;
            int ret = measure(&net, &measured, job, err);
            if (ret)
                return ret;
        }
        c.vae_frames = measured.vae_frames;
        add_up(&m, &c, &net, job);
        const bool fits = fits_on_cards(&m, &job->place);
        if (fits && m.total <= budget && m.space <= job->space) {
            *choice = c;
            *memory = m;
            return 0;
        }
        if (!found || (fits && m.total <= memory->total)) {
            *choice = c;
            *memory = m;
        }
        found = found || fits;
    }
    return found ? fail_memory(memory, job, budget, err) : fail_card(memory, job, err);
}

bool ls_budget_allows_encoder(uint64_t encoder, uint64_t budget)
{
    return encoder + PROGRAM <= budget;
}

static double mb(uint64_t bytes)
{
    return (double)bytes / 1e6;
}

static void report_cards(const ls_budget_choice *c, const ls_budget_memory *m,
                         const ls_budget_place *place, const ls_log *log)
{
    static const char *const names[] = {"UNet", "VAE", "Whisper"};
    for (size_t k = 0; k < place->card_count; k++) {
        const ls_budget_card_memory *card = &m->cards[k];
        const ls_budget_card *of = &place->cards[k];
        char networks[40] = "", count[24] = "";
        for (size_t i = 0; i < LS_NETWORKS; i++)
            if (place->at[i] == (int)k)
                ls_list_add(networks, sizeof networks, "%s", names[i]);
        if (place->copies > 1)
            snprintf(count, sizeof count, "%zu x ", place->copies);
        ls_log_msg(log, LS_LOG_INFO, "%s on %s%s, %.1f of %.1f GB%s%s%s", networks, count,
                   of->model, (double)card->total / 1e9, (double)of->total / 1e9,
                   place->copies > 1 ? " each" : "",
                   c->split_guidance ? ", guidance in two passes" : "",
                   c->streamed ? ", weights in the memory of the machine" : "");
        ls_log_msg(log, LS_LOG_DEBUG,
                   "its memory: at most %.0f MB of %.0f: %.0f for weights, %.0f for activations, "
                   "%.0f for the sampler, %.0f for the driver; the VAE has %zu frames at a time",
                   mb(card->total), mb(of->limit), mb(card->weights), mb(card->activations),
                   mb(card->resident), mb(card->context), c->vae_frames);
    }
}

void ls_budget_report(const ls_budget_choice *c, const ls_budget_memory *m,
                      const ls_budget_place *place, uint64_t budget, const char *dtype,
                      const ls_log *log)
{
    report_cards(c, m, place, log);
    ls_log_msg(log, LS_LOG_DEBUG,
               "memory: at most %.0f MB of %.0f: %.0f for weights (%s), %.0f for activations, %.0f "
               "for %zu frames in flight, %.0f for codecs, %.0f for all else",
               mb(m->total), mb(budget), mb(m->weights), dtype, mb(m->activations), mb(m->flight),
               c->frames, mb(m->decode + m->encode + m->window),
               mb(m->buffers + m->program + m->restore + m->detect));
    ls_log_msg(log, LS_LOG_DEBUG,
               "of these: program %.0f MB, buffers %.0f, decode %.0f, backwards %.0f, encode %.0f, "
               "restore %.0f, faces %.0f; guidance %s, up to %d threads restore",
               mb(m->program), mb(m->buffers), mb(m->decode), mb(m->window), mb(m->encode),
               mb(m->restore), mb(m->detect), c->split_guidance ? "in two passes" : "in one pass",
               c->workers);
}
