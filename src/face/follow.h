/* Identities: matches the faces found in a frame with those of earlier frames. */
#ifndef LS_FACE_FOLLOW_H
#define LS_FACE_FOLLOW_H

#include "face/cover.h"
#include "face/record.h"

#define LS_FOLLOW_MAX_GAP 250
#define LS_FOLLOW_MAX_EVERY 250

typedef struct ls_follow_settings {
    size_t max_gap;  /* examined frames an identity may be absent for; default 12 */
    size_t every;    /* one frame in this many is examined, at least; default 1 */
    size_t min_face; /* see ls_face_eligible; default 80 */
} ls_follow_settings;

ls_follow_settings ls_follow_default_settings(void);

/* The rule of the original's face_detector.py, which has 50 x 80 pixels: a face is `min_height`
 * pixels tall or taller and 5/8 of that wide, and has the proportions of a face and a score of 0.5
 * or more. A face with an unknown box passes. */
bool ls_face_eligible(const ls_face *face, size_t min_height);
/* The width that such a face must have: 5/8 of `min_height`, in whole pixels. */
size_t ls_face_least_width(size_t min_height);

/* The box, or the extent of the points if it is unknown. */
void ls_face_extent(const ls_face *face, double box[4]);

/* Memory depends on the settings only. One thread at a time. */
typedef struct ls_follow ls_follow;

int ls_follow_open(ls_follow **out, const ls_follow_settings *s, ls_error *err);
void ls_follow_close(ls_follow **f);

/* Pushes the next frame, one more than the last. Faces are used if the frame was examined and they
 * are eligible and have points and finite coordinates, up to the LS_MAX_FACES largest. Faces that
 * overlap by more than 0.6 are the same face found twice.
 *
 * Faces are assigned to identities by the position and size that constant motion predicts, at the
 * least total cost. An identity ends at a cut, or when absent for more than max_gap + every - 1
 * frames; shorter absences are filled by linear interpolation (by the nearer face where the kinds
 * of points differ). Ids start at 1, in order of first appearance, from left to right within a
 * frame. The frame at a cut should be examined: a new shot has no faces until one of its frames is.
 *
 * With `looks`, those of the faces in this frame, `covered` is set of each that is used: see
 * ls_cover_next. Otherwise they may be NULL.
 *
 * LS_EINVAL: the frame is out of order, or records are waiting to be popped: after every push, call
 * ls_follow_pop until it returns false. */
int ls_follow_push(ls_follow *f, int64_t frame, bool cut, bool examined, ls_face *faces,
                   const ls_look *looks, size_t count, ls_error *err);

/* No more frames follow. */
void ls_follow_finish(ls_follow *f);

/* Pops the next record, its faces sorted by id, once no later frame can change it: at most max_gap
 * + every - 1 pushes after its own. False: none yet, or no more. */
bool ls_follow_pop(ls_follow *f, ls_face_record *out);

#endif
