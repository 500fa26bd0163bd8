#!/usr/bin/env python3
"""What `latentsync estimate` says with nothing kept, against what `sync` takes with the same options.
usage: estimate.py LATENTSYNC PUPPET [--media FOLDER] [--detector FILE] [--no-full] [RUN]...
FOLDER: of real clips, demo1_video.mp4 and demo1_audio.wav, for which a detector is needed; without
it a drawn speaker takes their place. Some minutes on two idle cores, and 6 GB in TMPDIR for a model
of the published size."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

TEXT = ("Good morning everybody, and welcome to the show. A quick brown fox jumps over the lazy dog, "
        "while the old man by the sea counts his boats.")


def run(*args):
    """Seconds by the clock, seconds of processor time, output."""
    start = time.monotonic()
    p = subprocess.Popen([str(a) for a in args], stdout=subprocess.PIPE, text=True)
    said = p.stdout.read()
    status, usage = os.wait4(p.pid, 0)[1:]
    if status:
        sys.exit(f"{' '.join(map(str, args))}: status {status}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, said


def speaker(name, seed, size, *args):
    run(PUPPET, "--seed", seed, "--held-out", "--size", size, *args, name)
    return [f"{name}/face.mp4"]


def say(name, text, rate=150):
    run(PUPPET, "--speech-only", "--voice", "en-us+f2", "--text", text, "--rate", rate, name)
    return [f"{name}/speech.wav"]


def drawn_384():
    return speaker("a", 50001, 384, "--text", TEXT) + say("said", TEXT)


def drawn_384_fast():
    return drawn_384() + ["--quality", "fast"]


def backwards():
    return speaker("b", 50002, 720) + say("long", TEXT + " " + TEXT) + ["--quality", "balanced"]


def large():
    return speaker("c", 50003, 1080, "--text", TEXT) + say("said", TEXT) + ["--preset", "veryfast"]


def real():
    if not args.media:
        return speaker("d", 50004, 512, "--text", TEXT) + say("said", TEXT) + ["--detect-every", "auto"]
    clip = [f"{args.media}/demo1_video.mp4", f"{args.media}/demo1_audio.wav", "--quality", "fast"]
    return clip + (["--detector", args.detector] if args.detector else [])


def full():
    run(LS, "models", "random", "--size", "full", "--out", "full")
    return speaker("e", 50005, 384) + ["e/speech.wav", "--face-track", "e/track.jsonl", "--models", "full", "--resolution", "128",
                                       "--quality", "fast", "--duration", "1.28"]


RUNS = {"384 x 384": drawn_384, "384 x 384, fast": drawn_384_fast, "720 x 720, backwards too, balanced": backwards,
        "1080 x 1080, preset veryfast": large, "real": real, "published size, 128, fast": full}


def compare(name):
    options = RUNS[name]()
    quality = [] if "--quality" in options else ["--quality", "auto"]
    models = [] if "--models" in options else ["--models", f"{TREE}/models/mini"]
    os.environ["XDG_CACHE_HOME"] = os.path.abspath(f"cache{len(os.listdir('.'))}")
    took, _, said = run(LS, "estimate", *options, *quality, *models, "--json")
    e = json.loads(said)
    wall, cpu, _ = run(LS, "sync", "-q", *options, *quality, *models, "-o", "o.mkv")
    print("| %s | %d | %.1f | %.1f | %.1f | %+.0f %% | %.1f | %.1f | %.1f | %+.0f %% |" % (
        name, e["frames"], took, e["cpu_seconds"], cpu, 100 * (e["cpu_seconds"] / cpu - 1), e["run_seconds"], e["idle_seconds"],
        wall, 100 * (e["run_seconds"] / wall - 1)), flush=True)


TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
parser = argparse.ArgumentParser(usage=__doc__)
parser.add_argument("programs", nargs=2, type=os.path.abspath)
parser.add_argument("--media", type=os.path.abspath)
parser.add_argument("--detector", type=os.path.abspath)
parser.add_argument("--no-full", action="store_true")
parser.add_argument("names", nargs="*", metavar="RUN")
args = parser.parse_args()
LS, PUPPET = args.programs
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    print("| run | frames | estimating | CPU: estimate | truth | | wall: now | idle | truth | now to truth |\n" + 10 * "|---" + "|", flush=True)
    for name in args.names or RUNS:
        if not (args.no_full and RUNS[name] is full):
            compare(name)
    os.chdir("/")
