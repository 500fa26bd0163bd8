#include "pipeline/job_folder.h"
#include "base/alloc.h"
#include "base/os/lock.h"
#include "base/output.h"
#include "base/path.h"
#include "base/temporary.h"
#include "pipeline/describe.h"
#include "pipeline/device_choice.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOLDER_BYTES 128 /* of the lock file, for the whole job and for each segment */
#define MAX_DESCRIPTION (1 << 20)
#define CHECK_DIGITS 16

/* All but the segments and chunks. */
static const char *const names[] = {"job.json", "journal.jsonl", "faces.jsonl", "video.index",
                                    "lock",     "video",         "audio",       "features",
                                    "track",    "preview.nut"};

struct ls_job_folder {
    const ls_log *log;
    char *folder, *path; /* `path` has room for the names of all files */
    size_t path_size;
    int lock, journal;
    atomic_bool removes; /* the folder when it is closed */
    uid_t owner;         /* of what this process makes in the folder */
    uint64_t inode;      /* of the folder */
    json_t *description;
    bool exists;                         /* the folder was opened as LS_JOB_EXISTING */
    uint8_t seal[LS_SHA256_BYTES];       /* of the description: lines of the journal belong to it */
    uint8_t faces_seal[LS_SHA256_BYTES]; /* of what chunks depend on */
    uint64_t segments;
    struct {
        bool finished;
        ls_segment_info info;
    } * segment;
};

const char *ls_job_folder_file(ls_job_folder *job, const char *name)
{
    snprintf(job->path, job->path_size, "%s/%s", job->folder, name);
    return job->path;
}

const char *ls_job_folder_segment(ls_job_folder *job, uint64_t segment)
{
    snprintf(job->path, job->path_size, "%s/segment-%05llu.nut", job->folder,
             (unsigned long long)segment);
    return job->path;
}

const char *ls_job_folder_path(const ls_job_folder *job)
{
    return job->folder;
}

const uint8_t *ls_job_folder_faces_seal(const ls_job_folder *job)
{
    return job->faces_seal;
}

/* Opens a file of the folder for reading and writing; links and what is no file are refused. */
static int open_file(const char *path, int flags)
{
    struct stat st;
    const int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | flags, 0666);
    if (fd < 0 || (!fstat(fd, &st) && S_ISREG(st.st_mode)))
        return fd;
    close(fd);
    errno = EINVAL;
    return -1;
}

/* Whoever owns the folder could replace any file in it. */
static int check_owner(ls_job_folder *job, ls_error *err)
{
    struct stat folder, link, own;
    const int fd = ls_temporary_file(job->folder, err);
    if (fd < 0)
        return fd;
    int ret = fstat(fd, &own) || stat(job->folder, &folder) || lstat(job->folder, &link)
                  ? ls_fail_errno(err, errno, "%s", job->folder)
                  : 0;
    close(fd);
    if (ret)
        return ret;
    job->owner = own.st_uid; // on some file systems not the process's user
    job->inode = folder.st_ino;
    if (folder.st_uid == own.st_uid && (!S_ISLNK(link.st_mode) || link.st_uid == own.st_uid))
        return 0;
    return ls_fail(err, LS_EINVAL,
                   "%s belongs to another user, who could replace any file in it: use a folder of "
                   "your own",
                   job->folder);
}

/* What makes a file of the folder one that no job made; NULL: nothing. */
static const char *suspicion_of(const ls_job_folder *job, const struct stat *st)
{
    return S_ISLNK(st->st_mode)       ? "a symbolic link"
           : !S_ISREG(st->st_mode)    ? "not a regular file"
           : st->st_nlink > 1         ? "a hard link to another file"
           : st->st_uid != job->owner ? "another user's"
                                      : NULL;
}

/* NULL also where there is no file. */
static const char *suspicion(const ls_job_folder *job, const char *path)
{
    struct stat st;
    return lstat(path, &st) ? NULL : suspicion_of(job, &st);
}

int ls_job_folder_open_kept(const ls_job_folder *job, const char *path)
{
    struct stat st;
    const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || (!fstat(fd, &st) && !suspicion_of(job, &st)))
        return fd;
    close(fd);
    errno = EINVAL;
    return -1;
}

static int check_files(ls_job_folder *job, ls_error *err)
{
    for (size_t i = 0; i < LS_COUNT(names); i++) {
        const char *why = suspicion(job, ls_job_folder_file(job, names[i]));
        if (why)
            return ls_fail(err, LS_EINVAL, "%s is %s, which no job makes: remove it", job->path,
                           why);
    }
    return 0;
}

/* The lock file has a line for the whole job and one for each segment. The locks are fcntl's, which
 * end with the process however it ends; the text only says whose they are. */
static int take_lock(ls_job_folder *job, int64_t segment, ls_error *err)
{
    char holder[HOLDER_BYTES + 1] = "", host[64] = "";
    const off_t line = segment < 0 ? 0 : (off_t)(segment + 1) * HOLDER_BYTES;
    const off_t bytes = segment < 0 ? 0 : HOLDER_BYTES; // 0: to the end of all segments
    job->lock = open_file(ls_job_folder_file(job, "lock"), O_CREAT);
    if (job->lock < 0)
        return ls_fail_errno(err, errno, "cannot write %s", job->path);
    if (!ls_os_lock(job->lock, line, bytes, false)) {
        gethostname(host, sizeof host - 1);
        snprintf(holder, sizeof holder, "process %ld on %.60s", (long)getpid(), host);
        if (pwrite(job->lock, holder, HOLDER_BYTES, line) != HOLDER_BYTES)
            return ls_fail_errno(err, errno, "cannot write %s", ls_job_folder_file(job, "lock"));
        return 0;
    }
    if (errno != EAGAIN && errno != EACCES)
        return ls_fail_errno(err, errno, "cannot lock %s", job->path);
    const off_t other = ls_os_lock_in_the_way(job->lock, line, bytes);
    if (other >= 0 && pread(job->lock, holder, HOLDER_BYTES, other) <= 0)
        *holder = 0;
    for (char *c = holder; *c; c++)
        *c = *c >= ' ' && *c < 0x7f ? *c : '?';
    if (segment < 0)
        ls_fail(err, LS_EBUSY, "%s is being worked on by %s", job->folder,
                *holder ? holder : "another process");
    else
        ls_fail(err, LS_EBUSY, "segment %lld of %s is being worked on by %s", (long long)segment,
                job->folder, *holder ? holder : "another process");
    return ls_advise(err, LS_EBUSY, LS_HINT_WAIT, NULL);
}

int ls_job_folder_read(json_t **out, const char *folder, ls_error *err)
{
    char path[LS_PATH_SIZE];
    json_error_t why;
    struct stat st;
    *out = NULL;
    const int ret = ls_path_join(path, sizeof path, folder, "job.json", err);
    if (ret)
        return ret;
    const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return ls_fail_errno(err, errno, "%s is not the folder of a job: %s", folder, path);
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > MAX_DESCRIPTION) {
        close(fd);
        return ls_fail(err, LS_EFORMAT, "%s is not the description of a job", path);
    }
    *out = json_loadfd(fd, JSON_REJECT_DUPLICATES, &why);
    close(fd);
    return *out ? 0
                : ls_fail(err, LS_EFORMAT, "%s, line %d: %s; the folder of the job is damaged",
                          path, why.line, why.text);
}

bool ls_job_folder_is_from_here(const json_t *description, const char *folder)
{
    struct stat st;
    const json_t *inode = json_object_get(json_object_get(description, "begun"), "folder");
    return !stat(folder, &st) && json_is_integer(inode) &&
           (uint64_t)json_integer_value(inode) == (uint64_t)st.st_ino;
}

/* `start`, any number of digits, `end`. */
static bool is_numbered(const char *name, size_t n, const char *start, const char *end)
{
    const size_t before = strlen(start), after = strlen(end),
                 digits = n > before ? strspn(name + before, "0123456789") : 0;
    return digits && n == before + digits + after && !strncmp(name, start, before) &&
           !strncmp(name + n - after, end, after);
}

static bool is_chunk(const char *name, size_t n)
{
    return is_numbered(name, n, "chunk-", ".faces");
}

/* Whether a job makes files of that name, temporary ones included. */
static bool is_ours(const char *name)
{
    size_t n = strlen(name);
    if (ls_output_is_temporary(name, &n))
        name++;
    for (size_t i = 0; i < LS_COUNT(names); i++)
        if (strlen(names[i]) == n && !strncmp(name, names[i], n))
            return true;
    return is_chunk(name, n) || is_numbered(name, n, "segment-", ".nut");
}

/* Calls `what` for every file in the folder until one returns true; whether one did. */
static bool any_file(const ls_job_folder *job, bool (*what)(int folder, const char *name))
{
    DIR *d = opendir(job->folder);
    bool found = false;
    for (struct dirent *e; d && !found && (e = readdir(d));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            found = what(dirfd(d), e->d_name);
    if (d)
        closedir(d);
    return found;
}

static bool is_foreign(int folder, const char *name)
{
    (void)folder;
    return !is_ours(name);
}

static bool remove_stale(int folder, const char *name)
{
    size_t n;
    if (is_ours(name) && ls_output_is_temporary(name, &n))
        unlinkat(folder, name, 0);
    return false;
}

static bool remove_ours(int folder, const char *name)
{
    if (is_ours(name) && strcmp(name, "job.json") && strcmp(name, "lock"))
        unlinkat(folder, name, 0);
    return false;
}

static bool remove_chunk(int folder, const char *name)
{
    if (is_chunk(name, strlen(name)))
        unlinkat(folder, name, 0);
    return false;
}

/* What belongs to another description, chunks aside. */
static void remove_findings(ls_job_folder *job)
{
    static const char *const found[] = {"journal.jsonl", "faces.jsonl", "video.index"};
    for (size_t i = 0; i < LS_COUNT(found); i++)
        unlink(ls_job_folder_file(job, found[i]));
}

/* All but the lock. Whatever interrupts this, no journal is left without its description. */
static void remove_files(ls_job_folder *job)
{
    remove_findings(job);
    any_file(job, remove_ours);
    unlink(ls_job_folder_file(job, "job.json"));
}

/* Files that are not the job's stay, and with them the folder. */
static void remove_folder(ls_job_folder *job)
{
    remove_files(job);
    unlink(ls_job_folder_file(job, "lock"));
    rmdir(job->folder);
}

int ls_job_folder_open(ls_job_folder **out, const char *folder, ls_job_folder_mode mode,
                       int64_t segment, const ls_log *log, ls_error *err)
{
    ls_job_folder *job = *out = ls_calloc_array(1, sizeof *job);
    if (!job)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    struct stat st;
    bool made = false;
    const bool create = mode != LS_JOB_EXISTING;
    job->log = log;
    job->exists = !create;
    job->lock = job->journal = -1;
    job->folder = strdup(folder);
    job->path_size = strlen(folder) + 64;
    job->path = malloc(job->path_size);
    int ret = job->folder && job->path ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret && create) {
        made = !mkdir(folder, 0777);
        if (made)
            ls_output_sync_name(folder);
        else if (errno != EEXIST)
            ret = ls_fail_errno(err, errno, "cannot create the folder of the job, %s", folder);
    }
    if (!ret && (stat(folder, &st) || !S_ISDIR(st.st_mode)))
        ret = ls_fail(err, LS_ENOENT, "%s is not the folder of a job; its name ends with .lsjob",
                      folder);
    if (!ret && !create && access(ls_job_folder_file(job, "job.json"), F_OK))
        ret = ls_fail_errno(err, errno, "%s is not the folder of a job: %s", folder, job->path);
    if (!ret && access(ls_job_folder_file(job, "job.json"), F_OK) && any_file(job, is_foreign))
        ret = ls_fail(err, LS_EINVAL,
                      "%s is a folder with other files in it; a job needs one of its own", folder);
    if (!ret)
        ret = check_owner(job, err);
    if (!ret)
        ret = check_files(job, err);
    if (!ret)
        ret = take_lock(job, segment, err);
    job->removes = made && !ret;
    if (!ret && mode == LS_JOB_RESTART)
        remove_files(job);
    if (!ret && segment == LS_JOB_ALL)
        any_file(job, remove_stale);
    if (!ret && !access(ls_job_folder_file(job, "job.json"), F_OK))
        ret = ls_job_folder_read(&job->description, folder, err);
    if (ret)
        ls_job_folder_close(out);
    return ret;
}

void ls_job_folder_close(ls_job_folder **pjob)
{
    ls_job_folder *job = *pjob;
    if (!job)
        return;
    if (job->removes)
        remove_folder(job);
    if (job->lock >= 0)
        close(job->lock);
    if (job->journal >= 0)
        close(job->journal);
    json_decref(job->description);
    free(job->segment);
    free(job->folder);
    free(job->path);
    free(job);
    *pjob = NULL;
}

void ls_job_folder_keep(ls_job_folder *job, bool keep)
{
    job->removes = !keep;
}

static int fail_device(const ls_job_folder *job, const char *network, const json_t *was,
                       const json_t *is, ls_error *err)
{
    char begun[300], here[300];
    ls_device_text(was, begun, sizeof begun);
    ls_device_text(is, here, sizeof here);
    ls_fail(err, LS_EINVAL, "%s was begun with the %s on %s; this is %s", job->folder, network,
            begun, here);
    return ls_advise(err, LS_EINVAL, LS_HINT_ANY_DEVICE, "any-device");
}

static int fail_different(const ls_job_folder *job, const char *part, const char *key,
                          const json_t *was, const json_t *is, ls_error *err)
{
    if (!strcmp(part, "contents"))
        return ls_advise(err,
                         ls_fail(err, LS_EINVAL,
                                 "the %s differs from the one that %s was started with: it has "
                                 "changed, or is another file",
                                 key, job->folder),
                         LS_HINT_REMOVE_JOB, NULL);
    if (!strcmp(part, "networks"))
        return fail_device(job, key, was, is, err);
    char *old = json_dumps(was, JSON_ENCODE_ANY), *now = json_dumps(is, JSON_ENCODE_ANY);
    ls_fail(err, LS_EINVAL, "%s was started with %s %s, not %s", job->folder, key,
            old ? old : "none", now ? now : "none");
    free(old);
    free(now);
    return ls_advise(err, LS_EINVAL,
                     strcmp(part, "program") ? LS_HINT_RESUME_OR_REMOVE : LS_HINT_REMOVE_JOB, NULL);
}

static int compare(const ls_job_folder *job, const json_t *now, ls_error *err)
{
    const char *part, *key;
    json_t *fields, *value;
    json_object_foreach((json_t *)now, part, fields)
    {
        const json_t *was = json_object_get(job->description, part);
        json_object_foreach(fields, key, value)
        {
            if (!json_equal(json_object_get(was, key), value))
                return fail_different(job, part, key, json_object_get(was, key), value, err);
        }
    }
    return 0;
}

bool ls_job_description_is_previewed(const json_t *description)
{
    return json_is_true(json_object_get(json_object_get(description, "begun"), "preview"));
}

bool ls_job_folder_is_previewed(const ls_job_folder *job)
{
    return ls_job_description_is_previewed(job->description);
}

/* Whether a file is the input that the description knows under this key. */
static int check_input(const ls_job_folder *job, const char *key, const char *path, ls_error *err)
{
    uint8_t sha256[LS_SHA256_BYTES];
    char text[LS_SHA256_TEXT];
    const json_t *was = json_object_get(json_object_get(job->description, "contents"), key);
    if (!was || (ls_job_folder_is_previewed(job) && !job->exists))
        return 0;
    int ret = ls_digest_sample(path, sha256, err);
    if (ret)
        return ret;
    ls_digest_text(text, sha256);
    const char *known = json_string_value(was);
    return known && !strcmp(known, text) ? 0 : fail_different(job, "contents", key, was, NULL, err);
}

int ls_job_folder_keep_input(ls_job_folder *job, const char *name, const char *key,
                             const char *from, const ls_cancel *cancel, ls_error *err)
{
    ls_output_file o;
    char *path = strdup(ls_job_folder_file(job, name));
    int ret = path ? ls_output_open(&o, path, err) : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        ret = ls_output_fill(&o, from, cancel, err);
        if (!ret)
            ret = check_input(job, key, o.temporary, err);
        ret = ls_output_close(&o, ret, err);
    }
    free(path);
    return ret;
}

static int write_description(ls_job_folder *job, ls_error *err)
{
    ls_output_file o;
    char *text = json_dumps(job->description, JSON_INDENT(2));
    if (!text)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    char *path = strdup(ls_job_folder_file(job, "job.json"));
    int ret = path ? ls_output_open(&o, path, err) : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        ret = ls_output_write(&o, text, strlen(text), err);
        ret = ls_output_close(&o, ret ? ret : ls_output_write(&o, "\n", 1, err), err);
    }
    free(path);
    free(text);
    return ret;
}

/* Takes the reference over; NULL is what memory was not enough for. */
static int seal_of(uint8_t sha256[LS_SHA256_BYTES], json_t *description, ls_error *err)
{
    ls_sha256 sha;
    char *text = json_dumps(description, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(description);
    if (!text)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    ls_sha256_begin(&sha);
    ls_sha256_add(&sha, text, strlen(text));
    ls_sha256_end(&sha, sha256);
    free(text);
    return 0;
}

static int seal(ls_job_folder *job, ls_error *err)
{
    json_t *d = json_copy(job->description);
    json_object_del(d, "begun");
    const int ret = seal_of(job->seal, d, err);
    return ret ? ret : seal_of(job->faces_seal, ls_describe_faces(job->description), err);
}

/* The chunks of a preview stay where they fit. */
static void remove_misfits(ls_job_folder *job, const json_t *description)
{
    json_t *was = ls_describe_faces(job->description), *is = ls_describe_faces(description);
    remove_findings(job);
    if (!was || !is || !json_equal(was, is))
        any_file(job, remove_chunk);
    json_decref(was);
    json_decref(is);
}

/* Takes the reference over. */
static int begin(ls_job_folder *job, json_t *description, bool preview, ls_error *err)
{
    remove_misfits(job, description);
    json_decref(job->description);
    job->description = description;
    json_t *begun = json_pack("{s:I}", "folder", (json_int_t)job->inode);
    if (preview)
        json_object_set_new(begun, "preview", json_true());
    return json_object_set_new(description, "begun", begun)
               ? ls_fail(err, LS_ENOMEM, "out of memory")
               : write_description(job, err);
}

/* What is described like the previews that were made, more than those will be made of. */
static int go_on(ls_job_folder *job, ls_error *err)
{
    json_object_del(json_object_get(job->description, "begun"), "preview");
    return write_description(job, err);
}

int ls_job_folder_describe(ls_job_folder *job, json_t *description, bool preview, ls_error *err)
{
    const bool previewed = ls_job_folder_is_previewed(job);
    int ret = description ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (ret)
        return ret;
    const bool same = job->description && !(ret = compare(job, description, err));
    if (!job->description || (!same && previewed && !job->exists)) {
        ret = begin(job, description, preview, err);
    } else {
        json_decref(description);
        if (same && previewed && !preview)
            ret = go_on(job, err);
    }
    if (!ret)
        ret = seal(job, err);
    if (ret)
        return ret;
    json_int_t n =
        json_integer_value(json_object_get(json_object_get(job->description, "plan"), "segments"));
    if (n < 1 || n > LS_JOB_MAX_SEGMENTS)
        return ls_advise(err,
                         ls_fail(err, LS_EINVAL,
                                 "%s: %lld segments; 1 to %d are possible, with longer segments",
                                 job->folder, (long long)n, LS_JOB_MAX_SEGMENTS),
                         LS_HINT_NONE, "segment-seconds");
    job->segments = (uint64_t)n;
    job->segment = ls_calloc_array((size_t)n, sizeof *job->segment);
    return job->segment ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
}

static bool parse_digest(uint8_t sha256[LS_SHA256_BYTES], const char *text)
{
    char again[LS_SHA256_TEXT];
    if (!text || strlen(text) != LS_SHA256_TEXT - 1)
        return false;
    for (size_t i = 0; i < LS_SHA256_BYTES; i++) {
        char byte[3] = {text[2 * i], text[2 * i + 1], 0};
        sha256[i] = (uint8_t)strtoul(byte, NULL, 16);
    }
    ls_digest_text(again, sha256);
    return !strcmp(again, text);
}

/* Of the beginning of a line, in the journal of this job. */
static void check_of(const ls_job_folder *job, const char *line, size_t n,
                     char text[LS_SHA256_TEXT])
{
    ls_sha256 sha;
    uint8_t sum[LS_SHA256_BYTES];
    ls_sha256_begin(&sha);
    ls_sha256_add(&sha, job->seal, sizeof job->seal);
    ls_sha256_add(&sha, line, n);
    ls_sha256_end(&sha, sum);
    ls_digest_text(text, sum);
    text[CHECK_DIGITS] = '\0';
}

static const char check_key[] = ", \"check\": \"";

static bool has_check(const ls_job_folder *job, const char *line)
{
    char check[LS_SHA256_TEXT];
    const char *at = strstr(line, check_key);
    if (!at)
        return false;
    check_of(job, line, (size_t)(at - line), check);
    return !strncmp(at + sizeof check_key - 1, check, CHECK_DIGITS);
}

/* A line of the journal; false if malformed, as the last one may be after a crash. */
static bool take_line(ls_job_folder *job, const char *line)
{
    json_int_t k, frames, bytes, delay;
    const char *sha;
    ls_segment_info info;
    json_t *o = has_check(job, line) ? json_loads(line, JSON_REJECT_DUPLICATES, NULL) : NULL;
    bool ok = o && !json_unpack(o, "{s:I, s:I, s:I, s:I, s:s}", "segment", &k, "frames", &frames,
                                "delay", &delay, "bytes", &bytes, "sha256", &sha);
    ok = ok && k >= 0 && (uint64_t)k < job->segments && frames > 0 && bytes > 0 && delay >= 0 &&
         delay < 1000 && parse_digest(info.sha256, sha);
    if (ok) {
        info.frames = (uint64_t)frames;
        info.bytes = (uint64_t)bytes;
        info.delay = (uint64_t)delay;
        job->segment[k].info = info;
        job->segment[k].finished = true;
    }
    json_decref(o);
    return ok;
}

static void check_segment(ls_job_folder *job, uint64_t k)
{
    uint8_t sha256[LS_SHA256_BYTES];
    uint64_t bytes = 0;
    const ls_segment_info *info = &job->segment[k].info;
    ls_error err = {0};
    const char *path = ls_job_folder_segment(job, k);
    int ret = suspicion(job, path) ? LS_EINVAL : ls_digest_file(path, sha256, &bytes, &err);
    if (!ret && bytes == info->bytes && !memcmp(sha256, info->sha256, sizeof sha256))
        return;
    job->segment[k].finished = false;
    ls_log_msg(job->log, LS_LOG_WARN, "segment %llu is %s and will be rendered again",
               (unsigned long long)k, ret == LS_ENOENT ? "missing" : "damaged");
}

int ls_job_folder_read_journal(ls_job_folder *job, int64_t segment, const ls_cancel *cancel,
                               ls_error *err)
{
    char *line = NULL;
    size_t size = 0, bad = 0;
    int ret = 0;
    const int fd = open_file(ls_job_folder_file(job, "journal.jsonl"), 0);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
    if (!f && errno != ENOENT) {
        ret = ls_fail_errno(err, errno, "%s", job->path);
        if (fd >= 0)
            close(fd);
        return ret;
    }
    while (f && getline(&line, &size, f) > 0)
        bad += !take_line(job, line);
    if (f && ferror(f))
        ret = ls_fail_errno(err, errno, "cannot read %s", job->path);
    if (f)
        fclose(f);
    free(line);
    if (bad)
        ls_log_msg(job->log, LS_LOG_WARN, "%s: ignoring %zu damaged lines", job->path, bad);
    for (uint64_t k = 0; !ret && k < job->segments; k++) {
        if (job->segment[k].finished && (segment == LS_JOB_ALL || (uint64_t)segment == k))
            check_segment(job, k);
        if (ls_canceled(cancel))
            ret = ls_fail(err, LS_ECANCELED, "canceled");
    }
    return ret;
}

uint64_t ls_job_folder_segments(const ls_job_folder *job)
{
    return job->segments;
}

const ls_segment_info *ls_job_folder_finished(const ls_job_folder *job, uint64_t segment)
{
    return segment < job->segments && job->segment[segment].finished ? &job->segment[segment].info
                                                                     : NULL;
}

uint64_t ls_job_folder_count_finished(const ls_job_folder *job)
{
    uint64_t n = 0;
    for (uint64_t k = 0; k < job->segments; k++)
        n += job->segment[k].finished;
    return n;
}

/* One line in one write, after a newline where the last writer was stopped within a line. */
static int append(ls_job_folder *job, const char *line, ls_error *err)
{
    char last = '\n';
    if (job->journal < 0)
        job->journal = open_file(ls_job_folder_file(job, "journal.jsonl"), O_CREAT | O_APPEND);
    if (job->journal >= 0)
        ls_output_sync_name(job->path);
    if (job->journal < 0 || ls_os_lock(job->journal, 0, 0, true))
        return ls_fail_errno(err, errno, "cannot write %s",
                             ls_job_folder_file(job, "journal.jsonl"));
    const off_t end = lseek(job->journal, 0, SEEK_END);
    const size_t n = strlen(line);
    bool ok = end <= 0 || pread(job->journal, &last, 1, end - 1) == 1;
    ok = ok && (last == '\n' || write(job->journal, "\n", 1) == 1);
    errno = ENOSPC; // where a write was short
    ok = ok && write(job->journal, line, n) == (ssize_t)n && !fsync(job->journal);
    int ret =
        ok ? 0
           : ls_fail_errno(err, errno, "cannot write %s", ls_job_folder_file(job, "journal.jsonl"));
    ls_os_unlock(job->journal, 0, 0);
    return ret;
}

int ls_job_folder_record(ls_job_folder *job, uint64_t segment, const ls_segment_info *info,
                         ls_error *err)
{
    char sha[LS_SHA256_TEXT], check[LS_SHA256_TEXT], line[512];
    ls_digest_text(sha, info->sha256);
    const int n = snprintf(line, sizeof line,
                           "{\"segment\": %llu, \"frames\": %llu, \"delay\": %llu, \"bytes\": "
                           "%llu, \"sha256\": \"%s\"",
                           (unsigned long long)segment, (unsigned long long)info->frames,
                           (unsigned long long)info->delay, (unsigned long long)info->bytes, sha);
    check_of(job, line, (size_t)n, check);
    snprintf(line + n, sizeof line - (size_t)n, "%s%s\"}\n", check_key, check);
    int ret = append(job, line, err);
    if (!ret) {
        job->segment[segment].info = *info;
        job->segment[segment].finished = true;
        ls_job_folder_keep(job, true);
    }
    return ret;
}

void ls_job_folder_remove(ls_job_folder **job)
{
    remove_folder(*job);
    (*job)->removes = false;
    ls_job_folder_close(job);
}
