#!/usr/bin/env bash
# Makes the archive for any Linux and the wheel with it, and uses both in fresh folders of four
# distributions; prints TAP. Folders are below build-packages-root/ and kept, but for the fresh ones.
#   tarball.sh [SUITE...]   bullseye, bookworm, trixie and sid
# shellcheck disable=SC2016,SC2317 # functions are called by check
set -euo pipefail
cd "$(dirname "$0")/../.."
me=tarball
# shellcheck source=tests/packages/common.sh
. tests/packages/common.sh
[ $# -gt 0 ] || set -- bullseye bookworm trixie sid
built=$(realpath -m "${LS_TARBALL_ROOT:-build-tarball-root}")
export LS_TARBALL_ROOT=$built

make_archive() {
    tools/tarball.sh
    (cd build-tarball && sha256sum -c latentsync-*.sha256)
}

# parity is not in the archive, but built with it.
golden() {
    mount_in "$built"
    for golden in unet_small_b1f5_8x8 vae_small_64 whisper_small64_short; do
        in_root "$built" "/srv/latentsync/build/parity /srv/latentsync/tree/tests/data/$golden.safetensors"
    done
    umount -R "$built/proc" "$built/sys" "$built/dev"
}

make_wheel() {
    ./dev wheel "$built"/srv/latentsync/out/latentsync-*-linux-x86_64
    compgen -G 'build/wheel/latentsync-*-py3-none-manylinux_2_28_x86_64.whl'
}

# In a folder with a space in its name, all files as listed, and nothing from the system but glibc.
unpack() {
    mkdir -p "$fresh/srv/some where"
    tar -C "$fresh/srv/some where" -xzf build-tarball/latentsync-*.tar.gz
    mv "$fresh/srv/some where"/latentsync-* "$fresh/srv/some where/ls"
    in_root "$fresh" 'cd "/srv/some where/ls" && sha256sum --quiet -c SHA256SUMS && find . -type f | wc -l
        bin/latentsync info && ldd bin/latentsync lib/liblatentsync.so.0 >/srv/libraries'
    diff <(cd "$fresh/srv/some where/ls" && find . -type f ! -name SHA256SUMS ! -name sbom.spdx.json | sort) \
        <(jq -r '.files[].fileName' "$fresh/srv/some where/ls/sbom.spdx.json" | sort)
    ! grep -vE '/srv/some where/ls/|^(bin|lib)/.*:$|linux-vdso|(/lib64/ld-linux|(/usr)?/lib/x86_64-linux-gnu/lib(c|m|mvec|dl|rt|pthread|gcc_s))[.-]|statically' "$fresh/srv/libraries"
}

speak() {
    in_root "$fresh" 'cd /srv/work && "/srv/some where/ls/bin/latentsync" sync --progress none face.mp4 speech.wav -o command.mp4 2>said; cat said; grep built-in said'
    [ "$(frames command.mp4)" = 10 ]
}

codecs() {
    local name encoder container found
    ffmpeg -v error -nostdin -i "$fresh/srv/work/face.mp4" -pix_fmt yuv420p10le -c:v ffv1 "$fresh/srv/work/ten.mkv"
    while read -r name encoder container; do
        in_root "$fresh" "cd /srv/work && '/srv/some where/ls/bin/latentsync' sync --progress none --video-codec $encoder ten.mkv speech.wav -o $name.$container"
        found=$(ffprobe -v error -select_streams v -show_entries stream=codec_name,pix_fmt -of csv=p=0 "$fresh/srv/work/$name.$container")
        echo "$encoder: $found"
        [[ "$found" = "$name",yuv4*p10le ]]
    done <<<'h264 libx264 mp4
hevc libx265 mp4
av1 libsvtav1 mkv
vp9 libvpx-vp9 webm
prores prores_ks mov
ffv1 ffv1 mkv'
}

compile() {
    install_in "$fresh" gcc libc6-dev pkg-config
    ln -s '/srv/some where/ls' "$fresh/srv/plain" # compilers' options cannot have spaces
    in_root "$fresh" "cd /srv/work && export PKG_CONFIG_PATH=/srv/plain/lib/pkgconfig &&
        cc -Wall -Wextra -Werror -std=c11 embed.c -o embed \$(pkg-config --cflags --libs latentsync) &&
        LD_LIBRARY_PATH=/srv/plain/lib ./embed face.mp4 speech.wav embedded.mp4"
    cmp "$fresh/srv/work/command.mp4" "$fresh/srv/work/embedded.mp4"
}

from_python() {
    install_in "$fresh" python3-venv
    cp build/wheel/*.whl "$fresh/srv/"
    in_root "$fresh" "python3 -m venv /srv/venv && /srv/venv/bin/pip -q install --no-index /srv/*.whl
        cd /srv/work && env PATH=/usr/bin:/bin /srv/venv/bin/python -c 'import latentsync
for way in \"program\", \"library\":
    latentsync.sync(\"face.mp4\", \"speech.wav\", way + \".mp4\", backend=way).result()'
        /srv/venv/bin/latentsync --version"
    cmp "$fresh/srv/work/command.mp4" "$fresh/srv/work/program.mp4"
    cmp "$fresh/srv/work/command.mp4" "$fresh/srv/work/library.mp4"
}

# A certificate that the system trusts, kept where Fedora keeps it.
download() {
    local key=$roots/tls.key own=$roots/tls.pem said
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -keyout "$key" -out "$own" 2>/dev/null
    rm -rf "$fresh"/etc/ssl/certs "$fresh"/etc/pki
    mkdir -p "$fresh/etc/pki/tls/certs"
    said=$(unshare --net bash -c 'ip link set lo up
        openssl s_server -quiet -accept 8443 -cert "$2" -key "$3" -WWW >/dev/null 2>&1 &
        trap "kill $!" EXIT
        sleep 1
        for trusted in "" "$2"; do
            : >"$1/etc/pki/tls/certs/ca-bundle.crt"
            [ -z "$trusted" ] || cp "$trusted" "$1/etc/pki/tls/certs/ca-bundle.crt"
            chroot "$1" env -i HOME=/tmp "/srv/some where/ls/bin/latentsync" models pull --accept-licence --mirror https://localhost:8443 2>&1
            echo "-- $?"
        done' download "$fresh" "$own" "$key")
    echo "$said"
    grep -q certificate <<<"${said%%-- *}"
    ! grep -q certificate <<<"${said#*-- }"
}

serve() {
    answers "'/srv/some where/ls/bin/latentsync' serve --data /tmp/state"
}

suite=archive
check "it is made" make_archive
check "its program computes what the original does" golden
check "the wheel names the systems that it is for" make_wheel
for suite in "$@"; do
    fresh=$roots/$suite-fresh
    make_fresh
    check "it is whole, and runs from any folder" unpack
    check "a speaker says something else, with the built-in model" speak
    check "videos of each codec, of 10 bits, are written" codecs
    check "the server answers a user without rights" serve
    check "a program is built with pkg-config and does the same" compile
    check "the wheel does the same" from_python
    check "the system's certificates are found" download # and moved
    drop_fresh
done
rm -f "$roots"/tls.{key,pem}
echo "1..$count"
exit "$status"
