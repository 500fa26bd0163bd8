#!/bin/sh
# Renders every COUNTth segment of a planned job, from segment INDEX on: what one of COUNT machines
# does that share the job's folder. A segment that is finished already costs nothing, so the same
# command goes on after an interruption.
# usage: render-share.sh JOB INDEX COUNT [OPTIONS of latentsync render]
set -eu
job=$1 index=$2 count=$3
shift 3
segments=$(sed -n 's/.*"segments": *\([0-9]*\).*/\1/p' "$job/job.json" | head -n 1)
[ -n "$segments" ] || {
    echo "render-share: $job/job.json does not say how many segments there are" >&2
    exit 1
}
while [ "$index" -lt "$segments" ]; do
    "${LATENTSYNC:-latentsync}" render "$job" --segment "$index" "$@"
    index=$((index + count))
done
