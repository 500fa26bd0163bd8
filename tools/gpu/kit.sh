#!/usr/bin/env bash
# kit.sh [GOLDENS]: makes build-gpu-kit/latentsync-gpu-kit and its .tar.gz, the check of a card for
# any x86-64 or aarch64 Linux with glibc: bench_gpu, parity, golden files (of the folder GOLDENS, or
# tests/data), the libraries that they need, and run.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
goldens=${1:-tests/data}
build="build-gpu-kit"
kit=$build/latentsync-gpu-kit
programs=(tools/gpu/bench_gpu parity)

# shellcheck disable=SC2016 # $ORIGIN is the linker's
[ -f "$build/build.ninja" ] ||
    meson setup "$build" --werror -Dcuda=enabled -Donednn=disabled -Dnet=disabled -Dpuppet=disabled \
        -Dc_args='-ffunction-sections -fdata-sections' \
        -Dc_link_args='-Wl,--gc-sections -Wl,--as-needed -static-libgcc -Wl,--disable-new-dtags -Wl,-rpath,$ORIGIN/../lib' >/dev/null
ninja -C "$build" "${programs[@]}" >"$build/build.log" 2>&1 || {
    cat "$build/build.log" >&2
    exit 1
}
rm -rf "$kit"
mkdir -p "$kit"/{bin,lib,glibc,goldens}
for p in "${programs[@]}"; do
    strip -o "$kit/bin/${p##*/}" "$build/$p"
done
cp "$goldens"/{unet,vae,ddim_run}_*.safetensors "$kit/goldens/"
cp tools/gpu/run.sh "$kit/"

# glibc apart from the rest: it is used only where the system's own is older.
needed=$(ldd "$kit"/bin/* | awk '$2 == "=>" { print $3 } $1 ~ /^\// && $2 ~ /^\(/ { print $1 }' | sort -u)
for path in $needed; do
    case ${path##*/} in
    ld-linux* | libc.so.* | libm.so.* | libpthread.so.* | libdl.so.* | librt.so.*) cp -L "$path" "$kit/glibc/" ;;
    *) cp -L "$path" "$kit/lib/" ;;
    esac
done
tar -C "$build" -czf "$kit.tar.gz" "${kit##*/}"
echo "gpu-kit: $kit.tar.gz, $(($(stat -c %s "$kit.tar.gz") / 1000000)) MB; unpack it on a machine with a card, and run ./run.sh"
carried=("$kit"/lib/*)
echo "gpu-kit: it carries: ${carried[*]##*/}"
echo "gpu-kit: without its own glibc it needs: $(objdump -T "$kit"/bin/* "$kit"/lib/* | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)"
