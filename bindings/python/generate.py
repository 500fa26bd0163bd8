#!/usr/bin/env python3
"""Writes latentsync/_options.py from the library's own table of options.
usage: generate.py LIBLATENTSYNC.SO [--check]; with --check it only tells whether the file is current."""
import ctypes
import json
import pathlib
import sys
import textwrap

FLAG, INTEGER, NUMBER, BYTES, CHOICE, TEXT = range(6)
FILE = pathlib.Path(__file__).resolve().parent / "latentsync/_options.py"
COMMANDS = {"sync": 1, "resume": 2, "faces": 4, "estimate": 8, "check": 16, "frames": 1}
NUMBERS_TOO = {"face", "sharpen"}  # texts that may be numbers
# What a call has as parameters of its own.
OWN = {"sync": {"video", "audio", "output"}, "resume": set(), "faces": {"video"},
       "estimate": {"video", "audio"}, "check": {"video"},
       "frames": {"video", "audio", "output", "video-stream", "deinterlace", "preview", "fps", "video-codec",
                  "pixel-format", "crf", "preset", "no-overwrite", "segment-seconds", "job", "keep-job", "restart",
                  "any-device", "stream"}}

HEAD = '''"""The options of each call. Written by generate.py from the program's table; not edited by hand."""
from __future__ import annotations

import os
from typing import Dict, Literal, NamedTuple, Optional, Tuple, TypedDict, Union

VERSION = "{version}"

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


class Option(NamedTuple):
    kind: str  # "flag", "integer", "number", "bytes", "choice", "text" or "path"
    help: str
    initial: Optional[str] = None
    automatic: Optional[str] = None  # what happens when it is left out, if there is no default
    least: Optional[float] = None
    most: Optional[float] = None
    choices: Tuple[str, ...] = ()
    implied: Optional[str] = None  # what True stands for'''


class Row(ctypes.Structure):
    """ls_option of include/latentsync/option.h"""
    _fields_ = [("name", ctypes.c_char_p), ("type", ctypes.c_int), ("used_by", ctypes.c_int),
                ("is_required", ctypes.c_int), ("is_result", ctypes.c_int), ("letter", ctypes.c_char),
                ("value", ctypes.c_char_p), ("initial", ctypes.c_char_p), ("automatic", ctypes.c_char_p),
                ("min", ctypes.c_double), ("max", ctypes.c_double), ("unit", ctypes.c_char_p),
                ("choices", ctypes.POINTER(ctypes.c_char_p)), ("group", ctypes.c_char_p),
                ("help", ctypes.c_char_p), ("implied", ctypes.c_char_p)]


def text(value):
    return None if value is None else value.decode()


def choices(row):
    found = []
    while row.choices and row.choices[len(found)]:
        found.append(row.choices[len(found)].decode())
    return tuple(found)


def kind(row):
    return ("flag", "integer", "number", "bytes", "choice", "text")[row.type] if row.type <= TEXT else "path"


def annotation(row):
    if row.type == CHOICE:
        return "Literal[" + ", ".join(map(json.dumps, choices(row))) + "]"
    if row.type > TEXT:
        return "Path"
    plain = {FLAG: "bool", INTEGER: "int", NUMBER: "float", BYTES: "Union[int, str]", TEXT: "str"}[row.type]
    also = ["bool"] * bool(row.implied) + ["float"] * (text(row.name) in NUMBERS_TOO) + \
        ['Literal["auto"]'] * bool(row.initial and row.automatic)
    return f"Union[{', '.join([plain, *also])}]" if also else plain


def number(x):
    return repr(int(x)) if x == int(x) else repr(x)


def entry(row):
    more = [f"{name}={json.dumps(text(value))}" for name, value in
            (("initial", row.initial), ("automatic", row.automatic), ("implied", row.implied)) if value is not None]
    if row.type in (INTEGER, NUMBER, BYTES):
        more += [f"least={number(row.min)}", f"most={number(row.max)}"]
    if row.choices:
        more.append("choices=(" + ", ".join(map(json.dumps, choices(row))) + ",)")
    words = textwrap.wrap(text(row.help), 84, drop_whitespace=False, break_long_words=False)
    lines = [json.dumps(line) for line in words]
    if more:
        lines[-1] += ","
        lines += [", ".join(more)] if sum(map(len, more)) < 84 else [m + "," * (m is not more[-1]) for m in more]
    return f'Option("{kind(row)}",\n' + "\n".join(" " * 11 + line for line in lines) + ")"


def generate(library):
    lib = ctypes.CDLL(library)
    lib.ls_option_at.restype = ctypes.POINTER(Row)
    lib.ls_version.restype = ctypes.c_char_p
    rows = []
    while lib.ls_option_at(ctypes.c_size_t(len(rows))):
        rows.append(lib.ls_option_at(ctypes.c_size_t(len(rows))).contents)
    out = [HEAD.format(version=lib.ls_version().decode())]
    for command, bit in COMMANDS.items():
        taken = [r for r in rows if r.used_by & bit and text(r.name) not in OWN[command]]
        out.append(f"\n\nclass {command.capitalize()}Options(TypedDict, total=False):")
        out += [f"    {text(r.name).replace('-', '_')}: Optional[{annotation(r)}]" for r in taken]
    out.append("\n\n_ALL: Dict[str, Option] = {")
    out += [f'    "{text(r.name).replace("-", "_")}": {entry(r)},' for r in rows]
    out.append("}\n\n# Of each call, in the order in which the program lists them.\nOPTIONS: Dict[str, Dict[str, Option]] = {\n"
               "    command: {name: _ALL[name] for name in names.__annotations__}\n    for command, names in (")
    out += [f'        ("{c}", {c.capitalize()}Options),' for c in COMMANDS]
    out.append("    )\n}\n")
    return "\n".join(out)


def main():
    made = generate(sys.argv[1])
    if "--check" not in sys.argv[2:]:
        FILE.write_text(made)
    elif FILE.read_text() != made:
        print(f"{FILE} is not what generate.py makes of {sys.argv[1]}: run bindings/python/generate.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
