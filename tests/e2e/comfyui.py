#!/usr/bin/python3
"""Nodes for ComfyUI, in a stand-in of it. usage: comfyui.py LATENTSYNC PUPPET MODEL (the system's Python has its packages)"""
import asyncio
import glob
import io
import logging
import os
import shutil
import subprocess
import sys
import time
import types
from fractions import Fraction

try:
    import av
    import numpy as np
    from PIL import Image
except ImportError as e:
    print(f"1..0 # SKIP there is no {e.name}")
    sys.exit(0)
PUPPET, MINI = (os.path.abspath(a) for a in sys.argv[2:4])
RECORDINGS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/puppet/recordings")
from common import DIR, LS, digest, ffmpeg, good, json, main, probe, run, test  # noqa: E402
import comfyui_stand_in as stand_in  # noqa: E402
from comfyui_stand_in import State, Tensor, V3  # noqa: E402

sys.dont_write_bytecode = True
BASE = os.path.join(DIR, "ComfyUI")
CLASSIC, NEW = {}, {}
LOG = []


def setup():
    os.environ["LATENTSYNC"] = LS
    stand_in.comfyui(BASE)
    good(run(PUPPET, "--seed", 7, "--size", 256, "--speech", f"{RECORDINGS}/fox.wav", "--phones", f"{RECORDINGS}/fox.txt", "speaker"))
    shutil.copy("speaker/face.mp4", f"{BASE}/input/speaker.mp4")
    ffmpeg("-i", f"{RECORDINGS}/morning.wav", "-t", "2", f"{BASE}/input/speech.wav")
    ffmpeg("-i", f"{RECORDINGS}/morning.wav", "-t", "0.4", f"{BASE}/input/short.wav")
    models = f"{BASE}/models/latentsync/1.5"
    os.makedirs(os.path.dirname(models))
    good(run(LS, "models", "random", "--size", "mini", "--out", models))
    shutil.copytree(f"{MINI}/face", f"{models}/face", dirs_exist_ok=True)
    with open(f"{models}/model.json", "w") as f:
        json.dump({"resolution": 64}, f)
    package = stand_in.load()
    assert not hasattr(package, "comfy_entrypoint")
    CLASSIC.update(package.NODE_CLASS_MAPPINGS)
    assert set(package.NODE_DISPLAY_NAME_MAPPINGS) == set(CLASSIC)
    stand_in.v3()
    package = stand_in.load()
    assert not hasattr(package, "NODE_CLASS_MAPPINGS")  # or ComfyUI would not ask for the entry point
    NEW.update({n.define_schema().node_id: n for n in asyncio.run(asyncio.run(package.comfy_entrypoint()).get_node_list())})
    handler = logging.Handler()
    handler.emit = lambda record: LOG.append(record.getMessage())
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)


def speech(name="short.wav"):
    with av.open(f"{BASE}/input/{name}") as f:
        rate = f.streams.audio[0].rate
        samples = np.concatenate([x.to_ndarray() for x in f.decode(audio=0)], 1)
    return {"waveform": (samples[None] / 32768).astype(np.float32).view(Tensor), "sample_rate": rate}


def new(node, **given):
    out = NEW[node].execute(**given)
    return out.args, out.ui


def part(name):
    """A module of the nodes."""
    return sys.modules[NEW["LatentSyncFaces"].execute.__func__.__globals__["__package__"] + "." + name]


def images(count):
    with av.open(f"{BASE}/input/speaker.mp4") as f:
        frames = [x.to_ndarray(format="rgb24") for _, x in zip(range(count), f.decode(video=0))]
    return (np.stack(frames).astype(np.float32) / 255).view(Tensor)


def fails(what, error, f, *args, **given):
    try:
        f(*args, **given)
    except error as e:
        assert what in str(e), f"no {what!r} in: {e}"
    else:
        raise AssertionError(f"no error: {what}")


def jobs(*pattern):
    return glob.glob(os.path.join(BASE, "output/latentsync", *pattern or "*"))


def children():
    """Processes that this one has started and that run."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as f:
                name, rest = f.read().rsplit(")", 1)
        except OSError:
            continue
        if int(rest.split()[1]) == os.getpid():
            found.append(name)
    return found


def appears(path):
    for _ in range(600):
        if os.path.exists(path):
            return
        time.sleep(0.1)
    raise AssertionError(f"no {path}")


@test
def both_kinds_are_the_same():
    assert set(NEW) == set(CLASSIC) >= {"LatentSyncNode", "VideoLengthAdjuster", "LatentSyncVideoFile"}
    for name, node in NEW.items():
        schema, old = node.define_schema(), CLASSIC[name]
        types_ = old.INPUT_TYPES()
        assert [i.id for i in schema.inputs if not i.options["optional"]] == list(types_["required"]), name
        assert [i.id for i in schema.inputs if i.options["optional"]] == list(types_["optional"]), name
        for i in schema.inputs:
            kind, options = types_["optional" if i.options["optional"] else "required"][i.id]
            assert kind == (i.options.get("options") if i.kind == "COMBO" else i.kind), (name, i.id)
            assert options.get("default") == i.options.get("default"), (name, i.id)
        assert [o.kind for o in schema.outputs] == list(old.RETURN_TYPES) and [o.id for o in schema.outputs] == list(old.RETURN_NAMES)
        assert (schema.is_output_node, schema.is_deprecated) == (old.OUTPUT_NODE, old.DEPRECATED), name
        assert schema.category == old.CATEGORY and callable(getattr(old, old.FUNCTION)), name


@test
def graphs_of_the_wrapper_fit():
    def inputs(name):
        found = CLASSIC[name].INPUT_TYPES()
        return {k: v[1].get("default", v[0]) for k, v in {**found["required"], **found["optional"]}.items()}, list(found["required"])

    for before in ("", "D_"):  # the first versions had other names and fewer inputs
        wrapper = {"images": "IMAGE", "audio": "AUDIO", "seed": 1247, "lips_expression": 1.5, "inference_steps": 20}
        found, required = inputs(before + "LatentSyncNode")
        assert found == wrapper and list(found) == list(wrapper) and required == ["images", "audio", "seed"], found
        wrapper = {"images": "IMAGE", "audio": "AUDIO", "mode": "normal", "fps": 25.0, "silent_padding_sec": 0.5}
        found, required = inputs(before + "VideoLengthAdjuster")
        assert found == wrapper and list(found) == list(wrapper) and required == ["images", "audio", "mode"], found
        for name in ("LatentSyncNode", "VideoLengthAdjuster"):
            assert CLASSIC[before + name].RETURN_TYPES == ("IMAGE", "AUDIO") and CLASSIC[before + name].DEPRECATED == bool(before)
    assert CLASSIC["VideoLengthAdjuster"].INPUT_TYPES()["required"]["mode"][0] == ["normal", "pingpong", "loop_to_audio"]


@test
def examples_fit():
    folder = os.path.join(stand_in.NODES, "example_workflows")
    seen = set()
    for path in glob.glob(folder + "/api/*.json"):
        for node in json.load(open(path)).values():
            if node["class_type"] in CLASSIC:
                known = CLASSIC[node["class_type"]].INPUT_TYPES()
                assert set(known["required"]) <= set(node["inputs"]) <= {*known["required"], *known["optional"]}, (path, node)
                seen.add(node["class_type"])
    current = {name for name, node in CLASSIC.items() if not node.DEPRECATED}
    assert seen == current, current - seen
    pages = glob.glob(folder + "/*.json")
    for path in pages:
        graph = json.load(open(path))
        for node in graph["nodes"]:
            if node["type"] in CLASSIC:
                known = CLASSIC[node["type"]].INPUT_TYPES()
                known = {**known["required"], **known["optional"]}
                widgets = [n for n, (kind, _) in known.items() if isinstance(kind, list) or kind in ("INT", "FLOAT", "STRING")]
                values = list(node["widgets_values"])
                for w in widgets:
                    kind, value = known[w][0], values.pop(0)
                    if isinstance(kind, list):
                        assert value in kind, (path, w, value)
                    else:
                        assert isinstance(value, {"INT": int, "FLOAT": (int, float), "STRING": str}[kind]), (path, w, value)
                    if known[w][1].get("control_after_generate"):
                        assert values.pop(0) in ("fixed", "randomize", "increment", "decrement")
                assert not values, (path, values)
                assert {i["name"] for i in node["inputs"]} <= set(known), path
        outputs = {n["id"]: n.get("outputs", []) for n in graph["nodes"]}
        for number, source, slot, target, place, kind in graph["links"]:
            there = next(n for n in graph["nodes"] if n["id"] == target)["inputs"][place]
            assert number in outputs[source][slot]["links"] and there["link"] == number and there["type"] in (kind, "*"), (path, number)
    assert len(pages) >= 2


@test
def a_file_passes_by_its_path():
    State.progress.clear()
    video = V3.VideoFromFile(f"{BASE}/input/speaker.mp4")  # which cannot give frames
    (made, path), ui = new("LatentSyncVideoFile", video=video, audio=speech(), quality="fast", seed=3)
    assert made.file == path and os.path.dirname(path) == f"{BASE}/output/latentsync"
    assert ui["images"] == [{"filename": os.path.basename(path), "subfolder": "latentsync", "type": "output"}], ui
    assert int(probe(path)["nb_read_frames"]) == 10 and probe(path, "a:0")["codec_name"] == "aac"
    assert State.progress[-1][:2] == (1000, 1000) and not jobs("*.lsjob"), State.progress[-1]
    shown = [p for _, _, p in State.progress if p]
    assert shown and all(k == "JPEG" and isinstance(i, Image.Image) and i.size == (256, 256) for k, i, _ in shown)
    before = os.stat(path).st_mtime_ns, len(State.progress)
    again, _ = new("LatentSyncVideoFile", video=video, audio=speech(), quality="fast", seed=3)
    assert again[1] == path and (os.stat(path).st_mtime_ns, len(State.progress)) == before  # it is not made twice
    classic = CLASSIC["LatentSyncVideoFile"]().run(video_file="speaker.mp4", audio_file="short.wav", quality="fast", seed=3)
    assert classic["result"][1] != path and int(probe(classic["result"][1])["nb_read_frames"]) == 10


@test
def frames_of_memory_are_a_video_too():
    parts = types.SimpleNamespace(images=images(8), frame_rate=Fraction(24000, 1001), audio=None)
    (_, path), _ = new("LatentSyncVideoFile", video=V3.VideoFromComponents(parts), audio_file="short.wav", quality="fast", seed=3,
                       fps="source")
    assert probe(path)["r_frame_rate"] == "24000/1001", probe(path)


@test
def streams_and_parts_are_made_files():
    with open(f"{BASE}/input/speaker.mp4", "rb") as f:
        stream = V3.VideoFromFile(io.BytesIO(f.read()))
    assert new("LatentSyncEstimate", video=stream, audio=speech(), quality="fast")[0][4] == 10
    trimmed = V3.VideoFromFile(f"{BASE}/input/speaker.mp4", start_time=1, duration=0.8)
    (_, path), _ = new("LatentSyncVideoFile", video=trimmed, audio=speech(), quality="fast", seed=1, until="video")
    assert int(probe(path)["nb_read_frames"]) == 20, probe(path)


@test
def cancelled_and_resumed():
    given = {"video_file": "speaker.mp4", "audio_file": "speech.wav", "quality": "original", "seed": 5}

    def cancel(_):
        State.interrupted |= bool(jobs("*.lsjob", "chunk-*"))
    State.on_progress = cancel
    fails("", stand_in.Interrupted, new, "LatentSyncVideoFile", **given)
    State.on_progress = lambda _: None
    assert len(jobs("*.lsjob")) == 1 and not children(), children()
    LOG.clear()
    (_, path), _ = new("LatentSyncVideoFile", **given)
    made = next(line for line in LOG if line.startswith("LatentSync: 50 frames"))
    assert int(made.split(",")[1].split()[0]) < 50 and not jobs("*.lsjob"), made
    resumed = digest(path)
    os.remove(path)
    (_, path), _ = new("LatentSyncVideoFile", **given)
    assert digest(path) == resumed


@test
def images_stay_as_they_are_around_the_face():
    before, sound = images(10), speech()
    written = part("frames").write(before, 25)  # as ffmpeg sees it, whose conversion rounds more coarsely
    r = subprocess.run(["ffmpeg", "-v", "error", "-i", written, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True)
    seen = np.frombuffer(r.stdout, np.uint8).reshape(before.shape)
    assert abs(seen - before * 255).max() < 3, abs(seen - before * 255).max()
    (after, audio), _ = new("LatentSyncNode", images=before, audio=sound, seed=1, lips_expression=1.5, inference_steps=2)
    assert audio is sound and after.shape == before.shape and after.dtype == np.float32
    above = abs(after[:, :40] - before[:, :40]).max()
    assert above < 0.5 / 255, above  # the same in 8 bits
    assert abs(after - before).max() > 0.05
    assert not jobs("*.mkv*") and not glob.glob(f"{BASE}/temp/latentsync/*.y4m")
    odd = before[:, :255, :253]
    (after, _), _ = new("LatentSyncNode", images=odd, audio=sound, seed=1, lips_expression=1.5, inference_steps=2)
    assert after.shape == odd.shape and abs(after[:, :40] - odd[:, :40]).max() < 0.5 / 255


@test
def faces_and_estimate():
    (pictures, text, count, track), ui = new("LatentSyncFaces", video_file="speaker.mp4")
    assert count == 1 and pictures.shape == (1, 256, 256, 3) and text.startswith("face 1: frames 0 to "), text
    shown = ui["images"][0]
    assert os.path.isfile(os.path.join(BASE, shown["type"], shown["subfolder"], shown["filename"])), shown
    given = {"video_file": "speaker.mp4", "audio_file": "short.wav", "quality": "fast", "track": track}
    (text, seconds, memory, disk, frames), _ = new("LatentSyncEstimate", **given)
    assert frames == 10 and seconds > 0 and 20 < memory < 10000 and disk >= 1 and "10 frames" in text, text
    (_, path), _ = new("LatentSyncVideoFile", face="1", seed=1, **given)
    assert int(probe(path)["nb_read_frames"]) == 10
    changed = NEW["LatentSyncFaces"].fingerprint_inputs(video_file="speaker.mp4")
    os.utime(f"{BASE}/input/speaker.mp4", (1, 1))
    assert NEW["LatentSyncFaces"].fingerprint_inputs(video_file="speaker.mp4") != changed


@test
def lengths_are_the_wrappers():
    frames = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1).view(Tensor)
    for seconds, mode, count, samples in ((1.0, "normal", 10, 400), (.1, "normal", 7, 300), (1.0, "pingpong", 30, 1200),
                                          (.1, "pingpong", 10, 400), (1.0, "loop_to_audio", 30, 1200), (.1, "loop_to_audio", 8, 300)):
        sound = {"waveform": np.ones((1, 2, round(1000 * seconds)), np.float32).view(Tensor), "sample_rate": 1000}
        (got, audio), _ = new("VideoLengthAdjuster", images=frames, audio=sound, mode=mode, fps=25.0, silent_padding_sec=.2)
        assert (len(got), audio["waveform"].shape) == (count, (1, 2, samples)), (seconds, mode, len(got), audio["waveform"].shape)
        order = [*range(10), *(range(8, 0, -1) if mode == "pingpong" else [])] * 3
        assert [int(x) for x in got.ravel()] == order[:count], (mode, got.ravel())


@test
def errors_say_what_to_do():
    sync = {"quality": "fast", "seed": 1}
    fails("not as both", ValueError, new, "LatentSyncVideoFile", video_file="speaker.mp4", audio=speech(), audio_file="short.wav", **sync)
    fails("give the video", ValueError, new, "LatentSyncVideoFile", audio_file="short.wav", **sync)
    fails("there is no video_file", ValueError, new, "LatentSyncVideoFile", video_file="none.mp4", audio_file="short.wav", **sync)
    for outside in ("/etc/passwd", "../models/latentsync/1.5/model.json"):
        fails("is not in ComfyUI's", ValueError, new, "LatentSyncVideoFile", video_file=outside, audio_file="short.wav", **sync)
    fails("there is no model 1.4", ValueError, new, "LatentSyncFaces", video_file="speaker.mp4", models="1.4")
    fails("speech.wav", RuntimeError, new, "LatentSyncFaces", video_file="speech.wav")
    fails("max_memory", RuntimeError, new, "LatentSyncVideoFile", video_file="speaker.mp4", audio_file="short.wav", max_memory="x", **sync)
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=256x256:r=25:d=1", f"{BASE}/input/none.mp4")
    fails("no face", RuntimeError, new, "LatentSyncVideoFile", video_file="none.mp4", audio_file="short.wav", **sync)
    fails("no face", RuntimeError, new, "LatentSyncFaces", video_file="none.mp4")
    assert not jobs("*.mp4.lsjob") and not glob.glob(f"{BASE}/temp/latentsync/*.part")


@test
def the_program_is_found_and_its_end_is_explained():
    def stands_in(text):
        with open("o.program", "w") as f:
            f.write("#!/bin/sh\n" + text)
        os.chmod("o.program", 0o755)
        os.environ["LATENTSYNC"] = os.path.abspath("o.program")
    path = os.environ["PATH"]
    try:
        stands_in("echo $$ > o.pid; trap '' TERM; echo '{\"frames\":1}'; while :; do sleep 0.1; done")
        program = part("program")

        def heard(_):
            State.interrupted = True
        fails("", stand_in.Interrupted, program.run, heard, "faces")
        assert not os.path.exists("/proc/" + open("o.pid").read().strip())  # it had to be killed
        stands_in("echo > o.started; case \"$*\" in *--watch-stdin*) cat; echo > o.ended;; esac")
        child = os.fork()
        if child == 0:
            program.run(print, "faces")
            os._exit(0)
        appears("o.started")
        assert not os.path.exists("o.ended")
        os.kill(child, 9)
        os.waitpid(child, 0)
        appears("o.ended")  # the program ends with ComfyUI
        stands_in("echo 'latentsync: odd words' >&2; exit 3")
        fails("LatentSync: odd words", RuntimeError, program.run, print, "faces")
        stands_in("kill -9 $$")
        fails("status -9", RuntimeError, program.run, print, "faces")
        os.environ["LATENTSYNC"] = "/none"
        fails("LATENTSYNC is /none", RuntimeError, new, "LatentSyncFaces", video_file="speaker.mp4")
        del os.environ["LATENTSYNC"]
        os.environ["PATH"] = DIR
        fails("set LATENTSYNC", RuntimeError, program.find)
        os.symlink(LS, "latentsync")
        assert program.find() == os.path.join(DIR, "latentsync")
        os.remove("latentsync")
    finally:
        os.environ.update(PATH=path, LATENTSYNC=LS)


sys.exit(main(setup))
