/* The library as others use it: the public headers and the shared library alone. */
#include "test.h"

#include "latentsync/latentsync.h"

#include <dirent.h>
#include <pthread.h>

static char dir[64] = "/tmp/ls-api-XXXXXX";
static char models[4096];

__attribute__((format(printf, 1, 2))) static void shell(const char *fmt, ...)
{
    char command[4096];
    int n = snprintf(command, sizeof command, "cd '%s' && ", dir);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command + n, sizeof command - (size_t)n, fmt, ap);
    va_end(ap);
    if (system(command))
        fail_msg("failed: %s", command);
}

/* A video, a face track of its first second, and speech. */
static int set_up(void **state)
{
    char track[128], built_in[4096];
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    ls_codec_messages(0);
    snprintf(models, sizeof models, "%s", test_data(built_in, "../../models/mini"));
    shell("ffmpeg -v error -f lavfi -i testsrc2=size=160x120:rate=25:duration=1 "
          "-pix_fmt yuv420p -c:v ffv1 video.mkv");
    shell("ffmpeg -v error -f lavfi -i sine=300:duration=0.6 -ar 16000 speech.wav");
    snprintf(track, sizeof track, "%s/track.jsonl", dir);
    FILE *f = fopen(track, "w");
    for (int i = 0; f && i < 25; i++)
        fprintf(
            f, "{\"frame\": %d, \"points5\": [[63, 41], [95, 41], [79, 52], [68, 74], [93, 74]]}\n",
            i);
    return f ? fclose(f) : -1;
}

static int tear_down(void **state)
{
    (void)state;
    shell("rm -rf '%s'", dir);
    return 0;
}

/* Strings live as long as 64 calls do not follow. */
static const char *path_of(const char *name)
{
    static char paths[64][4096];
    static size_t next;
    char *path = paths[next++ % 64];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static ls_sync_settings job_settings(const char *output)
{
    ls_sync_settings s;
    ls_sync_default_settings(&s, sizeof s);
    s.models = models;
    s.video = path_of("video.mkv");
    s.audio = path_of("speech.wav");
    s.face_track = path_of("track.jsonl");
    s.output = path_of(output);
    s.resolution = 64;
    s.steps = 1;
    s.guidance_scale = 1;
    s.preset = "ultrafast";
    s.threads = 1;
    return s;
}

/* Names in the folder, for comparison. */
static size_t count_files(void)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void run(const ls_sync_settings *s)
{
    ls_sync *job;
    ls_error err = {0};
    if (ls_sync_open(&job, s, &err) || ls_sync_run(job, &err))
        fail_msg("%s", err.message);
    const ls_sync_summary *sum = ls_sync_get_summary(job);
    assert_non_null(sum);
    assert_string_equal(sum->output, s->output);
    assert_int_equal(sum->frames, 15); // 0.6 s
    assert_int_equal(sum->frames_with_face, 15);
    assert_true(sum->seconds > 0.599 && sum->seconds < 0.601);
    ls_sync_close(&job);
    assert_null(job);
}

static int fails(const ls_sync_settings *s, ls_error *err)
{
    ls_sync *job;
    *err = (ls_error){0};
    int ret = ls_sync_open(&job, s, err);
    if (!ret)
        ret = ls_sync_run(job, err);
    ls_sync_close(&job);
    assert_int_equal(ret, err->code);
    assert_true(*err->message);
    assert_null(strstr(err->message, "--"));
    return ret;
}

static void versions_are_those_of_the_headers(void **state)
{
    (void)state;
    assert_string_equal(ls_version(), LS_VERSION_STRING);
    assert_int_equal(ls_api_version(), LS_API_VERSION);
}

static void settings_may_be_of_another_version(void **state)
{
    (void)state;
    struct {
        ls_sync_settings s;
        char behind[64];
    } both;
    ls_error err;
    ls_sync *job;
    memset(&both, '#', sizeof both);
    ls_sync_default_settings(&both.s, offsetof(ls_sync_settings, steps));
    assert_int_equal(both.s.size, offsetof(ls_sync_settings, steps));
    assert_int_equal(((char *)&both.s.steps)[0], '#');
    ls_sync_default_settings(&both.s, sizeof both);
    assert_int_equal(both.behind[0], '#');
    both.s.size = 0;
    assert_int_equal(ls_sync_open(&job, &both.s, &err), LS_EINVAL);
    both.s.size = sizeof both;
    assert_int_equal(ls_sync_open(&job, &both.s, &err), LS_EINVAL);
    assert_null(job);
    assert_string_equal(both.s.device, "auto");
    /* an older caller's settings, which end before the engine */
    ls_sync_settings s = job_settings("older.mkv");
    s.size = offsetof(ls_sync_settings, engine);
    memset(&s.engine, '#', sizeof s - offsetof(ls_sync_settings, engine));
    if (ls_sync_open(&job, &s, &err))
        fail_msg("%s", err.message);
    ls_sync_close(&job);
}

static void options_are_described_and_set_by_name(void **state)
{
    (void)state;
    ls_sync_settings s;
    ls_faces_settings f;
    ls_error err;
    const ls_option *o;
    ls_sync_default_settings(&s, sizeof s);
    ls_faces_default_settings(&f, sizeof f);
    assert_true(!s.steps && !s.cache_interval && !s.guidance_interval); // open
    assert_int_equal(s.seed, 1247);
    assert_string_equal(s.video_codec, "libx264");
    for (size_t i = 0; (o = ls_option_at(i)); i++) {
        assert_ptr_equal(ls_option_find(o->name), o);
        assert_true(o->used_by && o->help && *o->help && o->help[strlen(o->help) - 1] != '.');
        assert_true((o->type == LS_OPTION_FLAG) == !o->value);
        assert_true(o->type == LS_OPTION_TEXT || (o->type == LS_OPTION_CHOICE) == !!o->choices);
        if (o->initial && (o->used_by & LS_OPTION_SYNC))
            assert_int_equal(ls_sync_set(&s, o->name, o->initial, &err), 0);
        if (o->automatic && (o->used_by & LS_OPTION_FACES))
            assert_int_equal(ls_faces_set(&f, o->name, "auto", &err), 0);
    }
    assert_null(ls_option_find("stepz"));
    assert_int_equal(ls_sync_set(&s, "stepz", "3", &err), LS_ENOENT);
    assert_int_equal(ls_faces_set(&f, "steps", "3", &err), LS_ENOENT);
    assert_int_equal(ls_sync_set(&s, "steps", "7", &err), 0);
    assert_int_equal(ls_sync_set(&s, "max-memory", "1.5G", &err), 0);
    assert_int_equal(ls_sync_set(&s, "dtype", "f32", &err), 0);
    assert_int_equal(ls_sync_set(&s, "seed", "9223372036854775807", &err), 0);
    assert_int_equal(ls_sync_set(&s, "keep-job", NULL, &err), 0);
    assert_true(s.steps == 7 && s.max_memory == UINT64_C(3) << 29 && s.keep_job == 1);
    assert_true(s.compute_type == LS_COMPUTE_FLOAT32 && s.seed == INT64_MAX);
    assert_int_equal(ls_sync_set(&s, "preview", "1.5", &err), 0);
    assert_true(s.preview > 1.49 && s.preview < 1.51);
    assert_int_equal(ls_sync_set(&s, "preview", NULL, &err), 0); // what the name alone stands for
    assert_true(s.preview > 1.99 && s.preview < 2.01);
    static const char *const bad[][2] = {{"steps", "-1"},       {"steps", "1001"},
                                         {"steps", "7x"},       {"steps", ""},
                                         {"guidance", "nan"},   {"sampler", "euler"},
                                         {"quality", "better"}, {"dtype", "f8"},
                                         {"max-memory", "4Q"},  {"keep-job", "2"},
                                         {"output", ""},        {"preview", "61"},
                                         {"seed", "-2"},        {"seed", "9223372036854775808"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(ls_sync_set(&s, bad[i][0], bad[i][1], &err), LS_EINVAL);
        assert_string_equal(err.option, bad[i][0]);
        assert_non_null(strstr(err.message, bad[i][0]));
    }
    assert_int_equal(s.steps, 7);
}

static void opening_writes_nothing(void **state)
{
    (void)state;
    const ls_sync_settings s = job_settings("nothing.mkv");
    ls_sync *job;
    ls_error err;
    const size_t before = count_files();
    if (ls_sync_open(&job, &s, &err))
        fail_msg("%s", err.message);
    assert_null(ls_sync_get_summary(job));
    ls_sync_close(&job);
    assert_int_equal(count_files(), before);
}

static void opening_can_be_canceled(void **state)
{
    (void)state;
    ls_sync_settings s = job_settings("canceled.mkv");
    ls_error err;
    s.cancel = ls_cancel_new();
    ls_cancel_request(s.cancel);
    const size_t before = count_files();
    ls_sync *job;
    assert_int_equal(ls_sync_open(&job, &s, &err), LS_ECANCELED);
    assert_true(ls_error_is_temporary(err.code));
    assert_null(job);
    assert_int_equal(count_files(), before);
    ls_cancel_free(&s.cancel);
    assert_null(s.cancel);
}

static void *run_in_thread(void *settings)
{
    run(settings);
    return NULL;
}

static void jobs_share_an_engine(void **state)
{
    (void)state;
    ls_engine *engine;
    ls_error err;
    uint64_t bytes, again;
    ls_sync_settings alone = job_settings("alone.mkv"), a = job_settings("a.mkv"),
                     b = job_settings("b.mkv"), other = job_settings("other.mkv");
    run(&alone);
    assert_int_equal(ls_engine_open(&engine, &err), 0);
    assert_int_equal(ls_engine_models(engine, &bytes), 0);
    a.engine = b.engine = other.engine = engine;
    run(&a);
    assert_int_equal(ls_engine_models(engine, &bytes), 1);
    assert_true(bytes > 1000000);
    run(&b);
    assert_int_equal(ls_engine_models(engine, &again), 1);
    assert_int_equal(again, bytes);
    shell("cmp alone.mkv a.mkv && cmp alone.mkv b.mkv && rm a.mkv b.mkv");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_in_thread, &a), 0);
    run(&b);
    pthread_join(thread, NULL);
    shell("cmp alone.mkv a.mkv && cmp alone.mkv b.mkv");
    assert_int_equal(ls_engine_models(engine, &again), 1);
    assert_int_equal(again, bytes);
    other.compute_type = LS_COMPUTE_FLOAT32;
    other.threads = 2;
    run(&other);
    assert_int_equal(ls_engine_models(engine, NULL), 2);
    ls_engine_trim(engine);
    assert_int_equal(ls_engine_models(engine, &bytes), 0);
    assert_int_equal(bytes, 0);
    ls_engine_close(&engine);
    assert_null(engine);
}

typedef struct listener {
    ls_cancel *cancel;
    ls_sync *job;
    size_t inside, messages, reports, frames;
} listener;

static void take_message(void *opaque, int level, const char *line)
{
    listener *l = opaque;
    assert_int_equal(l->inside++, 0); // one call at a time
    assert_true(level >= LS_MESSAGE_ERROR && level <= LS_MESSAGE_DEBUG);
    assert_true(*line && !strchr(line, '\n'));
    usleep(20000);
    l->messages++;
    l->inside--;
}

static void take_progress(void *opaque, const ls_progress *p)
{
    listener *l = opaque;
    assert_int_equal(l->inside++, 0);
    assert_true(p->fraction >= 0 && p->fraction <= 1 && p->frame <= p->frames);
    if (l->job)
        ls_sync_folder(l->job); // no lock is held
    if (p->stage_count && l->cancel)
        ls_cancel_request(l->cancel);
    l->frames = p->frames;
    l->reports++;
    l->inside--;
}

static void callbacks_come_one_at_a_time_and_may_cancel(void **state)
{
    (void)state;
    listener l = {.cancel = NULL};
    ls_sync_settings s = job_settings("heard.mkv");
    ls_error err;
    s.message = take_message;
    s.progress = take_progress;
    s.opaque = &l;
    run(&s);
    assert_true(l.messages > 2 && l.reports > 2);
    assert_int_equal(l.frames, 15);
    l = (listener){.cancel = ls_cancel_new()};
    s = job_settings("stopped.mkv");
    s.message = take_message;
    s.progress = take_progress;
    s.opaque = &l;
    s.cancel = l.cancel;
    s.steps = 200;
    if (ls_sync_open(&l.job, &s, &err))
        fail_msg("%s", err.message);
    assert_int_equal(ls_sync_run(l.job, &err), LS_ECANCELED);
    assert_null(ls_sync_get_summary(l.job));
    ls_sync_close(&l.job);
    ls_cancel_free(&l.cancel);
}

static void errors_say_what_would_help(void **state)
{
    (void)state;
    ls_error err;
    ls_sync_settings s = job_settings("bad.mkv");
    const size_t before = count_files();
    s.models = path_of("no-models");
    assert_int_equal(fails(&s, &err), LS_EMODEL);
    assert_int_equal(err.hint, LS_HINT_MODEL_DIRECTORY);
    assert_true(*ls_hint_text(err.hint));
    s = job_settings("bad.mkv");
    s.face = "160,60";
    assert_int_equal(fails(&s, &err), LS_EINVAL);
    assert_string_equal(err.option, "face");
    s.face = "7";
    assert_int_equal(fails(&s, &err), LS_ENOFACE);
    s = job_settings("no-folder/bad.mkv");
    assert_int_equal(fails(&s, &err), LS_ENOENT);
    assert_string_equal(err.option, "output");
    s = job_settings("speech.wav");
    assert_int_equal(fails(&s, &err), LS_EINVAL);
    assert_int_equal(err.hint, LS_HINT_OTHER_OUTPUT);
    s = job_settings("bad.mkv");
    s.face_track = path_of("speech.wav");
    assert_int_equal(fails(&s, &err), LS_EFORMAT);
    s = job_settings("bad.mkv");
    s.max_memory = 1000000;
    assert_int_equal(fails(&s, &err), LS_ENOMEM);
    assert_string_equal(err.option, "max-memory");
    assert_int_equal(err.hint, LS_HINT_MORE_MEMORY);
    s = job_settings("video.mkv");
    s.no_overwrite = 1;
    s.video = path_of("speech.wav");
    assert_int_equal(fails(&s, &err), LS_EINVAL);
    assert_string_equal(err.option, "no-overwrite");
    assert_int_equal(count_files(), before);
}

static void a_job_starts_again_or_resumes(void **state)
{
    (void)state;
    ls_error err;
    ls_sync_settings s = job_settings("again.mkv");
    s.keep_job = 1;
    run(&s);
    shell("cp again.mkv first.mkv");
    s.seed = 5;
    assert_int_equal(fails(&s, &err), LS_EINVAL);
    assert_int_equal(err.hint, LS_HINT_RESUME_OR_REMOVE);
    s.restart = 1;
    run(&s);
    shell("! cmp -s again.mkv first.mkv");
    s = job_settings("again.mkv");
    s.seed = -1; // now: the seed that it was started with
    ls_sync *job;
    if (ls_sync_open(&job, &s, &err) || ls_sync_run(job, &err))
        fail_msg("%s", err.message);
    assert_int_equal(ls_sync_get_summary(job)->seed, 5);
    assert_int_equal(ls_sync_get_summary(job)->frames_generated, 0);
    ls_sync_close(&job);
    if (ls_sync_open(&job, &s, &err) || ls_sync_run(job, &err))
        fail_msg("%s", err.message);
    const int64_t drawn = ls_sync_get_summary(job)->seed;
    ls_sync_close(&job);
    assert_true(drawn >= 0 && drawn != 5);
}

static void the_machine_is_described(void **state)
{
    (void)state;
    ls_machine m;
    ls_machine_get(&m, sizeof m);
    assert_true(m.cores > 0 && m.memory > 0 && *m.cpu);
    assert_true(m.compute_type == LS_COMPUTE_FLOAT32 || m.compute_type == LS_COMPUTE_BFLOAT16);
    ls_machine_device d, other;
    assert_int_equal(ls_machine_get_device(&d, sizeof d, 0), 1);
    assert_string_equal(d.name, "cpu");
    assert_string_equal(d.model, m.cpu);
    assert_true(d.compute_type == m.compute_type && d.memory == 0 && !d.is_unproven && *d.version);
    other = d;
    assert_int_equal(ls_machine_get_device(&other, sizeof other, 1), 0); // see LS_CUDA_LIBRARY
    assert_memory_equal(&other, &d, sizeof d);
    assert_true(*m.no_card);
    assert_non_null(ls_encoder_name(0));
    assert_null(ls_encoder_name(1000));
    assert_true(*ls_codec_version());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_those_of_the_headers),
        cmocka_unit_test(settings_may_be_of_another_version),
        cmocka_unit_test(options_are_described_and_set_by_name),
        cmocka_unit_test(opening_writes_nothing),
        cmocka_unit_test(opening_can_be_canceled),
        cmocka_unit_test(jobs_share_an_engine),
        cmocka_unit_test(callbacks_come_one_at_a_time_and_may_cancel),
        cmocka_unit_test(errors_say_what_would_help),
        cmocka_unit_test(a_job_starts_again_or_resumes),
        cmocka_unit_test(the_machine_is_described),
    };
    return cmocka_run_group_tests_name("api", tests, set_up, tear_down);
}
