#!/usr/bin/env python3
"""What shows that a lower face was pasted, with each way of blending: drawn speakers of several sizes whose lips the built-in
model moves, and clips whose faces are pasted back as they were cut out. docs/QUALITY.md explains the columns.
usage: blend.py BUILD [--speakers N] [--frames FOLDER] [CLIP DETECTOR]..."""
import json
import os
import statistics
import sys
import tempfile

from command import run

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TEXT = "A quick brown fox jumps over the lazy dog."
SIZES = 480, 720, 1080
WAYS = "crop", "mask --sharpen 0", "mask"
COLUMNS = ("step_luma", "step_chroma", "flicker_luma", "flicker_chroma", "psnr_eyes", "psnr_kept", "sharp", "sharp_kept")


def row(name, way, found):
    values = [statistics.mean(f[c] for f in found) for c in COLUMNS]
    print("| %s | %s | %.1f | %.1f | %.2f | %.2f | %.1f | %.1f | %.2f | %.2f |" % (name, way, *values), flush=True)


def drawn(size, seeds):
    for seed in seeds:
        run(PUPPET, "--seed", seed, "--held-out", "--size", size, seed)
    for way in WAYS:
        found = []
        for seed in seeds:
            output = f"{seed}-{size}-{way.replace(' ', '')}.mkv"
            run(LS, "sync", "-q", "--models", f"{TREE}/models/mini", "--face-track", f"{seed}/track.jsonl", "--quality", "fast",
                "--preset", "ultrafast", "--crf", "0", *f"--blend {way}".split(), f"{seed}/face.mp4", "said/speech.wav", "-o", output)
            found.append(json.loads(run(BORDERS, 128, f"{seed}/face.mp4", f"{seed}/track.jsonl", output)))
            if KEEP:
                run("ffmpeg", "-v", "error", "-y", "-nostdin", "-i", output, "-vf", "select=not(mod(n\\,10))", "-fps_mode", "passthrough",
                    f"{KEEP}/{output[:-4]}-%02d.png")
            os.remove(output)
        row(f"{len(seeds)} drawn, {size} x {size}", way, found)


def real(clip, detector):
    name = os.path.splitext(os.path.basename(clip))[0]
    with open("track.jsonl", "w") as f:
        f.write(run(LS, "faces", "-q", "--json", "--detector", detector, "--models", f"{TREE}/models/mini", clip))
    for model in "ideal", "flawed":
        for way in WAYS:
            blend, _, sharpen = way.partition(" --sharpen ")
            folder = []
            if KEEP:
                folder = [f"{KEEP}/{name}-{model}-{way.replace(' ', '')}"]
                os.makedirs(folder[0], exist_ok=True)
            found = json.loads(run(BORDERS, 256, clip, "track.jsonl", "--again", model, blend, sharpen or "auto", *folder))
            row(f"{name}, {model}", way, [found])


def take(option, default):
    if option not in args:
        return default
    at = args.index(option)
    value = args[at + 1]
    del args[at:at + 2]
    return value


args = sys.argv[1:]
if not args:
    sys.exit(__doc__)
LS, PUPPET, BORDERS = (os.path.abspath(os.path.join(args[0], p)) for p in ("latentsync", "tools/puppet", "tools/borders"))
speakers = int(take("--speakers", 3))
KEEP = take("--frames", None)
KEEP = KEEP and os.path.abspath(KEEP)
clips = [os.path.abspath(a) for a in args[1:]]
with tempfile.TemporaryDirectory() as scratch:
    os.chdir(scratch)
    print("| clip | blend | step, luma | chroma | flicker, luma | chroma | eyes, dB | kept, dB | sharp | sharp, kept |\n" + "|---" * 10 + "|")
    run(PUPPET, "--speech-only", "--voice", "en-us+f2", "--text", TEXT, "--rate", 170, "said")
    for picture in SIZES if speakers else ():
        drawn(picture, range(50001, 50001 + speakers))
    for at in range(0, len(clips) - 1, 2):
        real(clips[at], clips[at + 1])
