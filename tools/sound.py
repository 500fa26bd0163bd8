#!/usr/bin/env python3
"""What is done about the sound, measured on drawn speakers and the built-in model from the pixels of
the output: docs/QUALITY.md explains the columns.
usage: sound.py BUILD seams [--speakers N]"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import wave

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FPS = 25
VOICES = ["en-us+f2", "de+m3", "it+f4", "es+m1"]
STEPS = ["--steps", "8", "--preset", "veryfast", "--crf", "14"]


def run(*args):
    r = subprocess.run([str(a) for a in args], capture_output=True, text=True)
    if r.returncode:
        sys.exit(f"{' '.join(map(str, args))}: {r.stderr}")
    return r.stdout


def read_wav(path):
    with wave.open(path) as w:
        return w.readframes(w.getnframes()), w.getframerate()


def write_wav(path, samples, rate):
    with wave.open(path, "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(rate)
        w.writeframes(samples)


def draw(number):
    """A speaker whose mouth moves to a sentence of its own."""
    folder = f"speaker{number}"
    run(PUPPET, "--seed", 50001 + number, "--held-out", "--size", 320, folder)
    return folder


def speak(number, seconds):
    """Held-out sentences in one voice, one after another, with mouth.txt for all."""
    folder = f"speech{number}"
    samples, phones, rate, at = b"", [], 0, 0
    k = 0
    while at < seconds:
        run(PUPPET, "--seed", 60000 + 100 * number + k, "--held-out", "--voice", VOICES[number % len(VOICES)], "--rate", 150,
            "--speech-only", "part")
        part, rate = read_wav("part/speech.wav")
        for line in open("part/phones.txt"):
            fields = line.rstrip("\n").split(" ")
            phones.append(" ".join([f"{float(fields[0]) + at:.6f}", f"{float(fields[1]) + at:.6f}", *fields[2:]]))
        samples += part
        at = len(samples) / 2 / rate
        k += 1
    write_wav("all.wav", samples, rate)
    open("all.txt", "w").write("\n".join(phones) + "\n")
    run(PUPPET, "--speech", "all.wav", "--phones", "all.txt", "--speech-only", folder)
    return folder


def part(speaker, speech, start, seconds, *options):
    """Correlation and openings of a part of the output."""
    output, first, n = "part.mkv", round(start * FPS), round(seconds * FPS)
    run(LS, "sync", "-q", "--models", f"{TREE}/models/mini", "--face-track", f"{speaker}/track.jsonl", *STEPS, *options,
        "--start", start, "--duration", seconds, f"{speaker}/face.mp4", f"{speech}/speech.wav", "-o", output)
    faces = [json.loads(line)["points5"] for line in open(f"{speaker}/track.jsonl")]
    known = len(faces)
    with open("part.jsonl", "w") as f:
        for i in range(n):  # the video is played forwards and backwards
            k = (first + i) % (2 * known)
            f.write(json.dumps({"frame": i, "points5": faces[k if k < known else 2 * known - 1 - k]}) + "\n")
    mouths = open(f"{speech}/mouth.txt").readlines()[first:first + n]
    open("part.txt", "w").writelines(mouths)
    found = json.loads(run(MEASURE, "--frames", output, "part.jsonl", "part.txt"))
    os.remove(output)
    return found


def seams(count):
    speakers = [(draw(i), speak(i, 96)) for i in range(count)]
    print("| encoder | windows | at 30 s, largest near | at 60 s | at 90 s | 99 % of all below |\n|---|---|---|---|---|---|")
    for model, name in ((f"{TREE}/models/mini", "built-in"), ("tiny", "tiny, test weights")):
        for line in run(SEAMS, f"{speakers[0][1]}/speech.wav", model).splitlines():
            print(f"| {name} {line}", flush=True)
    print("\n| windows | lips within 2 s of 30, 60, 90 s | worst | within 2 s of 29, 57, 85 s | worst |\n|---|---|---|---|---|")
    for windows in ("exact", "overlap"):
        cells = []
        for middles in ((30, 60, 90), (29, 57, 85)):
            found = [part(a, b, t - 2, 4, "--audio-windows", windows)["correlation"] for a, b in speakers for t in middles]
            cells += [statistics.mean(found), min(found)]
        print("| `%s` | %.3f | %.3f | %.3f | %.3f |" % (windows, *cells), flush=True)


args = sys.argv[1:]
if len(args) < 2 or args[1] not in ("seams",):
    sys.exit(__doc__)
LS, PUPPET, MEASURE, SEAMS = (os.path.abspath(os.path.join(args[0], p))
                              for p in ("latentsync", "tools/puppet", "tools/measure", "tools/seams"))
speakers = int(args[args.index("--speakers") + 1]) if "--speakers" in args else 4
with tempfile.TemporaryDirectory() as scratch:
    os.chdir(scratch)
    {"seams": seams}[args[1]](speakers)
