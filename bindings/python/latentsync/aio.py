"""The same calls for asyncio: `async for event in job`, `await job.result()`."""
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, AsyncIterator, Dict, Optional, TypeVar, Union

from . import _calls
from ._arguments import takes
from ._errors import Error
from ._events import Check, Done, Estimate, Event, Faces, Probe
from ._job import BaseJob
from ._options import Path
from ._run import GRACE, Run

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import CheckOptions, EstimateOptions, FacesOptions, ResumeOptions, SyncOptions

T = TypeVar("T")


def _wake(loop: asyncio.AbstractEventLoop, changed: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(changed.set)
    except RuntimeError:
        pass  # the loop has ended


class AsyncJob(BaseJob[T]):
    """As latentsync.Job, for one event loop. A task that is canceled while it waits for the result cancels
    the job; so does leaving `async with`."""

    def __init__(self, run: Run, folder: Optional[bytes] = None, as_bytes: bool = False) -> None:
        super().__init__(run, folder, as_bytes)
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        self._changed = changed
        run.listen(lambda: _wake(loop, changed))

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while True:
            self._changed.clear()
            ended = not self.running
            event = self._run.take()
            if event is not None:
                return event
            if ended:
                self._result()
                raise StopAsyncIteration
            await self._changed.wait()

    async def wait(self) -> None:
        while self.running:
            self._changed.clear()
            if self.running:
                await self._changed.wait()

    async def result(self) -> T:
        try:
            await self.wait()
        except asyncio.CancelledError:
            self._run.release()
            raise
        return self._result()

    async def close(self) -> None:
        """Cancels, and waits for the end."""
        self._run.release()
        try:
            await asyncio.wait_for(self.wait(), GRACE)
        except asyncio.TimeoutError:
            self._run.kill()
            await self.wait()

    async def __aenter__(self) -> "AsyncJob[T]":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


@takes("sync")
async def sync(video: Path, audio: Path, out: Path, *, backend: str = "program", program: Optional[Path] = None,
               verbose: bool = False, **options: Unpack[SyncOptions]) -> AsyncJob[Done]:
    """As latentsync.sync()."""
    run, folder, as_bytes = _calls.start_sync(video, audio, out, backend, program, verbose, options)
    return AsyncJob(run, folder, as_bytes)


@takes("resume")
async def resume(job: Union[Path, BaseJob[Done], Error], *, backend: str = "program", program: Optional[Path] = None,
                 verbose: bool = False, **options: Unpack[ResumeOptions]) -> AsyncJob[Done]:
    """As latentsync.resume()."""
    run, folder, as_bytes = _calls.start_resume(job, backend, program, verbose, options)
    return AsyncJob(run, folder, as_bytes)


@takes("faces")
async def faces(video: Path, *, preview: Optional[Path] = None, program: Optional[Path] = None,
                **options: Unpack[FacesOptions]) -> Faces:
    """As latentsync.faces()."""
    return await AsyncJob[Faces](_calls.start_faces(video, preview, program, options)).result()


@takes("check")
async def check(video: Path, *, program: Optional[Path] = None, **options: Unpack[CheckOptions]) -> Check:
    """As latentsync.check()."""
    return await AsyncJob[Check](_calls.start_check(video, program, options)).result()


@takes("estimate")
async def estimate(video: Path, audio: Path, *, program: Optional[Path] = None,
                   **options: Unpack[EstimateOptions]) -> Dict[str, Estimate]:
    """As latentsync.estimate()."""
    found = await AsyncJob[Any](_calls.start_estimate(video, audio, program, options)).result()
    return {e.quality: e for e in found}


async def probe(file: Path, *, program: Optional[Path] = None) -> Probe:
    """As latentsync.probe()."""
    return await AsyncJob[Probe](_calls.start_probe(file, program)).result()
