#!/usr/bin/env python3
"""OpenCV's DNN module on the CPU: median ms a run, one JSON line.

  opencv_dnn.py THREADS MODEL PICTURE [GOLDEN]

PICTURE is a file of 640 x 640 x 3 bytes, blue first; GOLDEN as for ort.mjs."""
import glob
import json
import os
import statistics
import sys
import time

import cv2
import numpy as np

WARMUP, RUNS = 5, 40


def cpu():
    """Seconds: of CPU that everybody but this process has used; of the clock."""
    user, nice, system, _, _, irq, soft = map(int, open("/proc/stat").readline().split()[1:8])
    ticks = user + nice + system + irq + soft
    return ticks / os.sysconf("SC_CLK_TCK") - sum(os.times()[:2]), time.perf_counter()


threads, model, picture = int(sys.argv[1]), sys.argv[2], sys.argv[3]
cv2.setNumThreads(threads)
net = cv2.dnn.readNetFromONNX(model)
net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
image = np.fromfile(picture, np.uint8).reshape(640, 640, 3)
blob = (cv2.dnn.blobFromImage(image) if "yunet" in model else
        cv2.dnn.blobFromImage(image, 1 / 128, (640, 640), (127.5,) * 3, swapRB=True))
names, ms, load = net.getUnconnectedOutLayersNames(), [], os.getloadavg()[0]
before = cpu()
for i in range(WARMUP + RUNS):
    net.setInput(blob)
    start = time.perf_counter()
    outputs = net.forward(names)
    if i >= WARMUP:
        ms.append((time.perf_counter() - start) * 1000)
after = cpu()
result = {"runtime": "OpenCV " + cv2.__version__, "threads": threads,
          "model": os.path.basename(model), "median_ms": round(statistics.median(ms), 1),
          "min_ms": round(min(ms), 1), "load_before": load,
          "others_cores": round((after[0] - before[0]) / (after[1] - before[1]), 2)}
if len(sys.argv) > 4:
    worst = 0
    for path in glob.glob(sys.argv[4] + ".out*.f32"):
        shape = [int(n) for n in path.split(".")[-2].split("x")]  # outputs come in another order
        got = next(o for o in outputs if o.shape[-2:] == tuple(shape[-2:]))
        want = np.fromfile(path, np.float32)
        worst = max(worst, float(np.abs(got.ravel() - want).max() / np.abs(want).max()))
    result["difference"] = worst
print(json.dumps(result))
