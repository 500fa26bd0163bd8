/* Which of the identities is the one whose lips are synced. */
#ifndef LS_FACE_CHOOSE_H
#define LS_FACE_CHOOSE_H

#include "face/record.h"

#define LS_CHOOSE_WINDOW 25 /* frames, that of the choice included */

typedef enum ls_choice_kind {
    LS_CHOOSE_LARGEST, /* greatest sum of box areas */
    LS_CHOOSE_LEFT,    /* least mean of the boxes' centres, in the image */
    LS_CHOOSE_RIGHT,
    LS_CHOOSE_ID,   /* this identity and no other, in all shots */
    LS_CHOOSE_POINT /* whose box has the point in it, the nearest centre if several or none */
} ls_choice_kind;

typedef struct ls_choice {
    ls_choice_kind kind;
    uint32_t id;
    double x, y; /* pixels of the frame */
} ls_choice;

/* "largest", "left", "right", an id like "3" or a point like "640,360.5". False: none of these. */
bool ls_choice_parse(ls_choice *c, const char *text);

typedef struct ls_chosen_face {
    int64_t frame;
    bool cut;
    uint32_t id; /* 0: no face, face.kind is LS_FACE_NONE */
    bool interpolated;
    ls_face face;
} ls_chosen_face;

/* A choice is made in the first frame with a face of each shot, and in the first frame with a face
 * after the chosen identity has ended: it is not there within LS_CHOOSE_WINDOW frames of its last,
 * or a cut comes first. It is made among those who are there within LS_CHOOSE_WINDOW frames, up to
 * a cut; POINT looks at the first frame of each. Otherwise it is kept. Of equals the least id is
 * chosen. A box that is not known is the extent of the points.
 *
 * Frames are held back only while a choice or the end of an identity depends on what follows, for
 * at most LS_CHOOSE_WINDOW - 1 pushes. One thread at a time. */
typedef struct ls_chooser ls_chooser;

int ls_chooser_open(ls_chooser **out, const ls_choice *choice, ls_error *err);
void ls_chooser_close(ls_chooser **c);

/* The next frame, one more than the last, also when it has no face. LS_EINVAL: it is out of order,
 * or 2 * LS_CHOOSE_WINDOW frames wait to be taken. */
int ls_chooser_push(ls_chooser *c, const ls_face_record *rec, ls_error *err);
/* No frame follows. */
void ls_chooser_finish(ls_chooser *c);
/* The next frame's face. False: none yet, or no more. What comes out does not depend on when. */
bool ls_chooser_pop(ls_chooser *c, ls_chosen_face *out);

#endif
