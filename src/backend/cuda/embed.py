#!/usr/bin/env python3
"""embed.py OUT PTX...: writes a C file with the text of each NAME.sm_NN.ptx."""
import pathlib
import sys

out, *inputs = map(pathlib.Path, sys.argv[1:])
lines, rows = ['#include "backend/cuda/ptx.h"', "", "#include <stddef.h>", ""], []
for path in inputs:
    name, arch, _ = path.name.split(".")
    variable = f"{name}_{arch}"
    text = path.read_text().replace("\\", "\\\\").replace('"', '\\"')
    lines.append(f"static const char {variable}[] =")
    lines += [f'    "{line}\\n"' for line in text.split("\n")]
    lines[-1] += ";"
    rows.append(f'    {{"{name}", {arch.removeprefix("sm_")}, {variable}}},')
lines += ["const ls_cuda_ptx ls_cuda_modules[] = {", *rows, "    {NULL, 0, NULL}};"]
out.write_text("\n".join(lines) + "\n")
