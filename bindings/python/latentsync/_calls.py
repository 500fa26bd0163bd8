"""From the arguments of a call to its run."""
from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _arguments, _errors, _events
from ._arguments import command, path
from ._library import LibraryRun
from ._options import Path
from ._run import Convert, ProgramRun, Run

QUALITY = {"quality", "sampler", "steps", "cache-interval", "guidance-interval"}
Started = Tuple[Run, Optional[bytes], bool]  # the run, its folder, whether that was given as bytes


def _events_of(verbose: bool) -> Dict[str, Union[str, bytes, None]]:
    more: Dict[str, Union[str, bytes, None]] = {"progress": "json", "watch-stdin": None}
    if verbose:
        more["verbose"] = None
    return more


def start(call: str, operands: Sequence[bytes], given: Mapping[str, Union[str, bytes, None]], convert: Convert,
          program: Optional[Path], verbose: bool = False, job: Optional[bytes] = None,
          pass_fds: Sequence[int] = ()) -> ProgramRun:
    return ProgramRun(command(call, operands, {**given, **_events_of(verbose)}), convert, program, job, pass_fds)


def _plain(value: Any) -> Any:
    """The path as str or bytes."""
    return os.fspath(value)


def done_as(output: Path, preview: bool) -> Convert:
    """The name of the output as it was given: events cannot hold every name."""
    name = _plain(output)
    if preview:
        root, extension = os.path.splitext(name)
        name = root + (b".preview" if isinstance(name, bytes) else ".preview") + extension

    def convert(fields: Mapping[str, Any]) -> _events.Done:
        return _events.make(_events.Done, {**fields, "output": name})
    return convert


def start_sync(video: Path, audio: Path, out: Path, backend: str, program: Optional[Path], verbose: bool,
               options: Mapping[str, Any]) -> Started:
    given = _arguments.values("sync", options)
    output = path(out, "out")
    folder = os.fsencode(given.get("job", output + b".lsjob"))
    convert = done_as(out, "preview" in given)
    everything: Dict[str, Union[str, bytes]] = {"video": path(video, "video"), "audio": path(audio, "audio"),
                                                "output": output, **given}
    run: Run
    if _is_library(backend):
        if "preview" in given and not QUALITY.intersection(given):
            everything["quality"] = "fast"  # as the program has it
        run = LibraryRun(None, everything, convert, folder, verbose)
    else:
        operands = [os.fsencode(everything.pop(name)) for name in ("video", "audio")]
        run = start("sync", operands, everything, convert, program, verbose, folder)
    return run, folder, isinstance(_plain(out), bytes)


def _is_library(backend: str) -> bool:
    if backend not in ("program", "library"):
        raise _errors.InvalidArgument(f"backend: expected 'program' or 'library', not {backend!r}", option="backend")
    return backend == "library"


def output_of(folder: bytes) -> Optional[bytes]:
    """What a job's folder says it will write."""
    try:
        with open(os.path.join(folder, b"job.json"), "rb") as f:
            named = json.load(f)["inputs"]["output"]
        return bytes.fromhex(named["bytes"]) if isinstance(named, dict) else os.fsencode(named)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the program says what is wrong


def start_resume(job: Any, backend: str, program: Optional[Path], verbose: bool, options: Mapping[str, Any]) -> Started:
    """`job`: a folder, or what has one: a job, an error."""
    given = _arguments.values("resume", options)
    named = job
    if isinstance(job, _errors.Error):
        named = job.job
    elif hasattr(job, "folder"):
        named = job.folder
    if named is None:
        raise _errors.InvalidArgument("job: it has no folder to resume from", option="job")
    folder, output = path(named, "job"), output_of(path(named, "job"))

    def convert(fields: Mapping[str, Any]) -> _events.Done:
        known = {"output": output if as_bytes else os.fsdecode(output)} if output is not None else {}
        return _events.make(_events.Done, {**fields, **known})
    as_bytes = isinstance(_plain(named), bytes)
    run: Run = LibraryRun(folder, given, convert, folder, verbose) if _is_library(backend) else start(
        "resume", [folder], given, convert, program, verbose, folder)
    return run, folder, as_bytes


def start_faces(video: Path, preview: Optional[Path], program: Optional[Path], options: Mapping[str, Any]) -> ProgramRun:
    given = _arguments.values("faces", options)
    if preview is not None:
        given["preview"] = path(preview, "preview")
    return start("faces", [path(video, "video")], given, lambda f: _events.make(_events.Faces, f), program)


def start_check(video: Path, program: Optional[Path], options: Mapping[str, Any]) -> ProgramRun:
    return start("check", [path(video, "video")], _arguments.values("check", options),
                 lambda f: _events.make(_events.Check, f), program)


def start_estimate(video: Path, audio: Path, program: Optional[Path], options: Mapping[str, Any]) -> ProgramRun:
    return start("estimate", [path(video, "video"), path(audio, "audio")], _arguments.values("estimate", options),
                 _events.estimates, program)


def start_probe(file: Path, program: Optional[Path]) -> ProgramRun:
    return start("probe", [path(file, "file")], {},
                 lambda f: _events.make(_events.Probe, {**f, "path": _plain(file)}), program)


def _directory(fields: Mapping[str, Any]) -> _events.ModelDirectory:
    return _events.make(_events.ModelDirectory, fields)


def start_pull(version: str, out: Optional[Path], faces: bool, syncnet: bool, mirror: Optional[str], insecure: bool,
               timeout: Optional[int], retries: Optional[int], program: Optional[Path]) -> ProgramRun:
    given = _model_options(out, syncnet)
    given["accept-licence" if faces else "without-faces"] = None
    if insecure:
        given["insecure"] = None
    for name, value in (("mirror", mirror), ("timeout", timeout), ("retries", retries)):
        if value is not None:
            given[name] = str(value)
    return start("models pull", [os.fsencode(version)], given, _directory, program)


def start_import(folder: Path, version: str, out: Optional[Path], faces: bool, syncnet: bool,
                 program: Optional[Path]) -> ProgramRun:
    given = _model_options(out, syncnet)
    if not faces:
        given["without-faces"] = None
    return start("models import", [path(folder, "folder"), os.fsencode(version)], given, _directory, program)


def _model_options(out: Optional[Path], syncnet: bool) -> Dict[str, Union[str, bytes, None]]:
    given: Dict[str, Union[str, bytes, None]] = {}
    if out is not None:
        given["out"] = path(out, "out")
    if syncnet:
        given["syncnet"] = None
    return given


def start_models_check(directory: Path, program: Optional[Path]) -> ProgramRun:
    return start("models check", [path(directory, "directory")], {},
                 lambda f: _events.make(_events.ModelDirectory, {**f, "directory": _plain(directory)}), program)


def plain_call(words: Sequence[bytes], program: Optional[Path]) -> bytes:
    """A short call without events: what it prints."""
    import subprocess

    from ._run import find_program
    line: List[bytes] = [find_program(program), *words]
    try:
        p = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as e:
        raise _errors.ProgramNotFound(f"cannot start {os.fsdecode(line[0])}: {e.strerror}") from e
    if p.returncode:
        raise _errors.from_exit(p.returncode, p.stderr.decode("utf-8", "replace"))
    return p.stdout
