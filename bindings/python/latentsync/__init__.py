"""LatentSync: a video of a person talking and a recording of speech in, the video with the lips moving to
the speech out.

    import latentsync

    job = latentsync.sync("video.mp4", "speech.wav", "out.mp4", quality="balanced")
    for event in job:
        print(event)

The work is done by the program `latentsync`, in a process of its own. See docs/PYTHON.md."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Dict, Optional, Union

from . import _calls, models
from ._arguments import takes
from ._errors import (BackendError, Busy, Canceled, Crashed, DeviceLost, Error, FormatError, InputOutputError,
                      InvalidArgument, ModelError, NoFace, NoSpace, NotFound, OutOfMemory, ProgramNotFound,
                      ShapeError, Unsupported)
from ._events import (Check, Done, Estimate, Event, Face, Faces, Message, ModelDirectory, ModelFile, Other, Probe,
                      Progress, Queue, Stage, Start, Stream, Stretch, Transfer)
from ._frames import Frames, sync_frames
from ._job import BaseJob, Job
from ._options import OPTIONS, VERSION as __version__, Option, Path

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import CheckOptions, EstimateOptions, FacesOptions, ResumeOptions, SyncOptions


@takes("sync")
def sync(video: Path, audio: Path, out: Path, *, backend: str = "program", program: Optional[Path] = None,
         verbose: bool = False, **options: Unpack[SyncOptions]) -> Job[Done]:
    """Starts to write `out`: the video with the lips moving to the speech. Finished segments are kept until it
    is complete, so the same call, or resume(), goes on after an interruption. `backend="library"` works in
    this process, with liblatentsync.so; `program` names another program than that of find_program()."""
    run, folder, as_bytes = _calls.start_sync(video, audio, out, backend, program, verbose, options)
    return Job(run, folder, as_bytes)


@takes("resume")
def resume(job: Union[Path, BaseJob[Done], Error], *, backend: str = "program", program: Optional[Path] = None,
           verbose: bool = False, **options: Unpack[ResumeOptions]) -> Job[Done]:
    """Resumes a job that was interrupted, given itself, its folder, or the error that it ended with."""
    run, folder, as_bytes = _calls.start_resume(job, backend, program, verbose, options)
    return Job(run, folder, as_bytes)


@takes("faces")
def faces(video: Path, *, preview: Optional[Path] = None, program: Optional[Path] = None,
          **options: Unpack[FacesOptions]) -> Faces:
    """The faces in a video, for `face=` to choose from. `preview` is a folder for an image of each."""
    return Job[Faces](_calls.start_faces(video, preview, program, options)).result()


@takes("check")
def check(video: Path, *, program: Optional[Path] = None, **options: Unpack[CheckOptions]) -> Check:
    """Whether the lips of a video follow its sound, and by how much that is late or early."""
    return Job[Check](_calls.start_check(video, program, options)).result()


@takes("estimate")
def estimate(video: Path, audio: Path, *, program: Optional[Path] = None,
             **options: Unpack[EstimateOptions]) -> Dict[str, Estimate]:
    """What a job would take, for each quality, or for the one that is given."""
    found = Job[Any](_calls.start_estimate(video, audio, program, options)).result()
    return {e.quality: e for e in found}


def probe(file: Path, *, program: Optional[Path] = None) -> Probe:
    """What a media file holds, and what a job would make of it."""
    return Job[Probe](_calls.start_probe(file, program)).result()


def info(*, program: Optional[Path] = None) -> Dict[str, Any]:
    """What the machine offers: devices, memory, encoders, the model that is found."""
    found: Dict[str, Any] = json.loads(_calls.plain_call([b"info", b"--json"], program))
    return found


__all__ = [
    "BackendError", "Busy", "Canceled", "Check", "Crashed", "DeviceLost", "Done", "Error", "Estimate", "Event", "Face",
    "Faces", "FormatError", "Frames", "InputOutputError", "InvalidArgument", "Job", "Message", "ModelDirectory",
    "ModelError", "ModelFile", "NoFace", "NoSpace", "NotFound", "OPTIONS", "Option", "Other", "OutOfMemory", "Path",
    "Probe", "ProgramNotFound", "Progress", "Queue", "ShapeError", "Stage", "Start", "Stream", "Stretch", "Transfer",
    "Unsupported", "__version__", "check", "estimate", "faces", "info", "models", "probe", "resume", "sync",
    "sync_frames"]
