"""Arguments of a call, checked by the table of options and as the program takes them."""
from __future__ import annotations

import difflib
import inspect
import math
import operator
import os
from typing import Any, Callable, Dict, Iterable, List, Mapping, Sequence, TypeVar, Union, get_type_hints

from . import _options
from ._errors import InvalidArgument
from ._options import OPTIONS, Option, Path

F = TypeVar("F", bound=Callable[..., Any])


def path(value: Path, name: str = "path") -> bytes:
    """The bytes of a path, which the program takes for nothing else."""
    try:
        raw = os.fsencode(value)
    except TypeError:
        raise TypeError(f"{name}: expected a path, not {type(value).__name__}") from None
    if not raw or b"\0" in raw:
        raise InvalidArgument(f"{name}: expected the name of a file or folder, not {value!r}", option=name)
    return b"./" + raw if raw in (b"-", b"auto") else raw


def _refuse(name: str, wanted: str, value: object) -> InvalidArgument:
    return InvalidArgument(f"{name}: expected {wanted}, not {value!r}", option=name)


def _integer(name: str, value: object) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name}: expected a whole number, not {type(value).__name__}") from None


def _within(name: str, o: Option, value: Union[int, float]) -> str:
    least, most = o.least or 0, o.most or 0
    what = "number" if o.kind == "number" else "whole number"
    if not math.isfinite(value) or not (least <= value <= most or (o.automatic and value == 0)):
        raise _refuse(name, f"a {what} from {least:g} to {most:g}" if most < 2**62 else f"a {what}, {least:g} or more", value)
    return repr(value)


def _text(name: str, o: Option, value: Any) -> Union[str, bytes]:
    if o.kind == "path":
        return path(value, name)
    if value == "auto" and o.automatic:
        return "auto"
    if o.kind == "choice":
        if not isinstance(value, str):
            raise TypeError(f"{name}: expected a text, not {type(value).__name__}")
        if value not in o.choices:
            near = difflib.get_close_matches(value, o.choices, 1)
            raise _refuse(name, " or ".join(map(repr, o.choices)), value) if not near else InvalidArgument(
                f"{name}: there is no {value!r}", hint=f"did you mean {near[0]!r}?", option=name)
        return value
    if o.kind == "integer" or (o.kind == "bytes" and not isinstance(value, str)):
        return _within(name, o, _integer(name, value))
    if o.kind == "number":
        if isinstance(value, (str, bytes)):
            raise TypeError(f"{name}: expected a number, not {type(value).__name__}")
        return _within(name, o, float(value))
    if isinstance(value, (str, bool)) or not hasattr(value, "__float__"):
        if not isinstance(value, str):
            raise TypeError(f"{name}: expected a text, not {type(value).__name__}")
        if "\0" in value:
            raise _refuse(name, "a text", value)
        return value
    return repr(float(value)) if float(value) % 1 else str(int(value))


def nearest(call: str, name: str, known: Iterable[str]) -> TypeError:
    near = difflib.get_close_matches(name, list(known), 1)
    return TypeError(f"{call}() has no option {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def values(call: str, options: Mapping[str, Any], without: Sequence[str] = ()) -> Dict[str, Union[str, bytes]]:
    """Those that are given, by their names in the program, as text."""
    table = OPTIONS[call]
    found: Dict[str, Union[str, bytes]] = {}
    for name, value in options.items():
        o = table.get(name)
        if o is None or name in without:
            raise nearest(call, name, (n for n in table if n not in without))
        if value is None or (o.kind == "flag" and not value):
            continue
        if o.kind == "flag":
            if not isinstance(value, (bool, int)):
                raise TypeError(f"{name}: expected True or False, not {type(value).__name__}")
            found[name.replace("_", "-")] = "1"
        elif o.implied and isinstance(value, bool):
            if value:
                found[name.replace("_", "-")] = o.implied
        else:
            found[name.replace("_", "-")] = _text(name, o, value)
    return found


def command(call: str, operands: Sequence[bytes], given: Mapping[str, Union[str, bytes, None]]) -> List[bytes]:
    """What follows the program's name. A value of None is an option that takes none."""
    line = [os.fsencode(word) for word in call.split()]
    for name, value in given.items():
        line.append(os.fsencode("--" + name) + (b"" if value is None else b"=" + os.fsencode(value)))
    return [*line, b"--", *operands]


def _help(o: Option) -> str:
    default = f" (default {o.initial})" if o.initial else f" (default: {o.automatic})" if o.automatic else ""
    return o.help + default


def takes(call: str, without: Sequence[str] = ()) -> Callable[[F], F]:
    """For a function with `**options`: its signature and documentation list them."""
    def decorate(function: F) -> F:
        options = {n: o for n, o in OPTIONS[call].items() if n not in without}
        hints: Mapping[str, Any] = get_type_hints(getattr(_options, call.capitalize() + "Options"))
        signature = inspect.signature(function)
        kept = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        kept += [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hints[n]) for n in options]
        function.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        lines = "\n".join(f"    {n}: {_help(o)}" for n, o in options.items())
        function.__doc__ = f"{function.__doc__}\n\nOptions:\n{lines}\n"
        return function
    return decorate
