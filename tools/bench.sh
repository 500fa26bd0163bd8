#!/usr/bin/env bash
# Runs the programs of bench/, or the one named, with the arguments that follow its name.
set -euo pipefail
cd "$(dirname "$0")/.."
ran=0
for program in build/bench/bench_*; do
    if [ ! -f "$program" ] || [ ! -x "$program" ]; then continue; fi
    name=${program##*/bench_}
    [ $# -eq 0 ] && [ "$name" != trajectory ] || [ "${1:-}" = "$name" ] || continue
    echo "# $name"
    "$program" "${@:2}"
    ran=1
done
# these take minutes to half an hour, so only by name
if [ "${1:-}" = memory ]; then
    python3 bench/memory.py build/latentsync "${@:2}"
    ran=1
elif [ "${1:-}" = overlap ]; then
    python3 bench/overlap.py build/latentsync build/tests/cuda/libcuda_emulated.so "${@:2}"
    ran=1
elif [ "${1:-}" = estimate ]; then
    python3 bench/estimate.py build/latentsync build/tools/puppet "${@:2}"
    ran=1
elif [ "${1:-}" = serve ]; then
    python3 bench/serve.py build/latentsync build/tools/puppet "${@:2}"
    ran=1
elif [ "${1:-}" = quality ]; then
    python3 tools/quality.py build "${@:2}"
    ran=1
elif [ "${1:-}" = sound ]; then
    python3 tools/sound.py build "${@:2}"
    ran=1
elif [ "${1:-}" = blend ]; then
    python3 tools/blend.py build "${@:2}"
    ran=1
elif [ "${1:-}" = check ]; then
    python3 tests/e2e/check.py build/latentsync build/tools/puppet --table "${2:-50201}" "${3:-8}"
    ran=1
elif [ "${1:-}" = lips ]; then
    python3 tests/e2e/lips.py build/latentsync build/tools/puppet build/tools/measure --table "${@:2}"
    ran=1
fi
[ "$ran" -eq 1 ] || {
    echo "bench: no benchmark ${1:-at all} in build/bench/" >&2
    exit 1
}
