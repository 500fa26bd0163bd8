#!/usr/bin/env python3
"""How much of its time a card waits, and for which stage, at several speeds of the card. No card is needed: the one
of the tests, build/tests/cuda/libcuda_emulated.so, takes as long as a real one would and computes nothing.
usage: ./dev bench overlap MODELS VIDEO AUDIO [OPTIONS OF sync...]
   or: overlap.py LATENTSYNC LIBCUDA MODELS VIDEO AUDIO [OPTIONS OF sync...]

MODELS are the published networks, or `latentsync models random --size full`; what is measured does not depend on
the weights. Options choose, for example, the detector, the face track, the preset of the encoder or --threads.
In the environment, CARDS: what to pretend, "NAME TFLOPS GBYTES_PER_S COUNT" separated by commas; RESOLUTIONS."""
import json
import os
import subprocess
import sys
import tempfile

LS, LIBCUDA, MODELS, VIDEO, AUDIO = map(os.path.abspath, sys.argv[1:6])
OPTIONS = sys.argv[6:]
# products of half floats as our kernels are expected to sustain them, and memory
CARDS = os.environ.get("CARDS", "RTX_4090 80 800 1,H100 250 2600 1,H100 250 2600 2")
RESOLUTIONS = [int(r) for r in os.environ.get("RESOLUTIONS", "256 512").split()]


def measure(resolution, tflops, gbs, count, folder):
    stats, out = os.path.join(folder, "stats.jsonl"), os.path.join(folder, "out.mp4")
    env = dict(os.environ, LS_CUDA_LIBRARY=LIBCUDA,
               FAKE_CUDA=f"cards={count},tflops={tflops},gbs={gbs},link=20,memory=24G")
    subprocess.run([LS, "sync", "-m", MODELS, "--device", "cuda", "--resolution", str(resolution), "--stats", stats,
                    "-q", *OPTIONS, VIDEO, AUDIO, "-o", out], env=env, check=True)
    lines = [json.loads(line) for line in open(stats)]
    os.remove(stats)
    return [line for line in lines if line["stage"] == "frames"][-1]


def row(name, times, seconds):
    busy, faces, room = (100 * times[k + "_seconds"] / seconds for k in ("busy", "input", "room"))
    per_frame = 1000 * times["busy_seconds"] / max(times["frames"], 1)
    print(f"    {name:10} {busy:6.1f} {faces:8.1f} {room:8.1f} {per_frame:10.1f}", flush=True)


def main():
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {os.path.basename(VIDEO)}; "
          f"options: {' '.join(OPTIONS)}")
    for resolution in RESOLUTIONS:
        for card in CARDS.split(","):
            name, tflops, gbs, count = card.split()
            with tempfile.TemporaryDirectory() as folder:
                last = measure(resolution, tflops, gbs, count, folder)
            devices = last["devices"]
            seconds = max(sum(t[k + "_seconds"] for k in ("busy", "input", "room"))
                          for t in [*devices.values(), *last["stages"].values()])
            print(f"{count} x {name} ({tflops} TFLOP/s) at {resolution}: {last['frames'] / seconds:.1f} frames/s")
            print("    % of time     busy   input     room   ms/frame")
            for device, times in devices.items():
                row(device, times, seconds)
            for stage, times in last["stages"].items():
                if stage != "generate":
                    row(stage, times, seconds)


if __name__ == "__main__":
    main()
