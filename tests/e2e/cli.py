#!/usr/bin/env python3
"""The command as a user meets it: real files made by ffmpeg, results judged by ffprobe and ffmpeg,
bad input, interruption. Prints TAP. usage: cli.py LATENTSYNC"""
import fcntl
import functools
import html.parser
import json
import os
import pty
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import termios
import xml.etree.ElementTree

from common import DIR, LS, QUICK, bad, digest, ffmpeg, good, main, packets, planes, probe, run, test, track


def sync(video, audio, out, *options, track="track.jsonl", models="models", **kw):
    return run(LS, "sync", "-m", models, "-t", track, video, audio, "-o", out, *QUICK, *options, **kw)


unusable = functools.partial(bad, code=3)


def setup():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=1.0", "-c:v", "libx264", "-preset", "ultrafast",
           "-crf", "10", "-pix_fmt", "yuv420p", "video.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=44100:d=1.0,aformat=channel_layouts=stereo", "speech.wav")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=44100:d=0.48", "short.wav")
    track("track.jsonl", 25)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))


@test
def output_has_the_speechs_length_and_copies_the_sound():
    r = good(sync("video.mp4", "speech.wav", "o.mkv"))
    v, a = probe("o.mkv"), probe("o.mkv", "a:0")
    assert int(v["nb_read_frames"]) == 25, v["nb_read_frames"]
    assert (v["codec_name"], v["pix_fmt"], v["width"], v["height"], v["r_frame_rate"]) == \
        ("h264", "yuv420p", 320, 240, "25/1")
    assert (a["codec_name"], a["sample_rate"], a["channels"]) == ("pcm_s16le", "44100", 2)
    assert packets("o.mkv") == packets("speech.wav")
    assert "audio copied" in r.stderr


@test
def sound_that_mp4_cannot_hold_becomes_aac_of_the_same_rate():
    good(sync("video.mp4", "speech.wav", "o.mp4"))
    a = probe("o.mp4", "a:0")
    assert (a["codec_name"], a["sample_rate"], a["channels"]) == ("aac", "44100", 2)
    assert abs(float(a["duration"]) - 1.0) < 0.06, a["duration"]


@test
def only_the_face_changes():
    good(sync("video.mp4", "short.wav", "o.mkv", "--crf", "0"))
    before, after = planes("video.mp4"), planes("o.mkv")
    assert len(after) == 12, len(after)
    for b, a in zip(before, after):
        inside = outside = 0
        for y in range(240):
            for x in range(320):
                if b[y * 320 + x] != a[y * 320 + x]:
                    if abs(x - 160) < 70 and abs(y - 120) < 70:
                        inside += 1
                    else:
                        outside += 1
        assert inside > 500 and outside == 0, (inside, outside)


@test
def short_video_plays_forwards_and_backwards():
    ffmpeg("-i", "video.mp4", "-frames:v", "10", "-c:v", "libx264", "-g", "100", "-bf", "3", "-crf", "5", "ten.mp4")
    track("none.jsonl", 1)  # only frame 0 has a face: all others pass through bit by bit
    good(sync("ten.mp4", "speech.wav", "o.mkv", "--crf", "0", track="none.jsonl"))
    before, after = planes("ten.mp4"), planes("o.mkv")
    order = list(range(10)) + list(range(9, -1, -1)) + list(range(5))
    assert len(after) == len(order)
    for i, k in enumerate(order):
        assert (after[i] == before[k]) == (k != 0), i


@test
def frames_without_a_face_pass_through_untouched():
    track("gap.jsonl", 25, skip=range(3, 8))
    r = good(sync("video.mp4", "short.wav", "o.mkv", "--crf", "0", track="gap.jsonl"))
    before, after = planes("video.mp4"), planes("o.mkv")
    for i, (b, a) in enumerate(zip(before, after)):
        assert (a == b) == (3 <= i < 8), i
    assert "no face in 5 of 12 frames" in r.stderr
    # the nearer the gap, the less of the new mouth
    amount = [sum(abs(x - y) for x, y in zip(b, a)) for b, a in zip(before, after)]
    assert amount[2] < amount[1] < amount[0] and amount[8] < amount[9] < amount[10] < amount[11], amount


@test
def same_bytes_whatever_the_threads():
    hashes = set()
    for threads in (1, 2, 2):
        good(sync("video.mp4", "speech.wav", "o.mp4", "--threads", threads))
        hashes.add(digest("o.mp4"))
    assert len(hashes) == 1


@test
def options_change_the_result():
    hashes = set()
    with open("/proc/cpuinfo") as f:
        cpu = f.read()
    types = [["--dtype", t, "--seed", "8"] for t, feature in (("bf16", "avx512bw"), ("int8", "avx512_vnni")) if feature in cpu]
    if not types:
        bad(sync("video.mp4", "short.wav", "o.mp4", "--dtype", "bf16"), "--dtype: bf16 needs a CPU with AVX-512", code=3)
    for options in ([], ["--seed", "7"], ["--guidance", "1"], ["--cache-interval", "1"], ["--steps", "3"],
                    ["--sampler", "dpmpp"], ["--cache-interval", "1", "--guidance-interval", "0:0.5"],
                    ["--dtype", "f32"], *types):
        good(sync("video.mp4", "short.wav", "o.mp4", *options))
        hashes.add(digest("o.mp4"))
    assert len(hashes) == 8 + len(types) - ("avx512_bf16" not in cpu), len(hashes)


@test
def quality_fills_in_what_was_left_open():
    def settings(*options):
        good(run(LS, "plan", "-m", "models", "-t", "track.jsonl", "video.mp4", "short.wav", "-o", "o.mp4", *options))
        s = json.load(open("o.mp4.lsjob/job.json"))["settings"]
        shutil.rmtree("o.mp4.lsjob")
        return {k: s[k] for k in ("sampler", "steps", "cache_interval", "guidance_interval")}
    original = {"sampler": "ddim", "steps": 20, "cache_interval": 3, "guidance_interval": "0:1"}
    assert settings() == original
    fast, balanced, best = (settings("--quality", q) for q in ("fast", "balanced", "best"))
    assert fast["steps"] < balanced["steps"] < 20 < best["steps"] and best["cache_interval"] == 1, (fast, balanced, best)
    for key, value in original.items():
        assert settings("--quality", "fast", "--" + key.replace("_", "-"), value) == {**fast, key: value}, key


@test
def other_rates_are_put_on_25_or_kept():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=30:d=1", "-c:v", "libx264", "-crf", "10", "thirty.mp4")
    track("thirty.jsonl", 30)
    good(sync("thirty.mp4", "speech.wav", "o.mp4", track="thirty.jsonl"))
    v = probe("o.mp4")
    assert (v["r_frame_rate"], v["nb_read_frames"]) == ("25/1", "25"), v
    good(sync("thirty.mp4", "speech.wav", "o.mp4", "--fps", "source", track="thirty.jsonl"))
    v = probe("o.mp4")
    assert (v["r_frame_rate"], v["nb_read_frames"]) == ("30/1", "30"), v


@test
def ten_bits_colours_and_aspect_are_kept():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=0.5", "-vf",
           "setsar=4/3,setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv",
           "-pix_fmt", "yuv420p10le", "-c:v", "libx264", "ten.mp4")
    good(sync("ten.mp4", "short.wav", "o.mp4"))
    v = probe("o.mp4")
    assert (v["pix_fmt"], v["color_primaries"], v["color_transfer"], v["color_space"], v["color_range"],
            v["sample_aspect_ratio"]) == ("yuv420p10le", "bt2020", "smpte2084", "bt2020nc", "tv", "4:3"), v


EVENTS = {
    "start": {"schema": int, "program": str, "command": str, "output": (str, None), "job": (str, None)},
    "message": {"level": str, "text": str},
    "progress": {"stage": str, "frame": int, "frames": int, "chunk": int, "chunks": int, "step": int, "steps": int,
                 "fraction": float, "frames_per_second": float, "seconds_left": float, "seconds": float,
                 "cpu_percent": float, "resident_bytes": int, "budget_bytes": int, "stages": list, "devices": list,
                 "queues": list},
    "error": {"code": str, "status": int, "message": str, "hint": (str, None), "option": (str, None), "retry": bool,
              "job": (str, None)},
}
DONE = {
    "sync": {"output": str, "frames": int, "start": float, "seconds": float, "elapsed_seconds": float, "frames_generated": int,
             "frames_with_face": int, "peak_resident_bytes": int, "audio": str, "seed": int,
             "frames_covered": int, "frames_turned": int, "frames_hidden": int},
    "plan": {"segments": int}, "render": {"segment": int}, "faces": {"frames": int, "tracks": list},
    "models check": {"directory": str, "files": list}, "estimate": {"estimates": list},
    "probe": {"path": str, "format": str, "bytes": int, "seconds": float, "streams": list, "width": int, "height": int,
              "frames": int, "is_video": bool, "is_speech": bool, "notes": list},
}
DONE["resume"] = DONE["join"] = DONE["sync"]


def has_type(value, kinds):
    return any(value is None if k is None else type(value) is k for k in (kinds if isinstance(kinds, tuple) else (kinds,)))


def events(r, command, status=0):
    """The events of a command, in order and as docs/FORMATS.md has them; nothing else was printed."""
    assert r.returncode == status and r.stderr == "", (r.returncode, r.stderr)
    found = [json.loads(line) for line in r.stdout.splitlines()]
    kinds = [e["event"] for e in found]
    assert kinds[0] == "start" and kinds[-1] == ("error" if status else "done"), kinds
    assert not {"start", "done", "error"} & set(kinds[1:-1]), kinds
    assert found[0]["schema"] == 1 and found[0]["command"] == command, found[0]
    for e in found:
        members = DONE[command] if e["event"] == "done" else EVENTS[e["event"]]
        assert ["event", *members] == list(e), (list(e), list(members))
        assert all(has_type(e[k], kind) for k, kind in members.items()), e
    if status:
        assert found[-1]["status"] == status, found[-1]
    return found


@test
def progress_for_machines_is_json():
    found = events(sync("video.mp4", "short.wav", "o.mp4", "--progress", "json"), "sync")
    assert (found[0]["output"], found[0]["job"]) == ("o.mp4", "o.mp4.lsjob"), found[0]
    progress = [e for e in found if e["event"] == "progress"]
    assert progress[-1]["frames"] == 12 and progress[-1]["resident_bytes"] > 1e6, progress
    assert any(e["frame"] == 12 and e["stages"] and e["queues"] and e["devices"][0]["name"] == "cpu" for e in progress), progress
    done = found[-1]
    assert (done["output"], done["frames"], done["frames_with_face"], done["seed"]) == ("o.mp4", 12, 12, 1247), done
    assert abs(done["seconds"] - 0.48) < 0.001 and done["elapsed_seconds"] > 0 and done["peak_resident_bytes"] > 1e6, done
    # -q is about messages alone, wherever it stands
    for options in (["-q", "--progress", "json"], ["--progress=json", "-q"]):
        found = events(sync("video.mp4", "short.wav", "o.mp4", *options), "sync")
        assert any(e["event"] == "progress" for e in found) and not any(e["event"] == "message" for e in found), found
    # one job in pieces
    plan = events(run(LS, "plan", "-m", "models", "-t", "track.jsonl", "video.mp4", "short.wav", "-o", "o.mp4", *QUICK,
                      "--progress", "json"), "plan")
    assert plan[-1]["segments"] == 1
    assert events(run(LS, "render", "o.mp4.lsjob", "--segment", "0", "--progress", "json"), "render")[-1]["segment"] == 0
    assert events(run(LS, "join", "--progress", "json", "o.mp4.lsjob"), "join")[-1]["frames"] == 12
    files = events(run(LS, "models", "check", "models", "--progress", "json"), "models check")[-1]["files"]
    assert [f["role"] for f in files][:3] == ["UNet", "VAE", "Whisper"], files


@test
def errors_for_machines_are_json():
    found = events(sync("missing.mp4", "speech.wav", "out.mp4", "--progress", "json"), "sync", 3)
    assert found[-1]["code"] == "LS_ENOENT" and "missing.mp4" in found[-1]["message"] and not found[-1]["job"], found
    found = events(sync("video.mp4", "speech.wav", "out.mp4", "--progress", "json", models="nowhere"), "sync", 4)
    assert found[-1]["code"] == "LS_EMODEL" and "nowhere" in found[-1]["message"], found
    found = events(run(LS, "resume", "--progress", "json", os.fsdecode(b"no\xffjob")), "resume", 3)
    assert found[0]["job"] == "no\ufffdjob" and "no\ufffdjob" in found[-1]["message"], found
    open("none.jsonl", "w").write('{"frame": 0}\n')
    found = events(sync("video.mp4", "speech.wav", "out.mp4", "--progress", "json", track="none.jsonl"), "sync", 5)
    assert found[-1]["code"] == "LS_ENOFACE" and found[-1]["retry"] is False, found
    found = events(sync("video.mp4", "speech.wav", "out.mp4", "--progress", "json", "--face", "middle"), "sync", 2)
    assert found[-1]["option"] == "face" and found[-1]["message"].startswith("--face"), found
    # but arguments are checked before the first event
    bad(sync("video.mp4", "speech.wav", "out.mp4", "--progress", "json", "--steps", "-1"), "--steps", code=2)


@test
def a_reader_that_goes_away_ends_nothing():
    p = subprocess.Popen([LS, "sync", "-m", "models", "-t", "track.jsonl", "video.mp4", "short.wav", "-o", "o.mp4", *QUICK,
                          "--progress", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert json.loads(p.stdout.readline())["event"] == "start"
    p.stdout.close()
    err = p.stderr.read()
    assert p.wait() == 0 and not err, err
    assert probe("o.mp4")["nb_read_frames"] == "12"


@test
def quiet_and_verbose():
    r = good(sync("video.mp4", "short.wav", "o.mp4", "--quiet"))
    assert r.stderr == "" and r.stdout == "", r.stderr
    r = good(sync("video.mp4", "short.wav", "o.mp4", "-q", "--progress", "line"))
    assert "chunk 1/1 step 2/2" in r.stderr and "latentsync:" not in r.stderr, r.stderr
    r = good(sync("video.mp4", "short.wav", "o.mp4"))
    assert re.search(r"^latentsync: o.mp4: 12 frames, 0.5 s, in 0:0\d:\d\d \([\d.]+ frames/s\), face in 12 frames, "
                     r"peak [\d.]+ GB, audio .+\n\Z", r.stderr, re.M), r.stderr
    assert "ms/frame" not in r.stderr and " 0.00 " not in r.stderr, r.stderr
    assert "ms/frame" in good(sync("video.mp4", "short.wav", "o.mp4", "-qv")).stderr


def on_terminal(columns, *args):
    """What a command writes to a terminal of that width, as the lines that were on the screen."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    p = subprocess.Popen([str(a) for a in args], stderr=secondary, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    os.close(secondary)
    text = b""
    while True:
        try:
            data = os.read(primary, 4096)
        except OSError:
            data = b""
        if not data:
            break
        text += data
    os.close(primary)
    assert p.wait() == 0, text
    return text.decode().replace("\x1b[K", "").replace("\r\n", "\r").split("\r")


@test
def the_line_fits_the_terminal():
    args = [LS, "sync", "-m", "models", "-t", "track.jsonl", "video.mp4", "short.wav", "-o", "o.mp4", *QUICK]
    lines = [x for x in on_terminal(200, *args) if x and not x.startswith("latentsync:")]
    assert any(re.fullmatch(r"chunk \d+/\d+ step \d+/2  \d+ %(  [\d.]+ frames/s)?(  [\d:]+ left)?  [\d.]+ GB", x)
               for x in lines), lines
    narrow = [x for x in on_terminal(20, *args) if x and not x.startswith("latentsync:")]
    assert narrow and all(len(x) < 20 for x in narrow), narrow


COMMANDS = ["sync", "batch", "estimate", "tune", "resume", "plan", "render", "join", "faces", "check", "probe", "models", "models pull", "models import",
            "models check", "models random", "report", "serve", "bench", "bench gpu", "info", "completion", "help", "version"]


@test
def help_of_every_command():
    overview = good(run(LS, "--help")).stdout
    assert good(run(LS, "help")).stdout == good(run(LS, "-h")).stdout == overview
    listed = re.findall(r"^  ([a-z]+) ", overview, re.M)
    assert listed == [c for c in COMMANDS if " " not in c], listed
    for command in COMMANDS:
        text = good(run(LS, *command.split(), "--help")).stdout
        assert text == good(run(LS, "help", *command.split())).stdout, command
        lines = text.splitlines()
        assert lines[0].startswith(f"usage: latentsync {command} ") and lines[1].endswith("."), lines[:2]
        assert all(len(x) <= 80 and x == x.rstrip() for x in lines), [x for x in lines if len(x) > 80 or x != x.rstrip()]
    assert all(len(x) <= 80 for x in overview.splitlines())
    for status in ("0 ", "1 ", "2 ", "3 ", "4 ", "5 ", "6 ", "7 ", "130 "):
        assert "\n  " + status in overview, status
    text = good(run(LS, "sync", "-h")).stdout
    assert "[1247]" in text and "[auto: all cores]" in text and "example: latentsync sync " in text
    for version in (["-V"], ["--version"], ["version"]):
        assert re.fullmatch(r"latentsync \d+\.\d+\.\d+\n", good(run(LS, *version)).stdout)


@test
def arguments():
    clip = ["video.mp4", "speech.wav"]
    for args, *words in ((["synk"], '"synk"', '"sync"'), (["pull"], '"models pull"'), (["models", "chek"], '"models check"'),
                         (["models"], "models"), (["xyzzy"], '"xyzzy"'), (["--frob"], "--frob"),
                         (["sync", "--mod", "x", *clip], "--mod", "--models", "sync --help"),
                         (["sync", "--stpes", "2", *clip], "did you mean --steps", "sync --help"),
                         (["plan", "--crf", "x", *clip], "--crf", "0 to 63", '"x"', "latentsync plan --help"),
                         (["sync", "-m", "models", "-q", *clip], "-o FILE is missing"), (["sync", *clip, "-o"], "--output"),
                         (["sync", "video.mp4", "-o", "out.mp4"], "SPEECH is missing"),
                         (["sync", *clip, "third", "-o", "out.mp4"], '"third"'), (["sync", "-Z"], "-Z"),
                         (["render", "job"], "-s K", "render --help"), (["resume", "job", "--segment", "1"], "--segment"),
                         (["models", "pull", "1.7"], "VERSION", "1.6 or 1.5", "models pull --help"),
                         (["faces", "--json", "--progress", "json", "video.mp4"], "--json", "faces --help"),
                         (["estimate", "--json", "--progress", "json", *clip], "--json", "estimate --help"),
                         (["help", "xyzzy"], "xyzzy"), (["completion", "tcsh"], "bash, zsh or fish")):
        r = run(LS, *args)
        bad(r, *words, "Try \"latentsync", code=2)
        assert not r.stdout, r.stdout
    # each way to write the same
    hashes = set()
    for options in (["--steps", "3", "-o", "o.mp4", "-q"], ["--steps=3", "-oo.mp4", "-vq"], ["-qo", "o.mp4", "--steps=9", "--steps=3"]):
        good(run(LS, "sync", "-t", "track.jsonl", "--resolution", "64", "--preset=ultrafast", "-mmodels", *options, "--",
                 "video.mp4", "short.wav"))
        hashes.add(digest("o.mp4"))
    good(run(LS, "sync", "video.mp4", "-m", "models", "short.wav", "--resolution", "64", "--preset", "ultrafast",
             "--steps", "3", "-o", "o.mp4", "-t", "track.jsonl"))
    assert hashes == {digest("o.mp4")}, hashes


@test
def pages_and_completions():
    for command in ["", *COMMANDS]:
        page = good(run(LS, "man", *command.split())).stdout
        name = "-".join(["latentsync", *command.split()])
        assert page.startswith('.TH ' + name.upper().replace("-", "\\-")), page[:60]
        if shutil.which("groff"):
            r = subprocess.run(["groff", "-ww", "-man", "-z"], input=page, capture_output=True, text=True)
            assert r.returncode == 0 and not r.stderr, (command, r.stderr)
    for shell in ("bash", "zsh", "fish"):
        script = good(run(LS, "completion", shell)).stdout
        assert all(word in script for word in ("cache-interval", "accept-licence", "bf16")), shell
        if shutil.which(shell):
            r = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
            assert r.returncode == 0 and not r.stderr, r.stderr
    open("complete.bash", "w").write(good(run(LS, "completion", "bash")).stdout + """
for line in "latentsync re" "latentsync models pu" "latentsync sync --cache" "latentsync sync --dtype b"; do
    read -ra COMP_WORDS <<<"$line"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _latentsync
    echo "${COMPREPLY[*]}"
done
""")
    assert good(run("bash", "complete.bash")).stdout == "resume render report\npull\n--cache-interval\nbf16\n"


@test
def probing():
    r = good(run(LS, "probe", "video.mp4"))
    assert "h264" in r.stdout and "320 x 240" in r.stdout and "25 frames/s" in r.stdout, r.stdout
    p = json.loads(good(run(LS, "probe", "--json", "video.mp4")).stdout)
    assert (p["width"], p["height"], p["is_video"], p["is_speech"]) == (320, 240, True, False), p
    assert p["streams"][0]["codec"] == "h264" and p["streams"][0]["used"] is True, p
    p = json.loads(good(run(LS, "probe", "--json", "speech.wav")).stdout)
    assert (p["is_video"], p["is_speech"], p["streams"][0]["sample_rate"]) == (False, True, 44100), p
    bad(run(LS, "probe", "missing.mp4"), "missing.mp4", code=3)


@test
def info():
    assert "compute type" in good(run(LS, "info")).stdout
    machine = json.loads(good(run(LS, "info", "--json")).stdout)
    assert machine["cores"] > 0 and "libx264" in machine["video_encoders"], machine


@test
def standard_output_that_is_full():
    if not os.path.exists("/dev/full"):
        return "no /dev/full"
    for args in (["info"], ["--help"], ["--version"], ["completion", "fish"]):
        r = subprocess.run([LS, *args], stdout=open("/dev/full", "w"), stderr=subprocess.PIPE, text=True)
        assert r.returncode == 1 and "standard output" in r.stderr, (args, r.stderr)


@test
def interruption_leaves_nothing():
    for until in ("start", "progress"):  # while models are opened; while they run
        p = subprocess.Popen([LS, "sync", "-m", "models", "-t", "track.jsonl", "video.mp4", "speech.wav", "-o", "out.mp4",
                              "--steps", "900", "--resolution", "128", "--progress", "json"], stdout=subprocess.PIPE, text=True)
        event = {}
        while event.get("event") != until or (until == "progress" and not event["chunk"]):
            event = json.loads(p.stdout.readline())
        p.send_signal(signal.SIGINT)
        last = json.loads(p.communicate(timeout=60)[0].splitlines()[-1])
        assert p.returncode == 130 and (last["code"], last["message"]) == ("LS_ECANCELED", "interrupted"), last
        assert not [f for f in os.listdir(".") if "out.mp4" in f], os.listdir(".")


@test
def the_end_of_standard_input_interrupts():
    """Whatever became of the process that holds the other end."""
    p = subprocess.Popen([LS, "sync", "-m", "models", "-t", "track.jsonl", "video.mp4", "speech.wav", "-o", "out.mp4", "--steps", "900",
                          "--resolution", "128", "--progress", "json", "--watch-stdin"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    p.stdin.write("this is not the end\n")
    p.stdin.flush()
    while not json.loads(p.stdout.readline()).get("chunk"):
        pass
    last = json.loads(p.communicate(timeout=60)[0].splitlines()[-1])
    assert p.returncode == 130 and last["code"] == "LS_ECANCELED", last
    assert not [f for f in os.listdir(".") if "out.mp4" in f], os.listdir(".")
    r = run(LS, "sync", "-m", "models", "-t", "track.jsonl", "--watch-stdin", "-", "speech.wav", "-o", "out.mp4")
    bad(r, "--watch-stdin and VIDEO", code=2)


@test
def probe_and_estimate_speak_events():
    found = events(run(LS, "probe", "--progress", "json", "video.mp4"), "probe")
    assert {k: v for k, v in found[-1].items() if k != "event"} == json.loads(good(run(LS, "probe", "--json", "video.mp4")).stdout), found
    found = events(run(LS, "probe", "--progress", "json", "missing.mp4"), "probe", 3)
    assert found[-1]["code"] == "LS_ENOENT", found
    options = ["-m", "models", "-t", "track.jsonl", "--resolution", "64", "--threads", "1", "--progress", "json", "video.mp4", "short.wav"]
    few = ["--quality", "fast"]
    dry = [json.loads(line) for line in good(run(LS, "sync", "--dry-run", *few, *options, "-o", "out.mp4")).stdout.splitlines()]
    assert [e["event"] for e in dry] == ["start", "done"], dry
    for found in (events(run(LS, "estimate", *few, *options), "estimate"), dry):
        assert [(e["quality"], e["frames"]) for e in found[-1]["estimates"]] == [("fast", 12)], found
    found = events(run(LS, "estimate", *options[:-1], "missing.wav"), "estimate", 3)
    assert found[-1]["code"] == "LS_ENOENT" and not [f for f in os.listdir(".") if "out" in f], found


@test
def settings_that_are_refused():
    bad(run(LS), "usage: latentsync", code=2)
    bad(sync("video.mp4", "speech.wav", "out.mp4", "--face", "middle"), "--face", code=2)
    bad(sync("video.mp4", "speech.wav", "out.mp4", "--max-gap", "-1"), "--max-gap", '"-1"', code=2)
    bad(sync("video.mp4", "speech.wav", "out.mp4", "--save-track", "out.jsonl"), "save-track", code=2)
    bad(run(LS, "faces", "-m", "models"), "VIDEO", code=2)
    bad(sync("video.mp4", "speech.wav", "out.mp4", "--guidance", "nan"), "--guidance", '"nan"', code=2)
    for interval in ("0.5", "0.5:", ":1", "0.6:0.4", "-0.1:1", "0:1.1", "0:1x", "nan:1", "0:nan"):
        bad(sync("video.mp4", "speech.wav", "out.mp4", "--guidance-interval", interval), "--guidance-interval", f'"{interval}"', code=2)
    bad(sync("video.mp4", "speech.wav", "out.mp4", "--sampler", "unipc", "--steps", "999"), "--steps", "998", code=2)
    bad(sync("video.mp4", "speech.wav", "out.mp4", "--dtype", "f8"), "auto, f32, bf16, f16 or int8", code=2)
    bad(sync("video.mp4", "speech.wav", "out.mp4", "--max-memory", "4X"), "--max-memory", "4G", code=2)


@test
def no_model_is_installed():
    shutil.copy(LS, "latentsync")  # where no model comes with it
    alone = {**os.environ, "HOME": DIR, "XDG_DATA_HOME": "", "XDG_DATA_DIRS": DIR}
    for command in (["sync", "-t", "x", "video.mp4", "speech.wav", "-o", "out.mp4"], ["faces", "video.mp4"]):
        bad(run("./latentsync", *command, env=alone), "latentsync models pull", "--models", code=4)
    os.remove("latentsync")
    # the one that comes with the program is named even to those who want errors only
    r = good(run(LS, "sync", "-q", "-t", "track.jsonl", "video.mp4", "short.wav", "-o", "o.mp4", "--steps", "1", env=alone))
    assert "built-in" in r.stderr and "models pull" in r.stderr and r.stderr.count("\n") == 2, r.stderr


@test
def bad_video():
    open("empty.mp4", "w").close()
    open("text.mp4", "w").write("this is not a video\n" * 100)
    open("cut.mp4", "wb").write(open("video.mp4", "rb").read()[:3000])
    unusable(sync("missing.mp4", "speech.wav", "out.mp4"), "missing.mp4", "No such file")
    unusable(sync("empty.mp4", "speech.wav", "out.mp4"), "empty.mp4 is empty")
    unusable(sync("text.mp4", "speech.wav", "out.mp4"), "text.mp4 is not a video")
    unusable(sync("cut.mp4", "speech.wav", "out.mp4"), "cut.mp4", "cut off")
    unusable(sync("speech.wav", "speech.wav", "out.mp4"), "speech.wav has no video stream")
    bad(sync(".", "speech.wav", "out.mp4"), "is a directory", code=3)


@test
def bad_audio():
    ffmpeg("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "0", "zero.wav")
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.005", "tiny.wav")
    unusable(sync("video.mp4", "missing.wav", "out.mp4"), "missing.wav")
    unusable(sync("video.mp4", "video.mp4", "out.mp4"), "video.mp4 has no audio stream")
    unusable(sync("video.mp4", "zero.wav", "out.mp4"), "zero.wav")
    unusable(sync("video.mp4", "tiny.wav", "out.mp4"), "tiny.wav", "samples")


@test
def bad_track():
    cases = {'{"frame": 0, "points5": [[1,2]]}': "line 1", "not json": "line 1", "[1]": "line 1",
             '{"frame": 0}\n{"frame": 0}': "line 2", '{"frame": -1}': "line 1",
             '{"frame": 0, "points5": [[1,2],[3,4],[5,6],[7,8],[9,NaN]]}': "line 1",
             '{"frame": 0, "points5": [[1,2],[3,4],[5,6],[7,8],[9,1e99]]}': "line 1",
             '{"frame": 0, "landmarks106": [[1,2],[3,4],[5,6],[7,8],[9,10]]}': "line 1",
             '{"frame": 0}': "no face", '{"frame": 99999999}': "frame 99999999",
             '{"timeline": {"width": 640, "height": 240, "fps": "25/1"}}': "640 x 240",
             '{"frame": 0, "faces": [{"id": 0, "points5": []}]}': "line 1"}
    for text, word in cases.items():
        open("bad.jsonl", "w").write(text + "\n")
        bad(sync("video.mp4", "speech.wav", "out.mp4", track="bad.jsonl"), "bad.jsonl", word, code={"no face": 5}.get(word, 3))
    unusable(sync("video.mp4", "speech.wav", "out.mp4", track="missing.jsonl"), "missing.jsonl")


@test
def bad_models():
    bad(sync("video.mp4", "speech.wav", "out.mp4", models="nowhere"), "nowhere", code=4)
    shutil.rmtree("m", ignore_errors=True)
    shutil.copytree("models", "m")
    data = open("m/latentsync_unet.pt", "rb").read()
    open("m/latentsync_unet.pt", "wb").write(data[:len(data) // 2])
    bad(sync("video.mp4", "speech.wav", "out.mp4", models="m"), "latentsync_unet.pt", code=4)
    open("m/latentsync_unet.pt", "wb").write(data)
    os.remove("m/whisper/tiny.pt")
    bad(sync("video.mp4", "speech.wav", "out.mp4", models="m"), "whisper/tiny.pt is missing", code=4)
    bad(run(LS, "models", "check", "m"), "whisper/tiny.pt is missing", code=4)
    good(run(LS, "models", "random", "--size", "small", "--out", "wide"))
    shutil.copy("wide/whisper/tiny.pt", "m/whisper/tiny.pt")
    bad(run(LS, "models", "check", "m"), "whisper/tiny.pt has width 384", "cross attention needs 32", code=4)
    shutil.copy("models/vae/diffusion_pytorch_model.safetensors", "m/latentsync_unet.safetensors")
    os.remove("m/latentsync_unet.pt")
    bad(run(LS, "models", "check", "m"), "latentsync_unet.safetensors", "not a LatentSync UNet", code=4)
    bad(run(LS, "models", "random", "--size", "mini", "--out", "models"), "already exists", code=2)
    bad(run(LS, "models", "random", "--size", "huge", "--out", "x"), "mini, small or full", code=2)


def edit_safetensors(src, dst, change):
    """Applies `change` to the header (name -> entry) and the data of a safetensors file."""
    raw = open(src, "rb").read()
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + n])
    data = change(header, raw[8 + n:])
    text = json.dumps(header).encode()
    open(dst, "wb").write(len(text).to_bytes(8, "little") + text + data)


@test
def tensors_that_do_not_fit():
    vae = "vae/diffusion_pytorch_model.safetensors"
    shutil.rmtree("m", ignore_errors=True)
    shutil.copytree("models", "m")

    def extra(h, data):
        h["decoder.extra.weight"] = {"dtype": "F32", "shape": [2], "data_offsets": [len(data), len(data) + 8]}
        return data + bytes(8)

    def missing(h, data):
        e = h.pop("decoder.conv_out.bias")
        h["decoder.conv_out.renamed"] = e
        return data

    def misshapen(h, data):
        h["decoder.conv_norm_out.weight"]["shape"] = [4, 4]
        return data

    edit_safetensors("models/" + vae, "m/" + vae, extra)
    bad(run(LS, "models", "check", "m"), vae, "decoder.extra.weight [2] is not part of this model", code=4)
    edit_safetensors("models/" + vae, "m/" + vae, missing)
    bad(run(LS, "models", "check", "m"), "decoder.conv_out.bias [3] is missing", code=4)
    edit_safetensors("models/" + vae, "m/" + vae, misshapen)
    bad(run(LS, "models", "check", "m"), "decoder.conv_norm_out.weight has shape [4, 4], expected [16]", code=4)


@test
def old_attention_names_of_the_vae():
    vae = "vae/diffusion_pytorch_model.safetensors"
    shutil.rmtree("m", ignore_errors=True)
    shutil.copytree("models", "m")

    def rename(h, data):
        for name in list(h):
            for new, old in ((".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value."),
                             (".to_out.0.", ".proj_attn.")):
                if new in name:
                    e = h.pop(name)
                    if len(e["shape"]) == 2:
                        e["shape"] += [1, 1]
                    h[name.replace(new, old)] = e
        return data

    edit_safetensors("models/" + vae, "m/" + vae, rename)
    good(run(LS, "models", "check", "m"))
    hashes = set()
    for models in ("models", "m"):
        good(sync("video.mp4", "short.wav", "o.mp4", models=models))
        hashes.add(digest("o.mp4"))
    assert len(hashes) == 1


@test
def bad_output():
    os.makedirs("folder.mp4", exist_ok=True)
    unusable(sync("video.mp4", "short.wav", "nowhere/out.mp4"), "nowhere/out.mp4")
    bad(sync("video.mp4", "short.wav", "folder.mp4"), "folder.mp4 is a directory", code=2)
    bad(sync("video.mp4", "short.wav", "out.xyz"), "out.xyz", ".mp4", code=2)
    bad(sync("video.mp4", "short.wav", "video.mp4"), "video.mp4", "overwrite an input", "-o", code=2)
    bad(sync("video.mp4", "short.wav", "out.mp4", "--video-codec", "h265ish"), "libx264", code=2)
    bad(sync("video.mp4", "short.wav", "out.mp4", "--preset", "warp"), "--preset", "warp", "ultrafast", code=2)
    if os.geteuid() == 0:
        r = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", LS, "info"], capture_output=True)
        if r.returncode == 0:
            os.chmod(DIR, 0o755)
            os.makedirs("ro", exist_ok=True)
            r = run("setpriv", "--reuid", "65534", "--clear-groups", LS, "sync", "-m", "models", "-t",
                    "track.jsonl", "video.mp4", "short.wav", "-o", "ro/out.mp4", *QUICK)
            bad(r, "ro/out.mp4", "Permission denied", code=3)


@test
def disk_full():
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=16000:d=1.0", "mono.wav")
    bad(sync("video.mp4", "mono.wav", "out.mp4", preexec_fn=limit), "out.mp4", "File too large", "free space",
        code=6)


@test
def damaged_packets_are_skipped():
    ffmpeg("-i", "video.mp4", "-c:v", "libx264", "-g", "5", "damaged.mp4")
    data = bytearray(open("damaged.mp4", "rb").read())
    at = data.index(b"mdat") + 2000
    data[at:at + 4000] = bytes(4000)
    open("damaged.mp4", "wb").write(data)
    r = good(sync("damaged.mp4", "short.wav", "o.mkv"))
    assert int(probe("o.mkv")["nb_read_frames"]) == 12
    assert "damaged.mp4" in r.stderr and "damaged" in r.stderr.replace("damaged.mp4", ""), r.stderr


class Nesting(html.parser.HTMLParser):
    """Whether every element is closed, in order; the elements and attributes that there are."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links = [], set(), []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href") or k.startswith("on")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag


@test
def report_is_a_page_that_needs_nothing_else():
    with open("stats.jsonl", "w") as f:
        for t in range(1, 2000):
            f.write(json.dumps({"time": t, "stage": "frames", "frame": t, "frames": 2000, "cpu_percent": 150 + t % 40,
                                "resident_bytes": 10**9 + t * 1000, "cgroup_bytes": 2 * 10**9, "budget_bytes": 3 * 10**9,
                                "stages": {"</svg><script>alert(1)</script>": {"busy_seconds": t / 2, "frames": t}},
                                "queues": {"a\" onload=\"b": {"items": t % 9, "max_items": 8}}}) + "\n")
        f.write('{"time": 2000, "sta')  # as a killed run leaves it
    r = good(run(LS, "report", "stats.jsonl", "-o", "o.html"))
    assert r.stdout == "" and r.stderr == "", r.stderr
    page = open("o.html", encoding="utf-8").read()
    seen = Nesting(page)
    assert "script" not in seen.tags and not seen.links and "//" not in page, (seen.tags, seen.links)
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) == 4, len(pictures)
    for p in pictures:
        root = xml.etree.ElementTree.fromstring(p)
        for d in (e.get("d") for e in root.iter("path")):
            assert re.fullmatch(r"([MLHVZ]-?[0-9,]*)*", d), d
            assert all(0 <= int(n) <= 10000 for n in re.findall(r"-?[0-9]+", d)), d


@test
def report_refuses_what_is_no_record():
    good_line = '{"time": 1, "frame": 1}\n'
    for text, *words in (("", "no samples"), ('{"time": 1', "no samples"), (good_line + "junk\n" + good_line, "line 2", "not JSON"),
                         (good_line * 2 + '{"time": "x"}\n', "line 3", "time"), ("[1]\n", "line 1"),
                         ("{}" + " " * 70000, "line 1", "65536 bytes")):
        open("bad.jsonl", "w").write(text)
        unusable(run(LS, "report", "bad.jsonl", "-o", "out.html"), "bad.jsonl", *words)
    open("bad.jsonl", "w").write(good_line)
    os.link("bad.jsonl", "o.link")
    for name in ("bad.jsonl", "./bad.jsonl", "o.link"):
        bad(run(LS, "report", "bad.jsonl", "-o", name), "another name", code=2)
    assert open("bad.jsonl").read() == good_line
    unusable(run(LS, "report", "missing.jsonl", "-o", "out.html"), "missing.jsonl")
    unusable(run(LS, "report", "bad.jsonl", "-o", "nowhere/out.html"), "nowhere/out.html")
    bad(run(LS, "report", "bad.jsonl"), "-o", code=2)
    bad(run(LS, "report", "-o", "out.html"), "STATS", code=2)


sys.exit(main(setup))
