/* LatentSync: a video of a person talking and a recording of speech in, the video with the lips
 * moving to the speech out. Memory does not depend on the length of the video.
 *
 *     ls_sync_settings s;
 *     ls_sync_default_settings(&s, sizeof s);
 *     s.video = "in.mp4"; s.audio = "speech.wav"; s.output = "out.mp4";
 *     ls_sync *job;
 *     ls_error err; // set on failure only
 *     if (ls_sync_open(&job, &s, &err) || ls_sync_run(job, &err))
 *         fprintf(stderr, "%s\n", err.message);
 *     ls_sync_close(&job);
 *
 * Jobs share nothing unless they are given the same ls_engine; several may run in one process.
 *
 * What the process must provide. The numeric locale is to be "C" (FFmpeg's and JSON's numbers).
 * SIGXFSZ and SIGPIPE should be ignored, so that a full quota or a closed pipe is an error instead
 * of the end. While networks run, OpenMP's teams are kept from spinning, unless OMP_WAIT_POLICY is
 * set; the calling thread's OpenMP settings are as before after every call. The process's locale,
 * signals, working directory, environment and FFmpeg's log level are never changed. Read from the
 * environment: XDG_DATA_HOME, XDG_DATA_DIRS, XDG_CACHE_HOME and HOME (where models, packed weights
 * and what was measured are), TMPDIR (unnamed files of ls_faces and ls_check_video, samples of
 * ls_estimate_sync), HF_ENDPOINT, HF_TOKEN, the proxies' variables and SSL_CERT_FILE (downloads),
 * LS_ISA (limits the kernels to an instruction set), LS_MEM=1 (reports who held memory). */
#ifndef LATENTSYNC_LATENTSYNC_H
#define LATENTSYNC_LATENTSYNC_H

#include "latentsync/bench.h"
#include "latentsync/cancel.h"
#include "latentsync/check.h"
#include "latentsync/common.h"
#include "latentsync/engine.h"
#include "latentsync/error.h"
#include "latentsync/estimate.h"
#include "latentsync/faces.h"
#include "latentsync/machine.h"
#include "latentsync/models.h"
#include "latentsync/option.h"
#include "latentsync/probe.h"
#include "latentsync/sync.h"
#include "latentsync/version.h"

#endif
