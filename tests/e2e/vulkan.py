#!/usr/bin/env python3
"""Whole jobs through Vulkan, on lavapipe below a library that makes faults (tests/vulkan). Prints TAP.
usage: lavapipe.py --tap CACHE vulkan.py LATENTSYNC PUPPET MODELS"""
import os
import sys

from common import LS, bad, ffmpeg, good, main, painted_alike, run, test

PUPPET, MODELS = (os.path.abspath(p) for p in sys.argv[2:4])
JOB = ["sync", "-m", MODELS, "source/face.mp4", "said.wav", "--seed", "1", "--crf", "0", "--steps", "1", "--resolution", "64",
       "--guidance", "1"]


def setup():
    good(run(PUPPET, "--seed", "3", "source"))
    good(run(PUPPET, "--seed", "5", "--speech-only", "other"))
    ffmpeg("-i", "other/speech.wav", "-t", "0.48", "said.wav")


@test
def a_speaker_looks_as_from_the_cpu_also_after_the_device_was_lost():
    good(run(LS, *JOB, "--device", "cpu", "--dtype", "f32", "-o", "cpu.mkv"))
    lost = {**os.environ, "FAKE_VULKAN": "running,fail=vkQueueSubmit:20:-4"}
    bad(run(LS, *JOB, "--device", "vulkan:0", "-o", "card.mkv", env=lost), "vulkan:0 (llvmpipe", "is lost to this process", code=6)
    assert not os.path.exists("card.mkv")
    r = good(run(LS, "resume", "card.mkv.lsjob"))
    assert "UNet, VAE on llvmpipe" in r.stderr, r.stderr
    painted_alike("cpu.mkv", "card.mkv", "source/face.mp4", 40)


@test
def automatic_is_the_cpu_and_says_why():
    r = good(run(LS, *JOB, "-o", "auto.mkv"))
    assert "networks on the CPU" in r.stderr, r.stderr
    text = good(run(LS, "info")).stdout
    assert "vulkan:0: llvmpipe" in text and "(imitated by the CPU)" in text and "used only if it is named" in text, text
    bad(run(LS, *JOB, "--device", "vulkan", "-o", "no.mkv"), "finds no card that can be used", "vulkan:0 (llvmpipe", code=3)
    bad(run(LS, *JOB, "--device", "vulkan:7", "-o", "no.mkv"), "no device vulkan:7", code=2)


sys.exit(main(setup))
