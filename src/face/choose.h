/* Chooses the identity whose lips are synced. */
#ifndef LS_FACE_CHOOSE_H
#define LS_FACE_CHOOSE_H

#include "face/record.h"

#define LS_CHOOSE_WINDOW 25 /* frames, including that of the choice */

typedef enum ls_choice_kind {
    LS_CHOOSE_LARGEST, /* greatest sum of box areas */
    LS_CHOOSE_LEFT,    /* leftmost mean of the boxes' centres, in the image */
    LS_CHOOSE_RIGHT,
    LS_CHOOSE_ID,   /* this identity only, in all shots */
    LS_CHOOSE_POINT /* box contains the point; if several or none do, nearest centre */
} ls_choice_kind;

typedef struct ls_choice {
    ls_choice_kind kind;
    uint32_t id;
    double x, y; /* pixels of the frame */
} ls_choice;

/* "largest", "left", "right", an id like "3" or a point like "640,360.5". False if it is none of
 * these. */
bool ls_choice_parse(ls_choice *c, const char *text);

/* Why a mouth stays as it is: see face/hide.h. */
typedef enum ls_hidden {
    LS_SHOWN, /* it does not */
    LS_HIDDEN_COVERED,
    LS_HIDDEN_TURNED,
    LS_HIDDEN_GIVEN, /* by the face itself */
    LS_HIDDEN_REASONS
} ls_hidden;

typedef struct ls_chosen_face {
    int64_t frame;
    bool cut;
    uint32_t id; /* 0: no face, face.kind is LS_FACE_NONE */
    bool interpolated;
    ls_hidden hidden; /* the chooser leaves it at LS_SHOWN */
    ls_face face;
} ls_chosen_face;

/* A choice is made at the first frame with a face in each shot, and again at the first frame with a
 * face after the chosen identity has ended, which means that it does not reappear within
 * LS_CHOOSE_WINDOW frames of its last frame, or before a cut. Otherwise the choice is kept. The
 * candidates are those present within LS_CHOOSE_WINDOW frames, up to a cut; POINT uses the first
 * frame of each. Ties go to the lowest id. The extent of the points stands in for an unknown box.
 *
 * Frames are held back only while a choice or the end of an identity depends on later frames, for
 * at most LS_CHOOSE_WINDOW - 1 pushes. One thread at a time. */
typedef struct ls_chooser ls_chooser;

int ls_chooser_open(ls_chooser **out, const ls_choice *choice, ls_error *err);
void ls_chooser_close(ls_chooser **c);

/* Pushes the next frame, with or without a face; frame numbers rise by one. LS_EINVAL: out of
 * order, or 2 * LS_CHOOSE_WINDOW frames are waiting to be popped. */
int ls_chooser_push(ls_chooser *c, const ls_face_record *rec, ls_error *err);
/* No more frames follow. */
void ls_chooser_finish(ls_chooser *c);
/* Pops the next frame's face. False: none yet, or no more. The results do not depend on when this
 * is called. */
bool ls_chooser_pop(ls_chooser *c, ls_chosen_face *out);

#endif
