/* Identities: which of the faces found in a frame is which of those in the frames before. */
#ifndef LS_FACE_FOLLOW_H
#define LS_FACE_FOLLOW_H

#include "face/record.h"

#define LS_FOLLOW_MAX_GAP 250
#define LS_FOLLOW_MAX_EVERY 250

typedef struct ls_follow_settings {
    size_t max_gap; /* examined frames without the face that an identity survives; default 12 */
    size_t every;   /* of so many frames one is examined; default 1 */
} ls_follow_settings;

ls_follow_settings ls_follow_default_settings(void);

/* The rule of the original's face_detector.py: at least 50 x 80 pixels, of a face's shape, score of
 * 0.5 or more. A face whose box is not known passes. */
bool ls_face_eligible(const ls_face *face);

/* The box, or the extent of the points when it is not known. */
void ls_face_extent(const ls_face *face, double box[4]);

/* Memory depends on the settings only. One thread at a time. */
typedef struct ls_follow ls_follow;

int ls_follow_open(ls_follow **out, const ls_follow_settings *s, ls_error *err);
void ls_follow_close(ls_follow **f);

/* The next frame, one more than the last. Faces are taken when the frame was examined and they are
 * eligible, have points and finite coordinates; the largest when they are more than LS_MAX_FACES.
 * A face that overlaps another one by more than 0.6 is the same face found twice.
 *
 * Faces are joined to identities by where and how large the constant motion of an identity lets
 * expect it, at the least total cost. An identity ends at a cut, and when it is absent for more
 * than max_gap + every - 1 frames; shorter absences are filled by linear interpolation (the nearer
 * face where the kinds of points differ). Ids count from 1 by first appearance, from left to right
 * within a frame. A cut is best examined: until a frame is, the new shot has no face.
 *
 * LS_EINVAL: the frame is out of order, or records wait to be taken: call ls_follow_pop until it
 * is false after every push. */
int ls_follow_push(ls_follow *f, int64_t frame, bool cut, bool examined, const ls_face *faces,
                   size_t count, ls_error *err);

/* No frame follows. */
void ls_follow_finish(ls_follow *f);

/* The next record, faces in the order of their ids, once nothing that comes can change it: at most
 * max_gap + every - 1 pushes after its own. False: none yet, or no more. */
bool ls_follow_pop(ls_follow *f, ls_face_record *out);

#endif
