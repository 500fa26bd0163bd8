#!/usr/bin/env bash
# The main job on a speaker that is drawn here: says one sentence, is given another.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-demo}
mkdir -p "$out"
recordings=tools/puppet/recordings

# speak FOLDER RECORDING OPTION...: draws, or only speaks, with espeak-ng or a recording of it
speak() {
    local folder=$1 recording=$2
    shift 2
    build/tools/puppet "$@" "$folder" 2>/dev/null ||
        build/tools/puppet "$@" --speech "$recordings/$recording.wav" --phones "$recordings/$recording.txt" "$folder"
}

echo "demo: drawing a speaker"
speak "$out/speaker" fox --seed 50007 --size 512 --voice en-us+f2 --rate 150 --text "A quick brown fox jumps over the lazy dog."
echo "demo: recording another sentence"
speak "$out/speech" morning --speech-only --voice en-us+f2 --rate 150 --text "Good morning everybody, and welcome to the show."

command=(build/latentsync sync --models models/mini "$out/speaker/face.mp4" "$out/speech/speech.wav" -o "$out/out.mp4")
echo "demo: ${command[*]}"
"${command[@]}"

ffmpeg -v error -y -nostdin -stream_loop -1 -i "$out/speaker/face.mp4" -i "$out/out.mp4" -filter_complex \
    "[0:v][1:v]hstack=shortest=1[v]" -map "[v]" -map 1:a -c:v libx264 -crf 16 -pix_fmt yuv420p -c:a aac -shortest "$out/compare.mp4"
ffmpeg -v error -y -nostdin -i "$out/compare.mp4" -vf "select='not(mod(n\,7))',scale=480:-2,tile=3x4:padding=4" -frames:v 1 \
    "$out/sheet.png"
build/tools/measure "$out/out.mp4" "$out/speaker/track.jsonl" "$out/speech/mouth.txt" |
    sed 's/.*"correlation": \([-0-9.]*\).*/demo: the mouth follows the new speech with a correlation of \1 (1 is perfect)/'
echo "demo: $out/out.mp4 is the video with its new lips; $out/compare.mp4 has before and after side by side"
echo "demo: $out/sheet.png shows frames of both"
