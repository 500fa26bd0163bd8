#!/usr/bin/env python3
"""What is installed: the README's program built against it with pkg-config, and what the command finds there.
usage: install.py LATENTSYNC PUPPET BUILD"""
import os
import re
import sys

PUPPET, BUILD = (os.path.abspath(a) for a in sys.argv[2:4])
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
from common import DIR, digest, good, main, probe, run, test  # noqa: E402

ROOT = os.path.join(DIR, "root")
LIB = {}


def setup():
    good(run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", ROOT))
    for folder, _, files in os.walk(ROOT):
        for name in files:
            LIB[name] = folder
    good(run(PUPPET, "--size", 160, "--speech", f"{SOURCE}/tools/puppet/recordings/fox.wav", "--phones",
             f"{SOURCE}/tools/puppet/recordings/fox.txt", "speaker"))
    good(run("ffmpeg", "-v", "error", "-nostdin", "-i", "speaker/speech.wav", "-t", "0.4", "speech.wav"))
    readme = open(f"{SOURCE}/README.md").read()
    with open("embed.c", "w") as f:
        f.write(re.search(r"```c\n(.*?)```", readme, re.S).group(1))


def flags(*args):
    env = dict(os.environ, PKG_CONFIG_PATH=LIB["latentsync.pc"], PKG_CONFIG_SYSROOT_DIR=ROOT)
    return good(run("pkg-config", *args, "latentsync", env=env)).stdout.split()


def speak(program, out, **env):
    good(run(program, "speaker/face.mp4", "speech.wav", out, env=dict(os.environ, **env)))
    assert int(probe(out)["nb_read_frames"]) == 10


@test
def folders():
    for name in ("latentsync", "liblatentsync.so.0", "liblatentsync.a", "latentsync.h", "model.json"):
        assert name in LIB or os.path.islink(f"{LIB['latentsync.pc']}/../{name}"), f"{name} is not installed"
    r = run("pkg-config", "--modversion", "latentsync", env=dict(os.environ, PKG_CONFIG_PATH=LIB["latentsync.pc"]))
    assert r.stdout.strip() == run(LIB["latentsync"] + "/latentsync", "--version").stdout.split()[1]


@test
def the_readmes_program():
    if not os.path.exists("/usr/bin/cc"):
        return "there is no C compiler"
    libraries = LIB["latentsync.pc"] + "/.."
    good(run("cc", "-Wall", "-Wextra", "-Werror", "-std=c11", "embed.c", "-o", "shared", *flags("--cflags", "--libs")))
    pc = open(LIB["latentsync.pc"] + "/latentsync.pc").read()
    requires = re.findall(r"[a-z][\w-]+", re.search(r"Requires.private: (.*)", pc).group(1))
    private = re.search(r"Libs.private: (.*)", pc).group(1).split()
    good(run("cc", "-std=c11", "embed.c", "-o", "static", *flags("--cflags"), f"{libraries}/liblatentsync.a",
             *good(run("pkg-config", "--libs", *requires)).stdout.split(), *private))
    needed = run("readelf", "-d", "shared").stdout
    assert "[liblatentsync.so.0]" in needed and "liblatentsync" not in run("readelf", "-d", "static").stdout
    assert run("./shared", env=dict(os.environ, LD_LIBRARY_PATH=libraries)).returncode == 2
    assert run("./static").returncode == 2


@test
def the_command_finds_its_model():
    command = LIB["latentsync"] + "/latentsync"
    r = good(run(command, "sync", "--progress", "none", "speaker/face.mp4", "speech.wav", "-o", "o.command.mp4"))
    assert "built-in" in r.stderr, r.stderr
    libraries = LIB["latentsync.pc"] + "/.."
    speak("./shared", "o.library.mp4", LD_LIBRARY_PATH=libraries)
    assert digest("o.command.mp4") == digest("o.library.mp4")


sys.exit(main(setup))
