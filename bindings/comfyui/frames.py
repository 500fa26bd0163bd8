"""Batches of images as video files and back, one frame in memory besides ComfyUI's. They are Y'CbCr 4:4:4 with 10 bits,
which holds every color of 8 bits and is what the program works on unconverted."""
from fractions import Fraction

import comfy.model_management
import numpy as np

from . import files

TOP = 1023
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.299 / 1.772, -0.587 / 1.772, 0.5], [0.5, -0.587 / 1.402, -0.114 / 1.402]], np.float32)
TO_RGB = np.linalg.inv(TO_YCC.astype(np.float64)).astype(np.float32)
ZERO = np.array([0, 512, 512], np.float32)
LOSSLESS = ["--video-codec", "ffv1", "--pixel-format", "yuv444p10le"]


def _y4m(images, rate):
    rate = Fraction(rate).limit_denominator(1001)
    _, height, width = images.shape[:3]
    yield (f"YUV4MPEG2 W{width} H{height} F{rate.numerator}:{rate.denominator} Ip A1:1 C444p10 XCOLORRANGE=FULL\n").encode()
    for image in images:
        pixels = image[..., :3].cpu().float().numpy().reshape(-1, 3)
        planes = TO_YCC @ pixels.T * TOP + ZERO[:, None]
        yield b"FRAME\n" + np.rint(planes).clip(0, TOP).astype("<u2").tobytes()


def write(images, rate):
    return files.by_content(".y4m", _y4m(images, rate))


def read(path, height, width):
    """The frames, of that size; where a codec has added a row or column, without it."""
    import av
    import torch
    with av.open(path) as container:
        count = sum(1 for packet in container.demux(video=0) if packet.size)
    images = torch.empty((count, height, width, 3))
    with av.open(path) as container:
        for i, frame in enumerate(container.decode(video=0)):
            comfy.model_management.throw_exception_if_processing_interrupted()
            planes = np.stack([np.frombuffer(plane, "<u2").reshape(frame.height, -1)[:height, :width] for plane in frame.planes], -1)
            images[i] = torch.from_numpy(((planes - ZERO) @ TO_RGB.T / TOP).clip(0, 1))
    return images
