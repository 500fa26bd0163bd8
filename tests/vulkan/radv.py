#!/usr/bin/env python3
"""Registers of the kernels on AMD's cards, without one: by RADV on "null hardware", in Mesa 22 to 25, below libvulkan.c.
usage: [RADV_FORCE_FAMILY=navi31] [LS_VULKAN_MATRIX=0] radv.py ICD LIBVULKAN COMMAND...
ICD: RADV's radeon_icd.x86_64.json; LIBVULKAN: build/tests/vulkan/libvulkan_faulty.so; COMMAND: what makes kernels, such as
parity with golden files, whose results mean nothing. A line for each kernel, by its specialisation constants."""
import os
import re
import subprocess
import sys

icd, library, *command = sys.argv[1:]
env = {"RADV_FORCE_FAMILY": "navi31", **os.environ, "VK_ICD_FILENAMES": icd, "LS_VULKAN_LIBRARY": os.path.abspath(library),
       "FAKE_VULKAN": "null", "RADV_DEBUG": "shaderstats", "LS_CUDA_LIBRARY": "none", "XDG_CACHE_HOME": "/dev/null",
       "MESA_SHADER_CACHE_DISABLE": "1", "OMP_NUM_THREADS": "1"}
said = subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True).stderr
names = ["VGPRs", "Spilled VGPRs", "Spilled SGPRs", "Scratch size", "LDS size", "Subgroups per SIMD", "Instructions"]
print(*(n.lower() for n in names), "constants", sep="\t")
kernels = re.findall(r"^kernel ([0-9 ]+)$(.*?)^\*{20}$", said, re.M | re.S)
for constants, stats in sorted(set(kernels), key=lambda k: [int(c) for c in k[0].split()]):
    print(*(re.search(rf"^{n}: (\d+)$", stats, re.M)[1] for n in names), constants, sep="\t")
sys.exit(not kernels)
