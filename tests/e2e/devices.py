#!/usr/bin/env python3
"""Jobs on cards, which a library in the place of NVIDIA's driver stands in for (tests/cuda/libcuda.c): in all tests but
the last it takes the time that kernels would, but does not run them. Prints TAP.
usage: devices.py LATENTSYNC LIBCUDA"""
import json
import os
import shutil
import sys

from common import LS, QUICK, bad, digest, ffmpeg, good, main, run, test, track

LIBCUDA = sys.argv[2]
SYNC = ["sync", "-m", "models", "-t", "track.jsonl", "video.mp4", "speech.wav", *QUICK, "--segment-seconds", "0.6"]
FAST = "tflops=50,gbs=400,link=10"


def setup():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=2.0", "-c:v", "libx264", "-preset", "ultrafast",
           "-pix_fmt", "yuv420p", "video.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=44100:d=1.6", "speech.wav")
    track("track.jsonl", 50)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))


def cards(settings):
    """The environment of a machine with these cards; None: without a driver."""
    return computing_cards(f"{settings},{FAST}") if settings is not None else {**os.environ, "LS_CUDA_LIBRARY": "none"}


def computing_cards(settings):
    return {**os.environ, "LS_CUDA_LIBRARY": LIBCUDA, "FAKE_CUDA": settings}


def sync(settings, *options, out="o.mp4"):
    shutil.rmtree("o.mp4.lsjob", ignore_errors=True)
    return run(LS, *SYNC, "-o", out, *options, env=cards(settings))


def begun(settings, *options):
    """The folder of a job whose first segment is made."""
    shutil.rmtree("o.mp4.lsjob", ignore_errors=True)
    good(run(LS, "plan", *SYNC[1:], "-o", "o.mp4", *options, env=cards(settings)))
    good(run(LS, "render", "o.mp4.lsjob", "--segment", "0", env=cards(settings)))
    return "o.mp4.lsjob"


def resume(settings, *options):
    return run(LS, "resume", "o.mp4.lsjob", *options, env=cards(settings))


def description():
    return json.load(open("o.mp4.lsjob/job.json"))


@test
def the_machine_lists_its_devices():
    info = json.loads(good(run(LS, "info", "--json", env=cards("cards=2,memory=8G"))).stdout)
    assert [d["name"] for d in info["devices"]] == ["cpu", "cuda:0", "cuda:1"], info
    card = info["devices"][1]
    assert card["memory_bytes"] == 8 << 30 and card["compute_type"] == "float16" and card["emulator_only"], card
    assert info["no_card"] is None and not info["devices"][0]["emulator_only"], info
    text = good(run(LS, "info", env=cards("name=NVIDIA GeForce RTX 4090,compute=89"))).stdout
    assert "cuda:0: NVIDIA GeForce RTX 4090, CUDA 12.4, sm_89" in text and "(tested on an emulator only)" in text, text
    for settings, why in ((None, "no NVIDIA driver"), ("driver=10020", "too old"), ("compute=70", "too old"),
                          ("no-init", "finds no card")):
        info = json.loads(good(run(LS, "info", "--json", env=cards(settings))).stdout)
        assert len(info["devices"]) == 1 and why in info["no_card"], info


@test
def the_card_is_taken_where_there_is_one_and_the_job_fits():
    r = good(sync("memory=8G"))
    assert "UNet, VAE on Emulated Card, 0.4 of 8.6 GB" in r.stderr, r.stderr
    assert "UNet, VAE on 2 x Emulated Card" in good(sync("cards=2")).stderr
    assert "UNet on Emulated Card" in good(sync("", "--device", "unet=cuda:0,vae=cpu", "--dtype", "f32")).stderr
    for settings, options, why in (
            (None, [], ": no NVIDIA driver"), ("driver=10020", [], ": the NVIDIA driver is too old"),
            ("compute=70", [], "is too old"), ("", ["--max-vram", "300M"], ": resolution 64 needs at least 4"),
            ("fail=cuModuleLoadDataEx:1:218", [], "cannot load the kernels"), ("", ["--device", "cpu"], ""),
            ("", ["--dtype", "f32"], "")):
        r = good(sync(settings, *options))
        line = [x for x in r.stderr.split("\n") if "networks on the CPU, " in x]
        assert len(line) == 1 and why in line[0] and (why or line[0][-2:] in ("16", "32")), r.stderr


@test
def vulkan_is_not_opened_where_there_is_another_card():
    built = "made without Vulkan" not in good(run(LS, "info", env=cards(None))).stdout
    for settings, options, asked in (("", [], False), ("", ["--device", "cuda"], False), (None, ["--device", "cpu"], False), (None, [], built)):
        env = {**cards(settings), "LS_VULKAN_LIBRARY": "libvulkan_asked.so", "LD_DEBUG": "files", "LD_DEBUG_OUTPUT": "loaded"}
        shutil.rmtree("o.mp4.lsjob", ignore_errors=True)
        good(run(LS, "plan", *SYNC[1:], "-o", "o.mp4", *options, env=env))
        logs = [f for f in os.listdir(".") if f.startswith("loaded")]
        assert logs and asked == any("libvulkan_asked" in open(f, errors="replace").read() for f in logs), (settings, options)
        for f in logs:
            os.remove(f)


@test
def a_device_that_cannot_be_used_is_an_error():
    bad(sync("", "--device", "gpu"), "--device: expected auto, cpu, cuda, cuda:N", code=2)
    bad(sync("", "--device", "unet=cuda,unet=cpu"), "--device: expected", code=2)
    bad(sync("", "--device", "vae=cuda"), "--device: expected", code=2)
    bad(sync("cards=2", "--device", "cuda:2"), "no device cuda:2", "cpu, cuda:0 (Emulated Card), cuda:1", code=2)
    bad(sync(None, "--device", "cuda"), "no NVIDIA driver", "can be used: cpu", code=3)
    bad(sync("driver=10020", "--device", "cuda:0"), "too old", code=3)
    bad(sync("", "--device", "cuda", "--dtype", "bf16"), "--dtype: cards compute in f16 only", code=2)
    bad(sync("", "--device", "cpu", "--dtype", "f16"), "--dtype: f16 is", code=2)
    bad(sync(None, "--dtype", "f16"), "no NVIDIA driver", code=3)
    r = sync("", "--device", "cuda", "--max-vram", "300M")
    bad(r, "needs at least", "--max-vram", "--device cpu", code=6)
    least = r.stderr.split("at least ")[1].split()[0]
    good(sync("", "--device", "cuda", "--max-vram", least + "000000"))
    good(sync("cards=2", "--device", "unet=cuda:0,vae=cuda:1,whisper=cuda:1"))


@test
def a_job_resumes_with_equal_cards_only():
    job = begun("cards=1,name=NVIDIA A,compute=80")
    d = description()
    card = {"kind": "cuda", "model": "NVIDIA A", "version": "CUDA 12.4, sm_80"}
    assert d["networks"]["UNet"] == d["networks"]["VAE"] == card and d["settings"]["dtype"] == "f16", d
    assert d["networks"]["Whisper"]["kind"] == "cpu" and "device" not in d["settings"], d
    for settings, message in (("name=NVIDIA B", "begun with the UNet on NVIDIA A (CUDA 12.4, sm_80); this is NVIDIA B ("),
                              ("name=NVIDIA A,driver=12060", "this is NVIDIA A (CUDA 12.6, sm_80)")):
        bad(resume(settings), message, "--any-device", code=2)
        bad(sync_again(settings), message, "--any-device", code=2)
    bad(resume(None), "begun on NVIDIA A (CUDA 12.4, sm_80): no NVIDIA driver", "--any-device", code=3)
    bad(resume("name=NVIDIA A", "--device", "cpu"), "begun on NVIDIA A", "--any-device", code=2)
    good(resume("cards=3,name=NVIDIA A"))


def sync_again(settings, *options):
    return run(LS, *SYNC, "-o", "o.mp4", *options, env=cards(settings))


@test
def a_job_resumes_with_any_device_if_it_may():
    for there, here in (("name=NVIDIA A", "name=NVIDIA B"), ("name=NVIDIA A", None), (None, "name=NVIDIA A")):
        begun(there)
        r = good(resume(here, "--any-device"))
        assert "resuming: 1 of 3 segments" in r.stderr, r.stderr
    begun(None)  # and otherwise with the kind of device that it was begun with
    r = good(resume(""))
    assert "networks on the CPU" in r.stderr, r.stderr


@test
def a_card_that_is_lost_or_full_ends_a_job_that_can_be_resumed():
    begun("")
    for failure, message in (("cuLaunchKernel:900:719", "is lost to this process"), ("cuLaunchKernel:900:999", "is lost to this process"),
                             ("cuMemAlloc_v2:2+:2", "--max-vram")):
        r = bad(resume(f"fail={failure}"), message, 'latentsync resume o.mp4.lsjob', code=6)
    r = run(LS, "resume", "o.mp4.lsjob", "--progress", "json", env=cards("fail=cuLaunchKernel:900:719"))
    error = json.loads(r.stdout.strip().split("\n")[-1])
    assert error["code"] == "LS_EDEVICE" and error["retry"] and error["job"] == "o.mp4.lsjob", error
    good(resume(""))


@test
def the_result_depends_on_neither_number_nor_memory_of_the_cards():
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=44100:d=0.7", "o.wav")
    short = ["sync", "-m", "models", "-t", "track.jsonl", "video.mp4", "o.wav", *QUICK, "--steps", "1"]
    least = run(LS, *short, "-o", "o.mp4", "--device", "cuda", "--max-vram", "1M", env=cards("")).stderr
    least = least.split("at least ")[1].split()[0] + "000000"
    made = set()
    for settings, options, says in (("", [], "on Emulated Card"), ("cards=2", [], "on 2 x Emulated Card"),
                                    ("seed=3", ["--max-vram", least], "guidance in two passes")):
        r = good(run(LS, *short, "-o", "o.mp4", *options, env=computing_cards(settings)))
        assert says in r.stderr, r.stderr
        made.add(digest("o.mp4"))
    assert len(made) == 1, made


sys.exit(main(setup))
