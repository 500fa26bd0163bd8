#!/usr/bin/env python3
"""The wheel, installed by pip into an environment of its own, without a network. Prints TAP.
usage: wheel.py LATENTSYNC FOLDER-OF-THE-PACKAGE BUILD"""
import glob
import os
import re
import shutil
import sys
import tarfile
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE, BUILD = map(os.path.abspath, sys.argv[2:4])
sys.path.insert(0, os.path.join(HERE, "../e2e"))
from common import bad, digest, ffmpeg, good, main, run, test, track  # noqa: E402

PYTHON = os.path.abspath("env/bin/python")
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("LATENTSYNC", "PYTHON"))}
ENV.update(PATH="/usr/bin:/bin", XDG_DATA_HOME="", HOME=os.getcwd(), XDG_DATA_DIRS=os.getcwd(), PIP_DISABLE_PIP_VERSION_CHECK="1")


def make(tree, folder):
    os.makedirs(folder, exist_ok=True)
    r = good(run(sys.executable, os.path.join(PACKAGE, "backend.py"), tree, folder))
    return r.stdout.strip(), r.stderr


def pip(*args):
    return run(PYTHON, "-m", "pip", "install", "--quiet", "--no-index", "--no-cache-dir", "--force-reinstall", *args, env=ENV)


def python(code):
    return run(PYTHON, "-I", "-c", code, env=ENV)


def setup():
    good(run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", os.path.abspath("root"), "--quiet"))
    tree = os.path.dirname(os.path.dirname(next(f for f in glob.iglob("root/**/bin/latentsync", recursive=True))))
    os.rename(tree, "tree")
    good(run(sys.executable, "-m", "venv", "env"))
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=0.4", "-c:v", "libx264", "-preset", "ultrafast", "video.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=16000:d=0.4", "speech.wav")
    track("track.jsonl", 10)


@test
def it_is_installed_and_works():
    wheel, said = make("tree", "a")
    again, _ = make("tree", "b")
    assert os.path.basename(wheel) == os.path.basename(again) and digest(wheel) == digest(again), "not the same bytes"
    needed = set(re.findall(r"^\s+(lib\S+) => ", run("ldd", "tree/bin/latentsync").stdout, re.M))
    foreign = {n for n in needed if not re.match(r"lib(c|m|dl|rt|pthread|gcc_s)\.so", n)}
    bundled = {os.path.basename(n) for n in zipfile.ZipFile(wheel).namelist() if "/lib/" in n}
    assert ("-linux_" in wheel) == bool(foreign - bundled) == ("libavcodec" in said), (wheel, said)
    good(pip(wheel))
    r = good(python("import latentsync; j = latentsync.sync('video.mp4', 'speech.wav', 'o.mp4', face_track='track.jsonl', quality='fast');"
                    "print(j.result().frames, latentsync.info()['model'])"))
    frames, model = r.stdout.split()
    assert frames == "10" and model.startswith(os.path.abspath("env")), r.stdout
    whole = digest("o.mp4")
    good(python("import latentsync; latentsync.sync('video.mp4', 'speech.wav', 'o.mp4', face_track='track.jsonl', quality='fast',"
                "backend='library').result()"))
    assert digest("o.mp4") == whole
    version = good(run("env/bin/latentsync", "--version", env=ENV)).stdout
    assert version == good(run("tree/bin/latentsync", "--version")).stdout
    assert good(run(PYTHON, "-m", "latentsync", "probe", "video.mp4", env=ENV)).stdout.startswith("video.mp4")
    assert os.path.exists(glob.glob("env/lib/*/site-packages/latentsync/py.typed")[0])
    good(run(PYTHON, "-m", "pip", "check", env=ENV))


@test
def the_package_alone_is_installed_from_its_source():
    good(pip(PACKAGE))
    r = python("import latentsync; latentsync.probe('video.mp4')")
    assert r.returncode == 1 and "ProgramNotFound" in r.stderr and "$LATENTSYNC" in r.stderr, r.stderr
    good(run(PYTHON, "-I", "-c", "import latentsync; print(latentsync.probe('video.mp4').frames)",
             env={**ENV, "LATENTSYNC": os.path.abspath("tree/bin/latentsync")}))
    bad(run(PYTHON, "-m", "latentsync", "probe", "video.mp4", env=ENV), "there is no program latentsync")
    assert not glob.glob(PACKAGE + "/build") and not glob.glob(PACKAGE + "/*.egg-info")
    code = f"import sys; sys.path.insert(0, {PACKAGE!r}); import backend; print(backend.build_sdist('.'))"
    name = good(run(sys.executable, "-B", "-c", code)).stdout.strip()
    with tarfile.open(name) as tar:
        names = {n.split("/", 1)[1] for n in tar.getnames()}
    assert {"pyproject.toml", "backend.py", "PKG-INFO", "latentsync/__init__.py", "latentsync/py.typed"} <= names, names
    good(pip(name))


@test
def the_platform_is_what_the_files_need():
    if not shutil.which("cc"):
        return "there is no C compiler"
    os.makedirs("o.tree/bin")
    os.makedirs("o.tree/lib")
    with open("own.c", "w") as f:
        f.write("double own(double x) { return x; }\n")
    with open("main.c", "w") as f:
        f.write("#include <stdlib.h>\ndouble own(double x);\nint main(void) { return atoi(\"0\") + (int)own(0); }\n")
    good(run("cc", "-shared", "-fPIC", "-Wl,-soname,libown.so.3", "own.c", "-o", "o.tree/lib/libown.so.3.1"))
    good(run("cc", "main.c", "o.tree/lib/libown.so.3.1", "-o", "o.tree/bin/latentsync"))
    versions = re.findall(r"\(?GLIBC_([0-9.]+)", good(run("objdump", "-T", "o.tree/bin/latentsync")).stdout)
    most = max(tuple(map(int, v.split(".")[:2])) for v in versions)
    wheel, said = make("o.tree", "o.a")
    assert f"-py3-none-manylinux_{most[0]}_{most[1]}_" in wheel and not said, (wheel, said)
    assert "latentsync/_bundle/lib/libown.so.3" in zipfile.ZipFile(wheel).namelist()
    os.remove("o.tree/lib/libown.so.3.1")
    wheel, said = make("o.tree", "o.a")
    assert "-py3-none-linux_" in wheel and "libown.so.3" in said, (wheel, said)


sys.exit(main(setup))
