#!/usr/bin/env bash
# The checks of the source that need no test data.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t sources < <(git ls-files '*.c' '*.h')
mapfile -t pages < <(git ls-files '*.md')
mapfile -t scripts < <(git ls-files dev .ci/run '*.sh')
echo "lint: clang-format"
said=$(clang-format --dry-run -Werror "${sources[@]}" 2>&1) || {
    echo "lint: run clang-format -i" "$(sed -n 's/^\([^:]*\):[0-9]*:[0-9]*: error: .*/\1/p' <<<"$said" | sort -u | paste -sd ' ')" >&2
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
echo "lint: lengths"
data=$(git ls-files -z tests/data | xargs -0 stat -c %s | awk '{ n += $1 } END { print n }')
[ "$data" -le 43000000 ] || {
    echo "lint: tests/data has $data bytes, more than 43000000" >&2
    exit 1
}
if LC_ALL=C.UTF-8 grep -nE '^[^|].{98}' "${pages[@]}"; then # tables cannot be broken
    echo "lint: lines of more than 98 columns" >&2
    exit 1
fi
echo "lint: symbols"
python3 tools/check_symbols.py build/src/liblatentsync.a build/src/liblatentsync.so debian/liblatentsync0.symbols include/latentsync/*.h
echo "lint: public headers compile alone"
for h in include/latentsync/*.h; do
    gcc -std=c11 -Wall -Wextra -Werror -Iinclude -fsyntax-only -x c "$h"
    g++ -std=c++11 -Wall -Wextra -Werror -Iinclude -fsyntax-only -x c++ "$h"
done
echo "lint: types of the Python package"
mypy --config-file bindings/python/pyproject.toml --cache-dir build/mypy --no-error-summary bindings/python/latentsync
echo "lint: shellcheck"
shellcheck "${scripts[@]}"
echo "lint: ok"
