#!/usr/bin/env python3
"""Mouths that are covered, and heads that turn: the frames of drawn speakers that stay as they are. Prints TAP.
usage: occlusion.py LATENTSYNC PUPPET"""
import json
import os
import shutil
import subprocess
import sys
import time

from common import LS, QUICK, bad, digest, good, main, planes, run, test

PUPPET = os.path.abspath(sys.argv[2])
HERE = os.path.dirname(os.path.abspath(__file__))
FOX = os.path.join(HERE, "../../tools/puppet/recordings/fox")
DETECTOR = os.path.join(HERE, "../../models/mini/face/drawn.onnx")
FAST = [*QUICK, "--steps", "1", "--crf", "0"]
BOX = range(28, 46)  # frames in which the hand and the microphone are before the mouth
AMOUNTS = {}


def draw(name, *options, seed=205):
    good(run(PUPPET, "--seed", seed, "--size", 200, "--speech", FOX + ".wav", "--phones", FOX + ".txt", *options, name))


def setup():
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))
    os.mkdir("models/face")
    shutil.copy(DETECTOR, "models/face")
    span = f"{BOX.start}-{BOX.stop}"
    draw("hand", "--hand", span)
    draw("microphone", "--microphone", span)
    draw("turn", "--turn", span)
    draw("lost", "--hand", span, seed=203)


def sync(name, out, *options):
    return run(LS, "sync", "-m", "models", *FAST, f"{name}/face.mp4", FOX + ".wav", "-o", out, *options)


def done(r):
    return json.loads(good(r).stdout.splitlines()[-1])


def amounts(name, out):
    """How far each frame of the output is from the source's."""
    before, after = planes(f"{name}/face.mp4"), planes(out)
    return [sum(abs(x - y) for x, y in zip(b, a)) if b != a else 0 for b, a in zip(before, after)]


def whole(name, *options):
    """Made once: the video with these options, and its amounts."""
    key = (name, *options)
    if key not in AMOUNTS:
        out = f"{name}{''.join(options)}.mkv"
        good(sync(name, out, *options))
        AMOUNTS[key] = out, amounts(name, out)
    return AMOUNTS[key]


def covered(name, least):
    return [i for i, x in enumerate(open(f"{name}/hidden.txt")) if float(x.split()[0]) >= least]


@test
def a_covered_mouth_stays_as_it_is():
    for name in ("hand", "microphone"):
        changed = whole(name)[1]
        kept = [i for i, a in enumerate(changed) if not a]
        print(f"# {name}: {kept[0]} to {kept[-1]} are kept, {BOX.start} to {BOX.stop - 1} are covered")
        assert kept == list(range(kept[0], kept[-1] + 1)), kept
        assert set(covered(name, 0.1)) <= set(kept), (kept, covered(name, 0.1))
        assert BOX.start - 5 <= kept[0] and kept[-1] < BOX.stop + 5, kept
        usual = sorted(changed[:kept[0] - 4] + changed[kept[-1] + 5:])
        middle = usual[len(usual) // 2]
        fades = [[changed[kept[0] - d] / middle, changed[kept[-1] + d] / middle] for d in range(1, 6)]
        print("# fades", fades)
        for side in zip(*fades):
            assert all(abs(a - d / 5) < 0.17 for d, a in enumerate(side, 1)), side
            assert list(side[:4]) == sorted(side[:4]), side


@test
def likewise_around_frames_in_which_the_face_is_not_found():
    made = done(sync("lost", "o.mkv", "--progress", "json"))
    kept = [i for i, a in enumerate(amounts("lost", "o.mkv")) if not a]
    print(f"# {kept[0]} to {kept[-1]} are kept, {78 - made['frames_with_face'] - made['frames_covered']} without a face")
    assert kept == list(range(kept[0], kept[-1] + 1)) and len(kept) > made["frames_covered"] > 0, (kept, made)
    assert set(covered("lost", 0.1)) <= set(kept), (kept, covered("lost", 0.1))


@test
def far_from_it_nothing_changes():
    """Chunks of 16 without such a frame are those of --occlusion off, where no frame is kept."""
    auto, off = planes(whole("hand")[0]), planes(whole("hand", "--occlusion", "off")[0])
    assert all(whole("hand", "--occlusion", "off")[1])
    kept = [i for i, a in enumerate(whole("hand")[1]) if not a]
    same = [a == b for a, b in zip(auto, off)]
    first, end = (kept[0] - 4) // 16 * 16, (kept[-1] + 4) // 16 * 16 + 16
    assert first >= 16 and end < len(same) and all(same[:first]) and all(same[end:]), (first, end, same)
    assert not any(same[kept[0]:kept[-1] + 1])


@test
def it_does_not_depend_on_where_work_stops():
    kept = [i for i, a in enumerate(whole("hand")[1]) if not a]
    args = [LS, "sync", "-m", "models", *FAST, "hand/face.mp4", FOX + ".wav", "--segment-seconds", "0.6", "-o"]
    good(run(*args, "o.whole.mkv"))
    p = subprocess.Popen([str(a) for a in [*args, "o.mkv"]], stderr=subprocess.DEVNULL)
    while p.poll() is None and not os.path.exists("o.mkv.lsjob/segment-00001.nut"):
        time.sleep(0.001)
    p.kill()
    p.wait()
    segments = sum(f.startswith("segment-") for f in os.listdir("o.mkv.lsjob"))
    print(f"# killed after segment {segments} of 5; frames {kept[0]} to {kept[-1]} are kept")
    assert segments < 5 and kept[0] < 32 < kept[-1]
    good(run(LS, "resume", "o.mkv.lsjob"))
    assert digest("o.mkv") == digest("o.whole.mkv")
    # and a part that begins among the frames that are kept
    good(sync("hand", "o.part.mkv", "--start", "1.4", "--duration", "1.2"))
    assert planes("o.part.mkv") == planes(whole("hand")[0])[35:65]


@test
def a_track_carries_what_was_found():
    made = done(sync("hand", "o.mkv", "--save-track", "o.jsonl", "--progress", "json"))
    kept = sum(not a for a in whole("hand")[1])
    assert (made["frames_covered"], made["frames_turned"], made["frames_hidden"]) == (kept, 0, 0), made
    assert made["frames_with_face"] == 78 - kept, made
    r = good(sync("hand", "o.again.mkv", "-t", "o.jsonl"))
    assert digest("o.again.mkv") == digest("o.mkv")
    assert f"{kept} frames keep the video's own mouth" in r.stderr and "no face in" not in r.stderr, r.stderr
    # what an edited track says comes first
    lines = [json.loads(x) for x in open("o.jsonl")]
    for hidden in (False, True):
        for x in lines:
            if "frame" in x and (not hidden or 60 <= x["frame"] < 62):
                x["faces"][0]["hidden"] = hidden
        with open("o.edited.jsonl", "w") as f:
            f.writelines(json.dumps(x) + "\n" for x in lines)
        made = done(sync("hand", "o.edited.mkv", "-t", "o.edited.jsonl", "--progress", "json"))
        assert made["frames_hidden"] == 2 * hidden and not made["frames_covered"], made
        if not hidden:
            assert planes("o.edited.mkv") == planes(whole("hand", "--occlusion", "off")[0])
        else:
            assert [i for i, a in enumerate(amounts("hand", "o.edited.mkv")) if not a] == [60, 61]
    good(sync("hand", "o.off.mkv", "-t", "o.edited.jsonl", "--occlusion", "off"))
    assert planes("o.off.mkv") == planes(whole("hand", "--occlusion", "off")[0])
    for key, value, word in (("covered", 1.5, "0 to 1"), ("covered", "x", "0 to 1"), ("hidden", 1, "true or false")):
        with open("bad.jsonl", "w") as f:
            f.write(json.dumps({"frame": 0, "points5": [[0, 0]] * 5, key: value}))
        bad(sync("hand", "out.mkv", "-t", "bad.jsonl"), "bad.jsonl, line 1", key, word, code=3)


@test
def a_turned_head_keeps_its_mouth():
    changed = amounts("turn", "o.mkv") if done(sync("turn", "o.mkv", "-t", "turn/track.jsonl", "--progress", "json"))[
        "frames_turned"] else []
    yaw = [abs(float(x.split()[1])) for x in open("turn/hidden.txt")]
    kept = [i for i, a in enumerate(changed) if not a]
    print(f"# kept {kept}, turned by 60 degrees {[i for i, a in enumerate(yaw) if a >= 60]}")
    assert kept == list(range(kept[0], kept[-1] + 1)) and {i for i, a in enumerate(yaw) if a >= 66} <= set(kept)
    assert all(yaw[i] > 45 for i in kept[2:-2]) and len(kept) < len(BOX) + 12


sys.exit(main(setup))
