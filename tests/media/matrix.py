#!/usr/bin/env python3
"""Media as people have them: a file of every kind, made by ffmpeg, goes through a whole job, and the result is held
against what ffmpeg itself makes of the file: every frame outside the face, tags, durations, the onset of the sound.
Prints TAP, with a line of figures for each file.
usage: matrix.py LATENTSYNC [PATTERN], a regular expression that chooses tests by their names"""
import json
import math
import os
import re
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from common import LS, TESTS, ffmpeg, good, main, points, run  # noqa: E402

FPS = 25
CLICK = 0.5  # seconds from the start of a recording to its click
SYNC = ["sync", "-q", "-m", "models", "-t", "track.jsonl", "--resolution", "64", "--steps", "1", "--guidance", "1",
        "--preset", "ultrafast", "--crf", "0", "--threads", "1"]
VERSION = tuple(int(x) for x in re.search(r"version n?(\d+)\.(\d+)", run("ffmpeg", "-version").stdout).groups())
OUR_RULES = VERSION < (6, 1)  # later versions drop and repeat frames by other rules than 5.1
FULL = bool(os.environ.get("LS_TEST_FULL"))
ENCODERS = run("ffmpeg", "-v", "error", "-encoders").stdout.split()


def source(rate=30, size="192x144", seconds=2):
    return ["-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={seconds}"]


def x264(*options, fmt="yuv420p"):
    return ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "12", "-pix_fmt", fmt, *options]


def click(rate=44100, channels=1, seconds=1.5):
    """Silence, and from CLICK on a square wave, the same in every channel."""
    name = f"click-{rate}-{channels}.wav"
    if not os.path.exists(name):
        n, at = int(rate * seconds), int(rate * CLICK)
        wave = [0] * at + [12000 if i * 2000 // rate % 2 == 0 else -12000 for i in range(n - at)]
        data = b"".join(struct.pack("<h", v) * channels for v in wave)
        with open(name, "wb") as f:
            f.write(struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, channels, rate,
                                rate * channels * 2, channels * 2, 16, b"data", len(data)) + data)
    return ["-i", name]


def write_track(w, h, frames=260):
    """A face right of the middle."""
    x, y, s = w * .78, h * .5, h * .25
    with open("track.jsonl", "w") as f:
        for i in range(frames):
            f.write(json.dumps({"frame": i, "score": .9, "box": [x - s, y - s, x + s, y + s],
                                "points5": points(x, y, s)}) + "\n")


def pictures(paths, size):
    """Of each file the left and the right quarter of every picture, in 4:4:4, as bytes."""
    w, h, right = size[0] // 8 * 2, size[1] // 2 * 2, size[0] * 3 // 8 * 2
    graph, args, sides = [], [], []
    for i in range(len(paths)):
        graph += [f"[{i}:v]format=yuv444p,split[a{i}][b{i}]", f"[a{i}]crop={w}:{h}:0:0[left{i}]",
                  f"[b{i}]crop={w}:{h}:{right}:0[right{i}]"]
        for side in ("left", "right"):
            args += ["-map", f"[{side}{i}]", "-fps_mode", "passthrough", "-f", "rawvideo", f"o.{side}{i}"]
    ffmpeg(*(x for path in paths for x in ("-i", path)), "-lavfi", ";".join(graph), *args)
    for name in (a for a in args if a.startswith("o.")):
        with open(name, "rb") as f:
            data = f.read()
        sides.append([data[i:i + 3 * w * h] for i in range(0, len(data), 3 * w * h)])
    return sides


def psnr(a, b):
    error = sum((x - y) * (x - y) for x, y in zip(a, b)) if a != b else 0
    return 10 * math.log10(255 * 255 * len(a) / error) if error else math.inf


def likeness(out, path, stream, size, fmt, filters):
    """The frames of the output; the PSNR to ffmpeg's of the worst, left of the face, and of the one at the face that
    changed least."""
    ffmpeg("-i", path, "-map", "0:" + stream, *filters, "-r", str(FPS), "-fps_mode", "cfr", "-pix_fmt", fmt, "-c:v", "ffv1",
           "o.reference.mkv")
    away, face, away_was, face_was = pictures([out, "o.reference.mkv"], size)
    n = len(away_was)
    place = [min(i % (2 * n), 2 * n - 1 - i % (2 * n)) for i in range(len(away))]  # there and back
    assert len(away_was[-1]) == len(away[-1]), "sizes differ"
    return (len(away), min(psnr(a, away_was[i]) for i, a in zip(place, away)),
            max(psnr(a[::5], face_was[i][::5]) for i, a in zip(place, face)))


def look(path):
    """What ffprobe says of a file: its streams, the time of its start, and all packets."""
    r = run("ffprobe", "-v", "error", "-show_entries", "stream:format=start_time:packet=stream_index,pts_time,duration_time,flags",
            "-of", "json", path)
    return json.loads(r.stdout)


def streams(seen, kind):
    """Those of that type, but for attached pictures."""
    return [s for s in seen["streams"] if s["codec_type"] == kind and not s["disposition"]["attached_pic"]]


def times(seen):
    """The seconds at which picture begins, and picture and sound end, for a player."""
    spans = [[(float(p["pts_time"]), float(p["pts_time"]) + float(p.get("duration_time", 0))) for p in seen["packets"]
              if p["stream_index"] == streams(seen, kind)[0]["index"] and "D" not in p["flags"]] for kind in ("video", "audio")]
    return min(spans[0])[0], max(end for _, end in spans[0]), max(end for _, end in spans[1])


def began(seen):
    """The time that ffmpeg takes for the start of a file."""
    return float(seen["format"]["start_time"])


def heard(path, seen):
    """Seconds from the start, as a player has it, to the click, and to the end. Sound alone starts with its first sample."""
    begin = ":first_pts=0" if streams(seen, "video") else ""
    r = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", "0:a:0", "-af",
                        "aresample=48000:async=1:min_hard_comp=.005" + begin, "-ac", "1", "-f", "s16le", "-"],
                       capture_output=True)
    samples = struct.unpack(f"<{len(r.stdout) // 2}h", r.stdout[:len(r.stdout) // 2 * 2])
    loudest = max(abs(x) for x in samples)
    assert loudest > 1000, f"{path} is silent"
    return next(i for i, x in enumerate(samples) if abs(x) > loudest / 2) / 48000, len(samples) / 48000


def note(text):
    print("# " + text, flush=True)


# With --full only: what takes the same way through the program as a neighbour in these lists.
LIKE_OTHERS = re.compile("video (24|48|60|120) frames a|video colours (BT.601, 525|HDR, HLG)|video interlaced bff|"
                         "video pixels (yuv422p10le|yuv411p|gray10le|gbrp10le|yuv444p12le|nv12)|video turned by 270|"
                         "video (HuffYUV|WMV|Flash|MS-MPEG-4|Y4M|Cinepak|MPEG-1|Theora|MJPEG)$|video in (m4v|flv|m2ts|nut|asf)|"
                         "speech (11025|22050|32000|192000) Hz|speech (2.1|quad|7.1)$|speech pcm_(s24le|f64le|mulaw)")


def case(name, run_it):
    run_it.__name__ = name.replace(" ", "_")
    if LIKE_OTHERS.match(name) and not FULL:
        return
    if re.search(sys.argv[2] if len(sys.argv) > 2 else "", run_it.__name__):
        TESTS.append(run_it)


def video(name, file, *make, filters=(), like=None, tags=None, number=0, turned=False, needs=None):
    """A video of this name, made by ffmpeg with these arguments, or by a function; `filters` is what ffmpeg needs to
    show what the job should; `like` the PSNR that conversions leave; `tags` of the output as ffprobe names them."""
    def run_it():
        if needs and needs not in ENCODERS:
            return f"this ffmpeg has no {needs}"
        path, out = "o." + file, "o.out.mkv"
        make[0](path) if callable(make[0]) else ffmpeg(*make, path)
        have = streams(look(path), "video")[number]
        size = (have["height"], have["width"]) if turned else (have["width"], have["height"])
        write_track(*size)
        good(run(LS, *SYNC, path, "still.wav", "-o", out))
        seen = look(out)
        have = streams(seen, "video")[0]
        frames, away, face = likeness(out, path, f"V:{number}", size, have["pix_fmt"], filters)
        start, seconds, sound = times(seen)
        seconds, sound = seconds - start, sound - start
        note(f"{name} | {file} | {have['pix_fmt']}, {frames} frames | PSNR {away:.1f} | video {seconds:.3f} s, sound {sound:.3f} s")
        assert frames == math.ceil(sound * FPS - .01), f"{frames} frames for {sound} s of sound"
        assert abs(seconds - sound) < 1 / FPS, f"{seconds} s of video, {sound} s of sound"
        assert face < 40, f"the face is as before: {face} dB"
        assert away >= (like or math.inf) or not OUR_RULES, f"PSNR {away} outside the face"
        for key, value in (tags or {}).items():
            assert have.get(key) == value, f"{key} is {have.get(key)}, not {value}"
    case("video " + name, run_it)


def speech(name, file, *make, out="o.out.mkv", needs=None):
    """A recording in which a click is heard: where ffmpeg has it."""
    def run_it():
        if needs and needs not in ENCODERS:
            return f"this ffmpeg has no {needs}"
        path = "o." + file
        make[0](path) if callable(make[0]) else ffmpeg(*make, path)
        write_track(192, 144, 1)  # it is about the sound
        at, end = heard(path, look(path))
        good(run(LS, *SYNC, "still.mp4", path, "-o", out))
        seen = look(out)
        got, ends = heard(out, seen)
        start, seconds, _ = times(seen)
        shift = start - began(seen)
        got, ends, seconds = got - shift, ends - shift, seconds - start
        have = streams(seen, "audio")[0]
        note(f"{name} | {file} | {have['codec_name']} {have['sample_rate']} Hz, {have['channels']} channels | "
             f"click at {at:.4f} s, then at {got:.4f} s | {end:.3f} s, then {ends:.3f} s, {seconds:.3f} s of video")
        assert abs(got - at) < .001, f"the click moved by {(got - at) * 1000:.2f} ms"
        assert abs(ends - end) < .03, f"{end} s of sound became {ends} s"
        assert abs(seconds - end) < 1 / FPS, f"{seconds} s of video for {end} s of sound"
    case("speech " + name, run_it)


def refused(name, file, code, words, *make, kind="video"):
    """A file that cannot be used: the exit code, and what the message says."""
    def run_it():
        path = "o." + file
        make[0](path) if callable(make[0]) else ffmpeg(*make, path)
        write_track(192, 144)
        inputs = [path, "still.wav"] if kind == "video" else ["still.mp4", path]
        r = run(LS, *SYNC, *inputs, "-o", "o.out.mkv")
        note(f"{name} | {file} | exit {r.returncode} | {r.stderr.strip()}")
        assert r.returncode == code, f"exit {r.returncode} instead of {code}"
        assert all(w in r.stderr for w in words), r.stderr
        assert path in r.stderr, "the file is not named"
        assert not os.path.exists("o.out.mkv") and not os.path.exists("o.out.mkv.lsjob"), "left behind"
    case(f"{kind} refused: {name}", run_it)


def cut(options, keep, then=None):
    """Makes a file and keeps so much of it; `then` changes its bytes."""
    def make(path):
        ffmpeg(*options, path)
        with open(path, "rb") as f:
            data = bytearray(f.read())
        data = data[:int(len(data) * keep)]
        if then:
            then(data)
        with open(path, "wb") as f:
            f.write(data)
    return make


def hole(data):
    """1 % of the bytes, in the middle."""
    at, n = len(data) // 2, len(data) // 100
    data[at:at + n] = bytes(n)


def setup():
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))
    ffmpeg(*source(25), *x264(), "still.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=16000:d=1.2", "still.wav")


# Rates and times
for rate in ("15", "24000/1001", "24", "25", "30000/1001", "30", "48", "50", "60000/1001", "60", "120"):
    video(f"{rate.replace('/', ' over ')} frames a second", "mp4", *source(rate), *x264())
video("rate that varies", "mkv", *source(60), "-vf", "select='lt(mod(n,7),3)+eq(mod(n,5),0)'", "-fps_mode", "vfr", *x264())
video("rate that doubles", "mp4", *source(60), "-vf", "select='gt(t,1)+not(mod(n,2))'", "-fps_mode", "vfr", *x264())
video("shorter than the speech", "mp4", *source(25, seconds=.8), *x264("-g", "7"))
video("much shorter than the speech", "mkv", *source(30, seconds=.2), *x264())
video("b frames", "mp4", *source(), *x264("-bf", "3", "-g", "20", "-preset", "medium"))
video("open groups of pictures", "ts", *source(), *x264("-bf", "2", "-x264-params", "open-gop=1:keyint=12", "-preset", "medium"))
video("starts at 10 s", "mkv", *source(), *x264("-output_ts_offset", "10"))
video("starts at 10 s, transport stream", "ts", *source(), *x264("-output_ts_offset", "10"))
video("negative start", "mkv", *source(), *x264("-output_ts_offset", "-0.5", "-avoid_negative_ts", "disabled"))


def trimmed(path):
    ffmpeg(*source(), *x264("-g", "30"), "o.whole.mp4")
    ffmpeg("-ss", "0.4", "-i", "o.whole.mp4", "-c", "copy", path)


video("edit list", "mp4", trimmed)
video("video later than sound", "mp4", "-itsoffset", "0.3", *source(), "-f", "lavfi", "-i", "sine=d=2", *x264())
video("hole in time", "mkv", *source(), "-vf", "select='lt(t,.5)+gt(t,1.1)'", "-fps_mode", "vfr", *x264())

# Turned, stretched, odd
for angle in (90, 180, 270):
    def turned(path, angle=angle):
        ffmpeg(*source(), *x264(), "o.upright.mp4")
        if VERSION >= (6, 0):
            ffmpeg("-display_rotation", str(-angle), "-i", "o.upright.mp4", "-c", "copy", path)
        else:
            ffmpeg("-i", "o.upright.mp4", "-c", "copy", "-metadata:s:v", f"rotate={angle}", path)
    video(f"turned by {angle}", "mp4", turned, turned=angle != 180)
video("pixels not square", "mp4", *source(), "-vf", "setsar=16/11", *x264(), tags={"sample_aspect_ratio": "16:11"})
video("odd size", "mkv", *source(size="191x143"), "-c:v", "ffv1", "-pix_fmt", "yuv420p")
video("tall", "mp4", *source(size="96x300"), *x264())

# Colours
for name, tags, fmt in (("BT.709", ("bt709", "bt709", "bt709"), "yuv420p"),
                        ("BT.601, 525 lines", ("smpte170m", "smpte170m", "smpte170m"), "yuv420p"),
                        ("BT.601, 625 lines", ("bt470bg", "bt470bg", "bt470bg"), "yuv420p"),
                        ("BT.2020", ("bt2020nc", "bt2020", "bt2020-10"), "yuv420p"),
                        ("HDR, PQ", ("bt2020nc", "bt2020", "smpte2084"), "yuv420p10le"),
                        ("HDR, HLG", ("bt2020nc", "bt2020", "arib-std-b67"), "yuv420p10le")):
    params = "setparams=colorspace={}:color_primaries={}:color_trc={}:range=tv".format(*tags)
    video("colours " + name, "mp4", *source(), "-vf", f"scale,format={fmt},{params}", *x264(fmt=fmt),
          like=50 if "10" in fmt else None,
          tags=dict(zip(("color_space", "color_primaries", "color_transfer", "pix_fmt"), (*tags, fmt))))
video("full range", "mp4", *source(), "-vf", "scale=out_range=full,format=yuv420p,setparams=range=pc", *x264(), like=45,
      tags={"color_range": "pc"})
for fmt, like in (("yuv422p", 40), ("yuv444p", 38), ("yuv420p10le", 50), ("yuv422p10le", 40), ("yuv444p12le", 38),
                  ("yuv411p", 38), ("yuv410p", 30), ("gray", None), ("gray10le", 50), ("rgb24", 38), ("bgra", 38), ("gbrp10le", 38),
                  ("yuva420p", None), ("nv12", None)):
    raw = fmt in ("nv12", "rgb24")
    video("pixels " + fmt, "avi" if raw else "mkv", *source(), "-c:v", "rawvideo" if raw else "ffv1", "-pix_fmt", fmt, like=like)
for order in ("tff", "bff"):
    fields = f"interlace=scan={order},scale=out_color_matrix=bt709:flags=accurate_rnd"
    video(f"interlaced {order}", "ts", *source(50), "-vf", fields, *x264("-x264-params", f"{order}=1", "-colorspace", "bt709"),
          filters=["-vf", "bwdif=mode=send_frame:deint=interlaced"], like=45)

# Codecs and containers
for name, file, codec in (("HEVC", "mp4", "libx265"), ("MPEG-2", "mpg", "mpeg2video"), ("MPEG-4", "avi", "mpeg4"), ("VP8", "webm", "libvpx"),
                          ("VP9", "webm", "libvpx-vp9"), ("AV1", "mp4", "libsvtav1"), ("ProRes", "mov", "prores_ks"),
                          ("MJPEG", "avi", "mjpeg"), ("FFV1", "mkv", "ffv1"), ("HuffYUV", "avi", "huffyuv"), ("DNxHR", "mxf", "dnxhd"),
                          ("Theora", "ogv", "libtheora"), ("WMV", "wmv", "wmv2"), ("Flash", "flv", "flv"), ("MS-MPEG-4", "avi", "msmpeg4"),
                          ("H.263", "3gp", "h263"), ("raw", "nut", "rawvideo"), ("Y4M", "y4m", "wrapped_avframe"), ("GIF", "gif", "gif"),
                          ("animated PNG", "apng", "apng"), ("Cinepak", "avi", "cinepak"), ("MPEG-1", "mpg", "mpeg1video")):
    more = {"dnxhd": ["-profile:v", "dnxhr_hq", "-pix_fmt", "yuv422p"], "prores_ks": ["-pix_fmt", "yuv422p10le"],
            "libx265": ["-x265-params", "log-level=error"], "libvpx-vp9": ["-cpu-used", "8"], "libsvtav1": ["-preset", "12"],
            "gif": [], "apng": [], "cinepak": [], "huffyuv": ["-pix_fmt", "yuv422p"],
            "mjpeg": ["-pix_fmt", "yuvj420p", "-q:v", "2"]}.get(codec, ["-pix_fmt", "yuv420p"])
    size = "320x256" if codec == "dnxhd" else "176x144" if codec == "h263" else "192x144"
    lossy = {"dnxhd": 38, "prores_ks": 38, "gif": 30, "apng": 36, "cinepak": 30, "huffyuv": 38, "mjpeg": 45}.get(codec)
    video(name, file, *source("25" if file in ("mpg", "mxf") else 30, size=size), "-c:v", codec, *more, needs=codec, like=lossy)
for file in ("mov", "m4v", "mkv", "avi", "flv", "ts", "m2ts", "3gp", "nut", "h264", "asf"):
    video("in " + file, file, *source(25), *x264("-bf", "0"))

# More streams than one
video("attached cover", "mp4", *source(), *source(1, "640x480", 1), "-map", "0", "-map", "1", *x264(), "-c:v:1", "mjpeg",
      "-disposition:v:1", "attached_pic")
video("cover that is not flagged", "mp4", *source(1, "640x480", .9), *source(), "-map", "0", "-map", "1", *x264(),
      number=1)
video("with sound", "mkv", *source(), "-f", "lavfi", "-i", "sine=d=2", *x264())

# Damaged
video("cut off", "ts", cut([*source(seconds=4), *x264()], .7))
video("cut off, Matroska", "mkv", cut([*source(seconds=4), *x264()], .7))
video("a still image", "png", *source(25, seconds=.04), like=38)
video("one frame", "mp4", *source(25, seconds=.04), *x264())
refused("cut off without its index", "mp4", 3, ["cut off"], cut([*source(), *x264()], .5))
refused("empty", "mp4", 3, ["empty"], lambda path: open(path, "w").close())
refused("text", "mp4", 3, [], lambda path: open(path, "w").write("This is not a video.\n" * 50) and None)
refused("sound alone", "wav", 3, ["no video"], *click())
refused("unknown codec", "mkv", 3, [], cut([*source(), *x264()], 1, lambda d: d.__setitem__(slice(*re.search(b"V_MPEG4/ISO/AVC", d).span()), b"V_NOBODYS/CODEC")))

# Recordings
for rate in (8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, 192000):
    speech(f"{rate} Hz", "wav", *click(rate))
for n, layout in ((1, "mono"), (2, "stereo"), (3, "2.1"), (4, "quad"), (6, "5.1"), (8, "7.1")):
    speech(layout, "wav", *click(48000, n))
for fmt in ("pcm_u8", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw", "pcm_mulaw", "adpcm_ima_wav"):
    speech(fmt, "wav", *click(), "-c:a", fmt)
for name, file, codec, rate in (("AAC", "m4a", "aac", 44100), ("AAC, bare", "aac", "aac", 44100), ("MP3", "mp3", "libmp3lame", 44100),
                                ("Opus", "opus", "libopus", 48000), ("Opus in WebM", "webm", "libopus", 48000), ("Vorbis", "ogg", "libvorbis", 44100),
                                ("FLAC", "flac", "flac", 44100), ("ALAC", "m4a", "alac", 44100), ("AC-3", "ac3", "ac3", 48000),
                                ("E-AC-3", "mka", "eac3", 48000), ("WMA", "wma", "wmav2", 44100), ("AIFF", "aiff", "pcm_s16be", 44100),
                                ("CAF", "caf", "pcm_s16be", 44100), ("MP2", "mp2", "mp2", 44100), ("AAC in a transport stream", "ts", "aac", 48000),
                                ("WavPack", "wv", "wavpack", 44100), ("TTA", "tta", "tta", 44100), ("AU", "au", "pcm_s16be", 44100),
                                ("MP3 in Matroska", "mka", "libmp3lame", 44100), ("AAC in QuickTime", "mov", "aac", 48000)):
    # those with a delay of their own to every container; of the others each to one
    outs = ("mkv", "mp4", "mov")
    if not FULL and codec not in ("aac", "libmp3lame", "libopus", "libvorbis"):
        outs = [outs[len(name) % 3]]
    for out in outs:
        speech(f"{name} to {out}", file, *click(rate), "-c:a", codec, out="o.out." + out, needs=codec)
speech("sound of a video", "mp4", *source(), *click(), *x264())
speech("sound later than its video", "mp4", *source(), "-itsoffset", "0.2", *click(), *x264())
speech("sound later than its video, Matroska", "mkv", *source(), "-itsoffset", "0.2", *click(), *x264(), "-c:a", "libopus")


def tail(path):
    ffmpeg(*click(), "-c:a", "aac", "o.whole.m4a")
    ffmpeg("-ss", "0.25", "-i", "o.whole.m4a", "-c", "copy", path)


for out in ("mkv", "mp4", "mov"):
    speech(f"edit list to {out}", "m4a", tail, out="o.out." + out)
    speech(f"hole to {out}", "mka", *click(), "-af", "aselect='lt(t,.2)+gt(t,.4)'", "-c:a", "flac", out="o.out." + out)
    speech(f"damaged to {out}", "mp3", cut([*click(), "-c:a", "libmp3lame"], 1, hole), out="o.out." + out)
refused("silent film", "mp4", 3, ["no audio"], *source(), *x264(), kind="speech")
refused("text", "wav", 3, [], lambda path: open(path, "w").write("Not a recording.\n" * 50) and None, kind="speech")

if __name__ == "__main__":
    sys.exit(main(setup))
