#!/usr/bin/env python3
"""PyTorch in float16 on a card, on the shapes and in the units of "latentsync bench gpu": each op alone, then a guided step
of the published UNet and the VAE (the networks of tools/train, channels-last, with PyTorch's own attention).

  torch_gpu.py [PIXELS]     256 unless told
  torch_gpu.py --tiny       small shapes in float32 on the CPU, to see that it runs

Weights are random. The attention and the layout are those that suit PyTorch best: images are channels-last."""
import pathlib
import sys
import time

import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "train"))
import networks  # noqa: E402

TINY = "--tiny" in sys.argv
PIXELS = 64 if TINY else int(sys.argv[1]) if len(sys.argv) > 1 else 256
SIDE, N, RUNS = PIXELS // 8, 2 if TINY else 32, 1 if TINY else 10
FRAMES = N // 2
WHERE = dict(device="cpu" if TINY else "cuda", dtype=torch.float32 if TINY else torch.float16)
SHRINK = 10 if TINY else 1  # of channels


def seconds(run):
    """The fastest of some runs, by the card's own clock."""
    run()
    best = float("inf")
    for _ in range(RUNS):
        if TINY:
            start = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - start)
            continue
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        run()
        after.record()
        after.synchronize()
        best = min(best, before.elapsed_time(after) / 1e3)
    return best


def report(name, run, flops=0, elements=0):
    s = seconds(run)
    rate, unit = (flops / s / 1e12, "TFLOP/s") if flops else (elements * torch.finfo(WHERE["dtype"]).bits / 8 / s / 1e9, "GB/s")
    print(f"{name:<32}{s * 1e3:10.3f} {rate:8.1f} {unit}", flush=True)


def values(*shape):
    return torch.randn(*shape, **WHERE)


def image(n, c, side):
    return values(n, c, side, side).to(memory_format=torch.channels_last)


def conv(name, n, side, c, co, k=3):
    x, w, b = image(n, c, side), image(co, c, k) / (c * k * k) ** 0.5, values(co)
    report(name, lambda: F.conv2d(x, w, b, padding=k // 2), flops=2 * n * side * side * c * co * k * k)


def linear(name, rows, c, co):
    x, w, b = values(rows, c), values(co, c) / c ** 0.5, values(co)
    report(name, lambda: F.linear(x, w, b), flops=2 * rows * c * co)


def softmax_attention(q, k, v):
    return (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1) @ v


attend = getattr(F, "scaled_dot_product_attention", softmax_attention)


def attention(name, n, tokens, keys, c, heads):
    q, k, v = (values(n, heads, t, c // heads) for t in (tokens, keys, keys))
    report(name, lambda: attend(q, k, v), flops=4 * n * tokens * keys * c)


def ops():
    c, wide, widest = 320 // SHRINK, 640 // SHRINK, 1280 // SHRINK
    conv("conv 3x3 320", N, SIDE, c, c)
    conv("conv 3x3 640 at 1/2", N, SIDE // 2, wide, wide)
    conv("conv 3x3 1280 at 1/4", N, SIDE // 4, widest, widest)
    conv("conv 3x3 1280 at 1/8", N, max(SIDE // 8, 1), widest, widest)
    conv("conv 3x3 13 -> 320", N, SIDE, 13, c)
    conv("conv 3x3 320 -> 4", N, SIDE, c, 4)
    conv("conv 3x3 512 at 2, VAE", 1, 2 * SIDE, 512 // SHRINK, 512 // SHRINK)
    conv("conv 3x3 128 at 8, VAE", 1, 8 * SIDE, 128 // SHRINK, 128 // SHRINK)
    tokens = SIDE * SIDE
    linear("linear 320", N * tokens, c, c)
    linear("linear 320 -> 2560", N * tokens, c, 8 * c)
    linear("linear 5120 -> 1280 at 1/4", N * tokens // 16, 4 * widest, widest)
    attention("attention of 8 x 40", N, tokens, tokens, c, 8)
    attention("attention of 8 x 80 at 1/2", N, tokens // 4, tokens // 4, wide, 8)
    attention("attention of 8 x 160 at 1/4", N, tokens // 16, tokens // 16, widest, 8)
    attention("attention of 512, VAE", 1, tokens, tokens, 512 // SHRINK, 1)
    attention("attention to 50 tokens", N, tokens, 50, c, 8)
    attention("attention along frames", 2 * tokens, FRAMES, FRAMES, c, 8)
    x, weight = image(N, c, SIDE), values(c)
    report("group norm 320", lambda: F.silu(F.group_norm(x, 32, weight, weight)), elements=2 * x.numel())
    rows = values(N * tokens, c)
    report("layer norm 320", lambda: F.layer_norm(rows, (c,), weight, weight), elements=2 * rows.numel())
    gated = values(N * tokens, 8 * c)

    def geglu():
        a, gate = gated.chunk(2, -1)
        return a * F.gelu(gate)
    report("geglu 1280", geglu, elements=gated.numel() * 3 // 2)
    report("concat 320 + 320", lambda: torch.cat([x, x], 1), elements=4 * x.numel())


class Products:
    """Counts multiplications and additions, by hooks and by the attention below."""
    flops = 0

    def count(self, module, inputs, output):
        self.flops += 2 * output.numel() * module.weight[0].numel()

    def attention(self, q, k, v, heads):
        """In place of the networks' own, which stores the scores."""
        n, tokens, dim = q.shape
        self.flops += 4 * q.numel() * k.shape[1]
        q, k, v = (x.view(n, -1, heads, dim // heads).transpose(1, 2) for x in (q, k, v))
        return attend(q, k, v).transpose(1, 2).reshape(n, tokens, dim)

    def of(self, network, run):
        hooks = [m.register_forward_hook(self.count) for m in network.modules()
                 if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
        self.flops = 0
        run()
        for h in hooks:
            h.remove()
        return self.flops


def build(make):
    return make().to(**WHERE, memory_format=torch.channels_last).eval()


def nets():
    products = Products()
    networks.attention = products.attention
    widths, vae_widths, groups = ((32, 64, 96, 96), (16, 32, 64, 64), 8) if TINY else \
        ((320, 640, 1280, 1280), (128, 256, 512, 512), 32)
    unet = build(lambda: networks.UNet3DConditionModel(widths, 384, groups))
    if not TINY:
        torch.set_default_device("cuda")  # for constants that the forward pass makes
    sample, audio, t = image(N, 13, SIDE), values(N, 50, 384), torch.tensor([951., 951.]).to(**WHERE)

    def step():
        return unet(sample, t, audio, FRAMES)
    report(f"UNet step, 2 x {FRAMES} frames", step, flops=products.of(unet, step))
    if not TINY:
        print(f"memory: {torch.cuda.max_memory_allocated() / 1e9:.2f} GB")
    del unet
    vae = build(lambda: networks.AutoencoderKL(vae_widths, 2, 4, groups))
    picture, z = image(1, 3, PIXELS), image(1, 4, SIDE)
    for name, run in ("encode", lambda: vae.encode(picture)), ("decode", lambda: vae.decode(z)):
        report(f"VAE {name}, an image", run, flops=products.of(vae, run))


def main():
    name = "the CPU" if TINY else torch.cuda.get_device_name()
    print(f"PyTorch {torch.__version__} on {name}, {PIXELS} x {PIXELS}, {WHERE['dtype']}, N = {N}")
    if not TINY:
        torch.backends.cudnn.benchmark = True
    with torch.no_grad():
        ops()
        nets()


main()
