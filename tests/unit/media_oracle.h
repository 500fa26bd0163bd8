/* What the tests of media share: a folder for made files, the ffmpeg programs as the oracle, and
 * hashes of pictures. */
#ifndef LS_MEDIA_ORACLE_H
#define LS_MEDIA_ORACLE_H

#include "test.h"
#include "media/codecs.h"
#include "media/frame.h"

#include <sys/wait.h>

#define MAX_FRAMES 2000

typedef struct hashes {
    size_t count;
    uint64_t at[MAX_FRAMES];
} hashes;

static inline uint64_t hash_bytes(uint64_t h, const void *data, size_t n)
{
    const uint8_t *p = data;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        h = (h ^ v) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    while (n--)
        h = (h ^ *p++) * 0x100000001b3u;
    return h;
}

static inline size_t plane_width(const ls_picture *p, int plane)
{
    return plane ? (p->w + (1u << p->sub_x) - 1) >> p->sub_x : p->w;
}

static inline size_t plane_height(const ls_picture *p, int plane)
{
    return plane ? (p->h + (1u << p->sub_y) - 1) >> p->sub_y : p->h;
}

static inline size_t plane_bytes(const ls_picture *p, int plane)
{
    return p->data[plane] ? plane_width(p, plane) * plane_height(p, plane) * (p->depth > 8 ? 2 : 1)
                          : 0;
}

static inline size_t picture_bytes(const ls_picture *p)
{
    return plane_bytes(p, 0) + plane_bytes(p, 1) + plane_bytes(p, 2);
}

/* The picture as rawvideo has it. */
static inline void pack_picture(uint8_t *to, const ls_picture *p)
{
    for (int i = 0; i < 3 && p->data[i]; i++)
        for (size_t y = 0, row = plane_width(p, i) * (p->depth > 8 ? 2 : 1); y < plane_height(p, i);
             y++, to += row)
            memcpy(to, p->data[i] + (ptrdiff_t)y * p->stride[i], row);
}

static inline uint64_t hash_frame(const ls_frame *f)
{
    ls_picture p = ls_frame_picture(f);
    uint8_t *packed = malloc(picture_bytes(&p));
    assert_non_null(packed);
    pack_picture(packed, &p);
    uint64_t h = hash_bytes(0, packed, picture_bytes(&p));
    free(packed);
    return h;
}

/* ffmpeg's name for the pictures' format. */
static inline const char *pixel_format(char name[static 32], const ls_picture *p)
{
    static const char *const chroma[] = {"444", "422", "420"};
    char depth[16] = "";
    if (p->depth > 8)
        snprintf(depth, sizeof depth, "%ule", p->depth);
    if (p->data[1])
        snprintf(name, 32, "yuv%s%sp%s", p->depth == 8 && p->full_range ? "j" : "",
                 chroma[p->sub_x + p->sub_y], depth);
    else
        snprintf(name, 32, "gray%s", depth);
    return name;
}

/* Of the running program, for the files that it makes. */
static char folder[32];

static inline int make_folder(void **state)
{
    (void)state;
    ls_media_show_libav_messages(false);
    strcpy(folder, "/tmp/ls-media-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* Path of a file in that folder. */
static inline const char *made(char buf[static 4096], const char *name)
{
    snprintf(buf, 4096, "%s/%s", folder, name);
    return buf;
}

/* Runs a command of the shell, which must succeed. */
static inline void __attribute__((format(printf, 1, 2))) shell(const char *fmt, ...)
{
    char command[8192];
    va_list ap;
    va_start(ap, fmt);
    assert_true(vsnprintf(command, sizeof command, fmt, ap) < (int)sizeof command);
    va_end(ap);
    if (system(command))
        fail_msg("failed: %s", command);
}

/* The output of a command, all of it, NUL-terminated; to be freed. */
static inline char *__attribute__((format(printf, 2, 3)))
output_of(size_t *size, const char *fmt, ...)
{
    char command[8192], *text = NULL;
    size_t n = 0, capacity = 0, got;
    va_list ap;
    va_start(ap, fmt);
    assert_true(vsnprintf(command, sizeof command, fmt, ap) < (int)sizeof command);
    va_end(ap);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    do {
        if (capacity - n < 2) {
            capacity = capacity ? 2 * capacity : 1 << 16;
            text = realloc(text, capacity);
            assert_non_null(text);
        }
        got = fread(text + n, 1, capacity - n - 1, f);
        n += got;
    } while (got);
    int status = pclose(f);
    if (status)
        print_message("%s: status %d\n", command, status);
    text[n] = 0;
    if (size)
        *size = n;
    return text;
}

/* The pictures that a command writes as rawvideo. */
static inline void __attribute__((format(printf, 3, 4)))
hash_pipe(hashes *h, size_t frame_bytes, const char *fmt, ...)
{
    char command[8192];
    va_list ap;
    va_start(ap, fmt);
    assert_true(vsnprintf(command, sizeof command, fmt, ap) < (int)sizeof command);
    va_end(ap);
    uint8_t *frame = malloc(frame_bytes);
    FILE *f = popen(command, "r");
    assert_non_null(frame);
    assert_non_null(f);
    for (h->count = 0; fread(frame, 1, frame_bytes, f) == frame_bytes; h->count++) {
        assert_true(h->count < MAX_FRAMES);
        h->at[h->count] = hash_bytes(0, frame, frame_bytes);
    }
    pclose(f);
    free(frame);
}

#endif
