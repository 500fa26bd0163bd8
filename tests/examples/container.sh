#!/usr/bin/env bash
# Runs what the Dockerfile runs, without a container engine: each stage in a folder made with
# debootstrap, in a mount namespace of its own, as root. Then starts the server as its user and asks
# for its health with the file's own command.
# usage: container.sh FOLDER, which is kept for the next time
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(realpath -m "$1")
if [ "$(id -u)" -ne 0 ] || ! command -v debootstrap >/dev/null || ! unshare --mount true; then
    echo "container: this needs root, debootstrap and mounts" >&2
    exit 77 # for meson: skipped
fi
[ "${2-}" = inside ] || exec unshare --mount --pid --fork --kill-child "$0" "$folder" inside

mirror() {
    apt-get indextargets --format "\$(CODENAME) \$(REPO_URI)" | awk '$1 == "bookworm" { print $2; exit }'
}

# debian:12-slim, nearly: no documents, no recommended packages.
base() {
    local from said
    [ ! -e "$folder/base/etc/debian_version" ] || return 0
    rm -rf --one-file-system "$folder/base"
    mkdir -p "$folder/base"
    from=$(mirror)
    said=$(debootstrap --variant=minbase bookworm "$folder/base" ${from:+"$from"} 2>&1) || {
        tail -n 5 <<<"$said" >&2
        rm -f "$folder/base/etc/debian_version"
        exit 1
    }
    apt-config dump | grep -E '^Acquire::(Check-.*|.*[Pp]roxy.*) ' >"$folder/base/etc/apt/apt.conf.d/90host" || :
}

run() { # STAGE COMMAND
    chroot "$folder/$1" env -i HOME=/root LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ${variables[@]+"${variables[@]}"} \
        bash -c "cd '$directory' && $2"
}

begin() { # STAGE
    umount -R "$folder/$1/proc" "$folder/$1/dev" 2>/dev/null || :
    rm -rf --one-file-system "${folder:?}/$1"
    cp -a "$folder/base" "$folder/$1"
    cp /etc/hosts /etc/resolv.conf "$folder/$1/etc/"
    mount -t proc proc "$folder/$1/proc"
    mount --rbind /dev "$folder/$1/dev"
    directory=/ variables=()
}

copy() { # STAGE WORD... of a COPY
    local stage=$1 from=. to
    shift
    case $1 in --from=*) from=$folder/${1#--from=} && shift ;; esac
    to=${*: -1}
    [ "${to:0:1}" = / ] || to=$directory/$to
    mkdir -p "$folder/$stage$to"
    local f
    for f in "${@:1:$#-1}"; do # a folder's content, as COPY has it; patterns are expanded
        # shellcheck disable=SC2086
        for g in $from/$f; do
            if [ -d "$g" ]; then
                cp -a "$g/." "$folder/$stage$to/"
            else
                cp -a "$g" "$folder/$stage$to/"
            fi
        done
    done
}

base
stage='' health='' user=''
# One instruction a line, as the shell reads it; ENV may have several on a line.
while IFS=$'\t' read -r word rest; do
    case $word in
    FROM)
        stage=final
        [ "${rest#* AS }" = "$rest" ] || stage=${rest#* AS }
        echo "container: stage $stage"
        begin "$stage"
        ;;
    WORKDIR) directory=$rest && mkdir -p "$folder/$stage$rest" ;;
    COPY)
        read -ra words <<<"$rest"
        copy "$stage" "${words[@]}"
        ;;
    RUN)
        echo "container: ${rest:0:70}..."
        run "$stage" "$rest" >"$folder/log" 2>&1 || {
            tail -n 20 "$folder/log" >&2
            exit 1
        }
        ;;
    ENV)
        read -ra words <<<"$rest"
        variables+=("${words[@]}")
        ;;
    USER) user=$rest ;;
    HEALTHCHECK) health=${rest#*CMD } ;;
    esac
done < <(python3 tests/examples/dockerfile.py Dockerfile)

echo "container: the server, as $user"
# shellcheck disable=SC2016
run final "head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >/run/token && chmod 644 /run/token
    runuser -u $user -- latentsync info >/dev/null
    runuser -u $user -- latentsync serve --listen 127.0.0.1:7860 --token-file /run/token &
    for i in \$(seq 300); do if $health; then exit 0; fi 2>/dev/null; sleep 0.2; done; exit 1"
echo "container: ok"
