/* The stream of a job: what is finished of it, to be watched while the rest is made. */
#include "latentsync/error.h"
#include "pipeline/sync_job.h"

#include <math.h>

static uint64_t count_segments(const ls_sync *job)
{
    return job->s.preview > 0 ? 1 : ls_job_folder_segments(job->folder);
}

static double seconds_of(const ls_sync *job, uint64_t segment)
{
    return ls_sync_seconds_at(job, ls_sync_segment_end(job, segment)) -
           ls_sync_seconds_at(job, ls_sync_segment_begin(job, segment));
}

/* NULL unless it is finished. */
static const ls_segment_info *find_segment(const ls_sync *job, uint64_t segment)
{
    if (job->s.preview > 0)
        return job->preview.frames ? &job->preview : NULL;
    return ls_job_folder_finished(job->folder, segment);
}

int ls_sync_open_live(ls_sync *job, ls_error *err)
{
    double longest = 0;
    for (uint64_t k = 0; k < count_segments(job); k++)
        longest = fmax(longest, seconds_of(job, k));
    const ls_encoding e = ls_sync_encoding(job);
    ls_join_settings s = ls_sync_join_settings(job, &e);
    s.path = job->s.stream;
    int ret = ls_hls_open(&job->hls, &s, longest, err);
    if (!ret)
        ret = ls_sync_extend_live(job, err);
    if (!ret && !job->streamed) // an older list is of another run
        ret = ls_hls_publish(job->hls, err);
    return ret;
}

int ls_sync_extend_live(ls_sync *job, ls_error *err)
{
    const uint64_t n = count_segments(job), before = job->streamed;
    const ls_segment_info *info;
    int ret = 0;
    while (!ret && job->streamed < n && (info = find_segment(job, job->streamed))) {
        const uint64_t k = job->streamed++;
        ret = ls_hls_add(job->hls, ls_sync_segment_file(job, k), info, seconds_of(job, k),
                         k + 1 == n, &job->cancel, err);
    }
    return !ret && job->streamed > before ? ls_hls_publish(job->hls, err) : ret;
}
