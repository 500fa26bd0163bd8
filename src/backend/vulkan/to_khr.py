#!/usr/bin/env python3
"""to_khr.py IN OUT: makes SPIR-V with Khronos' cooperative matrices of that with NVIDIA's, which older compilers have alone.
What they lack, the use of a matrix, kernels/matrix.glsl adds to the number of columns: 0x10000 for left factors, 0x20000 for
right ones, 0x30000 for sums. Whatever is not as glslc makes it of that is an error."""
import struct
import sys

EXTENSION, CAPABILITY, CONSTANT_TRUE, CONSTANT_FALSE, CONSTANT, SPEC_CONSTANT_OP = 10, 17, 41, 42, 43, 52
ADD = 128
NV_CAPABILITY, NV_TYPE, NV_LOAD, NV_STORE, NV_MULTIPLY_ADD = 5357, 5358, 5359, 5360, 5361
KHR_CAPABILITY, KHR_TYPE, KHR_LOAD, KHR_STORE, KHR_MULTIPLY_ADD = 6022, 4456, 4457, 4458, 4459
FIRST_EXTENDED = 4096  # opcodes from here on belong to extensions


def text(s):
    data = s.encode() + b"\0"
    return list(struct.unpack(f"<{(len(data) + 3) // 4}I", data.ljust((len(data) + 3) // 4 * 4, b"\0")))


NV, KHR = text("SPV_NV_cooperative_matrix"), text("SPV_KHR_cooperative_matrix")


def parse(words):
    """The instructions: an opcode and its operands each."""
    if len(words) < 5 or words[0] != 0x07230203:
        raise ValueError("this is no SPIR-V")
    i = 5
    while i < len(words):
        count = words[i] >> 16
        if count == 0 or i + count > len(words):
            raise ValueError(f"an instruction is cut off at word {i}")
        yield words[i] & 0xffff, words[i + 1:i + count]
        i += count


def convert(words):
    constants, bools, sums = {}, {}, {}  # by id; sums: type, what is added to, what is added
    uses = []  # ids of the constants 0, 1 and 2: uses, and layouts by rows and by columns
    out, bound, found = [], words[3] if len(words) > 3 else 0, set()

    def put(opcode, operands):
        out.extend([(len(operands) + 1) << 16 | opcode, *operands])

    def put_type(result, component, scope, rows, columns):
        nonlocal bound
        integer, device_columns, added = sums.get(columns, (0, 0, 0))
        use = constants.get(added, 0)
        if use not in (0x10000, 0x20000, 0x30000):
            raise ValueError(f"type {result} has no use among its columns")
        if not uses:
            uses.extend(range(bound, bound + 3))
            bound += 3
            for value, name in enumerate(uses):
                put(CONSTANT, [integer, name, value])
        put(KHR_TYPE, [result, component, scope, rows, device_columns, uses[(use >> 16) - 1]])

    def layout(by_columns):
        if by_columns not in bools or not uses:
            raise ValueError("whether a matrix is stored by columns is not constant")
        return uses[bools[by_columns]]

    for opcode, a in parse(words):
        found.add(opcode)
        if opcode == CAPABILITY:
            put(opcode, [KHR_CAPABILITY if a == [NV_CAPABILITY] else a[0]])
            continue
        if opcode == EXTENSION:
            put(opcode, KHR if a == NV else a)
        elif opcode == NV_TYPE:
            put_type(*a)
        elif opcode == NV_LOAD:
            put(KHR_LOAD, [*a[:3], layout(a[4]), a[3], *a[5:]])
        elif opcode == NV_STORE:
            put(KHR_STORE, [*a[:2], layout(a[3]), a[2], *a[4:]])
        elif opcode == NV_MULTIPLY_ADD:
            put(KHR_MULTIPLY_ADD, a)
        elif opcode >= FIRST_EXTENDED:
            raise ValueError(f"instruction {opcode} is not known")
        else:
            put(opcode, a)
        if opcode == CONSTANT and len(a) == 3:
            constants[a[1]] = a[2]
        elif opcode in (CONSTANT_TRUE, CONSTANT_FALSE):
            bools[a[1]] = opcode == CONSTANT_TRUE
        elif opcode == SPEC_CONSTANT_OP and a[2] == ADD:
            sums[a[1]] = a[0], a[3], a[4]
    if not {NV_TYPE, NV_LOAD, NV_STORE, NV_MULTIPLY_ADD} <= found:
        raise ValueError("there are no matrices in it")
    return [*words[:3], bound, words[4], *out]


def main():
    source, target = sys.argv[1:]
    with open(source, "rb") as f:
        data = f.read()
    try:
        words = convert(list(struct.unpack(f"<{len(data) // 4}I", data[:len(data) // 4 * 4])))
    except ValueError as e:
        sys.exit(f"{source}: {e}")
    with open(target, "wb") as f:
        f.write(struct.pack(f"<{len(words)}I", *words))


if __name__ == "__main__":
    main()
