"""Trains the decoder of a finished VAE on, for the latents that its encoder makes: a UNet that was trained on these stays valid.

Colours are those of the drawn speakers, not tinted at random as in train_vae.py: part of a colour that the latents do not tell can be
known from the rest, skin being what it is.
"""
import argparse
import copy
import math
import os
import time

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

from data import Clips
from train_unet import load_vae
from train_vae import HELD_OUT, SCALING_FACTOR, edges, pixels

NOISE = 0.1  # deviation of what is added to the latents, whose own is 1: a UNet errs by more


def weight_map(mask):
    """What is generated counts more than what is kept, and the mouth most."""
    y, x = np.mgrid[0:128, 0:128]
    near = np.exp(-((x - 64) / 30) ** 4 - ((y - 84) / 22) ** 4)
    return 0.3 + 1.7 * (1 - mask) + 2 * torch.from_numpy(near.astype(np.float32))


def loss_of(error, weight):
    fidelity = (error.abs() * weight).mean() + 2 * (error ** 2 * weight).mean()
    sharp = sum((e.abs() * w).mean() for e, w in zip(edges(error), (weight[..., 1:], weight[..., 1:, :])))
    # a wrong tint costs little at each pixel, but is what an eye sees first
    tint = sum(F.avg_pool2d(error * weight.clamp(max=2), n).abs().mean() for n in (4, 16))
    return fidelity + sharp + tint


def main():
    p = argparse.ArgumentParser()
    p.add_argument("clips")
    p.add_argument("--vae", required=True, help="vae.pt, or the file of a model directory")
    p.add_argument("--out", required=True)
    p.add_argument("--steps", type=int, default=1500)
    p.add_argument("--lr", type=float, default=8e-4)
    args = p.parse_args()
    os.makedirs(args.out, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(31)
    rng = np.random.default_rng(31)
    clips = Clips(args.clips)
    train = len(clips) - HELD_OUT
    mask = torch.from_numpy(clips.mask.astype(np.float32) / 255)
    weight = weight_map(mask)
    before = load_vae(args.vae).to(memory_format=torch.channels_last)
    vae, average = copy.deepcopy(before).train(), copy.deepcopy(before)
    params, averages = ([*v.decoder.parameters(), *v.post_quant_conv.parameters()] for v in (vae, average))
    opt = torch.optim.AdamW(params, lr=args.lr, weight_decay=0, betas=(0.9, 0.99))

    @torch.no_grad()
    def encode(x):
        return before.encode(x.contiguous(memory_format=torch.channels_last))[:, :4]

    test = pixels(clips.faces[train:, 9])
    latents, generated = encode(test), 1 - mask

    @torch.no_grad()
    def evaluate():
        """PSNR of what is generated and of the mouth; RMS error of the means of 8 x 8 pixels of it, in levels."""
        error = average.decode(latents).clamp(-1, 1) - test
        psnr = lambda e, w: -10 * math.log10((e ** 2 * w).sum() / w.expand_as(e).sum() / 4)
        mouth = torch.zeros(128, 128)
        mouth[72:104, 36:92] = 1
        return psnr(error, generated), psnr(error, mouth), F.avg_pool2d(error * generated, 8).pow(2).mean().sqrt() * 127.5

    log = open(os.path.join(args.out, "decoder.csv"), "w", buffering=1)
    log.write("step,loss,test_generated_psnr,test_mouth_psnr,test_tint\n")
    start, sums = time.time(), []
    for step in range(args.steps + 1):
        if step % 250 == 0 or step == args.steps:
            line = "%d,%.5f,%.2f,%.2f,%.2f" % (step, np.mean(sums or [math.nan]), *evaluate())
            log.write(line + "\n")
            print(line, "%.0f s" % (time.time() - start), flush=True)
            sums = []
        if step == args.steps:
            break
        for g in opt.param_groups:
            g["lr"] = args.lr * min(1, (step + 1) / 30) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / args.steps)))
        x = pixels(np.stack([clips.faces[rng.integers(train), rng.integers(clips.faces.shape[1])] for _ in range(4)]))
        if rng.random() < 0.5:
            x = x.flip(3)
        z = encode(x)
        loss = loss_of(vae.decode(z + torch.randn_like(z) * (NOISE / SCALING_FACTOR)) - x, weight)
        opt.zero_grad()
        loss.backward()
        if torch.isfinite(nn.utils.clip_grad_norm_(params, 1.0)):
            opt.step()
        keep = min(0.99, (step + 2) / (step + 11))
        with torch.no_grad():
            for a, b in zip(averages, params):
                a.lerp_(b, 1 - keep)
        sums.append(loss.item())
    torch.save({k: v.contiguous() for k, v in average.state_dict().items()}, os.path.join(args.out, "vae.pt"))


if __name__ == "__main__":
    main()
