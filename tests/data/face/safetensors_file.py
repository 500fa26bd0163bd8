"""Writes safetensors files."""

import json

TYPES = {"uint8": "U8", "int16": "I16", "int64": "I64", "float32": "F32", "float64": "F64"}


def save(path, tensors):
    header, at = {}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": TYPES[t.dtype.name], "shape": list(t.shape),
                        "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for t in tensors.values():
            f.write(t.tobytes())
