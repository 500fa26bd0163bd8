#!/usr/bin/env python3
"""Stands in for the program in test_queue: what it does is what the file that it is given says."""
import json
import os
import signal
import socket
import sys
import time

COMMAND, ARGS = sys.argv[1], sys.argv[2:]
OPTIONS = dict(a[2:].split("=", 1) if "=" in a else (a[2:], "") for a in ARGS if a.startswith("--"))
FILES = [a for a in ARGS if not a.startswith("--")]


def event(name, **members):
    print(json.dumps({"event": name, **members}), flush=True)


def progress(fraction):
    event("progress", stage="frames", frame=1, frames=10, fraction=fraction, seconds=0.5, stages=[{"name": "decode"}],
          secret={"a": 1})


def done(output):
    with open(output, "wb") as f:
        f.write(b"output of " + OPTIONS.get("seed", "none").encode())
    event("done", output=output, frames=10, frames_generated=10, seconds=0.4, audio="AAC")
    sys.exit(0)


def fail(code, message, status):
    event("error", code=code, status=status, message=message, hint=None)
    sys.exit(status)


def count(folder):
    """How often this job was started, this time included."""
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/starts", "a") as f:
        f.write(COMMAND + "\n")
    return len(open(folder + "/starts").readlines())


def wait(folder, name):
    """For the test to let it go on."""
    while not os.path.exists(folder + "/../" + name):
        time.sleep(0.01)


def job(what, folder, output):
    starts = count(folder)
    event("start", schema=1, program="stand-in", command=COMMAND, output=output, job=folder)
    if what == "crash":
        progress(0.25)
        open(folder + "/job.json", "w").write(json.dumps({"video": FILES[0] if COMMAND == "sync" else "", "output": output}))
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "crash once" and starts == 1:
        open(folder + "/job.json", "w").write(json.dumps({"what": what, "output": output}))
        os._exit(9)
    if what == "error":
        fail("LS_ENOFACE", f"no face in {FILES[0]}", 5)
    if what == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        progress(0.5)
        time.sleep(1000)
    if what == "slow":
        def stop(*_):
            fail("LS_ECANCELED", "canceled", 130)
        signal.signal(signal.SIGTERM, stop)
        open(folder + "/job.json", "w").write(json.dumps({"what": what, "output": output}))
        progress(0.5)
        while not os.path.exists(folder + "/../go"):
            time.sleep(0.01)
    if what == "hostile":
        os.write(1, b"x" * 1000000 + b"\n\xff\xfe\0{]\n[[[[[[[[\n{\"event\":5}\n{\"event\":\"progress\",\"fraction\":[1]}\n")
        os.write(1, b'{"event":"message","level":"root","text":"x"}\n{"event":"done"}{"event":"done"}\n')
        for i in range(300):
            event("message", level="info", text=f"{i} " + "\u00e9" * 800)
    if what == "arguments":
        event("message", level="info", text=f"memory {OPTIONS['max-memory']} threads {OPTIONS.get('threads')}")
    if what == "flood":
        while True:
            os.write(1, b"x" * 65536)
    if what == "spy":
        try:
            socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            network = "open"
        except OSError as e:
            network = type(e).__name__
        event("message", level="info", text=f"network {network}")
        event("message", level="info", text=" ".join(sorted(os.environ)))
        event("message", level="warning", text=f"a look at {FILES[0]} from {output}")
    progress(1)
    done(output)


def main():
    if COMMAND in ("sync", "resume"):
        if COMMAND == "resume":
            known = json.load(open(FILES[0] + "/job.json"))
            return job(known.get("what", "crash"), FILES[0], known["output"])
        return job(open(FILES[0]).read(), OPTIONS["job"], OPTIONS["output"])
    if COMMAND == "info":
        return print(json.dumps({"cores": 64, "available_bytes": 1 << 36, "devices": [{"name": "cpu"}]}))
    what = open(FILES[0], errors="replace").read()
    if COMMAND == "probe":
        if what == "no media":
            print(f"latentsync: {FILES[0]}: not a media file\n  try another one", file=sys.stderr)
            sys.exit(3)
        if what == "probe crash":
            os.kill(os.getpid(), signal.SIGBUS)
        return print(json.dumps({"path": FILES[0], "seconds": 100 if what == "long" else 1.5, "width": 640,
                                 "height": 480, "frames": 37, "is_video": what != "sound", "is_speech": True}))
    if COMMAND == "faces":
        if what == "no media":
            fail("LS_EFORMAT", f"{FILES[0]}: not a media file", 3)
        open(OPTIONS["preview"] + "/track-1.png", "wb").write(b"\x89PNG")
        event("progress", stage="faces", fraction=0.5)
        return event("done", frames=37, tracks=[{"track": 1, "first": 0, "last": 36, "frames": 37, "share": 1.0,
                                                 "score": 0.9, "box": [1.0, 2.0, 3.0, 4.0]}])
    for quality in ("fast", "best"):
        print(json.dumps({"quality": quality, "frames": 37, "steps": OPTIONS.get("steps")}))


main()
