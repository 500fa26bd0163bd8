/* The decoded timeline against the pictures that the ffmpeg program gives for the same file. */
#include "media_oracle.h"

#include "media/codecs.h"
#include "media/video.h"

typedef struct clip {
    const char *name;  /* below the shared folder */
    const char *input; /* options for ffmpeg before -i */
} clip;

/* All pictures of the timeline; returns the format of the first. */
static ls_picture hash_video(hashes *h, const char *path, bool source_fps)
{
    ls_error err = {0};
    ls_video *v;
    ls_frame *f;
    ls_picture first = {0};
    if (ls_video_open(&v, path, &(ls_video_settings){.source_fps = source_fps}, &err))
        fail_msg("%s", err.message);
    int ret;
    for (h->count = 0; !(ret = ls_video_next(v, &f, &err)); h->count++) {
        assert_true(h->count < MAX_FRAMES);
        assert_int_equal(ls_video_position(v), h->count + 1);
        ls_picture p = ls_frame_picture(f);
        if (!h->count)
            first = p;
        assert_int_equal(p.width, ls_video_get_info(v)->width);
        assert_int_equal(p.height, ls_video_get_info(v)->height);
        h->at[h->count] = hash_frame(f);
        ls_frame_unref(&f);
    }
    if (ret != LS_EOF)
        fail_msg("%s", err.message);
    assert_int_equal(ls_video_next(v, &f, &err), LS_EOF);
    ls_video_close(&v);
    assert_null(v);
    memset(first.data, 0, sizeof first.data);
    return first;
}

static void same_pictures(const hashes *ours, const hashes *theirs, const char *name)
{
    size_t n = ours->count < theirs->count ? ours->count : theirs->count, bad = 0, where = n;
    for (size_t i = n; i--;)
        if (ours->at[i] != theirs->at[i]) {
            bad++;
            where = i;
        }
    if (ours->count != theirs->count || bad)
        fail_msg("%s: %zu frames, ffmpeg gives %zu; %zu differ, the first is %zu", name,
                 ours->count, theirs->count, bad, where);
}
