#include "media/index.h"
#include "base/alloc.h"
#include "base/output.h"

#include <errno.h>
#include <libavutil/crc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CHECKPOINTS 4096
#define FIRST_DISTANCE 32 /* frames */
#define MAX_FRAMES (INT64_C(1) << 40)

void ls_index_free(ls_index *x)
{
    free(x->checkpoints);
    *x = (ls_index){0};
}

static uint64_t distance(const ls_index *x)
{
    return (uint64_t)FIRST_DISTANCE << x->doublings;
}

bool ls_index_is_due(const ls_index *x, const ls_timeline *t)
{
    return t->unique &&
           (!x->count || t->emitted >= x->checkpoints[x->count - 1].t.emitted + distance(x));
}

int ls_index_add(ls_index *x, const ls_timeline *t, uint32_t luma, ls_error *err)
{
    if (!x->checkpoints)
        x->checkpoints = ls_malloc_array(MAX_CHECKPOINTS, sizeof *x->checkpoints);
    if (!x->checkpoints)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    if (x->count == MAX_CHECKPOINTS) {
        x->count /= 2;
        for (size_t i = 0; i < x->count; i++)
            x->checkpoints[i] = x->checkpoints[2 * i];
        x->doublings++;
    }
    x->checkpoints[x->count++] = (ls_checkpoint){*t, luma};
    return 0;
}

void ls_index_drop(ls_index *x, int64_t pts)
{
    while (x->count && x->checkpoints[x->count - 1].t.previous_pts >= pts)
        x->count--;
}

const ls_checkpoint *ls_index_find(const ls_index *x, uint64_t frame)
{
    size_t k = x->count;
    while (k && x->checkpoints[k - 1].t.emitted > frame)
        k--;
    return k ? &x->checkpoints[k - 1] : NULL;
}

/* Made of 64-bit numbers, so there is no padding. */
typedef struct head {
    char magic[8];
    ls_index_key key;
    uint64_t length, count;
    uint64_t checksum; /* of the whole file, with 0 here */
} head;

typedef struct file {
    head head;
    int64_t checkpoints[MAX_CHECKPOINTS][8];
} file;

static head head_of(const ls_index *x, const ls_index_key *key)
{
    return (head){.magic = "LSINDEX2", .key = *key, .length = x->length, .count = x->count};
}

static size_t file_size(const file *f)
{
    return sizeof f->head + (size_t)f->head.count * sizeof *f->checkpoints;
}

static uint32_t checksum(const file *f)
{
    return av_crc(av_crc_get_table(AV_CRC_32_IEEE_LE), UINT32_MAX, (const uint8_t *)f,
                  file_size(f));
}

int ls_index_save(const ls_index *x, const ls_index_key *key, const char *path, ls_error *err)
{
    ls_output_file o;
    file *f = ls_malloc_array(1, sizeof *f);
    if (!f)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    f->head = head_of(x, key);
    for (size_t i = 0; i < x->count; i++) {
        const ls_timeline *t = &x->checkpoints[i].t;
        const int64_t numbers[] = {t->next_pts,        t->last_repeats[0],    t->last_repeats[1],
                                   t->last_repeats[2], (int64_t)t->emitted,   t->previous_pts,
                                   t->highest_pts,     x->checkpoints[i].luma};
        memcpy(f->checkpoints[i], numbers, sizeof numbers);
    }
    f->head.checksum = checksum(f);
    int ret = ls_output_open(&o, path, err);
    if (!ret)
        ret = ls_output_close(&o, ls_output_write(&o, f, file_size(f), err), err);
    free(f);
    return ret;
}

/* Whether a file is a whole index of this video. */
static bool read_file(file *f, FILE *from, const ls_index_key *key)
{
    const size_t size = fread(f, 1, sizeof *f, from);
    const head ours = head_of(&(ls_index){0}, key);
    const uint64_t sum = f->head.checksum;
    if (size < sizeof f->head || fgetc(from) != EOF ||
        memcmp(&f->head, &ours, offsetof(head, length)) != 0 || f->head.count > MAX_CHECKPOINTS ||
        size != file_size(f))
        return false;
    f->head.checksum = 0;
    return sum == checksum(f) && f->head.length <= MAX_FRAMES;
}

/* Whether the checkpoints are possible, and in order. */
static bool read_checkpoints(ls_checkpoint *to, const file *f)
{
    for (size_t i = 0; i < f->head.count; i++) {
        const int64_t *n = f->checkpoints[i];
        to[i] = (ls_checkpoint){.t = {.next_pts = n[0],
                                      .last_repeats = {n[1], n[2], n[3]},
                                      .emitted = (uint64_t)n[4],
                                      .previous_pts = n[5],
                                      .highest_pts = n[6],
                                      .unique = true},
                                .luma = (uint32_t)n[7]};
        for (int k = 0; k < 5; k++)
            if (n[k] < 0 || n[k] > MAX_FRAMES)
                return false;
        if ((i && to[i].t.emitted <= to[i - 1].t.emitted) || n[7] < 0 || n[7] > UINT32_MAX)
            return false;
    }
    return true;
}

int ls_index_load(ls_index *x, const ls_index_key *key, const char *path, ls_error *err)
{
    FILE *from = fopen(path, "re");
    if (!from)
        return ls_fail_errno(err, errno, "%s", path);
    file *f = ls_calloc_array(1, sizeof *f);
    ls_checkpoint *checkpoints = ls_malloc_array(MAX_CHECKPOINTS, sizeof *checkpoints);
    int ret = 0;
    if (!f || !checkpoints)
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    else if (!read_file(f, from, key) || !read_checkpoints(checkpoints, f))
        ret = ls_fail(err, LS_EFORMAT, "%s is damaged, or the index of another video", path);
    fclose(from);
    if (!ret) {
        free(x->checkpoints);
        x->checkpoints = checkpoints;
        checkpoints = NULL;
        x->count = (size_t)f->head.count;
        x->length = f->head.length;
        const uint64_t last = x->count ? x->checkpoints[x->count - 1].t.emitted : 0;
        while (distance(x) * MAX_CHECKPOINTS < last)
            x->doublings++;
    }
    free(checkpoints);
    free(f);
    return ret;
}
