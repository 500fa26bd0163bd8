/* Faces all through videos: against ONNX Runtime's detections of the same frames (tools/rivals),
 * and against where a drawing has them. */
#include "drawn.h"

#include "face/align.h"
#include "pipeline/scout.h"

#include <math.h>

#define FRAMES_MAX 260

typedef struct faces {
    size_t frames, found, cuts;
    ls_face face[FRAMES_MAX]; /* kind LS_FACE_NONE: none, or more than one */
} faces;

static int take(void *opaque, const ls_face_record *rec, ls_error *err)
{
    faces *f = opaque;
    (void)err;
    assert_int_equal(rec->frame, f->frames);
    assert_true(f->frames < FRAMES_MAX);
    f->cuts += rec->cut;
    f->found += rec->count == 1;
    f->face[f->frames++] = rec->count == 1 ? rec->faces[0].face : (ls_face){0};
    return 0;
}

static void look(faces *f, const char *video, const char *detector)
{
    ls_error err = {0};
    ls_scout *s;
    const ls_scout_settings settings = {
        .video = video, .detector = {.path = detector}, .follow = ls_follow_default_settings()};
    const ls_scout_sink sink = {.record = take, .opaque = f};
    memset(f, 0, sizeof *f);
    if (ls_scout_open(&s, &settings, &err) || ls_scout_run(s, &sink, NULL, &err))
        fail_msg("%s", err.message);
    const ls_scout_track *tracks;
    print_message("# %s: %zu faces in %zu frames, %zu tracks\n",
                  ls_detector_describe(ls_scout_detector(s)), f->found, f->frames,
                  ls_scout_tracks(s, &tracks));
    ls_scout_close(&s);
}

static void read_reference(faces *f, const char *path)
{
    ls_error err = {0};
    ls_record_reader *r;
    ls_face_record *rec = malloc(sizeof *rec);
    memset(f, 0, sizeof *f);
    if (ls_record_reader_open(&r, path, &err))
        fail_msg("%s", err.message);
    while (ls_record_read(r, rec, &err) == 1)
        take(f, rec, &err);
    ls_record_reader_close(&r);
    free(rec);
}

/* How far the three points move from frame to frame, in widths of the face: of what is left when
 * the face as a whole has moved along. */
static double jitter(const faces *f)
{
    double sum = 0;
    for (size_t i = 1; i < f->frames; i++) {
        double p[3][2], q[3][2], mean[2] = {0, 0};
        assert_true(ls_face_three_points(&f->face[i - 1], p));
        assert_true(ls_face_three_points(&f->face[i], q));
        for (size_t k = 0; k < 6; k++)
            mean[k % 2] += (q[k / 2][k % 2] - p[k / 2][k % 2]) / 3;
        const double width = f->face[i].box[2] - f->face[i].box[0];
        for (size_t k = 0; k < 3; k++)
            sum += hypot(q[k][0] - p[k][0] - mean[0], q[k][1] - p[k][1] - mean[1]) / width;
    }
    return sum / (3.0 * (double)(f->frames - 1));
}

static double largest_difference(const faces *a, const faces *b)
{
    double most = 0;
    assert_int_equal(a->frames, b->frames);
    for (size_t i = 0; i < a->frames; i++)
        for (size_t k = 0; k < 5; k++)
            most = fmax(most, hypot(a->face[i].points[k][0] - b->face[i].points[k][0],
                                    a->face[i].points[k][1] - b->face[i].points[k][1]));
    return most;
}

static void as_onnx_runtime(const char *video, const char *reference, size_t frames)
{
    char path[4096], detector[4096];
    static faces ours, theirs;
    read_reference(&theirs, test_data(path, reference));
    test_shared(detector, "models/scrfd_2.5g_kps.onnx");
    look(&ours, test_shared(path, video), detector);
    assert_int_equal(ours.frames, frames);
    assert_int_equal(ours.found, frames);
    double a = jitter(&ours), b = jitter(&theirs);
    print_message("# largest difference of a point %.3f px; movement within the face %.6f, ONNX "
                  "Runtime's %.6f of its width\n",
                  largest_difference(&ours, &theirs), a, b);
    assert_true(largest_difference(&ours, &theirs) < 0.5);
    assert_true(a <= b * 1.001);
}

static void demo1(void **state)
{
    (void)state;
    as_onnx_runtime("media/demo1_video.mp4", "face/demo1_ort.jsonl", 250);
}

static void retalking_face_2(void **state)
{
    (void)state;
    as_onnx_runtime("media/retalking_face_2.mp4", "face/retalking2_ort.jsonl", 125);
}

/* The drawing's track has no boxes: widths are those of the found ones. */
static void a_drawn_speaker(void **state)
{
    (void)state;
    char path[4096], detector[4096];
    static faces ours, drawn;
    drawn_speaker(1);
    read_reference(&drawn, media_path(path, "speaker1/track.jsonl"));
    look(&ours, media_path(path, "speaker1/face.mp4"), test_data(detector, DRAWN_DETECTOR));
    assert_int_equal(ours.frames, DRAWN_FRAMES);
    assert_int_equal(ours.found, DRAWN_FRAMES);
    assert_int_equal(ours.cuts, 0);
    for (size_t i = 0; i < drawn.frames; i++)
        memcpy(drawn.face[i].box, ours.face[i].box, sizeof drawn.face[i].box);
    const double a = jitter(&ours), b = jitter(&drawn), off = largest_difference(&ours, &drawn);
    print_message("# largest difference of a point %.1f px; movement within the face %.6f, the "
                  "drawing's %.6f of its width\n",
                  off, a, b);
    assert_true(off < 8 && a < 0.01);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(demo1),
        cmocka_unit_test(retalking_face_2),
        cmocka_unit_test(a_drawn_speaker),
    };
    return cmocka_run_group_tests_name("face_video", tests, media_setup, media_teardown);
}
