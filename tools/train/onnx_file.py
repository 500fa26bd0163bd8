"""A small writer of ONNX files: the few messages of onnx.proto that a convolutional network needs."""

import numpy as np

def varint(n):
    n &= (1 << 64) - 1
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])

def field(number, value):
    """An integer, or bytes, text, or a message, which is bytes too."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value

def attribute(name, value):
    if isinstance(value, int):
        return field(1, name) + field(3, value) + field(20, 2)
    return field(1, name) + b"".join(field(8, v) for v in value) + field(20, 7)

def node(op, inputs, output, **attributes):
    return (b"".join(field(1, i) for i in inputs) + field(2, output) + field(3, output) + field(4, op) +
            b"".join(field(5, attribute(k, v)) for k, v in attributes.items()))

def tensor(name, array):
    array = np.ascontiguousarray(array)
    kind = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}[array.dtype]
    return b"".join(field(1, int(d)) for d in array.shape) + field(2, kind) + field(8, name) + field(9, array.tobytes())

def value_info(name, shape):
    dims = b"".join(field(1, field(1, d)) for d in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))

def write(path, name, nodes, tensors, inputs, outputs):
    """nodes of node(), tensors {name: array}, inputs and outputs {name: shape}."""
    graph = (b"".join(field(1, n) for n in nodes) + field(2, name) + b"".join(field(5, tensor(k, v)) for k, v in tensors.items()) +
             b"".join(field(11, value_info(k, s)) for k, s in inputs.items()) +
             b"".join(field(12, value_info(k, s)) for k, s in outputs.items()))
    with open(path, "wb") as f:
        f.write(field(1, 7) + field(2, "latentsync") + field(7, graph) + field(8, field(1, "") + field(2, 11)))

