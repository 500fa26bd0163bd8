#!/usr/bin/env python3
"""Assembles the kernels with NVIDIA's ptxas, where it is at hand: none may spill, and each must fit on a
multiprocessor as often as its launch bounds say. Prints TAP, and the registers.
usage: ptxas.py FOLDER ARCH..."""
import glob
import re
import shutil
import subprocess
import sys

REGISTERS = 65536  # of a multiprocessor
PTXAS = shutil.which("ptxas")


def assemble(path, arch):
    """Name, registers and spilled bytes of each kernel."""
    r = subprocess.run([PTXAS, "-arch", arch, "-v", path, "-o", "/dev/null"], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    found = re.findall(r"entry function '(\w+)'.*?(\d+) bytes stack.*?(\d+) bytes spill stores, (\d+) bytes spill "
                       r"loads.*?Used (\d+) registers", r.stderr, re.S)
    assert len(found) == open(path).read().count(".entry "), r.stderr
    return [(name, int(registers), int(stack) + int(stores) + int(loads)) for name, stack, stores, loads, registers in found]


def bounds(path):
    """Threads of a block, and blocks that are to fit, of each kernel."""
    entries = re.findall(r"\.entry (\w+)\(.*?\.maxntid (\d+), 1, 1\s+\.minnctapersm (\d+)", open(path).read(), re.S)
    return {name: (int(threads), int(blocks)) for name, threads, blocks in entries}


def check(arch):
    faults = []
    for path in sorted(glob.glob(f"{sys.argv[1]}/*.sm_{75 if arch == 'sm_75' else 80}.ptx")):
        wanted = bounds(path)
        for name, registers, spilled in assemble(path, arch):
            threads, blocks = wanted[name]
            most = REGISTERS // (threads * blocks) // 8 * 8
            print(f"# {arch} {name}: {registers} registers, {spilled} bytes in memory")
            if spilled or registers > most:
                faults.append(f"{name} has {registers} registers of {most}, and {spilled} bytes in memory")
    return faults


if not PTXAS:
    print("1..0 # SKIP ptxas of NVIDIA's CUDA toolkit is not installed")
    sys.exit()
print(f"1..{len(sys.argv) - 2}")
known = subprocess.run([PTXAS, "--help"], capture_output=True, text=True).stdout
for n, arch in enumerate(sys.argv[2:], 1):
    if arch not in known:
        print("ok", n, arch, "# SKIP unknown to this ptxas")
        continue
    faults = check(arch)
    for f in faults:
        print(f"# {f}")
    print("not ok" if faults else "ok", n, arch, flush=True)
