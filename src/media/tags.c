#include "media/tags.h"
#include "base/alloc.h"

#include <libavutil/avstring.h>
#include <libavutil/mathematics.h>
#include <libavutil/timecode.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define APPLE "com.apple.quicktime."

static bool is_one_of(const char *key, const char *const *list)
{
    while (*list && av_strcasecmp(key, *list))
        list++;
    return *list;
}

/* The demuxer of mp4 gives the same text twice, as "key" and as "key-eng". */
static bool is_repeated(const AVDictionary *tags, const AVDictionaryEntry *t)
{
    char key[64];
    const size_t n = strlen(t->key);
    if (n < 5 || n >= sizeof key || t->key[n - 4] != '-')
        return false;
    av_strlcpy(key, t->key, n - 3);
    const AVDictionaryEntry *plain = av_dict_get(tags, key, NULL, 0);
    return plain && !strcmp(plain->value, t->value);
}

static int set(AVDictionary **to, const char *key, const char *value, int flags, ls_error *err)
{
    return av_dict_set(to, key, value, flags) < 0 ? ls_fail(err, LS_ENOMEM, "out of memory") : 0;
}

static int copy_file_tags(AVDictionary **to, const AVDictionary *from, ls_error *err)
{
    static const char *const of_the_file[] = {
        "major_brand",  "minor_version", "compatible_brands", "encoder",     "duration", "timecode",
        "company_name", "product_name",  "product_version",   "product_uid", NULL};
    const AVDictionaryEntry *t = NULL;
    int ret = 0;
    while (!ret && (t = av_dict_get(from, "", t, AV_DICT_IGNORE_SUFFIX)))
        if (!is_one_of(t->key, of_the_file) && !is_repeated(from, t) &&
            !av_strstart(t->key, APPLE, NULL))
            ret = set(to, t->key, t->value, 0, err);
    while (!ret && (t = av_dict_get(from, APPLE, t, AV_DICT_IGNORE_SUFFIX))) {
        const char *key = t->key + strlen(APPLE);
        if (!strcmp(key, "location.ISO6709"))
            key = "location";
        ret = set(to, key, t->value, AV_DICT_DONT_OVERWRITE, err);
    }
    return ret;
}

static int copy_tag(AVDictionary **to, const AVDictionary *from, const char *key, ls_error *err)
{
    const AVDictionaryEntry *t = av_dict_get(from, key, NULL, 0);
    return t && strcmp(t->value, "und") ? set(to, key, t->value, 0, err) : 0;
}

int ls_tags_copy_stream(AVStream *to, const AVStream *from, ls_error *err)
{
    int ret = copy_tag(&to->metadata, from->metadata, "language", err);
    return ret ? ret : copy_tag(&to->metadata, from->metadata, "title", err);
}

/* That of the video, else of another stream, else of the file. */
static const char *find_timecode(const AVFormatContext *f, int index)
{
    const AVDictionaryEntry *t = av_dict_get(f->streams[index]->metadata, "timecode", NULL, 0);
    for (unsigned i = 0; !t && i < f->nb_streams; i++)
        t = av_dict_get(f->streams[i]->metadata, "timecode", NULL, 0);
    if (!t)
        t = av_dict_get(f->metadata, "timecode", NULL, 0);
    return t ? t->value : NULL;
}

/* Hours, minutes and seconds stay; another rate counts the frames of a second otherwise. */
static int copy_timecode(AVStream *video, const AVFormatContext *f, int index, uint64_t first,
                         ls_error *err)
{
    const char *code = find_timecode(f, index);
    const AVRational to = video->avg_frame_rate;
    const AVRational from = av_guess_frame_rate((AVFormatContext *)f, f->streams[index], NULL);
    char converted[32], moved[AV_TIMECODE_STR_SIZE];
    AVTimecode tc;
    unsigned part[4];
    if (!code || sscanf(code, "%2u:%2u:%2u%*1[:;.]%2u", part, part + 1, part + 2, part + 3) != 4 ||
        from.num <= 0 || from.den <= 0)
        return 0;
    if (av_cmp_q(from, to)) {
        snprintf(converted, sizeof converted, "%02u:%02u:%02u:%02u", part[0], part[1], part[2],
                 (unsigned)(part[3] * av_q2d(to) / ceil(av_q2d(from))));
        code = converted;
    }
    if (first && first < INT32_MAX / 2 && av_timecode_init_from_string(&tc, to, code, NULL) >= 0)
        code = av_timecode_make_string(&tc, moved, (int)first);
    return set(&video->metadata, "timecode", code, 0, err);
}

int ls_tags_copy(AVFormatContext *mux, AVStream *video, const AVFormatContext *from, int index,
                 uint64_t first, ls_error *err)
{
    const AVStream *st = from->streams[index];
    int ret = copy_file_tags(&mux->metadata, from->metadata, err);
    if (!ret)
        ret = ls_tags_copy_stream(video, st, err);
    if (!ret)
        ret = copy_tag(&video->metadata, st->metadata, "creation_time", err);
    return ret ? ret : copy_timecode(video, from, index, first, err);
}

static AVChapter *add_chapter(AVFormatContext *mux)
{
    AVChapter **list = av_realloc_array(mux->chapters, mux->nb_chapters + 1, sizeof *list);
    AVChapter *c = list ? av_mallocz(sizeof *c) : NULL;
    if (list)
        mux->chapters = list;
    if (c)
        list[mux->nb_chapters++] = c;
    return c;
}

int ls_tags_copy_chapters(AVFormatContext *mux, const AVFormatContext *from, double after,
                          double seconds, ls_error *err)
{
    const int64_t start =
        (from->start_time == AV_NOPTS_VALUE ? 0 : from->start_time) + llrint(after * AV_TIME_BASE);
    const int64_t limit = seconds < 1e12 ? (int64_t)(seconds * AV_TIME_BASE) : INT64_MAX;
    for (unsigned i = 0; i < from->nb_chapters; i++) {
        const AVChapter *c = from->chapters[i];
        int64_t begin = av_rescale_q(c->start, c->time_base, AV_TIME_BASE_Q);
        int64_t end = av_rescale_q(c->end, c->time_base, AV_TIME_BASE_Q);
        begin = FFMAX(av_sat_sub64(begin, start), 0);
        end = FFMIN(av_sat_sub64(end, start), limit);
        if (c->time_base.num <= 0 || c->time_base.den <= 0 || begin >= end)
            continue;
        AVChapter *to = add_chapter(mux);
        if (!to || av_dict_copy(&to->metadata, c->metadata, 0) < 0)
            return ls_fail(err, LS_ENOMEM, "out of memory");
        to->id = c->id;
        to->time_base = c->time_base;
        to->start = av_rescale_q(begin, AV_TIME_BASE_Q, c->time_base);
        to->end = av_rescale_q(end, AV_TIME_BASE_Q, c->time_base);
    }
    return 0;
}
