/* The folder of a job: what is to be made, which parts of it are finished, and who works on it.
 *
 *   OUT.lsjob/job.json             what is to be made: settings, digests of the inputs, the plan
 *             journal.jsonl        a line for each finished segment, with its SHA-256
 *             segment-00000.nut    finished segments
 *             chunk-00000.faces    new faces of chunks whose segment is not finished
 * (chunk_store.h) preview.nut          the frames of a preview, until its output is made of them
 *             faces.jsonl          where the faces are, once detection is complete
 *             video.index          how to seek to any place of the video, likewise
 *             lock                 who works on the job
 *             video, audio, features, track  inputs that came through pipes
 *
 * Nothing in the folder is trusted. It must belong to this user, and its files must be regular ones
 * with one name: links planted in it are not followed. What is read from it is checked against
 * digests; where it says that output belongs counts only in a folder that was begun where it is.
 *
 * Files get their names when they are complete and on the disk, so the folder is sound whenever its
 * users are killed. Any number of processes on any machines may share it, as long as the file
 * system has fcntl's locks. */
#ifndef LS_PIPELINE_JOB_FOLDER_H
#define LS_PIPELINE_JOB_FOLDER_H

#include "base/log.h"
#include "base/cancel.h"
#include "media/segment.h"

#include <jansson.h>

#define LS_JOB_MAX_SEGMENTS 100000

/* One thread at a time. */
typedef struct ls_job_folder ls_job_folder;

enum { LS_JOB_ALL = -1 }; /* instead of the number of a segment */

typedef enum ls_job_folder_mode {
    LS_JOB_EXISTING, /* the folder is there, with its description */
    LS_JOB_CREATE,   /* or is made */
    LS_JOB_RESTART   /* likewise, and what an earlier run left in it is removed */
} ls_job_folder_mode;

/* What a folder's job.json says; the caller owns *out, NULL after a failure. LS_ENOENT when there
 * is none. Any thread. */
int ls_job_folder_read(json_t **out, const char *folder, ls_error *err);
/* Whether this folder is the one in which that description was written, and not a copy of it. */
bool ls_job_folder_is_from_here(const json_t *description, const char *folder);

/* Opens a folder and takes the lock on the whole job or on one segment; LS_EBUSY, naming the
 * holder, when another process has it. LS_EINVAL when the folder is another user's, or has links in
 * the place of its files. `log` must outlive *out. */
int ls_job_folder_open(ls_job_folder **out, const char *path, ls_job_folder_mode mode,
                       int64_t segment, const ls_log *log, ls_error *err);
/* Releases the lock. A folder that ls_job_folder_open made is removed, unless it is to be kept. */
void ls_job_folder_close(ls_job_folder **job);
/* Whether the folder holds something worth resuming; a segment that is finished from now on always
 * is. Any thread. */
void ls_job_folder_keep(ls_job_folder *job, bool keep);

/* Keeps what comes through a pipe as the file `name` of the folder. LS_EINVAL, and what is kept
 * stays as it was, when the job was started with something else, by what "contents" of the
 * description has for `key`. */
int ls_job_folder_keep_input(ls_job_folder *job, const char *name, const char *key,
                             const char *from, const ls_cancel *cancel, ls_error *err);

/* Path of a file in the folder, valid until the next call. */
const char *ls_job_folder_file(ls_job_folder *job, const char *name);
const char *ls_job_folder_segment(ls_job_folder *job, uint64_t segment);

/* Any thread: the folder itself; the SHA-256 of what its chunks depend on, once that is described.
 */
const char *ls_job_folder_path(const ls_job_folder *job);
const uint8_t *ls_job_folder_faces_seal(const ls_job_folder *job);
/* Any thread: a file of the folder for reading, the caller's to close; -1, and errno, where there
 * is none, or one that no job makes. */
int ls_job_folder_open_kept(const ls_job_folder *job, const char *path);

/* Takes `description`, an object of objects, as what is to be made, or compares it with what
 * job.json says: LS_EINVAL with the first difference. Takes the reference over. Its "plan" has
 * "segments". With `preview` nothing but chunks will be made. A folder in which nothing else was
 * ever made takes another description too, unless it was opened as LS_JOB_EXISTING, and keeps the
 * chunks that fit it. */
int ls_job_folder_describe(ls_job_folder *job, json_t *description, bool preview, ls_error *err);
/* Whether nothing but previews was made of the folder's job. */
bool ls_job_folder_is_previewed(const ls_job_folder *job);
/* The same of what its job.json says. */
bool ls_job_description_is_previewed(const json_t *description);
/* Reads the journal and checks the bytes of a segment, or of all; a segment that is damaged or
 * missing is not finished, with a warning. */
int ls_job_folder_read_journal(ls_job_folder *job, int64_t segment, const ls_cancel *cancel,
                               ls_error *err);

uint64_t ls_job_folder_segments(const ls_job_folder *job);
/* NULL unless the segment is finished. */
const ls_segment_info *ls_job_folder_finished(const ls_job_folder *job, uint64_t segment);
uint64_t ls_job_folder_count_finished(const ls_job_folder *job);
/* Records that the file of a segment is complete: it is finished from now on. */
int ls_job_folder_record(ls_job_folder *job, uint64_t segment, const ls_segment_info *info,
                         ls_error *err);

/* Removes the job's files, and the folder unless there are others in it, and closes the job. */
void ls_job_folder_remove(ls_job_folder **job);

#endif
