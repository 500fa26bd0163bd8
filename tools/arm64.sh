#!/usr/bin/env bash
# Builds for 64-bit ARM and runs, under an emulator, the tests of the kernels, two of the networks and
# a short job. Debian's libraries for it are unpacked into build-arm64-root/: nothing of this machine
# is touched, and nothing needs root.
#   arm64.sh PACKAGE...   the libraries to build with
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD/build-arm64-root build=build-arm64

# The packages of this Debian's release, for arm64, from the mirror that apt uses here.
unpack() {
    local state=$root.new/apt mirror
    # shellcheck source=/dev/null
    . /etc/os-release
    mirror=$(apt-get indextargets --format "\$(CODENAME) \$(REPO_URI)" |
        awk -v name="${VERSION_CODENAME:-}" '$1 == name { print $2; exit }')
    [ "$ID/${mirror:+found}" = debian/found ] || {
        echo "arm64: this needs Debian: its packages for arm64 are used" >&2
        exit 1
    }
    echo "arm64: fetching libraries into $root"
    rm -rf "$root" "$root.new"
    mkdir -p "$state"/{lists,cache/archives}/partial "$state/none"
    : >"$state/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $VERSION_CODENAME main" >"$state/sources.list"
    local apt=(apt-get -qq -o "Dir::State=$state" -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache"
        -o "Dir::Etc::sourcelist=$state/sources.list" -o "Dir::Etc::sourceparts=$state/none"
        -o "Dir::Etc::preferencesparts=$state/none" -o APT::Architecture=arm64 -o APT::Architectures=arm64
        -o APT::Sandbox::User=root -o "Debug::NoLocking=true")
    "${apt[@]}" update
    "${apt[@]}" install -y --no-install-recommends --download-only "$@" >/dev/null
    for deb in "$state"/cache/archives/*.deb; do
        dpkg -x "$deb" "$root.new"
    done
    rm -rf "$state"
    printf "[constants]\nroot = '%s'\n" "$root" >"$root.new/root.ini"
    mv "$root.new" "$root"
}

[ -d "$root" ] || unpack libc6-dev "libgcc-$(aarch64-linux-gnu-gcc -dumpversion)-dev" "$@"
if [ ! -f $build/build.ninja ]; then
    meson setup $build --cross-file "$root/root.ini" --cross-file tools/arm64.ini --werror -Dpuppet=disabled >/dev/null
fi
rm -f $build/meson-logs/testlog.json
echo "arm64: building in $build/"
said=$(ninja -C $build latentsync parity tests/kernels/test_kernels) || {
    echo "$said" >&2
    exit 1
}
status=0
meson test -C $build --no-rebuild --num-processes 1 --timeout-multiplier 10 \
    --print-errorlogs kernels_base {ref,onednn}_unet_mini_b1f4_16x16 e2e_mini || status=$?
python3 tools/count_tests.py $build/meson-logs/testlog.json || status=1
exit "$status"
