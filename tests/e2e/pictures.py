#!/usr/bin/env python3
"""What a video holds beside plain pictures: interlaced frames, tags, chapters, subtitles and time code, judged by
ffprobe and ffmpeg. Prints TAP. usage: pictures.py LATENTSYNC"""
import json
import subprocess
import sys

from common import LS, QUICK, digest, ffmpeg, good, main, planes, run, test, track

TAGS = """;FFMETADATA1
title=The Title
artist=An Artist
comment=a comment
location=+48.8577+002.2950/
creation_time=2021-03-04T05:06:07.000000Z
[CHAPTER]
TIMEBASE=1/1000
START=0
END=400
title=One
[CHAPTER]
TIMEBASE=1/1000
START=400
END=1300
title=Two
[CHAPTER]
TIMEBASE=1/1000
START=1300
END=2000
title=Three
"""
SUBTITLES = """1
00:00:00,200 --> 00:00:00,500
First

2
00:00:00,600 --> 00:00:01,700
Second

3
00:00:01,800 --> 00:00:01,900
Third
"""


def sync(video, out, *options, speech="speech.wav"):
    return run(LS, "sync", "-m", "models", "-t", "track.jsonl", video, speech, "-o", out, *QUICK, "--steps", "1",
               *options)


def described(path):
    r = good(run("ffprobe", "-v", "error", "-show_format", "-show_streams", "-show_chapters", "-of", "json", path))
    return json.loads(r.stdout)


def tags_of(d):
    return {k.lower(): v for k, v in d.get("tags", {}).items()}


def subtitles_of(path, stream="0:s:0"):
    r = good(run("ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", stream, "-f", "srt", "-"))
    lines = r.stdout.replace("<font face=\"Serif\" size=\"18\">", "").split("\n\n")
    return [tuple(x.split("\n")[1:3]) for x in lines if x.strip()]


def setup():
    with open("tags.txt", "w") as f:
        f.write(TAGS)
    with open("text.srt", "w") as f:
        f.write(SUBTITLES)
    x264 = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "10", "-pix_fmt", "yuv420p"]
    picture = ["-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=2"]
    extra = ["-i", "text.srt", "-i", "tags.txt", "-map", "0", "-map", "1", "-map_metadata", "2", "-map_chapters", "2",
             "-metadata:s:s:0", "language=ita", "-metadata:s:v:0", "language=fra", "-timecode", "01:02:03:04"]
    ffmpeg(*picture, *extra, *x264, "-c:s", "mov_text", "rich.mp4")
    ffmpeg(*picture, *extra, *x264, "-c:s", "ass", "-attach", "tags.txt", "-metadata:s:t", "mimetype=text/plain",
           "rich.mkv")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=44100:d=1.0", "-metadata:s:a", "language=ita", "-c:a", "pcm_s16le", "speech.mka")
    ffmpeg("-i", "speech.mka", "speech.wav")
    ffmpeg("-i", "speech.mka", "-t", "0.4", "short.wav")
    track("track.jsonl", 50)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))


def expect_rich(path, end):
    d = described(path)
    tags = tags_of(d["format"])
    for line in TAGS.split("[")[0].split("\n")[1:-2]:
        key, value = line.split("=")
        said = tags.get(key, "").split("\nThe lip movements")[0]  # the mark follows the video's own comment
        assert said == value, f"{path}: {key} is {tags.get(key)}"
    assert tags.get("creation_time") == "2021-03-04T05:06:07.000000Z", tags
    chapters = [(float(c["start_time"]), float(c["end_time"]), c["tags"]["title"]) for c in d["chapters"]]
    assert [c[2] for c in chapters] == ["One", "Two"][:len(chapters)] and len(chapters) == (2 if end > .4 else 1)
    assert chapters[0][:2] == (0, .4) and abs(chapters[-1][1] - end) < 0.002, chapters
    by_type = {s["codec_type"]: s for s in reversed(d["streams"])}
    assert tags_of(by_type["video"])["language"] == "fra"
    assert tags_of(by_type["video"])["timecode"] == "01:02:03:04"
    assert tags_of(by_type["subtitle"])["language"] == "ita"
    return by_type


def rows(path, *filters):
    """Of each picture what lies above the face."""
    r = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", path, "-vf", ",".join([*filters, "crop=320:24:0:0"]),
                        "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"], capture_output=True)
    assert r.returncode == 0, r.stderr
    size = 320 * 24 * 3 // 2
    return [r.stdout[i:i + size] for i in range(0, len(r.stdout), size)]


@test
def interlaced_pictures_are_deinterlaced_also_backwards():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=50:d=0.6,interlace=lowpass=off", "-c:v", "libx264", "-preset",
           "ultrafast", "-flags", "+ilme+ildct", "-g", "5", "-pix_fmt", "yuv420p", "o.fields.mkv")
    for options, filters in (([], ["bwdif=mode=send_frame:deint=interlaced"]), (["--deinterlace", "off"], [])):
        want = rows("o.fields.mkv", *filters)
        assert len(want) == 15
        r = good(sync("o.fields.mkv", "o.mkv", "--restart", "--crf", "0", *options, speech="speech.mka"))
        got = rows("o.mkv")
        assert len(got) == 25, len(got)
        bad = [i for i in range(25) if got[i] != want[i if i < 15 else 29 - i]]
        assert not bad, f"{options}: frames {bad} differ"
        assert r.stderr.count("is interlaced: its frames are deinterlaced") == len(filters), r.stderr


def transparency(path, decoder, fmt="gray", crop="crop=320:240:0:0"):
    """Its plane of each picture, as ffmpeg decodes it at 25 frames/s."""
    r = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *decoder, "-i", path, "-vf", f"alphaextract,{crop}", "-r",
                        "25", "-f", "rawvideo", "-pix_fmt", fmt, "-"], capture_output=True)
    assert r.returncode == 0, r.stderr
    size = 320 * 240 * (1 if fmt == "gray" else 2)
    return [r.stdout[i:i + size] for i in range(0, len(r.stdout), size)]


def transparent(out, size, fmt, *options):
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=0.6,format=yuva420p,geq=lum='p(X,Y)':a='mod(X+Y+8*N,256)',"
           f"format={fmt}", *options, out)


@test
def transparency_is_kept_where_the_encoder_can():
    vpx = ["-c:v", "libvpx-vp9"]
    for source, size, fmt, options, encoder, out, kept, decoder in (
            ("o.1.mkv", "321x241", "yuva420p", ["-c:v", "ffv1"], "ffv1", "o.out.mkv", "yuva420p", []),
            ("o.2.mov", "320x240", "argb", ["-c:v", "qtrle"], "png", "o.out.mov", "rgba", []),
            ("o.3.mov", "320x240", "yuva444p10le", ["-c:v", "prores_ks"], "prores_ks", "o.out.mov", "yuva444p", []),
            ("o.4.webm", "320x240", "yuva420p", [*vpx, "-crf", "10", "-b:v", "0", "-cpu-used", "5"], "libvpx-vp9",
             "o.out.mkv", "yuva420p", vpx)):
        transparent(source, size, fmt, *options)
        r = good(sync(source, out, "--restart", "--video-codec", encoder, "--crf", "5", speech="speech.mka"))
        assert "transparen" not in r.stderr, r.stderr
        want, got = transparency(source, decoder), transparency(out, decoder)
        assert len(want) == 15 and len(got) == 25, (source, len(want), len(got))
        worst = max(abs(a - b) for i in range(25) for a, b in zip(got[i], want[i if i < 15 else 29 - i]))
        assert worst <= (48 if decoder else 0 if encoder == "ffv1" else 1), (source, worst)
        mean = sum(abs(a - b) for a, b in zip(got[20], want[9])) / len(got[20])
        assert mean < 2, (source, mean)
        form = [s for s in described(out)["streams"] if s["codec_type"] == "video"][0]
        assert decoder or form["pix_fmt"].startswith(kept), form["pix_fmt"]
        seen = rows(out, "format=yuv420p")
        assert len(seen) == 25


@test
def transparency_that_is_lost_is_said():
    transparent("o.1.mkv", "320x240", "yuva420p", "-c:v", "ffv1")
    r = good(sync("o.1.mkv", "o.mp4", speech="short.wav"))
    assert r.stderr.count("transparent") == 1 and "its encoder has no transparency" in r.stderr, r.stderr


@test
def other_pixel_formats_are_made_if_wanted():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=0.6", "-c:v", "ffv1", "-pix_fmt", "yuv444p10le", "o.in.mkv")
    for wanted, got, words in (([], "yuv420p10le", "H.264 of yuv420p10le"), (["yuv420p"], "yuv420p", None),
                               (["yuv444p"], "yuv444p", "H.264 of yuv444p")):
        r = good(sync("o.in.mkv", "o.mp4", "--restart", *(["--pixel-format", *wanted] if wanted else []),
                      speech="short.wav"))
        assert described("o.mp4")["streams"][0]["pix_fmt"] == got
        assert ("few browsers" in r.stderr) == bool(words) and (words or "") in r.stderr, r.stderr
    r = sync("o.in.mkv", "o.no.mp4", "--pixel-format", "rgba", speech="short.wav")
    assert r.returncode == 2 and "libx264" in r.stderr and "yuv420p" in r.stderr and "--pixel-format" in r.stderr, \
        (r.returncode, r.stderr)


DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"


def make_hdr(out):
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=0.6", "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt",
           "yuv420p10le", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc", "-tag:v", "hvc1",
           "-x265-params", f"log-level=none:master-display={DISPLAY}:max-cll=1000,400", out)


def light(data):
    """Mastering display and light levels among side data, as numbers."""
    found = {}
    for d in data or []:
        for key, value in d.items():
            if key != "side_data_type" and ("Mastering" in d["side_data_type"] or "light" in d["side_data_type"]):
                a, _, b = str(value).partition("/")
                found[key] = float(a) / float(b or 1)
    return found


@test
def mastering_display_and_light_levels_are_kept():
    make_hdr("o.hdr.mp4")
    want = light(json.loads(run("ffprobe", "-v", "error", "-show_frames", "-read_intervals", "%+#1", "-of", "json",
                                "o.hdr.mp4").stdout)["frames"][0]["side_data_list"])
    assert len(want) == 12 and want["max_content"] == 1000 and want["max_luminance"] == 1000, want
    for encoder, out in (("libx265", "o.mp4"), ("libx265", "o.mkv"), ("libx264", "o.mov"), ("libsvtav1", "o.mkv")):
        good(sync("o.hdr.mp4", out, "--restart", "--video-codec", encoder, speech="short.wav"))
        r = good(run("ffprobe", "-v", "error", "-select_streams", "v", "-show_frames", "-show_streams", "-read_intervals",
                     "%+#1", "-of", "json", out))
        d = json.loads(r.stdout)
        for where in (d["streams"][0], d["frames"][0]):
            got = light(where.get("side_data_list"))
            missing = where is d["frames"][0] and encoder != "libx265"  # not every ffprobe reads it
            assert missing or set(got) == set(want), f"{encoder} {out}: {got}"
            for k in got:
                assert abs(got[k] - want[k]) <= abs(want[k]) * 0.01 + 0.001, (encoder, out, k, got[k], want[k])


def add_dolby_vision(name):
    """A configuration of profile 8.1 in the sample entry; the boxes around it grow."""
    data = bytearray(open(name, "rb").read())
    box = (32).to_bytes(4, "big") + b"dvvC" + bytes([1, 0, 8 << 1, 1 << 3 | 5, 1 << 4]) + bytes(19)
    at = data.index(b"hvcC") - 4
    at += int.from_bytes(data[at:at + 4], "big")
    data[at:at] = box
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"hvc1"):
        i = data.rindex(kind, 0, at) - 4 if kind != b"hvc1" else data.index(b"hvc1", data.index(b"stsd")) - 4
        data[i:i + 4] = (int.from_bytes(data[i:i + 4], "big") + len(box)).to_bytes(4, "big")
    open(name, "wb").write(data)


@test
def dolby_vision_is_said_to_be_lost():
    make_hdr("o.hdr.mp4")
    add_dolby_vision("o.hdr.mp4")
    assert "DOVI" in good(run("ffprobe", "-v", "error", "-show_streams", "o.hdr.mp4")).stdout
    r = good(sync("o.hdr.mp4", "o.mp4", speech="short.wav"))
    assert r.stderr.count("Dolby Vision") == 1, r.stderr


@test
def tags_chapters_subtitles_and_time_code_are_kept():
    for source, out, kind in (("rich.mp4", "o.mp4", "mov_text"), ("rich.mkv", "o.mov", "mov_text"),
                              ("rich.mkv", "o.mkv", "ass"), ("rich.mp4", "o.b.mkv", "subrip")):
        r = good(sync(source, out, speech="speech.mka"))
        length = float([s for s in described(out)["streams"] if s["codec_type"] == "video"][0].get("duration") or
                       described(out)["format"]["duration"])
        streams = expect_rich(out, length)
        assert streams["subtitle"]["codec_name"] == kind, streams["subtitle"]
        assert tags_of(streams["audio"])["language"] == "ita"
        got, end = subtitles_of(out), f"00:00:{length:06.3f}".replace(".", ",")
        want = [("00:00:00,200 --> 00:00:00,500", "First"), (f"00:00:00,600 --> {end}", "Second")]
        assert [g[1] for g in got] == ["First", "Second"] and got[0] == want[0], got
        assert abs(float(got[1][0][-6:].replace(",", ".")) - length) < 0.011, (got, want)
        attached = out == "o.mov"
        assert ("will not have" in r.stderr) == attached, r.stderr
        assert not attached or "2 (attachment" in r.stderr, r.stderr
    text = [s for s in described("o.mkv")["streams"] if s["codec_type"] == "attachment"]
    assert text and text[0]["tags"]["filename"] == "tags.txt"


@test
def a_cover_is_kept():
    ffmpeg("-i", "rich.mp4", "-f", "lavfi", "-i", "testsrc2=s=64x64:d=0.04", "-map", "0:v", "-map", "1", "-c:v:0", "copy", "-c:v:1",
           "mjpeg", "-frames:v:1", "1", "-disposition:v:1", "attached_pic", "o.cover.mp4")

    def cover(path):
        return good(run("ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", "0:v:1", "-c", "copy", "-f", "md5", "-")).stdout
    for out in ("o.mp4", "o.mkv"):
        r = good(sync("o.cover.mp4", out, speech="short.wav"))
        assert cover(out) == cover("o.cover.mp4") and "will not have" not in r.stderr, r.stderr
        assert [s["disposition"]["attached_pic"] for s in described(out)["streams"] if s["codec_type"] == "video"] == [0, 1]
    r = good(sync("o.cover.mp4", "o.mov", speech="short.wav"))
    assert "(picture mjpeg)" in r.stderr, r.stderr


@test
def webm_has_subtitles_of_its_own_kind():
    good(sync("rich.mp4", "o.webm", "--video-codec", "libvpx-vp9", "--preset", "ultrafast", speech="speech.mka"))
    d = described("o.webm")
    assert {s["codec_name"] for s in d["streams"]} >= {"vp9", "webvtt"}, d["streams"]
    assert [t[1] for t in subtitles_of("o.webm")] == ["First", "Second"] and len(d["chapters"]) == 2


@test
def a_looped_video_has_its_subtitles_once():
    ffmpeg("-stream_loop", "4", "-i", "speech.mka", "o.long.wav")
    good(sync("rich.mp4", "o.mp4", speech="o.long.wav"))
    assert [t[1] for t in subtitles_of("o.mp4")] == ["First", "Second", "Third"]
    assert [c["tags"]["title"] for c in described("o.mp4")["chapters"]] == ["One", "Two", "Three"]


@test
def other_rates_count_frames_of_the_time_code_otherwise():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=30000/1001:d=1", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-timecode",
           "01:02:03;28", "o.ntsc.mov")
    for options, want in (([], "01:02:03:23"), (["--fps", "source"], "01:02:03;28")):
        good(sync("o.ntsc.mov", "o.out.mov", "--restart", *options, speech="short.wav"))
        assert {tags_of(s).get("timecode") for s in described("o.out.mov")["streams"]} >= {want}


@test
def bytes_are_the_same_again():
    for name in ("o.mp4", "o.mkv"):
        digests = set()
        for _ in range(2):
            good(sync("rich.mp4", name, speech="short.wav"))
            digests.add(digest(name))
        assert len(digests) == 1


def changed(before, after, box):
    """Whether luma or chroma differs within a rectangle x0, y0, x1, y1 of even numbers, or outside it."""
    found = [False, False]
    for a, b in zip(before, after):
        for start, w, h, box_ in ((0, 320, 240, box), *((76800 + 19200 * k, 160, 120, [v // 2 for v in box]) for k in (0, 1))):
            for y in range(h):
                row = start + y * w
                inside = slice(row + box_[0], row + box_[2]) if box_[1] <= y < box_[3] else slice(row, row)
                p, q = bytearray(a[row:row + w]), bytearray(b[row:row + w])
                found[0] = found[0] or a[inside] != b[inside]
                p[inside.start - row:inside.stop - row] = q[inside.start - row:inside.stop - row] = b""
                found[1] = found[1] or p != q
    return found


@test
def only_what_is_repainted_changes():
    before = planes("rich.mp4")
    repainted, eyes = (122, 108, 202, 174), (122, 80, 202, 104)
    for options, same in (([], True), (["--sharpen", "0"], True), (["--blend", "crop"], False)):
        good(sync("rich.mp4", "o.mkv", "--crf", "0", *options, speech="short.wav"))
        after = planes("o.mkv")
        assert len(after) == 10
        inside, outside = changed(before, after, repainted)
        assert inside and outside != same, options
        assert changed(before, after, eyes)[0] != same, options
    # a job resumes as it was begun
    good(run(LS, "plan", "-m", "models", "-t", "track.jsonl", "rich.mp4", "short.wav", "-o", "o.p.mkv", *QUICK))
    r = run(LS, "plan", "-m", "models", "-t", "track.jsonl", "rich.mp4", "short.wav", "-o", "o.p.mkv", *QUICK, "--blend", "crop")
    assert r.returncode and "blend" in r.stderr, r.stderr
    r = run(LS, "sync", "-m", "models", "-t", "track.jsonl", "rich.mp4", "short.wav", "-o", "o.q.mkv", "--blend", "crop", "--sharpen", "1")
    assert r.returncode == 2 and "--sharpen: only" in r.stderr, r.stderr


@test
def streams_that_the_container_cannot_hold_are_named():
    ffmpeg("-i", "rich.mkv", "-f", "lavfi", "-i", "color=s=320x240:d=2", "-map", "0:v", "-map", "1", "-c:v", "copy",
           "-c:v:1", "mpeg4", "o.two.mkv")
    r = good(sync("o.two.mkv", "o.mp4", speech="short.wav"))
    assert "will not have: 1 (video mpeg4)" in r.stderr and r.stderr.count("will not have") == 1, r.stderr


sys.exit(main(setup))
