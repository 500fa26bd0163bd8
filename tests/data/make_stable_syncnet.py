#!/usr/bin/python3
"""Makes stable_syncnet.safetensors: small StableSyncNets in PyTorch with formula weights (docs/MODEL.md), and their spectrogram in numpy.
Written from the description of the network and the spectrogram in LatentSync's repository."""
import math

import numpy as np
import torch
from make_syncnet import fill, save
from torch import nn

GROUPS, HEADS = 32, 8


class Resnet(nn.Module):
    def __init__(self, i, o, factor):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, i, eps=1e-6), nn.Conv2d(i, o, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, o, eps=1e-6), nn.Conv2d(o, o, 3, padding=1)
        if i != o:
            self.conv_shortcut = nn.Conv2d(i, o, 1)
        rows, columns = factor if isinstance(factor, tuple) else (factor, factor)
        self.pad = None
        if (rows, columns) != (1, 1):
            self.downsample_conv = nn.Conv2d(o, o, 3, stride=(rows, columns))
            self.pad = (int(columns == 1), 1, int(rows == 1), 1)  # left, right, top, bottom

    def forward(self, x):
        silu = nn.functional.silu
        y = self.conv2(silu(self.norm2(self.conv1(silu(self.norm1(x))))))
        y = y + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)
        return self.downsample_conv(nn.functional.pad(y, self.pad)) if self.pad else y


class SelfAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.to_q, self.to_k, self.to_v = nn.Linear(c, c), nn.Linear(c, c), nn.Linear(c, c)
        self.to_out = nn.ModuleList([nn.Linear(c, c)])

    def forward(self, x):
        q, k, v = (f(x).unflatten(2, (HEADS, -1)).transpose(1, 2) for f in (self.to_q, self.to_k, self.to_v))
        weights = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]), -1)
        return self.to_out[0]((weights @ v).transpose(1, 2).flatten(2))


class Gate(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.proj = nn.Linear(c, 8 * c)

    def forward(self, x):
        a, gate = self.proj(x).chunk(2, -1)
        return a * nn.functional.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.net = nn.Sequential(Gate(c), nn.Identity(), nn.Linear(4 * c, c))

    def forward(self, x):
        return self.net(x)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = nn.GroupNorm(GROUPS, c, eps=1e-6), nn.LayerNorm(c), nn.LayerNorm(c)
        self.conv_in, self.conv_out = nn.Conv2d(c, c, 1), nn.Conv2d(c, c, 1)
        self.attn, self.ff = SelfAttention(c), FeedForward(c)

    def forward(self, x):
        y = self.conv_in(self.norm1(x)).flatten(2).transpose(1, 2)
        y = y + self.attn(self.norm2(y))
        y = y + self.ff(self.norm3(y))
        return x + self.conv_out(y.transpose(1, 2).reshape(x.shape))


class Encoder(nn.Module):
    def __init__(self, channels, widths, factors, attends):
        super().__init__()
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down_blocks, i = nn.ModuleList(), widths[0]
        for o, factor, a in zip(widths, factors, attends):
            self.down_blocks.extend([Resnet(i, o, factor)] + [Attention(o)] * a)
            i = o
        self.norm_out = nn.GroupNorm(GROUPS, i, eps=1e-6)

    def forward(self, x):
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        x = torch.relu(self.norm_out(x))
        assert x.shape[2:] == (1, 1)
        return nn.functional.normalize(x.flatten(1))


class StableSyncNet(nn.Module):
    def __init__(self, frames, audio, visual):
        super().__init__()
        self.audio_encoder, self.visual_encoder = Encoder(1, *audio), Encoder(3 * frames, *visual)
        with torch.no_grad():
            for name, t in self.state_dict().items():
                gain = name.endswith(".weight")
                scale, offset = (math.sqrt(3 / (t.numel() / t.shape[0])), 0) if t.dim() > 1 else (0.1, 1.0) if gain else (0.05, 0.0)
                t.copy_(torch.from_numpy(fill(name, t.shape, scale, offset)))


# as configs/syncnet/ has them, but narrower
SMALL = {16: (([32, 32, 64, 64, 64, 64, 96], [(2, 1), 2, 2, 1, 2, 2, (2, 3)], [0, 0, 0, 1, 1, 0, 0]),
              ([32, 32, 64, 64, 64, 64, 64, 96], [(1, 2), 2, 2, 2, 2, 2, 2, 2], [0, 0, 0, 0, 1, 1, 0, 0])),
         25: (([32, 64, 64, 64, 64, 64], [2] * 6, [0] * 6), ([32, 32, 32, 32, 64, 64, 64, 64], [(1, 2)] + [2] * 7, [0] * 8))}


def mel_filters():
    mel = lambda f: f * 3 / 200 if f < 1000 else 15 + 27 * np.log(f / 1000) / np.log(6.4)
    hz = lambda m: np.where(m < 15, m * 200 / 3, 1000 * np.exp(np.log(6.4) * (m - 15) / 27))
    edges = hz(np.linspace(mel(55), mel(7600), 82))
    f = np.arange(401) * 20.0
    bank = np.zeros((80, 401))
    for i in range(80):
        low, peak, high = edges[i:i + 3]
        bank[i] = np.maximum(0, np.minimum((f - low) / (peak - low), (high - f) / (high - peak))) * 2 / (high - low)
    return bank.astype(np.float32)


def spectrogram(pcm):
    """As librosa's: windows around their middle, zeros beside the ends. [time, 80]"""
    x = pcm / 32768
    x[1:] -= 0.97 * (pcm / 32768)[:-1]
    x = np.pad(x, 400)
    n = 1 + len(pcm) // 200
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 800)
    magnitude = np.abs(np.fft.rfft(np.stack([x[i * 200:i * 200 + 800] for i in range(n)]) * window))
    db = 20 * np.log10(np.maximum(1e-5, magnitude @ mel_filters().T)) - 20
    return np.clip(8 * (db + 100) / 100 - 4, -4, 4)


def main():
    torch.set_num_threads(1)
    t = np.arange(17013) / 16000
    pcm = (6000 * np.sin(2 * np.pi * (200 + 900 * t) * t) * (t > 0.05) + 300 * fill("pcm", t.shape, 1.0)).astype(np.int16)
    pcm[:700] = 0  # silent
    mel = spectrogram(pcm)
    faces = np.floor(fill("faces", (26, 128, 256, 3), 127.5, 128)).astype(np.float32) / 127.5 - 1
    out = {"mel": mel.astype(np.float32)}
    for frames, (audio, visual) in SMALL.items():
        net = StableSyncNet(frames, audio, visual).eval()
        columns = math.ceil(frames / 5 * 16)
        starts = [int(80.0 * (i / 25.0)) for i in range(2)]
        lips = torch.stack([torch.from_numpy(faces[i:i + frames].transpose(0, 3, 1, 2).reshape(-1, 128, 256).copy()) for i in range(2)])
        sound = torch.stack([torch.from_numpy(mel[s:s + columns].T.astype(np.float32).copy())[None] for s in starts])
        with torch.no_grad():
            out[f"lips{frames}"], out[f"sound{frames}"] = net.visual_encoder(lips).numpy(), net.audio_encoder(sound).numpy()
        print(frames, "frames,", columns, "columns, starts", starts, "cosines", (out[f"lips{frames}"] * out[f"sound{frames}"]).sum(1))
    save("stable_syncnet.safetensors", {**out, "pcm": pcm})


if __name__ == "__main__":
    main()
