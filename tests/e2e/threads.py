#!/usr/bin/env python3
"""A whole run with detection under ThreadSanitizer, which the command was built with: search, decoding,
networks, restoring and encoding at once, more than one segment, and a second pass over the frames going
backwards. Prints TAP. usage: threads.py LATENTSYNC PUPPET"""
import os
import shutil
import sys

from common import LS, QUICK, ffmpeg, good, main, probe, run, test

PUPPET = os.path.abspath(sys.argv[2])
TOOLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools")
RECORDING = os.path.join(TOOLS, "puppet/recordings/fox")


def setup():
    good(run(PUPPET, "--seed", 7, "--size", 160, "--speech", RECORDING + ".wav", "--phones", RECORDING + ".txt", "s"))
    ffmpeg("-i", "s/face.mp4", "-frames:v", "24", "-c:v", "libx264", "-g", "8", "face.mp4")
    ffmpeg("-i", "s/speech.wav", "-t", "1.4", "speech.wav")
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))
    os.mkdir("models/face")
    shutil.copy(os.path.join(TOOLS, "../models/mini/face/drawn.onnx"), "models/face")


@test
def no_two_threads_race():
    # one thread in each team: the OpenMP runtime is not built with the sanitizer and its barriers are unknown to it
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TSAN_OPTIONS": f"suppressions={TOOLS}/tsan.supp:halt_on_error=0"}
    r = run(LS, "sync", "-m", "models", *QUICK, "--segment-seconds", "0.7", "--stats", "o.jsonl",
            "face.mp4", "speech.wav", "-o", "o.mp4", env=env)
    assert "ThreadSanitizer" not in r.stderr, r.stderr
    good(r)
    assert int(probe("o.mp4")["nb_read_frames"]) == 35


sys.exit(main(setup))
