"""Trains the Whisper-style encoder as a predictor of mouths.

It comes before the UNet: a denoiser's gradient tells an encoder next to nothing about sounds, while the drawn speakers' mouths
are known exactly. What the encoder must learn is not only the mouth at a row of 20 ms but to be read as the UNet reads it: ten
rows around a frame, without their order (SPEC 2.5). So the second loss goes through a probe that has, like the UNet, nothing but
cross attention to these tokens.
"""
import argparse
import math
import os
import random
import time

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

from data import Clips, MOUTH
from networks import AudioEncoder, log_mel

STATE, HEADS, LAYERS = 96, 6, 3
WINDOW, PIECE = 3000, 600  # mel frames: what the encoder hears at once, and in training, 25 times cheaper; tests are on whole windows
RATE = 16000


class Probe(nn.Module):
    """Cross attention, twice, from one query a frame to its audio tokens."""

    def __init__(self, dim, heads=8, rounds=3):
        super().__init__()
        self.start = nn.Parameter(torch.randn(dim) * 0.1)
        self.heads = heads
        make = lambda n_in, n_out: nn.ModuleList(nn.Linear(n_in, n_out) for _ in range(rounds))
        self.q, self.k, self.v = make(dim, dim), make(dim, dim), make(dim, dim)
        self.norm = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2 * rounds))
        self.up, self.down = make(dim, 4 * dim), make(4 * dim, dim)
        self.out = nn.Linear(dim, len(MOUTH))

    def forward(self, tokens):  # [n, tokens, dim]
        n, t, d = tokens.shape
        split = lambda x: x.view(n, -1, self.heads, d // self.heads).transpose(1, 2)
        x = self.start.expand(n, 1, d)
        for i in range(len(self.q)):
            q, k, v = split(self.q[i](self.norm[2 * i](x))), split(self.k[i](tokens)), split(self.v[i](tokens))
            weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(d // self.heads), -1)
            x = x + (weights @ v).transpose(1, 2).reshape(n, 1, d)
            x = x + self.down[i](F.gelu(self.up[i](self.norm[2 * i + 1](x))))
        return self.out(x[:, 0])


CLOCK = 16  # channels that tell the position
OFFSETS = ((-1, 1, -3, 3, -6, 6), (-2, 2, -5, 5, -9, 9), (0, -1, 1, -3, 3, 5))  # rows that the heads of each layer look at first


def look_around(encoder):
    """Weights to begin with: attention finds its neighbours by their position, which it would take hours to discover.

    The last channels hold sines and cosines of the row; a head's query is that of a row some steps away."""
    omega = torch.logspace(math.log10(0.04), math.log10(1.3), CLOCK // 2)
    angle = torch.arange(WINDOW // 2)[:, None] * omega
    clock = torch.stack([angle.sin(), angle.cos()], 2).flatten(1)
    width = STATE // HEADS
    with torch.no_grad():
        encoder.positional_embedding.zero_()
        encoder.positional_embedding[:, -CLOCK:] = clock
        encoder.conv2.weight[-CLOCK:] = 0
        encoder.conv2.bias[-CLOCK:] = 0
        for block, offsets in zip(encoder.blocks, OFFSETS):
            q, k = block.attn["query"], block.attn["key"]
            for out in (block.attn["out"], block.mlp[2]):
                out.weight[-CLOCK:] = 0
                out.bias[-CLOCK:] = 0
            q.weight.mul_(0.1)
            k.weight.mul_(0.1)
            q.bias.zero_()
            for head, offset in enumerate(offsets):
                for f in range(CLOCK // 2):
                    c, s = torch.cos(omega[f] * offset), torch.sin(omega[f] * offset)
                    row, column = head * width + 2 * f, STATE - CLOCK + 2 * f
                    q.weight[row:row + 2, column:column + 2] = 1.8 * torch.stack([torch.stack([c, s]), torch.stack([-s, c])])
                    k.weight[row:row + 2, column:column + 2] = 1.8 * torch.eye(2)


def make_window(clips, indices, rng, size):
    """Recordings one after another, with pauses, as one recording -> mel [80, size], mouths [size / 2, 6], rows."""
    limit, parts, targets, length = size * 160, [], [], 0
    wanted = rng.uniform(0.1, 1) * limit if rng.random() < 0.5 else limit
    while length < wanted:
        clip = rng.choice(indices)
        gap = rng.randrange(0, 40) * 320 if rng.random() < 0.5 else 0
        gain = 10 ** rng.uniform(-0.8, 0.3)
        rows = len(clips.mouths[clip])
        part = np.concatenate([np.zeros(gap), clips.samples[clip][:rows * 320] * gain])
        parts.append(part)
        targets += [np.zeros((gap // 320, len(MOUTH)), np.float32), clips.mouths[clip]]
        length += len(part)
    samples = np.concatenate(parts)[:limit]
    noise = 10 ** rng.uniform(-0.5, 2.3) if rng.random() < 0.7 else 0
    samples = samples + np.random.default_rng(rng.randrange(2**31)).standard_normal(len(samples)) * noise
    mel = np.asarray(log_mel(np.clip(samples, -32768, 32767).astype(np.int16)))
    rows = mel.shape[1] // 2
    mel = mel[:, :2 * rows]
    bands = np.clip(np.arange(80) * (1 + rng.uniform(-0.1, 0.1)) + rng.uniform(-1.5, 1.5), 0, 79)  # another vocal tract
    low = np.minimum(bands.astype(int), 78)
    part = (bands - low)[:, None].astype(np.float32)
    mel = mel[low] * (1 - part) + mel[low + 1] * part
    mel = mel + (rng.uniform(-0.15, 0.15) + rng.uniform(-0.2, 0.2) * np.linspace(-1, 1, 80)[:, None]).astype(np.float32)
    window = np.zeros((80, size), np.float32)
    window[:, :2 * rows] = mel
    mouths = np.zeros((size // 2, len(MOUTH)), np.float32)
    target = np.concatenate(targets)[:rows]
    mouths[:len(target)] = target
    return window, mouths, min(rows, len(target))


class Windows(torch.utils.data.Dataset):
    """Endless different windows; item i is the same in every run."""

    def __init__(self, clips, indices, seed, count, size):
        self.clips, self.indices, self.seed, self.count, self.size = clips, indices, seed, count, size

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        return make_window(self.clips, self.indices, random.Random(self.seed * 1000003 + i), self.size)


def tokens_of(embeddings, frames, rows):
    """[B, 1500, depth, state] -> [frames, 10 * depth, state] for lists of (window, frame)."""
    window, frame = frames
    index = (2 * frame[:, None] + torch.arange(-4, 6)[None])
    index = torch.minimum(index.clamp(min=0), rows[window][:, None] - 1)
    return embeddings[window[:, None], index].flatten(1, 2)


def losses(encoder, head, probe, mel, mouths, rows, frames_each):
    emb = encoder(mel, random.randrange(0, (WINDOW - mel.shape[2]) // 2 + 1))
    valid = (torch.arange(emb.shape[1])[None] < rows[:, None])
    by_row = ((head(emb[:, :, -1]) - mouths) ** 2)[valid].mean()
    window = torch.arange(len(mel)).repeat_interleave(frames_each)
    frame = (torch.rand(len(window)) * (rows[window] // 2)).long()
    guess = probe(tokens_of(emb, (window, frame), rows))
    want = mouths[window, 2 * frame]
    return by_row, ((guess - want) ** 2).mean(), guess, want


def main():
    p = argparse.ArgumentParser()
    p.add_argument("clips", nargs="+", help="folders of tools/train/clips")
    p.add_argument("--out", required=True)
    p.add_argument("--steps", type=int, default=4500)
    p.add_argument("--stop", type=int, default=3900, help="before the last steps, which change next to nothing")
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--threads", type=int, default=1)
    args = p.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    clips = Clips(args.clips[0])
    for folder in args.clips[1:]:
        more = Clips(folder)
        clips.samples += more.samples
        clips.mouths += more.mouths
    test = list(range(0, len(clips.samples), 25))
    train = [i for i in range(len(clips.samples)) if i % 25]
    encoder = AudioEncoder(80, 1500, STATE, HEADS, LAYERS)
    look_around(encoder)
    head, probe = nn.Linear(STATE, len(MOUTH)), Probe(STATE)
    params = [*encoder.parameters(), *head.parameters(), *probe.parameters()]
    opt = torch.optim.AdamW(params, lr=args.lr, weight_decay=0.01, betas=(0.9, 0.98))
    collate = lambda items: [torch.as_tensor(np.stack(x)) for x in zip(*items)]
    load = lambda indices, seed, n, size, batch: torch.utils.data.DataLoader(
        Windows(clips, indices, seed, n * batch, size), batch, num_workers=1, collate_fn=collate)
    os.makedirs(args.out, exist_ok=True)
    log = open(os.path.join(args.out, "audio.csv"), "w", buffering=1)
    log.write("step,row_loss,probe_loss,test_row_loss,test_probe_loss,test_correlation\n")
    held = list(load(test, 2, 4, WINDOW, 2))
    start, sums, step = time.time(), [], 0

    def evaluate():
        with torch.no_grad():
            torch.manual_seed(7)
            out = [losses(encoder, head, probe, *b, 128) for b in held]
        guess, want = torch.cat([o[2] for o in out])[:, 0], torch.cat([o[3] for o in out])[:, 0]
        return (sum(o[0].item() for o in out) / len(out), sum(o[1].item() for o in out) / len(out),
                np.corrcoef(guess.numpy(), want.numpy())[0, 1])

    for batch in load(train, 1, args.steps, PIECE, 16):
        done = step / args.steps
        for g in opt.param_groups:
            g["lr"] = args.lr * min(1, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        by_row, by_frame, _, _ = losses(encoder, head, probe, *batch, 256 // len(batch[0]))
        opt.zero_grad()
        (by_row + by_frame).backward()
        if torch.isfinite(nn.utils.clip_grad_norm_(params, 0.5)):
            opt.step()
        sums.append((by_row.item(), by_frame.item()))
        step += 1
        if step % min(100, args.steps // 4) == 0:
            mean = np.mean(sums, 0)
            e = evaluate()
            line = "%d,%.5f,%.5f,%.5f,%.5f,%.4f" % (step, *mean, *e)
            log.write(line + "\n")
            print(line, "%.0f s" % (time.time() - start), flush=True)
            sums = []
            torch.save({"encoder": encoder.state_dict(), "head": head.state_dict(), "probe": probe.state_dict()},
                       os.path.join(args.out, "audio.part.pt"))
        if step == args.stop:
            break
    print("done: %d steps" % step, evaluate())
    torch.save({"encoder": encoder.state_dict(), "head": head.state_dict(), "probe": probe.state_dict()},
               os.path.join(args.out, "audio.pt"))


if __name__ == "__main__":
    main()
