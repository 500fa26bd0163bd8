#!/usr/bin/env python3
"""embed.py OUT FILE...: a C file with the bytes of the files, for page.h."""
import hashlib
import pathlib
import sys

TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png", ".woff2": "font/woff2",
         ".webmanifest": "application/manifest+json"}

out, *names = sys.argv[1:]
arrays, rows = [], []
for i, name in enumerate(sorted(names, key=lambda n: pathlib.Path(n).name)):
    path = pathlib.Path(name)
    data = path.read_bytes()
    lines = [", ".join(map(str, data[k:k + 32])) + "," for k in range(0, len(data), 32)]
    arrays.append(f"static const unsigned char file_{i}[] = {{\n" + "\n".join(lines) + "0};\n")
    etag = hashlib.sha256(data).hexdigest()[:16]
    rows.append(f'    {{"{path.name}", "{TYPES[path.suffix]}", "\\"{etag}\\"", file_{i}, {len(data)}}},\n')
pathlib.Path(out).write_text('#include "server/page.h"\n\n' + "".join(arrays) +
                             "const page_file page_files[] = {\n" + "".join(rows) + "    {0},\n};\n")
