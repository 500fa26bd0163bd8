#!/usr/bin/env bash
# The checks of the source that need no test data.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t sources < <(git ls-files '*.c' '*.h')
mapfile -t scripts < <(git ls-files dev .ci/run '*.sh')
echo "lint: clang-format"
bad=()
for f in "${sources[@]}"; do
    clang-format --dry-run -Werror "$f" 2>/dev/null || bad+=("$f")
done
[ ${#bad[@]} -eq 0 ] || {
    echo "lint: run clang-format -i ${bad[*]}" >&2
    exit 1
}
echo "lint: layers"
python3 tools/check_layers.py
echo "lint: tests"
python3 tools/count_tests.py --selftest
for test in tests/*/test_*.c tests/fuzz/fuzz_*.c; do
    name=$(basename "$test" .c)
    grep -qE "'($name\.c|${name#*_})'" "$(dirname "$test")/meson.build" || {
        echo "lint: $test is in no meson.build" >&2
        exit 1
    }
done
echo "lint: symbols"
python3 tools/check_symbols.py build/src/liblatentsync.a build/src/liblatentsync.so include/latentsync/*.h
echo "lint: public headers compile alone"
for h in include/latentsync/*.h; do
    gcc -std=c11 -Wall -Wextra -Werror -Iinclude -fsyntax-only -x c "$h"
    g++ -std=c++11 -Wall -Wextra -Werror -Iinclude -fsyntax-only -x c++ "$h"
done
echo "lint: shellcheck"
shellcheck "${scripts[@]}"
echo "lint: ok"
