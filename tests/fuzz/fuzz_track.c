#include "fuzz.h"

#include "face/track.h"

#include <math.h>

/* Opens the bytes as a face track and asks for its frames forwards, backwards and beside them. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ls_track *t;
    ls_face face;
    if (ls_track_open(&t, fuzz_file(data, size), NULL))
        return 0;
    ls_track_info info = ls_track_get_info(t);
    int64_t from = info.first_frame, to = info.last_frame;
    if (info.faces > info.lines || from > to)
        abort();
    if (to - from > 64)
        to = from + 64;
    for (int64_t k = from - 1; k <= 2 * (to - from) + from + 2; k++) {
        int64_t frame = k <= to + 1 ? k : 2 * to + 2 - k;
        int found = ls_track_get(t, frame, &face, NULL);
        if (found < 0 || (found == 1) != (face.kind != LS_FACE_NONE))
            abort();
        for (int i = 0; i < (int)face.kind; i++)
            if (!isfinite(face.points[i][0]) || !isfinite(face.points[i][1]))
                abort();
    }
    ls_track_get(t, info.last_frame, &face, NULL);
    ls_track_close(&t);
    return 0;
}
