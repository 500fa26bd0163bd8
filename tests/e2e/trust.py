#!/usr/bin/env python3
"""Folders of jobs that others made or meddled with, and inputs that come through pipes. Prints TAP.
usage: trust.py LATENTSYNC FAULTS, the latter a library that makes the machine fail (faults.c)"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

from common import DIR, LS, QUICK, digest, ffmpeg, good, main, preload, run, test, track

FAULTS = sys.argv[2]
JOB = ["-m", "models", "-t", "track.jsonl", "video.mp4", "speech.wav", *QUICK, "--segment-seconds", "0.6"]
SEGMENTS = 3
PRECIOUS = b"precious\n" * 99
FULL = bool(os.environ.get("LS_TEST_FULL"))


def setup():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=192x160:r=25:d=2.0", "-c:v", "libx264", "-preset", "ultrafast",
           "-pix_fmt", "yuv420p", "video.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=16000:d=1.6", "speech.wav")
    ffmpeg("-i", "video.mp4", "-c", "copy", "-frames:v", "40", "other.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=f=200:r=16000:d=1.6", "other.wav")
    track("track.jsonl", 50, cx=96, cy=80, s=50)
    track("other.jsonl", 50, cx=90, cy=80, s=50)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))
    good(run(LS, "sync", *JOB, "-o", "whole.mp4"))


def begun(out="o.mp4", *options):
    """A job of which one segment is finished."""
    good(run(LS, "plan", *JOB, "-o", out, *options))
    good(run(LS, "render", out + ".lsjob", "--segment", "1"))
    return out + ".lsjob"


def same(out="o.mp4", like="whole.mp4"):
    assert digest(out) == digest(like), f"{out} differs from {like}"
    left = [f for f in os.listdir(".") if f.startswith("." + out) or f == out + ".lsjob"]
    assert not left, f"left behind: {left}"
    os.remove(out)


def parts(job):
    return [f for f in os.listdir(job) if f.endswith(".part")]


def piped(command, video="video.mp4", audio="speech.wav", faces="track.jsonl", **kw):
    """Runs it with all inputs coming through pipes."""
    feeders = []
    for fifo, source in (("o.video", video), ("o.audio", audio), ("o.track", faces)):
        if not os.path.exists(fifo):
            os.mkfifo(fifo)
        feeders.append(subprocess.Popen(["sh", "-c", f"exec cat {source} > {fifo}"], stderr=subprocess.DEVNULL))
    args = [{"video.mp4": "o.video", "speech.wav": "o.audio", "track.jsonl": "o.track"}.get(a, a) for a in JOB]
    r = run(LS, command, *args, "-o", "o.mp4", *kw.pop("options", ()), **kw)
    for f in feeders:
        f.kill()
        f.wait()
    return r


@test
def a_second_run_from_pipes():
    job = "o.mp4.lsjob"
    open("o.empty", "w").close()
    good(piped("plan"))
    good(run(LS, "render", job, "--segment", "1"))

    def contents():
        return {f: digest(f"{job}/{f}") for f in os.listdir(job) if f != "lock"}
    kept = contents()
    for inputs, name in (({"video": "other.mp4"}, "video"), ({"audio": "other.wav"}, "audio"),
                         ({"faces": "other.jsonl"}, "face track"),
                         ({"video": "o.empty"}, "video"), ({"audio": "o.empty"}, "audio")):
        r = piped("sync", **inputs)
        assert r.returncode == 2 and f"the {name} differs from the one" in r.stderr, r.stderr
        assert contents() == kept
    # what is kept can be mended by the right input
    with open(job + "/video", "r+b") as f:
        f.truncate(1000)
    r = good(piped("sync"))
    assert f"resuming: 1 of {SEGMENTS}" in r.stderr, r.stderr
    same()
    # another input takes the place of the first where that is asked for
    good(piped("plan"))
    r = good(piped("plan", audio="other.wav", options=["--restart"]))
    assert digest(job + "/audio") == digest("other.wav")
    shutil.rmtree(job)


@test
def a_copy_that_is_killed():
    job = "o.mp4.lsjob"
    os.mkfifo("o.video")
    p = subprocess.Popen([LS, "sync", *["o.video" if a == "video.mp4" else a for a in JOB], "-o", "o.mp4"],
                         stderr=subprocess.PIPE)
    with open("o.video", "wb") as f:
        f.write(open("video.mp4", "rb").read()[:5000])
        f.flush()
        end = time.time() + 30
        while not (os.path.exists(job) and any(os.path.getsize(f"{job}/{x}") for x in parts(job))):
            assert time.time() < end and p.poll() is None
            time.sleep(0.01)
        p.kill()
        p.communicate()
    assert parts(job)
    good(piped("plan"))
    assert not parts(job) and os.path.exists(job + "/video"), os.listdir(job)
    good(run(LS, "resume", job))
    same()


@test
def pipes_without_end():
    env = dict(os.environ, LD_PRELOAD=preload(FAULTS), LS_FAULT_FREE="100000000")
    os.mkfifo("o.video")
    command = [LS, "sync", *["o.video" if a == "video.mp4" else a for a in JOB], "-o", "o.mp4"]
    endless = subprocess.Popen(["sh", "-c", "exec yes > o.video"], stderr=subprocess.DEVNULL)
    r = run(*command, env=env)
    assert r.returncode == 6 and "o.video does not end" in r.stderr and "free" in r.stderr, r.stderr
    endless.wait(timeout=30)
    assert not os.path.exists("o.mp4.lsjob") and not os.path.exists("o.mp4")
    # nobody writes, or somebody opens it and writes nothing
    for silent in (False, True):
        p = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        f = os.open("o.video", os.O_RDWR) if silent else -1
        while not os.path.exists("o.mp4.lsjob"):
            assert p.poll() is None, p.stderr.read()
            time.sleep(0.01)
        time.sleep(0.3)
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=20)
        assert p.returncode == 130 and not os.path.exists("o.mp4.lsjob"), (p.returncode, err)
        if silent:
            os.close(f)


@test
def pipes_where_files_are_needed():
    os.mkfifo("o.onnx")
    for args in (["faces", "--detector", "o.onnx", "video.mp4"],
                 ["sync", "-m", "models", "--detector", "o.onnx", "video.mp4", "speech.wav", "-o", "o.mp4"]):
        r = run(LS, *args)
        assert r.returncode == 2 and "o.onnx: not a regular file" in r.stderr, r.stderr


@test
def a_pipe_among_the_models():
    shutil.copytree("models", "o.models")
    os.makedirs("o.models/face", exist_ok=True)
    os.mkfifo("o.models/face/scrfd.onnx")
    r = run(LS, "faces", "-m", "o.models", "video.mp4")
    assert r.returncode == 2 and "scrfd.onnx: not a regular file" in r.stderr, (r.returncode, r.stderr)


def plant(path, kind):
    if os.path.lexists(path):
        os.remove(path)
    {"symlink": lambda: os.symlink(os.path.abspath("o.victim"), path), "hard": lambda: os.link("o.victim", path),
     "dangling": lambda: os.symlink(os.path.abspath("o.new"), path), "fifo": lambda: os.mkfifo(path)}[kind]()


KINDS = ("symlink", "hard", "dangling", "fifo")


def refused(job, kind, name, said):
    """Every command, where a file of the job is replaced by a link or a pipe."""
    plant(f"{job}/{name}", kind)
    for command in (["sync", *JOB, "-o", "o.mp4"], ["sync", *JOB, "-o", "o.mp4", "--restart"],
                    ["resume", job], ["render", job, "--segment", "0"], ["join", job]):
        r = run(LS, *command)
        assert r.returncode in (2, 3) and said in r.stderr, (kind, name, command, r.stderr)
    assert open("o.victim", "rb").read() == PRECIOUS, (kind, name)
    assert not os.path.exists("o.new") and not os.path.exists("o.mp4")
    os.remove(f"{job}/{name}")


@test
def links_in_place_of_files():
    with open("o.victim", "wb") as f:
        f.write(PRECIOUS)
    names = ("lock", "journal.jsonl", "job.json", "faces.jsonl", "video.index", "video", "audio", "track")
    job = begun()
    for i, name in enumerate(names):
        for kind in KINDS if FULL or name == "lock" else [KINDS[i % 4]]:
            had = os.path.exists(f"{job}/{name}")
            if had:
                os.rename(f"{job}/{name}", "o.kept")
            refused(job, kind, name, f"{job}/{name}")
            if had:
                os.rename("o.kept", f"{job}/{name}")
    r = good(run(LS, "resume", job))  # which nothing of that has harmed
    assert f"resuming: 1 of {SEGMENTS}" in r.stderr, r.stderr
    same()
    # nothing but the link
    for i, kind in enumerate(KINDS):
        for name in names[:2] if FULL else [names[i % 2]]:
            os.mkdir(job)
            refused(job, kind, name, job)
            shutil.rmtree(job)


@test
def links_in_place_of_segments():
    with open("o.victim", "wb") as f:
        f.write(PRECIOUS)
    for kinds in (("symlink", "hard", "fifo"), ("dangling", "symlink", "hard"), ("hard", "fifo", "dangling")):
        job = begun()
        for k, kind in enumerate(kinds):
            plant(f"{job}/segment-0000{k}.nut", kind)
        good(run(LS, "resume", job))
        same()
        assert open("o.victim", "rb").read() == PRECIOUS and not os.path.exists("o.new")


@test
def folders_of_others():
    if os.getuid():
        return "only root can give files away"
    job = begun()
    os.chown(job, 4711, -1)
    for command in (["sync", *JOB, "-o", "o.mp4"], ["resume", job], ["render", job, "--segment", "0"]):
        r = run(LS, *command)
        assert r.returncode == 2 and "another user" in r.stderr, r.stderr
    os.chown(job, 0, -1)
    os.chown(job + "/journal.jsonl", 4711, -1)
    r = run(LS, "resume", job)
    assert r.returncode == 2 and "journal.jsonl is another user's" in r.stderr, r.stderr
    os.chown(job + "/journal.jsonl", 0, -1)
    os.rename(job, "o.real")
    os.symlink("o.real", job)
    os.chown(job, 4711, -1, follow_symlinks=False)
    r = run(LS, "sync", *JOB, "-o", "o.mp4")
    assert r.returncode == 2 and "another user" in r.stderr, r.stderr
    os.remove(job)
    good(run(LS, "resume", "o.real"))
    assert not os.path.exists("o.real")
    os.remove("o.mp4")


@test
def outputs_that_a_foreign_folder_names():
    job = begun("o.mp4")
    with open("o.mp4", "wb") as f:
        f.write(PRECIOUS)
    shutil.copytree(job, "o.download")
    d = json.load(open("o.download/job.json"))
    d["inputs"]["save_track"], d["inputs"]["face_track"] = DIR + "/o.victim", None
    json.dump(d, open("o.download/job.json", "w"))
    with open("o.victim", "wb") as f:
        f.write(PRECIOUS)
    for command in ("resume", "join"):
        r = run(LS, command, "o.download")
        assert r.returncode == 2 and "was not begun here" in r.stderr and "--trust-job" in r.stderr, r.stderr
        assert DIR + "/o.mp4 and " + DIR + "/o.victim" in r.stderr, r.stderr
        assert open("o.mp4", "rb").read() == PRECIOUS and open("o.victim", "rb").read() == PRECIOUS
    shutil.rmtree("o.download")
    # others may help, and the user may agree
    shutil.copytree(job, "o.copy")
    shutil.rmtree(job)
    good(run(LS, "render", "o.copy", "--segment", "0"))
    assert run(LS, "resume", "o.copy").returncode == 2
    r = good(run(LS, "resume", "o.copy", "--trust-job"))
    assert f"resuming: 2 of {SEGMENTS}" in r.stderr, r.stderr
    assert not os.path.exists("o.copy")
    same()
    # a folder that was moved is still the user's
    os.rename(begun(), "o.moved")
    good(run(LS, "resume", "o.moved"))
    same()


@test
def altered_descriptions_and_journals():
    good(run(LS, "sync", *JOB, "--crf", "30", "-o", "o.fresh.mp4"))
    job = begun()
    d = json.load(open(job + "/job.json"))
    d["settings"]["crf"] = 30
    json.dump(d, open(job + "/job.json", "w"))
    r = good(run(LS, "resume", job))
    assert "ignoring 1 damaged line" in r.stderr, r.stderr
    same(like="o.fresh.mp4")
    for was, now in (('"delay": ', '"delay": 1'), ('"frames": 16', '"frames": 15'), ('"check": "', '"check": "0')):
        job = begun()
        text = open(job + "/journal.jsonl").read()
        assert was in text, text
        open(job + "/journal.jsonl", "w").write(text.replace(was, now))
        r = good(run(LS, "resume", job))
        assert "ignoring 1 damaged line" in r.stderr, r.stderr
        same()


@test
def allocations_that_fail():
    """Each is an error, and leaves what a later run makes whole; none is taken for something else."""
    if "libasan" in preload(FAULTS):
        return "the allocations are the sanitizer's"
    refused = 0
    points = 18 if FULL else 9
    for i in range(points):
        env = dict(os.environ, LD_PRELOAD=preload(FAULTS), LS_FAULT_MALLOC=str(int(5000 ** (i / points)) + i))
        r = run(LS, "sync", *JOB, "-o", "o.mp4", env=env)
        assert r.returncode in (0, 6), (i, r.returncode, r.stderr)
        if r.returncode:
            assert "memory" in r.stderr and not os.path.exists("o.mp4"), r.stderr
            refused += 1
            good(run(LS, "sync", *JOB, "-o", "o.mp4"))
        same()
    assert refused > points // 2, refused


sys.exit(main(setup))
