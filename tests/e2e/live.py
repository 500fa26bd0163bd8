#!/usr/bin/env python3
"""What shows of a job while it runs: its newest frame. Prints TAP.
usage: live.py LATENTSYNC"""
import os
import subprocess
import sys
import time

from common import LS, QUICK, bad, digest, ffmpeg, good, main, probe, run, syllables, test, track

SYNC = ["sync", "-m", "models", "-t", "track.jsonl", *QUICK]


def setup():
    ffmpeg("-f", "lavfi", "-i", "smptehdbars=s=800x400:r=25:d=4,scroll=h=0.005", "-c:v", "libx264",
           "-preset", "ultrafast", "-crf", "8", "-pix_fmt", "yuv420p", "-colorspace", "bt709", "video.mkv")
    syllables("speech.wav", 3.6, (0, 3.6, 4))
    track("track.jsonl", 120, cx=200, cy=250, s=60)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))


def colors(path, size, *filters):
    """Its pictures as RGB of that size."""
    r = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", path, "-vf", ",".join([*filters, f"scale={size}:flags=bilinear,format=rgb24"]),
                        "-f", "rawvideo", "-"], capture_output=True)
    assert not r.returncode and not r.stderr, r.stderr
    w, h = map(int, size.split(":"))
    return [r.stdout[i:i + 3 * w * h] for i in range(0, len(r.stdout), 3 * w * h)]


def distance(a, b):
    return sum(abs(x - y) for x, y in zip(a, b)) / len(a)


def watched(path, *args):
    """Runs a job; what the file was meanwhile, each version once."""
    p = subprocess.Popen([str(a) for a in args], stderr=subprocess.PIPE, text=True)
    seen, times = [], []
    while True:
        ended = p.poll() is not None
        try:
            with open(path, "rb") as f:
                data = f.read()
            if not seen or seen[-1] != data:
                seen.append(data)
                times.append(os.stat(path).st_mtime)
        except FileNotFoundError:
            pass
        if ended:
            break
        time.sleep(0.02)
    assert p.wait() == 0, p.stderr.read()
    return seen, times


@test
def the_newest_frame_is_a_small_picture_of_the_output():
    good(run(LS, *SYNC, "video.mkv", "speech.wav", "-o", "o.plain.mkv"))
    seen, times = watched("o.jpg", LS, *SYNC, "--newest-frame", "o.jpg", "--steps", "12", "video.mkv", "speech.wav", "-o", "o.mkv")
    assert len(seen) > 1 and all(b - a > 0.95 for a, b in zip(times, times[1:])), times
    assert not [f for f in os.listdir(".") if f.startswith(".o")]
    frames, at = colors("o.mkv", "64:32"), -1
    for data in seen:
        with open("o.seen.jpg", "wb") as f:
            f.write(data)
        info = probe("o.seen.jpg")
        assert (info["codec_name"], info["width"], info["height"]) == ("mjpeg", 640, 320), info
        picture = colors("o.seen.jpg", "64:32")[0]
        far = [distance(picture, f) for f in frames]
        best = min(range(len(far)), key=far.__getitem__)
        assert far[best] < 2.5 and best > at, (best, at, far[best])
        at = best


@test
def the_output_is_the_same():
    good(run(LS, *SYNC, "video.mkv", "speech.wav", "-o", "o.plain.mkv"))
    good(run(LS, *SYNC, "--newest-frame", "o.jpg", "video.mkv", "speech.wav", "-o", "o.mkv"))
    assert digest("o.plain.mkv") == digest("o.mkv") and os.path.getsize("o.jpg") > 1000


@test
def upright_with_square_pixels():
    ffmpeg("-i", "video.mkv", "-c", "copy", "-bsf:v", "h264_metadata=sample_aspect_ratio=1/2", "o.half.mp4")
    ffmpeg("-display_rotation", "90", "-i", "o.half.mp4", "-c", "copy", "o.turned.mp4") if rotates() else \
        ffmpeg("-i", "o.half.mp4", "-c", "copy", "-metadata:s:v", "rotate=90", "o.turned.mp4")
    track("o.track.jsonl", 120, cx=250, cy=500, s=60)
    good(run(LS, *SYNC, "-t", "o.track.jsonl", "--newest-frame", "o.jpg", "o.turned.mp4", "speech.wav", "-o", "o.mp4", "--preview", "0.6"))
    info = probe("o.preview.mp4")
    assert (info["width"], info["height"]) == (400, 800), info
    num, den = map(int, info["sample_aspect_ratio"].split(":"))
    info = probe("o.jpg")
    wide = min(640, round(400 * num / den))
    assert (info["width"], info["height"]) == (wide, round(800 * wide / (400 * num / den))), info


def rotates():
    return "display_rotation" in run("ffmpeg", "-v", "error", "-h", "full").stdout


@test
def where_it_cannot_be_written():
    bad(run(LS, *SYNC, "--newest-frame", "missing/out.jpg", "video.mkv", "speech.wav", "-o", "out.mkv"), "missing", code=3)
    bad(run(LS, *SYNC, "--newest-frame", "video.mkv", "video.mkv", "speech.wav", "-o", "out.mkv"), "would overwrite an input", code=2)
    os.mkdir("o.jpg")
    r = good(run(LS, *SYNC, "--newest-frame", "o.jpg", "video.mkv", "speech.wav", "-o", "o.mkv"))
    assert "the newest frame is no longer written" in r.stderr and probe("o.mkv")["nb_read_frames"] == "90", r.stderr


sys.exit(main(setup))
