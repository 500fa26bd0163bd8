#!/usr/bin/env python3
"""Speech as people have it: how long the output is, and when what is heard in it begins. Prints TAP.
usage: sound.py LATENTSYNC"""
import math
import sys

from common import LS, QUICK, ffmpeg, good, main, probe, run, test, track

SIDE = 96


def setup():
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=s={SIDE}x{SIDE}:r=25:d=3.0", "-c:v", "libx264", "-preset", "ultrafast",
           "-crf", "10", "-pix_fmt", "yuv420p", "video.mp4")
    track("track.jsonl", 75, cx=48, cy=48, s=24)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))


def sync(speech, out, *options, video="video.mp4"):
    return run(LS, "sync", "-m", "models", "-t", "track.jsonl", video, speech, "-o", out, *QUICK, "--steps", 1, "--guidance", 1,
               *options)


@test
def output_lasts_as_long_as_the_speech():
    for seconds in (0.02, 0.04, 0.041, 0.63, 0.64, 0.65, 1.0):  # around a frame and a chunk of 16
        ffmpeg("-f", "lavfi", "-i", f"sine=f=300:r=48000:d={seconds}", "o.wav")
        for name in ("o.mp4", "o.mkv"):
            good(sync("o.wav", name))
            frames, sound = int(probe(name)["nb_read_frames"]), probe("o.wav", "a:0")["duration"]
            assert frames == math.ceil(round(float(sound) * 25, 6)), (name, seconds, frames)
    # the sound of 1.0 s and no frames of another length
    v, a = (float(probe("o.mp4", s)["duration"]) for s in ("v:0", "a:0"))
    assert abs(v - 1) < 1e-4 and abs(a - 1) < 0.001, (v, a)


sys.exit(main(setup))
