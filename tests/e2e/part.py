#!/usr/bin/env python3
"""A part of the output: the frames and the sound that the whole has there. Prints TAP.
usage: part.py LATENTSYNC"""
import array
import json
import os
import subprocess
import sys
import time

from common import LS, QUICK, bad, digest, ffmpeg, good, main, probe, run, test, track

SYNC = ["sync", "-m", "models", "-t", "track.jsonl", "video.mkv", "speech.wav", *QUICK, "--segment-seconds", "1.28"]
LOSSLESS = ["--video-codec", "ffv1", "--keep-job"]
RATE = 16000


def setup():
    with open("chapters.txt", "w") as f:
        f.write(";FFMETADATA1\n" + "".join(f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={a}\nEND={b}\ntitle={t}\n"
                                          for a, b, t in ((0, 1500, "one"), (1500, 4000, "two"), (4000, 6000, "three"))))
    with open("words.srt", "w") as f:
        f.write("1\n00:00:00,500 --> 00:00:01,000\nnever\n\n2\n00:00:01,500 --> 00:00:02,500\nacross\n\n"
                "3\n00:00:03,000 --> 00:00:03,500\nwithin\n")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=6", "-f", "lavfi", "-i", "aevalsrc=0.3*sin(400*t*t):s=16000:d=6",
           "-i", "chapters.txt", "-i", "words.srt", "-map", "0", "-map", "1", "-map", "3", "-map_metadata", "2",
           "-timecode", "10:00:00:00", "-metadata:s:v", "timecode=10:00:00:00",
           "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "pcm_s16le", "-c:s", "srt", "video.mkv")
    # a sweep, so that every moment is known by its sound
    ffmpeg("-f", "lavfi", "-i", "aevalsrc=0.5*sin(900*t*t):s=16000:d=5", "speech.wav")
    track("track.jsonl", 150, cx=80, cy=60, s=40)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))
    good(run(LS, *SYNC, *LOSSLESS, "-o", "whole.mkv"))
    assert len(pictures("whole.mkv")) == 125


def pictures(path):
    r = good(run("ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-f", "framemd5", "-"))
    return [line.split(",")[-1].strip() for line in r.stdout.splitlines() if line and line[0] != "#"]


def samples(path):
    r = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-map", "0:a", "-ac", "1", "-ar", str(RATE), "-f", "s16le", "-"],
                       capture_output=True, check=True)
    return array.array("h", r.stdout)


def likeness(a, b):
    n = min(len(a), len(b))
    dot = sum(x * y for x, y in zip(a[:n], b[:n]))
    return dot / (sum(x * x for x in a[:n]) * sum(y * y for y in b[:n])) ** .5


def check_sound(path, reference, begin, seconds):
    heard, wanted = samples(path), samples(reference)[round(begin * RATE):round((begin + seconds) * RATE)]
    assert abs(len(heard) / RATE - seconds) < 0.07, (len(heard) / RATE, seconds)
    at, shifted = likeness(heard, wanted), max(likeness(heard[16:], wanted), likeness(heard, wanted[16:]))
    assert at > 0.98 and at > shifted + 0.1, (at, shifted)


def segment(job, k):
    return digest(f"{job}/segment-{k:05}.nut")



@test
def windows_of_sound_meet_alike_in_every_part():
    """Where the second one fades in, from 28 s on, whichever part that is read for."""
    ffmpeg("-f", "lavfi", "-i", "aevalsrc=0.5*sin(100*t*t):s=16000:d=33", "o.long.wav")

    def make(*options):
        good(run(LS, *[a if a != "speech.wav" else "o.long.wav" for a in SYNC], "--video-codec", "ffv1", *options, "-o", "o.mkv"))
        return pictures("o.mkv")
    a = make("--start", 26.88, "--duration", 2)
    assert len(a) == 50 and make("--start", 28.4, "--duration", 0.48) == a[38:]
    exact = make("--start", 26.88, "--duration", 2, "--audio-windows", "exact")
    assert exact[:16] == a[:16] and all(p != q for p, q in zip(exact[32:], a[32:]))

@test
def frames_and_sound_of_the_whole():
    whole = pictures("whole.mkv")
    for start, duration, first, end in ((1.5, 2.5, 38, 100), (1.28, 1.28, 32, 64), (0, 1, 0, 25), (4.9, None, 123, 125),
                                        (2, 100, 50, 125), (0.64, 0.04, 16, 17)):
        part = ["--start", start] + (["--duration", duration] if duration else [])
        r = good(run(LS, *SYNC, *LOSSLESS, *part, "-o", "o.mkv"))
        assert f"of them, {end - first} are made from {first / 25:.2f} s on" in r.stderr, r.stderr
        assert pictures("o.mkv") == whole[first:end], (part, pictures("o.mkv"), whole)
        # segments that are whole have the same bytes
        at = first // 32
        for k in range(at, (end + 31) // 32):
            if first <= 32 * k and min(32 * k + 32, 125) <= end:
                assert segment("o.mkv.lsjob", k - at) == segment("whole.mkv.lsjob", k), (part, k)
        assert not os.path.exists(f"o.mkv.lsjob/segment-{(end + 31) // 32 - at:05}.nut")
        for f in os.listdir("o.mkv.lsjob"):
            os.remove("o.mkv.lsjob/" + f)
        os.rmdir("o.mkv.lsjob")


@test
def sound_of_the_whole():
    for start, duration, begin in ((1.5, 2.5, 1.52), (0, 1, 0)):
        good(run(LS, *SYNC, "--start", start, "--duration", duration, "-o", "o.mp4"))
        seconds = float(probe("o.mp4")["duration"])
        assert abs(seconds - (start + duration - begin)) < 0.001, seconds
        check_sound("o.mp4", "speech.wav", begin, seconds)


@test
def what_else_the_file_holds():
    good(run(LS, *SYNC, "--start", 2, "--duration", 2, "-o", "o.mkv"))
    r = json.loads(good(run("ffprobe", "-v", "error", "-show_chapters", "-show_streams", "-show_packets", "-select_streams", "s",
                            "-of", "json", "o.mkv")).stdout)
    assert [(float(c["start_time"]), float(c["end_time"]), c["tags"]["title"]) for c in r["chapters"]] == [(0, 2, "two")], r
    start = float(probe("o.mkv")["start_time"])  # the priming of AAC, before which Matroska has no time
    assert [(round(float(p["pts_time"]) - start, 3), float(p["duration_time"])) for p in r["packets"]] == [(0, .5), (1, .5)], r["packets"]
    timecode = probe("o.mkv")["tags"].get("TIMECODE", probe("o.mkv")["tags"].get("timecode"))
    assert timecode == "10:00:02:00", timecode


@test
def after_the_speech():
    args = [*SYNC, *LOSSLESS, "--until", "video"]
    good(run(LS, *args, "-o", "o.whole.mkv"))
    whole = pictures("o.whole.mkv")
    assert len(whole) == 150 and whole[:121] == pictures("whole.mkv")[:121]
    for start, duration in ((4.5, 1), (5.2, 0.6)):
        good(run(LS, *args, "--start", start, "--duration", duration, "-o", "o.mkv"))
        first, end = -int(-start * 25 // 1), round((start + duration) * 25)
        assert pictures("o.mkv") == whole[first:end], start
        os.remove("o.mkv")
        for f in os.listdir("o.mkv.lsjob"):
            os.remove("o.mkv.lsjob/" + f)
        os.rmdir("o.mkv.lsjob")
    good(run(LS, *SYNC, "--until", "video", "--start", 5.2, "--duration", .6, "-o", "o.mp4"))
    check_sound("o.mp4", "video.mkv", 5.2, .6)


@test
def frames_with_times_of_their_own():
    ffmpeg("-i", "video.mkv", "-map", "0:v", "-vf", "select='mod(n,3)',setpts='PTS+mod(N,2)*100/TB/10000'", "-fps_mode", "vfr",
           "-c:v", "libx264", "-preset", "ultrafast", "o.vfr.mkv")
    track("o.jsonl", 100, cx=80, cy=60, s=40)
    args = ["sync", "-m", "models", "-t", "o.jsonl", "o.vfr.mkv", "speech.wav", *QUICK, "--fps", "source", "--video-codec", "ffv1"]

    def times(path):
        r = good(run("ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "csv=p=0", path))
        pts = [float(t.rstrip(",")) for t in r.stdout.split()]
        return [t - pts[0] for t in pts]
    good(run(LS, *args, "-o", "o.whole.mkv"))
    good(run(LS, *args, "--start", 1.1, "--duration", 2, "-o", "o.mkv"))
    whole, pts = pictures("o.whole.mkv"), times("o.whole.mkv")
    inside = [i for i, t in enumerate(pts) if 1.1 <= t < 3.1]
    assert pictures("o.mkv") == [whole[i] for i in inside]
    assert all(abs(t - (pts[i] - pts[inside[0]])) < .0011 for t, i in zip(times("o.mkv"), inside))


@test
def a_part_is_resumed_and_shared():
    part = ["--start", 1.5, "--duration", 2.5]
    good(run(LS, *SYNC, *part, "-o", "o.whole.mkv"))
    p = subprocess.Popen([str(x) for x in [LS, *SYNC, *part, "-o", "o.mkv"]], stderr=subprocess.PIPE)
    while not os.path.exists("o.mkv.lsjob/segment-00000.nut"):
        assert p.poll() is None
        time.sleep(0.002)
    p.kill()
    p.communicate()
    bad(run(LS, *SYNC, "--start", 1.25, "--duration", 2.5, "-o", "o.mkv"), "was started with start 1.5, not 1.25", code=2)
    good(run(LS, "resume", "o.mkv.lsjob"))
    assert digest("o.mkv") == digest("o.whole.mkv")
    os.remove("o.mkv")
    assert good(run(LS, "plan", *SYNC[1:], *part, "-o", "o.mkv")).stdout == "3\n"
    for k in (2, 0, 1):
        good(run(LS, "render", "o.mkv.lsjob", "--segment", k))
    good(run(LS, "join", "o.mkv.lsjob"))
    assert digest("o.mkv") == digest("o.whole.mkv")


@test
def parts_that_are_none():
    bad(run(LS, *SYNC, "--start", 5, "-o", "out.mkv"), "the output lasts 5.00 s, so no part of it starts at 5.00 s", code=2)
    bad(run(LS, *SYNC, "--start", 1.01, "--duration", 0.02, "-o", "out.mkv"), "no frame begins within 0.02 s", code=2)
    for option, value in (("--start", "-1"), ("--start", "x"), ("--duration", "1e9")):
        bad(run(LS, *SYNC, option, value, "-o", "out.mkv"), option, code=2)


sys.exit(main(setup))
