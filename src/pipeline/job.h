/* The folder of a job: what is to be made, which parts of it are finished, and who works on them.
 *
 *   OUT.lsjob/job.json             what is to be made: settings, digests of the inputs, the plan
 *             journal.jsonl        a line for each finished segment, with its SHA-256
 *             segment-00000.nut    finished segments
 *             faces.jsonl          where the faces are, once all have been looked for
 *             video.index          how to go to any place of the video, likewise
 *             lock                 who works on the job
 *             video, speech        inputs that flowed past
 *
 * Files get their names when they are complete and on the disk, so the folder is sound whenever its
 * users are killed. Any number of processes on any machines may share it, as long as the file
 * system has fcntl's locks. */
#ifndef LS_PIPELINE_JOB_H
#define LS_PIPELINE_JOB_H

#include "base/log.h"
#include "base/cancel.h"
#include "media/segment.h"

#include <jansson.h>

#define LS_JOB_MAX_SEGMENTS 100000

/* One thread at a time. */
typedef struct ls_job ls_job;

enum { LS_JOB_ALL = -1 }; /* instead of the number of a segment */

/* Opens a folder, or makes it when `create`, and takes the lock on the whole job or on one segment;
 * LS_EBUSY, naming the holder, when another process has it. `log` must outlive *out. */
int ls_job_open(ls_job **out, const char *folder, bool create, int64_t segment, const ls_log *log,
                ls_error *err);
/* Gives the lock back. A folder that ls_job_open made goes, unless it is to be kept. */
void ls_job_close(ls_job **job);
/* Whether there is something in the folder that is worth going on with; a segment that is finished
 * from now on always is. */
void ls_job_keep(ls_job *job, bool keep);

/* Path of a file in the folder, valid until the next call. */
const char *ls_job_path(ls_job *job, const char *name);
const char *ls_job_segment_path(ls_job *job, uint64_t segment);
const char *ls_job_folder(const ls_job *job);

/* What job.json says; NULL as long as there is none. It belongs to the job. */
const json_t *ls_job_description(const ls_job *job);
/* Takes `description`, an object of objects, as what is to be made, or holds it against what
 * job.json says: LS_EINVAL with the first difference. Takes the reference over. The plan of it has
 * "segments". */
int ls_job_describe(ls_job *job, json_t *description, ls_error *err);
/* Reads the journal and checks the bytes of a segment, or of all; what is damaged or gone counts as
 * not finished, with a warning. */
int ls_job_read_journal(ls_job *job, int64_t segment, const ls_cancel *cancel, ls_error *err);

uint64_t ls_job_segments(const ls_job *job);
/* NULL unless the segment is finished. */
const ls_segment_info *ls_job_finished(const ls_job *job, uint64_t segment);
uint64_t ls_job_count_finished(const ls_job *job);
/* A segment lies under its name; from now on it is finished. */
int ls_job_record(ls_job *job, uint64_t segment, const ls_segment_info *info, ls_error *err);

/* Removes the job's files, and the folder unless there are others in it, and closes the job. */
void ls_job_remove(ls_job **job);

#endif
