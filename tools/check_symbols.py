#!/usr/bin/env python3
"""check_symbols.py STATIC SHARED LIST HEADER...: every global symbol of the static library begins with ls_, and the
shared library exports exactly the functions that the headers mark with LS_API, which Debian's list of symbols names."""
import pathlib
import re
import subprocess
import sys

ALLOWED = re.compile(r"^ls_")


def names(listing):
    """Names of nm's output."""
    found = [line.split() for line in listing.split("\n")]
    return {f[2].split("@")[0] for f in found if len(f) == 3 and f[1] != "A"}


def foreign(listing):
    """Those without the prefix; None when there are no names at all."""
    found = names(listing)
    return sorted(n for n in found if not ALLOWED.match(n)) if found else None


def declared(header):
    """Functions marked with LS_API; comments and line ends do not matter."""
    code = re.sub(r"/\*.*?\*/", " ", header, flags=re.S)
    return {m.group(1) for m in re.finditer(r"^LS_API\b[^;(]*?\b(\w+)\s*\(", code, flags=re.M)}


def nm(*args):
    return subprocess.run(["nm", *args], check=True, capture_output=True, text=True).stdout


if foreign("0000 T ls_a\n0000 D ls_b\n0010 T helper\n0000 B table\n") != ["helper", "table"] or \
        foreign("0000 T ls_a\n") != [] or foreign("lib.a:\n") is not None or \
        declared("/* LS_API int no(void); */\nLS_API const char *ls_a(int);\nLS_API int ls_b(\n int);\nint c(void);") \
        != {"ls_a", "ls_b"}:
    sys.exit("check_symbols: the rules do not catch what they should")
static, shared, symbols, *headers = sys.argv[1:]
bad = foreign(nm("--defined-only", "--extern-only", static))
if bad is None:
    sys.exit("check_symbols: no symbols in " + static)
lines = [f"{static}: global symbol {n} lacks the prefix ls_" for n in bad]
exported = names(nm("-D", "--defined-only", shared))
wanted = set().union(*(declared(pathlib.Path(h).read_text()) for h in headers))
lines += [f"{shared}: exports {n}, which no public header marks with LS_API" for n in sorted(exported - wanted)]
lines += [f"{shared}: lacks {n}, which a public header declares" for n in sorted(wanted - exported)]
listed = set(re.findall(r"^ (ls_\w+)@LATENTSYNC_0 ", pathlib.Path(symbols).read_text(), flags=re.M))
lines += [f"{symbols}: lacks {n}; add it with the version that brings it" for n in sorted(exported - listed)]
lines += [f"{symbols}: names {n}, which {shared} does not export" for n in sorted(listed - exported)]
print("\n".join(lines), end="\n" if lines else "")
sys.exit(1 if lines else 0)
