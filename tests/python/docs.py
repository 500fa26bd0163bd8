#!/usr/bin/env python3
"""The examples of docs/PYTHON.md, with a drawn speaker. Prints TAP.
usage: docs.py LATENTSYNC PUPPET FOLDER-OF-THE-PACKAGE"""
import doctest
import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PUPPET, PACKAGE = map(os.path.abspath, sys.argv[2:4])
sys.path[:0] = [os.path.join(HERE, "../e2e"), PACKAGE]
from common import LS, ffmpeg, good, main, run, test, track  # noqa: E402

sys.dont_write_bytecode = True
os.environ.update(LATENTSYNC=LS, HOME=os.getcwd(), XDG_DATA_HOME="", XDG_DATA_DIRS=os.getcwd())  # no installed model


def setup():
    good(run(PUPPET, "--seed", 7, "--size", 256, "--text", "Good morning everybody.", "drawn"))
    os.rename("drawn/face.mp4", "talk.mp4")
    shutil.rmtree("drawn")
    for name, seconds in (("voice", 1.28), ("long", 6)):
        ffmpeg("-f", "lavfi", "-i", f"sine=f=300:r=16000:d={seconds}", f"{name}.wav")
    track("track.jsonl", 50)


@test
def examples_are_true():
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testfile(os.path.join(HERE, "../../docs/PYTHON.md"), module_relative=False, optionflags=flags)
    assert not failed and tried > 15, f"{failed} of {tried} examples failed; they are above"


sys.exit(main(setup))
