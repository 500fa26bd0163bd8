#!/usr/bin/env python3
"""embed.py OUT SPV...: writes a C file with the words of each NAME.spv."""
import pathlib
import struct
import sys

out, *inputs = map(pathlib.Path, sys.argv[1:])
lines = ['#include "backend/vulkan/shaders.h"', ""]
for path in inputs:
    data = path.read_bytes()
    words = struct.unpack(f"<{len(data) // 4}I", data)
    lines.append(f"static const uint32_t {path.stem}[] = {{")
    lines += ["    " + " ".join(f"{w:#x}," for w in words[i:i + 10]) for i in range(0, len(words), 10)]
    lines += ["};", f"const ls_vulkan_shader ls_vulkan_{path.stem} = {{{path.stem}, sizeof {path.stem}}};", ""]
out.write_text("\n".join(lines))
