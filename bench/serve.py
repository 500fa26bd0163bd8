#!/usr/bin/env python3
"""What `latentsync serve` costs: start-up, memory at rest, how soon a job has made its first step, requests a second beside nginx, and
what 200 requests a second for its state take from a running job.
usage: serve.py LATENTSYNC PUPPET [SECONDS [RUNS]]: of each load (5), and of the job with and without requests in turns (5)."""
import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

SECONDS, RUNS = (int(a) for a in (*sys.argv[3:5], "5", "5")[:2])
PUPPET = os.path.abspath(sys.argv[2])
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/e2e"))
from common import DIR, LS, good, run  # noqa: E402
from server import Server  # noqa: E402

RATE = 200
LONG = ("Good morning everybody, and welcome to the show. A quick brown fox jumps over the lazy dog. Father made a wooden table from the "
        "apple tree, and the five fat fish that Bob had bought were put on it for all of us.")


def memory(pid):
    status = open(f"/proc/{pid}/status").read()
    rollup = open(f"/proc/{pid}/smaps_rollup").read()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1000, int(re.search(r"^Private_Dirty:\s+(\d+)", rollup, re.M)[1]) / 1000


def processor(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_up():
    took = []
    for i in range(10):
        s = Server(data=f"start{i % 2}", start=False)
        begun = time.monotonic()
        s.start()
        took.append(time.monotonic() - begun)
        if i == 9:
            s.want(200, "GET", "/v1/jobs")
            time.sleep(1)
            rss, own = memory(s.process.pid)
            print(f"memory at rest: {rss:.1f} MB resident, of which {own:.1f} MB its own")
        s.stop()
    print(f"start-up: median {statistics.median(took) * 1000:.0f} ms, of 10 runs from {min(took) * 1000:.0f} to {max(took) * 1000:.0f}")


def first_step(s, job):
    """From the start of its process to its first denoising step, as its events come."""
    c = http.client.HTTPConnection("127.0.0.1", s.port)
    c.request("GET", f"/v1/jobs/{job}/events")
    name = begun = None
    for line in c.getresponse():
        key, _, value = line.decode().strip().partition(": ")
        name = value if key == "event" else name
        data = json.loads(value) if key == "data" else {}
        if name == "state" and data.get("state") == "running":
            begun = time.monotonic()
        elif name == "progress" and (data.get("step") or data.get("frame")) and begun:
            c.close()
            return time.monotonic() - begun
    raise RuntimeError("the job has ended without a step")


def begin_of_jobs():
    good(run(PUPPET, "--seed", 5, "--size", 320, "--voice", "en-us", "--text", LONG, "talk"))
    took = []
    with Server("--workers", 1, data="first") as s:
        video, speech = s.upload("talk/face.mp4"), s.upload("talk/speech.wav")
        for _ in range(RUNS + 1):
            job = s.job(video, speech)
            took.append(first_step(s, job))
            s.want(204, "DELETE", f"/v1/jobs/{job}")
    print(f"first step of a job: {took[0]:.2f} s; of {RUNS} later ones of the same model: median {statistics.median(took[1:]):.2f} s, "
          f"from {min(took[1:]):.2f} to {max(took[1:]):.2f}")


def wrk(url):
    said = good(run("wrk", "-t1", "-c32", f"-d{SECONDS}", "--latency", url)).stdout
    errors = re.search(r"Non-2xx.*|Socket errors.*", said)
    rate, slowest = re.search(r"Requests/sec:\s+([\d.]+)", said)[1], re.search(r"99%\s+(\S+)", said)[1]
    return f"{float(rate):9.0f} requests/s, 99 % within {slowest}" + (f", {errors[0]}" if errors else "")


def beside_nginx():
    if not (shutil.which("wrk") and shutil.which("nginx")):
        print("without wrk and nginx there is no comparison: apt-get install wrk nginx-light")
        return
    with socket.socket() as c:
        c.bind(("127.0.0.1", 0))
        port = c.getsockname()[1]
    os.makedirs("nginx/root")
    with Server(data="wrk") as s:
        for name, path in (("health", "/health"), ("page", "/")):
            open("nginx/root/" + name, "wb").write(s.want(200, "GET", path).body)
        os.chmod(DIR, 0o755)
        paths = "".join(f"{p}_temp_path {DIR}/nginx/tmp;" for p in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        open("nginx/conf", "w").write(f"daemon off; worker_processes 1; pid {DIR}/nginx/pid; events {{}} http {{ access_log off; sendfile on; {paths} "
                                      f"keepalive_requests 1000000; server {{ listen 127.0.0.1:{port}; root {DIR}/nginx/root; }} }}")
        p = subprocess.Popen(["nginx", "-c", f"{DIR}/nginx/conf", "-e", f"{DIR}/nginx/log"])
        try:
            time.sleep(1)
            u = s.announce(10)
            print(f"wrk, one thread, 32 connections, {SECONDS} s each:")
            for what, url in (("nginx, the page as a file", f"http://127.0.0.1:{port}/page"), ("the page", f"http://127.0.0.1:{s.port}/"),
                              ("nginx, 15 bytes as a file", f"http://127.0.0.1:{port}/health"), ("/health", f"http://127.0.0.1:{s.port}/health"),
                              ("an upload", f"http://127.0.0.1:{s.port}/v1/uploads/{u}"), ("/v1/jobs", f"http://127.0.0.1:{s.port}/v1/jobs")):
                print(f"  {what:28} {wrk(url)}")
        finally:
            p.terminate()
            p.wait()


class Asking(threading.Thread):
    """RATE requests a second for the state of a job, on one connection."""
    def __init__(self, s, job):
        super().__init__()
        self.request = f"GET /v1/jobs/{job} HTTP/1.1\r\nHost: localhost:{s.port}\r\n\r\n".encode()
        self.connection, self.count, self.ends = s.connect(), 0, False

    def run(self):
        due = time.monotonic()
        while not self.ends:
            self.connection.sendall(self.request)
            got = self.connection.recv(65536)
            head, _, body = got.partition(b"\r\n\r\n")
            left = int(re.search(rb"Content-Length: (\d+)", head)[1]) - len(body)
            while left > 0:
                left -= len(self.connection.recv(left))
            self.count += 1
            due += 1 / RATE
            time.sleep(max(0, due - time.monotonic()))


def beside_a_job():
    took = {False: [], True: []}
    with Server("--workers", 1, data="busy") as s:
        video, speech = s.upload("talk/face.mp4"), s.upload("talk/speech.wav")
        asked, spent = 0, 0
        for i in range(2 * RUNS + 1):
            asks = i % 2 == 1
            job = s.job(video, speech)
            asking = Asking(s, job) if asks else None
            before = processor(s.process.pid)
            if asking:
                asking.start()
            while s.want(200, "GET", f"/v1/jobs/{job}", checked=False).json()["state"] != "done":
                time.sleep(0.25)
            if asking:
                asking.ends = True
                asking.join()
                asked, spent = asked + asking.count, spent + processor(s.process.pid) - before
            j = s.want(200, "GET", f"/v1/jobs/{job}").json()
            if i:  # the first one fills the caches
                took[asks].append(j["result"]["elapsed_seconds"])
            s.want(204, "DELETE", f"/v1/jobs/{job}")
    quiet, busy = (statistics.median(took[k]) for k in (False, True))
    print(f"a job of {j['result']['seconds']:.1f} s: {quiet:.2f} s alone, {busy:.2f} s with {RATE} requests a second, {100 * (busy / quiet - 1):+.1f} %, "
          f"medians of {RUNS}; the server itself took {1e3 * spent / asked:.2f} ms of a processor for each of {asked} requests")


os.environ.update(HOME=DIR, XDG_DATA_HOME="")
start_up()
begin_of_jobs()
beside_nginx()
beside_a_job()
shutil.rmtree(DIR, ignore_errors=True)
