#!/usr/bin/env python3
"""Whole jobs on cards that the tests emulate: every kernel is run (tests/cuda). Prints TAP.
usage: card.py LATENTSYNC LIBCUDA PUPPET MODELS [full]"""
import os
import sys

from common import LS, QUICK, digest, ffmpeg, good, main, painted_alike, run, test, track

LIBCUDA, PUPPET, MODELS = (os.path.abspath(p) for p in sys.argv[2:5])
FULL = sys.argv[5:] == ["full"]
SYNC = ["sync", "-m", "models", "-t", "track.jsonl", "video.mp4", "speech.wav", *QUICK, "--device", "cuda"]


def setup():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=2.0", "-c:v", "libx264", "-preset", "ultrafast",
           "-pix_fmt", "yuv420p", "video.mp4")
    ffmpeg("-f", "lavfi", "-i", f"sine=f=300:r=44100:d={0.8 if FULL else 0.4}", "speech.wav")
    track("track.jsonl", 50)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))


def cards(settings):
    return {**os.environ, "LS_CUDA_LIBRARY": LIBCUDA, "FAKE_CUDA": settings}


@test
def a_speaker_looks_as_from_the_cpu():
    good(run(PUPPET, "--seed", "3", "source"))
    good(run(PUPPET, "--seed", "5", "--speech-only", "other"))
    ffmpeg("-i", "other/speech.wav", *([] if FULL else ["-t", "0.48"]), "said.wav")
    job = ["sync", "-m", MODELS, "source/face.mp4", "said.wav", "--seed", "1", "--crf", "0", *([] if FULL else ["--steps", "3"])]
    good(run(LS, *job, "--device", "cpu", "--dtype", "f32", "-o", "cpu.mkv"))
    r = good(run(LS, *job, "--device", "cuda", "-o", "card.mkv", env=cards("")))
    assert "UNet, VAE on Emulated Card" in r.stderr, r.stderr
    painted_alike("cpu.mkv", "card.mkv", "source/face.mp4", 20)


def least(models):
    """The card's memory, in bytes, without which a job does not fit."""
    r = run(LS, "plan", *SYNC[1:], "-m", models, "--max-vram", "200M", "-o", "least.mp4", env=cards(""))
    return f"{r.stderr.split('at least ')[1].split()[0]}000000"


@test
def bytes_depend_neither_on_order_nor_on_how_the_job_fits_nor_on_the_number_of_cards():
    ways = [("plain", "models", "seed=1", [], "guidance in one pass"),
            ("turns", "models", "", ["--max-vram", least("models")], "guidance in two passes")]
    if FULL:
        good(run(LS, "models", "random", "--size", "small", "--out", "small"))
        ways += [("two", "models", "cards=2,seed=7", [], "2 x Emulated Card"),
                 ("small", "small", "", [], "guidance in one pass"),
                 ("streamed", "small", "", ["--max-vram", least("small")], "weights in the memory of the machine")]
    for name, models, settings, options, said in ways:
        r = good(run(LS, *SYNC, "-m", models, *options, "-v", "-o", f"{name}.mp4", env=cards(settings)))
        assert said in r.stderr, r.stderr
    assert digest("turns.mp4") == digest("plain.mp4")
    if FULL:
        assert digest("two.mp4") == digest("plain.mp4") and digest("streamed.mp4") == digest("small.mp4")


def a_lost_card_costs_no_bytes():
    r = run(LS, *SYNC, "--segment-seconds", "0.6", "-o", "lost.mp4", env=cards("fail=cuLaunchKernel:2500:719"))
    assert r.returncode == 6 and "is lost to this process" in r.stderr and not os.path.exists("lost.mp4"), r.stderr
    good(run(LS, "resume", "lost.mp4.lsjob", env=cards("seed=3")))
    good(run(LS, *SYNC, "--segment-seconds", "0.6", "-o", "whole.mp4", env=cards("")))
    assert digest("lost.mp4") == digest("whole.mp4")


if FULL:
    test(a_lost_card_costs_no_bytes)
sys.exit(main(setup))
