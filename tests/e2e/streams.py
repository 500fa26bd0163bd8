#!/usr/bin/env python3
"""Which stream of a file is used, what cannot be read, and frames at times of their own. Prints TAP.
usage: streams.py LATENTSYNC"""
import json

from common import LS, QUICK, bad, ffmpeg, good, main, probe, run, test, track

SYNC = ["sync", "-m", "models", *QUICK, "--steps", "1", "--guidance", "1"]


def lavfi(source, *args):
    ffmpeg("-f", "lavfi", "-i", source, *args)


def setup():
    lavfi("testsrc2=s=320x240:r=25:d=1", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "video.mp4")
    lavfi("testsrc2=s=640x480:r=25", "-frames:v", "1", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "still.mkv")
    lavfi("sine=f=300:d=1", "speech.wav")
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
def a_job_goes_on_with_its_streams():
    ffmpeg("-i", "speech.wav", "-i", "other.wav", "-map", "0", "-map", "1", "-c:a", "flac", "two.mka")
    plan = ["plan", *SYNC[1:], "-t", "track.jsonl", "video.mp4", "two.mka", "-o", "o.mkv"]
    good(run(LS, *plan, "--audio-stream", "0"))
    assert json.load(open("o.mkv.lsjob/job.json"))["settings"]["audio_stream"] == 0
    r = run(LS, *plan)
    assert r.returncode == 2 and "audio_stream" in r.stderr, r.stderr
    good(run(LS, "resume", "o.mkv.lsjob"))
    assert probe("o.mkv", "a:0")["sample_rate"] == "44100"


if __name__ == "__main__":
    raise SystemExit(main(setup))
