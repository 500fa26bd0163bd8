/* What a job is, for job.json: settings, contents of the inputs, program, devices, plan. */
#ifndef LS_PIPELINE_DESCRIBE_H
#define LS_PIPELINE_DESCRIBE_H

#include "models/models.h"
#include "pipeline/face_feed.h"
#include "pipeline/settings.h"

#define LS_JOB_FORMAT 6 /* of job.json; another one is refused */

typedef struct ls_job_facts {
    const ls_sync_settings *settings;
    const ls_models *models;
    const ls_face_feed *faces;
    const ls_video_info *video;
    uint64_t frames, segments, segment_frames;
} ls_job_facts;

/* The caller owns *out. Hashes samples of the inputs. */
int ls_describe_job(json_t **out, const ls_job_facts *facts, ls_error *err);
/* What of a description the new faces of its chunks depend on; NULL: out of memory, or not all of
 * it is there. */
json_t *ls_describe_faces(const json_t *description);
/* Lets a description say the devices of another one, that the job was begun with, instead of its
 * own. */
void ls_describe_as_begun(json_t *description, const json_t *begun);

#endif
