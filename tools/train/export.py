"""Writes the trained networks as a model directory in the published formats, and tensors for the test that holds the C graphs
to the twins: export.py --audio audio.pt --vae vae.pt --unet unet.pt --detector detector.onnx --models ../../models/mini
--golden ../../tests/data"""
import argparse
import contextlib
import json
import os
import shutil

import torch

from files import formula, write_safetensors
from networks import feature_rows
from train_audio import HEADS, LAYERS as AUDIO_LAYERS, STATE, WINDOW
from train_unet import load_audio, load_unet, load_vae


def half(net, prefix=""):
    """The weights in float16, which the net itself then has too."""
    with torch.no_grad():
        for v in net.state_dict().values():
            v.copy_(v.half())
    return {prefix + k: v.half() for k, v in net.state_dict().items()}


def main():
    p = argparse.ArgumentParser()
    for name in ("audio", "vae", "unet", "detector", "models", "golden"):
        p.add_argument("--" + name, required=True)
    args = p.parse_args()
    audio, vae, unet = load_audio(args.audio), load_vae(args.vae), load_unet(args.unet)
    for folder in ("whisper", "vae", "face"):
        os.makedirs(os.path.join(args.models, folder), exist_ok=True)
    with contextlib.suppress(shutil.SameFileError):
        shutil.copyfile(args.detector, os.path.join(args.models, "face", "drawn.onnx"))
    torch.save({"global_step": 0, "state_dict": half(unet)}, os.path.join(args.models, "latentsync_unet.pt"))
    dims = {"n_mels": 80, "n_audio_ctx": WINDOW // 2, "n_audio_state": STATE, "n_audio_head": HEADS, "n_audio_layer": AUDIO_LAYERS}
    torch.save({"dims": dims, "model_state_dict": half(audio, "encoder.")}, os.path.join(args.models, "whisper", "tiny.pt"))
    write_safetensors(os.path.join(args.models, "vae", "diffusion_pytorch_model.safetensors"),
                      {k: v.numpy() for k, v in half(vae).items()}, {"norm_num_groups": "8"})
    with open(os.path.join(args.models, "model.json"), "w") as f:
        json.dump({"name": "drawn speakers", "resolution": 128, "guidance_scale": 1.5}, f)
        f.write("\n")
    frames = 4
    given = lambda name, *shape: torch.from_numpy(formula(name, shape, 3 ** 0.5))
    first, last = lambda x: x.permute(0, 3, 1, 2), lambda x: x.permute(0, 2, 3, 1)  # channels
    with torch.no_grad():
        embeddings = audio(given("input.mel", WINDOW, 80).T[None] / 4)[0]
        tokens = embeddings[feature_rows(torch.arange(100, 100 + frames), torch.tensor(WINDOW // 2).expand(frames))].flatten(1, 2)
        sample = first(given("input.sample", frames, 16, 16, 13))
        out = {"embeddings": embeddings[190:230], "tokens": tokens,
               "noise": last(unet(sample, torch.tensor([501]), tokens, frames)),
               "moments": last(vae.encode(first(given("input.image", 1, 128, 128, 3)) / 2)),
               "decoded": last(vae.decode(first(given("input.latent", 1, 16, 16, 4)) * 5))}
    write_safetensors(os.path.join(args.golden, "mini_model.safetensors"), {k: v.numpy() for k, v in out.items()},
                      {"made by": "tools/train/export.py, channels last; embeddings are rows 190 to 229"})
    size = sum(os.path.getsize(os.path.join(folder, f)) for folder, _, files in os.walk(args.models) for f in files)
    print("%s: %.2f MB" % (args.models, size / 1e6))


if __name__ == "__main__":
    main()
