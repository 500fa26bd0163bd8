"""Trains the VAE on faces of the drawn speakers, whole and with the mouth greyed out as the UNet is shown them.

At the end quant_conv and post_quant_conv are scaled so that each channel of latents x 0.18215 has mean 0 and deviation 1 over
the faces, which is what the noise schedule expects.
"""
import argparse
import math
import os
import time

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

from data import Clips
from networks import AutoencoderKL

CHANNELS, LAYERS, GROUPS = (16, 16, 32, 64), 1, 8
CROPS = 0.75  # of the time: pieces of 64 x 64, a quarter of the work
SCALING_FACTOR = 0.18215
HELD_OUT = 50  # clips, the last


def pixels(faces):
    """uint8 [n, 128, 128, 3] -> [n, 3, 128, 128] in -1..1."""
    return torch.from_numpy(np.array(faces)).permute(0, 3, 1, 2).float() / 127.5 - 1


def weight_map():
    """The region of the mouth counts more."""
    y, x = np.mgrid[0:128, 0:128]
    near = np.exp(-((x - 64) / 30) ** 4 - ((y - 84) / 22) ** 4)
    return torch.from_numpy((1 + 2 * near).astype(np.float32))


def edges(x):
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def loss_of(vae, x, weight, kl_weight, noise):
    mean, logvar = vae.encode(x).chunk(2, 1)
    logvar = logvar.clamp(-30, 20)
    z = mean + torch.exp(logvar / 2) * torch.randn_like(mean) * noise
    y = vae.decode(z)
    error = (y - x).abs()
    fidelity = (error * weight).mean() + 2 * ((y - x) ** 2 * weight).mean()
    sharp = sum((a - b).abs().mean() for a, b in zip(edges(y), edges(x)))
    kl = 0.5 * (mean ** 2 + logvar.exp() - 1 - logvar).mean()
    return fidelity + sharp + kl_weight * kl, y


def main():
    p = argparse.ArgumentParser()
    p.add_argument("clips")
    p.add_argument("--out", required=True)
    p.add_argument("--steps", type=int, default=3300)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--kl", type=float, default=2e-4)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--stop", type=int, default=3000, help="the rest of the steps is better spent on whole pictures, with --resume")
    p.add_argument("--resume", help="vae.part.pt, before its latents were scaled, to go on from with whole pictures")
    args = p.parse_args()
    torch.manual_seed(2)
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(2)
    clips = Clips(args.clips)
    mask = torch.from_numpy(clips.mask.astype(np.float32) / 255)
    count, frames = clips.faces.shape[:2]
    train = count - HELD_OUT
    vae = AutoencoderKL(CHANNELS, LAYERS, 4, GROUPS).to(memory_format=torch.channels_last)
    if args.resume:
        vae.load_state_dict(torch.load(args.resume))
    opt = torch.optim.AdamW(vae.parameters(), lr=args.lr, weight_decay=0, betas=(0.9, 0.99))
    average = {k: v.clone() for k, v in vae.state_dict().items()}
    weight = weight_map()
    os.makedirs(args.out, exist_ok=True)
    before = open(os.path.join(os.path.dirname(args.resume), "vae.csv")).readlines() if args.resume else ["step,loss,test_psnr,test_mouth_psnr\n"]
    log = open(os.path.join(args.out, "vae.csv"), "w", buffering=1)
    log.writelines(before)
    logged = int(before[-1].split(",")[0]) if args.resume else 0
    test = pixels(clips.faces[train:, ::11].reshape(-1, 128, 128, 3)[:64])

    def psnr():
        saved = {k: v.clone() for k, v in vae.state_dict().items()}
        vae.load_state_dict(average)
        with torch.no_grad():
            e = (vae.decode(vae.encode(test)[:, :4]).clamp(-1, 1) - test) ** 2 / 4
        vae.load_state_dict(saved)
        return -10 * math.log10(e.mean()), -10 * math.log10(e[:, :, 72:104, 36:92].mean())

    start, sums, step = time.time(), [], 0
    while step < min(args.steps, args.stop):
        done = step / args.steps
        for g in opt.param_groups:
            g["lr"] = args.lr * min(1, (step + 1) / 200) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
        size, n = (64, 2 * args.batch) if done < CROPS and not args.resume else (128, args.batch)
        which = rng.integers(0, train, n)
        x = pixels(np.stack([clips.faces[c, rng.integers(0, frames)] for c in which]))
        if rng.random() < 0.5:
            x = x.flip(3)
        tint = torch.from_numpy(rng.uniform(0.85, 1.1, (n, 3, 1, 1)).astype(np.float32))
        x = ((x + 1) * tint - 1).clamp(-1, 1)
        x[:n // 4] *= mask
        top, left = rng.integers(0, 129 - size), rng.integers(0, 129 - size)
        if size < 128 and rng.random() < 0.6:  # the mouth
            top, left = rng.integers(40, 65), rng.integers(16, 49)
        crop = (..., slice(top, top + size), slice(left, left + size))
        loss, _ = loss_of(vae, x[crop].contiguous(memory_format=torch.channels_last), weight[crop], args.kl, 1.0)
        opt.zero_grad()
        loss.backward()
        if torch.isfinite(nn.utils.clip_grad_norm_(vae.parameters(), 1.0)):
            opt.step()
        with torch.no_grad():
            keep = min(0.998, (step + 1) / (step + 10))
            for k, v in vae.state_dict().items():
                average[k].lerp_(v, 1 - keep)
        sums.append(loss.item())
        step += 1
        if step % min(250, args.steps // 4) == 0:
            line = "%d,%.5f,%.2f,%.2f" % (logged + step, np.mean(sums), *psnr())
            log.write(line + "\n")
            print(line, "%.0f s" % (time.time() - start), flush=True)
            sums = []
            torch.save(average, os.path.join(args.out, "vae.part.pt"))
    vae.load_state_dict(average)
    with torch.no_grad():
        some = pixels(clips.faces[:train:3, ::9].reshape(-1, 128, 128, 3))
        means = torch.cat([vae.encode(b)[:, :4] for b in some.split(16)])
        mu, sd = means.mean((0, 2, 3)), means.std((0, 2, 3))
        scale = 1 / (SCALING_FACTOR * sd)
        q, d = vae.quant_conv, vae.post_quant_conv
        # z' = (z - mu) * scale; the decoder undoes it
        q.weight[:4] *= scale.view(4, 1, 1, 1)
        q.bias[:4] = (q.bias[:4] - mu) * scale
        # the noise of the posterior served the training: the UNet is to see the means, as good as they are
        q.weight[4:], q.bias[4:] = 0, -20
        d.bias += (d.weight[:, :, 0, 0] * mu).sum(1)
        d.weight /= scale.view(1, 4, 1, 1)
        print("done: %d steps, psnr %.2f, at the mouth %.2f" % (step, *psnr_of(vae, test)))
    torch.save(vae.state_dict(), os.path.join(args.out, "vae.pt"))


def psnr_of(vae, test):
    e = (vae.decode(vae.encode(test)[:, :4]).clamp(-1, 1) - test) ** 2 / 4
    return -10 * math.log10(e.mean()), -10 * math.log10(e[:, :, 72:104, 36:92].mean())


if __name__ == "__main__":
    main()
