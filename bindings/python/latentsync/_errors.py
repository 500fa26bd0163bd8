"""What can go wrong, by the error codes of the program."""
from __future__ import annotations

import re
import signal
from typing import Any, Dict, List, Mapping, Optional, Type

from ._options import OPTIONS

# What the program writes after "--" where it means an option.
_NAMES = {name.replace("_", "-") for options in OPTIONS.values() for name in options}


class Error(Exception):
    """A call failed. `str(error)` says what, where and what would help."""

    code: str = "LS_E?"  # "LS_ENOFACE"; include/latentsync/error.h lists them

    def __init__(self, message: str, *, hint: Optional[str] = None, option: Optional[str] = None,
                 code: Optional[str] = None, status: int = 1, retry: bool = False,
                 job: Optional[str] = None, stderr: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint  # what would help
        self.option = option  # the argument it is about
        self.code = code or type(self).code
        self.status = status  # the exit status of the program
        self.retry = retry  # whether the same call may succeed later
        self.job = job  # folder of the job, if it can be resumed
        self.stderr = stderr  # the end of what the program wrote there

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class InvalidArgument(Error, ValueError):
    code = "LS_EINVAL"


class OutOfMemory(Error, MemoryError):
    code = "LS_ENOMEM"


class InputOutputError(Error):
    code = "LS_EIO"


class NotFound(Error):
    code = "LS_ENOENT"


class FormatError(Error):
    code = "LS_EFORMAT"


class Unsupported(Error):
    code = "LS_EUNSUPPORTED"


class ShapeError(Error):
    code = "LS_ESHAPE"


class Canceled(Error):
    code = "LS_ECANCELED"


class BackendError(Error):
    code = "LS_EBACKEND"


class NoSpace(Error):
    code = "LS_ENOSPC"


class Busy(Error):
    code = "LS_EBUSY"


class ModelError(Error):
    code = "LS_EMODEL"


class NoFace(Error):
    code = "LS_ENOFACE"


class DeviceLost(Error):
    code = "LS_EDEVICE"


class Crashed(Error):
    """The program was killed, or ended without saying why."""


class ProgramNotFound(Error):
    """There is no program, or no library, or it cannot be started."""


_BY_CODE: Dict[str, Type[Error]] = {c.code: c for c in Error.__subclasses__() if c.code != Error.code}
_BY_STATUS = {2: "LS_EINVAL", 4: "LS_EMODEL", 5: "LS_ENOFACE", 7: "LS_EBUSY", 130: "LS_ECANCELED"}


def _argument(name: Optional[str]) -> Optional[str]:
    return name.replace("-", "_") if name else None


def in_python(text: str) -> str:
    """Text of the program with its options as arguments: "--max-memory" is "max_memory"."""
    text = re.sub(r"--([a-z]+(?:-[a-z]+)*)",
                  lambda m: m[1].replace("-", "_") if m[1] in _NAMES else m[0], text)
    return re.sub(r"^-o (?=names )", "out ", text)


def from_event(event: Mapping[str, Any], job: Optional[str], stderr: str) -> Error:
    code = str(event.get("code", Error.code))
    hint = event.get("hint")
    return _BY_CODE.get(code, Error)(
        in_python(str(event.get("message", "failed"))), hint=in_python(hint) if hint else None,
        option=_argument(event.get("option")), code=code, status=int(event.get("status", 1)),
        retry=bool(event.get("retry")), job=job if event.get("job") is not None else None, stderr=stderr)


def _lines(stderr: str) -> List[str]:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return [line[len("latentsync: "):] if line.startswith("latentsync: ") else line
            for line in lines if not line.startswith('Try "latentsync')]


def from_exit(status: int, stderr: str) -> Error:
    """Of a program that ended without an event: a wrong argument, a crash."""
    said = in_python("; ".join(_lines(stderr)[-3:]))
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        more = " (the system may have run out of memory)" if -status == signal.SIGKILL else ""
        return Crashed(f"the program was ended by {name}{more}" + (f": {said}" if said else ""),
                       hint="finished segments are kept: resume the job", status=status, stderr=stderr)
    if status in _BY_STATUS and said:
        code = _BY_STATUS[status]
        option = re.match(r"([a-z]+(?:_[a-z]+)*):", said)
        return _BY_CODE[code](said, option=option[1] if option else None, status=status, stderr=stderr)
    if status in (126, 127):
        return ProgramNotFound(f"the program cannot be started: {said}", status=status, stderr=stderr)
    return Crashed(f"the program ended with status {status}" + (f": {said}" if said else ""),
                   status=status, stderr=stderr)


def from_library(code: int, name: str, message: str, hint: str, option: str, retry: bool,
                 job: Optional[str]) -> Error:
    return _BY_CODE.get(name, Error)(message or name, hint=hint or None, option=_argument(option), code=name,
                                     retry=retry, job=job)
