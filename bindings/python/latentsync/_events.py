"""What a running call says: one frozen object for each event of the program (docs/FORMATS.md)."""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple, Type, TypeVar, Union

from ._options import Path

T = TypeVar("T")
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Start:
    program: str = ""
    command: str = ""
    output: Optional[str] = None
    job: Optional[str] = None


@dataclass(frozen=True)
class Message:
    level: str = "info"  # "error", "notice", "warning", "info", "debug"
    text: str = ""


@dataclass(frozen=True)
class Stage:
    """A stage, or a device that the networks run on."""
    name: str = ""
    busy_seconds: float = 0.0
    input_seconds: float = 0.0
    room_seconds: float = 0.0
    frames: int = 0


@dataclass(frozen=True)
class Queue:
    name: str = ""
    items: int = 0
    max_items: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Progress:
    """A number that is not known yet is 0."""
    stage: str = ""  # "prepare", "faces", "frames", "preview", "finish"
    frame: int = 0
    frames: int = 0
    chunk: int = 0
    chunks: int = 0
    step: int = 0
    steps: int = 0
    fraction: float = 0.0  # of the stage
    frames_per_second: float = 0.0
    seconds_left: float = 0.0
    seconds: float = 0.0
    cpu_percent: float = 0.0
    resident_bytes: int = 0
    budget_bytes: int = 0
    gpu_bytes: int = 0
    gpu_total_bytes: int = 0
    gpu_percent: Optional[float] = None
    stages: Tuple[Stage, ...] = ()
    devices: Tuple[Stage, ...] = ()
    queues: Tuple[Queue, ...] = ()


@dataclass(frozen=True)
class Transfer:
    """Of a download: a file of the model."""
    file: str = ""
    checking: bool = False
    bytes: int = 0
    total_bytes: int = 0
    bytes_per_second: float = 0.0
    seconds_left: float = 0.0


@dataclass(frozen=True)
class Other:
    """An event of a newer program."""
    name: str
    fields: Fields


@dataclass(frozen=True)
class Done:
    """The video is complete."""
    output: Path = ""  # as it was given
    frames: int = 0
    start: float = 0.0
    seconds: float = 0.0
    elapsed_seconds: float = 0.0
    frames_generated: int = 0
    frames_with_face: int = 0
    peak_resident_bytes: int = 0
    audio: str = ""
    seed: int = 0
    frames_covered: int = 0
    frames_turned: int = 0
    frames_hidden: int = 0
    chunks_kept: int = 0


@dataclass(frozen=True)
class Face:
    """A face as it is followed through a video; `track` is what `face=` takes."""
    track: int = 0
    first: int = 0
    last: int = 0
    frames: int = 0
    share: float = 0.0
    score: float = 0.0
    box: Tuple[float, ...] = ()


@dataclass(frozen=True)
class Faces:
    frames: int = 0
    tracks: Tuple[Face, ...] = ()


@dataclass(frozen=True)
class Stretch:
    start: float = 0.0
    seconds: float = 0.0
    frames_with_face: int = 0
    verdict: str = ""
    lag_ms: Optional[int] = None
    confidence: float = 0.0


@dataclass(frozen=True)
class Check(Stretch):
    """Whether lips follow the sound: "in sync", "late", "early" (the sound is) or "cannot tell"."""
    method: str = ""
    reason: str = ""
    least_confidence: float = 0.0
    stretches: Tuple[Stretch, ...] = ()


@dataclass(frozen=True)
class Estimate:
    quality: str = ""
    frames: int = 0
    seconds: float = 0.0
    run_seconds: float = 0.0
    idle_seconds: float = 0.0
    cpu_seconds: float = 0.0
    frame_seconds: float = 0.0
    networks_computed: bool = False
    known: bool = False
    memory_bytes: int = 0
    max_memory_bytes: int = 0
    card_memory_bytes: int = 0
    disk_bytes: int = 0
    device: str = ""


@dataclass(frozen=True)
class Stream:
    """A stream of a media file."""
    index: int = 0
    type: str = ""
    codec: str = ""
    seconds: float = 0.0
    width: int = 0
    height: int = 0
    fps: Tuple[int, ...] = (0, 1)
    pixel_format: Optional[str] = None
    rotation: int = 0
    sample_rate: int = 0
    channels: int = 0
    used: bool = False


@dataclass(frozen=True)
class Probe:
    """What a media file holds, and what a job would make of it."""
    path: Path = ""
    format: str = ""
    bytes: int = 0
    seconds: float = 0.0
    streams: Tuple[Stream, ...] = ()
    width: int = 0
    height: int = 0
    frames: int = 0
    is_video: bool = False
    is_speech: bool = False
    notes: Tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelFile:
    role: str = ""
    path: Optional[str] = None
    summary: str = ""
    tensors: int = 0
    parameters: int = 0


@dataclass(frozen=True)
class ModelDirectory:
    directory: Path = ""
    version: str = ""
    faces: bool = False
    files: Tuple[ModelFile, ...] = ()


Event = Union[Start, Message, Progress, Transfer, Other, Done, Faces, Check, Probe, ModelDirectory,
              Tuple[Estimate, ...]]

_LISTS: Dict[str, type] = {"stages": Stage, "devices": Stage, "queues": Queue, "tracks": Face,
                           "stretches": Stretch, "streams": Stream, "files": ModelFile}
_EVENTS: Dict[str, type] = {"start": Start, "message": Message, "progress": Progress, "transfer": Transfer}


def make(kind: Type[T], fields: Fields) -> T:
    """Of what the program says, the members that are known."""
    known = {f.name for f in dataclasses.fields(kind)}
    values: Dict[str, Any] = {}
    for name, value in fields.items():
        if name in known and isinstance(value, list):
            item = _LISTS.get(name)
            values[name] = tuple(make(item, v) for v in value) if item else tuple(value)
        elif name in known:
            values[name] = value
    return kind(**values)


def estimates(fields: Fields) -> Tuple[Estimate, ...]:
    return tuple(make(Estimate, e) for e in fields.get("estimates", []))


def event(fields: Fields) -> Union[Start, Message, Progress, Transfer, Other]:
    name = str(fields.get("event", ""))
    kind = _EVENTS.get(name)
    made: Union[Start, Message, Progress, Transfer, Other] = make(kind, fields) if kind else Other(name, dict(fields))
    return made
