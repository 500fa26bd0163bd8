#!/usr/bin/env python3
"""Makes the wheel: for pip, of the package alone; as a command, with the program in it.
usage: backend.py TREE FOLDER; TREE is where the program was installed: bin/, lib/, share/.

The same files give the same bytes. The platform in a wheel's name is what its files need: the newest
version of glibc that they name, if all other libraries are in it, otherwise "linux", for machines
that have the same ones."""
import base64
import gzip
import hashlib
import io
import os
import pathlib
import platform
import re
import subprocess
import sys
import tarfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
EPOCH = (1980, 1, 1, 0, 0, 0)
# Of glibc and C's compiler: what every system has that has that glibc (PEP 600).
SYSTEM = re.compile(r"(lib(c|m|mvec|dl|rt|pthread|util|resolv|gcc_s)\.so\.\d+|ld-linux.*)")
METADATA = """Metadata-Version: 2.1
Name: latentsync
Version: {version}
Summary: Makes the lips of a video follow a recording of speech
License: Apache-2.0
Requires-Python: >=3.9
Classifier: Operating System :: POSIX :: Linux
Classifier: Typing :: Typed
"""
SCRIPT = "[console_scripts]\nlatentsync = latentsync.__main__:main\n"


def version():
    return re.search(r'^VERSION = "(.*)"', (HERE / "latentsync/_options.py").read_text(), re.M)[1]


def package():
    """What is always in it, by its name there."""
    found = {f"latentsync/{p.name}": p.read_bytes() for p in (HERE / "latentsync").iterdir() if p.suffix == ".py"}
    return {**found, "latentsync/py.typed": b""}


def elf(path):
    """What it is linked to, its own name, and the versions of glibc that it needs."""
    said = subprocess.run(["readelf", "-dVW", str(path)], capture_output=True, text=True, check=True,
                          env={**os.environ, "LC_ALL": "C"}).stdout
    own = re.search(r"\(SONAME\).*\[(.*)\]", said)
    return (set(re.findall(r"\(NEEDED\).*\[(.*)\]", said)), own[1] if own else path.name,
            {tuple(map(int, v.split("."))) for v in re.findall(r"Name: GLIBC_([0-9.]+)", said)})


def bundle(tree):
    """The files of an installed program, by their names in the wheel, and the platform that they need."""
    tree = tree.resolve()
    program = tree / "bin/latentsync"
    if not program.is_file():
        sys.exit(f"backend.py: there is no {program}; name the folder in which the program was installed")
    needed, _, versions = elf(program)
    files, libraries = {"bin/latentsync": program}, set()
    for path in sorted({p.resolve() for p in (tree / "lib").rglob("*.so*")}):
        more, name, newer = elf(path)
        files[str((path.parent / name).relative_to(tree))] = path  # where $ORIGIN leads
        libraries.add(name)
        needed |= more
        versions |= newer
    for folder in ("share/latentsync", "share/doc", "share/licenses"):
        files.update((str(p.relative_to(tree)), p) for p in sorted((tree / folder).rglob("*")) if p.is_file())
    missing = sorted(n for n in needed - libraries if not SYSTEM.fullmatch(n))
    glibc = "_".join(map(str, max(versions)[:2]))
    if missing:
        print(f"this wheel is for systems with glibc {glibc.replace('_', '.')} and {' '.join(missing)}", file=sys.stderr)
    return files, f"{'linux' if missing else 'manylinux_' + glibc}_{platform.machine()}"


def digest(data):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def write(folder, files, tag, scripts=False):
    """`files`: their bytes by their names; those in a bin/ may be run."""
    info = f"latentsync-{version()}.dist-info/"
    files = {**files, info + "METADATA": METADATA.format(version=version()).encode(),
             info + "WHEEL": f"Wheel-Version: 1.0\nGenerator: latentsync\nRoot-Is-Purelib: {'false' if scripts else 'true'}\n"
                             f"Tag: {tag}\n".encode()}
    if scripts:
        files[info + "entry_points.txt"] = SCRIPT.encode()
    record = "".join(f"{name},{digest(data)},{len(data)}\n" for name, data in sorted(files.items()))
    files[info + "RECORD"] = (record + info + "RECORD,,\n").encode()
    name = f"latentsync-{version()}-{tag}.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w", zipfile.ZIP_DEFLATED) as z:
        for path, data in sorted(files.items(), key=lambda item: (".dist-info/" in item[0], item[0])):
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.external_attr = (0o100755 if "/bin/" in path else 0o100644) << 16
            z.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)
    return name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return write(wheel_directory, package(), "py3-none-any")


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return write(wheel_directory, {"latentsync.pth": f"{HERE}\n".encode()}, "py3-none-any")


def build_sdist(sdist_directory, config_settings=None):
    root = f"latentsync-{version()}"
    files = {**package(), **{n: (HERE / n).read_bytes() for n in ("backend.py", "pyproject.toml")},
             "PKG-INFO": METADATA.format(version=version()).encode()}
    with open(os.path.join(sdist_directory, root + ".tar.gz"), "wb") as f, gzip.GzipFile("", "wb", 9, f, 0) as z, \
            tarfile.open(fileobj=z, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(f"{root}/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return root + ".tar.gz"


def main(tree, folder):
    found, where = bundle(pathlib.Path(tree))
    files = {**package(), **{"latentsync/_bundle/" + name: path.read_bytes() for name, path in found.items()}}
    name = write(folder, files, "py3-none-" + where, scripts=True)
    print(os.path.join(folder, name))


if __name__ == "__main__":
    main(*sys.argv[1:])
