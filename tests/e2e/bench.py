#!/usr/bin/env python3
"""The check of a card, on an emulated one. usage: bench.py LATENTSYNC LIBCUDA"""
import os
import re
import sys

from common import LS, bad, good, main, run, test

LIBCUDA = os.path.abspath(sys.argv[2])


def bench(*options, card="", library=LIBCUDA):
    return run(LS, "bench", "gpu", *options, env=dict(os.environ, LS_CUDA_LIBRARY=library, FAKE_CUDA=card))


def setup():
    pass


def table(text):
    lines = text.splitlines()
    assert all(len(x) <= 98 for x in lines), [x for x in lines if len(x) > 98]
    assert re.match("-{3} latentsync bench gpu -+$", lines[0]) and re.match("-{3} end: .+ -+$", lines[-1]), text
    return lines


@test
def a_card_that_is_right():
    lines = table(good(bench("--sizes", "small", card="name=Some Card")).stdout)
    assert "Some Card" in lines[1] and "sm_80" in lines[2], lines[:3]
    ops = dict(re.findall(r"(\w+) +\d+ +([\d.e+-]+) ok", "\n".join(lines[5:11])))
    assert len(ops) == 12 and all(float(e) < 1e-3 for e in ops.values()), ops
    assert float(ops["concat"]) == float(ops["upsample"]) == 0 < float(ops["conv2d"]), ops
    assert sum(bool(re.match("(UNet|VAE), small.* ok +ok +ok$", x)) for x in lines) == 4, lines
    assert len(lines) <= 60 and not any("FAILED" in x for x in lines) and "all 24 checks are ok" in lines[-1], lines
    assert any(re.match(r"8.*GB on the card, [\d.]+ s for a second of video", x.replace("32 x 32", "8")) for x in lines)


@test
def a_card_that_multiplies_wrongly():
    r = bench("--sizes", "small", card="mutation=swap")
    wrong = [name for name, verdict in re.findall(r"(\w+) +\d+ +[\d.e+-]+ (ok|FAILED)", r.stdout) if verdict != "ok"]
    assert r.returncode == 1 and wrong == ["conv2d", "linear", "attention"], (r.returncode, wrong)
    assert len(re.findall("^UNet, small.*FAILED", r.stdout, re.M)) == 2, r.stdout


@test
def a_card_that_computes_nothing():  # of which only the time is right
    r = bench("--sizes", "small", card="tflops=1000,gbs=1000,link=1000")
    lines = table(r.stdout)
    assert r.returncode == 1 and "FAILED" in lines[-1] and "ok" not in lines[5], r
    assert any(x.startswith("conv2d [2, 8, 8, 320] -> 320: wrong by ") for x in lines), lines


@test
def a_card_that_stops():
    r = bench("--sizes", "small", card="fail=cuLaunchKernel:30+:719")
    lines = table(r.stdout)
    assert r.returncode == 1 and "FAILED" in lines[-1] and "cuda:0" in r.stdout, r
    assert "unspecified launch failure" in re.sub(r"\s+", " ", r.stdout), lines


@test
def no_card():
    bad(bench(library="/nowhere/libcuda.so"), "no NVIDIA driver", code=3)
    bad(bench(card="no-init"), "finds no card", code=3)
    bad(bench("--device", "cuda:7"), "there is no device cuda:7", code=2)
    bad(bench("--device", "card"), 'no device "card"', code=2)
    bad(bench(card="compute=61"), "too old", code=3)


sys.exit(main(setup))
