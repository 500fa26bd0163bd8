"""Trains a small detector of faces and their five points on scenes of drawn speakers, and writes it as an ONNX file with the
outputs of YuNet: cls, obj, bbox and kps at strides 8, 16 and 32."""
import argparse
import math
import os
import time

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

import onnx_file

SIDE, STRIDES, FACES, LABEL = 320, (8, 16, 32), 4, 15
WIDTHS = (16, 32, 64, 96, 128)  # after each halving
LARGEST = (48, 110, 1e9)  # pixels of a face that each stride finds
CAUTION = 3.0  # taken off the logits of scores when they are exported: above 0.5 there are faces then, and nothing but faces
OUTPUTS = (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))


class Unit(nn.Module):
    """Depthwise 3x3, then 1x1; the first of all is an ordinary convolution."""

    def __init__(self, n_in, n_out, stride=1, plain=False):
        super().__init__()
        self.plain = plain
        if not plain:
            self.depth = nn.Conv2d(n_in, n_in, 3, stride, 1, groups=n_in)
        self.point = nn.Conv2d(n_in, n_out, 3 if plain else 1, stride if plain else 1, 1 if plain else 0, bias=False)
        self.norm = nn.BatchNorm2d(n_out)

    def forward(self, x):
        return F.relu(self.norm(self.point(x if self.plain else self.depth(x))))

    def folded(self):
        """(weight, bias, stride, padding, groups) of each convolution, the norm in the last."""
        scale = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        last = (self.point.weight * scale.view(-1, 1, 1, 1), self.norm.bias - self.norm.running_mean * scale,
                self.point.stride[0], self.point.padding[0], 1)
        first = [] if self.plain else [(self.depth.weight, self.depth.bias, self.depth.stride[0], 1, self.depth.groups)]
        return first + [last]


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        w = WIDTHS
        self.stages = nn.ModuleList([
            nn.ModuleList([Unit(3, w[0], 2, True), Unit(w[0], w[1], 2), Unit(w[1], w[1]), Unit(w[1], w[2], 2), Unit(w[2], w[2]), Unit(w[2], w[2])]),
            nn.ModuleList([Unit(w[2], w[3], 2), Unit(w[3], w[3]), Unit(w[3], w[3])]),
            nn.ModuleList([Unit(w[3], w[4], 2), Unit(w[4], w[4]), Unit(w[4], w[4]), Unit(w[4], w[4])])])
        self.heads = nn.ModuleList(nn.Conv2d(n, sum(k for _, k in OUTPUTS), 1) for n in w[2:])
        for head in self.heads:
            nn.init.constant_(head.bias[:2], -4.0)

    def forward(self, x):
        """BGR 0..255 -> per stride [n, 16, h, w]."""
        out = []
        for stage, head in zip(self.stages, self.heads):
            for unit in stage:
                x = unit(x)
            out.append(head(x))
        return out


def targets(labels):
    """[n, FACES, LABEL] -> per stride scores [n, 1, h, w] (-1: does not count), boxes and points relative to cells [n, 14, h, w]."""
    result = []
    size = ((labels[..., 3] - labels[..., 1]) * (labels[..., 4] - labels[..., 2])).clamp(min=0).sqrt()
    smallest = 0
    for stride, largest in zip(STRIDES, LARGEST):
        cells = SIDE // stride
        y, x = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
        score = torch.zeros(len(labels), 1, cells, cells)
        where = torch.zeros(len(labels), 14, cells, cells)
        for face in range(FACES):
            f = labels[:, face, :, None, None]
            s = size[:, face, None, None]
            cx, cy = (f[:, 1] + f[:, 3]) / 2 / stride, (f[:, 2] + f[:, 4]) / 2 / stride
            near = torch.maximum((x - cx).abs(), (y - cy).abs())
            mine = (f[:, 0] > 0) & (s > 12) & (s > smallest * 0.8) & (s < largest * 1.25)
            positive = mine & (near < 0.8)
            # elsewhere, in a face for a coarser stride, an eye is not a face
            reach = torch.where(mine, torch.clamp(0.35 * s / stride, min=1.0), torch.ones_like(s))
            unsure = (f[:, 0] > 0) & ~positive & (near < reach)
            score[:, 0][unsure & (score[:, 0] == 0)] = -1
            score[:, 0][positive] = 1
            w, h = (f[:, 3] - f[:, 1]).clamp(min=1) / stride, (f[:, 4] - f[:, 2]).clamp(min=1) / stride
            values = [cx - x, cy - y, w.log().expand_as(near), h.log().expand_as(near)]
            for k in range(5):
                values += [f[:, 5 + 2 * k] / stride - x, f[:, 6 + 2 * k] / stride - y]
            where = torch.where(positive[:, None], torch.stack(values, 1), where)
        result.append((score, where))
        smallest = largest
    return result


def loss_of(out, wanted):
    total, count = 0, 0
    for o, (score, where) in zip(out, wanted):
        known, positive = (score >= 0).float(), (score > 0).float()
        for channel in (0, 1):
            p = torch.sigmoid(o[:, channel:channel + 1])
            hard = (p - score.clamp(min=0)).abs() ** 2  # focal
            bce = F.binary_cross_entropy_with_logits(o[:, channel:channel + 1], score.clamp(min=0), reduction="none")
            total = total + (bce * hard * known * (1 + 3 * positive)).sum()
        far = F.smooth_l1_loss(o[:, 2:], where, beta=0.1, reduction="none")
        total = total + ((far[:, :4].sum(1, keepdim=True) + 0.6 * far[:, 4:].sum(1, keepdim=True)) * positive).sum()
        count = count + positive.sum()
    return total / count.clamp(min=1)


def varied(x, labels, rng):
    """Mirrored, other colours, contrast, noise, blur: [n, 3, h, w] BGR 0..255."""
    if rng.random() < 0.5:
        x = x.flip(3)
        l = labels.clone()
        l[..., [1, 3]] = SIDE - 1 - labels[..., [3, 1]]
        l[..., [5, 7, 9, 11, 13]] = SIDE - 1 - labels[..., [7, 5, 9, 13, 11]]
        l[..., [6, 8, 10, 12, 14]] = labels[..., [8, 6, 10, 14, 12]]
        labels = l * labels[..., :1]
    n = len(x)
    uniform = lambda a, b, *shape: torch.from_numpy(rng.uniform(a, b, (n, *shape)).astype(np.float32))
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * uniform(0, 1.4, 1, 1, 1)
    x = (x - 127) * uniform(0.5, 1.3, 1, 1, 1) * uniform(0.85, 1.15, 3, 1, 1) + 127 + uniform(-50, 50, 1, 1, 1)
    coarse = torch.from_numpy(rng.normal(size=(n, 3, 12, 12)).astype(np.float32))
    x = x + F.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic") * uniform(0, 25, 1, 1, 1)
    if rng.random() < 0.4:
        x = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0, mode="bilinear")
    x = x + torch.from_numpy(rng.normal(size=x.shape).astype(np.float32)) * uniform(0, 14, 1, 1, 1)
    return x.clamp(0, 255), labels


def export(net, path):
    nodes, tensors, outputs, x = [], {}, {}, "input"
    name = lambda: "t%d" % len(nodes)

    def conv(x, weight, bias, stride, padding, groups):
        out = name()
        tensors[out + ".w"], tensors[out + ".b"] = weight.detach().numpy(), bias.detach().numpy()
        nodes.append(onnx_file.node("Conv", [x, out + ".w", out + ".b"], out, kernel_shape=list(weight.shape[2:]), strides=[stride] * 2,
                                    pads=[padding] * 4, group=groups, dilations=[1, 1]))
        return out

    def op(kind, inputs, out=None, **attributes):
        out = out or name()
        nodes.append(onnx_file.node(kind, inputs, out, **attributes))
        return out

    for stage, head, stride in zip(net.stages, net.heads, STRIDES):
        for unit in stage:
            for layer in unit.folded():
                x = conv(x, *layer)
            x = op("Relu", [x])
        at, rows = 0, (SIDE // stride) ** 2
        for role, n in OUTPUTS:
            y = conv(x, head.weight[at:at + n], head.bias[at:at + n] - CAUTION * (n == 1), 1, 0, 1)
            at += n
            y = op("Transpose", [y], perm=[0, 2, 3, 1])
            shape, out = "shape_%d" % n, "%s_%d" % (role, stride)
            tensors[shape] = np.array([1, -1, n], np.int64)
            y = op("Reshape", [y, shape], None if n == 1 else out)
            if n == 1:
                op("Sigmoid", [y], out)
            outputs[out] = (1, rows, n)
    onnx_file.write(path, "faces", nodes, tensors, {"input": (1, 3, SIDE, SIDE)}, outputs)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("scenes")
    p.add_argument("--out", required=True, help="ONNX file")
    p.add_argument("--steps", type=int, default=2500)
    p.add_argument("--batch", type=int, default=12)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--threads", type=int, default=1)
    args = p.parse_args()
    torch.manual_seed(4)
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(4)
    pictures = np.memmap(os.path.join(args.scenes, "scenes.u8"), np.uint8, "r").reshape(-1, SIDE, SIDE, 3)
    labels = np.fromfile(os.path.join(args.scenes, "scenes.f32"), np.float32).reshape(-1, FACES, LABEL)
    test = len(pictures) - 100
    net = Detector()
    print("%d parameters" % sum(v.numel() for v in net.parameters()))
    opt = torch.optim.AdamW(net.parameters(), lr=args.lr, weight_decay=1e-4)
    given = lambda which: (torch.from_numpy(pictures[which][..., ::-1].copy()).permute(0, 3, 1, 2).float(), torch.from_numpy(labels[which]))
    start, sums = time.time(), []
    for step in range(args.steps):
        for g in opt.param_groups:
            g["lr"] = args.lr * min(1, (step + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / args.steps)))
        x, l = varied(*given(rng.integers(0, test, args.batch)), rng)
        loss = loss_of(net(x), targets(l))
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        opt.step()
        sums.append(loss.item())
        if step % 200 == 199:
            net.eval()
            with torch.no_grad():
                held = [given(slice(a, a + 20)) for a in range(test, test + 100, 20)]
                value = np.mean([loss_of(net(x), targets(l)).item() for x, l in held])
            net.train()
            print("%d: %.4f, test %.4f, %.0f s" % (step + 1, np.mean(sums), value, time.time() - start), flush=True)
            sums = []
    export(net.eval(), args.out)


if __name__ == "__main__":
    main()
