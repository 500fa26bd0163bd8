#!/usr/bin/env python3
"""What to_khr.py makes of NVIDIA's cooperative matrices: valid where spirv-val can tell, and nothing of what is not as it
should be. Prints TAP. usage: to_khr.py TO_KHR GLSLC KERNELS, the kernels' folder"""
import shutil
import struct
import subprocess
import sys
import tempfile

TO_KHR, GLSLC, KERNELS = sys.argv[1:]
FOLDER = tempfile.TemporaryDirectory()
GIVEN, MADE = FOLDER.name + "/given.spv", FOLDER.name + "/made.spv"
HEADER = 5  # words


def convert(words):
    with open(GIVEN, "wb") as f:
        f.write(struct.pack(f"<{len(words)}I", *words))
    return subprocess.run([TO_KHR, GIVEN, MADE], capture_output=True, text=True)


def words_of(path):
    with open(path, "rb") as f:
        data = f.read()
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def places(words, opcode):
    i, found = HEADER, []
    while i < len(words):
        if words[i] & 0xffff == opcode:
            found.append(i)
        i += words[i] >> 16
    return found


def changed(words, at, *new):
    return [*words[:at], *new, *words[at + len(new):]]


def is_converted(words):
    r = convert(words)
    assert r.returncode == 0, r.stderr
    made = words_of(MADE)
    assert sum(len(places(made, old)) for old in range(5357, 5363)) == 0
    for old, new in (5358, 4456), (5359, 4457), (5360, 4458), (5361, 4459):
        assert len(places(made, new)) == len(places(words, old)) > 0, new


def is_refused(words, says):
    r = convert(words)
    assert r.returncode != 0 and says in r.stderr and "Traceback" not in r.stderr, (r.returncode, r.stderr)


def is_valid(words):
    is_converted(words)
    val = shutil.which("spirv-val")
    r = val and subprocess.run([val, "--target-env", "vulkan1.2", "--scalar-block-layout", MADE], capture_output=True, text=True)
    if not r or "6022" in r.stderr or "nvalid capability" in r.stderr:
        return "spirv-val is not installed, or older than these matrices"
    assert r.returncode == 0, r.stderr
    return None


def compiled(kernel):
    subprocess.run([GLSLC, "--target-env=vulkan1.2", "-o", GIVEN, f"{KERNELS}/{kernel}.comp"], check=True)
    return words_of(GIVEN)


ATTENTION, NV = compiled("attention_matrix"), compiled("product_matrix")
LOAD, TYPE = places(NV, 5359)[0], places(NV, 5358)[0]
USE = next(i + 3 for i in places(NV, 43) if NV[i + 3] == 0x20000)
tests = {
    "each instruction becomes its successor": lambda: is_converted(NV),
    "so it does in attention": lambda: is_converted(ATTENTION),
    "the result is valid": lambda: is_valid(NV),
    "it is in attention": lambda: is_valid(ATTENTION),
    "no SPIR-V": lambda: is_refused([0x7230203, *NV[1:]][::-1], "no SPIR-V"),
    "an unknown instruction": lambda: is_refused([*NV, 3 << 16 | 5362, 1, 2], "instruction 5362 is not known"),
    "an instruction that is cut off": lambda: is_refused(NV[:-1] + [9 << 16 | 1], "cut off"),
    "an instruction without end": lambda: is_refused([*NV, 0], "cut off"),
    "an unknown use": lambda: is_refused(changed(NV, USE, 0x50000), "no use"),
    "a type without use": lambda: is_refused(changed(NV, TYPE + 5, NV[TYPE + 4]), "no use"),
    "a layout that is not constant": lambda: is_refused(changed(NV, LOAD + 5, NV[LOAD + 4]), "not constant"),
    "what is converted already": lambda: is_refused(words_of(MADE) if convert(NV).returncode == 0 else [], "is not known"),
    "a kernel without matrices": lambda: is_refused(NV[:HEADER], "no matrices"),
}
print(f"1..{len(tests)}")
failed = False
for n, (name, test) in enumerate(tests.items(), 1):
    try:
        skipped = test()
        print(f"ok {n} - {name}" + (f" # SKIP {skipped}" if skipped else ""), flush=True)
    except AssertionError as e:
        failed = True
        print(f"not ok {n} - {name}", *str(e).splitlines(), sep="\n# ", flush=True)
sys.exit(failed)
