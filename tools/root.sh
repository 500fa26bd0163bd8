# shellcheck shell=bash
# Folders with a Debian in them, made with debootstrap: sourced by what builds or tests there. `$me` is
# the name that messages begin with.
: "${me:?}"

need_root() {
    [ "$(id -u)" -eq 0 ] || {
        echo "$me: this needs root (debootstrap, chroot): sudo ./dev $1" >&2
        exit 1
    }
}

# The mirror that this machine's apt uses; without one, debootstrap has its own.
mirror() {
    # shellcheck source=/dev/null
    . /etc/os-release
    [ "$ID" != debian ] || apt-get indextargets --format "\$(CODENAME) \$(REPO_URI)" |
        awk -v name="$VERSION_CODENAME" '$1 == name { print $2; exit }'
}

# make_root SUITE FOLDER: unless it is there.
make_root() {
    local suite=$1 root=$2 said from
    if [ ! -x "$root/usr/bin/apt-get" ] || [ -d "$root/debootstrap" ]; then
        mkdir -p "$root"
        [ -z "$(ls -A "$root")" ] || [ -d "$root/debootstrap" ] || {
            echo "$me: $root is neither empty nor made by debootstrap" >&2
            exit 1
        }
        echo "$me: making $root"
        find "$root" -mindepth 1 -maxdepth 1 -exec rm -rf --one-file-system {} + # left by a run cut off
        from=$(mirror)
        said=$(debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" ${from:+"$from"} 2>&1) || {
            tail -n 5 <<<"$said" >&2
            echo "$me: debootstrap failed; $root/debootstrap/debootstrap.log may say why" >&2
            exit 1
        }
        apt-config dump | grep -E '^Acquire::(Check-.*|.*[Pp]roxy.*) ' >"$root/etc/apt/apt.conf.d/90host" || :
    fi
    cp /etc/hosts /etc/resolv.conf "$root/etc/"
}

mount_system() {
    mount -t proc proc "$1/proc" 2>/dev/null || mount --rbind /proc "$1/proc"
    mount --rbind /sys "$1/sys"
    mount --rbind /dev "$1/dev"
}

# copy_tree FOLDER: files that git knows or would add; a build folder in it stays for the next run.
copy_tree() {
    mkdir -p "$1"
    find "$1" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf --one-file-system {} +
    git ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done |
        tar -c --null -T - | tar -x -C "$1"
}

# in_root FOLDER COMMAND: a line for bash.
in_root() {
    env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        chroot "$1" bash -euo pipefail -c "$2"
}
