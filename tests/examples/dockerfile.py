#!/usr/bin/env python3
"""The instructions of a Dockerfile, continued lines joined: "WORD<tab>REST" each.
usage: dockerfile.py FILE"""
import sys


def instructions(path):
    joined = ""
    with open(path) as f:
        for line in f:
            line = line.rstrip("\n")
            if line.lstrip().startswith("#") or not (joined or line.strip()):
                continue
            more = line.endswith("\\")
            joined += (line[:-1] if more else line).strip() + " "
            if not more:
                word, rest = joined.split(None, 1)
                yield word, rest.strip()
                joined = ""
    assert not joined, f"{path} ends within an instruction"


if __name__ == "__main__":
    for word, rest in instructions(sys.argv[1]):
        print(word, rest, sep="\t")
