#!/usr/bin/env python3
"""Every video encoder that the command lists, as ffprobe and ffmpeg see what it made. Prints TAP.
usage: encoders.py LATENTSYNC"""
import json
import os
import re
import signal
import subprocess
import sys
import time

from common import LS, bad, ffmpeg, good, main, probe, run, test, track

CODECS = {"libx264": "h264", "libx265": "hevc", "libsvtav1": "av1", "libaom-av1": "av1", "libvpx-vp9": "vp9",
          "prores_ks": "prores", "ffv1": "ffv1", "mpeg4": "mpeg4"}
HARDWARE = ["h264_nvenc", "hevc_nvenc", "h264_qsv", "hevc_qsv", "h264_v4l2m2m", "hevc_v4l2m2m"]
FASTEST = {"libx264", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9"}  # those that have presets
FRAMES = 12


def sync(out, *options, command="sync", speech="speech.wav", video="video.mp4", **kw):
    return run(LS, command, "-m", "models", "-t", "track.jsonl", video, speech, *(["-o", out] if out else []),
               "--resolution", 64, "--steps", 1, "--guidance", 1, *options, **kw)


def quick(name):
    return ["--video-codec", name, *(["--preset", "ultrafast"] if name in FASTEST else [])]


def listed():
    return json.loads(good(run(LS, "info", "--json")).stdout)["video_encoders"]


def setup():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x96:r=25:d=1.0", "-c:v", "libx264", "-preset", "ultrafast",
           "-crf", "4", "-pix_fmt", "yuv420p", "video.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=48000:d=0.4", "speech.wav")
    track("track.jsonl", 25, cx=80, cy=48, s=20)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))


def psnr(a, b):
    """Of the pictures' upper corner, which the job leaves alone."""
    r = run("ffmpeg", "-nostdin", "-i", a, "-i", b, "-lavfi",
            "[0]crop=32:16:0:0:exact=1,format=yuv420p[a];[1]crop=32:16:0:0:exact=1,format=yuv420p[b];[a][b]psnr=shortest=1", "-f", "null", "-")
    return float(re.search(r"average:(\S+)", r.stderr).group(1))


@test
def every_encoder_makes_a_file_that_plays():
    for name in listed():
        out = "o.mov" if name == "prores_ks" else "o.mkv"
        began = time.monotonic()
        good(sync(out, *quick(name), "-q", "--crf", "10"))
        v = probe(out)
        assert v["codec_name"] == CODECS[name], (name, v["codec_name"])
        assert int(v["nb_read_frames"]) >= 10 and v["r_frame_rate"] == "25/1", (name, v)
        quality = psnr(out, "video.mp4")
        assert quality > 30, f"{name}: {quality} dB"
        print(f"# {name}: {quality:.1f} dB, {time.monotonic() - began:.1f} s")
        os.remove(out)


@test
def encoders_end_in_a_plan_and_when_canceled():
    for name in listed():
        r = sync(None, *quick(name), "--output", "o.mkv", command="plan")
        good(r)
        p = subprocess.Popen([LS, "sync", "-m", "models", "-t", "track.jsonl", "video.mp4", "speech.wav", "-o", "o.mkv",
                              "--resolution", "64", "--steps", "8", "-q", *quick(name)], stderr=subprocess.PIPE)
        time.sleep(0.3)
        p.send_signal(signal.SIGINT)
        try:
            p.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            p.kill()
            raise AssertionError(f"{name} does not end when it is canceled")
        run("rm", "-rf", "o.mkv", "o.mkv.lsjob")


@test
def hardware_that_is_missing_is_not_listed():
    names = listed()
    for name in HARDWARE:
        if name in names:
            continue
        began = time.monotonic()
        r = sync("out.mkv", "--video-codec", name)
        assert time.monotonic() - began < 10 and len(r.stderr.splitlines()) < 6, r.stderr
        assert r.returncode and name in r.stderr, r.stderr
    assert not run(LS, "info").stderr


@test
def presets_and_crf_are_checked_before_the_start():
    for name in listed():
        if name in FASTEST:
            bad(sync("out.mkv", "--video-codec", name, "--preset", "warp"), "--preset", name, "veryslow", code=2)
            bad(sync("out.mkv", "--video-codec", name, "--preset", "99"), "--preset", name, code=2)
        else:
            bad(sync("out.mkv", "--video-codec", name, "--preset", "warp"), "--preset", name, code=2)
            r = good(sync(None, "--output", "o.mov" if name == "prores_ks" else "o.mkv", "--video-codec", name, "--preset",
                          "slow", command="plan"))
            assert f"{name} has no presets" in r.stderr, r.stderr
            run("rm", "-rf", "o.mkv.lsjob", "o.mov.lsjob")
    bad(sync("out.mp4", "--crf", "60"), "--crf", "0 to 51", code=2)
    bad(sync("out.mp4", "--video-codec", "libsvtav1", "--crf", "0"), "--crf", "1 to 63", code=2)


@test
def presets_reach_the_encoder():
    for name in sorted(FASTEST & set(listed())):
        sizes = {}
        for preset in ("ultrafast", "medium") + (("4",) if name in ("libsvtav1", "libaom-av1", "libvpx-vp9") else ()):
            good(sync("o.mkv", "--video-codec", name, "--preset", preset, "-q"))
            sizes[preset] = os.path.getsize("o.mkv")
        assert len(set(sizes.values())) >= 2, (name, sizes)


sys.exit(main(setup))
