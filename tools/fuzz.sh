#!/usr/bin/env bash
# Runs every fuzzer for the given seconds, from the seeds in tests/fuzz/corpus/NAME if there are any.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in build-fuzz/tests/fuzz/fuzz_*; do
    if [ ! -f "$program" ] || [ ! -x "$program" ]; then continue; fi
    name=${program##*/fuzz_}
    mkdir -p "build-fuzz/corpus/$name"
    seeds=()
    [ -d "tests/fuzz/corpus/$name" ] && seeds=("tests/fuzz/corpus/$name")
    echo "fuzz: $name for $1 s"
    "$program" -max_total_time="$1" -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0 \
        -artifact_prefix="build-fuzz/" "build-fuzz/corpus/$name" "${seeds[@]}"
done
echo "fuzz: ok"
