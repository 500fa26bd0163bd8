#!/usr/bin/env python3
"""Tests of tools/puppet, the drawn speakers. usage: puppet.py LATENTSYNC PUPPET MEASURE"""
import os
import sys
import wave

PUPPET, MEASURE = (os.path.abspath(a) for a in sys.argv[2:4])
RECORDINGS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/puppet/recordings")
from common import digest, good, json, main, probe, run, test  # noqa: E402

SEEDS = (7, 8, 9)
TEXT = "Mama bought a papaya for Bob, and five fat fish."


def setup():
    for seed in SEEDS:
        good(run(PUPPET, "--seed", seed, "--size", 256, f"s{seed}"))
    good(run(PUPPET, "--speech-only", "--voice", "en-us", "--rate", 130, "--text", TEXT, "lips"))


def mouths(folder):
    return [[float(x) for x in line.split()] for line in open(f"{folder}/mouth.txt")]


def phones(folder):
    return [(float(a), float(b), c) for a, b, c in (line.split() for line in open(f"{folder}/phones.txt"))]


@test
def a_clip_is_whole():
    for seed in SEEDS:
        with wave.open(f"s{seed}/speech.wav") as w:
            seconds = w.getnframes() / w.getframerate()
        frames = int(probe(f"s{seed}/face.mp4")["nb_read_frames"])
        track = [json.loads(line) for line in open(f"s{seed}/track.jsonl")]
        assert frames == len(track) == len(mouths(f"s{seed}")) and abs(frames / 25 - seconds) < 0.04, (frames, seconds)
        assert [t["frame"] for t in track] == list(range(frames))
        for t in track:
            left, right, nose, corner, other = t["points5"]
            assert all(0 < v < 256 for p in t["points5"] for v in p)
            assert left[0] < nose[0] < right[0] and corner[0] < other[0] and left[1] < nose[1] < corner[1], t


@test
def phones_follow_each_other():
    for folder in [f"s{seed}" for seed in SEEDS] + ["lips"]:
        p = phones(folder)
        assert p[0][0] == 0 and all(a[1] == b[0] and a[0] <= a[1] for a, b in zip(p, p[1:])), folder


@test
def lips_close_and_open():
    m = mouths("lips")
    at = lambda a, b: m[min(round((a + b) / 2 * 25), len(m) - 1)]
    closed = [at(a, b)[0] for a, b, c in phones("lips") if c[0] in "mpb"]
    vowels = [at(a, b)[0] for a, b, c in phones("lips") if c[0] in "aɑ"]
    tucked = [at(a, b)[5] for a, b, c in phones("lips") if c[0] in "fv"]
    assert len(closed) >= 7 and sum(v < 0.15 for v in closed) >= 0.8 * len(closed), closed
    assert len(vowels) >= 4 and sum(v > 0.35 for v in vowels) >= 0.8 * len(vowels), vowels
    assert len(tucked) >= 4 and sum(v > 0.4 for v in tucked) >= 0.7 * len(tucked), tucked


@test
def the_measure_sees_the_drawn_mouth():
    for seed in SEEDS:
        m = json.loads(good(run(MEASURE, f"s{seed}/face.mp4", f"s{seed}/track.jsonl", f"s{seed}/mouth.txt")).stdout)
        assert m["correlation"] > 0.93 and m["lag"] == 0, m
    # and that of another speech is not in the picture
    m = json.loads(good(run(MEASURE, "s7/face.mp4", "s7/track.jsonl", "lips/mouth.txt")).stdout)
    assert m["correlation"] < 0.6, m


@test
def the_same_seed_draws_the_same():
    for name in ("o.1", "o.2"):
        good(run(PUPPET, "--seed", 11, "--png", "--size", 96, name))
    good(run(PUPPET, "--seed", 12, "--png", "--size", 96, "o.3"))
    files = sorted(os.listdir("o.1"))
    assert files == sorted(os.listdir("o.2")) and len(files) > 30
    assert all(digest(f"o.1/{f}") == digest(f"o.2/{f}") for f in files)
    assert digest("o.1/00009.png") != digest("o.3/00009.png") and digest("o.1/speech.wav") != digest("o.3/speech.wav")


@test
def a_recording_serves_as_well():
    for name in ("fox", "morning"):
        good(run(PUPPET, "--speech-only", "--speech", f"{RECORDINGS}/{name}.wav", "--phones", f"{RECORDINGS}/{name}.txt", "o.r"))
        assert max(m[0] for m in mouths("o.r")) > 0.5
        assert digest("o.r/speech.wav") == digest(f"{RECORDINGS}/{name}.wav")
    for wav, txt in (("missing.wav", f"{RECORDINGS}/fox.txt"), (f"{RECORDINGS}/fox.txt", f"{RECORDINGS}/fox.txt"),
                     (f"{RECORDINGS}/fox.wav", f"{RECORDINGS}/fox.wav")):
        r = run(PUPPET, "--speech-only", "--speech", wav, "--phones", txt, "o.bad")
        assert r.returncode == 1 and "cannot read" in r.stderr, r.stderr


sys.exit(main(setup))
