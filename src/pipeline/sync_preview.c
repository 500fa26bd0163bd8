/* Which part of a job its preview is. */
#include "pipeline/chunk_store.h"
#include "pipeline/lively.h"
#include "pipeline/sync_job.h"

#include <math.h>

#define FAR 7500   /* frames of the video: faces are not sought for longer than 5 minutes, */
#define LIVELIER 2 /* unless the speech is so many times livelier further on */

static double begin_of(const void *opaque, uint64_t chunk)
{
    return ls_sync_seconds_at(opaque, chunk * LS_CHUNK_FRAMES);
}

/* Faces are sought from the start of the video up to the preview, so one that comes early is
 * preferred. */
static int find_near(ls_lively_window found[LS_LIVELY_SECTIONS], size_t *count, ls_sync *job,
                     ls_lively_chunks c, ls_error *err)
{
    ls_lively_window near[LS_LIVELY_SECTIONS];
    const uint64_t frames = ls_video_get_info(ls_pingpong_video(job->source))->frames,
                   end = FAR / LS_CHUNK_FRAMES;
    size_t n = 0;
    if (!ls_face_feed_runs(job->faces) || (frames && frames <= FAR) || c.end <= end ||
        c.first + c.window > end)
        return 0;
    c.end = end;
    int ret = ls_lively_find(near, &n, job->mel, &c, &job->cancel, err);
    if (ret || near[0].score * LIVELIER < found[0].score)
        return ret;
    *count = n;
    for (size_t i = 0; i < n; i++)
        found[i] = near[i];
    return 0;
}

/* 1 if one is seen in the middle. */
static int shows_face(ls_sync *job, uint64_t first, uint64_t end, ls_error *err)
{
    ls_frame *frame = NULL;
    uint64_t index;
    int ret = ls_pingpong_seek(job->source, first + (end - first) / 2, err);
    if (!ret)
        ret = ls_pingpong_next(job->source, &frame, &index, err);
    if (!ret)
        ret = ls_face_feed_shows(job->faces, frame, (int64_t)index, &job->cancel, err);
    ls_frame_unref(&frame);
    return ret;
}

/* The job becomes one segment, of these frames. */
static void narrow(ls_sync *job, uint64_t first, uint64_t end)
{
    job->first = first;
    job->end = end;
    job->first_segment = 0;
    job->segment_frames = ls_chunks_of(end) * LS_CHUNK_FRAMES;
    ls_face_feed_narrow(job->faces, job->segment_frames);
}

/* The liveliest with a face; without any, the liveliest. */
static int choose(ls_sync *job, const ls_lively_chunks *c, uint64_t mouths, ls_error *err)
{
    ls_lively_window found[LS_LIVELY_SECTIONS];
    uint64_t first[LS_LIVELY_SECTIONS], end[LS_LIVELY_SECTIONS];
    size_t count, i = 0;
    int ret = ls_lively_find(found, &count, job->mel, c, &job->cancel, err);
    if (!ret)
        ret = find_near(found, &count, job, *c, err);
    for (; !ret && i < count; i++) {
        first[i] = found[i].first * LS_CHUNK_FRAMES;
        end[i] = first[i] + c->window * LS_CHUNK_FRAMES;
        first[i] = first[i] > job->first ? first[i] : job->first;
        end[i] = end[i] < mouths ? end[i] : mouths;
        ret = shows_face(job, first[i], end[i], err);
    }
    if (ret < 0)
        return ret;
    if (!ret)
        ls_log_msg(&job->log, LS_LOG_WARN, "no face is seen where the speech is liveliest");
    i = ret ? i - 1 : 0;
    narrow(job, first[i], end[i]);
    ls_log_msg(&job->log, LS_LOG_INFO,
               "preview: %llu frames from %.2f s on, where the speech is %s",
               (unsigned long long)(job->end - job->first), ls_sync_seconds_at(job, job->first),
               i ? "lively and a face is seen" : "liveliest");
    return 0;
}

int ls_sync_choose_preview(ls_sync *job, ls_error *err)
{
    const ls_video_info *v = ls_video_get_info(ls_pingpong_video(job->source));
    const uint64_t mouths = job->span.mouths < job->end ? job->span.mouths : job->end;
    const double frames = job->s.preview * v->fps_num / v->fps_den;
    const ls_lively_chunks c = {.first = job->first / LS_CHUNK_FRAMES,
                                .end = ls_chunks_of(mouths),
                                .window = ls_chunks_of((uint64_t)ceil(frames - 1e-6)),
                                .seconds = begin_of,
                                .opaque = job};
    if (job->first >= mouths)
        return ls_advise(err, ls_fail(err, LS_EINVAL, "preview: there is no speech in this part"),
                         LS_HINT_NONE, "preview");
    ls_pingpong_set_window(job->source, job->choice.window_bytes);
    return choose(job, &c, mouths, err);
}

void ls_sync_drop_other_chunks(ls_sync *job)
{
    if (!ls_job_folder_is_previewed(job->folder))
        return;
    ls_chunk_store_drop(job->folder, 0, job->first / LS_CHUNK_FRAMES);
    ls_chunk_store_drop(job->folder, ls_chunks_of(job->end), ls_chunks_of(job->span.fed));
}
