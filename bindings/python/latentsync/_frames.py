"""Frames in, frames out. In: Matroska with uncompressed pictures, through a pipe, which the program keeps
on the disk. Out: the job's segments as they are finished, NUT files of PNG pictures."""
from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
import zlib
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, Dict, Generator, Iterable, Iterator, Optional, Tuple, Type, Union

from . import _arguments, _calls, _errors
from ._arguments import path, takes
from ._events import Done, Event
from ._job import Job
from ._options import Path

if TYPE_CHECKING:
    from typing_extensions import Literal, Unpack

    from ._options import FramesOptions

CHUNK = 16  # frames that the networks make at a time: a segment
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _array(value: Any, name: str) -> memoryview:
    try:
        return memoryview(value)
    except TypeError:
        if hasattr(value, "__array__"):
            return memoryview(value.__array__())
        raise TypeError(f"{name}: expected an array, not {type(value).__name__}") from None


def _bytes(view: memoryview) -> Union[bytes, memoryview]:
    return view.cast("B") if view.c_contiguous else view.tobytes()


def _pixels(frame: Any, shape: Optional[Tuple[int, ...]], n: int) -> Tuple[Tuple[int, ...], Any]:
    view = _array(frame, f"frame {n}")
    found = tuple(view.shape or ())
    if view.format not in ("B", "<B", "|B") or view.ndim != 3 or found[2] != 3 or not view.nbytes:
        raise _errors.InvalidArgument(f"frame {n}: expected (height, width, 3) of uint8, not {found} of {view.format!r}",
                                      option="frames")
    if shape is not None and found != shape:
        raise _errors.InvalidArgument(f"frame {n}: it is {found[1]} x {found[0]}, the first is {shape[1]} x {shape[0]}",
                                      option="frames")
    return found, _bytes(view)


def write_wav(file: BinaryIO, samples: Any, rate: int) -> None:
    """Samples as they are: (n,) or (n, channels), of int16, int32, float32 or float64."""
    view = _array(samples, "audio")
    kinds = {"h": (1, 2), "i": (1, 4), "f": (3, 4), "d": (3, 8)}
    kind = kinds.get(view.format.lstrip("<=@"))
    if view.format == "l" and view.itemsize == 4:
        kind = kinds["i"]
    if kind is None or view.ndim not in (1, 2) or not view.nbytes:
        raise _errors.InvalidArgument("audio: expected samples, (n,) or (n, channels), of int16, int32, float32 or "
                                      f"float64, not {tuple(view.shape or ())} of {view.format!r}", option="audio")
    channels = view.shape[1] if view.ndim == 2 and view.shape else 1
    if not 1 <= channels <= 64 or view.nbytes >= 2**32 - 64:
        raise _errors.InvalidArgument(f"audio: {channels} channels of {view.nbytes} bytes do not fit into a WAV file; "
                                      "expected (n, channels)", option="audio")
    step = channels * kind[1]
    file.write(struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + view.nbytes, b"WAVE", b"fmt ", 16, kind[0], channels,
                           rate, rate * step, step, kind[1] * 8, b"data", view.nbytes))
    file.write(_bytes(view))


def _element(identifier: int, *parts: Union[bytes, int, str]) -> bytes:
    body = b"".join(p if isinstance(p, bytes) else p.encode() if isinstance(p, str) else
                    p.to_bytes((p.bit_length() + 7) // 8 or 1, "big") for p in parts)
    return identifier.to_bytes((identifier.bit_length() + 7) // 8, "big") + _size(len(body)) + body


def _size(n: int) -> bytes:
    return (1 << 56 | n).to_bytes(8, "big")


def matroska_head(width: int, height: int, period: int) -> bytes:
    """Before the frames; `period` is their distance in ns, the unit of all times."""
    head = _element(0x1A45DFA3, _element(0x4286, 1), _element(0x42F7, 1), _element(0x42F2, 4), _element(0x42F3, 8),
                    _element(0x4282, "matroska"), _element(0x4287, 4), _element(0x4285, 2))
    info = _element(0x1549A966, _element(0x2AD7B1, period), _element(0x4D80, "latentsync"), _element(0x5741, "latentsync"))
    picture = _element(0xE0, _element(0xB0, width), _element(0xBA, height), _element(0x2EB524, b"RGB\x18"))
    track = _element(0xAE, _element(0xD7, 1), _element(0x73C5, 1), _element(0x83, 1), _element(0x9C, 0),
                     _element(0x86, "V_UNCOMPRESSED"), _element(0x23E383, period), picture)
    return head + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + info + _element(0x1654AE6B, track)


def matroska_frame(n: int, size: int) -> bytes:
    """Before the bytes of frame `n`: a cluster of its own."""
    time = _element(0xE7, n)
    block = b"\xa3" + _size(4 + size) + b"\x81\0\0\x80"
    return b"\x1f\x43\xb6\x75" + _size(len(time) + len(block) + size) + time + block


def _unfilter(raw: bytearray, row: int, pixel: int) -> None:
    """Undoes the filters of PNG in place; `row` bytes follow each filter's number."""
    before = bytes(row)
    for at in range(0, len(raw), row + 1):
        kind, line = raw[at], raw[at + 1:at + 1 + row]
        for i in range(row) if kind else ():
            left, up = line[i - pixel] if i >= pixel else 0, before[i]
            if kind == 4:
                corner = before[i - pixel] if i >= pixel else 0
                p = left + up - corner
                guess = min((abs(p - left), 0, left), (abs(p - up), 1, up), (abs(p - corner), 2, corner))[2]
            else:
                guess = (left, up, (left + up) // 2)[kind - 1]
            line[i] = (line[i] + guess) & 255
        raw[at + 1:at + 1 + row] = line
        before = bytes(line)


def read_png(file: BinaryIO) -> Optional["tuple[int, int, bytearray]"]:
    """Width, height, and for each row a byte and its RGB; of the next picture, wherever it begins. None: there is none."""
    seen = b""
    while SIGNATURE not in seen:
        more = file.read(64)
        if not more:
            return None
        seen = seen[-7:] + more
    file.seek(seen.index(SIGNATURE) + 8 - len(seen), os.SEEK_CUR)
    width = height = 0
    inflate, raw = zlib.decompressobj(), bytearray()
    while True:
        head = file.read(8)
        if len(head) < 8:
            raise _errors.FormatError("a picture of a segment is cut off")
        size, kind = struct.unpack(">I4s", head)
        data = file.read(size)
        file.seek(4, os.SEEK_CUR)
        if kind == b"IHDR":
            width, height, depth, color = struct.unpack(">IIBB", data[:10])
            if (depth, color, data[12]) != (8, 2, 0):
                raise _errors.FormatError(f"a picture of a segment has {depth} bits of kind {color}")
        elif kind == b"IDAT":
            raw += inflate.decompress(data)
        elif kind == b"IEND":
            break
    if len(raw) != height * (3 * width + 1):
        raise _errors.FormatError("a picture of a segment is incomplete")
    if raw[::3 * width + 1].strip(b"\0"):
        _unfilter(raw, 3 * width, 3)
    return width, height, raw


def _frame(raw: bytearray, coded: int, height: int, width: int) -> Any:
    """An array of NumPy where there is one, else a memoryview of the same shape. Coded pictures may be
    larger: codecs want even sizes."""
    stride = 3 * coded + 1
    try:
        import numpy
    except ImportError:
        rows = memoryview(raw)
        pixels = b"".join(rows[y * stride + 1:y * stride + 1 + 3 * width] for y in range(height))
        return memoryview(pixels).cast("B", (height, width, 3))
    table = numpy.frombuffer(raw, numpy.uint8).reshape(-1, stride)[:height, 1:1 + 3 * width]
    return numpy.ascontiguousarray(table).reshape(height, width, 3)


class Frames(Iterator[Any]):
    """The frames of the output, in order. With the first one that is asked for, all of the input is read;
    then frames come as they are finished. What is on the disk meanwhile goes with the end, or close()."""

    def __init__(self, frames: Iterable[Any], fps: Union[int, float, Fraction], audio: Any, sample_rate: Optional[int],
                 rate: str, folder: Optional[Path], on_event: Optional[Callable[[Event], None]],
                 program: Optional[Path], given: Dict[str, Union[str, bytes]]) -> None:
        self._input = frames
        self._audio, self._sample_rate = audio, sample_rate
        self._on_event = on_event
        self._program = program
        self._given: Dict[str, Union[str, bytes, None]] = dict(given)
        self._in = folder
        self.fps = Fraction(fps).limit_denominator(100000)  # of the output
        if not 0 < self.fps <= 1000:
            raise _errors.InvalidArgument(f"fps: expected frames a second, not {fps!r}", option="fps")
        if rate not in ("source", "25"):
            raise _errors.InvalidArgument(f"rate: expected 'source' or '25', not {rate!r}", option="rate")
        self._period = round(10**9 / self.fps)
        if rate == "25":
            self.fps = Fraction(25)
        self._given["fps"] = rate
        self._generator = self._generate()

    def __iter__(self) -> "Frames":
        return self

    def __next__(self) -> Any:
        return next(self._generator)

    def close(self) -> None:
        """Ends the work, and removes what it left on the disk."""
        self._generator.close()

    def __enter__(self) -> "Frames":
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def _speech(self, folder: bytes) -> bytes:
        if isinstance(self._audio, (str, bytes, os.PathLike)):
            return path(self._audio, "audio")
        if not isinstance(self._sample_rate, int) or not 1 <= self._sample_rate <= 768000:
            raise _errors.InvalidArgument(f"sample_rate: expected that of the audio, not {self._sample_rate!r}",
                                          option="sample_rate")
        name = os.path.join(folder, b"speech.wav")
        with open(name, "wb") as f:
            write_wav(f, self._audio, self._sample_rate)
        return name

    def _feed(self, pipe: int, first: Any, others: Iterator[Any], shape: Tuple[int, ...], job: Job[Done]) -> None:
        try:
            with os.fdopen(pipe, "wb", buffering=0) as out:
                _write(out, matroska_head(shape[1], shape[0], self._period))
                pixels, n = first, 0
                while True:
                    _write(out, matroska_frame(n, shape[0] * shape[1] * 3))
                    _write(out, pixels)
                    n += 1
                    try:
                        frame = next(others)
                    except StopIteration:
                        return
                    pixels = _pixels(frame, shape, n)[1]
        except BrokenPipeError:
            job.result()  # it has failed, and says why
            raise

    def _start(self, folder: bytes) -> Tuple[Job[Done], int, bytes]:
        job = os.path.join(folder, b"job")
        self._given.update({"output": os.path.join(folder, b"out.mkv"), "job": job, "keep-job": "1", "video-codec": "png",
                            "pixel-format": "rgb24", "segment-seconds": repr(max(0.1, CHUNK / float(self.fps)))})
        speech = self._speech(folder)
        end, pipe = os.pipe()
        try:
            run = _calls.start("sync", [b"/dev/fd/%d" % end, speech], self._given,
                               _calls.done_as(b"", False), self._program, pass_fds=[end])
        except BaseException:
            os.close(pipe)
            raise
        finally:
            os.close(end)
        return Job(run), pipe, job

    def _generate(self) -> Generator[Any, None, None]:
        others = iter(self._input)
        try:
            shape, first = _pixels(next(others), None, 0)
        except StopIteration:
            raise _errors.InvalidArgument("frames: there is none", option="frames") from None
        folder = tempfile.mkdtemp(prefix=b"latentsync-", dir=os.fsencode(self._in) if self._in is not None else None)
        try:
            job, pipe, job_folder = self._start(folder)
            with job:
                self._feed(pipe, first, others, shape, job)
                del first, others
                yield from self._read(job, job_folder, shape)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _look(self, job: Job[Done]) -> bool:
        """Waits a moment; whether the job has ended."""
        ended = job.wait(0.05)
        event = job._run.take()
        while event is not None:
            if self._on_event:
                self._on_event(event)
            event = job._run.take()
        return ended

    def _read(self, job: Job[Done], folder: bytes, shape: Tuple[int, ...]) -> Iterator[Any]:
        """Each segment when it has its name: then it is complete. The last ends the work; nobody wants the output."""
        k, made, plan = 0, 0, None
        while plan is None or made < plan:
            name = os.path.join(folder, b"segment-%05d.nut" % k)
            while not os.path.exists(name):
                if self._look(job) and not os.path.exists(name):
                    job.result()
                    raise _errors.Crashed(f"segment {k} is missing")
            plan = plan or self._plan(folder)
            with open(name, "rb") as f:
                picture = read_png(f)
                while picture:
                    made += 1
                    yield _frame(picture[2], picture[0], shape[0], shape[1])
                    picture = read_png(f)
            k += 1

    def _plan(self, folder: bytes) -> int:
        with open(os.path.join(folder, b"job.json"), "rb") as f:
            plan = json.load(f)["plan"]
        self.fps = Fraction(plan["fps_num"], plan["fps_den"])
        return int(plan["frames"])


def _write(out: Any, data: Any) -> None:
    view = memoryview(data)
    while view.nbytes:
        view = view[out.write(view):]


@takes("frames")
def sync_frames(frames: Iterable[Any], fps: Union[int, float, Fraction], audio: Any, sample_rate: Optional[int] = None,
                *, rate: Literal["source", "25"] = "source", folder: Optional[Path] = None,
                on_event: Optional[Callable[[Event], None]] = None, program: Optional[Path] = None,
                **options: Unpack[FramesOptions]) -> Frames:
    """Frames with the lips moving to the speech, from frames: arrays of (height, width, 3) bytes, RGB. `audio` is
    a path, or samples, (n,) or (n, channels), with their `sample_rate`. There will be as many frames as the
    speech lasts, `fps` a second, or 25 with rate="25". Results are arrays of NumPy if it is installed, otherwise
    memoryviews. Memory holds a few frames; the disk, in `folder` or TMPDIR, holds all of the input
    uncompressed and the output as PNG."""
    given = _arguments.values("frames", options)
    return Frames(frames, fps, audio, sample_rate, rate, folder, on_event, program, given)
