#!/usr/bin/env python3
"""The command as a user meets it: real files made by ffmpeg, results judged by ffprobe and ffmpeg,
bad input, interruption. Prints TAP. usage: cli.py LATENTSYNC"""
import html.parser
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

from common import DIR, LS, QUICK, bad, digest, ffmpeg, good, main, packets, planes, probe, run, test, track


def sync(video, audio, out, *options, track="track.jsonl", models="models", **kw):
    return run(LS, "sync", "-m", models, "-t", track, video, audio, "-o", out, *QUICK, *options, **kw)


def setup():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=1.0", "-c:v", "libx264", "-preset", "ultrafast",
           "-crf", "10", "-pix_fmt", "yuv420p", "video.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=44100:d=1.0,aformat=channel_layouts=stereo", "speech.wav")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=44100:d=0.4", "short.wav")
    track("track.jsonl", 25)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))


@test
def output_has_the_originals_length_and_copies_the_sound():
    r = good(sync("video.mp4", "speech.wav", "o.mkv"))
    v, a = probe("o.mkv"), probe("o.mkv", "a:0")
    assert int(v["nb_read_frames"]) == 27, v["nb_read_frames"]  # floor(50 / 2) + 2
    assert (v["codec_name"], v["pix_fmt"], v["width"], v["height"], v["r_frame_rate"]) == \
        ("h264", "yuv420p", 320, 240, "25/1")
    assert (a["codec_name"], a["sample_rate"], a["channels"]) == ("pcm_s16le", "44100", 2)
    assert packets("o.mkv") == packets("speech.wav")
    assert "sound: copied" in r.stderr


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
    order = list(range(10)) + list(range(9, -1, -1)) + list(range(7))
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
    assert "5 of 12 frames lack the face" in r.stderr
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
    for options in ([], ["--seed", "7"], ["--guidance", "1"], ["--cache-interval", "1"], ["--steps", "3"],
                    ["--dtype", "f32"], ["--dtype", "bf16", "--seed", "8"]):
        good(sync("video.mp4", "short.wav", "o.mp4", *options))
        hashes.add(digest("o.mp4"))
    assert len(hashes) == 7, len(hashes)


@test
def other_rates_are_put_on_25_or_kept():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=30:d=1", "-c:v", "libx264", "-crf", "10", "thirty.mp4")
    track("thirty.jsonl", 30)
    good(sync("thirty.mp4", "speech.wav", "o.mp4", track="thirty.jsonl"))
    v = probe("o.mp4")
    assert (v["r_frame_rate"], v["nb_read_frames"]) == ("25/1", "27"), v
    good(sync("thirty.mp4", "speech.wav", "o.mp4", "--fps", "source", track="thirty.jsonl"))
    v = probe("o.mp4")
    assert v["r_frame_rate"] == "30/1" and 30 <= int(v["nb_read_frames"]) <= 33, v


@test
def ten_bits_colours_and_aspect_are_kept():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=0.5", "-vf", "setsar=4/3", "-pix_fmt", "yuv420p10le",
           "-c:v", "libx264", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace",
           "bt2020nc", "-color_range", "tv", "ten.mp4")
    good(sync("ten.mp4", "short.wav", "o.mp4"))
    v = probe("o.mp4")
    assert (v["pix_fmt"], v["color_primaries"], v["color_transfer"], v["color_space"], v["color_range"],
            v["sample_aspect_ratio"]) == ("yuv420p10le", "bt2020", "smpte2084", "bt2020nc", "tv", "4:3"), v


@test
def progress_for_machines_is_json():
    r = good(sync("video.mp4", "short.wav", "o.mp4", "--progress", "json"))
    lines = [json.loads(x) for x in r.stderr.splitlines() if x.startswith("{")]
    assert lines and lines[-1]["frames"] == 12 and lines[-1]["resident_bytes"] > 1e6, lines
    assert any(x["frame"] == 12 for x in lines)
    r = good(sync("video.mp4", "short.wav", "o.mp4", "--quiet"))
    assert r.stderr == "" and r.stdout == "", r.stderr


@test
def interruption_leaves_nothing():
    p = subprocess.Popen([LS, "sync", "-m", "models", "-t", "track.jsonl", "video.mp4", "speech.wav", "-o",
                          "out.mp4", "--steps", "900", "--resolution", "128"], stderr=subprocess.PIPE, text=True)
    time.sleep(2)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=60)
    assert p.returncode == 130 and "interrupted" in err, (p.returncode, err)
    assert not [f for f in os.listdir(".") if "out.mp4" in f], os.listdir(".")


@test
def help_and_usage():
    for args in ([], ["sync"], ["faces"], ["models"], ["info"]):
        r = run(LS, *args, "--help")
        assert r.returncode == 0 and "usage: latentsync" in r.stdout and not r.stderr
    assert run(LS).returncode == 2
    assert run(LS, "frobnicate").returncode == 2
    bad(run(LS, "sync", "video.mp4"), "--help", code=2)
    shutil.copy(LS, "latentsync")  # where no model comes with it
    alone = {**os.environ, "HOME": DIR, "XDG_DATA_HOME": "", "XDG_DATA_DIRS": DIR}
    for command in (["sync", "-t", "x", "video.mp4", "speech.wav", "-o", "out.mp4"], ["faces", "video.mp4"]):
        bad(run("./latentsync", *command, env=alone), "no model is installed", "latentsync models pull", "--models")
    os.remove("latentsync")
    bad(sync("video.mp4", "speech.wav", "out.mp4", "--steps", "0"), "--steps 0", code=2)
    bad(sync("video.mp4", "speech.wav", "out.mp4", "--face", "middle"), "face middle", "largest, left, right")
    bad(sync("video.mp4", "speech.wav", "out.mp4", "--max-gap", "-1"), "--max-gap -1", code=2)
    bad(sync("video.mp4", "speech.wav", "out.mp4", "--save-track", "out.jsonl"), "face track")
    bad(run(LS, "faces", "-m", "models"), "VIDEO", code=2)
    bad(sync("video.mp4", "speech.wav", "out.mp4", "--guidance", "nan"), "--guidance nan", code=2)
    bad(sync("video.mp4", "speech.wav", "out.mp4", "--dtype", "f8"), "auto, f32, bf16", code=2)
    bad(sync("video.mp4", "speech.wav", "out.mp4", "--no-such-option"), "--help", code=2)
    assert "compute type" in good(run(LS, "info")).stdout


@test
def bad_video():
    open("empty.mp4", "w").close()
    open("text.mp4", "w").write("this is not a video\n" * 100)
    open("cut.mp4", "wb").write(open("video.mp4", "rb").read()[:3000])
    bad(sync("missing.mp4", "speech.wav", "out.mp4"), "missing.mp4", "No such file")
    bad(sync("empty.mp4", "speech.wav", "out.mp4"), "empty.mp4 is empty")
    bad(sync("text.mp4", "speech.wav", "out.mp4"), "text.mp4 is not a video")
    bad(sync("cut.mp4", "speech.wav", "out.mp4"), "cut.mp4", "cut off")
    bad(sync("speech.wav", "speech.wav", "out.mp4"), "speech.wav has no video stream")
    bad(sync(".", "speech.wav", "out.mp4"), "is a directory")


@test
def bad_audio():
    ffmpeg("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "0", "zero.wav")
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.005", "tiny.wav")
    bad(sync("video.mp4", "missing.wav", "out.mp4"), "missing.wav")
    bad(sync("video.mp4", "video.mp4", "out.mp4"), "video.mp4 has no audio stream")
    bad(sync("video.mp4", "zero.wav", "out.mp4"), "zero.wav")
    bad(sync("video.mp4", "tiny.wav", "out.mp4"), "tiny.wav", "samples")


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
        bad(sync("video.mp4", "speech.wav", "out.mp4", track="bad.jsonl"), "bad.jsonl", word)
    bad(sync("video.mp4", "speech.wav", "out.mp4", track="missing.jsonl"), "missing.jsonl")


@test
def bad_models():
    bad(sync("video.mp4", "speech.wav", "out.mp4", models="nowhere"), "nowhere")
    shutil.rmtree("m", ignore_errors=True)
    shutil.copytree("models", "m")
    data = open("m/latentsync_unet.pt", "rb").read()
    open("m/latentsync_unet.pt", "wb").write(data[:len(data) // 2])
    bad(sync("video.mp4", "speech.wav", "out.mp4", models="m"), "latentsync_unet.pt")
    open("m/latentsync_unet.pt", "wb").write(data)
    os.remove("m/whisper/tiny.pt")
    bad(sync("video.mp4", "speech.wav", "out.mp4", models="m"), "whisper/tiny.pt is missing")
    bad(run(LS, "models", "check", "m"), "whisper/tiny.pt is missing")
    good(run(LS, "models", "random", "--size", "small", "--out", "wide"))
    shutil.copy("wide/whisper/tiny.pt", "m/whisper/tiny.pt")
    bad(run(LS, "models", "check", "m"), "whisper/tiny.pt is 384 wide", "cross attention wants 32")
    shutil.copy("models/vae/diffusion_pytorch_model.safetensors", "m/latentsync_unet.safetensors")
    os.remove("m/latentsync_unet.pt")
    bad(run(LS, "models", "check", "m"), "latentsync_unet.safetensors", "not a LatentSync UNet")
    bad(run(LS, "models", "random", "--size", "mini", "--out", "models"), "already there", code=2)
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
    bad(run(LS, "models", "check", "m"), vae, "decoder.extra.weight [2] is not part of this model")
    edit_safetensors("models/" + vae, "m/" + vae, missing)
    bad(run(LS, "models", "check", "m"), "decoder.conv_out.bias [3] is missing")
    edit_safetensors("models/" + vae, "m/" + vae, misshapen)
    bad(run(LS, "models", "check", "m"), "decoder.conv_norm_out.weight has shape [4, 4], expected [16]")


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
    bad(sync("video.mp4", "short.wav", "nowhere/out.mp4"), "nowhere/out.mp4")
    bad(sync("video.mp4", "short.wav", "folder.mp4"), "folder.mp4 is a directory")
    bad(sync("video.mp4", "short.wav", "out.xyz"), "out.xyz", ".mp4")
    bad(sync("video.mp4", "short.wav", "video.mp4"), "video.mp4 is an input")
    bad(sync("video.mp4", "short.wav", "out.mp4", "--video-codec", "h265ish"), "libx264")
    bad(sync("video.mp4", "short.wav", "out.mp4", "--preset", "warp"), "warp")
    if os.geteuid() == 0:
        r = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", LS, "info"], capture_output=True)
        if r.returncode == 0:
            os.chmod(DIR, 0o755)
            os.makedirs("ro", exist_ok=True)
            r = run("setpriv", "--reuid", "65534", "--clear-groups", LS, "sync", "-m", "models", "-t",
                    "track.jsonl", "video.mp4", "short.wav", "-o", "ro/out.mp4", *QUICK)
            bad(r, "ro/out.mp4", "Permission denied")


@test
def disk_full():
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=16000:d=1.0", "mono.wav")
    bad(sync("video.mp4", "mono.wav", "out.mp4", preexec_fn=limit), "out.mp4")


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
        bad(run(LS, "report", "bad.jsonl", "-o", "out.html"), "bad.jsonl", *words)
    open("bad.jsonl", "w").write(good_line)
    os.link("bad.jsonl", "o.link")
    for name in ("bad.jsonl", "./bad.jsonl", "o.link"):
        bad(run(LS, "report", "bad.jsonl", "-o", name), "another name")
    assert open("bad.jsonl").read() == good_line
    bad(run(LS, "report", "missing.jsonl", "-o", "out.html"), "missing.jsonl")
    bad(run(LS, "report", "bad.jsonl", "-o", "nowhere/out.html"), "nowhere/out.html")
    bad(run(LS, "report", "bad.jsonl"), "-o", code=2)
    bad(run(LS, "report", "-o", "out.html"), "FILE.jsonl", code=2)
    assert "report.html" in good(run(LS, "report", "--help")).stdout.lower()


sys.exit(main(setup))
