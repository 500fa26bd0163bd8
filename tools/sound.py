#!/usr/bin/env python3
"""What is done about the sound, measured on drawn speakers and the built-in model from the pixels of
the output: docs/QUALITY.md explains the columns.
usage: sound.py BUILD seams|silence [--speakers N]"""
import array
import json
import math
import os
import random
import statistics
import sys
import tempfile
import wave

from command import run

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FPS = 25
VOICES = ["en-us+f2", "de+m3", "it+f4", "es+m1"]
QUICK = ["--preset", "veryfast", "--crf", "14"]


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


def speak(number, seconds, *pauses):
    """Held-out sentences in one voice, one after another, with mouth.txt for all. Before each is the next of the pauses, in
    seconds, and the last one at the end."""
    folder, samples, phones, rate, k = f"speech{number}", b"", [], 22050, 0

    def rest(length):
        nonlocal samples
        at = len(samples) / 2 / rate
        samples += bytes(2 * round(length * rate))
        phones.append(f"{at:.6f} {len(samples) / 2 / rate:.6f} _")
    while len(samples) / 2 / rate < seconds or k + 1 < len(pauses):
        if k < len(pauses):
            rest(pauses[k])
        at = len(samples) / 2 / rate
        run(PUPPET, "--seed", 60000 + 100 * number + k, "--held-out", "--voice", VOICES[number % len(VOICES)], "--rate", 150,
            "--speech-only", "part")
        part, rate = read_wav("part/speech.wav")
        for line in open("part/phones.txt"):
            fields = line.rstrip("\n").split(" ")
            phones.append(" ".join([f"{float(fields[0]) + at:.6f}", f"{float(fields[1]) + at:.6f}", *fields[2:]]))
        samples += part
        k += 1
    if pauses:
        rest(pauses[-1])
    write_wav("all.wav", samples, rate)
    open("all.txt", "w").write("\n".join(phones) + "\n")
    run(PUPPET, "--speech", "all.wav", "--phones", "all.txt", "--speech-only", folder)
    return folder


def part(speaker, speech, start, seconds, *options):
    """Correlation and openings of a part of the output."""
    output, first, n = "part.mkv", round(start * FPS), round(seconds * FPS)
    run(LS, "sync", "-q", "--models", f"{TREE}/models/mini", "--face-track", f"{speaker}/track.jsonl", *QUICK, *options,
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
            found = [part(a, b, t - 2, 4, "--audio-windows", windows, "--steps", 8)["correlation"] for a, b in speakers for t in middles]
            cells += [statistics.mean(found), min(found)]
        print("| `%s` | %.3f | %.3f | %.3f | %.3f |" % (windows, *cells), flush=True)


BACKGROUNDS = {"digital zero": None, "white, -60 dB": -60, "room, -45 dB": -45, "hum, -45 dB": -45, "breath, -35 dB": -35}


def noise(kind, seconds, rate):
    """Samples from -1 to 1."""
    r, low, out = random.Random(1), 0, []
    level = 10 ** ((BACKGROUNDS[kind] or -300) / 20)
    for i in range(round(seconds * rate)):
        x, t = r.gauss(0, 1), i / rate
        if kind.startswith("room"):  # low, and swelling
            low = 0.9 * low + x * math.sqrt(1 - 0.81)
            x = low * (1 + 0.5 * math.sin(2 * math.pi * 0.7 * t))
        elif kind.startswith("breath"):  # half a second of every one and a half
            x *= max(0, math.sin(2 * math.pi * t)) * (t % 1.5 < 0.5)
        elif kind.startswith("hum"):
            x = sum(math.sin(2 * math.pi * f * t) for f in (50, 150, 250)) * math.sqrt(2 / 3)
        out.append(level * x)
    return out


def with_noise(speech, kind):
    samples, rate = read_wav(f"{speech}/clean.wav")
    samples = array.array("h", samples)
    for i, x in enumerate(noise(kind, len(samples) / rate, rate)):
        samples[i] = max(-32768, min(32767, round(samples[i] + 32767 * x)))
    write_wav(f"{speech}/speech.wav", samples.tobytes(), rate)


def silent_frames(speech):
    """Of frames whether they are silent, and of those that speak; frames within 0.2 s of an end are neither."""
    pauses = [(float(a), float(b)) for a, b, *ipa in (line.split(" ") for line in open(f"{speech}/phones.txt")) if ipa[0].strip() == "_"]
    pauses = [(a, b) for a, b in pauses if b - a > 1]
    length = len(open(f"{speech}/mouth.txt").readlines())
    inside = lambda t, m: any(a - m * (a > 0) < t < b + m for a, b in pauses)
    return ([i for i in range(length) if inside(i / FPS, -0.2) or i < 5], [i for i in range(length) if not inside(i / FPS, 0.2)])


def still(number):
    """The change in the picture of a speaker who is drawn with a closed mouth: the head moves."""
    write_wav("zeros.wav", bytes(2 * 3 * 16000), 16000)
    open("zeros.txt", "w").write("0.000 3.000 _\n")
    run(PUPPET, "--seed", 50001 + number, "--size", 320, "--speech", "zeros.wav", "--phones", "zeros.txt", "still")
    found = json.loads(run(MEASURE, "--frames", "still/face.mp4", "still/track.jsonl", "still/mouth.txt"))
    return statistics.mean(found["changes"][1:])


def silence(count):
    pairs = [(draw(i), speak(i, 0, 1.6, 1.6, 1.6)) for i in range(count)]
    for _, speech in pairs:
        os.rename(f"{speech}/speech.wav", f"{speech}/clean.wav")
    print("| behind the speech | `--silence` | first frame | opening | largest | change | lips in speech |\n|---|---|---|---|---|---|---|")
    print("| drawn, mouth closed | | | | | %.2f | |" % statistics.mean(map(still, range(count))), flush=True)
    for kind in BACKGROUNDS:
        for how in ("leave", "close"):
            rows = []
            for speaker, speech in pairs:
                with_noise(speech, kind)
                silent, spoken = silent_frames(speech)
                n = max(spoken + silent) + 1
                found = part(speaker, speech, 0, n / FPS, "--silence", how, "--steps", 6)
                o, change = found["openings"], found["changes"]
                m = [float(line.split()[0]) for line in open("part.txt")]
                mean = lambda x, frames: statistics.mean(x[i] for i in frames if i)
                unit = mean(o, spoken)
                rows.append((o[0] / unit, mean(o, silent) / unit, max(o[i] for i in silent) / unit, mean(change, silent),
                             statistics.correlation([o[i] for i in spoken], [m[i] for i in spoken])))
            print("| %s | `%s` | %.3f | %.3f | %.2f | %.2f | %.3f |" % (kind, how, *map(statistics.mean, zip(*rows))), flush=True)


args = sys.argv[1:]
if len(args) < 2 or args[1] not in ("seams", "silence"):
    sys.exit(__doc__)
LS, PUPPET, MEASURE, SEAMS = (os.path.abspath(os.path.join(args[0], p))
                              for p in ("latentsync", "tools/puppet", "tools/measure", "tools/seams"))
speakers = int(args[args.index("--speakers") + 1]) if "--speakers" in args else 4
with tempfile.TemporaryDirectory() as scratch:
    os.chdir(scratch)
    {"seams": seams, "silence": silence}[args[1]](speakers)
