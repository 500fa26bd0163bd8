#include "pipeline/budget.h"
#include "base/system.h"
#include "media/pingpong.h"

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
#define OTHER_THREADS 10   /* stages, codecs, watch */

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

/* From the fastest to the smallest. */
static ls_budget_choice choice_at(int level, int cores)
{
    const ls_budget_choice levels[] = {
        {3 * LS_CHUNK_FRAMES / 2, 1, false, cores < 4 ? cores : 4, WINDOW},
        {LS_CHUNK_FRAMES, 1, false, 1, WINDOW / 4},
        {LS_CHUNK_FRAMES, 1, true, 1, 0},
    };
    return levels[level];
}

#define LEVELS 3

/* Of frames held to go backwards. */
static uint64_t window_of(const ls_budget_choice *c, uint64_t frame)
{
    const uint64_t n = c->window_bytes / frame;
    return frame * (TURN_FRAMES + (n < LS_PINGPONG_LEAST  ? LS_PINGPONG_LEAST
                                   : n > LS_PINGPONG_MOST ? LS_PINGPONG_MOST
                                                          : n));
}

static int estimate(ls_budget_memory *m, const ls_budget_choice *c, const ls_budget_job *job,
                    ls_error *err)
{
    ls_generator_settings g = job->settings;
    ls_generator_memory net;
    g.vae_frames = c->vae_frames;
    g.sampler.split_guidance = c->split_guidance;
    int ret = ls_generator_estimate(&net, job->models, &g, LS_CHUNK_FRAMES, err);
    if (ret)
        return ret;
    const ls_video_info *v = job->video;
    const uint64_t frame = v->frame_bytes, face = (uint64_t)g.resolution * g.resolution * 3,
                   rgb = (uint64_t)v->width * v->height * 3,
                   decoded = DECODED_FRAMES + (v->deinterlaced ? DEINTERLACED_FRAMES : 0);
    *m = (ls_budget_memory){.weights = net.weights,
                            .activations = net.activations,
                            .buffers = net.buffers,
                            .program = PROGRAM,
                            .flight =
                                c->frames * (frame + face) + LS_CHUNK_FRAMES * face * sizeof(float),
                            .decode = (job->detects ? 2 : 1) * decoded * frame + rgb,
                            .window = job->turns ? window_of(c, frame) : 0,
                            .encode = job->encoder,
                            .restore = (uint64_t)c->workers * 4 * frame,
                            .detect = job->detects ? DETECTOR + rgb : 0};
    m->total = m->weights + m->activations + m->buffers + m->program + m->flight + m->decode +
               m->window + m->encode + m->restore + m->detect;
    m->space = space_of(m, c, job);
    return 0;
}

static int fail_space(const ls_budget_memory *m, const ls_budget_job *job, ls_error *err)
{
    return ls_fail(err, LS_ENOMEM,
                   "resolution %zu needs %llu MB more of address space, which is limited for this "
                   "process (ulimit -v): %llu MB are left",
                   job->settings.resolution, (unsigned long long)((m->space + MB - 1) / MB),
                   (unsigned long long)(job->space / MB));
}

int ls_budget_choose(ls_budget_choice *choice, ls_budget_memory *memory, const ls_budget_job *job,
                     uint64_t budget, ls_error *err)
{
    for (int level = 0; level < LEVELS; level++) {
        *choice = choice_at(level, job->cores);
        int ret = estimate(memory, choice, job, err);
        if (ret || (memory->total <= budget && memory->space <= job->space))
            return ret;
    }
    if (memory->space > job->space)
        return fail_space(memory, job, err);
    const uint64_t needed = (memory->total + MB - 1) / MB;
    ls_fail(
        err, LS_ENOMEM,
        "resolution %zu needs at least %llu MB, %llu MB of them for the networks and %llu MB for "
        "the encoder; the limit is %llu MB",
        job->settings.resolution, (unsigned long long)needed,
        (unsigned long long)((memory->weights + memory->activations) / MB),
        (unsigned long long)(memory->encode / MB), (unsigned long long)(budget / MB));
    return ls_advise(err, LS_ENOMEM, LS_HINT_MORE_MEMORY, "max-memory");
}

bool ls_budget_allows_encoder(uint64_t encoder, uint64_t budget)
{
    return encoder + PROGRAM <= budget;
}

static double mb(uint64_t bytes)
{
    return (double)bytes / 1e6;
}

void ls_budget_report(const ls_budget_choice *c, const ls_budget_memory *m, uint64_t budget,
                      const char *dtype, const ls_log *log)
{
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
