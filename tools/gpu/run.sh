#!/bin/sh
# shellcheck disable=SC2086 # lists of words
# run.sh [--quick] [--sizes small] [--device DEVICE] [GOLDENS]: checks a card and measures it. The
# results are files in a new folder here, named in the end. GOLDENS: a folder of more golden files.
set -u
here=$(cd "$(dirname "$0")" && pwd)
options='' device=cuda more=''
while [ $# -gt 0 ]; do
    case $1 in
    --quick) options="$options --quick" ;;
    --sizes) options="$options --sizes $2" && shift ;;
    --device) device=$2 && shift ;;
    -*) sed -n '3,4s/^# //p' "$0" && exit 2 ;;
    *) more=$1 ;;
    esac
    shift
done
out=$(pwd)/gpu-$(uname -n)-$(date +%Y%m%d-%H%M%S)
mkdir "$out" || exit 1

# With this machine's glibc, or, where it is older than the programs', with the one that came along.
own=''
"$here/bin/bench_gpu" --help >/dev/null 2>&1 ||
    own="$(echo "$here"/glibc/ld-linux*) --library-path $here/glibc:$here/lib"

failed=0
# step NAME COMMAND...: its output goes to NAME.txt and to the screen.
step() {
    name=$1
    shift
    echo "== $name"
    { "$@" 2>&1 && echo "== $name: ok" || echo "== $name: FAILED"; } | tee "$out/$name.txt"
    tail -n 1 "$out/$name.txt" | grep -q ': ok$' || failed=1
}

{ uname -a && nvidia-smi && nvidia-smi -q; } >"$out/machine.txt" 2>&1
step bench $own "$here/bin/bench_gpu" --device "$device" $options
grep -q '^---' "$out/bench.txt" || exit 1 # no card
for golden in "$here"/goldens/*.safetensors ${more:+"$more"/unet_*.safetensors "$more"/vae_*.safetensors}; do
    [ ! -f "$golden" ] || step "$(basename "$golden" .safetensors)" \
        $own "$here/bin/parity" --device "$device" "$golden"
done
sanitizer=$(PATH=$PATH:/usr/local/cuda/bin command -v compute-sanitizer)
[ -n "$sanitizer" ] || echo "compute-sanitizer is not installed; left out" | tee "$out/sanitizer.txt"
for tool in ${sanitizer:+memcheck racecheck synccheck}; do
    step "$tool" "$sanitizer" --tool "$tool" --target-processes all --error-exitcode 1 \
        $own "$here/bin/bench_gpu" --device "$device" --sizes small
done
echo
echo "failed: $(grep -l ': FAILED$' "$out"/*.txt | sed 's|.*/||' | paste -sd ' ')"
tar -C "$(dirname "$out")" -czf "$out.tar.gz" "$(basename "$out")"
echo "The results are in $out; $out.tar.gz is what to send."
exit "$failed"
