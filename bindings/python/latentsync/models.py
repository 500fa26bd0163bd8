"""Model directories: downloading, importing, checking and making them."""
from __future__ import annotations

import os
from typing import Optional

from . import _calls
from ._arguments import path
from ._events import ModelDirectory
from ._job import Job
from ._options import Path


def pull(version: str = "1.6", *, out: Optional[Path] = None, faces: bool = False, syncnet: bool = False,
         mirror: Optional[str] = None, insecure: bool = False, timeout: Optional[int] = None,
         retries: Optional[int] = None, program: Optional[Path] = None) -> Job[ModelDirectory]:
    """Downloads the published model (5.8 GB) to OUT/VERSION, by default where sync() finds it; what is there
    already is checked and kept. The events of the job are Message and Transfer. `faces=True` accepts the
    terms of InsightFace's face networks, which are for non-commercial research only, and downloads them too."""
    return Job(_calls.start_pull(version, out, faces, syncnet, mirror, insecure, timeout, retries, program))


def import_(folder: Path, version: str = "1.6", *, out: Optional[Path] = None, faces: bool = True,
            syncnet: bool = False, program: Optional[Path] = None) -> Job[ModelDirectory]:
    """Makes a model directory from files that are somewhere in a folder, by links where it can."""
    return Job(_calls.start_import(folder, version, out, faces, syncnet, program))


def check(directory: Path, *, program: Optional[Path] = None) -> ModelDirectory:
    """Opens all networks of a directory and reads every tensor."""
    return Job[ModelDirectory](_calls.start_models_check(directory, program)).result()


def random(out: Path, size: str = "mini", *, program: Optional[Path] = None) -> None:
    """Writes a directory with made-up weights, "mini", "small" or "full"; lips are then meaningless."""
    _calls.plain_call([b"models", b"random", b"--size=" + os.fsencode(size), b"--out=" + path(out, "out")], program)
