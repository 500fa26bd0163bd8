#!/usr/bin/env python3
"""latentsync check: drawn speakers whose sound is early, late, another's, or none.
usage: check.py LATENTSYNC PUPPET [--table FIRST COUNT]: tests, or the figures of docs/QUALITY.md."""
import os
import shutil
import sys

PUPPET = os.path.abspath(sys.argv[2])
from common import LS, ffmpeg, good, json, main, run, test  # noqa: E402

# held out: see HELD_OUT in tools/puppet/lines.c
TEXTS = (("en-us+f2", "Good morning everybody, and welcome to the show. A quick brown fox jumps over the lazy dog. "
          "Father made a wooden table from the apple tree."),
         ("de+m3", "Guten Morgen, wie haben Sie heute geschlafen? Der Müller mahlt das Korn in der alten Mühle. "
          "Viele bunte Blumen wachsen vor unserer Tür."),
         ("fr+f4", "Bonjour à tous, et bienvenue dans notre maison. Le boulanger prépare ses gâteaux pendant la nuit. "
          "Une belle femme porte un chapeau de paille."),
         ("es+m1", "Buenos días a todos, empezamos con las noticias. El fuego del hogar iluminaba la habitación. "
          "Nunca había visto una flor tan hermosa."),
         ("it+f1", "Buongiorno a tutti e benvenuti al programma. Abbiamo visto un film bello ma troppo lungo. "
          "Le foglie cadono piano davanti alla casa."))


def draw(seed):
    voice, text = TEXTS[seed % len(TEXTS)]
    good(run(PUPPET, "--seed", seed, "--size", 256, "--voice", voice, "--text", text, "--rate", 130 + seed * 7 % 50, f"s{seed}"))


def shift(ms):
    """Later by so many milliseconds."""
    return f"adelay={ms}:all=1" if ms > 0 else f"atrim=start={-ms / 1000},asetpts=PTS-STARTPTS" if ms else "anull"


def join(output, seed, sound=None, ms=0, *more):
    ffmpeg("-i", f"s{seed}/face.mp4", "-i", sound or f"s{seed}/speech.wav", "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-af", shift(ms),
           "-c:a", "aac", *more, output)


def check(video, seed=None, *more):
    r = run(LS, "check", "--json", "-q", *(["-t", f"s{seed}/track.jsonl"] if seed else []), *more, video)
    assert r.stdout, r.stderr
    c = json.loads(r.stdout)
    assert r.returncode == (c["verdict"] != "in sync"), (r.returncode, c, r.stderr)
    assert (c["lag_ms"] is None) == (c["verdict"] == "cannot tell") == (c["confidence"] < c["least_confidence"]), c
    return c


def setup():
    os.environ.update(HOME=os.getcwd(), XDG_DATA_HOME="", XDG_DATA_DIRS=os.getcwd())  # no installed model
    for seed in (50001, 50002):
        draw(seed)


@test
def a_lag_is_found():
    for seed, ms in ((50001, -200), (50001, -80), (50001, 0), (50001, 40), (50002, -40), (50002, 120), (50002, 200)):
        join("o.mp4", seed, None, ms)
        c = check("o.mp4", seed)
        want = "in sync" if abs(ms) < 60 else "late" if ms > 0 else "early"
        assert c["verdict"] == want and abs(c["lag_ms"] - ms) <= 40, (seed, ms, c)


@test
def the_face_is_found_and_the_words_are_right():
    join("o.mkv", 50001, None, 120)
    r = run(LS, "check", "o.mkv")
    assert r.returncode == 1 and r.stdout.startswith("late by 1") and "behind the lips" in r.stdout, r
    assert "detecting faces" in r.stderr, r
    events = [json.loads(line) for line in run(LS, "check", "--progress", "json", "o.mkv").stdout.splitlines()]
    assert events[0]["event"] == "start" and events[-1]["event"] == "done", events
    assert events[-1]["verdict"] == "late" and events[-1]["method"] == "mouth opening", events[-1]


@test
def a_video_that_begins_later_than_its_sound():
    ffmpeg("-itsoffset", "0.16", "-i", "s50001/face.mp4", "-i", "s50001/speech.wav", "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac",
           "o.mkv")
    c = check("o.mkv")
    assert c["verdict"] == "early" and abs(c["lag_ms"] + 160) <= 40, c


@test
def what_cannot_be_told():
    join("o.wrong.mp4", 50001, "s50002/speech.wav")
    join("o.silent.mp4", 50001, None, 0, "-af", "volume=0")
    ffmpeg("-f", "lavfi", "-i", "anoisesrc=a=0.0005:r=16000:d=8", "o.noise.wav")
    join("o.noise.mp4", 50001, "o.noise.wav")
    ffmpeg("-i", "s50001/face.mp4", "-i", "s50001/speech.wav", "-map", "0:v", "-map", "1:a", "-vf", "trim=end_frame=1,loop=200:1,setpts=N/25/TB",
           "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "o.still.mp4")
    for name in ("wrong", "silent", "noise"):
        c = check(f"o.{name}.mp4", 50001)
        assert c["verdict"] == "cannot tell", (name, c)
    assert check("o.still.mp4")["verdict"] == "cannot tell"


@test
def stretches_show_what_the_whole_hides():
    join("o.1.mkv", 50001)
    join("o.2.mkv", 50001, None, 200, "-shortest")
    for k in (1, 2):
        ffmpeg("-i", f"o.{k}.mkv", "-af", "apad", "-t", "10", "-vf", "tpad=stop_mode=clone:stop_duration=10", "-c:v", "libx264", "-preset", "ultrafast",
               "-c:a", "pcm_s16le", f"o.part{k}.mkv")
    with open("o.list", "w") as f:
        f.write("file o.part1.mkv\nfile o.part2.mkv\n")
    ffmpeg("-f", "concat", "-i", "o.list", "-c", "copy", "o.mkv")
    stretches = check("o.mkv")["stretches"]
    assert [s["start"] for s in stretches] == [0, 10], stretches
    assert [s["verdict"] for s in stretches] == ["in sync", "late"] and abs(stretches[1]["lag_ms"] - 200) <= 40, stretches


@test
def what_cannot_be_checked():
    ffmpeg("-i", "s50001/face.mp4", "-an", "-c", "copy", "o.mute.mp4")
    ffmpeg("-f", "lavfi", "-i", "color=gray:s=256x256:r=25:d=1", "-f", "lavfi", "-i", "sine=d=1", "-c:v", "libx264", "-c:a", "aac", "o.empty.mp4")
    for video, status, word in (("o.mute.mp4", 3, "audio"), ("o.empty.mp4", 5, "no face"), ("o.none.mp4", 3, "o.none.mp4")):
        r = run(LS, "check", video)
        assert r.returncode == status and word in r.stderr and not r.stdout, r


def table(first, count):
    shifts = range(-200, 201, 40)
    found = {ms: [] for ms in shifts}
    wrong = []
    for seed in range(first, first + count):
        draw(seed)
    for seed in range(first, first + count):
        for ms in shifts:
            join("o.mp4", seed, None, ms)
            found[ms].append(check("o.mp4", seed))
        for other in range(first, first + count):
            if other % len(TEXTS) != seed % len(TEXTS):
                join("o.mp4", seed, f"s{other}/speech.wav")
                wrong.append(check("o.mp4", seed))
    print("| sound shifted by, ms | found, mean | from | to | within a frame | cannot tell | least confidence |")
    print("|---|---|---|---|---|---|---|")
    for ms, c in found.items():
        lags = [x["lag_ms"] for x in c if x["lag_ms"] is not None]
        print("| %+d | %+.0f | %+d | %+d | %d of %d | %d | %.1f |" % (
            ms, sum(lags) / max(1, len(lags)), min(lags), max(lags), sum(abs(x - ms) <= 40 for x in lags), len(c), len(c) - len(lags),
            min(x["confidence"] for x in c)))
    print("wrong speech: %d of %d cannot be told, confidence up to %.1f" % (
        sum(c["verdict"] == "cannot tell" for c in wrong), len(wrong), max(c["confidence"] for c in wrong)))


if "--table" in sys.argv:
    table(int(sys.argv[4]), int(sys.argv[5]))
    shutil.rmtree(os.getcwd())
else:
    sys.exit(main(setup))
