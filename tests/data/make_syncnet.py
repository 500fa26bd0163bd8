#!/usr/bin/python3
"""Makes syncnet.safetensors: SyncNet in PyTorch with formula weights (docs/MODEL.md), the lag of made-up embeddings, MFCC in numpy.
Written from the paper and the shapes of the published file; python_speech_features' defaults for MFCC."""
import math
import os
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "face"))
from safetensors_file import save  # noqa: E402

M64 = (1 << 64) - 1


def fill(name, shape, scale, offset=0.0):
    h = 0xcbf29ce484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001b3) & M64
    n = int(np.prod(shape))
    z = np.uint64(h) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    u = (z >> np.uint64(40)).astype(np.float64) * 2.0 ** -24
    return ((2 * u - 1) * scale + offset).astype(np.float32).reshape(shape)


def stack(dims, convs):
    """(out, in, kernel, stride, pad, pool or None) each; indices as in the published file."""
    conv, norm, pool = ((torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.MaxPool2d) if dims == 2 else
                        (torch.nn.Conv3d, torch.nn.BatchNorm3d, torch.nn.MaxPool3d))
    layers = []
    for o, i, kernel, stride, pad, p in convs:
        layers += [conv(i, o, kernel, stride, pad), norm(o), torch.nn.ReLU()]
        if p:
            layers.append(pool(*p))
    return torch.nn.Sequential(*layers)


def head():
    return torch.nn.Sequential(torch.nn.Linear(512, 512), torch.nn.BatchNorm1d(512), torch.nn.ReLU(), torch.nn.Linear(512, 1024))


class SyncNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        one = ((1, 1), (1, 1), 0)
        self.netcnnaud = stack(2, [(64, 1, 3, 1, 1, one), (192, 64, 3, 1, 1, (3, (1, 2), 0)), (384, 192, 3, 1, 1, None),
                                   (256, 384, 3, 1, 1, None), (256, 256, 3, 1, 1, (3, 2, 0)), (512, 256, (5, 4), 1, 0, None)])
        k, s, p = (1, 3, 3), (1, 2, 2), (0, 1, 1)
        self.netcnnlip = stack(3, [(96, 3, (5, 7, 7), s, 0, (k, s, 0)), (256, 96, (1, 5, 5), s, p, (k, s, p)), (256, 256, k, 1, p, None),
                                   (256, 256, k, 1, p, None), (256, 256, k, 1, p, (k, s, 0)), (512, 256, (1, 6, 6), 1, 0, None)])
        self.netfcaud, self.netfclip = head(), head()
        with torch.no_grad():
            for name, t in self.state_dict().items():
                if t.dim() >= 2:  # as five frames of three channels are one image here
                    t.copy_(torch.from_numpy(fill(name, t.shape, math.sqrt(3 / (t.numel() / t.shape[0])))))
                elif t.dim() == 1:
                    gain = name.endswith(".weight") or name.endswith(".running_var")
                    t.copy_(torch.from_numpy(fill(name, t.shape, 0.1 if gain else 0.05, 1.0 if gain else 0.0)))


def mfcc(pcm):
    """Straight from the definition, with matrices."""
    x = pcm.astype(np.float64)
    x = np.append(x[0], x[1:] - 0.97 * x[:-1])
    n = 1 + math.ceil((len(x) - 400) / 160)
    x = np.append(x, np.zeros((n - 1) * 160 + 400 - len(x)))
    power = np.abs(np.fft.rfft(np.stack([x[i * 160:i * 160 + 400] for i in range(n)]), 512)) ** 2 / 512
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 28)
    edge = np.floor(513 * 700 * (10 ** (mel / 2595) - 1) / 16000)
    bank = np.zeros((26, 257))
    for j in range(26):
        for i in range(int(edge[j]), int(edge[j + 1])):
            bank[j, i] = (i - edge[j]) / (edge[j + 1] - edge[j])
        for i in range(int(edge[j + 1]), int(edge[j + 2])):
            bank[j, i] = (edge[j + 2] - i) / (edge[j + 2] - edge[j + 1])
    eps = np.finfo(float).eps
    some = lambda a: np.where(a == 0, eps, a)
    logs = np.log(some(power @ bank.T))
    k = np.arange(13)[:, None]
    dct = np.cos(np.pi * k * (2 * np.arange(26) + 1) / 52) * np.where(k, math.sqrt(2 / 26), math.sqrt(1 / 26))
    out = (logs @ dct.T) * (1 + 11 * np.sin(np.pi * np.arange(13) / 22))
    out[:, 0] = np.log(some(power.sum(1)))
    return out


def main():
    torch.set_num_threads(1)
    t = np.arange(7013) / 16000
    pcm = (6000 * np.sin(2 * np.pi * (200 + 900 * t) * t) * (t > 0.05) + 300 * fill("pcm", t.shape, 1.0)).astype(np.int16)
    pcm[:700] = 0  # a window of silence
    cc = mfcc(pcm)
    net = SyncNet().eval()
    faces = np.floor(fill("faces", (6, 224, 224, 3), 127.5, 128)).astype(np.float32)  # BGR
    lips = torch.stack([torch.from_numpy(faces[i:i + 5].transpose(3, 0, 1, 2).copy()) for i in range(2)])
    sound = torch.stack([torch.from_numpy(cc[4 * i:4 * i + 20].T.astype(np.float32).copy())[None] for i in range(2)])
    with torch.no_grad():
        lip = net.netfclip(net.netcnnlip(lips).flatten(1))
        aud = net.netfcaud(net.netcnnaud(sound).flatten(1))
    # 40 windows whose distances have their minimum where the sound is 3 windows late
    feat = fill("embeddings", (40, 8), 1.0)
    other = np.roll(feat, 3, axis=0) + 0.3 * fill("noise", (40, 8), 1.0)
    padded = torch.nn.functional.pad(torch.from_numpy(other), (0, 0, 15, 15))
    dist = torch.stack([torch.nn.functional.pairwise_distance(torch.from_numpy(feat[i:i + 1]).repeat(31, 1), padded[i:i + 31])
                        for i in range(40)]).mean(0)
    conf = float(dist.median() - dist.min())
    # what has four bytes comes first, so that it is aligned
    save("syncnet.safetensors", {"mfcc": cc.astype(np.float32), "lips": lip.numpy(), "sound": aud.numpy(),
                                 "distances": dist.numpy(), "confidence": np.array([conf], np.float32), "pcm": pcm})
    print("offset of the original", 15 - int(dist.argmin()), "confidence", conf, "mean |lips|", lip.abs().mean().item())


if __name__ == "__main__":
    main()
