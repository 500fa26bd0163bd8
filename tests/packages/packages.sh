#!/usr/bin/env bash
# Builds the Debian packages in Debian 12 and 13, installs them in fresh folders of both and uses them
# there; prints TAP. Folders are below build-packages-root/ and kept, but for the fresh ones.
#   packages.sh [SUITE...]   bookworm and trixie
# shellcheck disable=SC2016,SC2317 # functions are called by check
set -euo pipefail
cd "$(dirname "$0")/../.."
me=deb
# shellcheck source=tests/packages/common.sh
. tests/packages/common.sh
[ $# -gt 0 ] || set -- bookworm trixie

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

serve() {
    local unit=$fresh/usr/lib/systemd/system/latentsync.service
    # shellcheck source=/dev/null
    . "$fresh/etc/latentsync/server.conf"
    LATENTSYNC_OPTIONS=${LATENTSYNC_OPTIONS:-}
    answers "$(sed -n "s/^ExecStart=//p" "$unit" | sed "s|%S/latentsync|/tmp/state|; s|\$LATENTSYNC_OPTIONS|$LATENTSYNC_OPTIONS|")"
}

purge() {
    local left
    rm -rf "$fresh"/tmp/{state,cache} "$fresh"/root/.cache # the users' own
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
    make_fresh
    cp "$roots/$suite-build/srv/latentsync/tree/build-deb/"*.deb "$fresh/srv/"
    check "they are installed" install_all
    check "a speaker says something else, with the built-in model" speak
    check "a program is built with pkg-config and does the same" compile
    check "the Python package does the same" from_python
    check "the service answers a user without rights" serve
    check "nothing is left when they are purged" purge
    drop_fresh
done
echo "1..$count"
exit "$status"
