"""The options of each call. Written by generate.py from the program's table; not edited by hand."""
from __future__ import annotations

import os
from typing import Dict, Literal, NamedTuple, Optional, Tuple, TypedDict, Union

VERSION = "0.2.0"

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


class Option(NamedTuple):
    kind: str  # "flag", "integer", "number", "bytes", "choice", "text" or "path"
    help: str
    initial: Optional[str] = None
    automatic: Optional[str] = None  # what happens when it is left out, if there is no default
    least: Optional[float] = None
    most: Optional[float] = None
    choices: Tuple[str, ...] = ()
    implied: Optional[str] = None  # what True stands for


class SyncOptions(TypedDict, total=False):
    models: Optional[Path]
    video_stream: Optional[int]
    audio_stream: Optional[int]
    deinterlace: Optional[Literal["auto", "off"]]
    features_from: Optional[Path]
    offset: Optional[float]
    keep_sound: Optional[str]
    audio_windows: Optional[Literal["overlap", "exact"]]
    silence: Optional[Literal["close", "leave"]]
    face: Optional[Union[str, float]]
    max_gap: Optional[int]
    detect_every: Optional[Union[int, Literal["auto"]]]
    min_face: Optional[int]
    occlusion: Optional[Literal["auto", "off"]]
    detector: Optional[Path]
    save_track: Optional[Path]
    face_track: Optional[Path]
    resolution: Optional[int]
    quality: Optional[Literal["auto", "fast", "balanced", "best"]]
    sampler: Optional[Literal["auto", "ddim", "dpmpp", "unipc"]]
    steps: Optional[int]
    guidance: Optional[float]
    cache_interval: Optional[int]
    guidance_interval: Optional[str]
    seed: Optional[int]
    dtype: Optional[Literal["auto", "f32", "bf16", "f16", "int8"]]
    device: Optional[str]
    threads: Optional[int]
    blend: Optional[Literal["mask", "crop"]]
    sharpen: Optional[Union[str, float]]
    until: Optional[Literal["speech", "video"]]
    start: Optional[float]
    duration: Optional[float]
    preview: Optional[Union[float, bool]]
    fps: Optional[Literal["25", "source"]]
    video_codec: Optional[str]
    pixel_format: Optional[str]
    crf: Optional[int]
    preset: Optional[str]
    mark: Optional[str]
    no_overwrite: Optional[bool]
    segment_seconds: Optional[float]
    job: Optional[Path]
    keep_job: Optional[bool]
    restart: Optional[bool]
    max_memory: Optional[Union[int, str]]
    max_vram: Optional[Union[int, str]]
    weights_cache: Optional[Union[int, str]]
    any_device: Optional[bool]
    stats: Optional[Path]
    newest_frame: Optional[Path]
    stream: Optional[Path]


class ResumeOptions(TypedDict, total=False):
    device: Optional[str]
    threads: Optional[int]
    keep_job: Optional[bool]
    trust_job: Optional[bool]
    max_memory: Optional[Union[int, str]]
    max_vram: Optional[Union[int, str]]
    weights_cache: Optional[Union[int, str]]
    any_device: Optional[bool]
    stats: Optional[Path]
    newest_frame: Optional[Path]
    stream: Optional[Path]


class FacesOptions(TypedDict, total=False):
    models: Optional[Path]
    video_stream: Optional[int]
    deinterlace: Optional[Literal["auto", "off"]]
    max_gap: Optional[int]
    detect_every: Optional[Union[int, Literal["auto"]]]
    min_face: Optional[int]
    detector: Optional[Path]
    threads: Optional[int]
    fps: Optional[Literal["25", "source"]]


class EstimateOptions(TypedDict, total=False):
    models: Optional[Path]
    video_stream: Optional[int]
    audio_stream: Optional[int]
    deinterlace: Optional[Literal["auto", "off"]]
    features_from: Optional[Path]
    offset: Optional[float]
    keep_sound: Optional[str]
    audio_windows: Optional[Literal["overlap", "exact"]]
    silence: Optional[Literal["close", "leave"]]
    face: Optional[Union[str, float]]
    max_gap: Optional[int]
    detect_every: Optional[Union[int, Literal["auto"]]]
    min_face: Optional[int]
    occlusion: Optional[Literal["auto", "off"]]
    detector: Optional[Path]
    face_track: Optional[Path]
    resolution: Optional[int]
    quality: Optional[Literal["auto", "fast", "balanced", "best"]]
    sampler: Optional[Literal["auto", "ddim", "dpmpp", "unipc"]]
    steps: Optional[int]
    guidance: Optional[float]
    cache_interval: Optional[int]
    guidance_interval: Optional[str]
    seed: Optional[int]
    dtype: Optional[Literal["auto", "f32", "bf16", "f16", "int8"]]
    device: Optional[str]
    threads: Optional[int]
    blend: Optional[Literal["mask", "crop"]]
    sharpen: Optional[Union[str, float]]
    until: Optional[Literal["speech", "video"]]
    start: Optional[float]
    duration: Optional[float]
    fps: Optional[Literal["25", "source"]]
    video_codec: Optional[str]
    pixel_format: Optional[str]
    crf: Optional[int]
    preset: Optional[str]
    mark: Optional[str]
    max_memory: Optional[Union[int, str]]
    max_vram: Optional[Union[int, str]]
    weights_cache: Optional[Union[int, str]]


class CheckOptions(TypedDict, total=False):
    models: Optional[Path]
    video_stream: Optional[int]
    deinterlace: Optional[Literal["auto", "off"]]
    face: Optional[Union[str, float]]
    max_gap: Optional[int]
    detect_every: Optional[Union[int, Literal["auto"]]]
    min_face: Optional[int]
    detector: Optional[Path]
    face_track: Optional[Path]
    threads: Optional[int]
    syncnet: Optional[Path]


class FramesOptions(TypedDict, total=False):
    models: Optional[Path]
    audio_stream: Optional[int]
    features_from: Optional[Path]
    offset: Optional[float]
    keep_sound: Optional[str]
    audio_windows: Optional[Literal["overlap", "exact"]]
    silence: Optional[Literal["close", "leave"]]
    face: Optional[Union[str, float]]
    max_gap: Optional[int]
    detect_every: Optional[Union[int, Literal["auto"]]]
    min_face: Optional[int]
    occlusion: Optional[Literal["auto", "off"]]
    detector: Optional[Path]
    save_track: Optional[Path]
    face_track: Optional[Path]
    resolution: Optional[int]
    quality: Optional[Literal["auto", "fast", "balanced", "best"]]
    sampler: Optional[Literal["auto", "ddim", "dpmpp", "unipc"]]
    steps: Optional[int]
    guidance: Optional[float]
    cache_interval: Optional[int]
    guidance_interval: Optional[str]
    seed: Optional[int]
    dtype: Optional[Literal["auto", "f32", "bf16", "f16", "int8"]]
    device: Optional[str]
    threads: Optional[int]
    blend: Optional[Literal["mask", "crop"]]
    sharpen: Optional[Union[str, float]]
    until: Optional[Literal["speech", "video"]]
    start: Optional[float]
    duration: Optional[float]
    mark: Optional[str]
    max_memory: Optional[Union[int, str]]
    max_vram: Optional[Union[int, str]]
    weights_cache: Optional[Union[int, str]]
    stats: Optional[Path]
    newest_frame: Optional[Path]


_ALL: Dict[str, Option] = {
    "video": Option("path",
           "video of the person who is to speak"),
    "audio": Option("path",
           "recording of the speech"),
    "output": Option("path",
           "video to write: .mp4, .m4v, .mov, .mkv or .webm"),
    "models": Option("path",
           "model directory",
           automatic="the installed model, else the built-in one, for drawn faces only"),
    "video_stream": Option("integer",
           "stream of VIDEO to use, as \"latentsync probe\" numbers them; -1: one that moves and "
           "lasts",
           initial="-1", least=-1, most=99999),
    "audio_stream": Option("integer",
           "likewise of SPEECH",
           initial="-1", least=-1, most=99999),
    "deinterlace": Option("choice",
           "auto: frames that are marked as interlaced; off: none",
           initial="auto", choices=("auto", "off",)),
    "features_from": Option("path",
           "recording that the lips follow, such as the voice alone; the output has the sound of"
           " SPEECH",
           automatic="SPEECH"),
    "offset": Option("number",
           "begin the speech, and the lips with it, so much later, after silence; negative: "
           "leave so much of its start out",
           initial="0", least=-3600000, most=3600000),
    "keep_sound": Option("text",
           "mix the video's own sound under the speech, so loud, like -20dB; it starts again "
           "whenever the video turns",
           automatic="it is left out"),
    "audio_windows": Option("choice",
           "how the 30 s that are listened to at a time follow each other: overlap: by 2 s, "
           "blended, so that no seam is seen; exact: as the original's, side by side",
           initial="overlap", choices=("overlap", "exact",)),
    "silence": Option("choice",
           "where there is no speech: close: the lips hear silence, whatever noise there is; "
           "leave: they hear the noise, as the original's",
           initial="close", choices=("close", "leave",)),
    "face": Option("text",
           "largest, left, right, the number of a track, or x,y: a point of the picture; the "
           "choice is kept within a shot",
           initial="largest"),
    "max_gap": Option("integer",
           "longest gap without a detection to interpolate; frames of longer gaps stay "
           "unchanged, with the new mouth fading out and in",
           initial="12", least=0, most=250),
    "detect_every": Option("integer",
           "run detection on every Nth frame and interpolate between; auto: N from 1 to 5, as "
           "the faces move",
           initial="1",
           automatic="every 5th frame at most, fewer apart the more the faces move",
           least=1,
           most=250),
    "min_face": Option("integer",
           "height of the smallest face to use, 5/8 of it being the width; smaller ones are "
           "often none, and come out blurred",
           initial="80", least=16, most=4096),
    "occlusion": Option("choice",
           "auto: keep the video's own mouth where something covers it or the head turns far, "
           "with the new one fading out and in; off: replace it everywhere",
           initial="auto", choices=("auto", "off",)),
    "detector": Option("path",
           "ONNX file of the face detector",
           automatic="the best one in DIR/face"),
    "save_track": Option("path",
           "save the faces found, so that another run needs no detection"),
    "face_track": Option("path",
           "use the faces of this file (JSON lines, see docs/FORMATS.md) instead of detecting"),
    "resolution": Option("integer",
           "side of the face image: 256 for LatentSync 1.5, 512 for 1.6",
           automatic="the model's own, 512 if it names none", least=64, most=4096),
    "quality": Option("choice",
           "what sampler, steps, cache-interval and guidance-interval are where they are not "
           "given: the UNet's time is 0.22 (fast), 0.66 (balanced) or 3.1 (best) of the "
           "original's; drawn lips follow with 0.868, 0.867 and 0.868, the original's with 0.872",
           automatic="the original's: ddim, 20 steps, every third whole",
           choices=("auto", "fast", "balanced", "best",)),
    "sampler": Option("choice",
           "solver of the denoising steps: ddim, dpmpp (DPM-Solver++ 2M) or unipc",
           initial="auto", choices=("auto", "ddim", "dpmpp", "unipc",)),
    "steps": Option("integer",
           "denoising steps",
           automatic="as the quality says", least=1, most=1000),
    "guidance": Option("number",
           "guidance scale; 1 turns guidance off",
           automatic="the model's own, 1.5 if it names none", least=0, most=100),
    "cache_interval": Option("integer",
           "run the whole UNet every Nth step; 1: always",
           automatic="as the quality says", least=1, most=1000),
    "guidance_interval": Option("text",
           "fractions of the steps, 0 to 1, between which guidance is computed; there is none "
           "before, the last one goes on after; these steps take half the time",
           automatic="as the quality says"),
    "seed": Option("integer",
           "seed of the noise; -1 draws one and prints it",
           initial="1247", least=-1, most=9223372036854775808),
    "dtype": Option("choice",
           "number type: auto, f32, bf16 or int8 on the CPU, f16 on a card; auto is bf16 where "
           "the CPU supports it; int8 is faster, needs half the memory and is less exact",
           initial="auto", choices=("auto", "f32", "bf16", "f16", "int8",)),
    "device": Option("text",
           "where networks run: cpu, cuda or vulkan (all cards of a kind), cuda:N, vulkan:N, or "
           "for each, like unet=cuda:0,vae=cpu; auto: the cards, where the job fits, else the "
           "CPU",
           initial="auto"),
    "threads": Option("integer",
           "threads of the networks",
           automatic="all cores", least=1, most=1024),
    "syncnet": Option("path",
           "weights of StableSyncNet or SyncNet to compare lips and sound with",
           automatic="DIR/stable_syncnet.pt or DIR/auxiliary/syncnet_v2.model; without them, how far the mouth is open"),
    "blend": Option("choice",
           "mask: replace only what was repainted, its colors matched to the face around; crop: "
           "the whole face, as the original does",
           initial="mask", choices=("mask", "crop",)),
    "sharpen": Option("text",
           "sharpen what is pasted, 0 to 1, at most as sharp as the face around it; only with "
           "--blend mask",
           automatic="as much as the face in the video is finer than the model's image"),
    "until": Option("choice",
           "where the output ends: with the speech, or, if that is later, with the video, whose "
           "rest follows unchanged with its own sound",
           initial="speech", choices=("speech", "video",)),
    "start": Option("number",
           "make the output from there only: the frames that the whole has there, with their "
           "sound",
           initial="0", least=0, most=10000000),
    "duration": Option("number",
           "make only so much of the output, from --start",
           automatic="to the end", least=0.001, most=10000000),
    "preview": Option("number",
           "make only the liveliest SECONDS of the speech, 2 if no number follows, as FILE with "
           ".preview before its extension, and fast if no quality is chosen; their chunks are "
           "kept for the whole",
           automatic="no preview", implied="2", least=0.04, most=60),
    "fps": Option("choice",
           "25, the model's own frame rate, or source: the video's; where that varies every "
           "frame keeps its time",
           initial="25", choices=("25", "source",)),
    "video_codec": Option("text",
           "encoder, one that \"latentsync info\" lists",
           initial="libx264"),
    "pixel_format": Option("text",
           "as ffmpeg's -pix_fmt; auto: 4:2:0 of 8 or 10 bits, with transparency where the video"
           " has it and the encoder can",
           initial="auto"),
    "crf": Option("integer",
           "quality on the encoder's own scale; lower is better",
           initial="18", least=0, most=63),
    "preset": Option("text",
           "speed of the encoder: x264's names, or its own number",
           initial="medium"),
    "mark": Option("text",
           "how the output says that AI made the lips: metadata: IPTC's DigitalSourceType and a "
           "comment in the file; visible: besides, AI-generated in a corner of the picture, or "
           "visible=TEXT; none: it does not",
           initial="metadata", choices=("metadata", "visible", "none",)),
    "no_overwrite": Option("flag",
           "fail if the output exists, instead of replacing it"),
    "segment_seconds": Option("number",
           "length of the segments that are kept when a job is interrupted; each starts with a "
           "key frame",
           automatic="9.6 at 25 frames/s", least=0.1, most=86400),
    "job": Option("path",
           "folder of the job, FILE being the output",
           automatic="FILE.lsjob"),
    "keep_job": Option("flag",
           "keep the job's folder when the output is complete"),
    "restart": Option("flag",
           "discard what an earlier run left in the job's folder, and start again"),
    "trust_job": Option("flag",
           "write the output where the job's folder says, though it was copied or made elsewhere"),
    "max_memory": Option("bytes",
           "memory limit, like 4G or 900M; work is cut into smaller pieces to fit",
           automatic="70 % of what is free", least=1, most=4611686018427387904),
    "max_vram": Option("bytes",
           "limit of what is held in the memory of each card",
           automatic="90 % of what is free", least=1, most=4611686018427387904),
    "weights_cache": Option("bytes",
           "disk space in which weights are kept as the CPU needs them, so that later starts are"
           " quick; 0: none",
           initial="10G", least=0, most=4611686018427387904),
    "any_device": Option("flag",
           "resume on another card, driver or CPU library than the job was begun with; frames "
           "made here differ from the others in their last bits"),
    "stats": Option("path",
           "append a line of JSON every second, for \"latentsync report\""),
    "newest_frame": Option("path",
           "keep a small JPEG of the newest finished frame, renewed once a second"),
    "stream": Option("path",
           "write what is finished as HLS, to be watched while the rest is made: DIR/stream.m3u8"),
}

# Of each call, in the order in which the program lists them.
OPTIONS: Dict[str, Dict[str, Option]] = {
    command: {name: _ALL[name] for name in names.__annotations__}
    for command, names in (
        ("sync", SyncOptions),
        ("resume", ResumeOptions),
        ("faces", FacesOptions),
        ("estimate", EstimateOptions),
        ("check", CheckOptions),
        ("frames", FramesOptions),
    )
}
