#!/usr/bin/env bash
# The main job on a clip that is made here: a drawn face that sways, tones in the rhythm of syllables, a
# face track from the drawing's own formula, and a small model with made-up weights.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-demo}
mkdir -p "$out"

echo "demo: drawing a face and making some sound"
cx="(160+12*sin(2*T))" cy="(160+4*sin(3*T))"
oval() { # CENTRE-X CENTRE-Y WIDTH HEIGHT, relative to the face
    echo "lt(pow((X-$cx-($1))/$3,2)+pow((Y-$cy-($2))/$4,2),1)"
}
colour() { # BACKGROUND HAIR SKIN WHITE DARK LIP: one channel
    echo "if($(oval -28 -22 4 5)+$(oval 28 -22 4 5),$5,if($(oval -28 -22 11 7)+$(oval 28 -22 11 7),$4,\
if($(oval 0 36 22 "(4+7*abs(sin(9*T)))"),$6,if($(oval 0 -4 5 9),$3-18,if($(oval 0 10 68 90),$3,\
if($(oval 0 -14 82 100),$2,$1+Y/6))))))"
}
ffmpeg -v error -y -nostdin -f lavfi -i "color=s=320x320:r=25:d=1.2,format=gbrp" \
    -vf "geq=r='$(colour 90 70 226 245 30 190)':g='$(colour 120 46 184 245 30 70)':b='$(colour 150 30 158 245 40 80)'" \
    -c:v libx264 -preset veryfast -crf 14 -pix_fmt yuv420p "$out/face.mp4"
ffmpeg -v error -y -nostdin -f lavfi -i "aevalsrc='0.25*(sin(2*PI*140*t)+0.5*sin(2*PI*700*t)+0.3*sin(2*PI*1100*t))\
*pow(abs(sin(2*PI*2.2*t)),0.7)':s=44100:d=1.5" "$out/speech.wav"
awk 'BEGIN { for (i = 0; i < 30; i++) { t = i / 25; x = 160 + 12 * sin(2 * t); y = 160 + 4 * sin(3 * t)
    printf "{\"frame\": %d, \"points5\": [[%.2f, %.2f], [%.2f, %.2f], [%.2f, %.2f], [%.2f, %.2f], [%.2f, %.2f]]}\n",
        i, x - 28, y - 22, x + 28, y - 22, x, y - 3, x - 21, y + 36, x + 21, y + 36 } }' >"$out/track.jsonl"
if [ ! -f "$out/models/vae/diffusion_pytorch_model.safetensors" ]; then
    rm -rf "$out/models"
    build/latentsync models random --size mini --out "$out/models"
fi

command=(build/latentsync sync --models "$out/models" --face-track "$out/track.jsonl" --resolution 256 --steps 6
    "$out/face.mp4" "$out/speech.wav" -o "$out/out.mp4")
echo "demo: ${command[*]}"
"${command[@]}"
ffmpeg -v error -y -nostdin -i "$out/face.mp4" -i "$out/out.mp4" -frames:v 1 \
    -filter_complex "[0][1]hstack=shortest=1,select='not(mod(n,6))',scale=-2:200,tile=1x5" "$out/compare.png"
echo "demo: the weights are made up, so the mouth is noise: with the published ones it would speak."
echo "demo: before and after are side by side in $out/compare.png; the video is $out/out.mp4"
