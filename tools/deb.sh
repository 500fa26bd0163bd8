#!/usr/bin/env bash
# Builds the Debian packages of this tree, for the Debian that this is.
#   deb.sh FOLDER [--twice]   FOLDER/*.deb; --twice: again elsewhere, otherwise, to the same bytes
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "$1")
version=$(sed -n "s/^  version: '\(.*\)',/\1/p" meson.build)
[ "$(dpkg-parsechangelog -S Version)" = "$version" ] || {
    echo "deb: debian/changelog names another version than meson.build, $version" >&2
    exit 1
}

# build FOLDER VARIABLE=VALUE...: a copy of the tree in FOLDER, and the packages beside it.
build() {
    local dir=$1
    shift
    rm -rf "$dir"
    mkdir -p "$dir/latentsync-$version"
    if [ -e .git ]; then
        git ls-files -z --cached --others --exclude-standard |
            while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done |
            tar -c --null -T - | tar -x -C "$dir/latentsync-$version"
    else
        tar -c --exclude='./build*' --exclude=./demo . | tar -x -C "$dir/latentsync-$version"
    fi
    (cd "$dir/latentsync-$version" && env DEB_BUILD_OPTIONS=noautodbgsym "$@" dpkg-buildpackage -us -uc -b) >"$dir/build.log" 2>&1 || {
        tail -n 30 "$dir/build.log" >&2
        echo "deb: $dir/build.log has all of it" >&2
        exit 1
    }
    rm -rf "$dir/latentsync-$version"
}

echo "deb: building in ${out#"$PWD"/}/"
build "$out"
if [ "${2:-}" = --twice ]; then
    echo "deb: building again"
    build "$out/again/elsewhere" TZ=Pacific/Chatham LC_ALL=C HOME=/nonexistent CCACHE_DISABLE=1
    for deb in "$out"/*.deb; do
        cmp "$deb" "$out/again/elsewhere/${deb##*/}" || {
            echo "deb: ${deb##*/} is not the same when it is built again" >&2
            exit 1
        }
    done
    echo "deb: all packages are the same when they are built again"
    rm -rf "$out/again"
fi
lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$out"/*.changes
(cd "$out" && du -b -- *.deb | sort -k 2 | awk '{ printf "deb: %5.1f MB  %s\n", $1 / 1e6, $2 }')
