#!/usr/bin/env bash
# Makes models/mini from nothing: draws the speakers, trains the networks, one after another, and writes
# them with the tensors and curves that belong to them. Three hours on 2 cores; what is finished is not made again.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:?usage: tools/train/train.sh FOLDER, with 14 GB free}
python=/usr/bin/python3 # Debian's, which has PyTorch
packages=(python3-torch libopenblas0-pthread libjemalloc2)
for p in "${packages[@]}"; do
    dpkg-query -W "$p" >/dev/null 2>&1 || {
        echo "train: install ${packages[*]} first" >&2
        exit 1
    }
done
# One thread a process: OpenBLAS's own threads wait for each other and make a step four times as long. Blocks from the C
# library's malloc are given back and cleared by the kernel again and again; jemalloc keeps them.
export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
fast=(env "LD_PRELOAD=$(dpkg -L libjemalloc2 | grep 'so\.2$')"
    "MALLOC_CONF=dirty_decay_ms:10000,muzzy_decay_ms:10000,thp:always,narenas:1" "$python")
./dev build
ninja -C build tools/clips tools/scenes
mkdir -p "$out"
[ -f "$out/faces/clips.txt" ] || build/tools/clips "$out/faces" 1000 1300 32
[ -f "$out/talks/clips.txt" ] || build/tools/clips "$out/talks" 3000 2000 32
[ -f "$out/speech/clips.txt" ] || build/tools/clips "$out/speech" 10000 2400 0
[ -f "$out/scenes/scenes.u8" ] || build/tools/scenes "$out/scenes" 1 3000
"${fast[@]}" tools/train/check_twin.py

audio() {
    [ -f "$out/audio/audio.pt" ] || "${fast[@]}" tools/train/train_audio.py "$out/speech" "$out/faces" --out "$out/audio"
}
pictures() {
    [ -f "$out/vae/vae.pt" ] || "${fast[@]}" tools/train/train_vae.py "$out/faces" --out "$out/vae"
    [ -f "$out/vae2/vae.pt" ] ||
        "${fast[@]}" tools/train/train_vae.py "$out/faces" --out "$out/vae2" --resume "$out/vae/vae.part.pt" --steps 1500
    [ -f "$out/vae3/vae.pt" ] || "${fast[@]}" tools/train/tune_decoder.py "$out/faces" --vae "$out/vae2/vae.pt" --out "$out/vae3"
    [ -f "$out/detector.onnx" ] || "${fast[@]}" tools/train/train_detector.py "$out/scenes" --out "$out/detector.onnx"
}
audio &
pictures
wait $!
[ -f "$out/unet/unet.pt" ] || "${fast[@]}" tools/train/train_unet.py "$out/talks" --audio "$out/audio/audio.pt" \
    --vae "$out/vae3/vae.pt" --out "$out/unet"
$python tools/train/export.py --audio "$out/audio/audio.pt" --vae "$out/vae3/vae.pt" --unet "$out/unet/unet.pt" \
    --detector "$out/detector.onnx" --models models/mini --golden tests/data
$python tools/train/curves.py docs/training.svg "$out/audio/audio.csv" "$out/vae2/vae.csv" "$out/unet/unet.csv"
