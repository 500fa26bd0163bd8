#!/usr/bin/python3
"""Prints weights_table.h: what PyTorch and numpy read from the sample files, as hashes.
Usage: weights_table.py FORMATS > weights_table.h   (needs torch, numpy)

Hash of a file: for each tensor in the order of the file, for each byte of its name, each size and
the value hash: H = 31 H + x (mod 2^64); value hash = sum of (2i+1) * bits of float32 element i."""
import glob, json, os, struct, sys
import numpy, torch

M = (1 << 64) - 1


def bits(a):
    u = numpy.frombuffer(a.astype(numpy.float32).tobytes(), numpy.uint32).astype(numpy.uint64)
    with numpy.errstate(over="ignore"):
        return int((u * (2 * numpy.arange(len(u), dtype=numpy.uint64) + numpy.uint64(1))).sum())


def add(h, name, shape, array):
    for x in [*name.encode(), *shape, bits(array)]:
        h = (31 * h + x) & M
    return h


def flat(o, path=()):
    if isinstance(o, torch.Tensor):
        yield ".".join(path) or "tensor", o
    elif isinstance(o, dict) or isinstance(o, (list, tuple)):
        for k, v in o.items() if isinstance(o, dict) else enumerate(o):
            yield from flat(v, path + (str(k),))


def torch_file(path):
    h = n = 0
    for name, t in flat(torch.load(path, map_location="cpu")):
        for level in ("state_dict.", "model_state_dict."):
            if name.startswith(level):
                name = name[len(level):]
                break
        h = add(h, name, t.shape, t.detach().float().contiguous().numpy())
        n += 1
    return n, h


def safetensors_file(path):
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    h = 0
    kinds = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U8": "u1"}
    for name, t in sorted(header.items(), key=lambda x: x[1]["data_offsets"]):
        a, b = (8 + size + x for x in t["data_offsets"])
        h = add(h, name, t["shape"], numpy.frombuffer(data[a:b], "<" + kinds[t["dtype"]]))
    return len(header), h


# What is refused here on purpose, with a part of the message.
REFUSED = {
    "noncontiguous_numpy_array.legacy.pt": "numpy.core.multiarray._reconstruct",
    "v0_noncontiguous_numpy_array.zip.pt": "numpy.core.multiarray._reconstruct",
    "v1_noncontiguous_numpy_array.zip.pt": "numpy.core.multiarray._reconstruct",
    "v0_numpy_arrays.zip.pt": "numpy.core.multiarray._reconstruct",
    "v1_numpy_arrays.zip.pt": "numpy.core.multiarray._reconstruct",
    "v0_tensors.legacy.pt": "torch.ComplexDoubleStorage",
    "v1_tensors.zip.pt": "torch.ComplexDoubleStorage",
    "storage_view.legacy.pt": "bare storage",
    "test_data__broken.pt": "neither a safetensors nor a PyTorch file",
    "overall.safetensors": "tensor H: dtype U16",
    "upper_H.safetensors": "tensor H: dtype U16",
    "upper_I.safetensors": "tensor I: dtype U32",
}

print("/* Made by weights_table.py: file, tensors, hash, or the reason of a refusal. */")
print("// clang-format off")
for path in sorted(glob.glob(sys.argv[1] + "/*/*.pt") + glob.glob(sys.argv[1] + "/*/*.safetensors")):
    base = os.path.basename(path)
    short = os.path.relpath(path, os.path.dirname(os.path.abspath(sys.argv[1])))
    if base in REFUSED:
        print('{"%s", 0, 0, "%s"},' % (short, REFUSED[base]))
    else:
        n, h = (torch_file if base.endswith(".pt") else safetensors_file)(path)
        print('{"%s", %d, 0x%016x, NULL},' % (short, n, h))
