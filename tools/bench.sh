#!/usr/bin/env bash
# Runs the programs of bench/, or the one named.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in build/bench/bench_*; do
    if [ ! -f "$program" ] || [ ! -x "$program" ]; then continue; fi
    name=${program##*/bench_}
    [ $# -eq 0 ] || [ "$1" = "$name" ] || continue
    echo "# $name"
    "$program"
done
