#!/usr/bin/env python3
"""Jobs that are interrupted, damaged, shared and finished all the same, to the same bytes. Prints TAP.
usage: jobs.py LATENTSYNC FAULTS, the latter a library that makes the machine fail (faults.c)"""
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

from common import DIR, LS, QUICK, bad, digest, ffmpeg, good, main, preload, probe, run, test, track

FAULTS = sys.argv[2]
assert os.path.isabs(FAULTS) and os.path.exists(FAULTS), FAULTS
SYNC = ["sync", "-m", "models", "-t", "track.jsonl", "video.mp4", "speech.wav", *QUICK, "--segment-seconds", "0.6"]
SEGMENTS, FRAMES = 7, 100
TOOK = []  # seconds that an uninterrupted run took


def setup():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=3.0", "-c:v", "libx264", "-preset", "ultrafast",
           "-crf", "10", "-pix_fmt", "yuv420p", "video.mp4")
    for name, seconds in (("speech.wav", 4), ("long.wav", 8)):
        ffmpeg("-f", "lavfi", "-i", f"sine=f=300:r=44100:d={seconds},aformat=channel_layouts=stereo", name)
    track("track.jsonl", 75, skip=range(30, 40))
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))
    begin = time.monotonic()
    good(run(LS, *SYNC, "-o", "whole.mp4"))
    TOOK.append(time.monotonic() - begin)
    assert not os.path.exists("whole.mp4.lsjob")


def command(out, *options):
    return [LS, *SYNC, "-o", out, *options]


def start(*args, **kw):
    return subprocess.Popen([str(a) for a in args], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **kw)


def finished(job):
    try:
        numbers = set(json.loads(x)["segment"] for x in open(job + "/journal.jsonl") if x.endswith("}\n"))
        return len(numbers & set(range(SEGMENTS)))
    except FileNotFoundError:
        return 0


def wait_for(job, segments, p):
    while finished(job) < segments:
        assert p.poll() is None, p.stderr.read()
        time.sleep(0.005)


def same(out, job=None):
    assert digest(out) == digest("whole.mp4"), f"{out} differs from the uninterrupted run"
    assert not os.path.exists(job or out + ".lsjob"), "the folder of the job is still there"
    left = [f for f in os.listdir(".") if f.startswith("." + out)]
    assert not left, f"left behind: {left}"
    os.remove(out)


def begun(out, segments=4):
    """A job of which so many segments, or a few more, are finished."""
    p = start(*command(out))
    wait_for(out + ".lsjob", segments, p)
    p.kill()
    p.communicate()
    assert not os.path.exists(out)
    return out + ".lsjob"


def faulty(**faults):
    return dict(os.environ, LD_PRELOAD=preload(FAULTS), **{"LS_FAULT_" + k.upper(): str(v) for k, v in faults.items()})


@test
def killed_at_random_moments():
    rng, kills, outputs, midway = random.Random(4), 0, 0, 0
    wanted = 24 if os.environ.get("LS_TEST_FULL") else 6
    while kills < wanted or midway < wanted // 3:
        assert kills < 200, "none of the kills falls between the segments"
        p = start(*(command("o.mp4") if kills % 2 or not os.path.exists("o.mp4.lsjob/job.json")
                    else [LS, "resume", "o.mp4.lsjob"]))
        pause = rng.uniform(0.05, 0.9) * TOOK[0]
        try:
            p.communicate(timeout=pause)
            assert p.returncode == 0, p.stderr
            same("o.mp4")
            outputs += 1
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()
            kills += 1
            midway += 0 < finished("o.mp4.lsjob") < SEGMENTS
            print(f"# kill {kills} after {pause:.2f} s: {finished('o.mp4.lsjob')} of {SEGMENTS} segments finished",
                  flush=True)
            assert finished("o.mp4.lsjob") or not os.path.exists("o.mp4") or digest("o.mp4") == digest("whole.mp4")
    good(run(*command("o.mp4")))
    same("o.mp4")
    print(f"# {kills} kills, {outputs + 1} outputs")


LONG = ["long.wav" if a == "speech.wav" else a for a in SYNC[:-2]] + ["--segment-seconds", "4.5", "-v"]  # of 7 chunks, and 6
CHUNKS = 13
MADE, KEPT, TAKEN = (re.compile(r"chunk (\d+): " + what) for what in ("to the networks", "kept", "made by an earlier run"))


def chunks_kept(job):
    try:
        return sorted(int(f[6:11]) for f in os.listdir(job) if f.startswith("chunk-"))
    except FileNotFoundError:
        return []


def wait_for_chunks(job, chunks, p):
    while len(chunks_kept(job)) < chunks:
        assert p.poll() is None, p.stderr.read()
        time.sleep(0.001)


def long_job(chunks=4):
    """A job of long segments of which so many chunks, or a few more, are kept and no segment is finished."""
    p = start(LS, *LONG, "-o", "o.mp4")
    wait_for_chunks("o.mp4.lsjob", chunks, p)
    p.kill()
    p.communicate()
    assert not finished("o.mp4.lsjob")
    return "o.mp4.lsjob"


def same_long():
    if not os.path.exists("whole.long.mp4"):
        good(run(LS, *LONG, "-o", "whole.long.mp4"))
    assert digest("o.mp4") == digest("whole.long.mp4") and not os.path.exists("o.mp4.lsjob")
    os.remove("o.mp4")


@test
def a_kill_costs_one_chunk():
    rng, kills, wanted = random.Random(5), 0, 40 if os.environ.get("LS_TEST_FULL") else 4
    while kills < wanted:
        made, kept, before, done = [], set(), kills, False
        while not done:
            p = start(LS, *LONG, "-o", "o.mp4")
            # within the work or anywhere else
            if rng.random() < 0.7:
                had = chunks_kept("o.mp4.lsjob")
                until = time.monotonic() + 2 * TOOK[0]
                while p.poll() is None and chunks_kept("o.mp4.lsjob") == had and time.monotonic() < until:
                    time.sleep(0.001)
                pause = rng.uniform(0, 0.3) * TOOK[0]
            else:
                pause = rng.uniform(0.05, 1.2) * TOOK[0]
            try:
                err = p.communicate(timeout=pause)[1]
                assert p.returncode == 0, err
                done = True
            except subprocess.TimeoutExpired:
                p.kill()
                err = p.communicate()[1]
                kills += 1
            now = [int(n) for n in MADE.findall(err)]
            assert not kept & set(now), f"{kept & set(now)} were kept and made again"
            # one in the works, and the one before, which may still be being written
            lost = set(now) - {int(n) for n in KEPT.findall(err)}
            assert done or lost <= set(now[-2:]), (now, lost)
            kept |= set(now) - lost
            made += now
            assert len(chunks_kept("o.mp4.lsjob")) <= 8, "more than a segment and what is in the works"
        assert len(kept) >= CHUNKS - (kills - before), (made, kept)
        print(f"# {kills - before} kills, {len(made) - len(set(made))} chunks made again", flush=True)
        same_long()


@test
def kept_chunks_are_checked():
    job = long_job()
    kept = chunks_kept(job)
    path = {n: f"{job}/chunk-{n:05}.faces" for n in kept}
    n = kept[:4]
    data = bytearray(open(path[n[0]], "rb").read())
    assert len(data) == 64 + 16 * 64 * 64 * 3 * 4 and data[:8] == b"LSCHUNK1", len(data)
    data[len(data) // 2] ^= 1
    open(path[n[0]], "wb").write(data)
    os.truncate(path[n[1]], 1000)
    os.remove(path[n[2]])
    os.symlink(os.path.abspath(path[n[3]]) + ".moved", path[n[2]])
    os.rename(path[n[3]], path[n[3]] + ".moved")
    shutil.copy(path[n[3]] + ".moved", path[n[3]])
    with open(path[n[3]], "ab") as f:
        f.write(b"x")
    os.remove(path[n[3]] + ".moved")
    r = good(run(LS, "resume", job, "-v"))
    made, taken = ({int(x) for x in e.findall(r.stderr)} for e in (MADE, TAKEN))
    assert set(n) <= made and taken == set(kept) - set(n) and len(made | taken) == CHUNKS, (made, taken)
    assert r.stderr.count("is damaged, or not of this job; chunk ") == 3 and "cannot be used; chunk " in r.stderr, r.stderr
    same_long()


@test
def chunks_of_another_job_do_not_count():
    job = long_job()
    mine = os.listdir(job)
    shutil.copytree(job, "o.other")
    shutil.rmtree(job)
    p = start(LS, *LONG, "--seed", "9", "-o", "o.mp4")
    wait_for_chunks(job, 5, p)
    p.kill()
    p.communicate()
    kept = chunks_kept(job)
    for f in mine:
        if f.startswith("chunk-"):
            shutil.copy(f"o.other/{f}", f"{job}/{f}")
    r = good(run(LS, "resume", job, "-v"))
    ours = {int(f[6:11]) for f in mine if f.startswith("chunk-")}
    assert {int(x) for x in TAKEN.findall(r.stderr)} == set(kept) - ours and len(ours & set(kept)) >= 3, r.stderr
    good(run(LS, *LONG, "--seed", "9", "-o", "o.fresh.mp4"))
    assert digest("o.mp4") == digest("o.fresh.mp4") != digest("whole.long.mp4")
    # nor what was there when the job starts again
    os.remove("o.mp4")
    assert len(chunks_kept(long_job())) >= 4
    r = good(run(LS, *LONG, "-o", "o.mp4", "--restart"))
    assert not TAKEN.search(r.stderr) and len(MADE.findall(r.stderr)) == CHUNKS, r.stderr
    same_long()


@test
def chunks_of_parts_and_copies():
    """A segment that one process has begun another resumes, in a copy of the folder too."""
    job = "o.mp4.lsjob"
    good(run(LS, "plan", *LONG[1:], "-o", "o.mp4"))
    p = start(LS, "render", job, "--segment", 1, "-v")
    wait_for_chunks(job, 3, p)
    p.kill()
    p.communicate()
    kept = chunks_kept(job)
    assert kept[0] == 7, kept
    shutil.copytree(job, "o.copy")
    r = good(run(LS, "render", "o.copy", "--segment", 1, "-v"))
    assert [int(x) for x in TAKEN.findall(r.stderr)] == kept and not chunks_kept("o.copy"), r.stderr
    r = good(run(LS, "render", job, "--segment", 0, "-v"))
    assert not TAKEN.search(r.stderr) and chunks_kept(job) == kept, r.stderr
    shutil.copy("o.copy/segment-00001.nut", job)
    good(run(LS, "resume", job))
    same_long()
    shutil.rmtree("o.copy")


@test
def a_disk_without_room_for_chunks():
    for faults in (dict(path=".chunk-", write=100000), dict(free=2 * 10**8)):
        r = good(run(LS, *LONG, "-o", "o.mp4", env=faulty(**faults)))
        assert r.stderr.count("No space left on device; from now on an interruption costs") == 1, r.stderr
        same_long()


@test
def what_is_finished_is_not_made_again():
    job = begun("o.mp4")
    before = {f: os.stat(f"{job}/{f}").st_mtime_ns for f in os.listdir(job) if f.startswith("segment")}
    p = start(LS, "resume", job, "--keep-job")
    _, err = p.communicate()
    assert p.returncode == 0 and "resuming: " in err and f"of {SEGMENTS} segments in {job} are finished" in err, err
    after = {f: os.stat(f"{job}/{f}").st_mtime_ns for f in os.listdir(job) if f.startswith("segment")}
    done = finished(job)
    assert done == len(after) == SEGMENTS
    assert len(before) >= 4 and all(after[f] == t for f, t in list(before.items())[:4])
    # a job that is kept can be joined again
    os.remove("o.mp4")
    good(run(LS, "join", job))
    same("o.mp4")


@test
def parts_made_by_several_processes():
    r = good(run(LS, "plan", *SYNC[1:], "-o", "o.mp4"))
    assert r.stdout == f"{SEGMENTS}\n", r.stdout
    assert sorted(os.listdir("o.mp4.lsjob")) == ["job.json", "lock", "video.index"]
    bad_join = run(LS, "join", "o.mp4.lsjob")
    assert bad_join.returncode == 2 and f"{SEGMENTS} of the {SEGMENTS} segments" in bad_join.stderr and "latentsync render" in bad_join.stderr, bad_join.stderr
    todo, running, busy = list(range(SEGMENTS)) + [3, 4], [], 0
    random.Random(1).shuffle(todo)
    while todo or running:
        while todo and len(running) < 3:
            running.append(start(LS, "render", "o.mp4.lsjob", "--segment", todo.pop()))
        for p in [p for p in running if p.poll() is not None]:
            err = p.communicate()[1]
            assert p.returncode == 0 or (p.returncode == 7 and "is being worked on by process" in err), err
            running.remove(p)
        time.sleep(0.01)
    good(run(LS, "render", "o.mp4.lsjob", "--segment", "3"))
    good(run(LS, "join", "o.mp4.lsjob"))
    same("o.mp4")


@test
def one_process_at_a_time():
    p = start(*command("o.mp4"))
    wait_for("o.mp4.lsjob", 1, p)
    p.send_signal(signal.SIGSTOP)
    for args in (["resume", "o.mp4.lsjob"], [*SYNC, "-o", "o.mp4"],
                 ["render", "o.mp4.lsjob", "--segment", SEGMENTS - 1], ["join", "o.mp4.lsjob"]):
        r = run(LS, *args)
        assert r.returncode == 7 and f"is being worked on by process {p.pid} on " in r.stderr, r.stderr
    p.send_signal(signal.SIGCONT)
    assert p.wait() == 0
    same("o.mp4")


@test
def what_has_changed_is_named():
    job = begun("o.mp4", 2)
    shutil.copytree("models", "other")
    for args, words in ((["--steps", "3"], ["steps 2, not 3"]), (["--seed", "7"], ["seed 1247, not 7"]),
                        (["--crf", "20"], ["crf 18, not 20"]), (["--guidance", "1"], ["guidance 1.5, not 1.0"]),
                        (["--segment-seconds", "2"], ["segment_frames 16, not 48"]),
                        (["-m", "other"], ["models", "/other"])):
        r = run(*command("o.mp4", *args))
        assert r.returncode == 2 and all(w in r.stderr for w in words + ["was started with", "latentsync resume o.mp4.lsjob"]), r.stderr
    for name, key in (("speech.wav", "audio"), ("video.mp4", "video"), ("track.jsonl", "face track"),
                      ("models/latentsync_unet.pt", "UNet")):
        os.rename(name, "kept")
        data = bytearray(open("kept", "rb").read())
        data[len(data) // 2] ^= 1
        open(name, "wb").write(data)
        r = run(LS, "resume", job)
        os.replace("kept", name)
        assert r.returncode in (2, 3, 4) and (f"the {key} differs from the one" in r.stderr or name in r.stderr), r.stderr
    good(run(LS, "resume", job))
    same("o.mp4")


@test
def damaged_segments_are_made_anew():
    job = begun("o.mp4", 4)
    data = bytearray(open(f"{job}/segment-00001.nut", "rb").read())
    data[len(data) // 2] ^= 0x40
    open(f"{job}/segment-00001.nut", "wb").write(data)
    os.truncate(f"{job}/segment-00002.nut", 1000)
    os.remove(f"{job}/segment-00003.nut")
    r = good(run(*command("o.mp4")))
    for word in ("segment 1 is damaged", "segment 2 is damaged", "segment 3 is missing"):
        assert word in r.stderr, r.stderr
    same("o.mp4")


@test
def damaged_journals():
    good(run(*command("o.mp4", "--keep-job")))
    job = "o.mp4.lsjob"
    text = "".join(open(job + "/journal.jsonl").readlines()[:4])
    for damage in (lambda t: t[:-20], lambda t: t[:len(t) // 2], lambda t: "", lambda t: t + "\0" * 300,
                   lambda t: "nonsense\n" + t, lambda t: t.replace('"frames": 16', '"frames": -16'),
                   lambda t: t + '{"segment": 99999999999, "frames": 1, "delay": 0, "bytes": 1, "sha256": ""}\n'):
        open(job + "/journal.jsonl", "w").write(damage(text))
        good(run(*command("o.mp4", "--keep-job")))
        assert digest("o.mp4") == digest("whole.mp4") and finished(job) == SEGMENTS
        os.remove("o.mp4")
    shutil.rmtree(job)


@test
def damaged_folders_are_refused():
    job = begun("o.mp4", 1)
    for text in ("{", "[]", '{"inputs": {}, "settings": {}}'):
        open(f"{job}/job.json", "w").write(text)
        r = run(LS, "resume", job)
        assert r.returncode == 3 and "job.json" in r.stderr, r.stderr
    shutil.rmtree(job)
    for folder in ("missing", ".", "video.mp4"):
        r = run(LS, "resume", folder)
        assert r.returncode == 3 and folder in r.stderr and "folder of a job" in r.stderr, r.stderr


@test
def findings_without_their_description_do_not_count():
    good(run(*command("o.fresh.mp4", "--crf", "30")))
    os.remove(begun("o.mp4", 2) + "/job.json")
    r = good(run(*command("o.mp4", "--crf", "30")))
    assert "resuming" not in r.stderr, r.stderr
    assert digest("o.mp4") == digest("o.fresh.mp4") != digest("whole.mp4")


@test
def another_version_does_not_resume():
    job = begun("o.mp4", 1)
    d = json.load(open(job + "/job.json"))
    assert set(d["program"]) == {"format", "latentsync", "compiler", "codecs"}, d
    for key, right in d["program"].items():
        other = {**d, "program": {**d["program"], key: "0.5"}}
        json.dump(other, open(job + "/job.json", "w"))
        r = run(LS, "resume", job)
        assert r.returncode == 2 and f'was started with {key} "0.5", not {json.dumps(right)}' in r.stderr, r.stderr
    shutil.rmtree(job)


@test
def another_device_does_not_resume_unless_any_may():
    job = begun("o.mp4", 1)
    d = json.load(open(job + "/job.json"))
    assert set(d["networks"]) == {"UNet", "VAE", "Whisper"} and d["networks"]["UNet"]["kind"] == "cpu", d
    here = d["networks"]["UNet"]["version"]
    card = {"kind": "cuda", "model": "NVIDIA GeForce RTX 4090", "version": "driver 550.54"}
    for begun_on, message in (({**d["networks"]["VAE"], "version": "oneDNN 0.5"}, f"the VAE on the CPU (oneDNN 0.5); this is the CPU ({here})"),
                              (card, "NVIDIA GeForce RTX 4090 (driver 550.54)")):
        networks = {**d["networks"], "VAE": begun_on} if begun_on != card else {**d["networks"], "UNet": card, "VAE": card}
        settings = d["settings"] if begun_on != card else {**d["settings"], "dtype": "f16"}
        json.dump({**d, "networks": networks, "settings": settings}, open(job + "/job.json", "w"))
        for device in ((), ("--device", "cpu")):
            r = run(LS, "resume", job, *device)
            assert r.returncode in (2, 3) and message in r.stderr and "--any-device" in r.stderr, r.stderr
        kept = open(job + "/job.json").read()
        good(run(LS, "plan", *command("o.mp4", "--any-device")[2:]))
        assert open(job + "/job.json").read() == kept
    json.dump(d, open(job + "/job.json", "w"))
    good(run(LS, "resume", job, "--any-device"))
    same("o.mp4")


@test
def statistics_that_cannot_be_written_do_not_end_the_job():
    r = good(run(*command("o.mp4", "--stats", "o.jsonl"), env=faulty(path="o.jsonl", write=100)))
    assert "warning: cannot write o.jsonl: No space left on device" in r.stderr, r.stderr
    same("o.mp4")


@test
def disk_full():
    for limit in (100, 150000, 400000):
        r = run(*command("o.mp4"), env=faulty(path="o.mp4.lsjob/.segment-", write=limit))
        assert r.returncode == 6 and "No space left on device" in r.stderr, r.stderr
        assert limit < 150000 or "latentsync resume o.mp4.lsjob" in r.stderr, r.stderr
        assert not os.path.exists("o.mp4")
        assert (finished("o.mp4.lsjob") > 0) == (limit > 100), limit
    # and when all segments are there
    r = run(*command("o.mp4"), env=faulty(path=".o.mp4.", write=200000))
    assert r.returncode == 6 and "cannot write" in r.stderr and "No space left" in r.stderr, r.stderr
    assert finished("o.mp4.lsjob") == SEGMENTS and not os.path.exists("o.mp4")
    good(run(LS, "resume", "o.mp4.lsjob"))
    same("o.mp4")


@test
def read_errors():
    size = os.path.getsize("video.mp4")
    r = run(*command("o.mp4"), env=faulty(path="/video.mp4", read=3 * size // 2))
    assert r.returncode == 3 and "video.mp4" in r.stderr and "Input/output error" in r.stderr, r.stderr
    r = run(*command("o.mp4"), env=faulty(path="/speech.wav", read=500000))
    assert r.returncode == 3 and "speech.wav" in r.stderr and "Input/output error" in r.stderr, r.stderr
    assert not os.path.exists("o.mp4")
    good(run(*command("o.mp4")))
    same("o.mp4")


@test
def clock_stepping_backwards():
    good(run(*command("o.mp4"), env=faulty(clock=1)))
    same("o.mp4")


@test
def read_only_folder():
    r = run(*command("o.mp4"), env=faulty(frozen=DIR))
    bad(r, "o.mp4.lsjob", "Read-only file system", code=3)


@test
def signals():
    p = start(*command("o.mp4"))
    wait_for("o.mp4.lsjob", 2, p)
    p.send_signal(signal.SIGTERM)
    _, err = p.communicate(timeout=60)
    assert p.returncode == 130 and "interrupted" in err and "latentsync resume o.mp4.lsjob" in err, (p.returncode, err)
    kept = finished("o.mp4.lsjob")
    assert kept >= 2 and not os.path.exists("o.mp4")
    p = start(*command("o.mp4"))
    wait_for("o.mp4.lsjob", kept + 1, p)
    p.send_signal(signal.SIGINT)
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=60)
    assert p.returncode in (-signal.SIGINT, 130), p.returncode
    assert finished("o.mp4.lsjob") > kept
    good(run(*command("o.mp4")))
    same("o.mp4")


@test
def pictures_do_not_depend_on_the_segments():
    frames = set()
    for seconds in ("0.6", "2", "100"):
        good(run(LS, *SYNC[:-2], "--segment-seconds", seconds, "--video-codec", "ffv1", "-o", "o.mkv"))
        frames.add(run("ffmpeg", "-v", "error", "-i", "o.mkv", "-map", "0:v", "-f", "md5", "-").stdout)
        assert probe("o.mkv")["nb_read_frames"] == str(FRAMES)
    assert len(frames) == 1 and "MD5=" in frames.pop()


@test
def inputs_that_flow_past():
    shutil.copy("video.mp4", "kept.mp4")
    for name in ("video.fifo", "speech.fifo"):
        os.mkfifo(name)
    feeders = [subprocess.Popen(f"cat {a} > {b}", shell=True) for a, b in (("video.mp4", "video.fifo"),
                                                                         ("speech.wav", "speech.fifo"))]
    args = [a.replace("video.mp4", "video.fifo").replace("speech.wav", "speech.fifo") for a in SYNC]
    p = start(LS, *args, "-o", "o.mp4")
    wait_for("o.mp4.lsjob", 3, p)
    p.kill()
    p.communicate()
    assert [f.wait() for f in feeders] == [0, 0]
    good(run(LS, "resume", "o.mp4.lsjob"))
    same("o.mp4")


def memory_group(limit):
    """The path of a new control group with this limit, or None where such cannot be made."""
    for line in open("/proc/self/cgroup"):
        _, names, group = line.rstrip("\n").split(":", 2)
        path = "/sys/fs/cgroup" + ("/memory" if names else "") + group.rstrip("/") + "/ls-test"
        try:
            if names in ("", "memory"):
                os.mkdir(path)
                open(path + ("/memory.limit_in_bytes" if names else "/memory.max"), "w").write(str(limit))
                return path
        except OSError:
            if os.path.isdir(path):
                os.rmdir(path)
    return None


@test
def a_budget_is_kept():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=1280x720:r=25:d=2.0", "-c:v", "libx264", "-preset", "ultrafast",
           "-pix_fmt", "yuv420p", "hd.mp4")
    track("hd.jsonl", 50, cx=640, cy=360, s=150)
    args = [LS, "sync", "-m", "models", "-t", "hd.jsonl", "hd.mp4", "speech.wav", *QUICK, "-o"]
    good(run(*args, "o.free.mp4"))
    r = run(*args, "o.mp4", "--max-memory", "20M")
    bad(r, "needs at least", "--max-memory", code=6)
    least = int(r.stderr.split("needs at least ")[1].split(" MB")[0]) * 10**6
    # the video turns, and its frames are held to go backwards; one that is long enough needs less
    ffmpeg("-stream_loop", "4", "-i", "hd.mp4", "-c", "copy", "o.long.mp4")
    r = run(*(a if a != "hd.mp4" else "o.long.mp4" for a in args), "o.mp4", "--max-memory", "20M")
    bad(r, "needs at least", code=6)
    assert 1e6 * int(r.stderr.split("needs at least ")[1].split(" MB")[0]) < least - 13 * 1280 * 720 * 3 / 2 + 2e6, r.stderr
    group = memory_group(least)

    def enter():
        if group:
            open(group + "/cgroup.procs", "w").write(str(os.getpid()))
        else:
            resource.setrlimit(resource.RLIMIT_DATA, (least, least))
    try:
        r = run(*args, "o.mp4", "--stats", "o.jsonl", *(() if group else ("--max-memory", least)), preexec_fn=enter)
        if group:  # what is free there is the limit, and 70 % of it are not enough
            bad(r, "needs at least", code=6)
            r = run(*args, "o.mp4", "--stats", "o.jsonl", "--max-memory", least, preexec_fn=enter)
        good(r)
    finally:
        if group:
            os.rmdir(group)
    lines = [json.loads(x) for x in open("o.jsonl")]
    peak = max(x["resident_bytes"] for x in lines)
    print(f"# budget {least >> 20} MB under a {'control group' if group else 'limit of data'}, peak {peak >> 20} MB")
    assert lines[0]["budget_bytes"] == least and 0.3 * least < peak < least, (peak, least)
    assert digest("o.mp4") == digest("o.free.mp4")


@test
def a_limited_address_space():
    """Refused in words, or enough; never a crash."""
    enough = refused = 0
    for limit in range(300, 2000, 50 if os.environ.get("LS_TEST_FULL") else 100):
        def enter(size=limit * 10**6):
            resource.setrlimit(resource.RLIMIT_AS, (size, size))
        r = run(*command("o.mp4", "--threads", "2"), preexec_fn=enter)
        if r.returncode == 127 or "Sanitizer" in r.stderr:  # the program itself does not fit
            continue
        if r.returncode == 0:
            same("o.mp4")
            enough += 1
            if enough == 2:
                break
        else:
            assert r.returncode == 6 and any(w in r.stderr for w in ("address space", "memory", "thread")), \
                (limit, r.returncode, r.stderr)
            refused += 1
            shutil.rmtree("o.mp4.lsjob", ignore_errors=True)
    if not enough and not refused:
        return "a sanitizer needs more"
    assert enough and refused, (enough, refused)


@test
def statistics_continue_after_a_resume():
    p = start(*command("o.mp4"), "--stats", "o.jsonl")
    wait_for("o.mp4.lsjob", 3, p)
    p.kill()
    p.communicate()
    with open("o.jsonl", "a") as f:
        f.write('{"time": 1.5, "sta')  # as a kill may leave it
    good(run(LS, "resume", "o.mp4.lsjob", "--stats", "o.jsonl"))
    lines = [json.loads(x) for x in open("o.jsonl")]
    assert lines[-1]["frames"] == FRAMES and {"decode", "generate", "restore", "encode"} == set(lines[-1]["stages"])
    assert {"cropped", "generated", "restored"} == set(lines[-1]["queues"]), lines[-1]
    good(run(LS, "report", "o.jsonl", "-o", "o.html"))
    same("o.mp4")


@test
def the_folder_may_be_elsewhere():
    good(run(*command("o.mp4"), "--job", "elsewhere", "--keep-job"))
    assert finished("elsewhere") == SEGMENTS
    good(run(LS, "resume", "elsewhere"))
    same("o.mp4", "elsewhere")
    # a folder with anything else in it is nobody's job, and what a user puts into a job stays
    for folder in (".", "models"):
        before = sorted(os.listdir(folder))
        bad(run(*command("o.mp4"), "--job", folder), "other files", code=2)
        assert sorted(os.listdir(folder)) == before
    job = begun("o.mp4", 2)
    open(job + "/notes.txt", "w").write("mine")
    good(run(LS, "resume", job))
    assert os.listdir(job) == ["notes.txt"], os.listdir(job)
    shutil.rmtree(job)
    same("o.mp4")


sys.exit(main(setup))
