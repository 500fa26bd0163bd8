"""Holds tools/train/networks.py to the golden tensors of the original, and its gradients in float32 to those in float64:
python3 check_twin.py [FOLDER]."""
import copy
import json
import os
import sys

import numpy as np
import torch

from files import formula, formula_weights, read_safetensors
from networks import AudioEncoder, AutoencoderKL, UNet3DConditionModel, feature_rows, log_mel

LIMIT = 1e-5


def filled(net, prefix=""):
    with torch.no_grad():
        for name, v in net.state_dict().items():
            w = formula_weights(prefix + name, tuple(v.shape))
            if w is not None:
                v.copy_(torch.from_numpy(w))
    return net.eval()


def given(name, *shape):
    return torch.from_numpy(formula(name, shape, 3 ** 0.5))


def frames_first(x):
    """[B, C, F, H, W] -> [B * F, C, H, W]"""
    return x.transpose(1, 2).flatten(0, 1)


def unet(folder, name):
    golden, meta = read_safetensors(os.path.join(folder, name + ".safetensors"))
    c = json.loads(meta["config"])
    net = filled(UNet3DConditionModel(c["block_out_channels"], c["cross_attention_dim"], c["norm_num_groups"], c["layers_per_block"]))
    shape = json.loads(meta["input_sample"].split(" ", 1)[1])
    audio_shape = json.loads(meta["input_audio"].split(" with")[0].split(" ", 1)[1])
    audio = given("input.audio", *audio_shape)
    if "set to 0" in meta["input_audio"]:
        audio[:shape[2]] = 0
    out = net(frames_first(given("input.sample", *shape)), torch.full((shape[0],), int(meta["timestep"])), audio, shape[2])
    yield name, out, frames_first(torch.from_numpy(golden["output"].copy()))


def vae(folder, name):
    golden, meta = read_safetensors(os.path.join(folder, name + ".safetensors"))
    c = json.loads(meta["config"])
    net = filled(AutoencoderKL(c["block_out_channels"], c["layers_per_block"], c["latent_channels"], c["norm_num_groups"]))
    yield name + " moments", net.encode(given("input.image", 2, 3, 64, 64)), torch.from_numpy(golden["moments"].copy())
    yield name + " decoded", net.decode(given("input.latent", 2, 4, 8, 8)), torch.from_numpy(golden["decoded"].copy())


def whisper(folder):
    golden, meta = read_safetensors(os.path.join(folder, "whisper_mel_short.safetensors"))
    mel = log_mel(golden["pcm"])
    yield "log-mel", torch.from_numpy(mel), torch.from_numpy(golden["mel"].copy())
    golden, meta = read_safetensors(os.path.join(folder, "whisper_small64_short.safetensors"))
    d = json.loads(meta["dims"])
    net = filled(AudioEncoder(80, d["n_audio_ctx"], d["n_audio_state"], d["n_audio_head"], d["n_audio_layer"]), "encoder.")
    window = torch.from_numpy(np.pad(mel, ((0, 0), (0, 3000 - mel.shape[1]))))[None]
    want = torch.from_numpy(golden["features"].copy())
    yield "whisper_small64_short", net(window)[0, :len(want)], want
    assert feature_rows(torch.tensor([0, 5]), torch.tensor([12, 12])).tolist()[1] == [6, 7, 8, 9, 10, 11, 11, 11, 11, 11]


def gradient(net, loss, dtype):
    """Of all weights together: some, like a key's bias, have none of their own."""
    net = copy.deepcopy(net).to(dtype)
    loss(net, lambda *a: given(*a).to(dtype)).backward()
    return torch.cat([p.grad.double().flatten() for p in net.parameters() if p.grad is not None])


def gradients():
    """PyTorch 1.13 on a CPU has derivatives that are wrong for some strides: nothing but the training would show it."""
    audio = filled(AudioEncoder(80, 1500, 48, 4, 2), "encoder.")
    vae = filled(AutoencoderKL((16, 32), 1, 4, 8))
    unet = filled(UNet3DConditionModel((32, 64), 48, 8, 1, attentions=(False, True), motions=(False, True)))
    losses = {"audio": (audio, lambda net, x: (net(x("input.mel", 2, 80, 100))[:, ::3, 1:] ** 3).mean()),
              "vae": (vae, lambda net, x: (net.decode(net.encode(x("input.image", 2, 3, 16, 16))[:, :4]) ** 3).mean()),
              "unet": (unet, lambda net, x: (net(x("input.sample", 8, 13, 8, 8), torch.tensor([7, 501]), x("input.audio", 8, 20, 48), 4) ** 3).mean())}
    for name, (net, loss) in losses.items():
        yield "gradient of " + name, gradient(net, loss, torch.float32), gradient(net, loss, torch.float64)


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../../tests/data")
    worst = 0

    def report(check):
        nonlocal worst
        for name, got, want in check:
            error = ((got - want).norm() / want.norm()).item()
            worst = max(worst, error)
            print("%-32s %.2e" % (name, error))

    report(gradients())
    with torch.no_grad():
        for check in (whisper(folder), vae(folder, "vae_small_64"), unet(folder, "unet_small_b1f5_8x8"), unet(folder, "unet_small_b2f16_16x16"),
                      unet(folder, "unet_small_b2f16_8x8_cfgzero")):
            report(check)
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
