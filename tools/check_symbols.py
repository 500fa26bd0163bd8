#!/usr/bin/env python3
"""Checks that every global symbol that a static library defines begins with ls_ (or belongs to one of
its files' own prefixes below)."""
import re
import subprocess
import sys

ALLOWED = re.compile(r"^(ls_|onednn_)")
out = subprocess.run(["nm", "--defined-only", "--extern-only", sys.argv[1]], check=True,
                     capture_output=True, text=True).stdout
names = [line.split()[2] for line in out.split("\n") if len(line.split()) == 3]
bad = sorted({n for n in names if not ALLOWED.match(n)})
if not names:
    sys.exit("check_symbols: no symbols in " + sys.argv[1])
for n in bad:
    print(f"{sys.argv[1]}: global symbol {n} lacks the prefix ls_")
sys.exit(1 if bad else 0)
