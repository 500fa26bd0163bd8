"""Trains the UNet on latents of the VAE and features of the audio encoder, both trained before and computed once.

A head that is thrown away afterwards reads the mouth off the middle block where there is little but noise to see: it tells the cross attention
in minutes what to listen for, which the denoising alone would in hours (the original has SyncNet for that).

The reference, and the face whose mouth is greyed out, are the same head at the same moment while it says something else: what the
network is given in use, where the original's training has to take another stretch of the clip. So head and wall can be copied, but
neither mouth nor jaw.

As the original's training: the noise is mixed of one part that all frames share and one of their own, because sampling starts from
noise that all frames share, while noise shared in full would tell the network how frames differ; now and then there is no audio,
for guidance.

With --guide W the target is moved by W times what the audio changes, the network's answer less that of the averaged weights without
audio (Tang et al., 2025, "Diffusion Models without Classifier-free Guidance"): where the noise is plenty, the weights then hold the
guidance of 1 / (1 - W), and any asked for multiplies it.
"""
import argparse
import contextlib
import copy
import math
import os
import random
import time

import numpy as np
import torch
from torch import distributed, multiprocessing, nn
import torch.nn.functional as F

from data import MOUTH, Clips
from files import read_safetensors
from networks import ALPHAS, SCALING_FACTOR, AudioEncoder, AutoencoderKL, UNet3DConditionModel, denoise, feature_rows, log_mel
from train_audio import HEADS, LAYERS as AUDIO_LAYERS, STATE, WINDOW
from train_vae import CHANNELS as VAE_CHANNELS, GROUPS, LAYERS as VAE_LAYERS, pixels

CHANNELS, LAYERS, ATTENTIONS, MOTIONS = (48, 96, 96), 1, (False, True, True), (False, True, False)
HELD_OUT = 50  # clips, the last, as the VAE
VIEWS = 3  # of the audio: at other places of a window, among other recordings
READING = 3.0  # weight of what the head reads; with --start it has less to teach, and first of all to learn


def make_unet():
    return UNet3DConditionModel(CHANNELS, STATE, GROUPS, LAYERS, attentions=ATTENTIONS, motions=MOTIONS)


def load_audio(path):
    """From train_audio.py or a model directory, as the other two."""
    encoder, saved = AudioEncoder(80, WINDOW // 2, STATE, HEADS, AUDIO_LAYERS), torch.load(path)
    encoder.load_state_dict(saved["encoder"] if "encoder" in saved else
                            {k[len("encoder."):]: v.float() for k, v in saved["model_state_dict"].items()})
    return encoder.eval()


def load_vae(path):
    vae = AutoencoderKL(VAE_CHANNELS, VAE_LAYERS, 4, GROUPS)
    vae.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in read_safetensors(path)[0].items()}
                        if path.endswith(".safetensors") else torch.load(path))
    return vae.eval()


def load_unet(path):
    unet, saved = make_unet(), torch.load(path)
    unet.load_state_dict(saved["average"] if "average" in saved else {k: v.float() for k, v in saved["state_dict"].items()})
    return unet.eval()


@torch.no_grad()
def encode_faces(args, begin, end):
    """-> latents [clips, frames, 3, 4, 16, 16] float16: of the face to be made, of the source's with its mouth greyed out, and whole."""
    torch.set_num_threads(1)
    clips, vae = Clips(args.clips), load_vae(args.vae).to(memory_format=torch.channels_last)
    mask = torch.from_numpy(clips.mask.astype(np.float32) / 255)
    out = np.empty((end - begin, clips.faces.shape[1], 3, 4, 16, 16), np.float16)
    for i in range(begin, end):
        for j, (face, source) in enumerate(zip(pixels(clips.faces[i]).split(8), pixels(clips.sources[i]).split(8))):
            images = torch.cat([face, source * mask, source]).contiguous(memory_format=torch.channels_last)
            mean = vae.encode(images)[:, :4] * SCALING_FACTOR
            out[i - begin, 8 * j:8 * j + 8] = torch.stack(mean.chunk(3), 1).numpy()
    return out


@torch.no_grad()
def encode_speech(args, seed):
    """-> features [clips, frames, 10 * depth, STATE] float16 of the frames with pictures, each clip somewhere in 30 s."""
    torch.set_num_threads(1)
    clips, encoder = Clips(args.clips), load_audio(args.audio)
    rng = random.Random(seed)
    frames = clips.faces.shape[1]
    out = torch.zeros(len(clips), frames, 10 * (AUDIO_LAYERS + 1), STATE, dtype=torch.float16)
    order = list(range(len(clips)))
    rng.shuffle(order)
    while order:
        parts, places, length = [], [], 0
        while order and length + len(clips.mouths[order[-1]]) < WINDOW // 2:
            clip = order.pop()
            gap = rng.randrange(0, 30) if rng.random() < 0.7 else 0
            n = len(clips.mouths[clip])
            parts.append(np.concatenate([np.zeros(gap * 320), clips.samples[clip][:n * 320] * 10 ** rng.uniform(-0.6, 0.2)]))
            places.append((clip, length + gap))
            length += gap + n
        samples = np.concatenate(parts)
        samples = samples + np.random.default_rng(rng.randrange(2**31)).standard_normal(len(samples)) * 10 ** rng.uniform(-0.5, 1.5)
        mel = log_mel(np.clip(samples, -32768, 32767).astype(np.int16))
        mel = np.pad(mel[:, :WINDOW], ((0, 0), (0, max(0, WINDOW - mel.shape[1]))))
        embeddings = encoder(torch.from_numpy(mel)[None])[0]
        rows = torch.tensor(min(length, WINDOW // 2))
        for clip, start in places:
            if start % 2 == 1:
                start += 1  # half a frame: less than the mouth's own width in time
            frame = start // 2 + clips.first[clip] + torch.arange(frames)
            out[clip] = embeddings[feature_rows(frame, rows.expand(frames))].flatten(1, 2)
    return out.numpy()


def cached(path, make):
    """An array in a file, of which all processes together hold one copy."""
    if not os.path.exists(path):
        np.save(path + ".part.npy", make())
        os.replace(path + ".part.npy", path)
    return np.load(path, mmap_mode="r")


def tensor(array):
    return torch.from_numpy(array.astype(np.float32))


def opening_of(faces):
    """How dark the mouth is, [n, 3, 128, 128] in -1..1 -> [n]."""
    luma = (faces * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1)
    return (-0.5 - luma[:, 68:112, 36:92]).clamp(min=0).sum((1, 2))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("clips")
    p.add_argument("--audio", help="without it only the faces are encoded")
    p.add_argument("--vae", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--steps", type=int, default=3700)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--workers", type=int, default=2, help="processes of one thread; each adds a batch of its own to a step")
    p.add_argument("--batch", type=int, default=32, help="frames of a worker in a step")
    p.add_argument("--report", type=int, default=500, help="steps between two lines of the log")
    p.add_argument("--resume", help="unet.part.pt to go on from")
    p.add_argument("--start", help="UNet of a model directory to begin with")
    p.add_argument("--guide", type=float, default=0.0, help="guidance to be learned, 0 to 0.5")
    args = p.parse_args()
    os.makedirs(args.out, exist_ok=True)
    prepare(args)
    if args.audio:
        port = os.path.join(os.path.abspath(args.out), "rendezvous")
        with contextlib.suppress(FileNotFoundError):
            os.remove(port)
        multiprocessing.spawn(work, (args, port), args.workers)


def prepare(args):
    """What the workers read: latents and features, made once."""
    def pool(make, each):
        with multiprocessing.get_context("spawn").Pool(args.workers) as p:
            return p.starmap(make, each, 1)

    count, block = len(Clips(args.clips)), 50
    latents = cached(os.path.join(args.out, "faces.npy"), lambda: np.concatenate(
        pool(encode_faces, [(args, i, min(i + block, count)) for i in range(0, count, block)])))
    features = args.audio and cached(os.path.join(args.out, "speech.npy"), lambda: np.stack(
        pool(encode_speech, [(args, seed) for seed in range(VIEWS)])))
    return latents, features


def work(rank, args, port):
    """One of the processes that train together: the same weights, other batches, the mean of their gradients."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group("gloo", "file://" + port, rank=rank, world_size=args.workers)
    clips, (latents, features) = Clips(args.clips), prepare(args)
    vae = load_vae(args.vae)
    count, length = latents.shape[:2]
    train = count - HELD_OUT
    said = torch.stack([torch.from_numpy(np.pad(m[2 * f:2 * (f + length):2], ((0, length), (0, 0)))[:length])
                        for m, f in zip(clips.mouths, clips.first)])  # [clips, frames, 6]
    pixels_kept = torch.from_numpy(clips.mask.astype(np.float32) / 255)
    mask = pixels_kept[::8, ::8]
    # lips and jaw count most: wherever target and source differ
    some = tensor(latents[:train:8, ::4])
    differ = (some[:, :, 0] - some[:, :, 2]).pow(2).mean((0, 1, 2))
    weight = (1 - F.avg_pool2d(pixels_kept[None], 8)[0]) * (1 + 4 * (differ / differ.max()).sqrt()) + 0.05
    weight = weight / weight.mean()

    torch.manual_seed(3)
    unet, reader, seen = make_unet(), nn.Linear(CHANNELS[-1], len(MOUTH)), []
    if args.start:
        unet.load_state_dict(load_unet(args.start).state_dict())
    average = copy.deepcopy(unet)
    step = 0
    unet.mid_block.resnets[1].register_forward_hook(lambda module, args, out: seen.append(out.mean((2, 3))))
    params = [*unet.parameters(), *reader.parameters()]
    gradient, at = torch.zeros(sum(p.numel() for p in params)), 0
    for p in params:  # all of them in one piece, which the workers add up
        p.grad = gradient[at:at + p.numel()].view_as(p)
        at += p.numel()
    opt = torch.optim.AdamW(params, lr=args.lr, weight_decay=0.01, betas=(0.9, 0.99))
    if args.resume:
        saved = torch.load(args.resume)
        unet.load_state_dict(saved["unet"])
        reader.load_state_dict(saved["reader"])
        average.load_state_dict(saved["average"])
        opt.load_state_dict(saved["opt"])
        step = saved["step"]
    if rank == 0:
        log = open(os.path.join(args.out, "unet.csv"), "a" if args.resume else "w", buffering=1)
        if not args.resume:
            log.write("step,loss,reading_loss,test_loss,test_correlation\n")
        print("%d parameters" % sum(p.numel() for p in unet.parameters()), flush=True)
    rng, shared = (np.random.default_rng([3, r, step]) for r in (rank, args.workers))
    torch.manual_seed(3000 + 1000 * step + rank)

    def rest_of(face):
        return torch.cat([mask.expand(len(face), 1, 16, 16), face[:, 1], face[:, 2]], 1)

    def batch(clip_range, n, frames, generator):
        """-> latents x, rest [n * frames, ...], audio, of n stretches."""
        x, rest, audio, mouth = [], [], [], []
        for clip in generator.integers(*clip_range, n):
            a = generator.integers(0, length - frames + 1)
            face = tensor(latents[clip, a:a + frames])
            x.append(face[:, 0])
            rest.append(rest_of(face))
            heard = tensor(features[generator.integers(VIEWS), clip, a:a + frames])
            audio.append(heard * float(generator.random() > 0.12))
            mouth.append(said[clip, a:a + frames])
        return torch.cat(x), torch.cat(rest), torch.cat(audio), torch.cat(mouth)

    def loss_of(net, data, n, frames, u, guide=0.0):
        x, rest, audio, mouth = data
        t = (999 * u).long()
        each = t.repeat_interleave(frames)
        a = ALPHAS[each].view(-1, 1, 1, 1)
        noise = (torch.randn(n, 1, 4, 16, 16) + torch.randn(n, frames, 4, 16, 16)) * 0.5 ** 0.5
        noise = noise.flatten(0, 1)
        sample = torch.cat([a.sqrt() * x + (1 - a).sqrt() * noise, rest], 1)
        guess, target = net(sample, t, audio, frames), noise.clone()
        guided = (t > 250) & (audio.view(n, -1).abs().amax(1) > 0)
        if guide and guided.any():
            rows = guided.repeat_interleave(frames)
            with torch.no_grad():
                target[rows] += guide * (guess[rows] - average(sample[rows], t[guided], torch.zeros_like(audio[rows]), frames))
        # as an error of x0 where it is noise that is plenty, but not to the end
        scale = ((1 - a) / a).clamp(1, 12)
        denoising = ((guess - target) ** 2 * weight * scale).mean()
        if net is not unet:
            return denoising, None
        heard = (audio.abs().amax((1, 2)) > 0) * each / 999
        read = seen.pop()
        read = reader(read.detach() if args.start and step < 100 else read)
        return denoising, ((read - mouth).square().mean(1) * heard).mean()

    def evaluate():
        generator = np.random.default_rng(11)
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(11)
            test = [loss_of(average, batch((train, count), 4, 16, generator), 4, 16, torch.rand(4))[0].item() for _ in range(4)]
            guess, want = [], []
            for clip in range(train, train + 6):
                rest = rest_of(tensor(latents[clip, :16]))
                out = denoise(average, torch.randn(1, 4, 16, 16), rest, tensor(features[0, clip, :16]), 16, 8, 1.0)
                got = opening_of(vae.decode(out / SCALING_FACTOR))
                guess.append((got - got.mean()) / (got.std() + 1e-6))
                o = said[clip, :16, 0]
                want.append((o - o.mean()) / (o.std() + 1e-6))
        return np.mean(test), np.corrcoef(torch.cat(guess), torch.cat(want))[0, 1]

    def save(name):
        torch.save({"unet": unet.state_dict(), "reader": reader.state_dict(), "average": average.state_dict(), "opt": opt.state_dict(), "step": step}, os.path.join(args.out, name + ".tmp"))
        os.replace(os.path.join(args.out, name + ".tmp"), os.path.join(args.out, name))

    start, sums = time.time(), []
    while step < args.steps:
        done = step / args.steps
        for g in opt.param_groups:
            g["lr"] = args.lr * min(1, (step + 1) / (60 if args.start else 300)) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        frames = (4, 8, 16)[shared.integers(3)] if done < 0.6 else 16
        n = args.batch // frames
        u = (torch.arange(n) + torch.rand(n)) / n  # all levels of noise in each batch
        loss, reading = loss_of(unet, batch((0, train), n, frames, rng), n, frames, u[torch.randperm(n)], args.guide)
        gradient.zero_()
        (loss + (1 if args.start else READING) * reading).backward()
        distributed.all_reduce(gradient)
        gradient /= args.workers
        if torch.isfinite(nn.utils.clip_grad_norm_(params, 1.0)):
            opt.step()
        step += 1
        keep = min(0.998, (step + 1) / (step + 10))
        with torch.no_grad():
            for a, b in zip(average.parameters(), unet.parameters()):
                a.lerp_(b, 1 - keep)
        if rank:
            continue
        sums.append((loss.item(), reading.item()))
        if step % args.report == 0 or step == args.steps:
            line = "%d,%.5f,%.5f,%.5f,%.4f" % (step, *np.mean(sums, 0), *evaluate())
            log.write(line + "\n")
            print(line, "%.0f s" % (time.time() - start), flush=True)
            sums = []
            save("unet.part.pt")
    if rank == 0:
        save("unet.pt")


if __name__ == "__main__":
    main()
