#!/usr/bin/env python3
"""check_symbols.py LIBRARY: every global symbol that a static library defines begins with ls_."""
import re
import subprocess
import sys

ALLOWED = re.compile(r"^ls_")


def foreign(listing):
    """Names of nm's output without the prefix; None when there are no names at all."""
    names = {line.split()[2] for line in listing.split("\n") if len(line.split()) == 3}
    return sorted(n for n in names if not ALLOWED.match(n)) if names else None


if foreign("0000 T ls_a\n0000 D ls_b\n0010 T helper\n0000 B table\n") != ["helper", "table"] or \
        foreign("0000 T ls_a\n") != [] or foreign("lib.a:\n") is not None:
    sys.exit("check_symbols: the rule does not catch what it should")
bad = foreign(subprocess.run(["nm", "--defined-only", "--extern-only", sys.argv[1]], check=True,
                             capture_output=True, text=True).stdout)
if bad is None:
    sys.exit("check_symbols: no symbols in " + sys.argv[1])
for n in bad:
    print(f"{sys.argv[1]}: global symbol {n} lacks the prefix ls_")
sys.exit(1 if bad else 0)
