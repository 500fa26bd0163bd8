#!/usr/bin/env python3
"""Packed weights are kept for the next start, and change no byte. Prints TAP.
usage: kept.py LATENTSYNC FAULTS, the latter a library that makes the machine fail (faults.c)"""
import glob
import json
import os
import subprocess

from common import LS, QUICK, digest, ffmpeg, good, main, preload, run, sys, test, track

FAULTS = sys.argv[2]
JOB = ["-m", "models", "-t", "track.jsonl", "video.mp4", "speech.wav", *QUICK, "-v"]
FOLDER = os.path.join(os.environ["XDG_CACHE_HOME"], "latentsync", "weights")


def setup():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=192x160:r=25:d=1", "-c:v", "libx264", "-preset", "ultrafast", "video.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=16000:d=0.4", "speech.wav")
    track("track.jsonl", 25, cx=96, cy=80, s=50)
    good(run(LS, "models", "random", "--size", "small", "--out", "models"))
    good(sync("whole.mp4", "--weights-cache", "0"))


def sync(out, *options, dtype="f32", **env):
    return run(LS, "sync", *JOB, "--dtype", dtype, *options, "-o", out, env={**os.environ, **env})


def kept():
    return sorted(glob.glob(FOLDER + "/*"))


def forget():
    for f in kept():
        os.remove(f)


def same(out, like="whole.mp4"):
    assert digest(out) == digest(like), f"{out} differs from {like}"


@test
def a_later_start_maps_them_and_makes_the_same_bytes():
    assert not kept(), kept()
    machine = json.loads(good(run(LS, "info", "--json")).stdout)
    types = ["f32"] + ["bf16"] * ("avx512-bf16" in machine["features"]) + ["int8"] * ("avx512-vnni" in machine["features"])
    for dtype in types:
        like = "whole.mp4"
        if dtype != "f32":
            like = "o.whole.mp4"
            good(sync(like, "--weights-cache", "0", dtype=dtype))
        for says, not_said in ("kept in", "mapped from"), ("mapped from", "kept in"):
            r = good(sync("o.mp4", dtype=dtype))
            unet = [line for line in r.stderr.splitlines() if "UNet" in line and "packed weights" in line]
            assert len(unet) == 1 and says in unet[0] and not_said not in unet[0], (dtype, says, r.stderr)
            same("o.mp4", like)
    machine = json.loads(good(run(LS, "info", "--json")).stdout)
    assert machine["weights_cache_bytes"] == sum(map(os.path.getsize, kept())) > 50e6, machine


@test
def what_is_damaged_is_made_again():
    forget()
    good(sync("o.mp4"))
    largest = max(kept(), key=os.path.getsize)
    whole = digest(largest)
    with open(largest, "r+b") as f:
        f.seek(os.path.getsize(largest) // 2)
        f.write(b"damaged")
    r = good(sync("o.mp4"))
    assert "wrong checksum" in r.stderr and "kept in " + largest in r.stderr, r.stderr
    same("o.mp4")
    assert digest(largest) == whole


@test
def another_checkpoint_is_another_file():
    forget()
    good(sync("o.mp4"))
    before = kept()
    os.utime("models/latentsync_unet.pt", (1, 1))
    good(sync("o.mp4"))
    assert len(kept()) == len(before) + 1, (before, kept())
    same("o.mp4")


@test
def a_disk_that_is_full_or_read_only_is_no_reason_to_stop():
    forget()
    for fault in {"LS_FAULT_PATH": "latentsync/weights", "LS_FAULT_WRITE": "3000000"}, {"LS_FAULT_FREE": "1000000"}, \
            {"LS_FAULT_FROZEN": "latentsync/weights"}:
        r = good(sync("o.mp4", LD_PRELOAD=preload(FAULTS), **fault))
        assert "not kept" in r.stderr and "kept in" not in r.stderr, r.stderr
        assert not kept() and not glob.glob(FOLDER + "/.*"), os.listdir(FOLDER)
        same("o.mp4")


@test
def two_processes_at_once_do_not_disturb_each_other():
    forget()
    both = [subprocess.Popen([LS, "sync", *JOB, "--dtype", "f32", "-o", f"o.{i}.mp4"], stderr=subprocess.PIPE, text=True)
            for i in range(2)]
    said = [p.communicate()[1] for p in both]
    assert not any(p.returncode for p in both), said
    for i in range(2):
        same(f"o.{i}.mp4")
    assert "mapped from" in good(sync("o.mp4")).stderr
    same("o.mp4")
    assert not glob.glob(FOLDER + "/.*"), os.listdir(FOLDER)


sys.exit(main(setup))
