#!/usr/bin/env bash
# Makes models/mini from nothing: draws the speakers, trains the networks, one after another, and writes
# them with the tensors and curves that belong to them. Four hours on 2 cores; what is finished is not made again.
# With --quick all of it in three minutes, with little of everything, and what it writes stays in the folder.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:?usage: tools/train/train.sh FOLDER [--quick], with 14 GB free}
models=models/mini golden=tests/data curves=docs/training.svg
faces=1300 talks=2000 speech=2400 scenes=3000 frames=32
audio=() vae=() vae2=(--steps 1500) decoder=() detector=() unet=() unet2=(--steps 2000)
if [ "${2:-}" = --quick ]; then
    models=$out/models golden=$out curves=$out/training.svg
    faces=56 talks=56 speech=60 scenes=112 frames=16
    audio=(--steps 40) vae=(--steps 16) vae2=(--steps 8) decoder=(--steps 8) detector=(--steps 20)
    unet=(--steps 6 --batch 16) unet2=("${unet[@]}")
fi
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
[ -f "$out/faces/clips.txt" ] || build/tools/clips "$out/faces" 1000 "$faces" "$frames"
[ -f "$out/talks/clips.txt" ] || build/tools/clips "$out/talks" 3000 "$talks" "$frames"
[ -f "$out/speech/clips.txt" ] || build/tools/clips "$out/speech" 10000 "$speech" 0
[ -f "$out/scenes/scenes.u8" ] || build/tools/scenes "$out/scenes" 1 "$scenes"
"${fast[@]}" tools/train/check_twin.py

# train PROGRAM DONE ARGUMENT...: unless DONE is there
train() {
    [ -f "$2" ] || "${fast[@]}" "tools/train/$1" "${@:3}"
}
hear() {
    train train_audio.py "$out/audio/audio.pt" "$out/speech" "$out/faces" --out "$out/audio" "${audio[@]}"
}
see() {
    train train_vae.py "$out/vae/vae.pt" "$out/faces" --out "$out/vae" "${vae[@]}"
    train train_vae.py "$out/vae2/vae.pt" "$out/faces" --out "$out/vae2" --resume "$out/vae/vae.part.pt" "${vae2[@]}"
    train tune_decoder.py "$out/vae3/vae.pt" "$out/faces" --vae "$out/vae2/vae.pt" --out "$out/vae3" "${decoder[@]}"
    train train_detector.py "$out/detector.onnx" "$out/scenes" --out "$out/detector.onnx" "${detector[@]}"
}
hear &
see
wait $!
trained=(--audio "$out/audio/audio.pt" --vae "$out/vae3/vae.pt")
train train_unet.py "$out/unet/unet.pt" "$out/talks" "${trained[@]}" --out "$out/unet" "${unet[@]}"
# once more with part of the guidance learned
mkdir -p "$out/unet2"
ln -f "$out"/unet/{faces,speech}.npy "$out/unet2"
train train_unet.py "$out/unet2/unet.pt" "$out/talks" "${trained[@]}" --out "$out/unet2" --start "$out/unet/unet.pt" \
    --guide 0.4 --lr 6e-4 --batch 16 "${unet2[@]}"
$python tools/train/export.py "${trained[@]}" --unet "$out/unet2/unet.pt" --detector "$out/detector.onnx" \
    --models "$models" --golden "$golden"
$python tools/train/curves.py "$curves" "$out/audio/audio.csv" "$out/vae2/vae.csv" "$out/unet/unet.csv" "$out/unet2/unet.csv"
