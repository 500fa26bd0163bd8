#!/usr/bin/env bash
# The main job on two speakers that are drawn here: each says one sentence and is given the other's.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-demo}
recordings=tools/puppet/recordings
declare -A sentence=([fox]="A quick brown fox jumps over the lazy dog." [morning]="Good morning everybody, and welcome to the show.")
columns=6 height=160
label="font=DejaVu Sans:fontcolor=white:fontsize=14:x=7:y=6:box=1:boxcolor=black@0.5:boxborderw=4"

# speak FOLDER RECORDING OPTION...: draws, or only speaks, with espeak-ng or a recording of it
speak() {
    local folder=$1 recording=$2
    shift 2
    build/tools/puppet "$@" --rate 150 --text "${sentence[$recording]}" "$folder" 2>/dev/null ||
        build/tools/puppet "$@" --speech "$recordings/$recording.wav" --phones "$recordings/$recording.txt" "$folder"
}

# strip VIDEO LABEL: a filter that lays frames of input VIDEO side by side, each from the middle of its part of the time
strip() {
    local frames i wanted=""
    frames=$(ffprobe -v error -select_streams v -show_entries stream=nb_frames -of csv=p=0 "$here/out.mp4")
    for ((i = 0; i < columns; i++)); do wanted+="+eq(n\,$(((2 * i + 1) * frames / (2 * columns))))"; done
    echo "[$1:v]select='${wanted#+}',scale=-2:$height,tile=${columns}x1,drawtext=text='$2':$label"
}

# demo NAME SEED VOICE SAYS IS_GIVEN
demo() {
    local here=$out/$1 command
    mkdir -p "$here"
    echo "demo: drawing a speaker and recording another sentence: ${sentence[$5]}"
    speak "$here/speaker" "$4" --seed "$2" --size 512 --voice "$3"
    speak "$here/speech" "$5" --speech-only --voice "$3"
    command=(build/latentsync sync --models models/mini "$here/speaker/face.mp4" "$here/speech/speech.wav" -o "$here/out.mp4")
    echo "demo: ${command[*]}"
    "${command[@]}"
    ffmpeg -v error -y -nostdin -stream_loop -1 -i "$here/speaker/face.mp4" -i "$here/out.mp4" -filter_complex "
        [0:v]drawtext=text=before:${label}[a];[1:v]drawtext=text=after:${label}[b];[a][b]hstack=shortest=1[v]" \
        -map "[v]" -map 1:a -c:v libx264 -crf 16 -pix_fmt yuv420p -c:a aac -shortest "$here/compare.mp4"
    ffmpeg -v error -y -nostdin -stream_loop -1 -i "$here/speaker/face.mp4" -i "$here/out.mp4" -filter_complex "
        $(strip 0 before)[a];$(strip 1 after)[b];[1:a]showwavespic=s=$((columns * height))x48:scale=sqrt:colors=0x2a7ab8,
        format=yuv420p,drawtext=text='the new speech':${label}[c];[a][b][c]vstack=3" -frames:v 1 "$here/sheet.png"
    build/tools/measure "$here/out.mp4" "$here/speaker/track.jsonl" "$here/speech/mouth.txt" |
        sed 's/.*"correlation": \([-0-9.]*\).*/demo: the mouth follows the new speech with a correlation of \1 (1 is perfect)/'
}

demo first 50009 en-us+f2 fox morning
demo second 50012 en-us+m3 morning fox
ffmpeg -v error -y -nostdin -i "$out/first/sheet.png" -i "$out/second/sheet.png" -filter_complex vstack "$out/sheet.png"
ffmpeg -v error -y -nostdin -i "$out/first/compare.mp4" -i "$out/second/compare.mp4" -filter_complex \
    "[0:v][1:v]vstack=shortest=1,scale=480:-2,fps=25/2" -c:v libwebp_anim -quality 60 -loop 0 "$out/loop.webp"
echo "demo: $out/*/out.mp4 are the videos with their new lips; $out/*/compare.mp4 have before and after side by side"
echo "demo: $out/sheet.png shows frames of both, $out/loop.webp is a short loop"
