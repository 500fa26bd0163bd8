#!/usr/bin/env bash
# Makes models/mini from nothing: draws the speakers, trains the three networks, one after another, and writes
# them with the tensors and curves that belong to them. Six hours on 2 cores; what is finished is not made again.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:?usage: tools/train/train.sh FOLDER, with 8 GB free}
python=/usr/bin/python3 # Debian's, which has PyTorch
packages=(python3-torch libopenblas0-pthread)
for p in "${packages[@]}"; do
    dpkg-query -W "$p" >/dev/null 2>&1 || {
        echo "train: install ${packages[*]} first; without OpenBLAS all takes three times as long" >&2
        exit 1
    }
done
export OMP_WAIT_POLICY=passive
./dev build
ninja -C build tools/clips
mkdir -p "$out"
[ -f "$out/faces/clips.txt" ] || build/tools/clips "$out/faces" 1000 1300 32
[ -f "$out/speech/clips.txt" ] || build/tools/clips "$out/speech" 10000 2400 0
$python tools/train/check_twin.py
[ -f "$out/audio/audio.pt" ] || $python tools/train/train_audio.py "$out/speech" "$out/faces" --out "$out/audio"
[ -f "$out/vae/vae.pt" ] || $python tools/train/train_vae.py "$out/faces" --out "$out/vae"
[ -f "$out/vae2/vae.pt" ] || $python tools/train/train_vae.py "$out/faces" --out "$out/vae2" --resume "$out/vae/vae.pt"
[ -f "$out/unet/unet.pt" ] ||
    $python tools/train/train_unet.py "$out/faces" --audio "$out/audio/audio.pt" --vae "$out/vae2/vae.pt" --out "$out/unet"
$python tools/train/export.py --audio "$out/audio/audio.pt" --vae "$out/vae2/vae.pt" --unet "$out/unet/unet.pt" \
    --models models/mini --golden tests/data
$python tools/train/curves.py docs/training.svg "$out/audio/audio.csv" "$out/vae2/vae.csv" "$out/unet/unet.csv"
