"""What the tests of the command share: files made by ffmpeg, results judged by ffprobe and ffmpeg, TAP.
A program of tests is called with the command, LATENTSYNC, and works in a folder of its own."""
import array
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import wave

LS = os.path.abspath(sys.argv[1])
DIR = tempfile.mkdtemp(prefix="ls-e2e-")
SHARED_ABS = os.path.abspath(os.environ.get("LS_SHARED", "../shared"))
os.chdir(DIR)
# FFmpeg's libraries bring a BLAS; OpenBLAS starts threads when it is loaded, and waits for ever if the address space is limited
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["XDG_CACHE_HOME"] = DIR + ".cache"
EMULATOR = os.environ.get("MESON_EXE_WRAPPER")  # and its options
if EMULATOR:
    with open("latentsync", "w") as f:
        f.write(f'#!/bin/sh\nexec {EMULATOR} {LS} "$@"\n')
    os.chmod("latentsync", 0o755)
    LS = os.path.join(DIR, "latentsync")
QUICK = ["--resolution", "64", "--steps", "2", "--preset", "ultrafast", "--threads", "1"]  # two programs run at a time


def run(*args, **kw):
    return subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=3000 if EMULATOR else 300, **kw)


def ffmpeg(*args):
    r = run("ffmpeg", "-v", "error", "-y", "-nostdin", *args)
    assert r.returncode == 0, r.stderr
    return r


def probe(path, stream="v:0"):
    r = run("ffprobe", "-v", "error", "-count_frames", "-select_streams", stream, "-show_streams",
            "-of", "json", path)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)["streams"][0]


def planes(path, fmt="yuv420p", *filters):
    """Decoded pictures, one bytes object each."""
    info = probe(path)
    r = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", path, *filters, "-an", "-fps_mode", "passthrough",
                        "-f", "rawvideo", "-pix_fmt", fmt, "-"], capture_output=True, timeout=300)
    size = info["width"] * info["height"] * 3 // 2 * (2 if "10" in fmt else 1)
    return [r.stdout[i:i + size] for i in range(0, len(r.stdout), size)]


def packets(path):
    r = run("ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", "0:a", "-c", "copy", "-f", "md5", "-")
    return r.stdout


def syllables(path, seconds, *parts):
    """A recording, silent but in `parts`: each from and to a second, with so many syllables a second; 0: one tone."""
    def at(t):
        rate = next((rate for start, end, rate in parts if start < t < end), None)
        if rate is None or rate * t % 1 >= 0.6:
            return 0
        return math.sin(2 * math.pi * (250 + 200 * (int(rate * t) % 5)) * t)
    with wave.open(path, "wb") as w:
        w.setparams((1, 2, 16000, 0, "NONE", ""))
        w.writeframes(array.array("h", (int(12000 * at(i / 16000)) for i in range(round(seconds * 16000)))).tobytes())


def points(cx, cy, s):
    return [[cx - .275 * s, cy - .317 * s], [cx + .258 * s, cy - .317 * s], [cx - .01 * s, cy - .14 * s],
            [cx - .2 * s, cy + .24 * s], [cx + .22 * s, cy + .24 * s]]


def track(name, frames, skip=(), cx=160, cy=120, s=60):
    with open(name, "w") as f:
        for i in range(frames):
            if i not in skip:
                f.write(json.dumps({"frame": i, "score": 0.9, "box": [cx - s, cy - s, cx + s, cy + s],
                                    "points5": points(cx + i * .1, cy, s)}) + "\n")


def preload(library):
    """For LD_PRELOAD; a sanitizer's runtime insists on being the first."""
    needed = [line.split()[2] for line in run("ldd", library).stdout.splitlines() if "libasan" in line]
    return " ".join(needed + [library])


def digest(path):
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


def pixels(path):
    ffmpeg("-i", path, "-f", "rawvideo", "-pix_fmt", "yuv420p", path + ".yuv")
    return open(path + ".yuv", "rb").read()


def painted_alike(cpu, card, source, share):
    """What the networks painted in the video of a card is as in the CPU's; it is more than 1 / share of all values."""
    cpu, card, source = pixels(cpu), pixels(card), pixels(source)
    painted = [abs(a - b) for a, b, s in zip(cpu, card, source) if a != s]
    assert len(cpu) == len(card) and len(painted) > len(cpu) // share, (len(cpu), len(card), len(painted))
    near = sum(d <= 1 for d in painted) / len(painted)
    print(f"# {near:.5f} of {len(painted)} values within 1, the most is {max(painted)}")
    assert near >= 0.99, near


def good(r):
    assert r.returncode == 0, f"exit {r.returncode}: {r.stderr}"
    return r


def bad(r, *words, code=1):
    assert r.returncode == code, f"exit {r.returncode} instead of {code}: {r.stderr}"
    for w in words:
        assert w in r.stderr, f"no {w!r} in: {r.stderr}"
    left = [f for f in os.listdir(".") if f.startswith("out") or f.startswith(".out")]
    assert not left, f"left behind: {left}"


def until(condition, seconds=120):
    """What `condition` gives once that is true; the patience is for a busy machine."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)
    return found


TESTS = []


def test(f):
    TESTS.append(f)
    return f


def took(what, since=(0, 0)):
    """Prints the seconds of the clock and of the processors since `since`; those until now."""
    now = time.monotonic(), sum(os.times()[:4])
    if what:
        print(f"# {what}: {now[0] - since[0]:.1f} s, {now[1] - since[1]:.1f} s of processors", flush=True)
    return now


def main(setup):
    """Runs the tests; the exit status."""
    begin = last = took(None)
    setup()
    last = took("setup", last)
    print(f"1..{len(TESTS)}")
    failed = 0
    for i, t in enumerate(TESTS, 1):
        skipped = None
        try:
            skipped = t()
        except Exception as e:  # noqa: BLE001: every failure is reported
            failed += 1
            print(f"not ok {i} {t.__name__}")
            print("# " + str(e).replace("\n", "\n# ") + f" ({type(e).__name__})", flush=True)
        else:
            print(f"ok {i} {t.__name__}" + (f" # SKIP {skipped}" if skipped else ""), flush=True)
        last = took(t.__name__, last)
        for f in os.listdir("."):
            if f.startswith("o."):
                shutil.rmtree(f) if os.path.isdir(f) else os.remove(f)
    took("all", begin)
    for folder in (DIR, os.environ["XDG_CACHE_HOME"]):
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0
