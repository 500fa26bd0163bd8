#!/usr/bin/env python3
"""What shows of a job while it runs: its newest frame, and what is finished as a stream. Prints TAP.
usage: live.py LATENTSYNC"""
import os
import re
import shutil
import signal
import struct
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
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=5", "-f", "lavfi", "-i", "sine=f=300:d=5", "-c:v", "libx264", "-preset",
           "ultrafast", "-pix_fmt", "yuv420p", "small.mkv")
    ffmpeg("-i", "speech.wav", "-c:a", "aac", "-ac", "2", "-ar", "48000", "speech.m4a")
    track("small.jsonl", 140, cx=80, cy=60, s=40)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))
SMALL = ["sync", "-m", "models", "-t", "small.jsonl", *QUICK, "--segment-seconds", "1"]


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
                    times.append(os.fstat(f.fileno()).st_mtime)
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


def shown(path, stream="v"):
    """Of every packet when it is shown, in seconds."""
    r = good(run("ffprobe", "-v", "error", "-select_streams", stream, "-show_entries", "packet=pts_time", "-of", "csv=p=0", path))
    return [float(line.strip(",")) for line in r.stdout.split()]


def shown_so_far(folder, text):
    """The same of a playlist that has not ended, which players wait for."""
    path = folder + "/.seen.m3u8"
    with open(path, "w") as f:
        f.write(text + "#EXT-X-ENDLIST\n")
    times = shown(path)
    os.remove(path)
    return times


def pictures(path):
    r = good(run("ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-"))
    assert not r.stderr, r.stderr
    return [line.split(",")[-1].strip() for line in r.stdout.splitlines() if line and line[0] != "#"]


def heard(path):
    r = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", "0:a", "-f", "s16le", "-"], capture_output=True)
    assert not r.returncode and not r.stderr, r.stderr
    return r.stdout


def listed(text):
    """The segments of a playlist, and their lengths."""
    return re.findall(r"^\d{5}\.m4s$", text, re.M), [float(x) for x in re.findall(r"^#EXTINF:([\d.]+),$", text, re.M)]


def boxes(data, at=0, end=None):
    end = len(data) if end is None else end
    while at < end:
        size, kind = struct.unpack_from(">I4s", data, at)
        assert 8 <= size <= end - at, (size, kind)
        yield kind.decode(), at + 8, at + size
        at += size


def fragments(folder):
    """Of every fragment of every track: its decoding time, and the sum of the lengths of its samples."""
    found = {}
    for name in sorted(f for f in os.listdir(folder) if f.endswith(".m4s")):
        data = open(os.path.join(folder, name), "rb").read()
        assert [kind for kind, _, _ in boxes(data)] == ["moof", "mdat"] * (len(list(boxes(data))) // 2), name
        for _, a, b in (x for x in boxes(data) if x[0] == "moof"):
            for _, c, d in (x for x in boxes(data, a, b) if x[0] == "traf"):
                inner = {kind: data[e:f] for kind, e, f in boxes(data, c, d)}
                flags, number = struct.unpack_from(">II", inner["tfhd"])
                common = struct.unpack_from(">I", inner["tfhd"], 8 + 4 * bool(flags & 2))[0] if flags & 8 else 0
                flags, count = struct.unpack_from(">II", inner["trun"])
                step = 4 * bin(flags >> 8 & 15).count("1")
                first = 8 + 4 * bool(flags & 1) + 4 * bool(flags & 4)
                lengths = [struct.unpack_from(">I", inner["trun"], first + i * step)[0] for i in range(count)] if flags & 0x100 \
                    else [common] * count
                found.setdefault(number, []).append((name, struct.unpack_from(">Q", inner["tfdt"], 4)[0], sum(lengths), b - a))
    return found


def continuous(folder):
    """Each fragment's decoding begins where the one before ended."""
    tracks = fragments(folder)
    assert sorted(tracks) == [1, 2], tracks
    for number, all_of in tracks.items():
        at = 0
        for name, begin, length, _ in all_of:
            assert begin == at, (number, name, begin, at)
            at += length


def same(folder, output, slack=0.002):
    """The stream is the output, which is read from its other file."""
    path = folder + "/stream.m3u8"
    text = open(path).read()
    names, lengths = listed(text)
    times = shown(output)
    assert text.startswith("#EXTM3U\n#EXT-X-VERSION:7\n") and text.endswith("\n#EXT-X-ENDLIST\n"), text
    assert names == [f"{i:05}.m4s" for i in range(len(names))]
    assert shown(path) == times and sorted(times)[0] == 0, (shown(path)[:9], times[:9])
    assert pictures(path) == pictures(output)
    assert abs(sum(lengths) - float(probe(output)["duration"])) < slack, (lengths, probe(output)["duration"])
    assert max(map(round, lengths)) <= int(re.search(r"TARGETDURATION:(\d+)", text)[1])
    continuous(folder)
    frame = 1024 / int(probe(path, "a:0")["sample_rate"])
    gaps = [b - a for a, b in zip(shown(path, "a"), shown(path, "a")[1:])]
    assert probe(path, "a:0")["codec_name"] == "aac" and all(abs(g - frame) < 1e-3 for g in gaps)
    # but for what the encoder puts before the first sample, which not every reader leaves out
    stream, whole = heard(path), heard(output)
    assert stream.endswith(whole) and len(stream) - len(whole) <= 4 * 1024, (len(stream), len(whole))
    return names, lengths


def digests(folder):
    return {f: digest(os.path.join(folder, f)) for f in sorted(os.listdir(folder))}


@test
def a_stream_is_the_output_while_it_is_made():
    good(run(LS, *SMALL, "--preset", "medium", "small.mkv", "speech.m4a", "-o", "o.plain.mp4"))
    p = subprocess.Popen([LS, *SMALL, "--preset", "medium", "--steps", "9", "--stream", "o.live", "small.mkv", "speech.m4a", "-o",
                          "o.mp4"], stderr=subprocess.PIPE, text=True)
    versions, kept, player = [], {}, None
    while p.poll() is None:
        if os.path.exists("o.live/stream.m3u8"):
            with open("o.live/stream.m3u8") as f:
                text = f.read()
            if not versions or text != versions[-1]:
                versions.append(text)
                for name in ["init.mp4", *listed(text)[0]]:
                    s = os.stat("o.live/" + name)
                    assert kept.setdefault(name, (s.st_ino, s.st_size)) == (s.st_ino, s.st_size), name
                if len(versions) == 1:
                    first = shown_so_far("o.live", text)
            player = player or subprocess.Popen(["ffmpeg", "-v", "error", "-nostdin", "-live_start_index", "0", "-i",
                                                 "o.live/stream.m3u8", "-map", "0:v", "-c", "copy", "-f", "framemd5", "o.played"])
        time.sleep(0.01)
    assert p.wait() == 0, p.stderr.read()
    assert len(versions) > 1, versions
    assert all(b.startswith(a) for a, b in zip(versions, versions[1:])), versions
    assert all("ENDLIST" not in v for v in versions[:-1]) and versions[0].count("EXTINF") == 1 and len(first) == 32, versions
    names, lengths = same("o.live", "o.mp4")
    assert lengths == [1.28, 1.28, 1.04] and sorted(os.listdir("o.live")) == [*names, "init.mp4", "stream.m3u8"], lengths
    assert player.wait(timeout=200) == 0
    assert len([x for x in open("o.played") if x[0] != "#"]) == 90, open("o.played").read()
    r = good(run(LS, *SMALL, "--preset", "medium", "--stream", "o.again", "small.mkv", "speech.m4a", "-o", "o.mp4"))
    assert digest("o.mp4") == digest("o.plain.mp4") and "stream" not in r.stderr, r.stderr


@test
def a_killed_stream_is_resumed():
    args = [*SMALL, "--preset", "medium", "--keep-sound", "-6dB", "small.mkv", "speech.wav"]
    good(run(LS, *args, "--stream", "o.whole", "-o", "o.whole.mp4"))
    same("o.whole", "o.whole.mp4")
    p = subprocess.Popen([LS, *args, "--stream", "o.live", "-o", "o.mp4"], stderr=subprocess.DEVNULL)
    while not os.path.exists("o.live/stream.m3u8"):
        assert p.poll() is None
        time.sleep(0.001)
    p.send_signal(signal.SIGKILL)
    p.wait()
    had = digests("o.live")
    assert all(digests("o.whole").get(f) == d for f, d in had.items() if f[0] != "." and f != "stream.m3u8"), had
    # what others left there
    with open("o.precious", "w") as f:
        f.write("precious")
    os.remove("o.live/00000.m4s")
    os.symlink("../o.precious", "o.live/00000.m4s")
    open("o.live/init.mp4", "w").close()
    with open("o.live/mine.txt", "w") as f:
        f.write("mine")
    good(run(LS, "resume", "--stream", "o.live", "o.mp4.lsjob"))
    assert open("o.precious").read() == "precious" and open("o.live/mine.txt").read() == "mine"
    os.remove("o.live/mine.txt")
    assert digests("o.live") == digests("o.whole") and not os.path.islink("o.live/00000.m4s")
    assert digest("o.mp4") == digest("o.whole.mp4")


@test
def an_old_stream_is_not_taken_for_the_new_one():
    os.mkdir("o.live")
    for name in ["stream.m3u8", "00000.m4s", ".00000.m4s.1.0.part"]:
        with open("o.live/" + name, "w") as f:
            f.write("old")
    p = subprocess.Popen([LS, *SMALL, "--steps", "9", "--stream", "o.live", "small.mkv", "speech.wav", "-o", "o.mp4"],
                         stderr=subprocess.DEVNULL)
    while not os.path.exists("o.mp4.lsjob/job.json"):
        assert p.poll() is None
        time.sleep(0.001)
    while p.poll() is None and not os.path.exists("o.live/init.mp4"):
        time.sleep(0.001)
    assert not os.path.exists("o.live/stream.m3u8") or "EXTM3U" in open("o.live/stream.m3u8").read()
    assert p.wait() == 0
    same("o.live", "o.mp4")
    assert not [f for f in os.listdir("o.live") if f[0] == "."]


@test
def parts_previews_and_encoders():
    args = ["--stream", "o.live", "small.mkv", "speech.wav", "-o", "o.mp4"]
    for more in [["--start", "0.6", "--duration", "2"], ["--until", "video", "--segment-seconds", "2"],
                 ["--video-codec", "libx265"], ["--offset", "300"]]:
        good(run(LS, *SMALL, *more, *args))
        names, _ = same("o.live", "o.mp4")
        assert len(names) > 1
        shutil.rmtree("o.live")
    good(run(LS, *SMALL, "--preview", "0.6", *args))
    assert same("o.live", "o.preview.mp4")[1] == [0.64]


@test
def frames_that_come_when_they_will():
    ffmpeg("-i", "small.mkv", "-vf", "setpts='(floor(N/3)*5+mod(N,3))/25/TB'", "-fps_mode", "vfr", "-video_track_timescale", "90000", "-c:v", "libx264",
           "-preset", "ultrafast", "-an", "o.vfr.mp4")
    good(run(LS, *SMALL, "--preset", "medium", "--fps", "source", "--stream", "o.live", "o.vfr.mp4", "speech.wav", "-o", "o.mp4"))
    names, _ = same("o.live", "o.mp4", 0.04)
    steps = sorted(shown("o.mp4"))
    assert len(names) > 1 and len({round(b - a, 3) for a, b in zip(steps, steps[1:])}) > 1, steps[:9]


@test
def fragments_stay_small():
    ffmpeg("-f", "lavfi", "-i", "color=gray:s=480x270:r=25:d=3,noise=alls=100:allf=t", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt",
           "yuv420p", "o.noise.mp4")
    track("o.track.jsonl", 90, cx=200, cy=140, s=60)
    good(run(LS, *SYNC, "-t", "o.track.jsonl", "--crf", "1", "--preset", "superfast", "--duration", "2", "--stream", "o.live", "o.noise.mp4",
             "speech.wav", "-o", "o.mp4"))
    names, _ = same("o.live", "o.mp4")
    data = open("o.live/00000.m4s", "rb").read()
    sizes = [b - a for kind, a, b in boxes(data) if kind == "mdat"]
    assert names == ["00000.m4s"] and len(sizes) > 2 and max(sizes) < 3 << 20, sizes


@test
def what_is_refused():
    ends = ["small.mkv", "speech.wav", "-o", "out.mkv"]
    bad(run(LS, *SMALL, "--stream", "o.live", "--video-codec", "ffv1", *ends), "HLS holds no ffv1 video", "libx264", code=2)
    bad(run(LS, *SMALL, "--stream", "small.mkv", *ends), "small.mkv is not a folder", code=2)
    bad(run(LS, *SMALL, "--stream", "missing/live", *ends), "missing", code=3)
    bad(run(LS, "plan", *SMALL[1:], "--stream", "o.live", *ends), "only a job that runs as a whole", code=2)
    good(run(LS, "plan", *SMALL[1:], "small.mkv", "speech.wav", "-o", "o.mp4"))
    for command in [["render", "o.mp4.lsjob", "--segment", "0"], ["join", "o.mp4.lsjob"]]:
        bad(run(LS, *command, "--stream", "o.live"), "only a job that runs as a whole", code=2)
    assert not os.path.exists("o.live")
    os.makedirs("o.live/00001.m4s/x")
    r = good(run(LS, "resume", "--stream", "o.live", "o.mp4.lsjob"))
    text = open("o.live/stream.m3u8").read()
    assert "the stream ends here" in r.stderr and probe("o.mp4")["nb_read_frames"] == "90", r.stderr
    assert listed(text)[0] == ["00000.m4s"] and len(shown_so_far("o.live", text)) == 32


sys.exit(main(setup))
