#!/usr/bin/env python3
"""Faces that are found, followed and chosen: in drawn speakers by the built-in detector, and, where those
are at hand, in videos of people by SCRFD. Prints TAP. usage: faces.py LATENTSYNC PUPPET"""
import functools
import json
import os
import shutil
import sys
import time

from common import LS, QUICK, SHARED_ABS, TESTS, bad, digest, ffmpeg, good, main, planes, points, probe, run, syllables, test

PUPPET = os.path.abspath(sys.argv[2])
HERE = os.path.dirname(os.path.abspath(__file__))
RECORDING = os.path.join(HERE, "../../tools/puppet/recordings/fox")
FAST = [*QUICK, "--steps", "1", "--crf", "0"]


class Drawn:
    """What the project itself makes."""
    name, side = "drawn", 200
    face = (25, 20, 160, 190)  # where the first speaker's mask may reach: left, top, right, bottom
    hidden = (45, 25, 100, 130)  # a patch that covers the face: left, top, width, height
    close = (50, 35, 100, 110)  # of the face alone, which there is too large for the detector
    detector = os.path.join(HERE, "../../models/mini/face/drawn.onnx")

    def missing(self):
        return None

    def video(self, number, frames):
        """A speaker, drawn once; 200 x 200, with the frames asked for."""
        folder = f"speaker{number}"
        if not os.path.exists(folder):
            good(run(PUPPET, "--seed", 7 + number, "--size", self.side, "--speech", RECORDING + ".wav", "--phones",
                     RECORDING + ".txt", folder))
        return made(f"drawn{number}-{frames}.mp4", "-stream_loop", "-1", "-i", f"{folder}/face.mp4", "-frames:v", frames,
                    "-c:v", "libx264", "-crf", "10")


class Real:
    """What others made and drew nothing of."""
    name, side = "real", 400
    face, hidden, close = (80, 100, 320, 370), (105, 110, 180, 170), (69, 73, 246, 246)
    detector = os.path.join(SHARED_ABS, "models/scrfd_500m_kps.onnx")
    videos = [os.path.join(SHARED_ABS, "media", n) for n in ("retalking_face_2.mp4", "demo1_video.mp4")]
    frame = ("", "crop=iw*0.55:iw*0.55:iw*0.22:ih*0.1,")

    def missing(self):
        return None if all(map(os.path.exists, [self.detector, *self.videos])) else "no detector and no videos here"

    def video(self, number, frames):
        return made(f"real{number}-{frames}.mp4", "-i", self.videos[number], "-an", "-frames:v", frames, "-vf",
                    f"{self.frame[number]}scale=400:400,setsar=1,fps=25", "-c:v", "libx264", "-crf", "10")


def of_both(f, worlds=(Drawn(), Real())):
    """A test of drawn speakers, and the same of people."""
    for world in worlds:
        def one(world=world):
            return world.missing() or f(world)
        one.__name__ = f"{f.__name__}_{world.name}"
        TESTS.append(one)
    return f


def of_drawn(f):
    """Where the detector makes no difference: of people with --full only."""
    return of_both(f) if os.environ.get("LS_TEST_FULL") else of_both(f, (Drawn(),))


def setup():
    for world in (Drawn(), Real()):
        if not world.missing():
            good(run(LS, "models", "random", "--size", "mini", "--out", world.name))
            os.mkdir(f"{world.name}/face")
            shutil.copy(world.detector, f"{world.name}/face/det_500m.onnx")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=44100:d=1.0,aformat=channel_layouts=stereo", "speech.wav")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=44100:d=0.48", "short.wav")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=1.0", "-c:v", "libx264", "-pix_fmt", "yuv420p", "nobody.mp4")


def made(name, *args):
    if not os.path.exists(name):
        ffmpeg(*args, name)
    return name


def faces(world, video, *options):
    return run(LS, "faces", "-m", world.name, "-q", *options, video)


def sync(world, video, speech, out, *options):
    return run(LS, "sync", "-m", world.name, *FAST, video, speech, "-o", out, *options)


def records(text):
    lines = [json.loads(x) for x in text.splitlines()]
    return ([x for x in lines if "timeline" in x], [x for x in lines if "frame" in x],
            [x for x in lines if "track" in x])


@functools.cache
def search(world, video, *options):
    return records(good(faces(world, video, "--json", *options)).stdout)


def without_face(frames):
    return [f["frame"] for f in frames if not f.get("faces")]


@of_both
def faces_are_found_without_a_track(world):
    video, side, (x0, y0, x1, y1) = world.video(0, 40), world.side, world.face
    r = good(sync(world, video, "speech.wav", "o.mkv", "--save-track", "saved.jsonl"))
    assert "det_500m.onnx" in r.stderr and "no face in" not in r.stderr, r.stderr
    before, after = planes(video), planes("o.mkv")
    assert len(after) == 25
    for i, (b, a) in enumerate(zip(before, after)):
        changed = [k for k in range(side * side) if a[k] != b[k]]
        assert len(changed) > side * side / 80, (i, len(changed))
        assert all(x0 < k % side < x1 and y0 < k // side < y1 for k in changed), \
            (i, min(k % side for k in changed), max(k % side for k in changed), changed[0] // side, changed[-1] // side)
    # another run from what was found is the same video
    good(sync(world, video, "speech.wav", "o.again.mkv", "-t", "saved.jsonl"))
    assert digest("o.mkv") == digest("o.again.mkv")
    head, frames, tracks = records(open("saved.jsonl").read())
    assert head[0]["timeline"] == {"width": side, "height": side, "fps": "25/1"}
    assert [f["frame"] for f in frames] == list(range(40)), "the track is of the whole video"
    assert len(tracks) == 1 and (tracks[0]["first"], tracks[0]["last"]) == (0, 39)


@of_both
def the_list_of_faces(world):
    video = world.video(0, 40)
    r = good(faces(world, video, "--preview", f"{world.name}.pictures"))
    head, row = r.stdout.splitlines()
    assert head.split() == ["track", "frames", "share", "score", "left", "top", "width", "height"]
    assert row.split()[:4] == ["1", "0-39", "100", "%"], row
    left, top, width, height = map(float, row.split()[5:])
    x, y, w, h = world.hidden
    assert x - 10 < left < x + w / 4 and y - 30 < top < y + h / 4 and 0.5 * w < width < 0.95 * w and \
        0.7 * h < height < 1.3 * h, row
    picture = f"{world.name}.pictures/track-1.png"
    assert os.listdir(f"{world.name}.pictures") == ["track-1.png"]
    assert (probe(picture)["width"], probe(picture)["height"]) == (world.side, world.side)
    _, frames, tracks = search(world, video)
    assert len(frames) == 40 and all(len(f["faces"]) == 1 for f in frames)
    box = tracks[0]["box"]
    assert abs(box[0] - left) < 1 and abs(box[3] - box[1] - height) < 1
    # every third frame looked at: near the same, by interpolation
    for a, b in zip(frames, search(world, video, "--detect-every", "3")[1]):
        fa, fb = a["faces"][0], b["faces"][0]
        assert fb.get("interpolated", False) == (b["frame"] % 3 != 0 and b["frame"] < 39), b["frame"]
        assert all(abs(p - q) < 6 for x, y in zip(fa["points5"], fb["points5"]) for p, q in zip(x, y))


@of_drawn
def the_pace_of_the_search(world):
    # a face, a cut to another, and a picture that stands still: the first and last frames of shots are looked at
    made(f"{world.name}.shots.mkv", "-i", world.video(0, 23), "-i", world.video(1, 20), "-filter_complex",
         "[0][1]concat,tpad=stop=20:stop_mode=clone", "-an", "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    every, paced = (search(world, f"{world.name}.shots.mkv", *o)[1] for o in ([], ["--detect-every", "auto"]))
    shots = [f["frame"] for f in every if f.get("cut")]
    assert shots == [f["frame"] for f in paced if f.get("cut")] == [23], shots
    looked = [f["frame"] for f in paced if not f["faces"][0].get("interpolated")]
    assert {0, 22, 23, len(every) - 1} <= set(looked) and len(looked) < .8 * len(every), looked
    assert max(b - a for a, b in zip(looked, looked[1:])) <= 5, looked
    for a, b in zip(every, paced):
        fa, fb = a["faces"][0], b["faces"][0]
        height = fa["box"][3] - fa["box"][1]
        assert fa["id"] == fb["id"] and len(a["faces"]) == len(b["faces"])
        assert all(abs(p - q) < .06 * height for x, y in zip(fa["points5"][:3], fb["points5"]) for p, q in zip(x, y)), b


@test
def points_are_where_the_drawing_has_them():
    world = Drawn()
    for number in (0, 1):
        found = [f["faces"][0]["points5"] for f in search(world, world.video(number, 40))[1]]
        drawn = [json.loads(x)["points5"] for x in open(f"speaker{number}/track.jsonl")]
        off = [abs(p - q) for a, b in zip(drawn, found) for x, y in zip(a, b) for p, q in zip(x, y)]
        print(f"# speaker {number}: points within {max(off):.1f} pixels of a face 80 wide, {sum(off) / len(off):.2f} on average")
        assert max(off) < 8 and sum(off) / len(off) < 2, max(off)


@of_both
def a_face_that_fills_the_picture(world):
    x, y, w, h = world.close
    video, close = world.video(0, 40), f"{world.name}.close.mkv"
    made(close, "-i", video, "-an", "-vf", f"crop={w}:{h}:{x}:{y},scale=2*iw:-1", "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    _, frames, tracks = search(world, close)
    assert len(tracks) == 1 and tracks[0]["share"] == 1, tracks
    box = tracks[0]["box"]
    assert box[3] - box[1] > 0.75 * max(2 * w, 2 * h), ("the test needs a larger face", box)
    whole = [f["faces"][0] for f in search(world, video)[1]]
    for a, b in zip(whole, frames):
        for (ax, ay), (bx, by) in zip(a["points5"], b["faces"][0]["points5"]):
            off = max(abs(2 * (ax - x) - bx), abs(2 * (ay - y) - by))
            assert off < 0.1 * (box[2] - box[0]), (b["frame"], off)
    r = good(sync(world, close, "short.wav", "o.mkv"))
    assert "no face in" not in r.stderr, r.stderr


@of_drawn
def a_face_that_comes_close_stays_the_same(world):
    x, y, w, h = world.close
    zoom = f"{world.name}.zoom.mkv"  # from the whole picture to the face alone
    made(zoom, "-i", world.video(0, 40), "-an", "-vf",
         f"zoompan=z='1+({world.side}/{w}-1)*on/39':x='{x}*on/39':y='{y}*on/39':d=1:s={2 * world.side}x{2 * world.side}:fps=25",
         "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    _, frames, tracks = search(world, zoom)
    assert len(tracks) == 1 and (tracks[0]["first"], tracks[0]["last"]) == (0, 39), tracks
    assert not without_face(frames)
    assert sum(f["faces"][0].get("interpolated", False) for f in frames) < 3


@of_drawn
def a_still_picture_does_not_tremble(world):
    still = f"{world.name}.still.mkv"
    made(f"{world.name}.png", "-i", world.video(0, 40), "-frames:v", "1")
    made(still, "-loop", "1", "-framerate", "25", "-i", f"{world.name}.png", "-frames:v", "50", "-c:v", "ffv1",
         "-pix_fmt", "yuv420p")
    frames = search(world, still)[1]
    assert len(frames) == 50
    assert all(f["faces"] == frames[0]["faces"] for f in frames)


@of_drawn
def the_chosen_face_of_two(world):
    side, two = world.side, f"{world.name}.two.mp4"
    made(two, "-i", world.video(0, 30), "-i", world.video(1, 30), "-filter_complex", "hstack", "-an", "-c:v", "libx264",
         "-crf", "10")
    listed = good(faces(world, two, "--json")).stdout
    open("two.jsonl", "w").write(listed)
    tracks = records(listed)[2]
    assert len(tracks) == 2 and all(t["share"] == 1 for t in tracks), tracks
    by_side = {("left" if t["box"][0] < side else "right"): t for t in tracks}
    area = {s: (t["box"][2] - t["box"][0]) * (t["box"][3] - t["box"][1]) for s, t in by_side.items()}
    box = by_side["right"]["box"]
    centre = f"{(box[0] + box[2]) / 2:.0f},{(box[1] + box[3]) / 2:.0f}"
    before = planes(two)
    for which, face in (("left", "left"), ("right", "right"), ("largest", max(area, key=area.get)),
                        (by_side["right"]["track"], "right"), (by_side["left"]["track"], "left"), (centre, "right")):
        good(sync(world, two, "short.wav", "o.mkv", "--face", which))
        after = planes("o.mkv")
        assert len(after) == 12
        for i, (b, a) in enumerate(zip(before, after)):
            halves = [any(a[2 * y * side + x:2 * y * side + x + side] != b[2 * y * side + x:2 * y * side + x + side]
                          for y in range(side)) for x in (0, side)]
            assert halves == [face == "left", face == "right"], (which, i)
        if which in ("right", by_side["left"]["track"], centre):  # the list as a track chooses the same
            good(sync(world, two, "short.wav", "o.again.mkv", "--face", which, "-t", "two.jsonl"))
            assert digest("o.mkv") == digest("o.again.mkv"), which
    bad(sync(world, two, "short.wav", "out.mkv", "--face", "7"), "face 7", "2", "latentsync faces", code=5)


@of_drawn
def black_frames_pass_and_the_rest_is_synced(world):
    black = f"{world.name}.black.mp4"
    made(black, "-i", world.video(0, 80), "-an", "-vf", "drawbox=t=fill:color=black:enable='between(n,20,59)'", "-c:v",
         "libx264", "-crf", "10")
    made("long.wav", "-f", "lavfi", "-i", "sine=f=300:r=16000:d=3.1")
    r = good(sync(world, black, "long.wav", "o.mkv"))
    before, after = planes(black), planes("o.mkv")
    assert len(after) == 78, len(after)
    for i, (b, a) in enumerate(zip(before, after)):
        assert (a == b) == (20 <= i < 60), i
    assert "no face in 40 of 78 frames" in r.stderr, r.stderr


@of_drawn
def short_gaps_are_bridged(world):
    patched = f"{world.name}.patched.mp4"  # grey patches over the face, but no cut
    x, y, w, h = world.hidden
    made(patched, "-i", world.video(0, 40), "-vf",
         f"drawbox=x={x}:y={y}:w={w}:h={h}:t=fill:color=gray:enable='between(n,8,13)+between(n,20,34)'", "-c:v", "libx264",
         "-crf", "10")
    frames = search(world, patched)[1]
    interpolated = [f["frame"] for f in frames if any(x.get("interpolated") for x in f.get("faces", []))]
    assert interpolated == list(range(8, 14)), interpolated
    assert without_face(frames) == list(range(20, 35)), without_face(frames)
    assert not any(f.get("cut") for f in frames)
    gone = without_face(search(world, patched, "--max-gap", "5")[1])
    assert gone == list(range(8, 14)) + list(range(20, 35)), gone


COVER = "drawbox=x={}:y={}:w={}:h={}:t=fill:color=gray:enable='not(eq(n,10))'"  # but for one frame


@of_drawn
def what_one_frame_shows_is_no_face(world):
    alone = f"{world.name}.alone.mkv"
    made(alone, "-i", world.video(0, 20), "-an", "-vf", COVER.format(*world.hidden), "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    _, frames, tracks = search(world, alone)
    assert without_face(frames) == [i for i in range(20) if i != 10] and not tracks
    assert not any(f.get("cut") for f in frames)
    r = good(run(LS, "faces", "-m", world.name, alone, "--preview", f"{world.name}.alone"))
    assert not r.stdout and "no face was found" in r.stderr and not os.listdir(f"{world.name}.alone"), r.stderr
    bad(sync(world, alone, "short.wav", "out.mkv"), "no face was found in 12 frames", code=5)
    # all that there is of a shot is not one of several
    made(f"{world.name}.one.mkv", "-i", world.video(1, 20), "-an", "-frames:v", "1", "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    assert len(search(world, f"{world.name}.one.mkv")[2]) == 1
    assert len(search(world, world.video(1, 20), "--detect-every", "30")[2]) == 1


@test
def an_eye_is_no_second_face():
    """In frame 28 the network takes an eye of this speaker for one."""
    good(run(PUPPET, "--seed", 50007, "--size", 512, "--speech", RECORDING + ".wav", "--phones", RECORDING + ".txt", "eye"))
    _, frames, tracks = search(Drawn(), "eye/face.mp4")
    assert len(frames) > 60 and all(len(f["faces"]) == 1 for f in frames) and len(tracks) == 1, tracks


@test
def what_one_frame_shows_beside_a_face_is_not_listed():
    world = Drawn()
    made("flash.mkv", "-i", world.video(0, 20), "-i", world.video(1, 20), "-filter_complex",
         f"[1]{COVER.format(*world.hidden)}[b];[0][b]hstack", "-an", "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    _, frames, tracks = search(world, "flash.mkv")
    assert [len(f["faces"]) for f in frames] == [1] * 10 + [2] + [1] * 9
    assert len(tracks) == 1 and tracks[0]["share"] == 1, tracks
    assert len(good(faces(world, "flash.mkv")).stdout.splitlines()) == 2


@of_drawn
def a_repeated_frame_shows_what_it_did(world):
    few = f"{world.name}.few.mkv"
    made(few, "-i", world.video(0, 40), "-an", "-r", "5", "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    shown = [f["faces"] for f in search(world, few)[1]]
    once = [f["faces"] for f in search(world, few, "--fps", "source")[1]]
    assert len(shown) >= 5 * len(once) - 5 and 7 < len(once) < 10
    assert [f for i, f in enumerate(shown) if not i or f != shown[i - 1]] == once


@test
def a_frame_that_lasts_for_hours_is_looked_at_once():
    world = Drawn()
    made("hours.mkv", "-i", world.video(0, 40), "-an", "-frames:v", "2", "-vf", "setpts='if(eq(N,1),36000/TB,0)'",
         "-fps_mode", "passthrough", "-enc_time_base", "1/1000", "-c:v", "libx264")
    start = time.monotonic()
    row = good(faces(world, "hours.mkv")).stdout.splitlines()[1]
    print(f"# ten hours: {time.monotonic() - start:.1f} s")
    assert row.split()[1] == "0-900000" and time.monotonic() - start < 120, row
    good(sync(world, "hours.mkv", "short.wav", "o.mkv"))


@of_both
def a_cut_begins_another_face(world):
    cut = f"{world.name}.cut.mp4"
    made(cut, "-i", world.video(0, 30), "-i", world.video(1, 30), "-filter_complex", "concat", "-an", "-c:v", "libx264",
         "-crf", "10")
    _, frames, tracks = search(world, cut)
    assert [f["frame"] for f in frames if f.get("cut")] == [30]
    assert [(t["first"], t["last"]) for t in tracks] == [(0, 29), (30, 59)], tracks
    # the new mouth is there at once on both sides of it
    made("cut.wav", "-f", "lavfi", "-i", "sine=f=300:r=16000:d=1.4")
    good(sync(world, cut, "cut.wav", "o.mkv"))
    amount = [sum(abs(x - y) for x, y in zip(b, a)) for b, a in zip(planes(cut), planes("o.mkv"))]
    assert min(amount[28:32]) > 0.3 * max(amount), amount


@of_drawn
def a_size_that_is_odd(world):
    odd = f"{world.name}.odd.mkv"
    w, h = world.side + 1, world.side - 21
    made(odd, "-i", world.video(0, 12), "-vf", f"scale={w}:{h}", "-c:v", "ffv1")
    frames = search(world, odd)[1]
    assert len(frames) == 12 and not without_face(frames)
    r = good(sync(world, odd, "short.wav", "o.mkv"))
    v = probe("o.mkv")
    assert (v["width"], v["height"], v["nb_read_frames"]) == (w + 1, h + 1, "12"), v
    assert "no face in" not in r.stderr, r.stderr


@of_drawn
def a_small_face_is_used_if_wanted(world):
    small, (x, y, w, h) = f"{world.name}.small.mkv", world.hidden
    made(small, "-i", world.video(0, 20), "-an", "-vf", f"scale=iw*56/{h}:-2", "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    r = good(run(LS, "faces", "-m", world.name, small))
    assert not r.stdout and "the largest is" in r.stderr, r.stderr
    width, height = map(int, r.stderr.split("the largest is ")[1].split(" pixels")[0].split(" x "))
    assert 45 < height < 80, (width, height)
    wanted = r.stderr.split("--min-face ")[1].split()[0]
    assert 0.85 * min(height, width * 8 / 5) < int(wanted) < 0.9 * min(height, width * 8 / 5)
    bad(sync(world, small, "short.wav", "out.mkv"), " pixels, at ", "50 x 80", "--min-face", code=5)
    listed = good(faces(world, small, "--min-face", wanted)).stdout.splitlines()
    assert len(listed) == 2, listed
    r = good(sync(world, small, "short.wav", "o.mkv", "--min-face", wanted))
    assert "no face in" not in r.stderr, r.stderr
    for value in ("15", "4097", "x"):
        bad(sync(world, small, "short.wav", "out.mkv", "--min-face", value), "--min-face", value, code=2)


@of_drawn
def no_face_anywhere(world):
    bad(sync(world, "nobody.mp4", "speech.wav", "out.mkv"), "nobody.mp4", "no face", code=5)
    r = good(run(LS, "faces", "-m", world.name, "nobody.mp4"))
    assert not r.stdout and "no face was found" in r.stderr


@of_drawn
def a_face_after_the_speech_is_none(world):
    for shown in (40, 13):  # 12 frames of speech; the second is within what the choice looks ahead
        late = f"{world.name}.late{shown}.mkv"
        made(late, "-i", world.video(0, 60), "-an", "-vf", f"drawbox=t=fill:color=black:enable='lt(n,{shown})'", "-c:v",
             "ffv1", "-pix_fmt", "yuv420p")
        listed = good(faces(world, late, "--json")).stdout
        first = records(listed)[2][0]["first"]
        assert shown <= first < shown + 3, first
        open("late.jsonl", "w").write(listed)
        for options in ([], ["--save-track", "s.jsonl"], ["-t", "late.jsonl"], ["--restart"])[:4 if shown == 40 else 1]:
            r = sync(world, late, "short.wav", "out.mkv", *options)
            bad(r, "in the first 0.48 s", "is seen at", code=5)
            seen = float(r.stderr.split("is seen at ")[1].split()[0])
            assert first / 25 - 0.01 < seen < first / 25 + 1.01 and (not options or seen < first / 25 + 0.01 or
                                                                    options == ["--restart"]), (options, seen)
    bad(run(LS, "plan", "-m", world.name, *FAST, late, "short.wav", "-o", "out.mkv"), "is seen at", code=5)
    good(sync(world, late, "speech.wav", "o.mkv"))


@test
def a_late_face_is_named_in_the_videos_own_time():
    world, first = Drawn(), 40
    made("vary.mkv", "-i", world.video(0, 60), "-an", "-vf",
         f"drawbox=t=fill:color=black:enable='lt(n,{first})',setpts='(floor(N/2)*3+mod(N,2))/25/TB'", "-fps_mode",
         "passthrough", "-enc_time_base", "1/1000", "-c:v", "libx264", "-crf", "10")
    open("vary.jsonl", "w").write(good(faces(world, "vary.mkv", "--json", "--fps", "source")).stdout)
    bad(sync(world, "vary.mkv", "short.wav", "out.mkv", "-t", "vary.jsonl", "--fps", "source"), "is seen at 2.40 s", code=5)


@of_drawn
def no_more_is_searched_than_the_choice_needs(world):
    video = f"{world.name}.gap.mkv"  # the face is gone where the speech ends, and comes back
    x, y, w, h = world.hidden
    made(video, "-stream_loop", "-1", "-i", world.video(0, 40), "-an", "-frames:v", "120", "-vf",
         f"drawbox=x={x}:y={y}:w={w}:h={h}:t=fill:color=gray:enable='between(n,8,13)'", "-c:v", "ffv1", "-pix_fmt",
         "yuv420p")
    good(sync(world, video, "short.wav", "o.mkv", "--keep-job", "--job", "gap.lsjob"))
    looked = records(open("gap.lsjob/faces.jsonl").read())[1]
    assert [f["frame"] for f in looked] == list(range(len(looked))) and 16 <= len(looked) < 46, len(looked)
    assert all(looked[i]["faces"][0].get("interpolated") for i in range(8, 14))
    # what is finished counts also where the faces are known by now
    r = good(run(LS, "resume", "gap.lsjob", "--keep-job"))
    assert "1 of 1 segments in gap.lsjob are finished" in r.stderr and "damaged" not in r.stderr, r.stderr
    # the same from faces of the whole video, and from those kept
    good(sync(world, video, "short.wav", "o.whole.mkv", "--save-track", "whole.jsonl"))
    assert len(records(open("whole.jsonl").read())[1]) == 120
    good(sync(world, video, "short.wav", "o.kept.mkv", "-t", "gap.lsjob/faces.jsonl"))
    good(run(LS, "plan", "-m", world.name, *FAST, video, "short.wav", "-o", "o.planned.mkv"))
    good(run(LS, "resume", "o.planned.mkv.lsjob"))
    for other in ("whole", "kept", "planned"):
        assert digest("o.mkv") == digest(f"o.{other}.mkv"), other
    shutil.rmtree("gap.lsjob")


@test
def a_preview_shows_a_face():
    """Not where the speech is liveliest, if none is seen there; with the pictures that the whole has."""
    world = Drawn()
    x, y, w, h = world.hidden
    made("preview.mkv", "-stream_loop", "-1", "-i", world.video(0, 40), "-an", "-frames:v", "80", "-vf",
         f"drawbox=x={x}:y={y}:w={w}:h={h}:t=fill:color=gray:enable='gte(n,46)'", "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    syllables("preview.wav", 3.2, (0.64, 1.28, 3), (2, 3, 6))
    r = good(sync(world, "preview.mkv", "preview.wav", "o.mkv", "--preview", "0.64"))
    assert "16 frames from 0.64 s on, where the speech is lively and a face is seen" in r.stderr, r.stderr
    assert sorted(os.listdir("o.mkv.lsjob")) == ["chunk-00001.faces", "job.json", "lock"], os.listdir("o.mkv.lsjob")
    r = good(sync(world, "preview.mkv", "preview.wav", "o.mkv"))
    assert "the faces of 16 frames are an earlier run's" in r.stderr, r.stderr
    good(sync(world, "preview.mkv", "preview.wav", "o.fresh.mkv"))
    assert digest("o.mkv") == digest("o.fresh.mkv") and planes("o.preview.mkv") == planes("o.mkv")[16:32]


@test
def a_face_partly_outside_is_patched_where_it_is():
    """Parts of a video, in whose pictures the face is cut off or larger than they are, against the whole."""
    world, side = Drawn(), 200
    video, drawn = world.video(0, 40), [json.loads(x)["points5"] for x in open("speaker0/track.jsonl")][:40]
    done = {}
    for name, (w, h, x, y) in {"whole": (side, side, 0, 0), "left": (100, 200, 100, 0), "right": (100, 200, 0, 0),
                               "top": (200, 116, 0, 84), "bottom": (200, 110, 0, 0), "close": (70, 70, 64, 64)}.items():
        made(f"edge.{name}.mkv", "-i", video, "-an", "-frames:v", "12", "-vf", f"crop={w}:{h}:{x}:{y}", "-c:v", "ffv1",
             "-pix_fmt", "yuv420p")
        with open("edge.jsonl", "w") as f:
            for i, p in enumerate(drawn[:12]):
                f.write(json.dumps({"frame": i, "points5": [[px - x, py - y] for px, py in p]}) + "\n")
        good(sync(world, f"edge.{name}.mkv", "short.wav", "o.mkv", "-t", "edge.jsonl"))
        before, after = planes(f"edge.{name}.mkv")[6], planes("o.mkv")[6]
        done[name] = [[after[v * w + u] - before[v * w + u] for u in range(w)] for v in range(h)]
        whole = [row[x:x + w] for row in done["whole"][y:y + h]]
        off = sum(abs(a - b) for p, q in zip(done[name], whole) for a, b in zip(p, q))
        amount = sum(abs(b) for row in whole for b in row)
        print(f"# {name}: {amount / w / h:.1f} of change a pixel, {off / amount:.3f} of it elsewhere")
        assert amount > w * h and off < 0.2 * amount, name


@test
def a_track_outside_the_picture_is_no_face():
    with open("far.jsonl", "w") as f:
        for i in range(40):
            f.write(json.dumps({"frame": i, "points5": [[x + 900, y] for x, y in points(100, 100, 60)]}) + "\n")
    bad(sync(Drawn, Drawn().video(0, 40), "short.wav", "out.mkv", "-t", "far.jsonl"), "far.jsonl", "no face", code=5)


@test
def bad_detectors():
    open("cut.onnx", "wb").write(open(Drawn.detector, "rb").read()[:100000])
    open("junk.onnx", "wb").write(b"junk")
    for name, word in (("cut.onnx", "truncated"), ("junk.onnx", "not an ONNX file"), ("missing.onnx", "missing.onnx"),
                       ("speech.wav", "not an ONNX file")):
        bad(run(LS, "faces", "--detector", name, "nobody.mp4"), name, word, code=4)
        bad(sync(Drawn, "nobody.mp4", "speech.wav", "out.mp4", "--detector", name), name, word, code=4)
    os.makedirs("bare", exist_ok=True)
    bad(run(LS, "faces", "-m", "bare", "nobody.mp4"), "bare/face", "no face detector", code=4)


sys.exit(main(setup))
