#include "pipeline/chunk_store.h"
#include "base/output.h"
#include "base/path.h"
#include "base/sha256.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char magic[8] = "LSCHUNK1";

typedef struct header {
    char magic[sizeof magic];
    uint64_t chunk, resolution;
    uint64_t frames;                 /* bit i: there is an image for frame i */
    uint8_t sha256[LS_SHA256_BYTES]; /* of the folder's seal, all above and the images */
} header;

static int path_of(char path[LS_PATH_SIZE], const ls_job_folder *job, uint64_t chunk, ls_error *err)
{
    char name[48];
    snprintf(name, sizeof name, "chunk-%05llu.faces", (unsigned long long)chunk);
    return ls_path_join(path, LS_PATH_SIZE, ls_job_folder_path(job), name, err);
}

static size_t image_bytes(size_t resolution)
{
    return resolution * resolution * 3 * sizeof(float);
}

uint64_t ls_chunk_store_bytes(uint64_t chunks, size_t frames, size_t resolution)
{
    return chunks * (sizeof(header) + frames * image_bytes(resolution));
}

/* Without the hash. */
static header header_of(const ls_chunk_faces *f)
{
    header h = {.chunk = f->chunk, .resolution = f->resolution};
    memcpy(h.magic, magic, sizeof magic);
    for (size_t i = 0; i < f->frames; i++)
        h.frames |= (uint64_t) !!f->images[i] << i;
    return h;
}

static void hash(header *h, const ls_job_folder *job, const ls_chunk_faces *f)
{
    ls_sha256 sha;
    ls_sha256_begin(&sha);
    ls_sha256_add(&sha, ls_job_folder_faces_seal(job), LS_SHA256_BYTES);
    ls_sha256_add(&sha, h, offsetof(header, sha256));
    for (size_t i = 0; i < f->frames; i++)
        if (f->images[i])
            ls_sha256_add(&sha, f->images[i], image_bytes(f->resolution));
    ls_sha256_end(&sha, h->sha256);
}

int ls_chunk_store_keep(ls_job_folder *job, const ls_chunk_faces *f, ls_error *err)
{
    char path[LS_PATH_SIZE];
    ls_output_file o;
    header h = header_of(f);
    int ret = f->frames <= LS_CHUNK_STORE_FRAMES
                  ? path_of(path, job, f->chunk, err)
                  : ls_fail(err, LS_EINVAL, "%zu frames are too many for a chunk", f->frames);
    if (!ret)
        ret = ls_output_open(&o, path, err);
    if (ret)
        return ret;
    if (!ls_output_has_room(&o, ls_chunk_store_bytes(1, f->frames, f->resolution)))
        ret = ls_fail_errno(err, ENOSPC, "cannot write %s", path);
    if (!ret) {
        hash(&h, job, f);
        ret = ls_output_write(&o, &h, sizeof h, err);
    }
    for (size_t i = 0; !ret && i < f->frames; i++)
        if (f->images[i])
            ret = ls_output_write(&o, f->images[i], image_bytes(f->resolution), err);
    ret = ls_output_close(&o, ret, err);
    if (!ret)
        ls_job_folder_keep(job, true);
    return ret;
}

/* Whether exactly so much follows in the file. */
static bool read_all(int fd, void *to, size_t size)
{
    for (size_t n = 0; n < size;) {
        const ssize_t got = read(fd, (char *)to + n, size - n);
        if (got > 0)
            n += (size_t)got;
        else if (!got || errno != EINTR)
            return false;
    }
    return true;
}

static bool take(int fd, const ls_job_folder *job, const ls_chunk_faces *f)
{
    header h = header_of(f), kept;
    char more;
    bool ok = read_all(fd, &kept, sizeof kept) && !memcmp(&h, &kept, offsetof(header, sha256));
    for (size_t i = 0; ok && i < f->frames; i++)
        ok = !f->images[i] || read_all(fd, f->images[i], image_bytes(f->resolution));
    if (!ok || read(fd, &more, 1))
        return false;
    hash(&h, job, f);
    return !memcmp(h.sha256, kept.sha256, sizeof h.sha256);
}

int ls_chunk_store_take(const ls_job_folder *job, const ls_chunk_faces *f, ls_error *err)
{
    char path[LS_PATH_SIZE];
    int ret = path_of(path, job, f->chunk, err);
    const int fd = ret ? -1 : ls_job_folder_open_kept(job, path);
    if (ret || fd < 0)
        return ret               ? ret
               : errno == ENOENT ? LS_ENOENT
                                 : ls_fail(err, LS_EFORMAT, "%s cannot be used", path);
    ret =
        take(fd, job, f) ? 0 : ls_fail(err, LS_EFORMAT, "%s is damaged, or not of this job", path);
    close(fd);
    return ret;
}

uint64_t ls_chunk_store_count(const ls_job_folder *job, uint64_t first, uint64_t end)
{
    char path[LS_PATH_SIZE];
    uint64_t n = 0;
    for (uint64_t i = first; i < end && !path_of(path, job, i, NULL); i++)
        n += !access(path, F_OK);
    return n;
}

void ls_chunk_store_drop(const ls_job_folder *job, uint64_t first, uint64_t end)
{
    char path[LS_PATH_SIZE];
    for (uint64_t i = first; i < end && !path_of(path, job, i, NULL); i++) {
        if (!unlink(path))
            ls_output_remove_stale(path);
    }
}
