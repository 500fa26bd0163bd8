"""`python -m latentsync` is the program."""
from __future__ import annotations

import os
import sys

from ._errors import ProgramNotFound
from ._run import find_program


def main() -> None:
    try:
        program = find_program()
        os.execv(program, [b"latentsync", *map(os.fsencode, sys.argv[1:])])
    except (ProgramNotFound, OSError) as e:
        sys.exit(f"latentsync: {e}")


if __name__ == "__main__":
    main()
