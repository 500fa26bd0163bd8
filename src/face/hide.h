/* Frames whose mouth stays as it is, because something covers it or the head is turned too far:
 * decided with some frames of foresight, so that it begins in time and does not flicker. */
#ifndef LS_FACE_HIDE_H
#define LS_FACE_HIDE_H

#include "face/choose.h"

/* The turn of a head by its points. yaw: how far the tip of the nose is from the middle between the
 * eyes, along their line, in halves of their distance: about 0.9 tan(angle). pitch: where it is
 * between the line of the eyes, 0, and that of the mouth, 1; about 0.4 from the front. */
typedef struct ls_face_turn {
    double yaw, pitch;
} ls_face_turn;

/* Zero yaw and pitch 0.4 if the points do not say. */
ls_face_turn ls_face_turn_of(const ls_face *face);

enum {
    LS_HIDE_LEAST = 3,  /* frames that are hidden at least, or none are */
    LS_HIDE_MARGIN = 2, /* frames before and after that are hidden too */
    LS_HIDE_JOIN = 12,  /* frames between hidden ones that are hidden too, at most */
    LS_HIDE_AHEAD = LS_HIDE_LEAST - 1 + LS_HIDE_MARGIN + LS_HIDE_JOIN /* frames held back */
};

/* Zeros at the start. One thread at a time. */
typedef struct ls_hider {
    ls_chosen_face ring[LS_HIDE_AHEAD + 1];
    size_t head, count;
    bool finished;
    uint32_t id;        /* of the frame pushed last; what follows is of its frames with this face */
    int64_t begin, end; /* the first one; that after the last hidden one */
    int64_t since;      /* the first of those with a reason up to the last; -1: that has none */
    int tail;           /* further ones to hide */
    bool lost, was_lost; /* whether the last one, and that before `begin` in its shot, lack it */
    ls_hidden reason;
} ls_hider;

/* Pushes the next frame; those that can be popped must have been. A frame is hidden from where a
 * reason is strong (a part of 0.45 of the lower face covered, a turn of some 48 degrees) to where
 * it is weak (0.3, 41 degrees), within one shot and face; where it is so for fewer than
 * LS_HIDE_LEAST, only beside frames of the shot that lack the face. `hidden` of the face overrides.
 */
void ls_hider_push(ls_hider *h, const ls_chosen_face *chosen);
/* No more frames follow. */
void ls_hider_finish(ls_hider *h);
/* Pops a frame that later ones cannot change, `hidden` set. False: none yet, or no more. */
bool ls_hider_pop(ls_hider *h, ls_chosen_face *out);

#endif
