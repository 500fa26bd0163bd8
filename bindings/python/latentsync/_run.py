"""A run: a process of the program, what it says, and how it ends. Threads and event loops wait for it
alike; nobody has to."""
from __future__ import annotations

import collections
import glob
import json
import os
import selectors
import shutil
import subprocess
import threading
import time
import weakref
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Sequence, Union

from . import _errors
from ._arguments import path as path_of
from ._events import Event, Message, Progress, Transfer, event
from ._options import Path

MAX_MESSAGES = 10000  # that nobody has read; then the oldest go
MAX_LINE = 64 << 20
MAX_STDERR = 64 << 10
GRACE = 60.0  # seconds from canceling to killing, where nobody waits any more

Convert = Callable[[Mapping[str, Any]], Event]
Outcome = Union[Event, _errors.Error]


class Run:
    """Events on their way to whoever wants them. Progress that is out of date is dropped, so an
    unread run stays small."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queued: Deque[Event] = collections.deque()
        self._outcome: Optional[Outcome] = None
        self._listeners: List[Callable[[], None]] = []
        self.started: Optional[Mapping[str, Any]] = None

    def _tell(self, e: Event) -> None:
        with self._changed:
            last = self._queued[-1] if self._queued else None
            if isinstance(e, (Progress, Transfer)) and type(last) is type(e):
                self._queued.pop()
            elif len(self._queued) >= MAX_MESSAGES:
                self._queued.popleft()
            self._queued.append(e)
            self._changed.notify_all()
            listeners = list(self._listeners)
        for call in listeners:
            call()

    def _end(self, outcome: Outcome) -> None:
        if not isinstance(outcome, _errors.Error):
            self._tell(outcome)
        with self._changed:
            self._outcome = outcome
            self._changed.notify_all()
            listeners = list(self._listeners)
        for call in listeners:
            call()

    def listen(self, call: Callable[[], None]) -> None:
        """From now on, `call` is called from another thread when there is something new."""
        with self._changed:
            self._listeners.append(call)

    def take(self) -> Optional[Event]:
        with self._changed:
            return self._queued.popleft() if self._queued else None

    @property
    def outcome(self) -> Optional[Outcome]:
        """What came of it; None while it runs."""
        return self._outcome

    def wait(self, timeout: Optional[float], for_event: bool = False) -> bool:
        with self._changed:
            return self._changed.wait_for(
                lambda: self._outcome is not None or (for_event and bool(self._queued)), timeout)

    def cancel(self) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        raise NotImplementedError

    def release(self) -> None:
        """Nobody is interested any more."""
        raise NotImplementedError


def bundled(pattern: str) -> Optional[str]:
    """A file of the wheel."""
    folder = glob.escape(os.path.join(os.path.dirname(os.path.abspath(__file__)), "_bundle"))
    return next(glob.iglob(os.path.join(folder, pattern), recursive=True), None)


def find_program(program: Optional[Path] = None) -> bytes:
    """The one that is named, else that of the wheel, of $LATENTSYNC, of PATH."""
    if program is not None:
        return path_of(program, "program")
    found = bundled("bin/latentsync") or os.environ.get("LATENTSYNC") or shutil.which("latentsync")
    if not found:
        raise _errors.ProgramNotFound(
            "there is no program latentsync: neither in this package, nor in $LATENTSYNC, nor in PATH",
            hint="install the wheel that holds it, or set LATENTSYNC to its path")
    return os.fsencode(found)


def _spawn(line: Sequence[bytes], pass_fds: Sequence[int]) -> "subprocess.Popen[bytes]":
    try:
        # A session of its own: Ctrl-C is for this process, which then cancels in order.
        return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                bufsize=0, start_new_session=True, pass_fds=tuple(pass_fds))
    except OSError as e:
        where = f"{os.fsdecode(line[0])}"
        raise _errors.ProgramNotFound(f"cannot start {where}: {e.strerror}",
                                      hint="set LATENTSYNC to the path of the program") from e


_running: "weakref.WeakSet[ProgramRun]" = weakref.WeakSet()


class ProgramRun(Run):
    """The program ends with its standard input, of which this process holds the other end: whatever
    becomes of this process, it is not left running."""

    def __init__(self, arguments: Sequence[bytes], convert: Convert, program: Optional[Path] = None,
                 job: Optional[bytes] = None, pass_fds: Sequence[int] = ()) -> None:
        super().__init__()
        self._convert = convert
        self._job = os.fsdecode(job) if job is not None else None
        self._stderr = bytearray()
        self._line = bytearray()
        self._last: Optional[Dict[str, Any]] = None
        self._canceled = False
        self._deadline: Optional[float] = None
        self._process = _spawn([find_program(program), *arguments], pass_fds)
        self._owner = os.getpid()
        _running.add(self)
        threading.Thread(target=self._read, name="latentsync", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stderr(self) -> str:
        return self._stderr.decode("utf-8", "replace")

    def _take_line(self, line: bytes) -> None:
        try:
            fields = json.loads(line)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            if line.strip():
                self._tell(Message("debug", line.decode("utf-8", "replace").rstrip()))
            return
        name = fields.get("event")
        if name in ("done", "error"):
            self._last = fields
            return
        if name == "start":
            self.started = fields
        self._tell(event(fields))

    def _take_output(self, block: bytes) -> None:
        self._line += block
        lines = self._line.split(b"\n")
        self._line = lines.pop()
        for line in lines:
            self._take_line(bytes(line))
        if len(self._line) > MAX_LINE:
            del self._line[:]

    def _take_stderr(self, block: bytes) -> None:
        self._stderr += block
        del self._stderr[:-MAX_STDERR]

    def _pump(self) -> None:
        """Both pipes until they end, or the program has: others may have inherited them."""
        p = self._process
        assert p.stdout and p.stderr
        with selectors.DefaultSelector() as selector:
            selector.register(p.stdout, selectors.EVENT_READ, self._take_output)
            selector.register(p.stderr, selectors.EVENT_READ, self._take_stderr)
            ended = False
            while selector.get_map():
                ready = selector.select(0 if ended else 0.5)
                if ended and not ready:
                    return
                ended = ended or (not ready and p.poll() is not None)
                if self._deadline is not None and time.monotonic() > self._deadline:
                    self.kill()
                for key, _ in ready:
                    block = os.read(key.fd, 65536)
                    if block:
                        key.data(block)
                    else:
                        selector.unregister(key.fileobj)

    def _read(self) -> None:
        p = self._process
        try:
            self._pump()
            if self._line:
                self._take_line(bytes(self._line))
            while self._deadline is not None and p.poll() is None:  # it has closed its pipes, no more
                if time.monotonic() > self._deadline:
                    self.kill()
                time.sleep(0.05)
            status = p.wait()
            for pipe in (p.stdin, p.stdout, p.stderr):
                if pipe:
                    pipe.close()
            self._end(self._conclude(status))
        except Exception as e:  # whoever waits must not wait for ever
            self.kill()
            self._end(_errors.Crashed(f"events of the program cannot be read: {e!r}"))

    def _conclude(self, status: int) -> Outcome:
        last = self._last
        if last and last.get("event") == "done" and status in (0, 1):
            return self._convert(last)
        if last and last.get("event") == "error":
            return _errors.from_event(last, self._job, self.stderr)
        if self._canceled and status < 0:
            return _errors.Canceled("canceled", status=130, job=self._job, stderr=self.stderr)
        error = _errors.from_exit(status, self.stderr)
        if isinstance(error, _errors.Crashed) and self.started is not None:
            error.job = self._job
        return error

    def cancel(self) -> None:
        """In order: what is finished is kept."""
        self._canceled = True
        if self._process.stdin:
            try:
                self._process.stdin.close()
            except OSError:
                pass

    def kill(self) -> None:
        if os.getpid() == self._owner and self.outcome is None:
            self._canceled = True
            self._process.kill()

    def release(self) -> None:
        if os.getpid() == self._owner and self.outcome is None:
            self._deadline = time.monotonic() + GRACE
            self.cancel()

    def forget(self) -> None:
        """In a child of a fork: the end of the pipe is the parent's alone."""
        if self._process.stdin:
            self._process.stdin.close()


def _after_fork() -> None:
    for run in list(_running):
        run.forget()


os.register_at_fork(after_in_child=_after_fork)
