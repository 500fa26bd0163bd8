#!/usr/bin/env bash
# Runs ./dev test in Debian 13, in a folder made with debootstrap, on a copy of this tree. The folder
# is kept for the next time. Everything is mounted in a namespace of its own, so that no mount
# outlives the run, however it ends.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$(realpath -m "${LS_DEBIAN13_ROOT:-build-debian13-root}")
work=$root/srv/latentsync
me=debian13
# shellcheck source=tools/root.sh
. tools/root.sh
need_root "test --debian13"

if [ $# -eq 0 ]; then
    mkdir -p "$root"
    exec 9<"$root"
    flock -n 9 || {
        echo "debian13: another run uses $root" >&2
        exit 1
    }
    if unshare --mount true 2>/dev/null; then
        exec unshare --mount tools/debian13.sh mount
    fi
    echo "debian13: this machine allows no mounts; tests that need /proc will fail" >&2
    set -- copy
fi

make_root trixie "$root"
rm -f "$work/tree/build/meson-logs/testlog.json"
copy_tree "$work/tree"
mkdir -p "$work/shared" # data beside the tree that some tests look for
if [ "$1" = mount ]; then
    mount_system "$root"
    [ ! -d ../shared ] || mount --bind -o ro ../shared "$work/shared"
elif [ -d ../shared ]; then
    cp -a ../shared/. "$work/shared"
fi
echo "debian13: testing in $root"
in_root "$root" 'cd /srv/latentsync/tree && exec ./dev test'
