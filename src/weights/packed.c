#include "weights/packed.h"
#include "backend/team.h"
#include "base/alloc.h"
#include "base/cache.h"
#include "base/digest.h"
#include "base/os/memory.h"
#include "base/output.h"
#include "base/system.h"
#include "weights/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FOLDER "latentsync/weights"
#define FORMAT "latentsync packed weights 1"
#define SUFFIX ".safetensors"
#define CHECKSUM "checksum"
#define NAME_DIGITS 32
#define RECENT 3600 /* seconds */
#define STRIPE LS_ALIGN
#define LANES 8
#define BLOCK_STRIPES ((size_t)1 << 14)

/* The checksum: lanes of 64 bits that take in one stripe after the other; those of the file take in
 * the lanes of its blocks, so blocks can be read at the same time. Each step can be undone, so one
 * word that differs always shows. */
typedef struct lanes {
    uint64_t of[LANES];
} lanes;

static lanes begin_lanes(uint64_t seed)
{
    lanes l;
    for (uint64_t i = 0; i < LANES; i++)
        l.of[i] = seed * LANES + i;
    return l;
}

static void take_in(lanes *l, const void *data, size_t stripes)
{
    const uint8_t *p = data;
    lanes at = *l;
    for (; stripes--; p += STRIPE) {
        uint64_t word[LANES];
        memcpy(word, p, STRIPE);
        for (size_t i = 0; i < LANES; i++) {
            const uint64_t x = (at.of[i] ^ word[i]) * 0x9e3779b97f4a7c15; // 2^64 / golden ratio
            at.of[i] = x << 29 | x >> 35;
        }
    }
    *l = at;
}

typedef struct checksum {
    lanes file, block;
    uint64_t stripes;
} checksum;

static checksum begin_checksum(void)
{
    return (checksum){.file = begin_lanes(UINT64_MAX)};
}

static void add(checksum *c, const void *data, size_t stripes)
{
    for (const uint8_t *p = data; stripes;) {
        const size_t at = c->stripes % BLOCK_STRIPES, left = BLOCK_STRIPES - at,
                     n = stripes < left ? stripes : left;
        if (!at)
            c->block = begin_lanes(c->stripes / BLOCK_STRIPES);
        take_in(&c->block, p, n);
        if (n == left)
            take_in(&c->file, &c->block, 1);
        c->stripes += n;
        stripes -= n;
        p += n * STRIPE;
    }
}

static lanes end(checksum *c)
{
    if (c->stripes % BLOCK_STRIPES)
        take_in(&c->file, &c->block, 1);
    return c->file;
}

/* The same of a whole file. */
static int sum_up(lanes *out, const uint8_t *data, size_t stripes, int threads, ls_error *err)
{
    const size_t blocks = (stripes + BLOCK_STRIPES - 1) / BLOCK_STRIPES;
    lanes *of = ls_malloc_array(blocks, sizeof *of);
    if (!of)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    // OpenMP ends the process when it cannot start a thread
    const bool room = ls_os_can_map((size_t)threads * ls_thread_stack());
    const ls_team before = ls_team_enter(room ? threads : 1);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < blocks; i++) {
        const size_t first = i * BLOCK_STRIPES, left = stripes - first;
        of[i] = begin_lanes(i);
        take_in(&of[i], data + first * STRIPE, left < BLOCK_STRIPES ? left : BLOCK_STRIPES);
    }
    ls_team_leave(before);
    *out = begin_lanes(UINT64_MAX);
    take_in(out, of, blocks);
    free(of);
    return 0;
}

typedef struct packed_file {
    ls_packed_before before;
    ls_weights *weights;
} packed_file;

static size_t padded(size_t bytes)
{
    return (bytes + STRIPE - 1) / STRIPE * STRIPE;
}

static void tensor_name(char *text, size_t size, const char *name, const char *layout)
{
    snprintf(text, size, "%s: %s", name, layout);
}

/* The memory of a tensor of so many bytes; NULL if there is none. */
static void *data_of(const ls_weights *w, const char *name, size_t bytes)
{
    const ls_weight_info *info = ls_weights_find(w, name);
    const size_t offset = info ? ((const ls_weight_entry *)info)->offset : 0;
    return info && info->dtype == LS_U8 && info->count == bytes && offset % STRIPE == 0
               ? (void *)(w->data + offset)
               : NULL;
}

static void *find(const ls_packed_before *b, const char *name, const char *layout, size_t bytes)
{
    char text[1024];
    tensor_name(text, sizeof text, name, layout);
    return data_of(((const packed_file *)b)->weights, text, padded(bytes));
}

int ls_packed_path(char path[LS_PATH_SIZE], const char *key, ls_error *err)
{
    char name[sizeof FOLDER + 1 + LS_SHA256_TEXT + sizeof SUFFIX], text[LS_SHA256_TEXT];
    uint8_t sha256[LS_SHA256_BYTES];
    ls_sha256 sha;
    ls_sha256_begin(&sha);
    ls_sha256_add(&sha, key, strlen(key));
    ls_sha256_end(&sha, sha256);
    ls_digest_text(text, sha256);
    snprintf(name, sizeof name, FOLDER "/%.*s" SUFFIX, NAME_DIGITS, text);
    return ls_cache_path(path, LS_PATH_SIZE, name, false, err);
}

static int open_own(int *fd, const char *path, ls_error *err)
{
    struct stat st;
    *fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0 || fstat(*fd, &st))
        return ls_fail_errno(err, errno, "%s", path);
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
        return ls_fail(err, LS_EINVAL, "%s is not a file that only this user may write", path);
    return 0;
}

/* What the parser of the table has not looked at. */
static int check(const ls_weights *w, const char *path, const char *key, int threads, ls_error *err)
{
    const char *format = ls_weights_meta_text(w, "format"), *found = ls_weights_meta_text(w, "key");
    const uint8_t *last = data_of(w, CHECKSUM, STRIPE);
    if (!format || strcmp(format, FORMAT) || !found || strcmp(found, key))
        return ls_fail(err, LS_EFORMAT, "%s was kept under another key", path);
    if (!last || last != w->data + w->size - STRIPE)
        return ls_fail(err, LS_EFORMAT, "%s does not end with a checksum", path);
    lanes sum;
    const int ret = sum_up(&sum, w->data, w->size / STRIPE - 1, threads, err);
    if (ret)
        return ret;
    return memcmp(&sum, last, STRIPE) ? ls_fail(err, LS_EFORMAT, "%s: wrong checksum", path) : 0;
}

int ls_packed_open(ls_packed_before **out, const char *path, const char *key, int threads,
                   ls_error *err)
{
    int fd;
    packed_file *f = ls_calloc_array(1, sizeof *f);
    *out = NULL;
    if (!f)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    f->before.find = find;
    int ret = open_own(&fd, path, err);
    if (!ret)
        ret = ls_weights_open_fd(&f->weights, fd, path, err);
    else if (fd >= 0)
        close(fd);
    if (!ret)
        ret = check(f->weights, path, key, threads, err);
    if (!ret)
        futimens(f->weights->fd, NULL); // used now
    *out = &f->before;
    if (ret)
        ls_packed_close(out);
    return ret;
}

void ls_packed_close(ls_packed_before **b)
{
    packed_file *f = (packed_file *)*b;
    if (!f)
        return;
    ls_weights_close(&f->weights);
    free(f);
    *b = NULL;
}

static bool is_ours(const char *name)
{
    return strspn(name, "0123456789abcdef") == NAME_DIGITS && !strcmp(name + NAME_DIGITS, SUFFIX);
}

/* The bytes of all files, and which was not used for the longest; one that was being written and
 * no longer is counts as one that was not used since then. */
static uint64_t look_through(const char *folder, char oldest[NAME_MAX + 1], time_t *when)
{
    uint64_t bytes = 0;
    struct stat st;
    size_t n;
    DIR *d = opendir(folder);
    *oldest = '\0';
    for (struct dirent *e; d && (e = readdir(d));) {
        if ((!is_ours(e->d_name) && !ls_output_is_temporary(e->d_name, &n)) ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
            continue;
        bytes += (uint64_t)st.st_size;
        if (*oldest && st.st_mtim.tv_sec >= *when)
            continue;
        *when = st.st_mtim.tv_sec;
        snprintf(oldest, NAME_MAX + 1, "%s", e->d_name);
    }
    if (d)
        closedir(d);
    return bytes;
}

uint64_t ls_packed_folder(char folder[LS_PATH_SIZE])
{
    char oldest[NAME_MAX + 1];
    time_t when;
    struct stat st;
    if (ls_cache_path(folder, LS_PATH_SIZE, FOLDER, false, NULL) || stat(folder, &st))
        *folder = '\0';
    return *folder ? look_through(folder, oldest, &when) : 0;
}

/* Makes room for so many bytes more. */
static int make_room(const char *path, uint64_t bytes, uint64_t most, ls_error *err)
{
    char folder[LS_PATH_SIZE], oldest[NAME_MAX + 1], old[LS_PATH_SIZE];
    struct stat st;
    time_t when = 0;
    const bool replaces = !lstat(path, &st) && S_ISREG(st.st_mode);
    const uint64_t replaced = replaces ? (uint64_t)st.st_size : 0;
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    while (bytes <= most) {
        const uint64_t all = look_through(folder, oldest, &when);
        if (all - (all < replaced ? all : replaced) + bytes <= most)
            return 0;
        if (!*oldest || time(NULL) - when < RECENT ||
            ls_path_join(old, sizeof old, folder, oldest, NULL) || unlink(old))
            break;
    }
    return ls_fail(err, LS_ENOSPC, "%s would be too large: packed weights may take %.1f GB", path,
                   (double)most / 1e9);
}

/* What is written: tensors of an earlier file, then weights of a list. */
typedef struct contents {
    const ls_weights *earlier; /* may be NULL */
    const ls_packed *list;
} contents;

/* Goes to the next piece; false past the last. Begin with zeros. */
typedef struct piece {
    size_t next; /* of the earlier tensors */
    const ls_packed *last;
    char name[1024];
    const void *data;
    size_t bytes;
} piece;

static bool next_piece(piece *p, const contents *c)
{
    const ls_weight_info *info;
    while (c->earlier && (info = ls_weights_at(c->earlier, p->next))) {
        p->next++;
        if (!strcmp(info->name, CHECKSUM))
            continue;
        snprintf(p->name, sizeof p->name, "%s", info->name);
        p->bytes = info->count;
        p->data = data_of(c->earlier, info->name, p->bytes);
        if (p->data)
            return true;
    }
    do
        p->last = p->last ? p->last->next : c->list;
    while (p->last && (!p->last->layout || p->last->found));
    if (!p->last)
        return false;
    tensor_name(p->name, sizeof p->name, p->last->name, p->last->layout);
    p->data = p->last->data;
    p->bytes = p->last->bytes;
    return true;
}

static json_t *tensor(size_t from, size_t bytes)
{
    return json_pack("{s:s, s:[I], s:[I, I]}", "dtype", "U8", "shape", (json_int_t)bytes,
                     "data_offsets", (json_int_t)from, (json_int_t)(from + bytes));
}

/* The length field and the header, padded to whole stripes; to be freed. NULL: out of memory. */
static uint8_t *make_header(const contents *c, const char *key, size_t *size, size_t *data)
{
    json_t *header = json_pack("{s:{s:s, s:s}}", "__metadata__", "format", FORMAT, "key", key);
    bool whole = header;
    *data = 0;
    for (piece p = {0}; next_piece(&p, c); *data += padded(p.bytes))
        whole = whole && !json_object_set_new(header, p.name, tensor(*data, padded(p.bytes)));
    whole = whole && !json_object_set_new(header, CHECKSUM, tensor(*data, STRIPE));
    char *text = whole ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    const size_t n = text ? strlen(text) : 0;
    *size = padded(8 + n);
    uint8_t *bytes = text ? malloc(*size) : NULL;
    if (bytes) {
        memset(bytes, ' ', *size);
        memcpy(bytes + 8, text, n);
        for (size_t i = 0; i < 8; i++)
            bytes[i] = (uint8_t)((*size - 8) >> 8 * i);
    }
    free(text);
    return bytes;
}

static int put(const ls_output_file *o, checksum *c, const void *data, size_t bytes, ls_error *err)
{
    const size_t whole = bytes / STRIPE;
    uint8_t rest[STRIPE] = {0};
    add(c, data, whole);
    int ret = ls_output_write(o, data, whole * STRIPE, err);
    if (ret || bytes % STRIPE == 0)
        return ret;
    memcpy(rest, (const uint8_t *)data + whole * STRIPE, bytes % STRIPE);
    add(c, rest, 1);
    return ls_output_write(o, rest, STRIPE, err);
}

static int write_all(const ls_output_file *o, const uint8_t *header, size_t size, const contents *c,
                     const ls_cancel *cancel, ls_error *err)
{
    checksum sum = begin_checksum();
    int ret = fchmod(o->fd, S_IRUSR | S_IWUSR) ? ls_fail_errno(err, errno, "%s", o->path)
                                               : put(o, &sum, header, size, err);
    for (piece p = {0}; !ret && next_piece(&p, c);)
        ret = ls_canceled(cancel) ? ls_fail(err, LS_ECANCELED, "canceled")
                                  : put(o, &sum, p.data, p.bytes, err);
    const lanes last = end(&sum);
    return ret ? ret : ls_output_write(o, &last, STRIPE, err);
}

int ls_packed_write(const char *path, const char *key, const ls_packed *list,
                    const ls_packed_before *before, uint64_t most, const ls_cancel *cancel,
                    ls_error *err)
{
    const contents c = {before ? ((const packed_file *)before)->weights : NULL, list};
    char made[LS_PATH_SIZE];
    size_t size, data;
    ls_output_file o;
    int ret = ls_cache_path(made, sizeof made, FOLDER "/", true, err);
    if (ret)
        return ret;
    uint8_t *header = make_header(&c, key, &size, &data);
    ret = header ? make_room(path, size + data + STRIPE, most, err)
                 : ls_fail(err, LS_ENOMEM, "out of memory for a table of packed weights");
    if (!ret)
        ret = ls_output_open(&o, path, err);
    if (!ret) {
        ret = ls_output_has_room(&o, size + data)
                  ? write_all(&o, header, size, &c, cancel, err)
                  : ls_fail(err, LS_ENOSPC, "too little is free on the disk of %s", path);
        ret = ls_output_close(&o, ret, err);
    }
    free(header);
    return ret;
}
