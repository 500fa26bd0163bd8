#!/usr/bin/env bash
# Runs ./dev test in Debian 13, in a folder made with debootstrap, on a copy of this tree. The folder
# is kept for the next time. Everything is mounted in a namespace of its own, so that no mount
# outlives the run, however it ends.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$(realpath -m "${LS_DEBIAN13_ROOT:-build-debian13-root}")
work=$root/srv/latentsync
[ "$(id -u)" -eq 0 ] || {
    echo "debian13: this needs root (debootstrap, chroot): sudo ./dev test --debian13" >&2
    exit 1
}

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

# The mirror that this machine's apt uses; without one, debootstrap has its own.
mirror() {
    # shellcheck source=/dev/null
    . /etc/os-release
    [ "$ID" != debian ] || apt-get indextargets --format "\$(CODENAME) \$(REPO_URI)" |
        awk -v name="$VERSION_CODENAME" '$1 == name { print $2; exit }'
}

make_root() {
    [ -z "$(ls -A "$root")" ] || [ -d "$root/debootstrap" ] || {
        echo "debian13: $root is neither empty nor made by debootstrap" >&2
        exit 1
    }
    echo "debian13: making $root"
    find "$root" -mindepth 1 -maxdepth 1 -exec rm -rf --one-file-system {} + # left by a run cut off
    local said from
    from=$(mirror)
    said=$(debootstrap --variant=minbase trixie "$root" ${from:+"$from"} 2>&1) || {
        tail -n 5 <<<"$said" >&2
        echo "debian13: debootstrap failed; $root/debootstrap/debootstrap.log may say why" >&2
        exit 1
    }
    apt-config dump | grep -E '^Acquire::(Check-.*|.*[Pp]roxy.*) ' >"$root/etc/apt/apt.conf.d/90host" || :
}

mount_system() {
    mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
}

# Files that git knows or would add; the build folder stays for the next run.
copy_tree() {
    mkdir -p "$work/tree"
    find "$work/tree" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf --one-file-system {} +
    rm -f "$work/tree/build/meson-logs/testlog.json"
    git ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done |
        tar -c --null -T - | tar -x -C "$work/tree"
}

if [ ! -x "$root/usr/bin/apt-get" ] || [ -d "$root/debootstrap" ]; then
    make_root
fi
cp /etc/hosts /etc/resolv.conf "$root/etc/"
copy_tree
mkdir -p "$work/shared" # data beside the tree that some tests look for
if [ "$1" = mount ]; then
    mount_system
    [ ! -d ../shared ] || mount --bind -o ro ../shared "$work/shared"
elif [ -d ../shared ]; then
    cp -a ../shared/. "$work/shared"
fi
echo "debian13: testing in $root"
exec env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    chroot "$root" bash -c 'cd /srv/latentsync/tree && exec ./dev test'
