/* Which decoded frames are dropped or repeated for a constant frame rate, and how the times of
 * packets are mended before. Both are ports of fftools (FFmpeg 5.1) that work on values alone. */
#ifndef LS_MEDIA_TIMELINE_H
#define LS_MEDIA_TIMELINE_H

#include <libavcodec/packet.h>
#include <libavutil/rational.h>
#include <stdbool.h>
#include <stdint.h>

/* The stream that frames come from. */
typedef struct ls_stream_times {
    AVRational rate;        /* of the timeline, frames/s */
    AVRational source_rate; /* of the stream; num 0: unknown */
    AVRational time_base;   /* of its packets and frames */
    int64_t start;          /* of the file, in AV_TIME_BASE; 0: unknown */
    bool alone;             /* the file has no other stream */
    bool discontinuous;     /* its clock may jump, as those of transport streams do */
} ls_stream_times;

/* State of the rate conversion before a decoded frame: all that is needed to resume there. */
typedef struct ls_timeline {
    int64_t next_pts; /* in frames of the timeline */
    int64_t last_repeats[3];
    uint64_t emitted;
    int64_t previous_pts; /* of the last frame decoded, in the stream's time base */
    int64_t highest_pts;  /* of all frames */
    bool unique;          /* no earlier frame had previous_pts or more */
} ls_timeline;

extern const ls_timeline ls_timeline_start;

/* What to emit once a frame is decoded: first the frame before it, then the frame itself. */
typedef struct ls_emission {
    int64_t last, current; /* times */
    bool ignore;           /* as if the frame had not been decoded */
} ls_emission;

/* Places the next decoded frame. `pts` AV_NOPTS_VALUE: unknown. `has_last`: there is a frame before
 * it. */
ls_emission ls_timeline_place(ls_timeline *t, const ls_stream_times *s, int64_t pts,
                              int64_t duration, bool has_last);
/* The same where every frame is emitted once, as number `index`; -1: it is not to be emitted. The
 * frame before it takes the places of those that are missing. */
ls_emission ls_timeline_place_at(ls_timeline *t, int64_t index, int64_t pts, bool has_last);
/* Times that the last frame is repeated at the end of the stream. */
int64_t ls_timeline_end(const ls_timeline *t);
/* Counts a frame that was emitted. */
void ls_timeline_count(ls_timeline *t);

/* The clock of a stream's packets, {.next_dts = AV_NOPTS_VALUE} at the start and after a seek. */
typedef struct ls_packet_clock {
    int64_t last_dts, next_dts; /* next_dts: expected */
    int64_t shift;              /* added to times */
} ls_packet_clock;

/* Mends the times of the next packet: where the clock of a transport stream jumps, time continues
 * as if it had not; elsewhere times more than thirty hours off are dropped. True if it had to. */
bool ls_packet_clock_mend(ls_packet_clock *c, const ls_stream_times *s, AVPacket *p);

#endif
