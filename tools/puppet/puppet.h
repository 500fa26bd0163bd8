/* Drawn talking heads: speakers from seeds, speech from espeak-ng, mouths that follow its phonemes.
 * Everything is a function of seeds and texts. For tools and tests; not part of the library. */
#ifndef PUPPET_H
#define PUPPET_H

#include <cairo.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PUPPET_FPS 25

/* Random numbers from a seed (splitmix64). */
typedef struct puppet_random {
    uint64_t state;
} puppet_random;

uint64_t puppet_next(puppet_random *r);
double puppet_uniform(puppet_random *r, double from, double to);

/* The visible articulation; all from 0 to 1 except the width. */
typedef struct puppet_mouth {
    double open;   /* height of the opening */
    double width;  /* corners drawn apart, or together below 0 */
    double round;  /* lips rounded and pushed forward */
    double teeth;  /* upper teeth shown */
    double tongue; /* its tip raised to the teeth */
    double tuck;   /* lower lip under the upper teeth */
} puppet_mouth;

typedef struct puppet_phone {
    double start, end; /* seconds */
    char ipa[12];      /* empty: a pause */
} puppet_phone;

typedef struct puppet_speech {
    int16_t *samples; /* mono */
    size_t count;
    int rate;
    puppet_phone *phones; /* in order, without gaps */
    size_t phone_count;
} puppet_speech;

/* `voice` is a voice of espeak-ng such as "en-us+f2"; `rate` in words per minute, `pitch` 0..100.
 * On failure prints a message to standard error and returns false. */
bool puppet_say(puppet_speech *s, const char *text, const char *voice, int rate, int pitch);
/* A WAV file and a file of its phones: lines of start and end in seconds and an IPA symbol. */
bool puppet_speech_save(const puppet_speech *s, const char *wav, const char *phones);
bool puppet_speech_load(puppet_speech *s, const char *wav, const char *phones);
void puppet_speech_free(puppet_speech *s);
double puppet_speech_seconds(const puppet_speech *s);

/* The mouth at a time in seconds: the targets of nearby phones, blended by their dominance. Source:
 * M. Cohen and D. Massaro, Modeling coarticulation in synthetic visual speech, 1993. */
puppet_mouth puppet_mouth_at(const puppet_speech *s, double time);

/* A sentence and a voice for it. Held-out sentences share none with the others. */
typedef struct puppet_line {
    char text[512], voice[32];
    int rate, pitch;
} puppet_line;
void puppet_line_from(puppet_line *l, uint64_t seed, bool held_out);

typedef struct puppet_colour {
    double r, g, b;
} puppet_colour;

/* Lengths are in units of the face: its eyes are about half a unit apart, x to the right, y down,
 * the origin between eyes and mouth. */
typedef struct puppet_speaker {
    puppet_colour skin, hair, iris, lip, shirt, wall, wall2, frame;
    double cheek, jaw, chin, forehead; /* half widths, and heights of the outline's ends */
    double eye_x, eye_y, eye_w, eye_h, brow_y, brow_h, brow_tilt;
    double nose_w, nose_y, mouth_y, mouth_w, upper_lip, lower_lip;
    double light, contrast; /* direction of the light, -1..1, and how hard it is */
    int hair_style, wall_style, nose_style;
    bool glasses, freckles, earrings;
    uint64_t motion; /* seed of its movements */
} puppet_speaker;

void puppet_speaker_from(puppet_speaker *s, uint64_t seed);

typedef struct puppet_pose {
    double x, y, scale, roll; /* of the face's origin, pixels; pixels per unit; radians */
    double yaw, pitch;        /* radians */
    double blink, brow, gaze;
} puppet_pose;

/* The pose of speaker `s` in a frame of size x size pixels. */
puppet_pose puppet_pose_at(const puppet_speaker *s, double time, size_t size);

/* Eye centres, nose tip, mouth corners, image left first, then the centres of the brows. */
enum { PUPPET_POINTS = 7 };
void puppet_points(const puppet_speaker *s, const puppet_pose *p, const puppet_mouth *m,
                   double points[PUPPET_POINTS][2]);

/* The outline of the face from the height of one ear along the jaw to the other. */
enum { PUPPET_JAW = 41 };
void puppet_jaw(const puppet_speaker *s, const puppet_pose *p, const puppet_mouth *m,
                double points[PUPPET_JAW][2]);

void puppet_draw(cairo_t *cr, const puppet_speaker *s, const puppet_pose *p, const puppet_mouth *m,
                 size_t size);

/* What comes between the camera and the mouth, over what was drawn. */
typedef enum puppet_prop { PUPPET_HAND, PUPPET_MICROPHONE, PUPPET_PROPS } puppet_prop;

/* Frames [from, to); none if they are equal. */
typedef struct puppet_span {
    size_t from, to;
} puppet_span;

/* From 0 to 1: 1 in the frames of the span; some frames before and after, between. */
double puppet_presence(const puppet_span *s, size_t frame);

/* `amount`: 0 it is out of the picture, 1 before the mouth. */
void puppet_draw_prop(cairo_t *cr, puppet_prop prop, const puppet_speaker *s, const puppet_pose *p,
                      double amount);
/* The part of the mouth that it covers, from 0 to 1. Draws nothing. */
double puppet_covered(cairo_t *cr, puppet_prop prop, const puppet_speaker *s, const puppet_pose *p,
                      double amount);
/* Turns the head aside: 1 is 69 degrees. */
void puppet_turn(const puppet_speaker *s, puppet_pose *p, double amount);

#endif
