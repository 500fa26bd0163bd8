"""Jobs: what a call that takes time returns."""
from __future__ import annotations

import os
import weakref
from types import TracebackType
from typing import Any, Generic, Iterator, Optional, Type, TypeVar, Union, cast

from . import _errors
from ._events import Event
from ._run import GRACE, ProgramRun, Run

T = TypeVar("T")
J = TypeVar("J", bound="BaseJob[Any]")


class BaseJob(Generic[T]):
    def __init__(self, run: Run, folder: Optional[bytes] = None, as_bytes: bool = False) -> None:
        self._run = run
        self._folder = folder if as_bytes or folder is None else os.fsdecode(folder)
        # A job that nobody has any more is canceled; so are all when Python ends.
        self._finalizer = weakref.finalize(self, run.release)

    @property
    def folder(self) -> Union[str, bytes, None]:
        """Where finished segments are kept until the output is complete; None: the call has no job."""
        return self._folder

    @property
    def running(self) -> bool:
        return self._run.outcome is None

    @property
    def pid(self) -> Optional[int]:
        return self._run.pid if isinstance(self._run, ProgramRun) else None

    @property
    def stderr(self) -> str:
        """The end of what the program wrote there: of the codecs, with verbose=True."""
        return self._run.stderr if isinstance(self._run, ProgramRun) else ""

    def cancel(self) -> None:
        """Ends the job in order, soon; what is finished is kept for resume(). Does not wait."""
        self._run.cancel()

    def kill(self) -> None:
        """Ends the program at once. The job's folder stays sound all the same."""
        self._run.kill()

    def _result(self) -> T:
        outcome = self._run.outcome
        if isinstance(outcome, _errors.Error):
            raise outcome
        return cast(T, outcome)


class Job(BaseJob[T]):
    """Runs from the start, whether or not anybody listens. As an iterator it gives the events, the
    last being the result; a failure is raised. Out of use, it is canceled."""

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        self._wait(None, for_event=True)
        event = self._run.take()
        if event is None:
            self._result()
            raise StopIteration
        return event

    def _wait(self, timeout: Optional[float], for_event: bool = False) -> bool:
        try:
            return self._run.wait(timeout, for_event)
        except KeyboardInterrupt:
            self.close()
            raise

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Until it has ended, or so many seconds; whether it has."""
        return self._wait(timeout)

    def result(self, timeout: Optional[float] = None) -> T:
        """Waits; raises what the job failed with, or TimeoutError, after which it still runs."""
        if not self._wait(timeout):
            raise TimeoutError(f"the job still runs after {timeout:g} s")
        return self._result()

    def close(self) -> None:
        """Cancels, and waits for the end. Interrupted meanwhile, or after a minute, it kills."""
        self._run.release()
        try:
            if not self._run.wait(GRACE):
                self._run.kill()
                self._run.wait(GRACE)
        except KeyboardInterrupt:
            self._run.kill()
            raise

    def __enter__(self: J) -> J:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()
