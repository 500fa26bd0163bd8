"""The nodes: what they take and give, and what they do."""
import json
import math
import os
import shutil

import comfy.utils

from . import files, frames, program
from .schema import TRACK, Input, Node, Result

QUALITIES = ["original", "balanced", "fast", "best"]  # the first is the program's "auto"


def _options(quality, models, **options):
    """For `sync` and `estimate`. What is empty or 0 is left to the program."""
    found = files.models_option(models) + ["--quality", "auto" if quality == QUALITIES[0] else quality]
    for name, value in options.items():
        if value not in (None, "", 0):
            found += ["--" + name, str(value)]
    return found


def _track(name):
    return ["--face-track", files.named(name, "track")] if name else []


def _sync(video, audio, options, suffix):
    """The video's file; what an interrupted run of the same job has made is used, and a complete one is not made again."""
    key = files.key(files.identity(program.find()), files.identity(video), files.identity(audio), options)
    output = files.jobs(f"{os.path.splitext(os.path.basename(video))[0][:40]}-{key}{suffix}")
    if not os.path.exists(output) or os.path.exists(output + ".lsjob"):
        program.sync(["sync", *options, "-o", output, video, audio], files.temp(key + ".jpg"))
    files.forget(video)
    return output


def sync_file(video, video_file, audio, audio_file, quality, seed, models, face, track, lips_expression, until, fps, device,
              max_memory):
    options = _options(quality, models, face=face, guidance=lips_expression, until=until, fps=fps, device=device,
                       **{"max-memory": max_memory}) + ["--seed", str(seed), *_track(track)]
    path = _sync(files.video_file(video, video_file), files.audio_file(audio, audio_file), options, ".mp4")
    try:
        from comfy_api.latest import InputImpl
    except ImportError:  # a ComfyUI that has no such type, and does not show videos
        return Result((path, path), None)
    shown = {"filename": os.path.basename(path), "subfolder": "latentsync", "type": "output"}
    return Result((InputImpl.VideoFromFile(path), path), {"images": [shown], "animated": [True]})


def sync_images(images, audio, seed, lips_expression, inference_steps):
    options = files.models_option(None) + ["--guidance", str(lips_expression), "--steps", str(inference_steps), "--seed", str(seed),
                                           *frames.LOSSLESS]
    made = _sync(frames.write(images, 25), files.audio_file(audio, ""), options, ".mkv")
    result = frames.read(made, *images.shape[1:3])
    os.remove(made)
    return Result((result, audio), None)


def _find_faces(video, options, folder):
    """Writes the track and a picture of each face into `folder`."""
    bar, length = comfy.utils.ProgressBar(1), []
    program.run(lambda probed: length.append(max(1, probed["frames"])), "probe", "--json", video)
    with open(os.path.join(folder, "track.jsonl"), "w", encoding="utf-8") as f:
        def heard(item):
            f.write(json.dumps(item) + "\n")
            if "frame" in item:
                bar.update_absolute(item["frame"], length[0])

        program.run(heard, "faces", *options, "-q", "--json", "--preview", folder, video)


def faces(video, video_file, models):
    import numpy as np
    import torch
    from PIL import Image
    video, options = files.video_file(video, video_file), files.models_option(models)
    name = "faces-" + files.key(files.identity(video), options)
    folder = files.temp(name)
    if not os.path.isdir(folder):
        part = files.temp(name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        os.mkdir(part)
        try:
            _find_faces(video, options, part)
            os.rename(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    files.forget(video)
    track = os.path.join(folder, "track.jsonl")
    with open(track, encoding="utf-8") as f:
        found = [item for item in map(json.loads, f) if "track" in item]
    if not found:
        raise RuntimeError("LatentSync: no face was found in the video")
    pictures, shown, text = [], [], []
    for t in found:
        picture = f"track-{t['track']}.png"
        with Image.open(os.path.join(folder, picture)) as image:
            image = image.convert("RGB")
            image.thumbnail((512, 512))
            pictures.append(torch.from_numpy(np.asarray(image, np.float32) / 255))
        shown.append({"filename": picture, "subfolder": "latentsync/" + name, "type": "temp"})
        left, top, right, bottom = map(round, t["box"])
        text.append(f"face {t['track']}: frames {t['first']} to {t['last']}, in {100 * t['share']:.0f} % of all, "
                    f"at {left},{top} to {right},{bottom}")
    text = "\n".join(text)
    return Result((torch.stack(pictures), text, len(found), track), {"images": shown, "text": [text]})


def estimate(video, video_file, audio, audio_file, quality, models, track, fps, device, max_memory):
    options = _options(quality, models, fps=fps, device=device, **{"max-memory": max_memory}) + _track(track)
    found, source = [], files.video_file(video, video_file)
    program.run(found.append, "estimate", *options, "--json", source, files.audio_file(audio, audio_file))
    files.forget(source)
    e = found[0]
    seconds = math.ceil(e["run_seconds"])
    memory, disk = (math.ceil(e[n] / 1e6) for n in ("memory_bytes", "disk_bytes"))
    text = (f"{e['frames']} frames, {e['seconds']:.2f} s, on {e['device']}: {seconds // 3600}:{seconds // 60 % 60:02}:"
            f"{seconds % 60:02} as the machine is, {memory} MB of memory, {disk} MB of disk")
    return Result((text, seconds, memory, disk, e["frames"]), {"text": [text]})


def adjust_length(images, audio, mode, fps, silent_padding_sec):
    """Both as long as each other: `normal` cuts what is too long; the others repeat the images for as long as the audio."""
    import torch
    waveform, rate = audio["waveform"][:1], int(audio["sample_rate"])
    count, samples = images.shape[0], waveform.shape[2]

    def padded(more):
        return torch.cat([waveform, torch.zeros((1, waveform.shape[1], more), dtype=waveform.dtype)], 2)

    if mode == "pingpong" and samples / rate <= count / fps:
        sound = padded(int(count / fps * rate) - samples)
    else:
        sound = padded(math.ceil(silent_padding_sec * rate))
        seconds = sound.shape[2] / rate
        if mode == "normal":
            wanted = int(seconds * fps)
            if count > wanted:
                images = images[:wanted]
            else:
                sound = sound[:, :, :int(count / fps * rate)]
        else:
            turn = [*range(count)] + ([*range(count - 2, 0, -1)] if mode == "pingpong" else [])
            images = images[[turn[i % len(turn)] for i in range(math.ceil(seconds * fps))]]
    return Result((images, {"waveform": sound, "sample_rate": rate}), None)


def _changed(**given):
    """Tells ComfyUI whether a file that is named has changed."""
    seen = []
    for what in ("video_file", "audio_file", "track"):
        if given.get(what):
            try:
                seen.append(files.identity(files.named(given[what], what)))
            except (ValueError, OSError):
                seen.append(given[what])
    return json.dumps(seen)


for function in (sync_file, faces, estimate):
    function.changed = _changed


def required(name, type, **options):
    return Input(name, type, options, False)


def optional(name, type, **options):
    return Input(name, type, options, True)


VIDEO = [
    optional("video", "VIDEO", tooltip="the person who is to speak"),
    optional("video_file", "STRING", default="", tooltip="instead of video: the name of a file in ComfyUI's input folder"),
]
AUDIO = [
    optional("audio", "AUDIO", tooltip="the speech"),
    optional("audio_file", "STRING", default="", tooltip="instead of audio: the name of a file in ComfyUI's input folder"),
]
SEED = required("seed", "INT", default=1247, min=0, max=2**63 - 1, control_after_generate=True)
QUALITY = required("quality", "COMBO", options=QUALITIES, default=QUALITIES[0],
                   tooltip="original: as the original does it; balanced, fast: less time; best: more")
MODELS = optional("models", "COMBO", options=lambda: ["automatic", *sorted(files.models())], default="automatic",
                  tooltip="a folder in models/latentsync; automatic: the newest, or else the model that the program finds")
TRACK_INPUT = optional("track", TRACK, tooltip="of LatentSync faces: they are not sought again")
JOB = [
    optional("fps", "COMBO", options=["25", "source"], default="25", tooltip="25, the model's own frame rate, or the video's"),
    optional("device", "STRING", default="auto", tooltip="auto, cpu, cuda or cuda:N"),
    optional("max_memory", "STRING", default="auto", tooltip="memory limit, like 4G; auto: 70 % of what is free"),
]

# Names, inputs and outputs of ComfyUI-LatentSyncWrapper, so that its graphs run. What it did not always have is optional; the
# order is always the same, because widgets of a graph have no names.
WRAPPER = [
    Node("LatentSyncNode", "LatentSync (images)",
         "Makes the lips of 25 images a second move to a speech. For more than some seconds use LatentSync (video file).",
         [required("images", "IMAGE"), required("audio", "AUDIO"), SEED,
          optional("lips_expression", "FLOAT", default=1.5, min=1.0, max=3.0, step=0.1),
          optional("inference_steps", "INT", default=20, min=1, max=999, step=1)],
         [("images", "IMAGE"), ("audio", "AUDIO")], sync_images, False),
    Node("VideoLengthAdjuster", "Video Length Adjuster",
         "Makes images and audio equally long.",
         [required("images", "IMAGE"), required("audio", "AUDIO"),
          required("mode", "COMBO", options=["normal", "pingpong", "loop_to_audio"], default="normal"),
          optional("fps", "FLOAT", default=25.0, min=1.0, max=120.0),
          optional("silent_padding_sec", "FLOAT", default=0.5, min=0.1, max=3.0, step=0.1)],
         [("images", "IMAGE"), ("audio", "AUDIO")], adjust_length, False),
]
WRAPPER += [node._replace(id="D_" + node.id, deprecated=True) for node in WRAPPER]  # until 2025-03

NODES = [
    Node("LatentSyncVideoFile", "LatentSync (video file)",
         "Makes the lips of a video move to a speech, from file to file: no frame is held in memory here. The result is in "
         "output/latentsync.",
         [QUALITY, SEED, *VIDEO, *AUDIO,
          optional("face", "STRING", default="largest", tooltip="largest, left, right, x,y, or a number of LatentSync faces"), TRACK_INPUT,
          optional("lips_expression", "FLOAT", default=0.0, min=0.0, max=10.0, step=0.1,
                   tooltip="guidance scale; 0: the model's own"),
          optional("until", "COMBO", options=["speech", "video"], default="speech",
                   tooltip="where the output ends: with the speech, or with the video if that is longer"), MODELS, *JOB],
         [("video", "VIDEO"), ("file", "STRING")], sync_file, True),
    Node("LatentSyncFaces", "LatentSync faces",
         "Finds the faces of a video: a picture of each, their numbers, and a track with which they need not be sought again.",
         [*VIDEO, MODELS],
         [("pictures", "IMAGE"), ("faces", "STRING"), ("count", "INT"), ("track", TRACK)], faces, True),
    Node("LatentSyncEstimate", "LatentSync estimate",
         "Tells what LatentSync (video file) would take.", [QUALITY, *VIDEO, *AUDIO, TRACK_INPUT, MODELS, *JOB],
         [("text", "STRING"), ("seconds", "INT"), ("memory_mb", "INT"), ("disk_mb", "INT"), ("frames", "INT")], estimate, True),
    *WRAPPER,
]
