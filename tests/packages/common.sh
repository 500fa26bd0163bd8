# shellcheck shell=bash disable=SC2016,SC2034,SC2154
# What the tests of packages and of the archive share: folders with a Debian in them, lines of TAP,
# clips, and a service to be asked. Sourced by scripts whose name is $me, from the root of the source.
# shellcheck source=tools/root.sh
. tools/root.sh
need_root "test --$me"
if [ "${LS_PACKAGES_MOUNTS:-}" != own ]; then
    LS_PACKAGES_MOUNTS=own exec unshare --mount "$0" "$@"
fi
roots=$(realpath -m "${LS_PACKAGES_ROOT:-build-packages-root}")
mkdir -p "$roots"
exec 9<"$roots"
flock -n 9 || {
    echo "$me: another run uses $roots" >&2
    exit 1
}
count=0 status=0 suite=''

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

frames() {
    ffprobe -v error -count_frames -select_streams v -show_entries stream=nb_read_frames -of csv=p=0 "$fresh/srv/work/$1"
}

# answers COMMAND: a service, run by a user without rights, in a network of its own.
answers() {
    unshare --net bash -euo pipefail -c '
        ip link set lo up
        chroot "$1" setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs env -i PATH=/usr/bin XDG_CACHE_HOME=/tmp/cache \
            bash -c "exec $2" >"$1/srv/said" 2>&1 &
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
        ' serve "$fresh" "$1"
    [ "$(stat -c %u "$fresh/tmp/state")" = 65534 ]
}

# make_fresh: $fresh, the suite and no more, with clips and the example of the README.
make_fresh() {
    rm -rf --one-file-system "$fresh"
    make_root "$suite" "$roots/$suite"
    cp -a "$roots/$suite" "$fresh"
    mount_in "$fresh"
    build/tools/puppet --seed 50009 --size 256 --speech tools/puppet/recordings/fox.wav --phones tools/puppet/recordings/fox.txt "$fresh/srv/work"
    ffmpeg -v error -y -nostdin -i tools/puppet/recordings/morning.wav -t 0.4 "$fresh/srv/work/speech.wav"
    sed -n '/^```c$/,/^```$/p' README.md | sed '1d; /^```$/,$d' >"$fresh/srv/work/embed.c"
}

drop_fresh() {
    umount -R "$fresh/proc" "$fresh/sys" "$fresh/dev"
    rm -rf --one-file-system "$fresh"
}
