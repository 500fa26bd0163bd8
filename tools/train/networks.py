"""The networks of LatentSync in PyTorch, with the published names of weights, at any size; and the audio front end.

Twins of src/models: tools/train/check_twin.py holds them to the golden tensors of the original, and tests/ hold the C graphs to
them on the trained weights.
"""
import math

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F


# ---- audio: whisper/audio.py and whisper/model.py

def mel_filters():
    """librosa.filters.mel(sr=16000, n_fft=400, n_mels=80): Slaney's scale and norm -> [80, 201]."""
    def to_hz(mel):
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))
    edges = to_hz(np.linspace(0, 15 + np.log(8) / (np.log(6.4) / 27), 82))
    hz = np.linspace(0, 8000, 201)
    rise = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    return (np.maximum(0, np.minimum(rise, fall)) * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


_FILTERS = mel_filters()
_WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)).astype(np.float32)


def log_mel(samples):
    """int16 at 16 kHz -> [80, T], T = samples // 160."""
    x = np.pad(samples.astype(np.float32) / 32768, 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(x, 400)[::160][:len(samples) // 160]
    power = np.abs(np.fft.rfft(frames * _WINDOW)) ** 2
    mel = np.log10(np.maximum(_FILTERS @ power.T.astype(np.float32), 1e-10))
    return (np.maximum(mel, mel.max() - 8) + 4).astype(np.float32) / 4


class _AudioBlock(nn.Module):
    def __init__(self, state, heads):
        super().__init__()
        self.attn = nn.ModuleDict({"query": nn.Linear(state, state), "key": nn.Linear(state, state, bias=False),
                                   "value": nn.Linear(state, state), "out": nn.Linear(state, state)})
        self.attn_ln = nn.LayerNorm(state)
        self.mlp = nn.Sequential(nn.Linear(state, 4 * state), nn.GELU(), nn.Linear(4 * state, state))
        self.mlp_ln = nn.LayerNorm(state)
        self.heads = heads

    def forward(self, x):
        y = self.attn_ln(x)
        x = x + self.attn["out"](attention(self.attn["query"](y), self.attn["key"](y), self.attn["value"](y), self.heads))
        return x + self.mlp(self.mlp_ln(x))


class AudioEncoder(nn.Module):
    def __init__(self, n_mels, n_audio_ctx, n_audio_state, n_audio_head, n_audio_layer):
        super().__init__()
        self.conv1 = nn.Conv1d(n_mels, n_audio_state, 3, padding=1)
        self.conv2 = nn.Conv1d(n_audio_state, n_audio_state, 3, stride=2, padding=1)
        self.positional_embedding = nn.Parameter(torch.zeros(n_audio_ctx, n_audio_state))
        self.blocks = nn.ModuleList(_AudioBlock(n_audio_state, n_audio_head) for _ in range(n_audio_layer))
        self.ln_post = nn.LayerNorm(n_audio_state)  # in the file, but not in the result

    def forward(self, mel, start=0):
        """[B, 80, 3000] -> [B, 1500, layers + 1, state]: the first block's input, and the output of each. A shorter piece
        of a window stands at its position `start`."""
        # transposed before the GELU: PyTorch 1.13's derivative of it is wrong where the gradient is not contiguous
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel))).transpose(1, 2).contiguous())
        x = x + self.positional_embedding[start:start + x.shape[1]]
        out = [x]
        for block in self.blocks:
            out.append(block(out[-1]))
        return torch.stack(out, 2)


def attention(q, k, v, heads):
    """[n, queries, dim] and [n, keys, dim] -> [n, queries, dim]."""
    n, tokens, dim = q.shape
    width = dim // heads
    split = lambda x: x.reshape(n, -1, heads, width).transpose(1, 2).reshape(n * heads, -1, width)
    scores = split(q) * width ** -0.5 @ split(k).transpose(1, 2)
    return (scores.softmax(-1) @ split(v)).view(n, heads, tokens, width).transpose(1, 2).reshape(n, tokens, dim)


# ---- diffusers' AutoencoderKL

def group_norm(norm, x, frames=1):
    """x [B * F, C, H, W]; the statistics of a group are over all frames of a row of the batch."""
    weight, bias = norm.weight.to(x.dtype), norm.bias.to(x.dtype)
    if frames == 1:
        return F.group_norm(x, norm.num_groups, weight, bias, norm.eps)
    n, c, h, w = x.shape
    x = x.view(-1, frames, c, h, w).transpose(1, 2).reshape(n // frames, c, -1)
    x = F.group_norm(x, norm.num_groups, weight, bias, norm.eps)
    return x.view(-1, c, frames, h, w).transpose(1, 2).reshape(n, c, h, w)


class _Resnet(nn.Module):
    def __init__(self, n_in, n_out, groups, eps, temb=0):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, n_in, eps)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1)
        if temb:
            self.time_emb_proj = nn.Linear(temb, n_out)
        self.norm2 = nn.GroupNorm(groups, n_out, eps)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        if n_in != n_out:
            self.conv_shortcut = nn.Conv2d(n_in, n_out, 1)

    def forward(self, x, temb=None, frames=1):
        """temb [B, temb]."""
        h = self.conv1(F.silu(group_norm(self.norm1, x, frames)))
        if temb is not None:
            h = h + self.time_emb_proj(F.silu(temb)).repeat_interleave(frames, 0)[:, :, None, None]
        h = self.conv2(F.silu(group_norm(self.norm2, h, frames)))
        return h + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class _Resample(nn.Module):
    """A convolution after nearest upsampling, or one of stride 2."""

    def __init__(self, channels, up, padding=1):
        super().__init__()
        self.up = up
        self.pad = not up and not padding
        self.conv = nn.Conv2d(channels, channels, 3, stride=1 if up else 2, padding=padding)

    def forward(self, x):
        if self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.pad else x)


class _VaeAttention(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, 1e-6)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x):
        n, c, h, w = x.shape
        y = group_norm(self.group_norm, x).view(n, c, h * w).transpose(1, 2)
        y = self.to_out[0](attention(self.to_q(y), self.to_k(y), self.to_v(y), 1))
        return x + y.transpose(1, 2).view(n, c, h, w)


class _VaeMiddle(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        self.resnets = nn.ModuleList(_Resnet(channels, channels, groups, 1e-6) for _ in range(2))
        self.attentions = nn.ModuleList([_VaeAttention(channels, groups)])

    def forward(self, x):
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class _VaeCoder(nn.Module):
    """Encoder or decoder."""

    def __init__(self, n_in, n_out, channels, layers, groups, up):
        super().__init__()
        order = channels[::-1] if up else channels
        self.conv_in = nn.Conv2d(n_in, order[0], 3, padding=1)
        blocks = nn.ModuleList()
        for i, width in enumerate(order):
            block = nn.Module()
            block.resnets = nn.ModuleList(_Resnet(order[max(i - 1, 0)] if j == 0 else width, width, groups, 1e-6)
                                          for j in range(layers + up))
            if i + 1 < len(order):
                resample = nn.ModuleList([_Resample(width, up, padding=1 if up else 0)])
                setattr(block, "upsamplers" if up else "downsamplers", resample)
            blocks.append(block)
        setattr(self, "up_blocks" if up else "down_blocks", blocks)
        self.mid_block = _VaeMiddle(channels[-1], groups)
        self.conv_norm_out = nn.GroupNorm(groups, order[-1], 1e-6)
        self.conv_out = nn.Conv2d(order[-1], n_out, 3, padding=1)
        self.up = up

    def forward(self, x):
        x = self.conv_in(x)
        x = self.mid_block(x) if self.up else x
        for block in (self.up_blocks if self.up else self.down_blocks):
            for resnet in block.resnets:
                x = resnet(x)
            for resample in getattr(block, "upsamplers" if self.up else "downsamplers", ()):
                x = resample(x)
        x = x if self.up else self.mid_block(x)
        return self.conv_out(F.silu(group_norm(self.conv_norm_out, x)))


class AutoencoderKL(nn.Module):
    def __init__(self, block_out_channels, layers_per_block, latent_channels, groups):
        super().__init__()
        self.encoder = _VaeCoder(3, 2 * latent_channels, list(block_out_channels), layers_per_block, groups, False)
        self.decoder = _VaeCoder(latent_channels, 3, list(block_out_channels), layers_per_block, groups, True)
        self.quant_conv = nn.Conv2d(2 * latent_channels, 2 * latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(latent_channels, latent_channels, 1)

    def encode(self, image):
        """[n, 3, 8h, 8w] -> moments [n, 8, h, w]: mean, then log variance."""
        return self.quant_conv(self.encoder(image))

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))


# ---- the original's UNet3DConditionModel

class _FeedForward(nn.Module):
    def __init__(self, dim):
        super().__init__()
        geglu = nn.Module()
        geglu.proj = nn.Linear(dim, 8 * dim)
        self.net = nn.ModuleList([geglu, nn.Identity(), nn.Linear(4 * dim, dim)])

    def forward(self, x):
        a, gate = self.net[0].proj(x).chunk(2, -1)
        return self.net[2](a * F.gelu(gate))


class _Attention(nn.Module):
    def __init__(self, dim, context, heads):
        super().__init__()
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k, self.to_v = (nn.Linear(context, dim, bias=False) for _ in range(2))
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.heads = heads

    def forward(self, x, context):
        return self.to_out[0](attention(self.to_q(x), self.to_k(context), self.to_v(context), self.heads))


class _SpatialBlock(nn.Module):
    def __init__(self, dim, context, heads):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.attn1, self.attn2 = _Attention(dim, dim, heads), _Attention(dim, context, heads)
        self.ff = _FeedForward(dim)

    def forward(self, x, audio):
        y = self.norm1(x)
        x = x + self.attn1(y, y)
        x = x + self.attn2(self.norm2(x), audio)
        return x + self.ff(self.norm3(x))


class _Transformer3D(nn.Module):
    def __init__(self, dim, context, heads, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, dim, 1e-6)
        self.proj_in, self.proj_out = nn.Conv2d(dim, dim, 1), nn.Conv2d(dim, dim, 1)
        self.transformer_blocks = nn.ModuleList([_SpatialBlock(dim, context, heads)])

    def forward(self, x, audio):
        n, c, h, w = x.shape
        y = self.proj_in(group_norm(self.norm, x)).view(n, c, h * w).transpose(1, 2)
        y = self.transformer_blocks[0](y, audio).transpose(1, 2).reshape(n, c, h, w)
        return x + self.proj_out(y)


class _PositionalEncoding(nn.Module):
    def __init__(self, dim, length):
        super().__init__()
        angle = torch.arange(length)[:, None] * torch.exp(-math.log(10000) / dim * torch.arange(0, dim, 2))
        self.register_buffer("pe", torch.stack([angle.sin(), angle.cos()], 2).view(1, length, dim))


class _TemporalAttention(_Attention):
    def __init__(self, dim, heads, length):
        super().__init__(dim, dim, heads)
        self.pos_encoder = _PositionalEncoding(dim, length)

    def forward(self, x):  # [B * H * W, F, C]
        y = x + self.pos_encoder.pe[:, :x.shape[1]]
        return super().forward(y, y)


class _TemporalBlock(nn.Module):
    def __init__(self, dim, heads, length):
        super().__init__()
        self.attention_blocks = nn.ModuleList(_TemporalAttention(dim, heads, length) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.ff, self.ff_norm = _FeedForward(dim), nn.LayerNorm(dim)

    def forward(self, x):
        for attn, norm in zip(self.attention_blocks, self.norms):
            x = x + attn(norm(x))
        return x + self.ff(self.ff_norm(x))


class _MotionModule(nn.Module):
    def __init__(self, dim, heads, length):
        super().__init__()
        t = self.temporal_transformer = nn.Module()
        t.norm = nn.GroupNorm(32, dim, 1e-6)
        t.proj_in, t.proj_out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        t.transformer_blocks = nn.ModuleList([_TemporalBlock(dim, heads, length)])
        nn.init.zeros_(t.proj_out.weight)
        nn.init.zeros_(t.proj_out.bias)

    def forward(self, x, frames):
        t = self.temporal_transformer
        n, c, h, w = x.shape
        y = group_norm(t.norm, x).view(-1, frames, c, h * w).permute(0, 3, 1, 2).reshape(-1, frames, c)
        y = t.proj_out(t.transformer_blocks[0](t.proj_in(y)))
        return x + y.view(-1, h * w, frames, c).permute(0, 2, 3, 1).reshape(n, c, h, w)


class _UNetBlock(nn.Module):
    """One level of the way down, the middle or the way up."""

    def __init__(self, widths, temb, context, heads, groups, length, attentions, motion, resample=None):
        super().__init__()
        dim = widths[0][1]
        self.resnets = nn.ModuleList(_Resnet(a, b, groups, 1e-5, temb) for a, b in widths)
        if attentions:
            self.attentions = nn.ModuleList(_Transformer3D(dim, context, heads, groups) for _ in range(attentions))
        if motion:
            self.motion_modules = nn.ModuleList(_MotionModule(dim, heads, length) for _ in widths)
        if resample is not None:
            setattr(self, "upsamplers" if resample else "downsamplers", nn.ModuleList([_Resample(dim, resample)]))

    def layer(self, j, x, temb, audio, frames):
        x = self.resnets[j](x, temb, frames)
        if hasattr(self, "attentions"):
            x = self.attentions[j](x, audio)
        return self.motion_modules[j](x, frames) if hasattr(self, "motion_modules") else x


class UNet3DConditionModel(nn.Module):
    """attentions and motions: which of the blocks on the way down, and of their counterparts on the way up, have them."""

    def __init__(self, block_out_channels, cross_attention_dim, groups, layers_per_block=2, in_channels=13, out_channels=4,
                 heads=8, max_len=24, attentions=(True, True, True, False), motions=(True,) * 4):
        super().__init__()
        c, last = list(block_out_channels), len(block_out_channels) - 1
        self.c0 = c[0]
        self.conv_in = nn.Conv2d(in_channels, c[0], 3, padding=1)
        self.time_embedding = nn.ModuleDict({"linear_1": nn.Linear(c[0], 4 * c[0]), "linear_2": nn.Linear(4 * c[0], 4 * c[0])})
        common = (4 * c[0], cross_attention_dim, heads, groups, max_len)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        for i, width in enumerate(c):
            widths = [(c[max(i - 1, 0)] if j == 0 else width, width) for j in range(layers_per_block)]
            self.down_blocks.append(_UNetBlock(widths, *common, layers_per_block * attentions[i], motions[i],
                                               False if i < last else None))
        self.mid_block = _UNetBlock([(c[-1], c[-1])] * 2, *common, 1, False)
        skips = [c[0]] + [width for i, width in enumerate(c) for _ in range(layers_per_block + (i < last))]
        x = c[-1]
        for i, width in enumerate(reversed(c)):
            widths = []
            for _ in range(layers_per_block + 1):
                widths.append((x + skips.pop(), width))
                x = width
            self.up_blocks.append(_UNetBlock(widths, *common, (layers_per_block + 1) * attentions[last - i],
                                             motions[last - i], True if i < last else None))
        self.conv_norm_out = nn.GroupNorm(groups, c[0], 1e-5)
        self.conv_out = nn.Conv2d(c[0], out_channels, 3, padding=1)

    def forward(self, sample, timestep, audio, frames):
        """sample [B * F, 13, H, W], timestep [B], audio [B * F, tokens, dim] -> [B * F, 4, H, W]."""
        half = self.c0 // 2
        angle = timestep.to(self.conv_in.weight.dtype)[:, None] * torch.exp(-math.log(10000) / half * torch.arange(half))
        e = self.time_embedding
        temb = e["linear_2"](F.silu(e["linear_1"](torch.cat([angle.cos(), angle.sin()], 1))))
        x = self.conv_in(sample)
        skips = [x]
        for block in self.down_blocks:
            for j in range(len(block.resnets)):
                x = block.layer(j, x, temb, audio, frames)
                skips.append(x)
            for down in getattr(block, "downsamplers", ()):
                x = down(x)
                skips.append(x)
        mid = self.mid_block
        x = mid.resnets[1](mid.attentions[0](mid.resnets[0](x, temb, frames), audio), temb, frames)
        for block in self.up_blocks:
            for j in range(len(block.resnets)):
                x = block.layer(j, torch.cat([x, skips.pop()], 1), temb, audio, frames)
            for up in getattr(block, "upsamplers", ()):
                x = up(x)
        return self.conv_out(F.silu(group_norm(self.conv_norm_out, x, frames)))


# ---- DDIM, and what the pipeline does around the UNet

SCALING_FACTOR = 0.18215
ALPHAS = torch.cumprod(1 - torch.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000, dtype=torch.float32) ** 2, 0)


def feature_rows(frame, rows):
    """The rows of embeddings around a frame (feature2chunks): [..., 10]."""
    index = 2 * frame[..., None] + torch.arange(-4, 6)
    return torch.minimum(index.clamp(min=0), rows[..., None] - 1)


@torch.no_grad()
def denoise(unet, noise, rest, audio, frames, steps, guidance):
    """noise [1, 4, H, W], the same for every frame; rest [F, 9, H, W]: mask, masked and reference latents -> latents."""
    x = noise.expand(frames, -1, -1, -1)
    ratio = 1000 // steps
    for k in range(steps - 1, -1, -1):
        t = k * ratio + 1
        sample = torch.cat([x, rest], 1)
        if guidance > 1:
            both = torch.cat([torch.zeros_like(audio), audio])
            without, with_audio = unet(sample.repeat(2, 1, 1, 1), torch.tensor([t, t]), both, frames).chunk(2)
            eps = without + guidance * (with_audio - without)
        else:
            eps = unet(sample, torch.tensor([t]), audio, frames)
        a, previous = ALPHAS[t], ALPHAS[max(t - ratio, 0)]
        x = previous.sqrt() * (x - (1 - a).sqrt() * eps) / a.sqrt() + (1 - previous).sqrt() * eps
    return x
