#!/usr/bin/env python3
"""lavapipe.py CACHE COMMAND...: runs a command on lavapipe, Mesa's Vulkan on the CPU, as vulkan:0 under Vulkan's validation
layers. Fails where they have anything to say, and is skipped where one of them is not installed. CACHE is a folder for compiled
kernels."""
import ctypes.util
import glob
import os
import subprocess
import sys
import tempfile

driver = glob.glob("/usr/share/vulkan/icd.d/lvp_icd*.json")
layers = glob.glob("/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json")
if not driver or not layers or not ctypes.util.find_library("vulkan"):
    print("1..0 # SKIP needs lavapipe and the validation layers (mesa-vulkan-drivers, vulkan-validationlayers)")
    sys.exit(0 if os.environ.get("CMOCKA_MESSAGE_OUTPUT") == "TAP" and "--tap" in sys.argv else 77)
cache, *command = [a for a in sys.argv[1:] if a != "--tap"]
with tempfile.TemporaryDirectory() as folder:
    log, settings = folder + "/log", folder + "/settings"
    with open(settings, "w") as f:
        f.write(f"khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG\nkhronos_validation.report_flags = error,warn\n"
                f"khronos_validation.log_filename = {log}\n")
    env = {**os.environ, "LS_CUDA_LIBRARY": "none", "VK_ICD_FILENAMES": driver[0], "VK_DRIVER_FILES": driver[0],
           "VK_INSTANCE_LAYERS": "VK_LAYER_KHRONOS_validation", "VK_LAYER_SETTINGS_PATH": settings,
           "MESA_SHADER_CACHE_DIR": cache, "LS_DEVICE": "vulkan:0"}
    if env.get("LS_VULKAN_LIBRARY") == "none":
        del env["LS_VULKAN_LIBRARY"]
    status = subprocess.run(command, env=env).returncode
    said = open(log).read() if os.path.exists(log) else ""
if said.strip():
    sys.exit(f"the validation layers say:\n{said}")
sys.exit(status if status >= 0 else 1)
