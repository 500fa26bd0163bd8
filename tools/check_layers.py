#!/usr/bin/env python3
"""Checks what the source files may include and call:
  - a module of src/ includes only itself and the modules below it;
  - libav* is included by src/media alone, oneDNN and Vulkan by their backends alone, libcurl by src/net and
    src/server, libmicrohttpd, SQLite, libseccomp and Nettle by src/server;
  - what only some systems have, and /proc, is in src/base/os/; ALLOWED says who may do otherwise;
  - the library does not print, exit or abort.
`--selftest` shows that each rule can fail."""
import pathlib
import re
import sys

BELOW = {"base": [], "monitor": ["base"], "media": ["base"], "tensor": ["base"],
         "net": ["base"]}
for name, on in [("backend", ["tensor"]), ("weights", ["backend"]), ("nn", ["weights"]),
                 ("models", ["nn"]), ("diffusion", ["models"]), ("face", ["models"]),
                 ("pull", ["net", "face"]),
                 ("pipeline", ["monitor", "media", "diffusion", "face"]), ("server", []), ("cli", ["server"])]:
    BELOW[name] = sorted({b for o in on for b in [o, *BELOW[o]]})

FOREIGN = [(re.compile(r"^lib(av|sw)\w*/"), "src/media/"),
           (re.compile(r"^(oneapi/)?dnnl"), "src/backend/onednn/"),
           (re.compile(r"^vulkan/"), "src/backend/vulkan/"),
           (re.compile(r"^curl/"), ("src/net/", "src/server/")),
           (re.compile(r"^(microhttpd|seccomp|sqlite3|nettle/)"), "src/server/")]
SYSTEM = re.compile(r"^(sys/(?!stat\.h|types\.h)|linux/|asm/|(dlfcn|fcntl|malloc|sched|execinfo)\.h)")
ALLOWED = [("fcntl.h", r"base|media|net|pipeline|pull|weights"),  # open()'s flags
           ("sys/mman.h", r"weights"), ("dlfcn.h", r"backend|media|models|monitor"), ("sys/ioctl.h", r"cli"), ("malloc.h", r"cli"),
           ("sys/file.h", r"pull"), ("sys/statvfs.h", r"net"),
           *[(name, r"server") for name in (
               "fcntl.h", "linux/filter.h", "linux/seccomp.h", "sys/eventfd.h", "sys/file.h", "sys/mman.h",
               "sys/prctl.h", "sys/random.h", "sys/resource.h", "sys/socket.h", "sys/statvfs.h", "sys/syscall.h", "sys/un.h",
               "sys/wait.h")]]
CALLS = re.compile(r"(?<![\w.>])((printf|puts|putchar|vprintf|perror|exit|_exit|abort)\s*\(|std(out|err)\b)")


def problems(path, text):
    module = path.split("/")[1]
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{path}:{number}:"
        include = re.match(r'\s*#\s*include\s*[<"]([^>"]+)', line)
        if include:
            name = include.group(1)
            other = name.split("/")[0]
            if other in BELOW and "/" in name and other != module and other not in BELOW[module]:
                yield f"{where} {module} must not include {name}: {other} is not below it"
            for pattern, home in FOREIGN:
                if pattern.match(name) and not path.startswith(home):
                    yield f"{where} only {home} includes {name}"
            if SYSTEM.match(name) and not path.startswith("src/base/os/") and not any(
                    name == header and re.fullmatch(modules, module) for header, modules in ALLOWED):
                yield f"{where} only src/base/os/ includes {name}"
        if '"/proc' in line and not path.startswith(("src/base/os/", "src/server/", "src/cli/cmd_serve.c")):
            yield f"{where} only src/base/os/ reads /proc"
        if module not in ("cli", "server") and CALLS.search(re.sub(r'"(\\.|[^"\\])*"|//.*', "", line)):
            yield f"{where} the library does not print, exit or abort"


def selftest():
    bad = [("src/tensor/a.c", '#include "backend/backend.h"'), ("src/face/a.c", "#include <libavutil/frame.h>"),
           ("src/nn/a.c", "#include <oneapi/dnnl/dnnl.h>"), ("src/media/a.c", "    exit(1);"), ("src/nn/a.c", "fputs(a, stderr);"),
           ("src/diffusion/a.c", '#include "face/mask.h"'), ("src/media/a.c", '#include "tensor/dtype.h"'),
           ("src/pipeline/a.c", "#include <curl/curl.h>"), ("src/media/a.c", '#include "net/download.h"'),
           ("src/net/a.c", '#include "media/video.h"'), ("src/cli/a.c", '#include "base/log.h"'),
           ("src/base/a.c", "#include <sys/mman.h>"), ("src/nn/a.c", "#include <malloc.h>"), ("src/nn/a.c", "#include <fcntl.h>"), ("src/pipeline/a.c", "#include <sys/random.h>"),
           ("src/models/a.c", 'readlink("/proc/self/exe", a, 1);')]
    good = [("src/nn/a.c", '#include "tensor/graph.h"'), ("src/media/a.c", "#include <libavutil/frame.h>"),
            ("src/base/a.c", 'ls_fail(err, 1, "exit(1)"); snprintf(a, 1, ""); // abort()'),
            ("src/cli/a.c", "printf();"), ("src/cli/a.c", '#include "latentsync/sync.h"'), ("src/pipeline/a.c", '#include "face/mask.h"'),
            ("src/base/os/a.c", "#include <sys/mman.h>"), ("src/weights/a.c", "#include <sys/mman.h>"), ("src/nn/a.c", "#include <sys/stat.h>")]
    return all(list(problems(*b)) for b in bad) and not any(list(problems(*g)) for g in good)


if not selftest():
    sys.exit("check_layers: the rules do not catch what they should")
if sys.argv[1:] == ["--selftest"]:
    sys.exit(0)
found = [p for f in sorted(pathlib.Path("src").rglob("*.[ch]")) for p in problems(str(f), f.read_text())]
print("\n".join(found), end="\n" if found else "")
sys.exit(1 if found else 0)
