#!/usr/bin/env python3
"""What a video holds beside plain pictures: interlaced frames, tags, chapters, subtitles and time code, judged by
ffprobe and ffmpeg. Prints TAP. usage: pictures.py LATENTSYNC"""
import json
import subprocess
import sys

from common import LS, QUICK, digest, ffmpeg, good, main, run, test, track

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
        assert tags.get(key) == value, f"{path}: {key} is {tags.get(key)}"
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


@test
def streams_that_the_container_cannot_hold_are_named():
    ffmpeg("-i", "rich.mkv", "-f", "lavfi", "-i", "color=s=320x240:d=2", "-map", "0:v", "-map", "1", "-c:v", "copy",
           "-c:v:1", "mpeg4", "o.two.mkv")
    r = good(sync("o.two.mkv", "o.mp4", speech="short.wav"))
    assert "will not have: 1 (video mpeg4)" in r.stderr and r.stderr.count("will not have") == 1, r.stderr


sys.exit(main(setup))
