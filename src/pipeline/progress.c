#include "pipeline/progress.h"
#include "base/system.h"
#include "base/time.h"

void ls_job_progress_open(ls_job_progress *p, ls_events *events)
{
    *p = (ls_job_progress){.events = events, .stage = "prepare"};
    pthread_mutex_init(&p->lock, NULL);
}

void ls_job_progress_close(ls_job_progress *p)
{
    pthread_mutex_destroy(&p->lock);
}

void ls_job_progress_enter(ls_job_progress *p, const char *stage)
{
    ls_report r;
    pthread_mutex_lock(&p->lock);
    p->stage = stage;
    if (!(p->start > 0))
        p->start = ls_time_now();
    pthread_mutex_unlock(&p->lock);
    ls_job_progress_look(p, &r);
    r.p.resident_bytes = ls_process_memory_now().resident;
    r.p.budget_bytes = p->budget;
    ls_job_progress_report(p, &r);
}

void ls_job_progress_set_goal(ls_job_progress *p, uint64_t first, uint64_t goal, uint64_t finished)
{
    pthread_mutex_lock(&p->lock);
    p->first = first;
    p->goal = goal;
    p->written = p->finished = finished;
    pthread_mutex_unlock(&p->lock);
}

void ls_job_progress_start_frames(ls_job_progress *p)
{
    pthread_mutex_lock(&p->lock);
    p->frames_start = ls_time_now();
    pthread_mutex_unlock(&p->lock);
}

void ls_job_progress_count_frame(ls_job_progress *p)
{
    pthread_mutex_lock(&p->lock);
    p->written++;
    pthread_mutex_unlock(&p->lock);
}

void ls_job_progress_set_in_flight(ls_job_progress *p, size_t frames)
{
    pthread_mutex_lock(&p->lock);
    p->in_flight = frames;
    pthread_mutex_unlock(&p->lock);
}

static ls_progress_time time_of(const char *name, const double seconds[LS_TIME_USES],
                                uint64_t frames)
{
    return (ls_progress_time){name, seconds[LS_TIME_BUSY], seconds[LS_TIME_INPUT],
                              seconds[LS_TIME_ROOM], frames};
}

static void add_stage(ls_report *r, const char *name, const double seconds[LS_TIME_USES],
                      uint64_t frames)
{
    r->stages[r->p.stage_count++] = (ls_progress_stage){name, seconds[LS_TIME_BUSY], frames};
    r->times[r->p.time_count++] = time_of(name, seconds, frames);
}

static void look_at_faces(ls_job_progress *p, ls_report *r, bool alone)
{
    double seconds;
    uint64_t frames;
    ls_face_feed_state(p->faces, &seconds, &frames);
    add_stage(r, "faces", (double[LS_TIME_USES]){seconds}, frames);
    if (!alone)
        return;
    r->p.frame = frames < r->p.frames ? frames : r->p.frames;
    r->p.fraction = r->p.frames ? (double)r->p.frame / (double)r->p.frames : 0;
    r->p.frames_per_second = seconds > 0 ? (double)frames / seconds : 0;
}

static void look_at_stream(ls_job_progress *p, ls_report *r, uint64_t first, uint64_t finished,
                           double seconds, size_t in_flight)
{
    ls_stream_state state;
    ls_stream_get_state(p->stream, &state);
    const double made = state.generated - (double)state.taken;
    if (seconds > 0 && made > 0) {
        r->p.frames_per_second = made / seconds;
        r->p.seconds_left =
            ((double)(r->p.frames - finished) - state.generated) / r->p.frames_per_second;
    }
    if (r->p.frames)
        r->p.fraction = ((double)finished + state.generated) / (double)r->p.frames;
    const uint64_t before = first / LS_CHUNK_FRAMES;
    r->p.chunks = ls_chunks_of(first + r->p.frames) - before;
    r->p.chunk = state.steps ? state.chunk - before + 1 : 0;
    r->p.step = state.step;
    r->p.steps = state.steps;
    for (int i = 0; i < LS_STAGES; i++)
        add_stage(r, ls_stage_name(i), state.mean[i], state.frames[i]);
    for (size_t i = 0; i < state.generator_count; i++)
        r->devices[r->p.device_count++] = time_of(
            state.generators[i].device, state.generators[i].seconds, state.generators[i].frames);
    for (int i = 0; i < LS_STREAM_QUEUES; i++)
        r->queues[r->p.queue_count++] = (ls_progress_queue){
            ls_stream_queue_name(i), state.queue[i].items, in_flight, state.queue[i].bytes};
}

void ls_job_progress_look(void *opaque, ls_report *r)
{
    ls_job_progress *p = opaque;
    const double now = ls_time_now();
    *r = (ls_report){.p = {.stage = NULL}};
    pthread_mutex_lock(&p->lock);
    r->p.stage = p->stage;
    r->p.frame = p->written;
    r->p.frames = p->goal;
    r->p.seconds = now - p->start;
    const double seconds = p->frames_start > 0 ? now - p->frames_start : 0;
    const uint64_t first = p->first, finished = p->finished;
    const size_t in_flight = p->in_flight;
    pthread_mutex_unlock(&p->lock);
    if (r->p.frames)
        r->p.fraction = (double)r->p.frame / (double)r->p.frames;
    if (p->faces)
        look_at_faces(p, r, !p->stream);
    if (p->stream)
        look_at_stream(p, r, first, finished, seconds, in_flight);
}

void ls_job_progress_report(void *opaque, const ls_report *r)
{
    ls_events_report(((ls_job_progress *)opaque)->events, r);
}
