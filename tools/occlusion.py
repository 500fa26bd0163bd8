#!/usr/bin/env python3
"""Which frames keep the mouth of the source: drawn speakers before whose mouth a hand or a
microphone passes, or whose head turns, and ordinary ones. A frame of the output was kept if its
pixels are those of the source. docs/QUALITY.md#covered-mouths-and-turned-heads explains the columns.
usage: occlusion.py BUILD [--speakers N] [--first SEED] [--models DIR] [VIDEO]..."""
import argparse
import os
import tempfile

from command import run

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SPOKEN = f"{TREE}/tools/puppet/recordings/fox"
SHOWS = {"": [], "hand": ["--hand", "32-52"], "microphone": ["--microphone", "32-52"], "turn": ["--turn", "32-52"]}


def pictures(path):
    lines = run("ffmpeg", "-v", "error", "-nostdin", "-i", path, "-an", "-fps_mode", "passthrough", "-f", "framemd5", "-")
    return [x.split(",")[-1] for x in lines.splitlines() if not x.startswith("#")]


def kept(models, video, speech, *options):
    """Of each frame of the output, whether it is the source's."""
    run(LS, "sync", "-q", "-m", models, video, speech, "-o", "o.mkv", "--steps", "1", "--cache-interval", "1", "--guidance", "1",
        "--resolution", "64", "--video-codec", "ffv1", "--fps", "source", *options)
    return [a == b for a, b in zip(pictures(video), pictures("o.mkv"))]


def drawn(seed, options):
    run(PUPPET, "--seed", seed, "--size", "320", "--speech", SPOKEN + ".wav", "--phones", SPOKEN + ".txt", *options, "drawn")
    hidden = [list(map(float, x.split())) for x in open("drawn/hidden.txt")] if options else []
    return [c >= 0.25 or abs(yaw) >= 50 for c, yaw in hidden]


def near(hidden, i, by):
    return any(hidden[max(0, i - by):i + by + 1])


def speakers(show, seeds):
    total = dict(frames=0, hidden=0, found=0, early=0, late=0, false=0)
    for seed in seeds:
        hidden = drawn(seed, SHOWS[show])
        keeps = kept(f"{TREE}/models/mini", "drawn/face.mp4", SPOKEN + ".wav")
        hidden = hidden or [False] * len(keeps)
        pairs = list(zip(hidden, keeps))
        total["frames"] += len(pairs)
        total["hidden"] += sum(h for h, _ in pairs)
        total["found"] += sum(h and k for h, k in pairs)
        wrong = [i for i, (h, k) in enumerate(pairs) if k and not h and not near(hidden, i, 8)]
        total["false"] += len(wrong)
        if wrong or not all(k for h, k in pairs if h):
            print(f"# seed {seed} {show}: missed {[i for i, (h, k) in enumerate(pairs) if h and not k]}, false {wrong}", flush=True)
    print(f"| {show or 'nothing'} | {len(seeds)} | {total['frames']} | {total['hidden']} | {total['found']} | {total['hidden'] - total['found']} "
          f"| {total['false']} |", flush=True)


a = argparse.ArgumentParser()
a.add_argument("build")
a.add_argument("--speakers", type=int, default=8)
a.add_argument("--first", type=int, default=201)
a.add_argument("--models", help="for the videos, with a face detector")
a.add_argument("--detector")
a.add_argument("video", nargs="*")
a = a.parse_intermixed_args()
LS, PUPPET = (os.path.abspath(f"{a.build}/{x}") for x in ("latentsync", "tools/puppet"))
VIDEOS = [os.path.abspath(v) for v in a.video]
MODELS = os.path.abspath(a.models or f"{TREE}/models/mini")
OPTIONS = ["--detector", os.path.abspath(a.detector)] if a.detector else []
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    print("| before the mouth | speakers | frames | hidden | found | missed | false |")
    for s in SHOWS if a.speakers else ():
        speakers(s, range(a.first, a.first + a.speakers))
    for v in VIDEOS:
        run("ffmpeg", "-v", "error", "-y", "-i", SPOKEN + ".wav", "-af", "apad=whole_dur=60", "long.wav")
        seconds = float(run("ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=duration", "-of", "csv=p=0", v))
        run("ffmpeg", "-v", "error", "-y", "-i", "long.wav", "-t", seconds, "said.wav")
        k = kept(MODELS, v, "said.wav", *OPTIONS)
        print(f"{v}: {sum(k)} of {len(k)} frames kept: {[i for i, x in enumerate(k) if x]}", flush=True)
