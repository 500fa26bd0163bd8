#!/usr/bin/env bash
# Makes build-tarball/latentsync-VERSION-linux-x86_64.tar.gz, the program for any Linux with glibc 2.28
# or newer: built in Debian 11, in a folder made with debootstrap, which is kept for the next time.
# Everything is mounted in a namespace of its own, so that no mount outlives the run.
set -euo pipefail
cd "$(dirname "$0")/.."
me=tarball
root=$(realpath -m "${LS_TARBALL_ROOT:-build-tarball-root}")
# shellcheck source=tools/root.sh
. tools/root.sh
need_root tarball
if [ "${LS_TARBALL_MOUNTS:-}" != own ]; then
    LS_TARBALL_MOUNTS=own exec unshare --mount tools/tarball.sh
fi
mkdir -p "$root"
exec 9<"$root"
flock -n 9 || {
    echo "tarball: another run uses $root" >&2
    exit 1
}
make_root bullseye "$root"
mount_system "$root"

# Sources of newer suites, and those of their packages that run anywhere; nothing is upgraded to them.
debian=$(awk '$1 == "deb" { print $(NF - 2); exit }' "$root/etc/apt/sources.list")
keys=/usr/share/keyrings/newer.gpg
cp /usr/share/keyrings/debian-archive-keyring.gpg "$root$keys"
for suite in bullseye bookworm trixie; do
    echo "deb [signed-by=$keys] $debian $suite main"
    echo "deb-src [signed-by=$keys] $debian $suite main"
    echo "deb [signed-by=$keys] $debian-security $suite-security main"
    echo "deb-src [signed-by=$keys] $debian-security $suite-security main"
done >"$root/etc/apt/sources.list"
printf 'Package: *\nPin: release n=%s\nPin-Priority: -1\n\n' {bookworm,trixie}{,-security} >"$root/etc/apt/preferences.d/newer"

copy_tree "$root/srv/latentsync/tree"
epoch=$(git log -1 --format=%ct 2>/dev/null) || epoch=$(stat -c %Y meson.build)
in_root "$root" "SOURCE_DATE_EPOCH=$epoch exec /srv/latentsync/tree/tools/tarball/build.sh"
mkdir -p build-tarball
rm -f build-tarball/latentsync-*
cp "$root"/srv/latentsync/out/*.tar.gz* build-tarball/
(cd build-tarball && du -b -- *.tar.gz | awk '{ printf "tarball: %.1f MB  build-tarball/%s\n", $1 / 1e6, $2 }')
