#include "media/hls.h"
#include "base/alloc.h"
#include "base/output.h"
#include "media/container.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct ls_hls {
    ls_join_settings settings;
    ls_encoding encoding;
    ls_join *join; /* NULL until the first segment */
    uint64_t segments;
    char path[PATH_MAX]; /* of the file that is written */
    ls_output_file file; /* its path is NULL while there is none */
    FILE *list;
    char *text; /* of the list, once it is flushed */
    size_t size;
};

int ls_hls_check(const char *encoder, ls_error *err)
{
    return ls_container_check_hls(encoder, err);
}

/* Names a file of the stream, in h->path. */
static int name_file(ls_hls *h, const char *name, ls_error *err)
{
    const int n = snprintf(h->path, sizeof h->path, "%s/%s", h->settings.path, name);
    return n < PATH_MAX ? 0 : ls_fail(err, LS_EINVAL, "stream: the name of its folder is too long");
}

static int open_file(ls_hls *h, const char *name, ls_error *err)
{
    int ret = name_file(h, name, err);
    if (ret)
        return ret;
    ls_output_remove_stale(h->path);
    ret = ls_output_open(&h->file, h->path, err);
    if (ret)
        h->file.path = NULL;
    return ret;
}

static int close_file(ls_hls *h, int ret, ls_error *err)
{
    if (h->file.path)
        ret = ls_output_place(&h->file, ret, err);
    h->file.path = NULL;
    return ret;
}

static int take(void *opaque, bool is_header, const uint8_t *data, size_t size, ls_error *err)
{
    ls_hls *h = opaque;
    char name[32] = "init.mp4";
    if (!is_header)
        snprintf(name, sizeof name, "%05" PRIu64 ".m4s", h->segments);
    int ret = h->file.path ? 0 : open_file(h, name, err);
    if (!ret)
        ret = ls_output_write(&h->file, data, size, err);
    return is_header ? close_file(h, ret, err) : ret;
}

int ls_hls_open(ls_hls **out, const ls_join_settings *join, double longest, ls_error *err)
{
    ls_hls *h = *out = ls_calloc_array(1, sizeof *h);
    if (!h)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    h->settings = *join;
    h->settings.sink = (ls_join_sink){take, h};
    h->encoding = *join->encoding;
    h->settings.encoding = &h->encoding;
    h->list = open_memstream(&h->text, &h->size);
    int ret = h->list ? name_file(h, "00000.m4s", err) : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret && mkdir(join->path, 0777) && errno != EEXIST)
        ret = ls_fail_errno(err, errno, "cannot make the folder %s", join->path);
    if (ret)
        ls_hls_close(out);
    else
        fprintf(h->list,
                "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:%.0f\n"
                "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-INDEPENDENT-SEGMENTS\n"
                "#EXT-X-MAP:URI=\"init.mp4\"\n",
                fmax(1, ceil(longest - 1e-6)));
    return ret;
}

void ls_hls_close(ls_hls **ph)
{
    ls_hls *h = *ph;
    if (!h)
        return;
    close_file(h, LS_ECANCELED, NULL);
    ls_join_close(&h->join);
    if (h->list)
        fclose(h->list);
    free(h->text);
    free(h);
    *ph = NULL;
}

static int begin(ls_hls *h, const ls_segment_info *first, ls_error *err)
{
    h->settings.delay = first->delay;
    return ls_join_open(&h->join, &h->settings, err);
}

int ls_hls_add(ls_hls *h, const char *segment, const ls_segment_info *info, double seconds,
               bool is_last, const ls_cancel *cancel, ls_error *err)
{
    int ret = h->join ? 0 : begin(h, info, err);
    if (!ret)
        ret = ls_join_add(h->join, segment, info->frames, cancel, err);
    if (!ret && is_last)
        ret = ls_join_finish(h->join, err);
    ret = close_file(h, ret, err);
    if (ret)
        return ret;
    fprintf(h->list, "#EXTINF:%.6f,\n%05" PRIu64 ".m4s\n%s", seconds, h->segments++,
            is_last ? "#EXT-X-ENDLIST\n" : "");
    return 0;
}

int ls_hls_publish(ls_hls *h, ls_error *err)
{
    if (fflush(h->list) || ferror(h->list))
        return ls_fail(err, LS_ENOMEM, "out of memory");
    if (!h->segments) {
        int ret = name_file(h, "stream.m3u8", err);
        return !ret && unlink(h->path) && errno != ENOENT
                   ? ls_fail_errno(err, errno, "cannot remove %s", h->path)
                   : ret;
    }
    int ret = open_file(h, "stream.m3u8", err);
    if (!ret)
        ret = ls_output_write(&h->file, h->text, h->size, err);
    return close_file(h, ret, err);
}
