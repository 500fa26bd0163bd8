#!/usr/bin/env python3
"""Whole jobs through Vulkan, on lavapipe below a library that makes faults (tests/vulkan). Prints TAP.
usage: lavapipe.py --tap CACHE vulkan.py LATENTSYNC PUPPET MODELS"""
import os
import sys

from common import LS, QUICK, bad, digest, ffmpeg, good, main, painted_alike, run, test, track

PUPPET, MODELS = (os.path.abspath(p) for p in sys.argv[2:4])
JOB = ["sync", "-m", MODELS, "source/face.mp4", "said.wav", "--seed", "1", "--crf", "0", "--steps", "1", "--resolution", "64",
       "--guidance", "1"]


def setup():
    good(run(PUPPET, "--seed", "3", "source"))
    good(run(PUPPET, "--seed", "5", "--speech-only", "other"))
    ffmpeg("-i", "other/speech.wav", "-t", "0.48", "said.wav")
    track("track.jsonl", 50)
    good(run(LS, "models", "random", "--size", "small", "--out", "small"))


@test
def a_speaker_looks_as_from_the_cpu_also_after_the_device_was_lost():
    good(run(LS, *JOB, "--device", "cpu", "--dtype", "f32", "-o", "cpu.mkv"))
    lost = {**os.environ, "FAKE_VULKAN": "running,fail=vkQueueSubmit:20:-4"}
    bad(run(LS, *JOB, "--device", "vulkan:0", "-o", "card.mkv", env=lost), "vulkan:0 (llvmpipe", "is lost to this process", code=6)
    assert not os.path.exists("card.mkv")
    r = good(run(LS, "resume", "card.mkv.lsjob"))
    assert "UNet, VAE on llvmpipe" in r.stderr, r.stderr
    painted_alike("cpu.mkv", "card.mkv", "source/face.mp4", 40)


def small(name, *options, faults="", code=0):
    """A job of a model whose weights may be streamed, beside a device that copies; what it said."""
    r = run(LS, "sync", "-m", "small", "-t", "track.jsonl", "source/face.mp4", "said.wav", *QUICK, "--steps", "1", "--guidance", "1",
            "--device", "vulkan:0", "-v", "-o", name, *options, env={**os.environ, "FAKE_VULKAN": f"copies,{faults}"})
    assert r.returncode == code, r.stderr
    return r.stderr


@test
def streamed_weights_make_the_same_video_also_after_faults():
    small("resident.mp4")
    least = small("o.mp4", "--max-vram", "100M", code=6).split("at least ")[1].split()[0] + "M"
    assert "weights in the memory of the machine" in small("streamed.mp4", "--max-vram", least)
    assert digest("streamed.mp4") == digest("resident.mp4")
    for fault, said in (("vkWaitSemaphores:20:2", "VK_TIMEOUT"), ("vkQueueSubmit:150:-4", "is lost to this process")):
        text = small("o.mp4", "--max-vram", least, faults="running,fail=" + fault, code=6)
        assert said in text and "(another can resume the job)" in text, text
    small("o.mp4", "--max-vram", least)
    assert digest("o.mp4") == digest("resident.mp4")


@test
def too_little_memory_for_weights_says_what_would_help():
    for number in 6, 9:
        r = small("o.mp4", faults=f"fail=vkAllocateMemory:{number}:-2", code=6)
        assert "cannot give" in r and "raise --max-vram" in r, r
    assert "networks on the CPU" in good(run(LS, *JOB, "-o", "full.mp4", env={**os.environ, "FAKE_VULKAN": "discrete,fail=vkAllocateMemory:3:-2"})).stderr


@test
def automatic_is_the_cpu_and_says_why():
    r = good(run(LS, *JOB, "-o", "auto.mkv"))
    assert "networks on the CPU" in r.stderr, r.stderr
    text = good(run(LS, "info")).stdout
    assert "vulkan:0: llvmpipe" in text and "(imitated by the CPU)" in text and "used only if it is named" in text, text
    bad(run(LS, *JOB, "--device", "vulkan", "-o", "no.mkv"), "finds no card that can be used", "vulkan:0 (llvmpipe", code=3)
    bad(run(LS, *JOB, "--device", "vulkan:7", "-o", "no.mkv"), "no device vulkan:7", code=2)


sys.exit(main(setup))
