#!/usr/bin/env python3
"""What faster settings cost: the built-in model moves the lips of drawn speakers with each, and the
output is measured from its pixels: docs/PERFORMANCE.md#quality explains the columns.
usage: quality.py BUILD [--speakers N] ["OPTIONS OF SYNC"]..."""
import concurrent.futures
import json
import math
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile

from command import run

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TEXT = "Good morning everybody, and welcome to the show. A quick brown fox jumps over the lazy dog."
ORIGINAL = "--sampler ddim --steps 20 --cache-interval 3 --guidance-interval 0:1"
BEST = "--sampler ddim --steps 50 --cache-interval 1 --guidance-interval 0:1"
ROWS = [ORIGINAL, "--quality best", "--quality balanced", "--quality fast"]
CACHED = 1 / 12  # of a whole step of the published UNet: docs/PERFORMANCE.md
FACE = "crop=iw*0.5:ih*0.5:iw*0.25:ih*0.4"
CHANGE = FACE + ",tblend=all_mode=grainextract"  # from frame to frame


def sync(seed, options, output):
    """The settings that the options stand for, and the CPU's seconds."""
    p = subprocess.Popen([LS, "sync", "-q", "--models", f"{TREE}/models/mini", "--face-track", f"{seed}/track.jsonl", f"{seed}/face.mp4",
                          "said/speech.wav", "-o", output, "--preset", "ultrafast", "--crf", "0", "--keep-job", *shlex.split(options)])
    status, usage = os.wait4(p.pid, 0)[1:]
    if status:
        sys.exit(f"sync {options}: status {status}")
    return json.load(open(f"{output}.lsjob/job.json"))["settings"], usage.ru_utime + usage.ru_stime


def work(s):
    """Of the UNet, in whole steps with both rows of guidance."""
    start, end = map(float, s["guidance_interval"].split(":"))
    total = 0
    for i in range(s["steps"]):
        k = i % s["cache_interval"]
        total += (CACHED if k else 1) * (1 if start <= (i - k) / s["steps"] < end else 0.5)
    return total


def mse(a, b, chain):
    """Of the luma of two videos, each through a chain of filters."""
    said = run("ffmpeg", "-nostdin", "-i", a, "-i", b, "-lavfi", f"[0:v]{chain}[a];[1:v]{chain}[b];[a][b]psnr", "-f", "null", "-", report=True)
    psnr = float(re.search(r"PSNR y:(\S+)", said)[1])
    return 0 if math.isinf(psnr) else 255 ** 2 / 10 ** (psnr / 10)


def measure(seed, options, name):
    output, best = f"{seed}-{name}.mkv", f"{seed}-best.mkv"
    settings, seconds = sync(seed, options, output)
    lips = json.loads(run(MEASURE, output, f"{seed}/track.jsonl", "said/mouth.txt"))["correlation"]
    result = settings, seconds, lips, mse(output, best, FACE), math.sqrt(mse(output, best, CHANGE))
    if output != best:
        os.remove(output)
    run("rm", "-r", f"{output}.lsjob")
    return result


def row(seeds, options, name):
    settings, seconds, lips, errors, flicker = zip(*POOL.map(lambda s: measure(s, options, name), seeds))
    psnr = statistics.mean(10 * math.log10(255 ** 2 / e) if e else 99 for e in errors)
    print("| `%s` | %.2f | %.2f | %.1f | %.3f | %.3f | %.1f | %.2f |" % (
        options, work(settings[0]), WORK_BEFORE / work(settings[0]), statistics.median(seconds), statistics.mean(lips), min(lips),
        psnr, statistics.mean(flicker)), flush=True)


def main(speakers, rows):
    seeds = range(50001, 50001 + speakers)
    run(PUPPET, "--speech-only", "--voice", "en-us+f2", "--text", TEXT, "--rate", 150, "said")
    for seed in seeds:
        run(PUPPET, "--seed", seed, "--held-out", "--size", 320, seed)
    print("| options | whole steps | speed | CPU, s | lips | worst | PSNR, dB | flicker |\n|---|---|---|---|---|---|---|---|")
    row(seeds, BEST, "best")
    for options in rows:
        row(seeds, options, "o")


args = sys.argv[1:]
if not args:
    sys.exit(__doc__)
LS, PUPPET, MEASURE = (os.path.abspath(os.path.join(args[0], p)) for p in ("latentsync", "tools/puppet", "tools/measure"))
count = 4
if "--speakers" in args:
    at = args.index("--speakers")
    count = int(args[at + 1])
    del args[at:at + 2]
WORK_BEFORE = work({"steps": 20, "cache_interval": 3, "guidance_interval": "0:1"})
with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as POOL:
    os.chdir(folder)
    main(count, args[1:] or ROWS)
