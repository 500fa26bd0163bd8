#!/bin/sh
# run.sh [--quick] [--device DEVICE] [GOLDENS]: checks a card and measures it. The results are files
# in a folder beside this one; it is named in the end. GOLDENS is a folder of further golden files.
set -u
here=$(cd "$(dirname "$0")" && pwd)
quick='' device=cuda more=''
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=--quick ;;
    --device) device=$2 && shift ;;
    -*) sed -n 's/^# //p' "$0" | head -n 2 && exit 2 ;;
    *) more=$1 ;;
    esac
    shift
done
out=$(pwd)/gpu-$(uname -n)-$(date +%Y%m%d-%H%M%S)
mkdir "$out" || exit 1

# This machine's glibc, or, where it is older than the programs', the one that came with them.
export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
own=''
"$here/bin/bench_gpu" --help >/dev/null 2>&1 || {
    own=$(echo "$here"/glibc/ld-linux*)
    export LD_LIBRARY_PATH="$here/glibc:$LD_LIBRARY_PATH"
}
run() {
    program=$1
    shift
    $own "$here/bin/$program" "$@"
}

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
step bench run bench_gpu --device "$device" $quick
for golden in "$here"/goldens/*.safetensors ${more:+"$more"/unet_*.safetensors "$more"/vae_*.safetensors}; do
    [ ! -f "$golden" ] || step "$(basename "$golden" .safetensors)" run parity --device "$device" "$golden"
done
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1)
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
