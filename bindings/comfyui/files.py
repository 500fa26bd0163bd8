"""Files: models, inputs that a node is given, and what ComfyUI holds in memory written for the program."""
import hashlib
import json
import os
import struct

import comfy.model_management
import folder_paths

SUFFIXES = {"matroska": ".mkv", "mov": ".mp4", "mp4": ".mp4"}


def temp(*names):
    """In a folder for what a later run can make again: ComfyUI empties it when it starts."""
    path = os.path.join(folder_paths.get_temp_directory(), "latentsync", *names)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def jobs(name):
    """In the folder for what an interrupted run has made, which stays until it is resumed."""
    path = os.path.join(folder_paths.get_output_directory(), "latentsync", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def register_models():
    folder_paths.add_model_folder_path("latentsync", os.path.join(folder_paths.models_dir, "latentsync"))


def _is_model(folder):
    return any(os.path.isfile(os.path.join(folder, "latentsync_unet" + end)) for end in (".pt", ".safetensors"))


def models():
    """Model directories by name: those in the folders that ComfyUI knows for latentsync, and these folders themselves."""
    found = {}
    for folder in folder_paths.get_folder_paths("latentsync"):
        if not os.path.isdir(folder):
            continue
        for name in [".", *os.listdir(folder)]:
            path = os.path.normpath(os.path.join(folder, name))
            if _is_model(path):
                found.setdefault(os.path.basename(path), path)
    return found


def models_option(name):
    """What the program is told: the model of that name; without one, the newest of ComfyUI's or else its own choice."""
    found = models()
    if name in (None, "", "automatic"):
        return ["--models", found[max(found)]] if found else []
    if name not in found:
        raise ValueError(f"LatentSync: there is no model {name} in " + ", ".join(folder_paths.get_folder_paths("latentsync")))
    return ["--models", found[name]]


def named(name, what):
    """A file by its name in ComfyUI's input folder, or by a path in its input, output or temporary folder, which is all
    that whoever can send a graph may read."""
    name = name.strip()
    path = os.path.abspath(name if os.path.isabs(name) else folder_paths.get_annotated_filepath(name))
    folders = [os.path.abspath(f()) for f in (folder_paths.get_input_directory, folder_paths.get_output_directory,
                                              folder_paths.get_temp_directory)]
    if not any(os.path.commonpath([path, folder]) == folder for folder in folders):
        raise ValueError(f"LatentSync: {what} {name} is not in ComfyUI's input, output or temporary folder; put it, or a link "
                         f"to it, into {folders[0]}")
    if not os.path.isfile(path):
        raise ValueError(f"LatentSync: there is no {what} {path}")
    return path


def identity(path):
    """What tells a file from others without reading it. Those made here are named by their content."""
    if os.path.dirname(path) == os.path.dirname(temp("x")):
        return [path]
    info = os.stat(path)
    return [os.path.abspath(path), info.st_size, info.st_mtime_ns]


def key(*parts):
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=10).hexdigest()


def by_content(suffix, pieces):
    """A temporary file of these pieces of bytes, named by their digest."""
    digest = hashlib.blake2b(digest_size=16)
    part = temp(f"{os.getpid()}.part")
    try:
        with open(part, "wb") as f:
            for piece in pieces:
                comfy.model_management.throw_exception_if_processing_interrupted()
                digest.update(piece)
                f.write(piece)
        path = temp(digest.hexdigest() + suffix)
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)
    return path


def _wav(audio):
    """AUDIO as 32-bit floats; of a batch the first. More than 4 GB have the size that means an unknown one."""
    waveform, rate = audio["waveform"][0], int(audio["sample_rate"])
    channels, samples = waveform.shape
    size = 4 * channels * samples
    yield (b"RIFF" + struct.pack("<I", min(size + 50, 0xffffffff)) + b"WAVEfmt " +
           struct.pack("<IHHIIHHH", 18, 3, channels, rate, 4 * channels * rate, 4 * channels, 32, 0) +
           b"fact" + struct.pack("<II", 4, min(samples, 0xffffffff)) + b"data" + struct.pack("<I", min(size, 0xffffffff)))
    for at in range(0, samples, 1 << 18):
        yield waveform[:, at:at + (1 << 18)].cpu().float().numpy().T.astype("<f4").tobytes()


def audio_file(audio, name):
    if (audio is None) == (not name):
        raise ValueError("LatentSync: give the speech as audio or as audio_file" + (", not as both" if name else ""))
    return named(name, "audio_file") if audio is None else by_content(".wav", _wav(audio))


def _blocks(stream):
    stream.seek(0)
    return iter(lambda: stream.read(1 << 20), b"")


def _is_edited(video):
    """Trimmed or cropped, which its file does not have yet. Older ComfyUI have no such videos."""
    edits, window = (getattr(video, name, None) for name in ("has_pending_frame_edits", "get_active_trim_window"))
    return bool(edits and edits()) or bool(window and any(window()))


def _saved(video):
    part = temp(f"{os.getpid()}.saved.mp4")
    try:
        video.save_to(part)
        with open(part, "rb") as f:
            return by_content(".mp4", _blocks(f))
    finally:
        if os.path.exists(part):
            os.remove(part)


def video_file(video, name):
    """A file as it is; frames in ComfyUI's memory as a lossless one; anything else as ComfyUI saves it."""
    if (video is None) == (not name):
        raise ValueError("LatentSync: give the video as video or as video_file" + (", not as both" if name else ""))
    if video is None:
        return named(name, "video_file")
    from comfy_api.latest import InputImpl
    if isinstance(video, InputImpl.VideoFromFile) and not _is_edited(video):
        source = video.get_stream_source()
        if isinstance(source, str):
            return os.path.abspath(source)
        return by_content(SUFFIXES.get(video.get_container_format().split(",")[0], ".video"), _blocks(source))
    if isinstance(video, InputImpl.VideoFromComponents):
        from . import frames
        parts = video.get_components()
        return frames.write(parts.images, parts.frame_rate)
    return _saved(video)


def forget(video):
    """What was written of frames in memory is large, and can be written again."""
    if video.endswith(".y4m") and identity(video) == [video]:
        os.remove(video)
