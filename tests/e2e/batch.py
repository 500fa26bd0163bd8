#!/usr/bin/env python3
"""Lists of jobs: every row is made, those that fail are named, and what is complete is not made again."""
import csv
import os
import signal
import subprocess
import time

from common import LS, QUICK, bad, digest, ffmpeg, good, main, run, sys, test, track

HEAD = "video,speech,output,face-track,models,resolution,steps,preset,segment-seconds,threads\r\n"
REST = "track.jsonl,../models,64,2,ultrafast,1.2,1"


def setup():
    os.mkdir("in")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=2", "-c:v", "libx264", "-preset", "ultrafast", "in/a, b.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", "in/s.wav")
    ffmpeg("-f", "lavfi", "-i", "sine=d=6", "in/long.wav")
    track("in/track.jsonl", 50)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))


def listed(text, name="in/o.list.csv"):
    with open(name, "w", newline="") as f:
        f.write(text)
    return name


def results(name="in/o.list.results.csv"):
    with open(name, newline="") as f:
        return list(csv.DictReader(f))


def remove(*names):
    for n in names:
        if os.path.exists(n):
            os.remove(n)


@test
def rows_are_as_single_runs_and_a_failed_one_ends_nothing():
    name = listed("\ufeff" + HEAD + f'"a, b.mp4",s.wav,"o ""1"".mp4",{REST}\r\n\r\n'
                  f'missing.mp4,s.wav,o2.mp4,{REST}\n"a, b.mp4",s.wav,o3.mp4,{REST}')
    r = run(LS, "batch", name)
    assert r.returncode == 1, r
    rows = results()
    assert [x["status"] for x in rows] == ["done", "failed", "done"], rows
    assert [x["output"] for x in rows] == ['in/o "1".mp4', "in/o2.mp4", "in/o3.mp4"], rows
    assert "missing.mp4" in rows[1]["error"] and not rows[0]["error"] and float(rows[2]["seconds"]) > 0, rows
    assert "row 2 of 3" in r.stderr and "missing.mp4" in r.stderr, r.stderr
    good(run(LS, "sync", "in/a, b.mp4", "in/s.wav", "-o", "o.single.mp4", "-m", "models", "-t", "in/track.jsonl", *QUICK,
             "--segment-seconds", "1.2"))
    assert digest("o.single.mp4") == digest("in/o3.mp4") == digest('in/o "1".mp4')
    assert not os.path.exists("in/o2.mp4")
    remove('in/o "1".mp4', "in/o3.mp4")


@test
def complete_rows_are_skipped_unless_started_again():
    name = listed(HEAD + f'"a, b.mp4",s.wav,o1.mp4,{REST}\r\n')
    good(run(LS, "batch", name))
    made = os.stat("in/o1.mp4").st_mtime_ns
    good(run(LS, "batch", name, "--results", "o.csv"))
    assert [x["status"] for x in results("o.csv")] == ["skipped"] and os.stat("in/o1.mp4").st_mtime_ns == made
    good(run(LS, "batch", name, "--restart"))
    assert [x["status"] for x in results()] == ["done"] and os.stat("in/o1.mp4").st_mtime_ns > made
    remove("in/o1.mp4")


@test
def an_interruption_ends_it_and_the_next_run_resumes():
    name = listed(HEAD + f'"a, b.mp4",s.wav,o1.mp4,{REST}\n"a, b.mp4",long.wav,o2.mp4,{REST}\n'
                  f'"a, b.mp4",s.wav,o3.mp4,{REST}\n')
    p = subprocess.Popen([LS, "batch", name], stderr=subprocess.PIPE, text=True)
    end = time.time() + 120
    while p.poll() is None and time.time() < end:
        if os.path.isdir("in/o2.mp4.lsjob") and any(f.endswith(".nut") and f[0] != "." for f in os.listdir("in/o2.mp4.lsjob")):
            break
        time.sleep(.005)
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=120)
    assert p.returncode == 130, p.returncode
    assert [x["status"] for x in results()] == ["done", "canceled"], results()
    assert not os.path.exists("in/o2.mp4") and not os.path.exists("in/o3.mp4")
    r = good(run(LS, "batch", name))
    assert [x["status"] for x in results()] == ["skipped", "done", "done"], results()
    assert "resuming" in r.stderr, r.stderr
    remove("in/o1.mp4", "in/o2.mp4", "in/o3.mp4")


@test
def lists_that_are_none():
    row = f'"a, b.mp4",s.wav,o1.mp4,{REST}\n'
    for text, words in [("video,speech\na,b\n", ["video, speech, output"]),
                        (HEAD.replace("steps", "stepz") + row, ["stepz"]),
                        (HEAD.replace("steps", "models") + row, ["models", "twice"]),
                        (HEAD + row + "a,b\n", ["line 3", "fields"]),
                        (HEAD + '"a' + row, ["line 2"]),
                        (HEAD + 'a"b' + row, ["line 2", "quote"]),
                        (HEAD + '"a, b.mp4,s.wav,o1.mp4\n\n', ["line 2", "no end"]),
                        (HEAD + row + row, ["rows 1 and 2", "output"]),
                        ("", ["empty"])]:
        r = run(LS, "batch", listed(text))
        assert r.returncode in (2, 3) and all(w in r.stderr for w in words), (text, r)
        assert not os.path.exists("in/o1.mp4")
    bad(run(LS, "batch", "in/none.csv"), "none.csv", code=3)


sys.exit(main(setup))
