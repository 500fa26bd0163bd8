/* Drawn speakers for the tests of faces: clips of tools/puppet, in the folder of media.h. */
#ifndef LS_DRAWN_H
#define LS_DRAWN_H

#include "media.h"

#define DRAWN_DETECTOR "../../models/mini/face/drawn.onnx" /* for test_data() */

enum { DRAWN_SIDE = 200, DRAWN_FRAMES = 78 };

/* Draws the folder speakerN: face.mp4, and track.jsonl with where the points are. The test is
 * skipped where tools/puppet was not built. */
static inline void drawn_speaker(unsigned number)
{
    char folder[4096], name[32], data[4096];
    const char *puppet = getenv("LS_PUPPET");
    if (!puppet) {
        print_message("skipped: tools/puppet is not built, it needs cairo\n");
        skip();
    }
    snprintf(name, sizeof name, "speaker%u", number);
    if (access(media_path(folder, name), R_OK))
        media_run("'%s' --seed %u --size %d --speech '%s/fox.wav' --phones '%s/fox.txt' %s", puppet,
                  number, DRAWN_SIDE, test_data(data, "../../tools/puppet/recordings"), data, name);
}

#endif
