#!/usr/bin/env python3
"""Previews: the liveliest part of a job, whose chunks the whole then uses. Prints TAP.
usage: preview.py LATENTSYNC"""
import json
import os
import re
import shutil
import subprocess
import sys
import time

from common import LS, QUICK, bad, digest, ffmpeg, good, main, probe, run, syllables, test, track

FILES = ["-m", "models", "-t", "track.jsonl", "video.mkv", "speech.wav"]
SYNC = ["sync", *FILES, *QUICK, "-v"]
PREVIEW = [*SYNC, "--preview", "1.28"]
MODERATE, LIVELY, CHUNKS = [1, 2], [4, 5], 8
MADE, TAKEN = re.compile(r"chunk (\d+): to the networks"), re.compile(r"chunk (\d+): made by an earlier run")


def setup():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=5", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
           "video.mkv")
    syllables("speech.wav", 4.82, (0, 0.6, 0), (0.64, 1.92, 2), (2.56, 3.84, 6))
    track("track.jsonl", 130, cx=80, cy=60, s=40)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))
    good(run(LS, *SYNC, "-o", "whole.mkv"))
    assert len(pictures("whole.mkv")) == 121


def pictures(path):
    r = good(run("ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-f", "framemd5", "-"))
    return [line.split(",")[-1].strip() for line in r.stdout.splitlines() if line and line[0] != "#"]


def kept(job="o.mkv.lsjob"):
    try:
        return sorted(int(f[6:11]) for f in os.listdir(job) if f.startswith("chunk-"))
    except FileNotFoundError:
        return []


def numbers(pattern, r):
    return [int(n) for n in pattern.findall(r.stderr)]


def is_whole(r, taken):
    """The run has made the whole, of which it took so many chunks."""
    good(r)
    assert numbers(TAKEN, r) == list(taken) and len(numbers(MADE, r)) == CHUNKS - len(taken), r.stderr
    assert "damaged" not in r.stderr and digest("o.mkv") == digest("whole.mkv")
    assert not os.path.exists("o.mkv.lsjob")
    os.remove("o.mkv")


def killed(chunks, *args):
    p = subprocess.Popen([str(a) for a in args], stderr=subprocess.PIPE)
    while len(kept()) < chunks:
        assert p.poll() is None, p.stderr.read()
        time.sleep(0.001)
    p.kill()
    p.communicate()
    assert not os.path.exists("o.mkv") and not os.path.exists("o.preview.mkv")
    return kept()


@test
def the_whole_uses_the_chunks_of_its_preview():
    lossless = ["--video-codec", "ffv1"]
    good(run(LS, *SYNC, *lossless, "-o", "o.lossless.mkv"))
    r = good(run(LS, *PREVIEW, *lossless, "-o", "o.mkv"))
    assert pictures("o.preview.mkv") == pictures("o.lossless.mkv")[64:96] and not os.path.exists("o.mkv")
    assert numbers(MADE, r) == kept() == LIVELY
    assert "32 frames from 2.56 s on" in r.stderr and "uses these 2 chunks" in r.stderr and "quality fast" not in r.stderr, r.stderr
    sound = probe("o.preview.mkv", "a:0")
    assert abs(float(sound.get("duration") or sound["tags"]["DURATION"].split(":")[2]) - 1.28) < 0.07, sound
    shutil.rmtree("o.mkv.lsjob")
    # of other things than the faces, everything may differ
    good(run(LS, *PREVIEW, "--crf", "30", "--preset", "slow", "-o", "o.mkv"))
    assert sorted(os.listdir("o.mkv.lsjob")) == [f"chunk-{n:05}.faces" for n in LIVELY] + ["job.json", "lock"]
    is_whole(run(LS, *SYNC, "-o", "o.mkv"), LIVELY)
    good(run(LS, *PREVIEW, "-o", "o.mkv"))
    is_whole(run(LS, "resume", "o.mkv.lsjob", "-v"), LIVELY)
    # a part that begins within a chunk makes that one too
    r = good(run(LS, *PREVIEW, "--start", "2.66", "--duration", "0.5", "-o", "o.mkv"))
    assert kept() == [4] and "12 frames from 2.68 s on" in r.stderr, r.stderr
    is_whole(run(LS, *SYNC, "-o", "o.mkv"), [4])


@test
def other_settings_begin_anew():
    good(run(LS, *PREVIEW, "--seed", "9", "-o", "o.mkv"))
    assert kept() == LIVELY
    is_whole(run(LS, *SYNC, "-o", "o.mkv"), [])
    # what has changed does so too
    good(run(LS, *PREVIEW, "-o", "o.mkv"))
    shutil.copy("track.jsonl", "o.track")
    track("track.jsonl", 130, cx=82, cy=60, s=40)
    r = run(LS, "resume", "o.mkv.lsjob")
    assert r.returncode == 2 and "the face track differs from the one" in r.stderr, r.stderr
    r = good(run(LS, *PREVIEW, "-o", "o.mkv"))
    assert numbers(MADE, r) == kept() == LIVELY, r.stderr
    os.replace("o.track", "track.jsonl")
    is_whole(run(LS, *SYNC, "-o", "o.mkv"), [])


@test
def previews_one_after_the_other():
    r = good(run(LS, *SYNC, "--preview", "-o", "o.mkv"))
    assert len(kept()) == 4 and kept() == numbers(MADE, r) and {*LIVELY} < {*kept()}, kept()
    r = good(run(LS, *PREVIEW, "-o", "o.mkv"))
    assert numbers(TAKEN, r) == LIVELY and kept() == LIVELY, r.stderr
    good(run(LS, *PREVIEW, "--duration", "2.5", "-o", "o.mkv"))
    assert kept() == MODERATE
    is_whole(run(LS, *SYNC, "-o", "o.mkv"), MODERATE)


@test
def a_killed_preview():
    had = killed(1, LS, *SYNC, "--preview", "4", "-o", "o.mkv")
    r = good(run(LS, *SYNC, "--preview", "4", "-o", "o.mkv"))
    assert numbers(TAKEN, r) == had and len(kept()) == 7, r.stderr
    shutil.rmtree("o.mkv.lsjob")
    os.remove("o.preview.mkv")
    had = killed(1, LS, *SYNC, "--preview", "4", "-o", "o.mkv")
    is_whole(run(LS, *SYNC, "-o", "o.mkv"), had)


@test
def a_preview_of_a_job_that_was_begun():
    had = killed(1, LS, *SYNC, "-o", "o.mkv")
    r = run(LS, *PREVIEW, "--seed", "9", "-o", "o.mkv")
    assert r.returncode == 2 and "was started with seed 1247, not 9" in r.stderr and kept() == had, r.stderr
    good(run(LS, *PREVIEW, "-o", "o.mkv"))
    assert kept() == sorted({*had, *LIVELY})
    is_whole(run(LS, "resume", "o.mkv.lsjob", "-v"), sorted({*had, *LIVELY}))


@test
def where_a_face_is_seen():
    track("o.track.jsonl", 130, skip=range(60, 110), cx=80, cy=60, s=40)
    args = [*PREVIEW, "-t", "o.track.jsonl"]
    r = good(run(LS, *args, "-o", "o.mkv"))
    assert kept() == MODERATE and "lively and a face is seen" in r.stderr, r.stderr
    shutil.rmtree("o.mkv.lsjob")
    track("o.track.jsonl", 3, cx=80, cy=60, s=40)
    r = good(run(LS, *args, "-o", "o.mkv"))
    assert "no face is seen" in r.stderr and "chunks" not in r.stderr and not os.path.exists("o.mkv.lsjob"), r.stderr


@test
def fast_unless_it_is_said():
    def settings(*args):
        good(run(LS, "sync", "--preview=0.6", *FILES, "--resolution", "64", "-o", "o.mkv", *args))
        s = json.load(open("o.mkv.lsjob/job.json"))["settings"]
        return s["sampler"], s["steps"], s["guidance_interval"]
    assert settings() == ("dpmpp", 6, "0:0.5")
    assert settings("--steps", "4") == ("ddim", 4, "0:1")
    assert settings("--quality", "auto", "--cache-interval", "9") == ("ddim", 20, "0:1")
    r = good(run(LS, "sync", "--preview=0.6", *FILES, "--resolution", "64", "-o", "o.mkv"))
    assert "without --preview and with --quality fast" in r.stderr, r.stderr


@test
def a_copy_is_not_trusted():
    good(run(LS, *PREVIEW, "-o", "o.mkv"))
    shutil.copytree("o.mkv.lsjob", "o.copy")
    good(run(LS, "render", "o.copy", "--segment", 0))
    r = run(LS, "resume", "o.copy")
    assert r.returncode == 2 and "was not begun here" in r.stderr and not os.path.exists("o.mkv"), r.stderr
    is_whole(run(LS, "resume", "o.mkv.lsjob", "-v"), LIVELY)


@test
def events_and_pipes():
    args = [a if a != "speech.wav" else "-" for a in PREVIEW if a != "-v"]
    with open("speech.wav") as f:
        lines = good(run(LS, *args, "-o", "o.mkv", "--progress", "json", stdin=f)).stdout.splitlines()
    events = [json.loads(x) for x in lines]
    assert any(e["event"] == "progress" and e["stage"] == "preview" and e["frames"] == 32 for e in events), lines
    done = events[-1]
    assert (done["output"], done["frames"], done["start"], done["chunks_kept"]) == ("o.preview.mkv", 32, 2.56, 2), done
    with open("track.jsonl") as f:  # other speech in the same place
        r = run(LS, *args, "-o", "o.mkv", stdin=f)
    assert r.returncode == 3, r.stderr
    with open("speech.wav") as f:
        r = good(run(LS, *args, "-o", "o.mkv", "-v", stdin=f))
    assert numbers(TAKEN, r) == LIVELY, r.stderr
    is_whole(run(LS, "resume", "o.mkv.lsjob", "-v"), LIVELY)


@test
def previews_that_are_none():
    bad(run(LS, *PREVIEW, "-o", "-"), "name a FILE", code=2)
    bad(run(LS, "plan", *SYNC[1:], "--preview", "-o", "out.mkv"), "--preview: a preview is made as a whole", code=2)
    bad(run(LS, *SYNC, "--preview", "61", "-o", "out.mkv"), "--preview", "from 0.04 to 60", code=2)
    bad(run(LS, *PREVIEW, "--until", "video", "--start", "4.9", "-o", "out.mkv"), "there is no speech in this part", code=2)
    shutil.copy("video.mkv", "o.preview.mkv")
    video = [a if a != "video.mkv" else "o.preview.mkv" for a in PREVIEW]
    bad(run(LS, *video, "-o", "o.mkv"), "o.preview.mkv would overwrite an input", code=2)
    bad(run(LS, *PREVIEW, "--no-overwrite", "-o", "o.mkv"), "o.preview.mkv exists", code=2)
    good(run(LS, *PREVIEW, "--dry-run", "-o", "out.mkv"))
    assert not os.path.exists("out.mkv.lsjob")


sys.exit(main(setup))
