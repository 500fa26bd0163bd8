#!/usr/bin/python3
"""Makes detect.safetensors: what OpenCV makes of the pictures that test_face_detect computes.

usage: make_goldens.py SHARED    (needs OpenCV 4.6; SHARED has models/ and golden/onnx/)
"""

import os
import sys

import cv2
import numpy as np

from safetensors_file import save

# picture and letterbox sizes
LETTERBOXES = [
    (288, 192, 96, 64),  # down by 3
    (192, 128, 96, 64),  # by 2
    (132, 88, 96, 64),  # by 1.375
    (40, 24, 100, 60),  # up by 2.5
    (1, 50, 96, 96),
    (7, 1, 70, 70),
    (90, 160, 96, 96),
    (333, 187, 96, 96),
    (96, 64, 96, 64),
    (61, 47, 150, 64),
]
BOXES = [
    (100.25, 80.5, 180.75, 170.125),
    (-30.5, 60, 70.25, 170),
    (250.125, 60.5, 350.5, 150.25),
    (120.5, -40.25, 200, 50.75),
    (90, 190.5, 200.5, 290.125),
    (400.5, 300.5, 450.5, 390.5),
    (160.125, 120.25, 163.5, 124.75),
    (-900.5, -700.25, 1200.25, 1000.5),
    (104.0, 64.0, 232.0, 192.0),  # a pixel a pixel
]


def picture(w, h):
    y, x, c = np.mgrid[0:h, 0:w, 0:3]
    v = 3 * x + 5 * y + 40 * c + ((7 * x * x + 13 * y * y + 11 * x * y + 17 * c) >> 3)
    return (v & 255).astype(np.uint8)


def letterbox(img, w, h):
    """insightface/model_zoo/scrfd.py: SCRFD.detect"""
    ratio = float(img.shape[0]) / img.shape[1]
    if ratio > float(h) / w:
        new_h = h
        new_w = int(new_h / ratio)
    else:
        new_w = w
        new_h = int(new_w * ratio)
    out = np.zeros((h, w, 3), np.uint8)
    out[:new_h, :new_w] = cv2.resize(img, (new_w, new_h))
    return out, float(new_h) / img.shape[0]


def square(box):
    """insightface/model_zoo/landmark.py: Landmark.get, utils/face_align.py: transform"""
    w, h = box[2] - box[0], box[3] - box[1]
    s = 192 / (max(w, h) * 1.5)
    cx, cy = (box[2] + box[0]) / 2, (box[3] + box[1]) / 2
    return np.array([[s, 0, 96 - cx * s], [0, s, 96 - cy * s]])


def overlap(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def yunet(shared):
    """Rows of box, score, points: libfacedetection's decoding of what cv2.dnn computes."""
    img = cv2.imread(os.path.join(shared, "golden/onnx/t1_letterbox_640_bgr.png"))
    net = cv2.dnn.readNet(os.path.join(shared, "models/yunet_n_640_640.onnx"))
    net.setInput(cv2.dnn.blobFromImage(img))
    names = net.getUnconnectedOutLayersNames()
    out = dict(zip(names, net.forward(names)))
    rows = []
    for s in (8, 16, 32):
        n = 640 // s
        gy, gx = (g.reshape(-1, 1) for g in np.mgrid[0:n, 0:n])
        cls, obj, box, kps = (out["%s_%d" % (k, s)][0].astype(float)
                              for k in ("cls", "obj", "bbox", "kps"))
        score = np.sqrt(cls.clip(0, 1) * obj.clip(0, 1))
        centre = (box[:, :2] + np.hstack([gx, gy])) * s
        half = np.exp(box[:, 2:]) * s / 2
        points = (kps + np.tile(np.hstack([gx, gy]), 5)) * s
        rows.append(np.hstack([centre - half, centre + half, score, points]))
    rows = np.vstack(rows)
    rows = rows[rows[:, 4] >= 0.5]
    faces = []
    for r in rows[np.argsort(-rows[:, 4], kind="stable")]:
        worst = max([overlap(r, f) for f in faces], default=0)
        assert not 0.35 < worst < 0.45, "the convention of the overlap would tell"
        if worst <= 0.4:
            faces.append(r)
    return np.array(faces)


def main():
    t = {"letterbox.sizes": np.array(LETTERBOXES, np.int64)}
    scales = []
    for i, (w, h, to_w, to_h) in enumerate(LETTERBOXES):
        t["letterbox.%d" % i], scale = letterbox(picture(w, h), to_w, to_h)
        scales.append(scale)
    t["letterbox.scales"] = np.array(scales)
    # of each column one channel, of each second row, to keep the file small
    t["crop.boxes"] = np.array(BOXES, np.float64)
    u = np.arange(192)
    img = picture(320, 240)
    for i, box in enumerate(BOXES):
        crop = cv2.warpAffine(img, square(box), (192, 192), borderValue=0.0)
        t["crop.%d" % i] = np.ascontiguousarray(crop[::2, u, u % 3])
    t["crop.squares"] = np.array([square(b)[[0, 0, 1], [0, 2, 2]] for b in BOXES])
    t["yunet.faces"] = yunet(sys.argv[1])
    # doubles want to be at whole multiples of 8
    order = sorted(t, key=lambda k: t[k].itemsize, reverse=True)
    here = os.path.dirname(os.path.abspath(__file__))
    save(os.path.join(here, "detect.safetensors"), {k: t[k] for k in order})
    print("%d faces by YuNet" % len(t["yunet.faces"]))


if __name__ == "__main__":
    main()
