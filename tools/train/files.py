"""Tensors in files, and tensors from a formula: as src/weights reads and makes them."""
import json
import math
import struct

import numpy as np

TYPES = {"F16": np.float16, "F32": np.float32, "I16": np.int16, "I64": np.int64}


def read_safetensors(path):
    """-> {name: array}, metadata."""
    with open(path, "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    meta = head.pop("__metadata__", {})
    return {name: np.frombuffer(data[slice(*t["data_offsets"])], TYPES[t["dtype"]]).reshape(t["shape"])
            for name, t in head.items()}, meta


def write_safetensors(path, tensors, metadata=None):
    names = {np.dtype(v): k for k, v in TYPES.items()}
    head, parts, at = ({"__metadata__": metadata} if metadata else {}), [], 0
    for name, array in sorted(tensors.items()):
        array = np.ascontiguousarray(array)
        head[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        parts.append(array.tobytes())
        at += array.nbytes
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


def formula(name, shape, scale, offset=0.0):
    """The values of src/weights/formula.c: a hash of the name and splitmix64 of the index."""
    h, mask = 0xCBF29CE484222325, (1 << 64) - 1
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & mask
    n = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.float64) * 2.0 ** -24
    return ((2 * u - 1) * scale + offset).astype(np.float32).reshape(shape)


def formula_weights(name, shape):
    if name.endswith("pos_encoder.pe"):
        return None
    if len(shape) >= 2:
        return formula(name, shape, math.sqrt(3 / np.prod(shape[1:])))
    return formula(name, shape, 0.1, 1.0) if name.endswith(".weight") else formula(name, shape, 0.05)
