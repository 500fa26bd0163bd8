#!/usr/bin/env bash
# What matrix units compute, on Mesa's Vulkan on the CPU, which has some from Mesa 26 on: in Debian 13
# with Mesa of its backports, in a folder made with debootstrap and kept. Prints TAP.
#   matrices.sh SPIRV...   kernels as this machine's compiler makes them, which are used as well
# shellcheck disable=SC2016 # what is quoted is for the shell in the folder
set -euo pipefail
cd "$(dirname "$0")/../.."
me=matrices
# shellcheck source=tools/root.sh
. tools/root.sh
skip() {
    echo "1..0 # SKIP $1"
    exit
}
[ "$(id -u)" -eq 0 ] || skip "needs root, for debootstrap and chroot"
command -v debootstrap >/dev/null || skip "needs debootstrap"
if [ "${LS_MATRICES_MOUNTS:-}" != own ]; then
    unshare --mount true 2>/dev/null || skip "this machine allows no mounts"
    LS_MATRICES_MOUNTS=own exec unshare --mount "$0" "$@"
fi
root=$(realpath -m "${LS_MATRICES_ROOT:-build-matrices-root}")
work=$root/srv/latentsync
mkdir -p "$root"
exec 9<"$root"
flock -n 9 || {
    echo "matrices: another run uses $root" >&2
    exit 1
}

make_root trixie "$root" >&2
mount_system "$root"
[ -e "$root/etc/apt/sources.list.d/backports.list" ] ||
    sed -n 's/ trixie / trixie-backports /p' "$root/etc/apt/sources.list" >"$root/etc/apt/sources.list.d/backports.list"
in_root "$root" 'export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq install -y --no-install-recommends -t trixie-backports mesa-vulkan-drivers
    apt-get -qq install -y --no-install-recommends gcc meson ninja-build pkg-config python3 glslc spirv-tools \
        libvulkan-dev libvulkan1 vulkan-validationlayers libcmocka-dev libdnnl-dev libzip-dev libjansson-dev \
        libprotobuf-c-dev protobuf-c-compiler libav{format,codec,filter,util}-dev libsw{scale,resample}-dev' >"$root/apt.log" 2>&1 || {
    tail -n 20 "$root/apt.log" >&2
    exit 1
}
copy_tree "$work/tree"
touch "$work"/tree/src/backend/vulkan/kernels/* # what was made of a fault, by the last run, is newer than these

# build [FOLDER]: with the folder's compiler, or with kernels of matrices that are in FOLDER.
build() {
    in_root "$root" "cd /srv/latentsync/tree
        [ -f ../build/build.ninja ] || meson setup ../build --werror -Dauto_features=disabled -Donednn=enabled -Dvulkan=enabled
        kernels=../build/src/backend/vulkan
        rm -f \$kernels/{*_matrix.spv,shaders.c}
        ninja -C ../build -j 2 src/backend/vulkan/shaders.c
        for f in ${1:+../$1/*}; do # as old as what they replace, which otherwise would be made again
            touch -r \$kernels/\${f##*/} \$f
            cp -p \$f \$kernels/
            rm -f \$kernels/shaders.c
        done
        ninja -C ../build -j 2 parity tests/kernels/test_kernels tests/vulkan/test_vulkan tests/vulkan/libvulkan_faulty.so" >"$root/build.log" 2>&1 || {
        tail -n 40 "$root/build.log" >&2
        exit 1
    }
}

count=0 status=0
# check NAME COMMAND: a line for bash in the folder; its output is told where it fails.
check() {
    local said
    count=$((count + 1))
    if said=$(in_root "$root" "cd /srv/latentsync
        export LS_CUDA_LIBRARY=none OMP_WAIT_POLICY=passive XDG_CACHE_HOME=/dev/null LS_TEST_MATRIX=1 CMOCKA_MESSAGE_OUTPUT=TAP
        lavapipe='tree/tests/vulkan/lavapipe.py cache' bare='tree/tests/vulkan/lavapipe.py --no-layers cache'
        as_card='FAKE_VULKAN=discrete LS_VULKAN_LIBRARY=/srv/latentsync/build/tests/vulkan/libvulkan_faulty.so'
        valid='spirv-val --target-env vulkan1.2 --scalar-block-layout'
        $2" 2>&1 </dev/null); then
        echo "ok $count - $1"
    else
        echo "not ok $count - $1 (status $?)"
        grep -v '^ok \| ok$' <<<"$said" | tail -n 30 | sed 's/^/# /'
        status=1
    fi
}

goldens=()
for name in unet_small_b1f1_16x16 unet_small_b1f5_8x8 unet_small_b2f16_8x8_cfgzero unet_small_blocks_b2f5_16x16 \
    unet_medium_b1f3_16x16 unet_mini_b1f4_16x16 vae_small_64 ddim_run_f5_8x8_cfg1.5; do
    goldens+=("tree/tests/data/$name.safetensors")
done
networks="\$lavapipe build/parity --device vulkan:0 ${goldens[*]}"
operations='build/tests/kernels/test_kernels'

echo "1..9"
build
check "kernels are valid" 'for f in build/src/backend/vulkan/*_matrix.spv; do $valid $f; done'
check "they are used, unless they do not fit or are not wanted" 'env LS_VULKAN_LIBRARY=${as_card#*=*=} $lavapipe build/tests/vulkan/test_vulkan'
check "networks" "$networks"
check "operations, as on a card" "env \$as_card \$bare $operations"
check "operations, as on a card without matrix units" "env LS_VULKAN_MATRIX=0 \$as_card \$bare $operations"
mkdir -p "$work/given"
cp "$@" "$work/given/"
build given
check "kernels of this machine's compiler are valid" 'for f in given/*_matrix.spv; do $valid $f; done'
check "networks, with these" "$networks"

# fault NAME FILE SCRIPT: one barrier less.
fault() {
    local kernel=src/backend/vulkan/kernels/$2
    sed -i -z "$3" "$work/tree/$kernel"
    if cmp -s "$kernel" "$work/tree/$kernel"; then exit 1; fi
    build
    check "$1" '! $lavapipe build/parity --device vulkan:0 '"${goldens[1]}"
    cp "$kernel" "$work/tree/$kernel"
}
fault "a fault of products would be noticed" product.glsl 's/share();\n    barrier();\n/share();\n/'
fault "a fault of attention would be noticed" attention_matrix.comp 's/barrier();\n        make_scores/make_scores/'
exit "$status"
