#!/usr/bin/env python3
"""lavapipe.py [--tap] [--no-layers] CACHE COMMAND...: runs a command on lavapipe, Mesa's Vulkan on the CPU, as vulkan:0 under
Vulkan's validation layers. Fails where they have anything to say, and is skipped where one of them is not installed. CACHE is
a folder for compiled kernels. --no-layers is for what opens devices so often that loading the layers takes most of its time."""
import ctypes.util
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import threading

flags = {a for a in sys.argv[1:3] if a.startswith("--")}
cache, *command = sys.argv[1 + len(flags):]
driver = glob.glob("/usr/share/vulkan/icd.d/lvp_icd*.json")
layers = glob.glob("/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json")
if not driver or not layers or not ctypes.util.find_library("vulkan"):
    print("1..0 # SKIP needs lavapipe and the validation layers (mesa-vulkan-drivers, vulkan-validationlayers)")
    sys.exit(0 if "--tap" in flags else 77)
env = {**os.environ, "LS_CUDA_LIBRARY": "none", "LS_DEVICE": "vulkan:0", "VK_ICD_FILENAMES": driver[0],
       "VK_DRIVER_FILES": driver[0], "MESA_SHADER_CACHE_DIR": cache}
if env.get("LS_VULKAN_LIBRARY") == "none":
    del env["LS_VULKAN_LIBRARY"]
# Once for all devices: linking it takes longer than many a test.
library = json.load(open(driver[0]))["ICD"]["library_path"]
llvm = re.search(r"=> (\S*/libLLVM\S*)", subprocess.run(["ldd", library], capture_output=True, text=True).stdout)
if "ASAN_OPTIONS" in env:  # whose runtime must be the first; and the driver and a lost device leave memory behind
    env["ASAN_OPTIONS"] += ":detect_leaks=0"
elif llvm:
    env["LD_PRELOAD"] = f"{llvm[1]} {env.get('LD_PRELOAD', '')}".strip()
with tempfile.TemporaryDirectory() as folder:
    log, settings = folder + "/log", folder + "/settings"
    with open(settings, "w") as f:
        f.write("khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT,"
                "VALIDATION_CHECK_ENABLE_SYNCHRONIZATION_VALIDATION_QUEUE_SUBMIT\n"
                f"khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG\nkhronos_validation.report_flags = error,warn\n"
                f"khronos_validation.log_filename = {log}\n")
    if "--no-layers" not in flags:
        env |= {"VK_INSTANCE_LAYERS": "VK_LAYER_KHRONOS_validation", "VK_LAYER_SETTINGS_PATH": settings}
    os.mkfifo(log)  # each device would begin a file anew
    hold, said = os.open(log, os.O_RDWR), []
    reader = threading.Thread(target=lambda: said.append(open(log).read()))
    reader.start()
    status = subprocess.run(command, env=env).returncode
    os.close(hold)
    reader.join()
if said[0].strip():
    sys.exit(f"the validation layers say:\n{said[0]}")
sys.exit(status if status >= 0 else f"{command[0]} was ended by signal {-status}")
