"""What the nodes use of ComfyUI and of torch, with the names and signatures that these have."""
import importlib.util
import os
import sys
import types

import numpy as np

from common import ffmpeg

NODES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../bindings/comfyui")


class Interrupted(Exception):
    pass


class State:
    interrupted = False
    progress = []
    on_progress = staticmethod(lambda value: None)


def throw_exception_if_processing_interrupted():
    if State.interrupted:
        State.interrupted = False
        raise Interrupted()


class ProgressBar:
    def __init__(self, total, node_id=None):
        self.total = total

    def update_absolute(self, value, total=None, preview=None):
        State.progress.append((value, total or self.total, preview))
        State.on_progress(value)


class Tensor(np.ndarray):
    def cpu(self):
        return self

    def float(self):
        return self.astype(np.float32)

    def numpy(self):
        return self.view(np.ndarray)


def module(name, **members):
    m = sys.modules[name] = types.ModuleType(name)
    m.__dict__.update(members)
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, m)
    return m


def comfyui(base):
    """A ComfyUI in the folder `base`."""
    paths = {name: os.path.join(base, name) for name in ("input", "output", "temp", "models")}
    for path in paths.values():
        os.makedirs(path)
    folders = {}
    module("folder_paths", models_dir=paths["models"], get_input_directory=lambda: paths["input"],
           get_output_directory=lambda: paths["output"], get_temp_directory=lambda: paths["temp"],
           get_annotated_filepath=lambda name: os.path.join(paths["input"], name),
           add_model_folder_path=lambda name, path: folders.setdefault(name, []).append(path),
           get_folder_paths=lambda name: folders[name][:])
    module("comfy")
    module("comfy.model_management", throw_exception_if_processing_interrupted=throw_exception_if_processing_interrupted)
    module("comfy.utils", ProgressBar=ProgressBar)
    module("torch", from_numpy=lambda a: a.view(Tensor), empty=lambda shape: np.empty(shape, np.float32).view(Tensor),
           zeros=lambda shape, dtype: np.zeros(shape, dtype).view(Tensor), cat=lambda a, dim: np.concatenate(a, dim).view(Tensor),
           stack=lambda a: np.stack(a).view(Tensor))


class V3:
    """comfy_api.latest. A keyword that it does not know is an error there too."""

    class Item:
        def __init__(self, kind, id, **options):
            self.kind, self.id, self.options = kind, id, options

    @staticmethod
    def type(kind, *known):
        def item(id, *, optional=False, tooltip=None, **options):
            assert set(options) <= set(known), (kind, id, options)
            return V3.Item(kind, id, optional=optional, tooltip=tooltip, **options)
        return types.SimpleNamespace(Input=item, Output=lambda id=None, display_name=None: V3.Item(kind, display_name))

    class Schema:
        def __init__(self, node_id, display_name=None, category="sd", inputs=None, outputs=None, description="", is_output_node=False,
                     is_deprecated=False):
            self.__dict__.update(locals())
            assert len({i.id for i in inputs}) == len(inputs)

    class NodeOutput:
        def __init__(self, *args, ui=None):
            self.args, self.ui = args, ui

    class ComfyNode:
        pass

    class ComfyExtension:
        pass

    class VideoFromFile:
        def __init__(self, file, *, start_time=0, duration=0):
            self.file, self.window = file, (start_time, duration)

        def get_active_trim_window(self):
            return self.window

        def get_stream_source(self):
            return self.file

        def get_container_format(self):
            return "mov,mp4,m4a"

        def save_to(self, path):
            start, duration = self.window
            ffmpeg("-ss", start, "-i", self.file, "-t", duration, "-preset", "ultrafast", path)

    class VideoFromComponents:
        def __init__(self, components):
            self.components = components

        def get_components(self):
            return self.components


def v3():
    """From now on ComfyUI has V3."""
    number = ("default", "min", "max", "step")
    io = types.SimpleNamespace(
        Schema=V3.Schema, ComfyNode=V3.ComfyNode, NodeOutput=V3.NodeOutput, Image=V3.type("IMAGE"), Audio=V3.type("AUDIO"),
        Video=V3.type("VIDEO"), Int=V3.type("INT", "control_after_generate", *number), Float=V3.type("FLOAT", *number),
        String=V3.type("STRING", "default"), Combo=V3.type("COMBO", "options", "default"), Custom=V3.type)
    module("comfy_api")
    module("comfy_api.latest", io=io, ComfyExtension=V3.ComfyExtension,
           InputImpl=types.SimpleNamespace(VideoFromFile=V3.VideoFromFile, VideoFromComponents=V3.VideoFromComponents))


def load():
    """The package, as ComfyUI loads a folder of custom_nodes: by a name that is a path."""
    name = f"/custom_nodes/latentsync{len(sys.modules)}"
    spec = importlib.util.spec_from_file_location(name, os.path.join(NODES, "__init__.py"))
    package = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    return package
