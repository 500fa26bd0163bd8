"""The shared library in this process, by ctypes: it comes with Python, and the few functions that a job
takes have plain types, so a binding module that must be compiled or installed would add nothing."""
from __future__ import annotations

import atexit
import ctypes
import ctypes.util
import functools
import os
import threading
import weakref
from ctypes import POINTER, c_char, c_char_p, c_double, c_float, c_int, c_int64, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any, Callable, Dict, List, Mapping, Optional, Union

from . import _errors
from ._events import Message, Progress, Queue, Stage
from ._run import Convert, Run, bundled

LEVELS = ("error", "notice", "warning", "info", "debug")
API_MAJOR, API_MINOR = 0, 5


class _Error(ctypes.Structure):
    _fields_ = [("code", c_int), ("hint", c_int), ("option", c_char * 32), ("message", c_char * 1024)]


class _Time(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("busy", c_double), ("input", c_double), ("room", c_double), ("frames", c_uint64)]


class _Queue(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("items", c_size_t), ("max_items", c_size_t), ("bytes", c_size_t)]


class _Progress(ctypes.Structure):
    _fields_ = [("stage", c_char_p), ("frame", c_uint64), ("frames", c_uint64), ("chunk", c_uint64),
                ("chunks", c_uint64), ("step", c_uint64), ("steps", c_uint64), ("fraction", c_double),
                ("frames_per_second", c_double), ("seconds_left", c_double), ("seconds", c_double),
                ("cpu_percent", c_double), ("resident_bytes", c_uint64), ("budget_bytes", c_uint64),
                ("stages", c_void_p), ("stage_count", c_size_t), ("queues", POINTER(_Queue)),
                ("queue_count", c_size_t), ("times", POINTER(_Time)), ("time_count", c_size_t),
                ("devices", POINTER(_Time)), ("device_count", c_size_t), ("gpu_percent", c_double),
                ("gpu_bytes", c_uint64), ("gpu_total_bytes", c_uint64)]


_MESSAGE = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p)
_PROGRESS = ctypes.CFUNCTYPE(None, c_void_p, POINTER(_Progress))


class _Settings(ctypes.Structure):
    """The start of ls_sync_settings, up to the callbacks; what follows is set by name."""
    _fields_ = [("size", c_size_t), ("models", c_char_p), ("video", c_char_p), ("audio", c_char_p),
                ("output", c_char_p), ("face", c_char_p), ("face_track", c_char_p), ("save_track", c_char_p),
                ("detector", c_char_p), ("max_gap", c_size_t), ("detect_every", c_size_t),
                ("resolution", c_size_t), ("steps", c_size_t), ("guidance_scale", c_float),
                ("cache_interval", c_size_t), ("seed", c_int64), ("threads", c_int), ("compute_type", c_int),
                ("source_fps", c_int), ("video_codec", c_char_p), ("preset", c_char_p), ("crf", c_int),
                ("job", c_char_p), ("segment_seconds", c_double), ("keep_job", c_int), ("restart", c_int),
                ("no_overwrite", c_int), ("max_memory", c_uint64), ("stats", c_char_p), ("engine", c_void_p),
                ("cancel", c_void_p), ("message", _MESSAGE), ("progress", _PROGRESS), ("opaque", c_void_p)]


class _Summary(ctypes.Structure):
    _fields_ = [("output", c_char_p), ("frames", c_uint64), ("seconds", c_double), ("elapsed_seconds", c_double),
                ("frames_generated", c_uint64), ("frames_with_face", c_uint64), ("peak_resident_bytes", c_uint64),
                ("audio", c_char_p), ("seed", c_int64), ("frames_covered", c_uint64), ("frames_turned", c_uint64),
                ("frames_hidden", c_uint64), ("start", c_double), ("chunks_kept", c_uint64)]


_FUNCTIONS: Dict[str, Any] = {
    "ls_api_version": (c_uint,), "ls_version": (c_char_p,), "ls_codec_messages": (None, c_int),
    "ls_error_name": (c_char_p, c_int), "ls_hint_text": (c_char_p, c_int), "ls_error_is_temporary": (c_int, c_int),
    "ls_cancel_new": (c_void_p,), "ls_cancel_request": (None, c_void_p), "ls_cancel_free": (None, POINTER(c_void_p)),
    "ls_sync_default_settings": (None, c_void_p, c_size_t),
    "ls_sync_set": (c_int, c_void_p, c_char_p, c_char_p, POINTER(_Error)),
    "ls_sync_open": (c_int, POINTER(c_void_p), c_void_p, POINTER(_Error)),
    "ls_sync_open_job": (c_int, POINTER(c_void_p), c_char_p, c_void_p, POINTER(_Error)),
    "ls_sync_run": (c_int, c_void_p, POINTER(_Error)), "ls_sync_get_summary": (POINTER(_Summary), c_void_p),
    "ls_sync_folder": (c_char_p, c_void_p), "ls_sync_close": (None, POINTER(c_void_p))}


@functools.lru_cache(maxsize=None)
def load(name: str) -> Any:
    try:
        lib = ctypes.CDLL(name)
        for function, (result, *arguments) in _FUNCTIONS.items():
            f = getattr(lib, function)
            f.restype, f.argtypes = result, arguments
    except (OSError, AttributeError) as e:
        raise _errors.ProgramNotFound(f"cannot load the library {name}: {e}",
                                      hint="set LATENTSYNC_LIBRARY to the path of liblatentsync.so") from e
    version = lib.ls_api_version()
    if version >> 16 != API_MAJOR or version & 0xffff < API_MINOR:
        raise _errors.ProgramNotFound(f"{name} has version {version >> 16}.{version & 0xffff} of the interface, not "
                                      f"{API_MAJOR}.{API_MINOR} or later", hint="install the library of this version")
    lib.ls_codec_messages(0)
    return lib


def find_library() -> str:
    """That of the wheel, of $LATENTSYNC_LIBRARY, of the system."""
    return (bundled("lib/**/liblatentsync.so.0") or os.environ.get("LATENTSYNC_LIBRARY")
            or ctypes.util.find_library("latentsync") or "liblatentsync.so.0")


def _settings(lib: Any) -> "ctypes.Array[c_char]":
    """A struct of the library's own size, which only it knows: as much of the buffer as it fills."""
    room = ctypes.create_string_buffer(b"\xaa" * 16384, 16384)
    lib.ls_sync_default_settings(room, len(room))
    size = (len(room.raw.rstrip(b"\xaa")) + 7) & ~7
    lib.ls_sync_default_settings(room, size)
    return room


def _name(text: Optional[bytes]) -> str:
    return (text or b"").decode("utf-8", "replace")


def _times(times: Any, count: int) -> "tuple[Stage, ...]":
    return tuple(Stage(_name(t.name), t.busy, t.input, t.room, t.frames) for t in times[:count])


def _progress(p: Any) -> Progress:
    plain = {name: getattr(p, name) for name in (
        "frame", "frames", "chunk", "chunks", "step", "steps", "fraction", "frames_per_second", "seconds_left",
        "seconds", "cpu_percent", "resident_bytes", "budget_bytes", "gpu_bytes", "gpu_total_bytes")}
    return Progress(stage=_name(p.stage), stages=_times(p.times, p.time_count), devices=_times(p.devices, p.device_count),
                    queues=tuple(Queue(_name(q.name), q.items, q.max_items, q.bytes) for q in p.queues[:p.queue_count]),
                    gpu_percent=p.gpu_percent if p.gpu_total_bytes and p.gpu_percent >= 0 else None, **plain)


_running: "weakref.WeakSet[LibraryRun]" = weakref.WeakSet()


class LibraryRun(Run):
    """A job in threads of this process. It can be canceled, not killed."""

    def __init__(self, folder: Optional[bytes], options: Mapping[str, Union[str, bytes]], convert: Convert,
                 job: Optional[bytes], verbose: bool) -> None:
        super().__init__()
        self._most = LEVELS.index("debug" if verbose else "info")
        self._lib = load(find_library())
        self._folder = folder
        self._options: List[bytes] = [os.fsencode(part) for pair in options.items() for part in pair]
        self._convert = convert
        self._job = job
        self._lock = threading.RLock()  # a finalizer may run anywhere
        self._token = c_void_p(self._lib.ls_cancel_new())
        self._thread = threading.Thread(target=self._work, name="latentsync", daemon=True)
        _running.add(self)
        self._thread.start()

    def _fail(self, e: _Error, resumable: bool) -> _errors.Error:
        lib = self._lib
        return _errors.from_library(e.code, _name(lib.ls_error_name(e.code)), _name(e.message),
                                    _name(lib.ls_hint_text(e.hint)), _name(e.option),
                                    bool(lib.ls_error_is_temporary(e.code)),
                                    os.fsdecode(self._job) if resumable and self._job else None)

    def _open(self, job: c_void_p, e: _Error, callbacks: "tuple[Any, Any]") -> int:
        lib = self._lib
        room = _settings(lib)
        settings = _Settings.from_buffer(room)
        settings.cancel = self._token
        settings.message, settings.progress = callbacks
        for name, value in zip(self._options[::2], self._options[1::2]):
            failed = int(lib.ls_sync_set(room, name, value, ctypes.byref(e)))
            if failed:
                return failed
        if self._folder is not None:
            return int(lib.ls_sync_open_job(ctypes.byref(job), self._folder, room, ctypes.byref(e)))
        return int(lib.ls_sync_open(ctypes.byref(job), room, ctypes.byref(e)))

    def _summary(self, job: c_void_p) -> Dict[str, Any]:
        s = self._lib.ls_sync_get_summary(job).contents
        return {name: _name(getattr(s, name)) if kind is c_char_p else getattr(s, name) for name, kind in s._fields_}

    def _work(self) -> None:
        lib, job, e = self._lib, c_void_p(), _Error()

        def message(_: object, level: int, line: bytes) -> None:
            if level <= self._most:
                self._tell(Message(LEVELS[level], _name(line)))
        progress: Callable[..., None] = lambda _, p: self._tell(_progress(p.contents))
        callbacks = (_MESSAGE(message), _PROGRESS(progress))
        failed = self._open(job, e, callbacks) or int(lib.ls_sync_run(job, ctypes.byref(e)))
        if failed:
            outcome: Any = self._fail(e, bool(job) and lib.ls_sync_folder(job) is not None)
        else:
            outcome = self._convert(self._summary(job))
        lib.ls_sync_close(ctypes.byref(job))
        with self._lock:
            lib.ls_cancel_free(ctypes.byref(self._token))
        self._end(outcome)

    def cancel(self) -> None:
        with self._lock:
            if self._token:
                self._lib.ls_cancel_request(self._token)

    def kill(self) -> None:
        self.cancel()

    def release(self) -> None:
        self.cancel()

    def join(self) -> None:
        self._thread.join()


def _end_all() -> None:
    """Threads of the library must not outlive the interpreter that they call."""
    for run in list(_running):
        run.cancel()
        run.join()


atexit.register(_end_all)
