#!/usr/bin/env python3
"""Which stream of a file is used, what cannot be read, and frames at times of their own. Prints TAP.
usage: streams.py LATENTSYNC"""
import json
import os
import shutil
import subprocess

from common import LS, QUICK, bad, digest, ffmpeg, good, main, planes, probe, run, test, track

SYNC = ["sync", "-m", "models", *QUICK, "--steps", "1", "--guidance", "1"]


def lavfi(source, *args):
    ffmpeg("-f", "lavfi", "-i", source, *args)


def setup():
    lavfi("testsrc2=s=320x240:r=25:d=1", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "video.mp4")
    lavfi("testsrc2=s=640x480:r=25", "-frames:v", "1", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "still.mkv")
    lavfi("sine=f=300:d=1", "speech.wav")
    lavfi("sine=f=300:d=5", "five.wav")
    lavfi("sine=f=900:r=16000:d=1,aformat=channel_layouts=stereo", "other.wav")
    track("track.jsonl", 40)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))


def sync(video, speech, out, *options):
    return run(LS, *SYNC, "-v", "-t", "track.jsonl", video, speech, "-o", out, *options)


@test
def a_still_is_not_taken_for_the_video():
    ffmpeg("-i", "still.mkv", "-i", "video.mp4", "-map", "0", "-map", "1", "-c", "copy", "cover.mp4")
    r = good(sync("cover.mp4", "speech.wav", "o.mp4"))
    assert "cover.mp4: of 2 video streams, stream 1 is used" in r.stderr, r.stderr
    assert r.stderr.count("is used") == 1, r.stderr
    assert (probe("o.mp4")["width"], probe("o.mp4")["height"]) == (320, 240)


@test
def streams_are_used_as_wanted():
    ffmpeg("-i", "still.mkv", "-i", "video.mp4", "-i", "speech.wav", "-i", "other.wav", "-map", "0", "-map", "1",
           "-map", "2", "-map", "3", "-c:v", "copy", "-c:a", "flac", "-disposition:a", "default", "four.mkv")
    r = good(sync("four.mkv", "four.mkv", "o.mkv"))
    assert "of 2 audio streams, stream 3 is used" in r.stderr, r.stderr  # more channels
    assert probe("o.mkv", "a:0")["sample_rate"] == "16000"
    r = good(sync("four.mkv", "four.mkv", "o.mkv", "--video-stream", "0", "--audio-stream", "2"))
    assert probe("o.mkv")["width"] == 640 and probe("o.mkv", "a:0")["sample_rate"] == "44100"
    for stream, option in (("2", "--video-stream"), ("4", "--video-stream"), ("1", "--audio-stream")):
        bad(sync("four.mkv", "four.mkv", "out.mkv", option, stream), f"four.mkv: stream {stream} is not one of its",
            "0 is video (mjpeg), 1 is video (h264), 2 is audio (flac), 3 is audio (flac)", code=2)


@test
def a_job_resumes_with_its_streams():
    ffmpeg("-i", "speech.wav", "-i", "other.wav", "-map", "0", "-map", "1", "-c:a", "flac", "two.mka")
    plan = ["plan", *SYNC[1:], "-t", "track.jsonl", "video.mp4", "two.mka", "-o", "o.mkv"]
    good(run(LS, *plan, "--audio-stream", "0"))
    assert json.load(open("o.mkv.lsjob/job.json"))["settings"]["audio_stream"] == 0
    r = run(LS, *plan)
    assert r.returncode == 2 and "audio_stream" in r.stderr, r.stderr
    good(run(LS, "resume", "o.mkv.lsjob"))
    assert probe("o.mkv", "a:0")["sample_rate"] == "44100"


@test
def what_cannot_be_read_is_named():
    with open("moving.webp", "wb") as f:
        f.write(b"RIFF\x64\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x0f\0\0\x0f\0\0ANIM\x06\0\0\0" + bytes(80))
    with open("photo.heic", "wb") as f:
        f.write(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\x08meta" + bytes(40))
    ffmpeg("-i", "speech.wav", "-c:a", "aac", "o.m4a")
    whole = open("o.m4a", "rb").read()
    with open("unknown.m4a", "wb") as f:
        f.write(whole.replace(b"mp4a", b"zzzz", 1).replace(b"esds", b"zsds", 1))
    for name, *words in (("moving.webp", "moving.webp is an animated WebP, which FFmpeg"),
                         ("photo.heic", "photo.heic is an HEIF picture, which FFmpeg"),
                         ("https://example.org/v.mp4", "is a URL", "download it first")):
        bad(sync(name, "speech.wav", "out.mp4"), *words, code=3)
        r = run(LS, "probe", name)
        assert all(w in r.stdout + r.stderr for w in words), r
    bad(sync("video.mp4", "unknown.m4a", "out.mp4"), "unknown.m4a: FFmpeg", "stream 0", '"zzzz"', code=3)
    bad(sync("video.mp4", "https://example.org/a.wav", "out.mp4"), "is a URL", code=3)


@test
def standard_input_is_a_file_too():
    def piped(name, *args):
        with subprocess.Popen(["cat", name], stdout=subprocess.PIPE) as p:
            return run(LS, *args, stdin=p.stdout)
    options = [*SYNC, "-q", "-t", "track.jsonl"]
    good(run(LS, *options, "video.mp4", "speech.wav", "-o", "o.mp4"))
    good(piped("video.mp4", *options, "-", "speech.wav", "-o", "o.1.mp4"))
    good(piped("speech.wav", *options, "video.mp4", "-", "-o", "o.2.mp4"))
    with open("speech.wav") as f:
        good(run(LS, *options, "video.mp4", "-", "-o", "o.3.mp4", stdin=f))
    assert len({digest(f) for f in ("o.mp4", "o.1.mp4", "o.2.mp4", "o.3.mp4")}) == 1
    bad(run(LS, *options, "-", "-", "-o", "out.mp4"), "cannot both be standard input", code=2)
    bad(run(LS, "plan", "-m", "models", "video.mp4", "speech.wav", "-o", "-"), "cannot be standard output", code=2)
    for command in (["faces", "-m", "models"], ["probe"]):
        bad(piped("video.mp4", *command, "-"), "can be read only once", code=3)


@test
def standard_output_gets_the_whole_video():
    os.mkdir("o.tmp")
    command = [LS, *SYNC, "-q", "-t", "track.jsonl", "video.mp4", "speech.wav", "-o"]
    env = dict(os.environ, TMPDIR=os.path.abspath("o.tmp"))
    good(run(*command, "o.mkv"))
    with open("o.sent", "wb") as f:
        assert subprocess.run([*command, "-"], stdout=f, env=env).returncode == 0
    assert digest("o.sent") == digest("o.mkv")
    with open("/dev/full", "wb") as f:
        r = subprocess.run([*command, "-"], stdout=f, stderr=subprocess.PIPE, text=True, env=env)
    assert r.returncode == 1 and "cannot write to standard output" in r.stderr, r.stderr
    (left,) = os.listdir("o.tmp")  # what could not be sent is not lost
    assert f"kept as {env['TMPDIR']}/{left}/out.mkv" in r.stderr, r.stderr
    assert digest(f"o.tmp/{left}/out.mkv") == digest("o.mkv")
    shutil.rmtree(f"o.tmp/{left}")
    r = run(*command, "-", "--progress", "json", env=env)
    assert r.returncode == 2 and "cannot both be standard output" in r.stderr, r.stderr
    r = run(*command, "-", "--crf", "99", env=env)
    assert r.returncode == 2 and r.stdout == "" and not os.listdir("o.tmp"), r.stderr


@test
def a_point_outside_the_picture_is_refused():
    ffmpeg("-i", "video.mp4", "-c", "copy", "-metadata:s:v:0", "rotate=90", "o.turned.mp4")
    w, h = (240, 320) if "rotation" in str(probe("o.turned.mp4")) else (320, 240)
    for face, fits in (("9999,9999", False), ("-1,5", False), ("5,-0.5", False), (f"{w},5", False), (f"5,{h}", False),
                       (f"{w - 1},{h - 1}", True)):
        r = run(LS, *SYNC, "-q", "-t", "track.jsonl", f"--face={face}", "o.turned.mp4", "speech.wav", "-o", "o.mp4")
        assert ("lies outside the picture" in r.stderr) != fits, (face, r.stderr)
        assert fits or r.returncode == 2, r


@test
def lists_of_files_open_none_of_them():
    os.mkfifo("fifo.mp4")
    os.mkfifo("l.sub")
    lists = {"l.txt": "ffconcat version 1.0\nfile fifo.mp4\n",
             "l.m3u8": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfifo.mp4\n#EXT-X-ENDLIST\n",
             "l.mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
                      'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period>'
                      '<AdaptationSet mimeType="video/mp4"><Representation id="0" bandwidth="1"><BaseURL>fifo.mp4'
                      '</BaseURL></Representation></AdaptationSet></Period></MPD>\n',
             "l.idx": "# VobSub index file, v7 (do not modify this line!)\nsize: 64x48\nid: en, index: 0\n"
                      "timestamp: 00:00:01:000, filepos: 000000000\n",
             "l.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
                      "a=rtpmap:96 H264/90000\n"}
    for name, text in lists.items():
        with open(name, "w") as f:
            f.write(text)
        r = run("timeout", "20", LS, "probe", name)
        assert r.returncode == 3 and "names other files" in r.stderr, (name, r)
    ffmpeg("-i", "video.mp4", "-frames:v", "1", "one.png")
    os.rename("one.png", "50%02d.png")
    r = good(run(LS, "probe", "50%02d.png"))
    assert "as the video of a job: 320 x 240" in r.stdout, r.stdout


@test
def names_need_not_be_text():
    """Bytes that are no UTF-8, as Latin-1 names on older disks."""
    os.mkdir(b"o.d\xff\xe9")
    os.symlink(os.path.abspath("models"), b"o.d\xff\xe9/m\xe9")
    names = {}
    for key, source, name in (("video", "video.mp4", b"v\xe9.mp4"), ("audio", "speech.wav", b"s\x80.wav"),
                              ("track", "track.jsonl", b"t\xfe.jsonl"), ("out", None, b"o\xc3.mp4")):
        names[key] = b"o.d\xff\xe9/" + name
        if source:
            shutil.copy(source, names[key])
    good(run(LS, *SYNC, "-q", "-t", "track.jsonl", "video.mp4", "speech.wav", "-o", "o.mp4"))
    command = [LS, "plan", *QUICK, "--steps", "1", "--guidance", "1", "-m", b"o.d\xff\xe9/m\xe9", "-t",
               names["track"], names["video"], names["audio"], "-o", names["out"]]
    def call(*args):
        r = subprocess.run(args, capture_output=True, timeout=300)
        assert r.returncode == 0, r
    call(*command)
    call(*command)
    inputs = json.load(open(names["out"] + b".lsjob/job.json"))["inputs"]
    assert bytes.fromhex(inputs["video"]["bytes"]) == os.path.realpath(names["video"]), inputs
    assert bytes.fromhex(inputs["output"]["bytes"]) == os.path.realpath(os.path.dirname(names["out"])) + b"/o\xc3.mp4"
    call(LS, "resume", names["out"] + b".lsjob")
    assert digest(names["out"]) == digest("o.mp4")
    call(LS, "probe", "--json", names["video"])


def times(path):
    """When each frame is shown, in seconds, from the start of the first."""
    r = run("ffprobe", "-v", "error", "-select_streams", "v:0", "-show_frames", "-show_entries", "frame=pts_time",
            "-of", "json", path)
    found = [float(f["pts_time"]) for f in json.loads(r.stdout)["frames"]]
    return [t - found[0] for t in found]


def same_times(path, wanted, tolerance=1e-6):
    found = times(path)
    assert len(found) == len(wanted), (path, len(found), len(wanted))
    worst = max(abs(a - b) for a, b in zip(found, wanted))
    assert worst <= tolerance, (path, worst)


def uneven(name, *options):
    """Two seconds of a phone: frames a third of 1/30 s early or late, and a pause."""
    lavfi("testsrc2=s=320x240:r=30:d=2", "-vf", "select='not(between(n,20,27))',settb=1/90000,"
          "setpts='PTS+1000*(mod(N*7,3)-1)*gt(N,0)'", "-enc_time_base", "1/90000", "-fps_mode", "passthrough",
          "-c:v", "libx264", "-preset", "fast", "-crf", "12", "-pix_fmt", "yuv420p", *options, name)


@test
def frames_keep_the_times_of_their_source():
    uneven("uneven.mp4", "-video_track_timescale", "90000")
    source = times("uneven.mp4")
    assert len(source) == 52
    wanted = [t for t in source if t < 1]
    options = ["-q", "--fps", "source", "-t", "track.jsonl"]
    for name, tolerance in (("o.mp4", 1e-6), ("o.mov", 1e-6), ("o.mkv", 1.1e-3)):
        good(run(LS, *SYNC, *options, "uneven.mp4", "speech.wav", "-o", name))
        same_times(name, wanted, tolerance)
    assert probe("o.mp4")["avg_frame_rate"] != "120/1"
    r = good(run(LS, *SYNC, "-t", "track.jsonl", "--fps", "source", "uneven.mp4", "speech.wav", "-o", "o.mp4"))
    assert r.stderr.count("every frame keeps its time") == 1, r.stderr
    ours, theirs = planes("o.mp4"), planes("uneven.mp4")
    for i, (a, b) in enumerate(zip(ours, theirs)):  # the corner, which the face does not reach
        error = sum((a[y * 320 + x] - b[y * 320 + x]) ** 2 for y in range(0, 48, 2) for x in range(0, 64, 2)) / (24 * 32)
        assert error < 255 ** 2 / 10 ** 3.4, f"frame {i}: {error}"


@test
def times_go_back_as_they_came():
    source = times("uneven.mp4")
    last = source[-1] - source[-2]  # the file has no duration for frames that are shown in another order
    lengths = [b - a for a, b in zip(source, source[1:])] + [last]
    wanted, at = [], 0
    while at < 5:
        for length in lengths + lengths[::-1]:
            wanted.append(at)
            at += length
    good(run(LS, *SYNC, "-q", "--fps", "source", "-t", "track.jsonl", "uneven.mp4", "five.wav", "-o", "o.mp4"))
    same_times("o.mp4", [t for t in wanted if t < 5 - 1e-6], 1e-5)  # a sum of rounded times
    assert abs(float(probe("o.mp4")["duration"]) - 5) < 0.001


@test
def the_rest_of_a_video_keeps_its_times():
    lavfi("sine=f=300:d=0.7", "short.wav")
    source = times("uneven.mp4")
    good(run(LS, *SYNC, "-q", "--fps", "source", "--until", "video", "-t", "track.jsonl", "uneven.mp4", "short.wav",
             "-o", "o.mp4"))
    same_times("o.mp4", source)


@test
def segments_keep_times_too():
    """Planned, rendered in any order and joined: the same bytes as at once."""
    rest = ["--fps", "source", "-t", "track.jsonl", "uneven.mp4", "five.wav", "--segment-seconds", "0.6"]
    good(run(LS, *SYNC, "-q", *rest, "-o", "o.1.mp4"))
    n = int(good(run(LS, "plan", *SYNC[1:], "-q", *rest, "-o", "o.2.mp4")).stdout)
    assert n == 9, n
    for k in (7, 2, 8, 0, 5, 1, 6, 4, 3):
        good(run(LS, "render", "-q", "o.2.mp4.lsjob", "--segment", k))
    good(run(LS, "join", "-q", "o.2.mp4.lsjob"))
    assert digest("o.1.mp4") == digest("o.2.mp4")


@test
def what_has_no_times_of_its_own():
    """A constant rate stays one; so does a stream without times, which is said."""
    lavfi("testsrc2=s=320x240:r=30:d=1", "-c:v", "libx264", "-preset", "fast", "-pix_fmt", "yuv420p", "even.mp4")
    ffmpeg("-i", "even.mp4", "-c", "copy", "even.h264")
    lavfi("sine=f=300:d=0.9", "brief.wav")
    for name, said in (("even.mp4", False), ("even.h264", True)):
        r = good(run(LS, *SYNC, "--fps", "source", "-t", "track.jsonl", name, "brief.wav", "-o", "o.mp4"))
        assert ("becomes a constant" in r.stderr) == said and "keeps its time" not in r.stderr, r.stderr
        same_times("o.mp4", [i / 30 for i in range(27)])


if __name__ == "__main__":
    raise SystemExit(main(setup))
