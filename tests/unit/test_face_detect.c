/* Finding faces against OpenCV (tests/data/face/make_goldens.py), against ONNX Runtime's and
 * InsightFace's faces, against drawings, and against PyTorch for the network of 106 landmarks. */
#include "golden.h"
#include "drawn.h"

#include "backend/device.h"
#include "base/alloc.h"
#include "face/detect.h"
#include "face/detector.h"
#include "face/follow.h"
#include "face/record.h"

#include <math.h>

#define MAX_FACES 16
#define MARKS "2d106_formula.onnx"

/* The formula of make_goldens.py. */
static ls_rgb formula_picture(size_t w, size_t h)
{
    uint8_t *data = malloc(w * h * 3);
    for (size_t i = 0; i < w * h * 3; i++) {
        size_t c = i % 3, x = i / 3 % w, y = i / 3 / w;
        data[i] = (uint8_t)(3 * x + 5 * y + 40 * c +
                            ((7 * x * x + 13 * y * y + 11 * x * y + 17 * c) >> 3));
    }
    return (ls_rgb){data, (ptrdiff_t)(3 * w), w, h};
}

/* The same picture with its rows stored upwards, and bytes between them. */
static ls_rgb upside_down(const ls_rgb *p)
{
    const size_t stride = 3 * p->w + 5;
    uint8_t *data = malloc(p->h * stride);
    for (size_t y = 0; y < p->h; y++)
        memcpy(data + (p->h - 1 - y) * stride, p->data + (ptrdiff_t)y * p->stride, 3 * p->w);
    return (ls_rgb){data + (p->h - 1) * stride, -(ptrdiff_t)stride, p->w, p->h};
}

static void free_upside_down(const ls_rgb *p)
{
    free(p->data + (ptrdiff_t)(p->h - 1) * p->stride);
}

/* Letterbox */

static void letterbox_is_opencvs_at_every_value(void **state)
{
    (void)state;
    golden *g = golden_open("face/detect.safetensors");
    size_t count;
    const int64_t *sizes = golden_i64(g, "letterbox.sizes", &count);
    const double *scales = golden_f64(g, "letterbox.scales", NULL);
    assert_int_equal(count % 4, 0);
    for (size_t k = 0; k < count / 4; k++) {
        const size_t w = (size_t)sizes[4 * k + 2], h = (size_t)sizes[4 * k + 3];
        const ls_rgb p = formula_picture((size_t)sizes[4 * k], (size_t)sizes[4 * k + 1]);
        const ls_rgb up = upside_down(&p);
        ls_letterbox *l;
        char key[32];
        size_t n, different = 0;
        double worst = 0;
        ls_fit fit;
        snprintf(key, sizeof key, "letterbox.%zu", k);
        const uint8_t *want = golden_u8(g, key, &n);
        float *dst = malloc(n * sizeof *dst), *again = malloc(n * sizeof *again);
        assert_int_equal(n, w * h * 3);
        assert_int_equal(ls_letterbox_open(&l, w, h, NULL), 0);
        assert_int_equal(ls_letterbox_run(l, &p, false, (ls_levels){0, 1}, dst, &fit, NULL), 0);
        assert_true(fit.scale == scales[k] && !fit.x && !fit.y);
        for (size_t i = 0; i < n; i++) {
            double d = fabs((double)dst[i / 3 * 3 + 2 - i % 3] - want[i]);
            different += d > 0;
            worst = fmax(worst, d);
        }
        if (different)
            fail_msg("%zu x %zu to %zu x %zu: %zu of %zu values differ, by up to %g", p.w, p.h, w,
                     h, different, n, worst);
        const ls_levels levels = {127.5f, 1 / 128.f};
        assert_int_equal(ls_letterbox_run(l, &up, false, levels, again, &fit, NULL), 0);
        for (size_t i = 0; i < n; i++)
            assert_true(again[i] == (dst[i] - 127.5f) / 128);
        ls_letterbox_close(&l);
        assert_null(l);
        free(dst);
        free(again);
        free(p.data);
        free_upside_down(&up);
    }
    golden_close(g);
}

/* In the middle, surrounded by black, is what a network of half the size would see. */
static void a_border_halves_the_picture(void **state)
{
    (void)state;
    const size_t sizes[][4] = {
        {300, 300, 64, 64}, {50, 37, 96, 64}, {33, 200, 64, 96}, {7, 5, 32, 32}};
    const ls_levels levels = {127.5f, 1 / 128.f};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const size_t w = sizes[k][2], h = sizes[k][3];
        const ls_rgb p = formula_picture(sizes[k][0], sizes[k][1]);
        float *whole = malloc(w * h * 3 * sizeof *whole),
              *half = malloc(w * h * 3 / 4 * sizeof *half);
        ls_letterbox *a, *b;
        ls_fit fit, small;
        assert_int_equal(ls_letterbox_open(&a, w, h, NULL), 0);
        assert_int_equal(ls_letterbox_open(&b, w / 2, h / 2, NULL), 0);
        assert_int_equal(ls_letterbox_run(a, &p, true, levels, whole, &fit, NULL), 0);
        assert_int_equal(ls_letterbox_run(b, &p, false, levels, half, &small, NULL), 0);
        assert_true(fit.scale == small.scale);
        const bool tall = p.h * w > h * p.w;
        const size_t tw = tall ? h / 2 * p.w / p.h : w / 2, th = tall ? h / 2 : w / 2 * p.h / p.w;
        assert_true(labs((long)(w - tw) - 2 * (long)fit.x) <= 1);
        assert_true(labs((long)(h - th) - 2 * (long)fit.y) <= 1);
        for (size_t i = 0; i < w * h * 3; i++) {
            const size_t x = i / 3 % w, y = i / 3 / w;
            const bool inside = x >= fit.x && x < fit.x + tw && y >= fit.y && y < fit.y + th;
            assert_true(whole[i] == (inside ? half[((y - fit.y) * (w / 2) + x - fit.x) * 3 + i % 3]
                                            : -127.5f / 128));
        }
        ls_letterbox_close(&a);
        ls_letterbox_close(&b);
        free(whole);
        free(half);
        free(p.data);
    }
}

static void letterbox_refuses_pictures_of_no_use(void **state)
{
    (void)state;
    ls_letterbox *l;
    ls_error err = {0};
    float dst[8 * 8 * 3];
    ls_fit fit;
    assert_int_equal(ls_letterbox_open(&l, 8, 8, &err), 0);
    const size_t sizes[][2] = {{0, 4}, {4, 0}, {40000, 4}, {4, 40000}};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(ls_letterbox_run(l, &(ls_rgb){.w = sizes[i][0], .h = sizes[i][1]}, false,
                                          (ls_levels){0, 1}, dst, &fit, &err),
                         LS_EINVAL);
    ls_letterbox_close(&l);
    ls_letterbox_close(&l);
}

/* Landmarks */

static void crops_are_opencvs(void **state)
{
    (void)state;
    golden *g = golden_open("face/detect.safetensors");
    size_t count, n, equal = 0, all = 0;
    double worst = 0;
    const double(*boxes)[4] = (const double(*)[4])golden_f64(g, "crop.boxes", &count);
    const double(*squares)[3] = (const double(*)[3])golden_f64(g, "crop.squares", NULL);
    const ls_rgb p = formula_picture(320, 240), up = upside_down(&p);
    float *dst = malloc(sizeof(float) * 192 * 192 * 3),
          *again = malloc(sizeof(float) * 192 * 192 * 3);
    for (size_t k = 0; k < count / 4; k++) {
        ls_square s;
        char key[32];
        snprintf(key, sizeof key, "crop.%zu", k);
        const uint8_t *want = golden_u8(g, key, &n);
        assert_int_equal(n, 96 * 192);
        assert_true(ls_landmarks_square(boxes[k], &s));
        assert_true(fabs(s.scale - squares[k][0]) < 1e-12 && fabs(s.x - squares[k][1]) < 1e-9 &&
                    fabs(s.y - squares[k][2]) < 1e-9);
        ls_landmarks_crop(&p, &s, dst);
        ls_landmarks_crop(&up, &s, again);
        assert_memory_equal(dst, again, sizeof(float) * 192 * 192 * 3);
        for (size_t i = 0; i < n; i++) {
            const size_t u = i % 192, v = i / 192 * 2;
            double d = fabs((double)dst[(v * 192 + u) * 3 + 2 - u % 3] - want[i]);
            equal += d == 0;
            worst = fmax(worst, d);
        }
        all += n;
    }
    print_message("# %zu of %zu values are equal, the largest difference is %g\n", equal, all,
                  worst);
    assert_int_equal(equal, all);
    free(dst);
    free(again);
    free(p.data);
    free_upside_down(&up);
    golden_close(g);
}

static void empty_and_endless_boxes_have_no_square(void **state)
{
    (void)state;
    const double boxes[][4] = {{10, 10, 10, 20},
                               {10, 10, 20, 10},
                               {20, 10, 10, 20},
                               {NAN, 10, 20, 20},
                               {10, NAN, 20, 20},
                               {10, 10, NAN, 20},
                               {10, 10, 20, NAN},
                               {-INFINITY, 0, 20, 20},
                               {0, 0, INFINITY, 20},
                               {0, -1e300, 1, 1e300},
                               {1e9, 1e9, 1e9 + 5, 1e9 + 5}};
    ls_square s;
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++)
        assert_false(ls_landmarks_square(boxes[i], &s));
}

static void points_go_back_into_the_picture(void **state)
{
    (void)state;
    ls_square s;
    ls_face f = {0};
    float points[212];
    assert_true(ls_landmarks_square((double[]){100, 200, 228, 264}, &s)); /* 192 x 192 */
    for (size_t i = 0; i < 106; i++) {
        points[2 * i] = (float)i / 64 - 1;
        points[2 * i + 1] = 1 - (float)i / 64;
    }
    assert_true(ls_landmarks_decode(points, &s, &f));
    assert_int_equal(f.kind, LS_FACE_LANDMARKS106);
    for (size_t i = 0; i < 106; i++) {
        assert_true(fabs(f.points[i][0] - (68 + 1.5 * (double)i)) < 1e-9);
        assert_true(fabs(f.points[i][1] - (328 - 1.5 * (double)i)) < 1e-9);
    }
    points[211] = NAN;
    assert_false(ls_landmarks_decode(points, &s, &f));
    points[211] = 0;
    points[0] = -INFINITY;
    assert_false(ls_landmarks_decode(points, &s, &f));
}

/* Detectors */

/* media_run and media_pipe work in another folder. */
static const char *absolute(char buf[static 4096], const char *path)
{
    char *full = realpath(path, NULL);
    if (!full)
        fail_msg("%s is missing", path);
    snprintf(buf, 4096, "%s", full);
    free(full);
    return buf;
}

static int setup(void **state)
{
    char path[4096], full[4096];
    if (media_setup(state))
        return -1;
    media_run("gzip -dc '%s' >" MARKS, absolute(full, test_data(path, "face/" MARKS ".gz")));
    return 0;
}

/* The first picture of what ffmpeg makes of its arguments, a square. */
static ls_rgb read_picture(size_t side, const char *order, const char *arguments)
{
    ls_rgb p = {malloc(side * side * 3), (ptrdiff_t)side * 3, side, side};
    FILE *f =
        media_pipe("ffmpeg -v error %s -frames:v 1 -f rawvideo -pix_fmt %s -", arguments, order);
    assert_int_equal(fread(p.data, 1, side * side * 3, f), side * side * 3);
    assert_int_equal(pclose(f), 0);
    return p;
}

/* The picture of the shared goldens, 640 x 640. */
static ls_rgb golden_picture(const char *order)
{
    char path[4096], full[4096], arguments[5000];
    test_shared(path, "golden/onnx/t1_letterbox_640_bgr.png");
    snprintf(arguments, sizeof arguments, "-i '%s'", absolute(full, path));
    return read_picture(640, order, arguments);
}

/* Speakers 1 to 4, two in a row. */
static ls_rgb drawn_picture(void)
{
    for (unsigned i = 1; i <= 4; i++)
        drawn_speaker(i);
    return read_picture(2 * (size_t)DRAWN_SIDE, "rgb24",
                        "-i speaker1/face.mp4 -i speaker2/face.mp4 -i speaker3/face.mp4 "
                        "-i speaker4/face.mp4 -filter_complex xstack=grid=2x2");
}

static ls_detector *open_file(const char *path, ls_dtype dtype)
{
    ls_error err = {0};
    ls_detector *d;
    if (ls_detector_open(&d, &(ls_detector_settings){.path = path, .dtype = dtype}, &err))
        fail_msg("%s", err.message);
    return d;
}

static ls_detector *open_detector(const char *name, ls_dtype dtype)
{
    char path[4096];
    return open_file(test_shared(path, name), dtype);
}

static ls_detector *open_drawn(ls_dtype dtype)
{
    char path[4096];
    return open_file(test_data(path, DRAWN_DETECTOR), dtype);
}

static size_t find(ls_detector *d, const ls_rgb *p, ls_face faces[MAX_FACES])
{
    ls_error err = {0};
    size_t count;
    if (ls_detector_run(d, p, false, faces, MAX_FACES, &count, NULL, &err))
        fail_msg("%s", err.message);
    return count;
}

/* Without what no job would use: the drawings of other versions of cairo and x264 have other
 * specks. */
static size_t find_usable(ls_detector *d, const ls_rgb *p, ls_face faces[MAX_FACES])
{
    const size_t count = find(d, p, faces);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (ls_face_eligible(&faces[i], 80))
            faces[kept++] = faces[i];
    return kept;
}

static json_t *shared_json(const char *name)
{
    char path[4096];
    json_t *j = json_load_file(test_shared(path, name), 0, NULL);
    assert_non_null(j);
    return j;
}

static double number(const json_t *array, size_t i)
{
    return json_number_value(json_array_get(array, i));
}

/* Faces that another program found, in a picture `zoom` times as large. */
static void expect_faces(const char *what, const ls_face *faces, size_t count, const json_t *want,
                         double zoom)
{
    const json_t *det = json_object_get(want, "det"), *kps = json_object_get(want, "kps");
    double worst = 0, score = 0;
    assert_true(json_array_size(det) >= 5);
    assert_int_equal(count, json_array_size(det));
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(det, i), *points = json_array_get(kps, i);
        assert_int_equal(faces[i].kind, LS_FACE_POINTS5);
        for (size_t k = 0; k < 4; k++)
            worst = fmax(worst, fabs(zoom * faces[i].box[k] - number(row, k)));
        for (size_t k = 0; k < 10; k++)
            worst = fmax(worst, fabs(zoom * faces[i].points[k / 2][k % 2] -
                                     number(json_array_get(points, k / 2), k % 2)));
        score = fmax(score, fabs(faces[i].score - number(row, 4)));
    }
    print_message("# %s: %zu faces, within %.2g pixels, scores within %.2g\n", what, count, worst,
                  score);
    assert_true(worst < 0.05 && score < 1e-3);
}

static void compare_scrfd(const char *file, const char *key)
{
    char name[128];
    snprintf(name, sizeof name, "models/%s.onnx", file);
    ls_detector *d = open_detector(name, LS_F32);
    json_t *want = shared_json("golden/onnx/t1_scrfd_small_detections.json");
    /* there the network saw R, G, B */
    const ls_rgb p = golden_picture("bgr24");
    ls_face faces[MAX_FACES];
    size_t count = find(d, &p, faces);
    expect_faces(file, faces, count, json_object_get(want, key), 2);
    assert_int_equal(find(d, &p, faces), count);
    expect_faces(file, faces, count, json_object_get(want, key), 2);
    free(p.data);
    json_decref(want);
    ls_detector_close(&d);
    assert_null(d);
}

static void scrfd_2_5g_finds_onnx_runtimes_faces(void **state)
{
    (void)state;
    compare_scrfd("scrfd_2.5g_kps", "scrfd_2.5g_kps");
}

static void scrfd_500m_finds_onnx_runtimes_faces(void **state)
{
    (void)state;
    compare_scrfd("scrfd_500m_kps", "scrfd_500m_kps");
}

/* The same network in a file without an open dimension. */
static void scrfd_static_finds_onnx_runtimes_faces(void **state)
{
    (void)state;
    compare_scrfd("cospectrum_scrfd_2.5g_static", "scrfd_2.5g_kps");
}

static double overlap(const double a[4], const double b[4])
{
    double w = fmin(a[2], b[2]) - fmax(a[0], b[0]), h = fmin(a[3], b[3]) - fmax(a[1], b[1]);
    double both = fmax(w, 0) * fmax(h, 0);
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both);
}

static void scrfd_agrees_with_insightfaces_larger_one(void **state)
{
    (void)state;
    ls_detector *d = open_detector("models/scrfd_2.5g_kps.onnx", LS_F32);
    json_t *want = shared_json("models/t1_det10g_insightface.json");
    const json_t *det = json_object_get(want, "det"), *kps = json_object_get(want, "kps");
    const ls_rgb p = golden_picture("rgb24");
    ls_face faces[MAX_FACES];
    size_t count = find(d, &p, faces);
    double least = 1, furthest = 0;
    assert_int_equal(count, json_array_size(det));
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(det, i);
        double box[4], best = 0;
        size_t which = 0;
        for (size_t k = 0; k < 4; k++)
            box[k] = number(row, k) / 2;
        for (size_t k = 0; k < count; k++) {
            double o = overlap(faces[k].box, box);
            which = o > best ? k : which;
            best = fmax(best, o);
        }
        least = fmin(least, best);
        for (size_t k = 0; k < 5; k++) {
            const json_t *point = json_array_get(json_array_get(kps, i), k);
            double dx = faces[which].points[k][0] - number(point, 0) / 2;
            double dy = faces[which].points[k][1] - number(point, 1) / 2;
            furthest = fmax(furthest, hypot(dx, dy) / (box[2] - box[0]));
        }
    }
    print_message("# least overlap with det_10g's boxes: %.3f; points within %.3f of their width\n",
                  least, furthest);
    assert_true(least >= 0.9);
    assert_true(furthest < 0.1);
    free(p.data);
    json_decref(want);
    ls_detector_close(&d);
}

/* Closes both. */
static void expect_same_in_bfloat16(ls_detector *d, ls_detector *half, const ls_rgb *p,
                                    size_t faces,
                                    size_t (*search)(ls_detector *d, const ls_rgb *p, ls_face *f))
{
    ls_face want[MAX_FACES], have[MAX_FACES];
    size_t count = search(d, p, want);
    double worst = 0;
    assert_int_equal(count, faces);
    assert_int_equal(search(half, p, have), count);
    for (size_t i = 0; i < count; i++) {
        size_t k = 0; /* faces of like scores change places */
        while (k < count && overlap(have[i].box, want[k].box) < 0.8)
            k++;
        assert_true(k < count);
        for (size_t j = 0; j < 5; j++)
            worst = fmax(worst, hypot(have[i].points[j][0] - want[k].points[j][0],
                                      have[i].points[j][1] - want[k].points[j][1]));
    }
    print_message("# %s: points in bfloat16 are within %.2f pixels\n", ls_detector_describe(d),
                  worst);
    assert_true(worst > 0);
    ls_detector_close(&d);
    ls_detector_close(&half);
}

static void need_bfloat16(void)
{
    if (!ls_device_cpu_computes(LS_BF16)) {
        print_message("this CPU has no bfloat16\n");
        skip();
    }
}

static void bfloat16_finds_the_same_faces(void **state)
{
    (void)state;
    need_bfloat16();
    const char *const names[] = {"models/scrfd_2.5g_kps.onnx", "models/scrfd_500m_kps.onnx",
                                 "models/yunet_n_640_640.onnx"};
    const ls_rgb p = golden_picture("rgb24");
    for (size_t n = 0; n < 3; n++)
        expect_same_in_bfloat16(open_detector(names[n], LS_F32), open_detector(names[n], LS_BF16),
                                &p, 6, find);
    free(p.data);
}

/* The built-in detector */

/* Where the drawing has the points in the first frame. */
static void read_points(double points[5][2], unsigned number)
{
    char path[4096], name[64];
    ls_error err = {0};
    ls_record_reader *r;
    ls_face_record *rec = malloc(sizeof *rec);
    snprintf(name, sizeof name, "speaker%u/track.jsonl", number);
    if (ls_record_reader_open(&r, media_path(path, name), &err) ||
        ls_record_read(r, rec, &err) != 1)
        fail_msg("%s", err.message);
    assert_int_equal(rec->faces[0].face.kind, LS_FACE_POINTS5);
    memcpy(points, rec->faces[0].face.points, 5 * sizeof *points);
    ls_record_reader_close(&r);
    free(rec);
}

static void drawn_faces_are_found_where_they_were_drawn(void **state)
{
    (void)state;
    const ls_rgb p = drawn_picture(), up = upside_down(&p);
    ls_detector *d = open_drawn(LS_F32);
    ls_face faces[MAX_FACES], again[MAX_FACES];
    double worst = 0;
    assert_int_equal(find_usable(d, &p, faces), 4);
    for (unsigned i = 0; i < 4; i++) {
        double points[5][2], nearest = INFINITY;
        read_points(points, i + 1);
        for (size_t k = 0; k < 4; k++) {
            double off = 0;
            assert_true(faces[k].score >= 0.5 && (!k || faces[k].score <= faces[k - 1].score));
            for (size_t j = 0; j < 5; j++)
                off = fmax(off, hypot(points[j][0] + i % 2 * DRAWN_SIDE - faces[k].points[j][0],
                                      points[j][1] + i / 2 * DRAWN_SIDE - faces[k].points[j][1]));
            nearest = fmin(nearest, off);
        }
        worst = fmax(worst, nearest);
    }
    print_message("# points within %.1f pixels of faces some 75 wide\n", worst);
    assert_true(worst < 8);
    assert_int_equal(find_usable(d, &up, again), 4); /* however the rows are stored */
    assert_memory_equal(faces, again, sizeof *faces);
    ls_detector_close(&d);
    free_upside_down(&up);
    free(p.data);
}

static void bfloat16_finds_the_same_drawn_faces(void **state)
{
    (void)state;
    need_bfloat16();
    const ls_rgb p = drawn_picture();
    expect_same_in_bfloat16(open_drawn(LS_F32), open_drawn(LS_BF16), &p, 4, find_usable);
    free(p.data);
}

static void yunet_finds_the_faces_of_opencvs_dnn(void **state)
{
    (void)state;
    golden *g = golden_open("face/detect.safetensors");
    size_t n;
    const double(*want)[15] = (const double(*)[15])golden_f64(g, "yunet.faces", &n);
    ls_detector *d = open_detector("models/yunet_n_640_640.onnx", LS_F32);
    const ls_rgb p = golden_picture("rgb24");
    ls_face faces[MAX_FACES];
    size_t count = find(d, &p, faces);
    double worst = 0, score = 0;
    assert_int_equal(count, n / 15);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < 4; k++)
            worst = fmax(worst, fabs(faces[i].box[k] - want[i][k]));
        for (size_t k = 0; k < 10; k++)
            worst = fmax(worst, fabs(faces[i].points[k / 2][k % 2] - want[i][5 + k]));
        score = fmax(score, fabs(faces[i].score - want[i][4]));
    }
    print_message("# YuNet: %zu faces, within %.2g pixels, scores within %.2g\n", count, worst,
                  score);
    assert_true(worst < 0.05 && score < 1e-3);
    free(p.data);
    ls_detector_close(&d);
    golden_close(g);
}

/* 2d106det */

static void landmarks_are_pytorchs(void **state)
{
    (void)state;
    char path[4096];
    ls_error err = {0};
    ls_face_net *net;
    size_t w, h, n;
    double worst = 0, norm = 0;
    golden *g = golden_open("face/2d106.safetensors");
    const double *want = golden_f64(g, "fc1", &n);
    assert_int_equal(n, 212);
    if (ls_face_net_open(&net, media_path(path, MARKS), LS_F32, 0, &err))
        fail_msg("%s", err.message);
    assert_int_equal(ls_face_net_get_kind(net), LS_FACE_NET_LANDMARKS106);
    ls_face_net_size(net, &w, &h);
    assert_true(w == 192 && h == 192);
    const ls_rgb p = formula_picture(192, 192);
    for (size_t i = 0; i < w * h * 3; i++)
        ls_face_net_input(net)[i / 3 * 3 + 2 - i % 3] = p.data[i];
    if (ls_face_net_run(net, NULL, &err))
        fail_msg("%s", err.message);
    const float *have = ls_face_net_landmarks(net);
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)have[i] - want[i]));
        norm = fmax(norm, fabs(want[i]));
    }
    print_message("# 2d106: largest difference %.2g of %.2g\n", worst, norm);
    assert_true(norm > 0.1 && worst < 1e-4 * norm);
    free(p.data);
    ls_face_net_close(&net);
    golden_close(g);
}

/* A folder of face networks in the temporary folder. */
static void link_model(const char *models, const char *from, const char *name)
{
    char full[4096];
    media_run("mkdir -p %s/face && ln -sf '%s' %s/face/%s", models, absolute(full, from), models,
              name);
}

static int open_models(ls_detector **d, const char *models, ls_error *err)
{
    char path[4096];
    return ls_detector_open(d, &(ls_detector_settings){.models = media_path(path, models)}, err);
}

static void faces_come_with_106_points(void **state)
{
    (void)state;
    char drawn[4096], marks[4096];
    ls_error err = {0};
    ls_detector *d;
    ls_face faces[MAX_FACES], five[MAX_FACES];
    const ls_rgb p = drawn_picture();
    link_model("marks", test_data(drawn, DRAWN_DETECTOR), "det_500m.onnx");
    link_model("marks", media_path(marks, MARKS), "2d106det.onnx");
    if (open_models(&d, "marks", &err))
        fail_msg("%s", err.message);
    assert_non_null(strstr(ls_detector_describe(d), "det_500m.onnx"));
    assert_non_null(strstr(ls_detector_describe(d), "2d106det.onnx"));
    size_t count = find_usable(d, &p, faces);
    ls_detector_close(&d);
    d = open_drawn(LS_F32);
    assert_int_equal(count, 4);
    assert_int_equal(find_usable(d, &p, five), count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(faces[i].kind, LS_FACE_LANDMARKS106);
        assert_memory_equal(faces[i].box, five[i].box, sizeof faces[i].box);
        for (size_t k = 0; k < 106; k++)
            assert_true(isfinite(faces[i].points[k][0]) && isfinite(faces[i].points[k][1]));
        assert_true(faces[i].points[0][0] != faces[i].points[1][0]);
    }
    free(p.data);
    ls_detector_close(&d);
}

/* Which file is taken */

static void expect_detector(const char *models, const char *start)
{
    ls_error err = {0};
    ls_detector *d;
    if (open_models(&d, models, &err))
        fail_msg("%s: %s", models, err.message);
    if (strncmp(ls_detector_describe(d), start, strlen(start)))
        fail_msg("%s, not %s", ls_detector_describe(d), start);
    ls_detector_close(&d);
}

static void expect_refusal(const char *models, int code, const char *word)
{
    char dir[4096];
    ls_error err = {0};
    ls_detector *d;
    int ret = open_models(&d, models, &err);
    print_message("# %s\n", err.message);
    assert_int_equal(ret, code);
    assert_null(d);
    if (!strstr(err.message, media_path(dir, models)) || !strstr(err.message, word))
        fail_msg("%s: no word of %s or %s", err.message, dir, word);
}

static void the_best_file_is_taken(void **state)
{
    (void)state;
    char drawn[4096], marks[4096];
    test_data(drawn, DRAWN_DETECTOR);
    media_path(marks, MARKS);
    link_model("best", drawn, "aaa.onnx");
    expect_detector("best", "aaa.onnx, five points");
    link_model("best", drawn, "scrfd_2.5g.onnx");
    media_run("echo junk >best/face/junk.onnx; echo text >best/face/det_10g.txt");
    expect_detector("best", "scrfd_2.5g.onnx, five points");
    link_model("best", drawn, "det_500m.onnx");
    expect_detector("best", "det_500m.onnx, five points");
    link_model("best", marks, "2d106det.onnx");
    expect_detector("best", "det_500m.onnx, 106 landmarks");
    link_model("best", drawn, "det_10g.onnx");
    expect_detector("best", "det_10g.onnx, 106 landmarks");
    /* a network of another kind is passed over, whatever it is called */
    link_model("best", marks, "det_10g.onnx");
    expect_detector("best", "det_500m.onnx, 106 landmarks");
    /* but a damaged one does not go unnoticed */
    media_run("rm best/face/det_10g.onnx; echo junk >best/face/det_10g.onnx");
    expect_refusal("best", LS_EFORMAT, "det_10g.onnx");
}

static void folders_without_a_detector_are_named(void **state)
{
    (void)state;
    char marks[4096];
    media_path(marks, MARKS);
    expect_refusal("missing", LS_ENOENT, "; add ");
    media_run("mkdir -p empty/face junk/face");
    expect_refusal("empty", LS_ENOENT, "; add ");
    link_model("only_marks", marks, "2d106det.onnx");
    expect_refusal("only_marks", LS_ENOENT, "; add ");
    link_model("others", marks, "w600k_r50.onnx");
    expect_refusal("others", LS_ENOENT, "; add ");
    media_run("echo junk >junk/face/junk.onnx");
    expect_refusal("junk", LS_EFORMAT, "junk.onnx");
    ls_error err = {0};
    ls_detector *d;
    assert_int_equal(ls_detector_open(&d, &(ls_detector_settings){.path = marks}, &err),
                     LS_EUNSUPPORTED);
    assert_null(d);
    assert_non_null(strstr(err.message, marks));
    ls_detector_close(&d);
}

/* A detector without points, or a file in place of 2d106det that is something else. */
static void landmarks_of_another_kind_are_refused(void **state)
{
    (void)state;
    char drawn[4096];
    test_data(drawn, DRAWN_DETECTOR);
    link_model("wrong", drawn, "det_500m.onnx");
    link_model("wrong", drawn, "2d106det.onnx");
    expect_refusal("wrong", LS_EUNSUPPORTED, "2d106det.onnx");
    media_run("rm wrong/face/2d106det.onnx; echo junk >wrong/face/2d106det.onnx");
    expect_refusal("wrong", LS_EFORMAT, "2d106det.onnx");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letterbox_is_opencvs_at_every_value),
        cmocka_unit_test(a_border_halves_the_picture),
        cmocka_unit_test(letterbox_refuses_pictures_of_no_use),
        cmocka_unit_test(crops_are_opencvs),
        cmocka_unit_test(empty_and_endless_boxes_have_no_square),
        cmocka_unit_test(points_go_back_into_the_picture),
        cmocka_unit_test(scrfd_2_5g_finds_onnx_runtimes_faces),
        cmocka_unit_test(scrfd_500m_finds_onnx_runtimes_faces),
        cmocka_unit_test(scrfd_static_finds_onnx_runtimes_faces),
        cmocka_unit_test(scrfd_agrees_with_insightfaces_larger_one),
        cmocka_unit_test(bfloat16_finds_the_same_faces),
        cmocka_unit_test(drawn_faces_are_found_where_they_were_drawn),
        cmocka_unit_test(bfloat16_finds_the_same_drawn_faces),
        cmocka_unit_test(yunet_finds_the_faces_of_opencvs_dnn),
        cmocka_unit_test(landmarks_are_pytorchs),
        cmocka_unit_test(faces_come_with_106_points),
        cmocka_unit_test(the_best_file_is_taken),
        cmocka_unit_test(folders_without_a_detector_are_named),
        cmocka_unit_test(landmarks_of_another_kind_are_refused),
    };
    return cmocka_run_group_tests_name("face_detect", tests, setup, media_teardown);
}
