#!/usr/bin/env python3
"""Every video encoder that the command lists, as ffprobe and ffmpeg see what it made. Prints TAP.
usage: encoders.py LATENTSYNC [full], the latter with every preset"""
import array
import json
import os
import re
import signal
import subprocess
import sys
import time

from common import LS, bad, digest, ffmpeg, good, main, probe, run, test, track

CODECS = {"libx264": "h264", "libx265": "hevc", "libsvtav1": "av1", "libaom-av1": "av1", "libvpx-vp9": "vp9",
          "prores_ks": "prores", "ffv1": "ffv1", "png": "png", "mpeg4": "mpeg4"}
HARDWARE = ["h264_nvenc", "hevc_nvenc", "h264_qsv", "hevc_qsv", "h264_v4l2m2m", "hevc_v4l2m2m"]
FASTEST = {"libx264", "libx265", "libsvtav1", "libaom-av1", "libvpx-vp9"}  # those that have presets
FULL = sys.argv[2:] == ["full"]


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
def bytes_do_not_follow_what_memory_held():
    """glibc fills memory that is not cleared with what MALLOC_PERTURB_ says."""
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=176x144:r=25:d=1.0", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "o.mp4")
    for name in FASTEST & set(listed()):
        made = set()
        for fill in "1", "90", "200":
            good(sync("o.mkv", "--video-codec", name, "--preset", "veryfast", video="o.mp4", env={**os.environ, "MALLOC_PERTURB_": fill}))
            made.add(digest("o.mkv"))
        assert len(made) == 1, (name, made)


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


def onset(path):
    """Seconds at which the click is heard."""
    r = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-vn", "-f", "f32le", "-ac", "1", "-ar", "48000", "-"],
                       capture_output=True)
    samples = array.array("f", r.stdout)
    return next(i for i, x in enumerate(samples) if abs(x) > 0.1) / 48000


@test
def containers_hold_what_they_are_known_for():
    ffmpeg("-f", "lavfi", "-i", "aevalsrc='if(between(t,0.2,0.21),0.8*sin(6000*t),0)':s=48000:d=0.6", "click.wav")
    ffmpeg("-i", "click.wav", "-c:a", "libopus", "click.opus")
    cases = [("mp4", "libx264", "h264", "avc1", "click.wav", "aac"), ("m4v", "libx264", "h264", "avc1", "click.wav", "aac"),
             ("mov", "libx264", "h264", "avc1", "click.wav", "pcm_s16le"), ("mkv", "libx264", "h264", "", "click.wav", "pcm_s16le"),
             ("mp4", "libx265", "hevc", "hvc1", "click.opus", "opus"), ("m4v", "libx265", "hevc", "hvc1", "click.wav", "aac"),
             ("mov", "libx265", "hevc", "hvc1", "click.wav", "pcm_s16le"), ("webm", "libvpx-vp9", "vp9", "", "click.wav", "opus"),
             ("webm", "libsvtav1", "av1", "", "click.opus", "opus"), ("mp4", "libsvtav1", "av1", "av01", "click.wav", "aac"),
             ("mp4", "libaom-av1", "av1", "av01", "click.wav", "aac"), ("mov", "prores_ks", "prores", "apch", "click.wav", "pcm_s16le")]
    names = listed()
    for extension, encoder, codec, tag, speech, sound in cases:
        if encoder not in names:
            continue
        out = "o." + extension
        good(sync(out, *quick(encoder), "-q", speech=speech))
        v, a = probe(out), probe(out, "a:0")
        what = (extension, encoder, v["codec_name"], v["codec_tag_string"], a["codec_name"])
        assert (v["codec_name"], a["codec_name"]) == (codec, sound), what
        assert not tag or v["codec_tag_string"] == tag, what
        assert v["avg_frame_rate"] == "25/1" or extension == "webm", (what, v)
        assert abs(float(v.get("start_time", 0))) < 0.001, (what, v)
        at = onset(out) - float(v.get("start_time", 0))
        assert abs(at - 0.2) < 0.002, (what, at)
        os.remove(out)


@test
def other_containers_are_refused_with_a_remedy():
    for extension in ("flv", "avi", "ts", "3gp", "nut", "wmv", "xyz"):
        bad(sync("out." + extension), "out." + extension, ".mp4", ".mkv", ".webm", code=2)
    bad(sync("out.webm"), "h264", "libx264", ".mkv", "libvpx-vp9", "-o", code=2)
    bad(sync("out.mp4", "--video-codec", "prores_ks"), "prores", ".mov", "libx264", code=2)
    bad(sync("out.mov", "--video-codec", "ffv1"), "ffv1", ".mkv", code=2)


PRESETS = ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"]


def group(name, limit):
    """A control group with that limit; None where there can be none."""
    for base, file in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        path = f"{base}/ls_encoders_{os.getpid()}_{name}"
        try:
            os.mkdir(path)
            with open(f"{path}/{file}", "w") as f:
                f.write(str(limit))
            return path
        except OSError:
            if os.path.isdir(path):
                os.rmdir(path)
    return None


def least_memory(*options):
    """What the command says that it needs at least, in bytes."""
    r = sync("out.mkv", *options, "--max-memory", "20M", video="large.mkv", speech="long.wav")
    bad(r, "needs at least", "for the encoder", "--preset", code=6)
    return int(re.search(r"needs at least (\d+) MB", r.stderr).group(1)) * 10**6


def keeps(name, preset):
    least = least_memory("--video-codec", name, "--preset", preset)
    path = group(f"{name}_{preset}", least)

    def enter():
        if path:
            with open(path + "/cgroup.procs", "w") as f:
                f.write(str(os.getpid()))
    try:
        r = sync("o.mkv", "--video-codec", name, "--preset", preset, "-q", "--max-memory", least, "--stats", "o.jsonl",
                 video="large.mkv", speech="long.wav", preexec_fn=enter)
        assert r.returncode == 0, f"{name} {preset} in {least // 10**6} MB: exit {r.returncode}: {r.stderr}"
    finally:
        if path:
            os.rmdir(path)
    with open("o.jsonl") as f:
        peak = max(json.loads(x)["resident_bytes"] for x in f)
    run("rm", "-rf", "o.mkv", "o.jsonl")
    print(f"# {name} {preset}: at least {least // 10**6} MB, resident {peak // 10**6}{'' if path else ' (no control group)'}")
    assert peak < least and "exceeds" not in r.stderr, (name, preset, peak, least, r.stderr)


@test
def encoders_keep_to_the_memory_that_the_plan_says():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=2,noise=alls=6:allf=t", "-c:v", "libx264", "-preset",
           "ultrafast", "-pix_fmt", "yuv420p", "large.mkv")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=16000:d=2", "long.wav")
    track("track.jsonl", 50, cx=300, cy=180, s=80)
    for name in listed():
        slow = name in ("libaom-av1", "libvpx-vp9", "libx265")
        few = ["ultrafast"] if slow else ["ultrafast", "medium", "veryslow"] if name == "libx264" else ["ultrafast", "medium"]
        for preset in ["medium"] if name not in FASTEST else PRESETS if FULL else few:
            keeps(name, preset)


sys.exit(main(setup))
