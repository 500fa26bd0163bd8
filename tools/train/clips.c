/* Clips of drawn speakers for training: faces cut out as the product cuts them, speech as Whisper
 * hears it, and the mouth that belongs to it. */
#include "../puppet/puppet.h"

#include "base/alloc.h"
#include "face/align.h"
#include "face/mask.h"
#include "media/pcm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESOLUTION 128
#define PICTURE 288
#define MOUTH 6
#define ROWS_PER_SECOND 50

static const char usage[] =
    "usage: clips FOLDER FIRST-SEED COUNT FRAMES\n"
    "\n"
    "For each seed a speaker and a line. Into FOLDER, for tools/train/data.py:\n"
    "  speech.s16   16 kHz, mono, one recording after another\n"
    "  mouths.f32   6 numbers for every 20 ms of them\n"
    "  clips.txt    a line each: seed, samples, rows of mouths, first frame, voice\n"
    "  faces.u8     FRAMES pictures of 128 x 128 RGB each; 0: none are drawn\n"
    "  sources.u8   the same heads with mouths from elsewhere in the recording, as in a video "
    "that\n"
    "               is to be given this speech\n"
    "  mask.u8      128 x 128: 0 where the mouth is to be generated, 255 elsewhere\n";

typedef struct output {
    FILE *speech, *mouths, *faces, *sources, *clips;
    cairo_surface_t *surface;
    cairo_t *cr;
    ls_cropper *cropper;
    uint8_t *rgb;
} output;

static bool write_speech(output *o, const puppet_speech *speech, const char *folder,
                         uint64_t *samples, size_t *rows)
{
    char wav[4096];
    ls_error err = {0};
    ls_pcm *pcm = NULL;
    snprintf(wav, sizeof wav, "%s/clip.wav", folder);
    if (!puppet_speech_save(speech, wav, NULL))
        return false;
    if (ls_pcm_open(&pcm, &(ls_sound_settings){.path = wav, .stream = -1}, folder, &err)) {
        fprintf(stderr, "clips: %s\n", err.message);
        return false;
    }
    *samples = ls_pcm_samples(pcm);
    int16_t *data = malloc((size_t)*samples * sizeof *data);
    bool ok = data && !ls_pcm_read(pcm, 0, (size_t)*samples, data, &err) &&
              fwrite(data, sizeof *data, (size_t)*samples, o->speech) == *samples;
    free(data);
    ls_pcm_close(&pcm);
    unlink(wav);
    *rows = (size_t)*samples / (LS_PCM_RATE / ROWS_PER_SECOND);
    for (size_t i = 0; ok && i < *rows; i++) {
        const puppet_mouth m = puppet_mouth_at(speech, (double)i / ROWS_PER_SECOND);
        const float v[MOUTH] = {(float)m.open,  (float)m.width,  (float)m.round,
                                (float)m.teeth, (float)m.tongue, (float)m.tuck};
        ok = fwrite(v, sizeof v, 1, o->mouths) == 1;
    }
    return ok;
}

/* As a detector finds a face: a bit off, by a lasting and by a passing error. */
static void found_at(const puppet_speaker *s, const puppet_pose *p, const double off[3],
                     puppet_random *r, ls_face *face)
{
    const puppet_mouth closed = {0, 0, 0, 0, 0, 0};
    double at[PUPPET_POINTS][2];
    puppet_points(s, p, &closed, at);
    *face = (ls_face){.kind = LS_FACE_POINTS5, .score = 1};
    for (int k = 0; k < 5; k++) {
        const double x = at[k][0] - p->x, y = at[k][1] - p->y;
        face->points[k][0] =
            p->x + x * (1 + off[2]) + p->scale * (off[0] + puppet_uniform(r, -0.004, 0.004));
        face->points[k][1] =
            p->y + y * (1 + off[2]) + p->scale * (off[1] + puppet_uniform(r, -0.004, 0.004));
    }
}

/* The picture goes to o->rgb. */
static void draw(output *o, const puppet_speaker *s, const puppet_pose *p, const puppet_mouth *m)
{
    puppet_draw(o->cr, s, p, m, PICTURE);
    cairo_surface_flush(o->surface);
    const uint32_t *pixels = (const uint32_t *)(void *)cairo_image_surface_get_data(o->surface);
    for (size_t k = 0; k < PICTURE * PICTURE; k++)
        for (unsigned c = 0; c < 3; c++)
            o->rgb[3 * k + c] = (uint8_t)(pixels[k] >> (16 - 8 * c));
}

/* `length` is that of the recording, in frames. */
static bool write_faces(output *o, uint64_t seed, const puppet_speech *speech, size_t length,
                        size_t first, size_t frames)
{
    static uint8_t face[RESOLUTION * RESOLUTION * 3];
    const ls_rgb whole = {o->rgb, PICTURE * 3, PICTURE, PICTURE};
    puppet_speaker s;
    puppet_random r = {seed ^ 0xfaceu};
    ls_align align = {.resolution = RESOLUTION};
    puppet_speaker_from(&s, seed);
    const double off[3] = {puppet_uniform(&r, -0.025, 0.025), puppet_uniform(&r, -0.025, 0.025),
                           puppet_uniform(&r, -0.035, 0.035)};
    for (size_t i = 0; i < frames; i++) {
        const size_t at[2] = {first + i, (first + i + length / 2) % length};
        const puppet_pose p = puppet_pose_at(&s, (double)at[0] / PUPPET_FPS, PICTURE);
        ls_face found;
        ls_matrix matrix;
        double three[3][2];
        found_at(&s, &p, off, &r, &found);
        if (!ls_face_three_points(&found, three))
            return false;
        ls_align_next(&align, three, &matrix);
        for (unsigned k = 0; k < 2; k++) {
            const puppet_mouth m = puppet_mouth_at(speech, (double)at[k] / PUPPET_FPS);
            draw(o, &s, &p, &m);
            ls_cropper_run(o->cropper, face, &matrix, &whole, 0, 0);
            if (fwrite(face, sizeof face, 1, k ? o->sources : o->faces) != 1)
                return false;
        }
    }
    return true;
}

static bool write_clip(output *o, const char *folder, uint64_t seed, size_t frames)
{
    puppet_line line;
    puppet_speech speech = {0};
    puppet_random r = {seed ^ 0xc11b};
    uint64_t samples = 0;
    size_t rows = 0;
    puppet_line_from(&line, seed, false);
    bool ok = puppet_say(&speech, line.text, line.voice, line.rate, line.pitch) &&
              write_speech(o, &speech, folder, &samples, &rows);
    const size_t length = rows / 2;
    const size_t first = length > frames ? puppet_next(&r) % (length - frames) : 0;
    ok = ok && (!frames || write_faces(o, seed, &speech, length, first, frames)) &&
         fprintf(o->clips, "%llu %llu %zu %zu %s\n", (unsigned long long)seed,
                 (unsigned long long)samples, rows, first, line.voice) > 0;
    puppet_speech_free(&speech);
    return ok;
}

static FILE *create(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    if (!f)
        perror(path);
    return f;
}

static bool write_mask(const char *folder)
{
    ls_mask *mask;
    ls_error err = {0};
    FILE *f = create(folder, "mask.u8");
    bool ok = f && !ls_mask_open(&mask, RESOLUTION, &err);
    if (ok) {
        ok = fwrite(ls_mask_pixels(mask), (size_t)RESOLUTION * RESOLUTION, 1, f) == 1;
        ls_mask_close(&mask);
    }
    return f && !fclose(f) && ok;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs(usage, stderr);
        return 2;
    }
    const char *folder = argv[1];
    const uint64_t first = strtoull(argv[2], NULL, 10), count = strtoull(argv[3], NULL, 10);
    const size_t frames = strtoull(argv[4], NULL, 10);
    ls_error err = {0};
    mkdir(folder, 0777);
    output o = {.speech = create(folder, "speech.s16"),
                .mouths = create(folder, "mouths.f32"),
                .faces = create(folder, "faces.u8"),
                .sources = create(folder, "sources.u8"),
                .clips = create(folder, "clips.txt"),
                .surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, PICTURE, PICTURE),
                .rgb = malloc((size_t)PICTURE * PICTURE * 3)};
    if (!o.speech || !o.mouths || !o.faces || !o.sources || !o.clips || !o.rgb ||
        ls_cropper_open(&o.cropper, RESOLUTION, &err))
        return 1;
    o.cr = cairo_create(o.surface);
    bool ok = write_mask(folder);
    for (uint64_t i = 0; ok && i < count; i++)
        ok = write_clip(&o, folder, first + i, frames);
    ok = !fclose(o.speech) && ok;
    ok = !fclose(o.mouths) && ok;
    ok = !fclose(o.faces) && ok;
    ok = !fclose(o.sources) && ok;
    ok = !fclose(o.clips) && ok;
    ls_cropper_close(&o.cropper);
    cairo_destroy(o.cr);
    cairo_surface_destroy(o.surface);
    free(o.rgb);
    if (!ok)
        fprintf(stderr, "clips: %s could not be written whole\n", folder);
    return ok ? 0 : 1;
}
