#!/usr/bin/env python3
"""Whole jobs through Vulkan, on lavapipe below a library that makes faults (tests/vulkan). Prints TAP.
usage: lavapipe.py --tap CACHE vulkan.py LATENTSYNC PUPPET MODELS"""
import os
import sys

from common import LS, bad, ffmpeg, good, main, run, test

PUPPET, MODELS = (os.path.abspath(p) for p in sys.argv[2:4])
JOB = ["sync", "-m", MODELS, "source/face.mp4", "said.wav", "--seed", "1", "--crf", "0", "--steps", "1", "--resolution", "64",
       "--guidance", "1"]


def setup():
    good(run(PUPPET, "--seed", "3", "source"))
    good(run(PUPPET, "--seed", "5", "--speech-only", "other"))
    ffmpeg("-i", "other/speech.wav", "-t", "0.48", "said.wav")


def pixels(path):
    ffmpeg("-i", path, "-f", "rawvideo", "-pix_fmt", "yuv420p", path + ".yuv")
    return open(path + ".yuv", "rb").read()


@test
def a_speaker_looks_as_from_the_cpu_also_after_the_device_was_lost():
    good(run(LS, *JOB, "--device", "cpu", "--dtype", "f32", "-o", "cpu.mkv"))
    lost = {**os.environ, "FAKE_VULKAN": "running,fail=vkQueueSubmit:20:-4"}
    bad(run(LS, *JOB, "--device", "vulkan:0", "-o", "card.mkv", env=lost), "vulkan:0 (llvmpipe", "is lost to this process", code=6)
    assert not os.path.exists("card.mkv")
    r = good(run(LS, "resume", "card.mkv.lsjob"))
    assert "UNet, VAE on llvmpipe" in r.stderr, r.stderr
    cpu, card, source = pixels("cpu.mkv"), pixels("card.mkv"), pixels("source/face.mp4")
    painted = [abs(a - b) for a, b, s in zip(cpu, card, source) if a != s]
    assert len(cpu) == len(card) and len(painted) > len(cpu) // 40, (len(cpu), len(card), len(painted))
    near = sum(d <= 1 for d in painted) / len(painted)
    print(f"# {near:.5f} of {len(painted)} values within 1, the most is {max(painted)}")
    assert near >= 0.99, near


@test
def automatic_is_the_cpu_and_says_why():
    r = good(run(LS, *JOB, "-o", "auto.mkv"))
    assert "networks on the CPU" in r.stderr, r.stderr
    text = good(run(LS, "info")).stdout
    assert "vulkan:0: llvmpipe" in text and "(imitated by the CPU)" in text and "used only if it is named" in text, text
    bad(run(LS, *JOB, "--device", "vulkan", "-o", "no.mkv"), "finds no card that can be used", "vulkan:0 (llvmpipe", code=3)
    bad(run(LS, *JOB, "--device", "vulkan:7", "-o", "no.mkv"), "no device vulkan:7", code=2)


sys.exit(main(setup))
