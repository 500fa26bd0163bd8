#!/usr/bin/env python3
"""Speech as people have it: how long the output is, and when what is heard in it begins. Prints TAP.
usage: sound.py LATENTSYNC"""
import array
import cmath
import math
import os
import subprocess
import sys

from common import LS, QUICK, SHARED_ABS, bad, digest, ffmpeg, good, main, packets, planes, probe, run, test, track

SIDE = 96


def setup():
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=s={SIDE}x{SIDE}:r=25:d=3.0", "-c:v", "libx264", "-preset", "ultrafast",
           "-crf", "10", "-pix_fmt", "yuv420p", "video.mp4")
    track("track.jsonl", 75, cx=48, cy=48, s=24)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))


def sync(speech, out, *options, video="video.mp4"):
    return run(LS, "sync", "-m", "models", "-t", "track.jsonl", video, speech, "-o", out, *QUICK, "--steps", 1, "--guidance", 1,
               *options)


@test
def output_lasts_as_long_as_the_speech():
    for seconds in (0.02, 0.04, 0.041, 0.63, 0.64, 0.65, 1.0):  # around a frame and a chunk of 16
        ffmpeg("-f", "lavfi", "-i", f"sine=f=300:r=48000:d={seconds}", "o.wav")
        for name in ("o.mp4", "o.mkv") if seconds in (0.041, 0.65) else ("o.mp4",):
            good(sync("o.wav", name))
            frames, sound = int(probe(name)["nb_read_frames"]), probe("o.wav", "a:0")["duration"]
            assert frames == math.ceil(round(float(sound) * 25, 6)), (name, seconds, frames)
    # the sound of 1.0 s and no frames of another length
    v, a = (float(probe("o.mp4", s)["duration"]) for s in ("v:0", "a:0"))
    assert abs(v - 1) < 1e-4 and abs(a - 1) < 0.001, (v, a)


def level(path, hertz, start, end):
    """How loud a tone is, in dB of full scale."""
    r = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", "0:a:0", "-ac", "1", "-ar", "16000", "-f", "f32le",
                        "-"], capture_output=True, timeout=300)
    samples = array.array("f", r.stdout)[int(start * 16000):int(end * 16000)]
    assert len(samples) > 1000, (path, len(samples))
    total = sum(x * cmath.exp(-2j * math.pi * hertz * i / 16000) for i, x in enumerate(samples))
    return 20 * math.log10(2 * abs(total) / len(samples) + 1e-9)


def pictures(path):
    lines = run("ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", "0:v", "-f", "framehash", "-").stdout.splitlines()
    return [x.split(",")[-1] for x in lines if not x.startswith("#")]


def speaks():
    """A video of 3 s with a tone of 440 Hz, and a speech of 1 s that is another of 1000 Hz."""
    if not os.path.exists("own.mp4"):
        ffmpeg("-i", "video.mp4", "-f", "lavfi", "-i", "sine=f=440:r=44100:d=3,volume=6dB", "-c:v", "copy", "own.mp4")
        ffmpeg("-f", "lavfi", "-i", "sine=f=1000:r=48000:d=1", "tone.wav")


@test
def a_hole_is_silence_to_lips_and_ears():
    chirp = "aevalsrc='sin(2*PI*(300+900*t)*t)*between(t,0.1,0.9)/2':s=16000:d=1"
    ffmpeg("-f", "lavfi", "-i", chirp, "-c:a", "pcm_s16le", "whole.mka")
    ffmpeg("-i", "whole.mka", "-c", "copy", "-bsf:a", "setts=ts='TS+if(gte(N,2),640,0)'", "hole.mka")
    at = [float(x) for x in run("ffprobe", "-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0",
                                "hole.mka").stdout.replace(",", "").split()][2] - 0.64
    ffmpeg("-i", "whole.mka", "-filter_complex", f"[0]asplit[a][b];[a]atrim=end={at}[c];[b]atrim=start={at},asetpts=N/SR/TB[d];"
           "anullsrc=r=16000:cl=mono,atrim=end=0.64[s];[c][s][d]concat=n=3:v=0:a=1", "filled.wav")
    for speech, out in (("hole.mka", "o.hole.mkv"), ("filled.wav", "o.filled.mkv")):
        good(sync(speech, out, "--video-codec", "ffv1"))
    assert pictures("o.hole.mkv") == pictures("o.filled.mkv")
    assert probe("o.hole.mkv")["nb_read_frames"] == "41" and probe("o.hole.mkv", "a:0")["codec_name"] == "aac"


@test
def the_videos_own_sound_lies_under_the_speech():
    speaks()
    good(sync("tone.wav", "o.mp4", video="own.mp4"))
    assert level("o.mp4", 440, 0.1, 0.9) < -60
    loud = level("own.mp4", 440, 0.1, 0.9)
    for out, gain, *codec in (("o.mp4", "-20dB"), ("o.mkv", "-6"), ("o.webm", "-6dB", "--video-codec", "libvpx-vp9")):
        good(sync("tone.wav", out, "--keep-sound", gain, *codec, video="own.mp4"))
        heard = level(out, 440, 0.1, 0.9)
        assert abs(heard - loud - float(gain.replace("dB", ""))) < 0.5, (out, gain, heard, loud)
        assert abs(level(out, 1000, 0.1, 0.9) - level("tone.wav", 1000, 0.1, 0.9)) < 0.5
        assert float(probe(out)["nb_read_frames"]) == 25
    # a short video that turns begins its sound again
    ffmpeg("-i", "own.mp4", "-t", "0.4", "-af", "volume=enable='gt(t,0.2)':volume=0", "-c:v", "libx264", "-c:a", "pcm_s16le", "o.short.mov")
    good(sync("tone.wav", "o.mkv", "--keep-sound", "0dB", video="o.short.mov"))
    for start in (0, 0.4, 0.8):
        assert level("o.mkv", 440, start + 0.04, start + 0.16) > loud - 3, start
        if start < 0.8:
            assert level("o.mkv", 440, start + 0.24, start + 0.36) < loud - 25, start
    r = good(sync("tone.wav", "o.mkv", "--keep-sound", "-20dB"))
    assert "video.mp4 has no sound" in r.stderr and probe("o.mkv", "a:0")["codec_name"] == "pcm_s16le", r.stderr
    for wrong in ("loud", "-20 dBm", "1e9", "nan"):
        bad(sync("tone.wav", "out.mkv", "--keep-sound", wrong, video="own.mp4"), "decibels", code=2)


@test
def the_rest_of_the_video_follows():
    speaks()
    lossless = ["--video-codec", "ffv1"]
    good(sync("tone.wav", "o.mkv", "--until", "video", *lossless, video="own.mp4"))
    good(sync("tone.wav", "o.speech.mkv", *lossless, video="own.mp4"))
    before, after, speech = planes("own.mp4"), planes("o.mkv"), planes("o.speech.mkv")
    assert (len(after), len(speech)) == (75, 25)
    assert after[:21] == speech[:21] and after[25:] == before[25:]
    new = [sum(abs(x - y) for x, y in zip(a, b)) for a, b in zip(speech, before)]
    faded = [sum(abs(x - y) for x, y in zip(a, b)) for a, b in zip(after, before)]
    for i in range(21, 25):  # the mouth fades over four frames
        assert abs(faded[i] / new[i] - (25 - i) / 5) < 0.1, (i, faded[i], new[i])
    loud = level("own.mp4", 440, 1.1, 1.9)
    assert level("o.mkv", 440, 0.1, 0.95) < -50 and level("o.mkv", 1000, 0.1, 0.95) > -25
    assert abs(level("o.mkv", 440, 1.05, 2.9) - loud) < 1 and level("o.mkv", 1000, 1.05, 2.9) < -60
    # with the sound kept under the speech; without any; in pieces; and no longer than it has to be
    good(sync("tone.wav", "o.mp4", "--until", "video", "--keep-sound", "-12dB", video="own.mp4"))
    assert abs(level("o.mp4", 440, 0.1, 0.9) - loud + 12) < 1 and abs(level("o.mp4", 440, 1.1, 2.9) - loud) < 1
    good(sync("tone.wav", "o.mp4", "--until", "video"))
    v, a = (float(probe("o.mp4", s)["duration"]) for s in ("v:0", "a:0"))
    assert abs(v - 3) < 1e-4 and abs(a - 3) < 0.04 and level("o.mp4", 1000, 1.1, 2.9) < -60, (v, a)
    args = ["-m", "models", "-t", "track.jsonl", "own.mp4", "tone.wav", *QUICK, "--steps", 1, "--guidance", 1, "--until", "video",
            "--segment-seconds", "0.6"]
    good(run(LS, "sync", *args, "-o", "o.whole.mp4"))
    good(run(LS, "plan", *args, "-o", "o.parts.mp4"))
    for k in reversed(range(5)):
        good(run(LS, "render", "o.parts.mp4.lsjob", "--segment", k))
    good(run(LS, "join", "o.parts.mp4.lsjob"))
    assert digest("o.whole.mp4") == digest("o.parts.mp4")
    ffmpeg("-i", "own.mp4", "-t", "0.6", "-c:v", "libx264", "o.short.mp4")
    good(sync("tone.wav", "o.mp4", "--until", "video", video="o.short.mp4"))
    good(sync("tone.wav", "o.again.mp4", video="o.short.mp4"))
    assert pictures("o.mp4") == pictures("o.again.mp4") and probe("o.mp4")["nb_read_frames"] == "25"


@test
def lips_follow_another_recording():
    ffmpeg("-f", "lavfi", "-i", "aevalsrc='sin(2*PI*(300+900*t)*t)*between(t,0.1,0.9)/2':s=16000:d=1.2", "voice.wav")
    ffmpeg("-i", "voice.wav", "-f", "lavfi", "-i", "anoisesrc=d=1.2:a=0.2:r=16000:seed=1", "-filter_complex", "amix", "mix.wav")
    good(sync("voice.wav", "o.voice.mkv", "--video-codec", "ffv1"))
    good(sync("mix.wav", "o.mix.mkv", "--video-codec", "ffv1"))
    good(sync("mix.wav", "o.mkv", "--video-codec", "ffv1", "--features-from", "voice.wav"))
    assert pictures("o.mkv") == pictures("o.voice.mkv") != pictures("o.mix.mkv")
    assert packets("o.mkv") == packets("o.mix.mkv") != packets("o.voice.mkv")
    # a shorter one ends in silence, a longer one is cut
    ffmpeg("-i", "voice.wav", "-t", "0.5", "o.half.wav")
    ffmpeg("-i", "o.half.wav", "-af", "apad=whole_dur=1.2", "o.padded.wav")
    for features, out in (("o.half.wav", "o.1.mkv"), ("o.padded.wav", "o.2.mkv")):
        good(sync("mix.wav", out, "--video-codec", "ffv1", "--features-from", features))
        assert probe(out)["nb_read_frames"] == "30"
    assert pictures("o.1.mkv") == pictures("o.2.mkv")
    bad(sync("mix.wav", "out.mkv", "--features-from", "nowhere.wav"), "nowhere.wav", code=3)


@test
def an_offset_moves_lips_and_sound():
    speaks()
    ffmpeg("-i", "tone.wav", "-af", "adelay=200:all=1", "o.later.wav")
    good(sync("o.later.wav", "o.later.mkv", "--video-codec", "ffv1"))
    good(sync("tone.wav", "o.mkv", "--video-codec", "ffv1", "--offset", 200))
    assert pictures("o.mkv") == pictures("o.later.mkv") and probe("o.mkv")["nb_read_frames"] == "30"
    assert level("o.mkv", 1000, 0, 0.18) < -50 and level("o.mkv", 1000, 0.22, 1.15) > -25
    ffmpeg("-ss", "0.4", "-i", "tone.wav", "o.cut.wav")
    good(sync("o.cut.wav", "o.cut.mkv", "--video-codec", "ffv1"))
    good(sync("tone.wav", "o.mkv", "--video-codec", "ffv1", "--offset", -400))
    assert pictures("o.mkv") == pictures("o.cut.mkv") and probe("o.mkv")["nb_read_frames"] == "15"
    bad(sync("tone.wav", "out.mkv", "--offset", -2000), "tone.wav", code=3)


@test
def cases_that_were_wrong():
    cases = os.path.join(SHARED_ABS, "media/cases")
    if not os.path.exists(os.path.join(cases, "gap.mka")):
        return f"no {cases}"
    good(sync(os.path.join(cases, "gap.mka"), "o.mkv"))
    v, last = probe("o.mkv"), run("ffprobe", "-v", "error", "-show_entries", "packet=pts_time,duration_time", "-of", "csv=p=0",
                                  os.path.join(cases, "gap.mka")).stdout.split()[-1].split(",")
    assert abs(int(v["nb_read_frames"]) / 25 - float(last[0]) - float(last[1])) < 0.04, (v["nb_read_frames"], last)
    good(sync(os.path.join(cases, "trimmed-speech.m4a"), "o.mkv"))
    assert probe("o.mkv")["nb_read_frames"] == "50" and probe("o.mkv", "a:0")["codec_name"] == "aac"
    a = run("ffprobe", "-v", "error", "-select_streams", "a", "-show_entries", "packet=pts_time", "-of", "csv=p=0", "o.mkv").stdout.split()
    assert float(a[-1].strip(",")) < 2.03, a[-1]  # one second that the edit list hides was heard


sys.exit(main(setup))
