#!/usr/bin/env python3
"""Peak memory of `latentsync sync` at 1080p for a short, a medium and a long video, which should agree.
usage: memory.py LATENTSYNC [SECONDS...], default 10 150 3600; the last takes half an hour.

The networks are the mini model with made-up weights, whose 8 MB are negligible: this measures everything else. The clips repeat one of 10 s. Prints a line of JSON for each, then a table."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

LS = os.path.abspath(sys.argv[1])
SECONDS = [int(x) for x in sys.argv[2:]] or [10, 150, 3600]
ORIGINAL_BYTES = 3 * 1920 * 1080 * 3 * 25  # a second: three copies of every frame as RGB


def ffmpeg(*args):
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-nostdin", *map(str, args)], check=True)


def make_track(path, frames):
    points = [[-.275, -.317], [.258, -.317], [-.01, -.14], [-.2, .24], [.22, .24]]
    with open(path, "w") as f:
        for i in range(frames):
            p = [[960 + i % 50 + 120 * x, 540 + 120 * y] for x, y in points]
            f.write(json.dumps({"frame": i, "points5": p}) + "\n")


class Group:
    """A control group for one run, where one can be created."""

    def __init__(self):
        self.path, self.peak, self.end = None, 0, threading.Event()
        for line in open("/proc/self/cgroup"):
            _, names, group = line.rstrip("\n").split(":", 2)
            if names in ("", "memory"):
                v2 = names == ""
                path = "/sys/fs/cgroup" + ("" if v2 else "/memory") + group.rstrip("/") + "/ls-bench"
                if os.path.exists(os.path.dirname(path) + ("/memory.current" if v2 else "/memory.usage_in_bytes")):
                    try:
                        os.makedirs(path, exist_ok=True)
                        self.path, self.v2 = path, v2
                    except OSError:
                        pass

    def enter(self):
        if self.path:
            open(self.path + "/cgroup.procs", "w").write(str(os.getpid()))

    def used(self):
        """Memory that cannot be dropped: everything but the file cache."""
        stat = dict(line.split() for line in open(self.path + "/memory.stat"))
        return sum(int(stat.get(k, 0)) for k in (("anon", "shmem") if self.v2 else ("total_rss", "total_shmem")))

    def watch(self):
        while self.path and not self.end.wait(0.2):
            self.peak = max(self.peak, self.used())

    def close(self):
        self.end.set()
        for _ in range(50):
            try:
                if self.path:
                    os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.1)


def measure(seconds):
    ffmpeg("-stream_loop", "-1", "-i", "clip.mkv", "-t", seconds, "-c", "copy", "video.mkv")
    ffmpeg("-stream_loop", "-1", "-i", "clip.wav", "-t", seconds, "-c", "copy", "speech.wav")
    make_track("track.jsonl", seconds * 25 + 50)
    group = Group()
    command = [LS, "sync", "-m", "models", "-t", "track.jsonl", "video.mkv", "speech.wav", "-o", "out.mp4",
               "--resolution", "64", "--steps", "1", "--guidance", "1", "--preset", "ultrafast", "-v", "--progress", "json"]
    start = time.time()
    p = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=group.enter)
    watch = threading.Thread(target=group.watch)
    watch.start()
    messages = p.stdout.read()
    _, status, usage = os.wait4(p.pid, 0)
    group.close()
    watch.join()
    if status:
        sys.exit(messages)
    weights, activations = map(float, re.search(r"(\d+) for weights .*?(\d+) for activations", messages).groups())
    result = {"seconds": seconds, "frames": int(re.findall(r'"frames":(\d+)', messages)[-1]),
              "peak_resident_mb": round(usage.ru_maxrss * 1024 / 1e6, 1),
              "peak_cgroup_mb": round(group.peak / 1e6, 1) if group.path else None,
              "weights_and_activations_mb": weights + activations, "run_seconds": round(time.time() - start, 1),
              "original_gb": round(ORIGINAL_BYTES * seconds / 1e9, 1)}
    print(json.dumps(result), flush=True)
    return result


def main():
    folder = tempfile.mkdtemp(prefix="ls-memory-", dir=os.environ.get("TMPDIR"))
    os.chdir(folder)
    try:
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=1920x1080:r=25:d=10", "-c:v", "libx264", "-preset", "veryfast",
               "-pix_fmt", "yuv420p", "clip.mkv")
        ffmpeg("-f", "lavfi", "-i", "anoisesrc=d=10:a=0.1:r=16000", "clip.wav")
        subprocess.run([LS, "models", "random", "--size", "mini", "--out", "models"], check=True,
                       stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        results = [measure(s) for s in SECONDS]
    finally:
        shutil.rmtree(folder)
    print("\nseconds   frames   peak resident   peak cgroup   three raw copies of the video")
    for r in results:
        print(f"{r['seconds']:7}  {r['frames']:7}  {r['peak_resident_mb']:10.1f} MB  "
              f"{r['peak_cgroup_mb'] or float('nan'):8.1f} MB   {r['original_gb']:8.1f} GB")
    peaks = [r["peak_resident_mb"] for r in results]
    print(f"largest / smallest peak: {max(peaks) / min(peaks):.3f}")


main()
