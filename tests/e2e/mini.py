#!/usr/bin/env python3
"""One short job with random weights: little enough for a command that an emulator runs."""
import sys

from common import LS, QUICK, ffmpeg, good, main, probe, run, test, track


def setup():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=1", "-c:v", "libx264", "-preset", "ultrafast", "video.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=16000:d=0.5", "speech.wav")
    track("track.jsonl", 25, cx=80, cy=60, s=30)


@test
def a_short_job_runs():
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))
    good(run(LS, "sync", "--models", "models", "--face-track", "track.jsonl", *QUICK, "video.mp4", "speech.wav", "-o", "o.mp4"))
    video = probe("o.mp4")
    assert (video["width"], video["height"], video["nb_read_frames"]) == (160, 120, "13"), video
    assert probe("o.mp4", "a:0")["codec_name"] == "aac"


sys.exit(main(setup))
