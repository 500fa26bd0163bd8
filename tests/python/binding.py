#!/usr/bin/env python3
"""The Python package, with the program and with the library. Prints TAP.
usage: binding.py LATENTSYNC LIBLATENTSYNC.SO FOLDER-OF-THE-PACKAGE"""
import array
import asyncio
import gc
import inspect
import itertools
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY, PACKAGE = map(os.path.abspath, sys.argv[2:4])
sys.path[:0] = [os.path.join(HERE, "../e2e"), PACKAGE]
from common import LS, TESTS, bad, digest, ffmpeg, good, main, probe, run, test, track  # noqa: E402

sys.dont_write_bytecode = True
os.environ.update(LATENTSYNC=LS, LATENTSYNC_LIBRARY=LIBRARY, PYTHONPATH=PACKAGE, PYTHONDONTWRITEBYTECODE="1")
import latentsync  # noqa: E402
from latentsync import _frames, _job, _run, aio  # noqa: E402

QUICK = {"models": "models", "face_track": "track.jsonl", "resolution": 64, "steps": 2, "preset": "ultrafast", "threads": 1}
LONG = {**QUICK, "steps": 20, "segment_seconds": 0.64}  # with long.wav, until it is canceled


def setup():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=1.0", "-c:v", "libx264", "-preset", "ultrafast",
           "-crf", "10", "-pix_fmt", "yuv420p", "video.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=44100:d=1.28", "speech.wav")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=16000:d=100", "long.wav")
    ffmpeg("-i", "long.wav", "-t", "3", "some.wav", "-t", "0.32", "short.wav")
    track("track.jsonl", 25)
    track("small.jsonl", 60, cx=80, cy=75, s=30)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))
    good(run(LS, "sync", "-m", "models", "-t", "track.jsonl", "--resolution", "64", "--steps", "2", "--preset", "ultrafast",
             "video.mp4", "speech.wav", "-o", "right.mp4"))


def fake(name, text):
    """A program that behaves as it is told."""
    with open(name, "w") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(name, 0o755)
    return "./" + name


def fails(kind, call, *words):
    try:
        call()
    except kind as e:
        for w in words:
            assert w in str(e), f"no {w!r} in: {e}"
        return e
    raise AssertionError(f"no {kind.__name__}")


def until(what, seconds=120):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s: {inspect.getsource(what)}"
        time.sleep(0.02)


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def is_under_way(e):
    return isinstance(e, latentsync.Progress) and e.frame >= 16  # something is kept


def reach(job, what=is_under_way):
    for e in job:
        if what(e):
            return e


@test
def options_are_those_of_the_library():
    good(run(sys.executable, os.path.join(PACKAGE, "generate.py"), LIBRARY, "--check"))
    names = set(latentsync.OPTIONS["sync"])
    listed = set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", good(run(LS, "sync", "--help")).stdout, re.M))
    own = {"help", "output", "dry-run", "json", "progress", "quiet", "verbose", "watch-stdin"}
    assert {n.replace("-", "_") for n in listed - own} == names, names ^ {n.replace("-", "_") for n in listed - own}
    shown = inspect.signature(latentsync.sync).parameters
    assert names < set(shown) and "steps: denoising steps" in latentsync.sync.__doc__
    assert latentsync.__version__ in good(run(LS, "--version")).stdout


@test
def every_error_code_has_an_exception():
    header = open(os.path.join(PACKAGE, "../../include/latentsync/error.h")).read()
    codes = set(re.findall(r"X\((LS_E\w+), -\d+", header)) - {"LS_EOF"}  # inside the library only
    classes = {c.code for c in vars(latentsync).values() if isinstance(c, type) and issubclass(c, latentsync.Error)}
    assert codes <= classes, codes - classes


@test
def a_job_tells_what_it_does_and_gives_what_the_program_gives():
    job = latentsync.sync("video.mp4", "speech.wav", "o.mp4", **QUICK)
    seen = list(job)
    kinds = [type(e) for e in seen]
    assert kinds[0] is latentsync.Start and kinds[-1] is latentsync.Done and latentsync.Message in kinds, kinds
    frames = [e for e in seen if isinstance(e, latentsync.Progress) and e.stage == "frames"]
    assert frames and frames[-1].frames == 32 and frames[-1].devices[0].name == "cpu" and frames[-1].resident_bytes > 1e6, frames
    done = job.result()
    assert done == seen[-1] and (done.output, done.frames, done.seed) == ("o.mp4", 32, 1247), done
    assert job.folder == "o.mp4.lsjob" and not job.running and job.wait(0)
    assert digest("o.mp4") == digest("right.mp4")
    assert list(job) == [], "a job is an iterator: it ends once"


@test
def arguments_are_checked_before_anything_starts():
    def call(**options):
        return lambda: latentsync.sync("video.mp4", "speech.wav", "o.mp4", **{**QUICK, **options})
    fails(TypeError, call(stesp=2), "'stesp'", "did you mean 'steps'")
    fails(TypeError, call(xyzzy=2), "'xyzzy'")
    fails(TypeError, lambda: latentsync.resume("o.mp4.lsjob", steps=3), "resume()", "'steps'")
    fails(TypeError, call(steps="2"), "steps", "whole number", "str")
    fails(TypeError, call(steps=2.5), "steps", "float")
    fails(TypeError, call(quality=2), "quality")
    fails(TypeError, call(models=3), "models", "path")
    for options, *words in (({"steps": 1001}, "steps", "1000"), ({"crf": -1}, "crf", "0 to 63"), ({"offset": float("nan")}, "offset"),
                            ({"quality": "fst"}, "'fast'"), ({"models": ""}, "models"), ({"video_codec": "a\0b"}, "video_codec")):
        e = fails(latentsync.InvalidArgument, call(**options), *words)
        assert isinstance(e, ValueError) and e.code == "LS_EINVAL" and e.option in options, vars(e)
    fails(latentsync.InvalidArgument, call(backend="cloud"), "backend")
    fails(latentsync.InvalidArgument, lambda: latentsync.sync("a\0b", "speech.wav", "o.mp4"), "video")
    show = fake("show", 'for a; do echo "$a"; done; exit 3')
    job = latentsync.sync("v.mp4", "a.wav", "o.mp4", program=show, steps=None, face=1, max_memory="4G", seed=2**62, detect_every="auto",
                          sharpen=0.5, keep_job=False, restart=True, preview=True, offset=-1e-7)
    job.wait()
    line = [next(job).text for _ in range(15)]
    assert line[0] == "sync" and line[-3:] == ["--", "v.mp4", "a.wav"] and set(line[1:-3]) == {
        "--output=o.mp4", "--face=1", "--max-memory=4G", f"--seed={2 ** 62}", "--detect-every=auto", "--sharpen=0.5", "--restart=1",
        "--preview=2", "--offset=-1e-07", "--progress=json", "--watch-stdin"}, line


@test
def errors_have_their_codes():
    def sync(video="video.mp4", out="out.mp4", **options):
        return lambda: latentsync.sync(video, "speech.wav", out, **{**QUICK, **options}).result()
    open("none.jsonl", "w").close()
    open("text.mp4", "w").write("nothing")
    os.makedirs("empty", exist_ok=True)
    for kind, code, status, call, *words in (
            (latentsync.NotFound, "LS_ENOENT", 3, sync("missing.mp4"), "missing.mp4"),
            (latentsync.FormatError, "LS_EFORMAT", 3, sync("text.mp4"), "text.mp4"),
            (latentsync.ModelError, "LS_EMODEL", 4, sync(models="empty"), "empty"),
            (latentsync.NoFace, "LS_ENOFACE", 5, sync(face_track="none.jsonl"), "face"),
            (latentsync.OutOfMemory, "LS_ENOMEM", 6, sync(max_memory="1M"), "max_memory"),
            (latentsync.InvalidArgument, "LS_EINVAL", 2, sync(out="out.xyz"), "out.xyz", "out names another output"),
            (latentsync.InvalidArgument, "LS_EINVAL", 2, sync(keep_sound="loud"), "keep_sound")):
        e = fails(kind, call, *words)
        assert (e.code, e.status, e.job) == (code, status, None), vars(e)
    e = fails(latentsync.OutOfMemory, sync(max_memory="1M"))
    assert isinstance(e, MemoryError) and e.hint and e.option == "max_memory" and e.retry and e.hint in str(e), vars(e)
    fails(latentsync.NotFound, lambda: latentsync.probe("missing.mp4"), "missing.mp4")
    fails(latentsync.NotFound, lambda: latentsync.estimate("missing.mp4", "speech.wav"), "missing.mp4")
    fails(latentsync.NotFound, lambda: latentsync.resume("no.lsjob").result(), "no.lsjob")
    fails(latentsync.Error, lambda: list(latentsync.sync("missing.mp4", "speech.wav", "out.mp4")), "missing.mp4")
    fails(latentsync.InputOutputError, lambda: latentsync.models.pull(mirror="http://127.0.0.1:1", out="m", retries=0).result(), "127.0.0.1")
    assert not [f for f in os.listdir(".") if f.startswith("out.")]


@test
def a_program_that_breaks_is_an_exception():
    for text, kind, *words in (("kill -SEGV $$", latentsync.Crashed, "SIGSEGV"), ("kill -KILL $$", latentsync.Crashed, "SIGKILL", "memory"),
                               ("echo oops >&2; exit 1", latentsync.Crashed, "status 1", "oops"), ("exit 0", latentsync.Crashed, "status 0"),
                               ("echo 'cannot open shared object' >&2; exit 127", latentsync.ProgramNotFound, "shared object"),
                               ("echo '{\"event\":'; echo '[]'; echo text; exit 3", latentsync.Crashed, "status 3"),
                               ("echo 'latentsync: --steps: expected a number' >&2; exit 2", latentsync.InvalidArgument, "steps: expected")):
        fails(kind, lambda: latentsync.sync("v", "a", "o.mp4", program=fake("broken", text)).result(), *words)
    newer = 'echo \'{"event":"start","schema":2,"new":1}\'; echo \'{"event":"news","x":[1]}\'; echo \'{"event":"done","frames":7,"more":{}}\''
    seen = list(latentsync.sync("v", "a", "o.mp4", program=fake("newer", newer)))
    assert seen[1].name == "news" and seen[1].fields["x"] == [1] and seen[2].frames == 7, seen


@test
def a_missing_program_is_named():
    e = fails(latentsync.ProgramNotFound, lambda: latentsync.probe("video.mp4", program="nowhere/ls"), "nowhere/ls", "No such file")
    assert "LATENTSYNC" in e.hint
    kept, path = os.environ.pop("LATENTSYNC"), os.environ["PATH"]
    try:
        os.environ["PATH"] = "/nowhere"
        fails(latentsync.ProgramNotFound, lambda: latentsync.sync("v", "a", "o"), "$LATENTSYNC", "PATH")
        os.environ["PATH"] = "."
        fake("latentsync", "echo by PATH >&2; exit 1")
        fails(latentsync.Crashed, lambda: latentsync.probe("video.mp4"), "by PATH")
    finally:
        os.environ.update(LATENTSYNC=kept, PATH=path)
        os.remove("latentsync")


@test
def what_is_canceled_can_be_resumed():
    options = {**QUICK, "segment_seconds": 0.64, "steps": 4}
    job = latentsync.sync("video.mp4", "some.wav", "o.mp4", **options)
    reach(job)
    job.cancel()
    job.cancel()
    e = fails(latentsync.Canceled, job.result)
    assert (e.code, e.status) == ("LS_ECANCELED", 130) and is_gone(job.pid), vars(e)
    assert e.job == job.folder == "o.mp4.lsjob" and os.path.exists(os.path.join(e.job, "segment-00000.nut"))
    done = latentsync.resume(e).result()
    assert done.frames == 75 and done.frames_generated < 75 and done.output.endswith("/o.mp4"), done
    assert latentsync.sync("video.mp4", "some.wav", "o.2.mp4", **options).result().frames_generated == 75
    assert digest("o.mp4") == digest("o.2.mp4")
    fails(latentsync.NotFound, lambda: latentsync.resume(job).result(), "o.mp4.lsjob")


@test
def a_job_out_of_use_ends():
    def started():
        job = latentsync.sync("video.mp4", "long.wav", "o.mp4", **LONG)
        for e in job:
            if is_under_way(e):
                break
        return job
    with started() as job:
        pid = job.pid
    assert is_gone(pid) and not job.running  # waited for
    job = started()
    pid = job.pid
    del job
    gc.collect()
    until(lambda: is_gone(pid))
    job = started()
    job.kill()
    fails(latentsync.Canceled, job.result)
    assert is_gone(job.pid)


SCRIPT = """
import os, sys, time, latentsync
job = latentsync.sync("video.mp4", "long.wav", "o.mp4", models="models", face_track="track.jsonl", resolution=64, steps=20,
                      segment_seconds=0.64, preset="ultrafast", threads=1)
for e in job:
    if isinstance(e, latentsync.Progress) and e.frame >= 16:
        break
"""


def script(rest):
    p = subprocess.Popen([sys.executable, "-c", SCRIPT + rest], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return p, int(p.stdout.readline())


@test
def ctrl_c_cancels_in_order():
    """In a terminal, where it is for all processes of the foreground."""
    pid, terminal = pty.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-c", SCRIPT + """
try:
    print(job.pid, flush=True)
    job.result()
except KeyboardInterrupt:
    job.close()
    try:
        job.result()
    except latentsync.Canceled as e:
        print("canceled", e.status, e.job, job.running)
"""])
    said = os.read(terminal, 100)
    os.write(terminal, b"\x03")
    try:
        while True:
            said += os.read(terminal, 1000)
    except OSError:  # the other end is closed
        pass
    assert os.waitpid(pid, 0)[1] == 0 and b"canceled 130 o.mp4.lsjob False" in said, said
    assert is_gone(int(said.split()[0]))
    with latentsync.resume("o.mp4.lsjob") as job:
        reach(job)


@test
def a_dead_python_leaves_nothing_running():
    p, pid = script("print(job.pid, flush=True)\ntime.sleep(1000)")
    p.kill()
    p.communicate()
    until(lambda: is_gone(pid))
    # a child of a fork that lives on does not hold the program
    p, pid = script("child = os.fork()\nif not child:\n    os.close(1); os.close(2); time.sleep(1000)\n"
                    "print(job.pid, flush=True); print(child, flush=True)\ntime.sleep(1000)")
    child = int(p.stdout.readline())
    try:
        p.kill()
        until(lambda: is_gone(pid))
        assert not is_gone(child)
    finally:
        os.kill(child, signal.SIGKILL)
        p.communicate()
    p, pid = script("print(job.pid, flush=True)")  # it just ends
    assert p.communicate(timeout=120)[1] == "" and p.returncode == 0
    until(lambda: is_gone(pid))


@test
def a_program_that_does_not_end_is_killed():
    grace, _run.GRACE, _job.GRACE = _run.GRACE, 0.2, 0.2
    try:
        stubborn = fake("stubborn", "trap '' TERM INT; echo '{\"event\":\"start\"}'; exec sleep 1000")
        job = latentsync.sync("v", "a", "o.mp4", program=stubborn)
        reach(job, lambda e: True)
        job.cancel()
        assert not job.wait(0.3), "cancel() only asks"
        fails(TimeoutError, lambda: job.result(0.01))
        job.close()
        assert is_gone(job.pid)
        job = latentsync.sync("v", "a", "o.mp4", program=stubborn)
        pid = job.pid
        del job
        gc.collect()
        until(lambda: is_gone(pid))
        # one that closed its pipes and lives on
        job = latentsync.sync("v", "a", "o.mp4", program=fake("deaf", "exec sleep 1000 >/dev/null 2>&1"))
        job.close()
        assert is_gone(job.pid)
    finally:
        _run.GRACE = _job.GRACE = grace


@test
def floods_are_taken_in():
    big = 40 << 20
    flood = fake("flood", f"head -c {big} /dev/zero >&2; yes '{{\"event\":\"progress\",\"frame\":1}}' | head -n 100000;"
                 "yes '{\"event\":\"message\",\"text\":\"x\"}' | head -n 30000; echo '{\"event\":\"done\",\"frames\":3}'; echo the end >&2")
    job = latentsync.sync("v", "a", "o.mp4", program=flood)
    assert job.result(300).frames == 3, "nobody reads"
    assert job.stderr.endswith("the end\n") and len(job.stderr) <= _run.MAX_STDERR
    left = list(job)
    assert len(left) == _run.MAX_MESSAGES and left[-1].frames == 3, len(left)
    orphan = fake("orphan", "sleep 1000 & echo $!; echo '{\"event\":\"done\",\"frames\":4}'")  # it inherits the pipes
    job = latentsync.sync("v", "a", "o.mp4", program=orphan)
    assert job.result(60).frames == 4
    os.kill(int(next(job).text), signal.SIGKILL)


@test
def odd_names_are_names():
    for i, name in enumerate((b"\xff\n\xfe.mp4", "--help ü '$(x)\".mp4".encode())):
        os.link("video.mp4", name)
        os.link("speech.wav", b"s" + name)
        out = (b"-o." if i else b"o.") + name
        given = out if name.startswith(b"\xff") else os.fsdecode(out)
        job = latentsync.sync(name, os.fsdecode(b"s" + name), given, **QUICK)
        done = job.result()
        assert done.output == given and type(job.folder) is type(given) and os.path.exists(out), done
        assert digest(out) == digest("right.mp4")
        assert latentsync.probe(name).path == name
        for f in (name, b"s" + name, out):
            os.remove(f)
    # what the program would take for something else
    os.link("track.jsonl", "-")
    os.link("video.mp4", "auto")
    os.rename("models", "auto.models")
    os.symlink("auto.models", "models")
    try:
        assert latentsync.sync("auto", "speech.wav", "o.mp4", **{**QUICK, "face_track": "-"}).result().frames == 32
        assert digest("o.mp4") == digest("right.mp4")
    finally:
        os.remove("models")
        os.rename("auto.models", "models")
    # a job whose output has such a name
    out = b"o.\xff.mp4"
    job = latentsync.sync("video.mp4", "long.wav", out, **LONG)
    reach(job)
    job.close()
    e = fails(latentsync.Canceled, job.result)
    assert os.fsencode(e.job) == job.folder == out + b".lsjob", (e.job, job.folder)
    with latentsync.resume(job) as job:
        reach(job)
    bad(run(LS, "sync", "--watch-stdin", "-", "speech.wav", "-o", "out.mp4"), "--watch-stdin", "VIDEO", code=2)


@test
def asyncio_has_the_same():
    async def work():
        job = await aio.sync("video.mp4", "speech.wav", "o.mp4", **QUICK)
        seen = [e async for e in job]
        assert isinstance(seen[0], latentsync.Start) and isinstance(seen[-1], latentsync.Done), seen
        assert await job.result() == seen[-1] and digest("o.mp4") == digest("right.mp4")
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)
        ticking = asyncio.ensure_future(tick())
        jobs = [await aio.sync("video.mp4", "short.wav", f"o.{i}.mp4", **QUICK) for i in range(2)]
        done = await asyncio.gather(*(j.result() for j in jobs))
        ticking.cancel()
        assert [d.frames for d in done] == [8, 8] and ticks > 10, (done, ticks)
        try:
            await aio.probe("missing.mp4")
            raise AssertionError("no error")
        except latentsync.NotFound:
            pass
        assert (await aio.probe("video.mp4")).frames == 25
        # a result that nobody waits for any more
        job = await aio.sync("video.mp4", "long.wav", "o.3.mp4", **LONG)
        async for e in job:
            if is_under_way(e):
                break
        try:
            await asyncio.wait_for(job.result(), 0.01)
            raise AssertionError("no timeout")
        except asyncio.TimeoutError:
            pass
        await job.wait()
        assert is_gone(job.pid) and os.path.exists(job.folder)
        async with await aio.resume(job) as job:
            async for e in job:
                if is_under_way(e):
                    break
        assert is_gone(job.pid)
        try:
            await job.result()
            raise AssertionError("no error")
        except latentsync.Canceled as e:
            assert e.job == "o.3.mp4.lsjob", e.job
        return (await aio.sync("video.mp4", "long.wav", "o.4.mp4", **LONG)).pid
    pid = asyncio.run(work())
    gc.collect()
    until(lambda: is_gone(pid))


@test
def the_other_calls():
    p = latentsync.probe("video.mp4")
    assert (p.width, p.height, p.frames, p.is_video, p.is_speech, p.streams[0].fps) == (320, 240, 25, True, False, (25, 1)), p
    few = {k: v for k, v in QUICK.items() if k != "preset"}
    found = latentsync.estimate("video.mp4", "speech.wav", quality="fast", **few)
    assert list(found) == ["fast"] and found["fast"].frames == 32 and found["fast"].memory_bytes > 1e6, found
    assert latentsync.info()["version"] == latentsync.__version__
    files = latentsync.models.check("models").files
    assert {f.role for f in files} >= {"UNet", "VAE", "Whisper"} and sum(f.parameters for f in files) > 1e5, files
    latentsync.models.random("o.models")
    assert latentsync.models.check("o.models").files[0].tensors == files[0].tensors
    fails(latentsync.Error, lambda: latentsync.models.random("o.models"), "o.models")
    fails(latentsync.NotFound, lambda: latentsync.models.import_("empty", out="o.m").result(), "empty")
    mini = os.path.join(PACKAGE, "../../models/mini")
    faces = latentsync.faces("video.mp4", models=mini)
    assert faces.frames == 25 and isinstance(faces.tracks, tuple), faces
    ffmpeg("-i", "video.mp4", "-i", "speech.wav", "-c", "copy", "o.mkv")
    verdict = latentsync.check("o.mkv", face_track="track.jsonl", models=mini)
    assert verdict.verdict in ("cannot tell", "late", "early", "in sync") and verdict.stretches[0].frames_with_face, verdict


@test
def the_library_gives_the_same_bytes():
    job = latentsync.sync("video.mp4", "speech.wav", "o.mp4", backend="library", **QUICK)
    assert job.pid is None
    seen = list(job)
    progress = [e for e in seen if isinstance(e, latentsync.Progress)]
    at_work = [e for e in progress if e.stage == "frames"][-1]
    assert at_work.frames == 32 and at_work.devices[0].name == "cpu" and at_work.queues and at_work.stages, at_work
    assert not [e for e in seen if isinstance(e, latentsync.Message) and e.level == "debug"]
    done = job.result()
    assert (done.output, done.frames, done.frames_with_face, done.audio, done.seed) == ("o.mp4", 32, 32, "AAC", 1247), done
    assert digest("o.mp4") == digest("right.mp4")
    e = fails(latentsync.NotFound, latentsync.sync("missing.mp4", "speech.wav", "o.mp4", backend="library", **QUICK).result, "missing.mp4")
    assert e.code == "LS_ENOENT"
    e = fails(latentsync.OutOfMemory, latentsync.sync("video.mp4", "speech.wav", "o.mp4", backend="library",
                                                      **{**QUICK, "max_memory": "1M"}).result)
    assert e.option == "max_memory" and e.hint, vars(e)
    job = latentsync.sync("video.mp4", "long.wav", "o.3.mp4", backend="library", **LONG)
    reach(job)
    job.cancel()
    e = fails(latentsync.Canceled, job.result)
    job = latentsync.resume(e, backend="library")
    reach(job)
    del job
    gc.collect()
    until(lambda: not [t for t in threading.enumerate() if t.name == "latentsync"])
    p = subprocess.run([sys.executable, "-c", SCRIPT.replace("threads=1", "threads=1, backend='library'")], capture_output=True, text=True)
    assert (p.returncode, p.stderr) == (0, ""), p  # the end of the interpreter ends the job


def pictures(n, width=161, height=121):
    """Frames without NumPy: a gradient that moves."""
    for i in range(n):
        rows = bytearray()
        for y in range(height):
            rows += bytes(itertools.chain.from_iterable(((x + 4 * i) & 255, 2 * y & 255, (x + y) & 255) for x in range(width)))
        yield memoryview(bytes(rows)).cast("B", (height, width, 3))


FRAMES = {"models": "models", "face_track": "small.jsonl", "resolution": 64, "steps": 2, "threads": 1}


def far(a, b):
    """The largest difference in the first rows, where there is no face."""
    rows = 20 * 161 * 3
    return max(abs(x - y) for x, y in zip(bytes(a)[:rows], bytes(b)[:rows]))


@test
def frames_in_frames_out():
    source = list(pictures(40))
    speech = array.array("h", ((i * 37 % 200 - 100) * 80 for i in range(16000 * 2)))
    told = []
    before = set(os.listdir("."))
    got = latentsync.sync_frames(iter(source), 30, speech, 16000, folder=".", on_event=told.append, **FRAMES)
    made = list(got)
    assert got.fps == 30 and len(made) == 60 and set(os.listdir(".")) == before, (got.fps, len(made))
    assert {type(e) for e in told} >= {latentsync.Start, latentsync.Message, latentsync.Progress}, told
    assert all(memoryview(f).shape == (121, 161, 3) and memoryview(f).format == "B" for f in made)
    for i in (0, 17, 39, 59):  # forwards, then backwards
        turned = i if i < 40 else 79 - i
        assert far(made[i], source[turned]) <= 3 < far(made[i], source[(turned + 5) % 40]), (i, far(made[i], source[turned]))
    assert max(abs(x - y) for x, y in zip(bytes(made[3]), bytes(source[3]))) > 30, "the face is as it was"
    # at 25, with sound of a file, and without NumPy
    kept, sys.modules["numpy"] = sys.modules.get("numpy"), None
    try:
        plain = latentsync.sync_frames(source, 50, "speech.wav", rate="25", **FRAMES)
        made = list(plain)
        assert plain.fps == 25 and len(made) == 32 and type(made[0]) is memoryview and made[0].shape == (121, 161, 3)
        right = subprocess.run(["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "161x121", "-r", "50", "-i", "-",
                                "-r", "25", "-f", "rawvideo", "-"], input=b"".join(map(bytes, source)), capture_output=True).stdout
        assert far(made[8], right[8 * source[0].nbytes:]) <= 3
    finally:
        del sys.modules["numpy"]
        if kept:
            sys.modules["numpy"] = kept


@test
def frames_come_while_others_are_made():
    with latentsync.sync_frames(pictures(16), 25, "long.wav", folder=".", **FRAMES) as frames:
        next(frames)
        folder = [f for f in os.listdir(".") if f.startswith("latentsync-")]
        segments = [f for f in os.listdir(folder[0] + "/job") if f.endswith(".nut") and not f.startswith(".")]
        assert 0 < len(segments) < 2500 / 16 and not os.path.exists(folder[0] + "/out.mkv"), segments
    assert not [f for f in os.listdir(".") if f.startswith("latentsync-")], "close() removes what there was"
    with latentsync.sync_frames(pictures(16), 25, "speech.wav", folder=".", **FRAMES) as frames:
        next(frames)
        folder = [f for f in os.listdir(".") if f.startswith("latentsync-")]
        until(lambda: os.path.exists(folder[0] + "/out.mkv"))
        time.sleep(0.5)  # what is finished stays until it is taken, however late
        assert len(list(frames)) == 31
    frames = latentsync.sync_frames(pictures(16), 25, "long.wav", folder=".", **FRAMES)
    next(frames)
    del frames
    gc.collect()
    assert not [f for f in os.listdir(".") if f.startswith("latentsync-")]


@test
def frames_that_are_wrong():
    def call(frames, fps=25, audio="speech.wav", rate=None, **options):
        return lambda: list(latentsync.sync_frames(frames, fps, audio, rate, folder=".", **{**FRAMES, **options}))
    one = next(pictures(1))
    wide = next(pictures(1, width=162))
    flat = memoryview(bytes(12))
    fails(latentsync.InvalidArgument, call([]), "none")
    fails(latentsync.InvalidArgument, call([flat]), "frame 0", "(12,)")
    fails(latentsync.InvalidArgument, call([one, one, wide]), "frame 2", "162 x 121", "161 x 121")
    fails(TypeError, call([one, "text"]), "frame 1", "str")
    fails(latentsync.InvalidArgument, call([one], fps=0), "fps")
    fails(latentsync.InvalidArgument, call([one], audio=array.array("h", [0] * 9)), "sample_rate")
    fails(latentsync.InvalidArgument, call([one], audio=array.array("B", [0] * 9), rate=8000), "audio", "int16")
    fails(latentsync.NotFound, call([one] * 20, audio="missing.wav"), "missing.wav")
    fails(latentsync.ModelError, call(itertools.repeat(one), models="empty"), "empty")  # it fails while frames are sent
    fails(TypeError, call([one], crf=3), "'crf'")

    def broken():
        yield one
        raise KeyError("mine")
    fails(KeyError, call(broken()), "mine")
    assert not [f for f in os.listdir(".") if f.startswith("latentsync-")]


@test
def pictures_are_read_whatever_their_filters():
    source = b"".join(map(bytes, pictures(2)))
    for kind in ("none", "sub", "up", "avg", "paeth", "mixed"):
        p = subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "161x121", "-i", "-", "-c:v", "png",
                            "-pred", kind, "-f", "nut", "o.nut"], input=source)
        assert p.returncode == 0
        with open("o.nut", "rb") as f:
            made = b""
            picture = _frames.read_png(f)
            while picture:
                made += bytes(_frames._frame(picture[2], picture[0], 121, 161))
                picture = _frames.read_png(f)
        assert made == source, kind


@test
def what_goes_in_is_lossless():
    """Judged by ffmpeg: pictures, their times, and samples."""
    source = list(pictures(5))
    with open("o.mkv", "wb") as f:
        f.write(_frames.matroska_head(161, 121, round(1e9 / 30)))
        for i, p in enumerate(source):
            f.write(_frames.matroska_frame(i, p.nbytes) + bytes(p))
    assert subprocess.run(["ffmpeg", "-v", "error", "-i", "o.mkv", "-f", "rawvideo", "-"], capture_output=True).stdout == b"".join(map(bytes, source))
    info = probe("o.mkv")
    assert (info["codec_name"], info["pix_fmt"], info["r_frame_rate"], info["nb_read_frames"]) == ("rawvideo", "rgb24", "30/1", "5"), info
    for code, name, channels in (("h", "s16le", 1), ("i", "s32le", 2), ("f", "f32le", 2), ("d", "f64le", 1)):
        samples = array.array(code, range(-50, 50))
        with open("o.wav", "wb") as f:
            _frames.write_wav(f, memoryview(bytes(samples)).cast(code, (50, 2)) if channels == 2 else samples, 22050)
        info = probe("o.wav", "a:0")
        assert (info["codec_name"], info["channels"], info["sample_rate"]) == ("pcm_" + name, channels, "22050"), info
        assert subprocess.run(["ffmpeg", "-v", "error", "-i", "o.wav", "-f", name, "-"], capture_output=True).stdout == bytes(samples)


if len(sys.argv) > 4:  # only these
    TESTS[:] = [t for t in TESTS if t.__name__ in sys.argv[4:]]
sys.exit(main(setup))
