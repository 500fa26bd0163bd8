#!/usr/bin/env bash
# Builds the Debian packages in Debian 12 and 13, installs them in fresh folders of both and uses them
# there; prints TAP. Folders are below build-packages-root/ and kept, but for the fresh ones.
#   packages.sh [SUITE...]   bookworm and trixie
# shellcheck disable=SC2016,SC2317 # functions are called by check
set -euo pipefail
cd "$(dirname "$0")/../.."
me=packages
# shellcheck source=tools/root.sh
. tools/root.sh
need_root "test --deb"
if [ "${LS_PACKAGES_MOUNTS:-}" != own ]; then
    LS_PACKAGES_MOUNTS=own exec unshare --mount "$0" "$@"
fi
roots=$(realpath -m "${LS_PACKAGES_ROOT:-build-packages-root}")
mkdir -p "$roots"
exec 9<"$roots"
flock -n 9 || {
    echo "packages: another run uses $roots" >&2
    exit 1
}
[ $# -gt 0 ] || set -- bookworm trixie
count=0 status=0

# check NAME COMMAND...: a line of TAP.
check() {
    local name=$1 said failed
    shift
    count=$((count + 1))
    set +e # a function in a condition would go on after what failed
    said=$(set -e; "$@" 2>&1)
    failed=$?
    set -e
    if [ $failed -eq 0 ]; then
        echo "ok $count - $suite: $name"
    else
        echo "not ok $count - $suite: $name"
        tail -n 20 <<<"$said" | sed 's/^/# /'
        status=1
    fi
}

mount_in() {
    mountpoint -q "$1/proc" || mount_system "$1"
}

install_in() {
    local root=$1
    shift
    in_root "$root" "{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $*; } >/dev/null"
}

# With what the control file names, and the compiler's cache if there is one.
build_packages() {
    local root=$roots/$suite-build
    make_root "$suite" "$root"
    mount_in "$root"
    copy_tree "$root/srv/latentsync/tree"
    install_in "$root" dpkg-dev debhelper lintian ccache
    in_root "$root" "cd /srv/latentsync/tree
        DEBIAN_FRONTEND=noninteractive apt-get -qq build-dep -y --no-install-recommends ./ >/dev/null
        PATH=/usr/lib/ccache:\$PATH tools/deb.sh build-deb"
}

# Every file, but for those of the package system.
files() {
    in_root "$fresh" "find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /srv -o -path /tmp -o -path /var/log -o \
        -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /etc/ld.so.cache \) -prune -o -print | sort"
}

install_all() {
    install_in "$fresh" /srv/*.deb gcc libc6-dev pkg-config
    in_root "$fresh" "dpkg --purge $ours; mkdir -p /var/lib/private" # which systemd makes
    files >"$fresh/srv/before"
    in_root "$fresh" "dpkg -i /srv/*.deb"
}

speak() {
    in_root "$fresh" "cd /srv/work && latentsync sync --progress none face.mp4 speech.wav -o command.mp4 2>said; cat said; grep built-in said"
    [ "$(frames command.mp4)" = 10 ]
}

frames() {
    ffprobe -v error -count_frames -select_streams v -show_entries stream=nb_read_frames -of csv=p=0 "$fresh/srv/work/$1"
}

compile() {
    in_root "$fresh" "cd /srv/work && cc -Wall -Wextra -Werror -std=c11 embed.c -o embed \$(pkg-config --cflags --libs latentsync) &&
        ./embed face.mp4 speech.wav embedded.mp4"
    cmp "$fresh/srv/work/command.mp4" "$fresh/srv/work/embedded.mp4"
}

# Both of its ways: the program, and the library in its own process.
from_python() {
    in_root "$fresh" "cd /srv/work && python3 -c 'import latentsync
for way in \"program\", \"library\":
    latentsync.sync(\"face.mp4\", \"speech.wav\", way + \".mp4\", backend=way).result()'"
    cmp "$fresh/srv/work/command.mp4" "$fresh/srv/work/program.mp4"
    cmp "$fresh/srv/work/command.mp4" "$fresh/srv/work/library.mp4"
}

# The unit's command, by a user without rights, in a network of its own.
serve() {
    local unit=/usr/lib/systemd/system/latentsync.service
    in_root "$fresh" "[ -f $unit ] && [ -f /etc/latentsync/server.conf ]"
    unshare --net bash -euo pipefail -c '
        ip link set lo up
        . "$1/etc/latentsync/server.conf"
        LATENTSYNC_OPTIONS=${LATENTSYNC_OPTIONS:-}
        command=$(sed -n "s/^ExecStart=//p" "$1/$2" | sed "s|%S/latentsync|/tmp/state|; s|\\\$LATENTSYNC_OPTIONS|$LATENTSYNC_OPTIONS|")
        chroot "$1" setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs env -i PATH=/usr/bin XDG_CACHE_HOME=/tmp/cache $command >"$1/srv/said" 2>&1 &
        trap "kill $!; wait $! || :" EXIT
        for ((i = 0; i < 600; i++)); do
            ! grep -q ready "$1/srv/said" || break
            kill -0 $!
            sleep 0.1
        done
        cat "$1/srv/said"
        grep -F "ready at http://127.0.0.1:7860/" "$1/srv/said"
        curl -sf http://127.0.0.1:7860/health
        curl -sf http://127.0.0.1:7860/ready
        ' serve "$fresh" "$unit"
    [ "$(stat -c %u "$fresh/tmp/state")" = 65534 ]
}

purge() {
    local left
    rm -rf "$fresh"/tmp/{state,cache}
    mkdir -p "$fresh"/var/{lib,cache}/private/latentsync # as a service that has run leaves them
    in_root "$fresh" "dpkg --purge $ours"
    files | diff "$fresh/srv/before" -
    left=$(in_root "$fresh" "find / \( -path /srv -o -path /proc -o -path /sys -o -path /dev \) -prune -o -name '*latentsync*' -print")
    [ -z "$left" ] || {
        echo "left: $left"
        return 1
    }
}

for suite in "$@"; do
    fresh=$roots/$suite-fresh
    ours="latentsync latentsync-server latentsync-data liblatentsync0 liblatentsync-dev python3-latentsync"
    check "packages are built, and lintian has nothing against them" build_packages
    rm -rf --one-file-system "$fresh"
    make_root "$suite" "$roots/$suite"
    cp -a "$roots/$suite" "$fresh"
    mount_in "$fresh"
    cp "$roots/$suite-build/srv/latentsync/tree/build-deb/"*.deb "$fresh/srv/"
    build/tools/puppet --seed 50009 --size 256 --speech tools/puppet/recordings/fox.wav --phones tools/puppet/recordings/fox.txt "$fresh/srv/work"
    ffmpeg -v error -y -nostdin -i tools/puppet/recordings/morning.wav -t 0.4 "$fresh/srv/work/speech.wav"
    sed -n '/^```c$/,/^```$/p' README.md | sed '1d; /^```$/,$d' >"$fresh/srv/work/embed.c"
    check "they are installed" install_all
    check "a speaker says something else, with the built-in model" speak
    check "a program is built with pkg-config and does the same" compile
    check "the Python package does the same" from_python
    check "the service answers a user without rights" serve
    check "nothing is left when they are purged" purge
    umount -R "$fresh/proc" "$fresh/sys" "$fresh/dev"
    rm -rf --one-file-system "$fresh"
done
echo "1..$count"
exit "$status"
