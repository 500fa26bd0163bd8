#!/usr/bin/env python3
"""Frames of a video as SCRFD's input is made of them by insightface: OpenCV's bilinear resize, top
left, the rest 0. Writes a line of JSON, then 640 x 640 x 3 bytes a frame, blue first.

  letterbox.py VIDEO [FPS] > LETTERBOXED"""
import json
import subprocess
import sys

import cv2
import numpy as np

SIZE = 640
path, fps = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "25"
stream = json.loads(subprocess.check_output(
    ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
     "stream=width,height,color_space", "-of", "json", path]))["streams"][0]
w, h = stream["width"], stream["height"]
matrix = stream.get("color_space", "unknown")
if matrix not in ("bt709", "smpte170m", "bt470bg"):
    matrix = "bt709" if h >= 720 or w >= 1280 else "bt601"
new_h = SIZE if h > w else int(SIZE * (h / w))
new_w = int(SIZE / (h / w)) if h > w else SIZE
frames = subprocess.Popen(
    ["ffmpeg", "-v", "error", "-nostdin", "-i", path, "-r", fps, "-vf",
     f"scale=in_color_matrix={matrix}:flags=bilinear+full_chroma_int+accurate_rnd",
     "-f", "rawvideo", "-pix_fmt", "bgr24", "-"], stdout=subprocess.PIPE)
out = sys.stdout.buffer
out.write(json.dumps({"w": w, "h": h, "scale": new_h / h}).encode() + b"\n")
while len(raw := frames.stdout.read(w * h * 3)) == w * h * 3:
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    picture[:new_h, :new_w] = cv2.resize(np.frombuffer(raw, np.uint8).reshape(h, w, 3),
                                         (new_w, new_h))
    out.write(picture.tobytes())
sys.exit(frames.wait())
