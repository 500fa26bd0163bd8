#!/usr/bin/env bash
# Runs a cmocka program and mends its TAP: cmocka calls a skipped test "not ok".
set -o pipefail
"$@" | sed -u 's/^not ok \([0-9]* .*# SKIP\)/ok \1/'
