#!/usr/bin/env python3
"""What a job takes is told before it is started, and nothing is made. Prints TAP.
usage: estimate.py LATENTSYNC [LIBCUDA]"""
import json
import os
import resource

from common import LS, QUICK, bad, ffmpeg, good, main, run, sys, test, track

os.environ["XDG_CACHE_HOME"] = os.path.join(os.getcwd(), "cache")
os.environ["TMPDIR"] = os.path.join(os.getcwd(), "tmp")
KEPT = "cache/latentsync/calibration.json"
FILES = ["v.mp4", "s.wav", "-m", "models", "-t", "track.jsonl", *QUICK]


def setup():
    os.mkdir("tmp")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=640x480:r=25:d=6", "-c:v", "libx264", "-preset", "ultrafast", "v.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=d=5.6", "s.wav")
    track("track.jsonl", 150, cx=320, cy=240, s=100)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))


def estimate(*args):
    return json.loads(good(run(LS, "estimate", *FILES, *args, "--quality", "auto", "--json")).stdout)


def cpu_of(*args):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    good(run(*args))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@test
def it_is_what_the_job_takes():
    e = estimate()
    assert e["frames"] == 140 and abs(e["seconds"] - 5.6) < 1e-3 and not e["known"], e
    assert e["device"] == "cpu" and not e["networks_computed"] and 0 < e["memory_bytes"] <= e["max_memory_bytes"], e
    cpu = cpu_of(LS, "sync", *FILES, "-o", "o.mp4")
    assert .6 * cpu < e["cpu_seconds"] < 1.6 * cpu, (e, cpu)
    size = os.path.getsize("o.mp4")
    assert size < e["disk_bytes"] < 6 * size, (e, size)
    assert e["run_seconds"] > .3 * e["cpu_seconds"], e


@test
def qualities_share_a_survey():
    everything = lambda *args: cpu_of(LS, "estimate", *FILES, "--json", *args)
    everything()  # which measures what is not known
    one, four = (min(everything(*args) for _ in range(2)) for args in (("--quality", "auto"), ()))
    assert four < 2 * one, (one, four)


@test
def nothing_is_left_but_what_was_measured():
    before = set(os.listdir("."))
    r = good(run(LS, "sync", *FILES, "-o", "o.new.mp4", "--dry-run"))
    assert "140 frames" in r.stdout and "memory" in r.stdout, r.stdout
    assert all(f"\n{q}" in r.stdout for q in ("auto", "fast", "balanced", "best")), r.stdout
    # of several segments, the sample has the first
    good(run(LS, "sync", *FILES, "-o", "o.new.mp4", "--dry-run", "--quality", "auto", "--segment-seconds", "1.3", "--crf", "17"))
    assert set(os.listdir(".")) == before and not os.listdir("tmp") and os.path.exists(KEPT)


@test
def it_is_known_until_tuned_or_something_differs():
    first, again = estimate(), estimate()
    assert again["known"] and again["cpu_seconds"] == first["cpu_seconds"]
    more = estimate("--steps", "60")
    assert not more["known"] and more["cpu_seconds"] > first["cpu_seconds"], (first, more)
    kept = json.load(open(KEPT))
    kept["machine"] = "another"
    json.dump(kept, open(KEPT, "w"))
    assert not estimate()["known"]
    open(KEPT, "w").write('{"machine": ')
    assert not estimate()["known"]
    card = {**os.environ, "LS_CUDA_LIBRARY": (sys.argv[2:] + ["none"])[0], "FAKE_CUDA": "tflops=0.02,gbs=1,link=10"}
    before = open(KEPT).read()
    r = run(LS, "tune", env=card)
    for what in ("GFLOP/s", "threads of networks:", "UNet's batch:", "huge pages:", "restoring:", "decoding:", "encoding:"):
        assert what in r.stdout, (what, r.stdout)
    kept = open(KEPT).read() != before
    assert kept == (r.returncode == 0) != ("nothing was kept" in r.stderr), (r.stderr, kept)
    if kept and sys.argv[2:]:
        a_slow_card_is_not_chosen(r.stdout, card)
    assert estimate()["known"] != kept and not os.listdir("tmp")


def a_slow_card_is_not_chosen(tuned, env):
    assert "device auto: cpu; a step takes" in tuned, tuned
    info = json.loads(good(run(LS, "info", "--json", env=env)).stdout)
    assert info["device_auto"].startswith("cpu: Emulated Card") and "slower" in info["no_card"], info
    r = good(run(LS, "plan", *FILES, "-o", "slow.mp4", env=env))
    assert "networks on the CPU" in r.stderr and "is slower than the CPU: a step" in r.stderr, r.stderr
    text = good(run(LS, "info", env={**env, "FAKE_CUDA": "name=Another"})).stdout
    assert "cuda:0: cards are preferred to the CPU, and its speed was not measured" in text, text


@test
def what_cannot_be_made_cannot_be_estimated():
    bad(run(LS, "sync", *FILES, "-o", "none/o.mp4", "--dry-run"), "none", code=3)
    bad(run(LS, "estimate", "missing.mp4", "s.wav", "-m", "models"), "missing.mp4", code=3)
    bad(run(LS, "estimate", "-", "s.wav", "-m", "models", input=""), "only once", code=3)
    bad(run(LS, "estimate", *FILES, "--max-memory", "50M"), "memory", code=6)
    assert not os.listdir("tmp")


sys.exit(main(setup))
