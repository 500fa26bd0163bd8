#!/usr/bin/env python3
"""The pieces of a job on a real Slurm of one node, started and ended here, as the README has it. Prints TAP.
usage: slurm.py LATENTSYNC"""
import json
import os
import shutil
import socket
import subprocess
import sys
import time

from common import DIR, LS, QUICK, digest, ffmpeg, good, main, run, test, track

CONF = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ctld}
SlurmdPort={d}
AuthType=auth/munge
AuthInfo=socket={dir}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool
SlurmctldPidFile={dir}/slurmctld.pid
SlurmdPidFile={dir}/slurmd.pid
SlurmctldLogFile={dir}/slurmctld.log
SlurmdLogFile={dir}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
SchedulerParameters=sched_interval=2,bf_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
daemons = []


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def launch(*args):
    daemons.append(subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


def can_start():
    names = ("munged", "slurmctld", "slurmd", "sbatch", "sinfo")
    return os.geteuid() == 0 and all(shutil.which(n, path=os.environ["PATH"] + ":/usr/sbin") for n in names)


def start_slurm():
    """A cluster of this machine."""
    os.chmod(DIR, 0o755)
    for name in ("state", "spool"):
        os.mkdir(name)
    host = socket.gethostname().split(".")[0]
    open("slurm.conf", "w").write(CONF.format(dir=DIR, host=host, ctld=free_port(), d=free_port()))
    os.environ["SLURM_CONF"] = DIR + "/slurm.conf"
    with open("munge.key", "wb") as f:
        f.write(os.urandom(128))
    os.chmod("munge.key", 0o400)
    launch("/usr/sbin/munged", "-F", "-f", "--key-file", DIR + "/munge.key", "-S", DIR + "/munge.socket",
           "--pid-file", DIR + "/munge.pid", "--log-file", DIR + "/munge.log", "--seed-file", DIR + "/munge.seed")
    time.sleep(1)
    launch("/usr/sbin/slurmctld", "-D")
    time.sleep(2)
    launch("/usr/sbin/slurmd", "-D", "-N", host)
    for _ in range(30):
        if "idle" in run("sinfo", "-h", "-o", "%t").stdout:
            return
        time.sleep(1)
    raise RuntimeError("Slurm does not answer: " + open("slurmctld.log").read()[-2000:])


def setup():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=3.0", "-c:v", "libx264", "-preset", "ultrafast",
           "-pix_fmt", "yuv420p", "video.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=44100:d=4.0", "speech.wav")
    track("track.jsonl", 75)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))


def followed_by_the_server(args):
    """What `serve --executor slurm` starts for a job."""
    folder = DIR + "/o.job"
    os.mkdir(folder)
    inner, json_lines = folder + "/job", "--progress=json"
    json.dump({"plan": [LS, "plan", json_lines, "--job", inner, "-o", folder + "/output.mp4", *args],
               "render": [LS, "render", json_lines, "--threads", "1", inner],
               "join": [LS, "join", json_lines, inner]}, open(folder + "/slurm.json", "w"))
    out = good(run(LS, "slurm-job", folder)).stdout
    assert json.loads(out.splitlines()[-1])["event"] == "done", out
    assert digest(folder + "/output.mp4") == digest("whole.mp4")


@test
def an_array_of_segments():
    if not can_start():
        return "no Slurm here, or not root"
    try:
        start_slurm()
        args = ["-m", "models", "-t", "track.jsonl", "video.mp4", "speech.wav", *QUICK, "--segment-seconds", "0.6"]
        good(run(LS, "sync", *args, "-o", "whole.mp4"))
        segments = int(good(run(LS, "plan", *args, "-o", "o.mp4")).stdout)
        assert segments == 7, segments
        good(run("sbatch", f"--array=0-{segments - 1}", "--wait", f"--chdir={DIR}", f"--output={DIR}/task-%a.log",
                 "--export=ALL,OMP_WAIT_POLICY=passive", "--wrap",
                 f"{LS} render {DIR}/o.mp4.lsjob --segment $SLURM_ARRAY_TASK_ID --threads 1"))
        r = run(LS, "join", "o.mp4.lsjob")
        logs = [open(f).read() for f in sorted(os.listdir(".")) if f.startswith("task-")]
        assert r.returncode == 0, r.stderr + "".join(logs)
        assert len(logs) == segments
        assert digest("o.mp4") == digest("whole.mp4")
        followed_by_the_server(args)
    finally:
        for d in reversed(daemons):
            d.terminate()
        for d in daemons:
            d.wait()


sys.exit(main(setup))
