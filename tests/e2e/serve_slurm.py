#!/usr/bin/env python3
"""`latentsync serve --executor slurm`: the job of a cluster as the server's process follows it, with stand-ins for Slurm's
commands, and in "full" runs with a real Slurm of one node. Prints TAP.
usage: serve_slurm.py LATENTSYNC"""
import json
import os
import signal
import stat
import subprocess
import sys
import time

from common import DIR, LS, QUICK, digest, ffmpeg, good, main, run, test, track

# Tasks are processes of this machine, and one file each in a folder. "break" has them fail once: it says how.
STAND_IN = '''#!/usr/bin/env python3
import os, signal, subprocess, sys
home = "{home}"
name, args = os.path.basename(sys.argv[0]), sys.argv[1:]
option = lambda key: next((a.split("=", 1)[1] for a in args if a.startswith(key + "=")), None)
with open(home + "/calls", "a") as f:
    f.write(name + " " + " ".join(a for a in args if not a.startswith("/")) + "\\n")


def alive(path):
    try:
        os.kill(int(open(path).read()), 0)
        return True
    except (ValueError, ProcessLookupError):
        return False


def tasks(job):
    return [home + "/" + n for n in os.listdir(home) if n.startswith(f"task-{{job}}-")]


if name == "sbatch":
    job = len([n for n in os.listdir(home) if n.startswith("job-")]) + 100
    open(f"{{home}}/job-{{job}}", "w")
    numbers = []
    for part in (option("--array") or "x").split(","):
        ends = part.split("-")
        numbers += [part] if part == "x" else range(int(ends[0]), int(ends[-1]) + 1)
    for k in numbers:
        broken = f"{{home}}/break-{{k}}"
        command = ["/bin/sh", args[-1]]
        if os.path.exists(broken):
            os.remove(broken)
            command = ["/bin/sh", "-c", "exit 1"]
        p = subprocess.Popen(["/bin/sh", "-c", '"$@"; rm -f "$0"', f"{{home}}/task-{{job}}-{{k}}", *command], start_new_session=True,
                             env=dict(os.environ, SLURM_ARRAY_TASK_ID=str(k)), stdin=subprocess.DEVNULL,
                             stdout=open(option("--output"), "a"), stderr=subprocess.STDOUT)
        open(f"{{home}}/task-{{job}}-{{k}}", "w").write(str(p.pid))
    print(job)
elif name == "squeue":
    if os.path.exists(home + "/deaf"):
        sys.exit("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    running = [t for t in tasks(option("--jobs")) if os.path.exists(t) and alive(t)]
    if not running:
        sys.exit("slurm_load_jobs error: Invalid job id specified")
    print("RUNNING\\n" * len(running), end="")
elif name == "sacct":
    print("NODE_FAIL\\nCOMPLETED")
elif name == "scancel":
    for t in tasks(args[-1]):
        try:
            os.killpg(int(open(t).read()), signal.SIGTERM)
        except (OSError, ValueError):
            pass
'''


def stand_in():
    """A cluster of its own for each test; its folder."""
    home = os.path.join(DIR, f"o.cluster-{time.time()}")
    os.makedirs(home + "/bin")
    for name in ("sbatch", "squeue", "sacct", "scancel"):
        with open(f"{home}/bin/{name}", "w") as f:
            f.write(STAND_IN.format(home=home))
        os.chmod(f.name, stat.S_IRWXU)
    return home


def job(name, *options, sync=False):
    """The folder of a job as the server makes it."""
    folder = os.path.join(DIR, name)
    os.makedirs(folder)
    inner = folder + "/job"
    args = ["--job=" + inner, "--output=" + folder + "/output.mp4", *ARGS, *options]
    spec = {"sync": [LS, "sync", "--progress=json", *args]} if sync else {
        "plan": [LS, "plan", "--progress=json", *args],
        "render": [LS, "render", "--progress=json", inner],
        "join": [LS, "join", "--progress=json", inner]}
    json.dump(spec, open(folder + "/slurm.json", "w"))
    return folder


def follow(home, folder):
    return subprocess.Popen([LS, "slurm-job", folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=dict(os.environ, PATH=home + "/bin:" + os.environ["PATH"]))


def events(process):
    out, err = process.communicate(timeout=300)
    assert not err, err
    return [json.loads(line) for line in out.splitlines()]


def calls(home, name):
    return [line for line in open(home + "/calls").read().splitlines() if line.startswith(name)]


def setup():
    global ARGS
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=2.0", "-c:v", "libx264", "-preset", "ultrafast",
           "-pix_fmt", "yuv420p", "video.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=44100:d=2.0", "it's speech.wav")
    track("track.jsonl", 50)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))
    ARGS = [*QUICK, "--segment-seconds=0.6", "-m", DIR + "/models", "-t", DIR + "/track.jsonl", DIR + "/video.mp4",
            DIR + "/it's speech.wav"]
    good(run(LS, "sync", *ARGS, "-o", "whole.mp4"))


@test
def three_stages_make_the_same_bytes():
    home, folder = stand_in(), job("o.job")
    said = events(follow(home, folder))
    assert said[-1]["event"] == "done" and said[-1]["frames"] == 50, said[-1]
    assert any(e["event"] == "progress" and e["stage"] == "frames" for e in said), said
    assert digest(folder + "/output.mp4") == digest("whole.mp4")
    arrays = [c for c in calls(home, "sbatch") if "--array" in c]
    assert len(calls(home, "sbatch")) == 3 and len(arrays) == 1 and "--array=0-3" in arrays[0], calls(home, "sbatch")


@test
def lost_tasks_are_submitted_again():
    home, folder = stand_in(), job("o.job")
    for k in ("1", "3"):
        open(f"{home}/break-{k}", "w")
    said = events(follow(home, folder))
    assert said[-1]["event"] == "done", said[-1]
    assert "--array=1,3" in calls(home, "sbatch")[2], calls(home, "sbatch")
    assert any("NODE_FAIL" in e.get("text", "") for e in said), said
    assert digest(folder + "/output.mp4") == digest("whole.mp4")


@test
def an_error_of_a_task_is_that_of_the_job():
    home, folder = stand_in(), job("o.job", "--face=9")
    process = follow(home, folder)
    said = events(process)
    assert said[-1]["event"] == "error" and said[-1]["code"] == "LS_ENOFACE" and process.returncode == 5, said[-1]
    assert len(calls(home, "sbatch")) == 1


@test
def cancelling_reaches_the_cluster():
    home, folder = stand_in(), job("o.job")
    open(home + "/deaf", "w")  # so that it waits for ever
    process = follow(home, folder)
    while not os.path.exists(home + "/calls") or not calls(home, "squeue"):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = events(process)
    assert said[-1]["code"] == "LS_ECANCELED" and process.returncode == 130, said
    assert any("Unable to contact" in e.get("text", "") for e in said), said
    assert calls(home, "scancel") == ["scancel 100"], calls(home, "scancel")
    os.remove(home + "/deaf")
    assert events(follow(home, folder))[-1]["event"] == "done"
    assert digest(folder + "/output.mp4") == digest("whole.mp4")


@test
def a_killed_follower_is_followed_by_another():
    home, folder = stand_in(), job("o.job")
    process = follow(home, folder)
    while not os.path.exists(home + "/calls") or len(calls(home, "sbatch")) < 2:
        time.sleep(0.05)
    time.sleep(0.5)  # until it knows the answer
    process.kill()
    process.wait()
    assert events(follow(home, folder))[-1]["event"] == "done"
    assert digest(folder + "/output.mp4") == digest("whole.mp4")
    assert len(calls(home, "sbatch")) == 3, calls(home, "sbatch")


@test
def the_server_wants_slurm_to_be_here():
    r = run(LS, "serve", "--listen", "127.0.0.1:0", "--data", DIR + "/o.data", "--executor", "slurm", env=dict(os.environ, PATH="/nowhere"))
    assert r.returncode == 3 and "sbatch" in r.stderr, r.stderr


sys.exit(main(setup))
