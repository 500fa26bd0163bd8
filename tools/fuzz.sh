#!/usr/bin/env bash
# fuzz.sh [SECONDS]: runs every fuzzer for so long (30), from the seeds in tests/fuzz/corpus/NAME if
# there are any. What they find on the way is kept in build-fuzz/corpus, failures in build-fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
export ASAN_OPTIONS=allocator_may_return_null=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
ran=0
for program in build-fuzz/tests/fuzz/fuzz_*; do
    if [ ! -f "$program" ] || [ ! -x "$program" ]; then continue; fi
    name=${program##*/fuzz_}
    folders=("build-fuzz/corpus/$name")
    mkdir -p "${folders[0]}"
    [ ! -d "tests/fuzz/corpus/$name" ] || folders+=("tests/fuzz/corpus/$name")
    echo "fuzz: $name for ${1:-30} s"
    "$program" -max_total_time="${1:-30}" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=1024 -verbosity=0 \
        -print_final_stats=1 -close_fd_mask=1 -artifact_prefix=build-fuzz/ "${folders[@]}" 2>"build-fuzz/$name.log" || {
        cat "build-fuzz/$name.log" >&2
        exit 1
    }
    sed -n 's/^stat::number_of_executed_units: */  inputs tried: /p' "build-fuzz/$name.log"
    ran=$((ran + 1))
done
[ "$ran" -gt 0 ] || {
    echo "fuzz: there is no fuzzer in build-fuzz/tests/fuzz/" >&2
    exit 1
}
echo "fuzz: $ran ok"
