#!/usr/bin/env python3
"""Jobs of `latentsync serve`: made from JSON and forms, watched, cancelled, resumed, deleted; servers and workers that are killed; a full
disk. What comes out has the bytes that `latentsync sync` makes. Prints TAP.
usage: serve_jobs.py LATENTSYNC PUPPET FAULTS"""
import http.client
import json
import os
import random
import re
import signal
import sqlite3
import sys
import threading
import time

PUPPET, FAULTS = (os.path.abspath(a) for a in sys.argv[2:4])
NVML = os.environ.get("LS_FAKE_NVML")
from common import LS, good, main, preload, probe, run, test, until  # noqa: E402
from server import MODELS, OPTIONS, Server, form, left, speaker, sync, valid  # noqa: E402

S = None
VIDEO = SPEECH = LONG = LONG_SPEECH = None
SEED = random.randrange(1 << 30)
DRAW = random.Random(SEED)


def setup():
    global S, VIDEO, SPEECH, LONG, LONG_SPEECH
    speaker(PUPPET, "face")
    speaker(PUPPET, "long", "Mama bought a papaya for Bob, and five fat fish. Father made a wooden table from the apple tree, and sold it.")
    sync("face", "whole.mp4")
    sync("long", "long.mp4")
    S = Server("--workers", 1, "--max-queue", 4)
    VIDEO, SPEECH, LONG, LONG_SPEECH = [S.upload(f) for f in ("face/face.mp4", "face/speech.wav", "long/face.mp4", "long/speech.wav")]


def with_no_jobs(f):
    def run_alone():
        for j in S.want(200, "GET", "/v1/jobs?limit=100").json()["jobs"]:
            S.want(204, "DELETE", f"/v1/jobs/{j['id']}")
        return f()
    run_alone.__name__ = f.__name__
    return test(run_alone)


def output(s, job, inline=""):
    return s.want(200, "GET", f"/v1/jobs/{job}/output{inline}").body


def is_whole(s, job, path="whole.mp4"):
    assert output(s, job) == open(path, "rb").read(), f"{path} differs; seed {SEED}"


def events(s, job, headers=(), after=None):
    """The events of a job to the end, each (id, event, data)."""
    c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=120)
    c.request("GET", f"/v1/jobs/{job}/events" + (f"?after={after}" if after is not None else ""), headers=dict(headers))
    r = c.getresponse()
    assert r.status == 200 and r.headers["Content-Type"].startswith("text/event-stream") and r.headers["Cache-Control"] in ("no-cache", "no-store"), r.headers
    all_, event = [], {}
    for line in r:
        line = line.decode().rstrip("\n")
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            assert name in ("id", "event", "data", "retry"), line
            event[name] = value
        elif "data" in event:
            all_.append((int(event["id"]), event["event"], json.loads(event["data"])))
            event = {}
    c.close()
    return all_


SCHEMA = {"progress": "Progress", "message": "Message", "error": "JobError", "done": "Result"}


@with_no_jobs
def a_job_and_its_bytes():
    job = S.job(VIDEO, SPEECH, name="talk", options={"seed": "1247"})
    j = S.want(200, "GET", f"/v1/jobs/{job}").json()
    assert j["state"] in ("queued", "running") and j["name"] == "talk" and j["video"] == {"id": VIDEO, "name": "face.mp4"}
    all_ = events(S, job)
    j = S.wait(job)
    is_whole(S, job)
    assert j["result"]["frames"] > 20 and j["result"]["bytes"] == os.path.getsize("whole.mp4") and j["created"] <= j["started"] <= j["finished"], j
    assert not re.search(r'": "/(?!v1/jobs/)', json.dumps(j)) and os.getcwd() not in json.dumps(j), j
    kept = [e for e in all_ if e[1] != "progress"]  # of progress only the newest is
    ids = [e[0] for e in all_]
    assert ids == sorted(set(ids)) and {"state", "progress", "done"} <= {e[1] for e in all_} and all_[-1][2] in ({"state": "done"}, j["result"]), all_
    for _, name, data in all_:
        if name in SCHEMA:
            valid(data, {"$ref": f"#/components/schemas/{SCHEMA[name]}"})
        else:
            assert name == "state" and data["state"] in ("queued", "running", "done"), (name, data)
    middle = kept[len(kept) // 2][0]
    for got in (events(S, job, {"Last-Event-ID": str(middle)}), events(S, job, after=middle)):
        assert [e for e in got if e[1] != "progress"] == [e for e in kept if e[0] > middle], (got, kept)
    assert events(S, job, after=ids[-1]) == []
    picture = S.want(200, "GET", f"/v1/jobs/{job}/preview.jpg")
    assert picture.body[:2] == b"\xff\xd8" and "no-cache" in picture.headers["Cache-Control"]
    S.want(304, "GET", f"/v1/jobs/{job}/preview.jpg", headers={"If-None-Match": picture.headers["ETag"]})
    S.want(409, "POST", f"/v1/jobs/{job}/resume")
    S.want(204, "DELETE", f"/v1/jobs/{job}")
    for path in ("", "/events", "/output", "/preview.jpg", "/stream.m3u8"):
        S.want(404, "GET", f"/v1/jobs/{job}{path}")


@with_no_jobs
def a_form_in_one_request():
    video, speech = open("face/face.mp4", "rb").read(), open("face/speech.wav", "rb").read()
    body, headers = form(video=("../a b.mp4", video), audio=("speech.wav", speech), name="from a form", priority="3", options=json.dumps(OPTIONS))
    a = S.want(202, "POST", "/v1/jobs", body, headers).json()
    assert a["priority"] == 3 and a["name"] == "from a form" and a["video"]["name"].endswith("b.mp4"), a
    body, headers = form(**{k: v for k, v in OPTIONS.items()}, audio=("speech.wav", speech), video=("face.mp4", video))
    b = S.want(202, "POST", "/v1/jobs", body, headers).json()
    for job in (a, b):
        S.wait(job["id"])
        is_whole(S, job["id"])
        S.want(204, "DELETE", f"/v1/jobs/{job['id']}")
    boundary = headers["Content-Type"].split("=")[1]
    for wrong in (form(video=("v", video))[0], form(video="text", audio=("a", speech))[0], form(video=("v", video), audio=("a", speech), steps="x")[0],
                  form(video=("v", video), audio=("a", speech), options="{")[0], form(video=("v", b""), audio=("a", speech))[0], b"", b"--" + boundary.encode(),
                  body[:-40], b"\r\n" * 100):
        kind = {"Content-Type": "multipart/form-data; boundary=" + (re.match(rb"--([0-9a-f]+)\r\n", wrong) or [0, boundary.encode()])[1].decode()}
        a = S.ask("POST", "/v1/jobs", wrong, kind)
        assert a.status in (400, 422), (wrong[:100], a.status, a.body)
    for kind in ("multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=x"):
        assert S.ask("POST", "/v1/jobs", body, {"Content-Type": kind}).status in (400, 415), kind
    assert len([f for f in left(S.data) if f.startswith("uploads/")]) <= 4 + 4, left(S.data)


@with_no_jobs
def a_key_makes_one_job():
    request = {"video": VIDEO, "audio": SPEECH, "options": OPTIONS}
    key = {"Idempotency-Key": "k-1 ~"}
    first = S.want(202, "POST", "/v1/jobs", request, key)
    again = S.want(202, "POST", "/v1/jobs", request, key)
    assert first.json()["id"] == again.json()["id"] and again.headers["Idempotency-Replayed"] == "true" and first.headers["Idempotency-Replayed"] is None
    same = json.dumps({"options": OPTIONS, "audio": SPEECH, "video": VIDEO}, indent=3)
    assert S.want(202, "POST", "/v1/jobs", same, {**key, "Content-Type": "application/json"}).json()["id"] == first.json()["id"]
    S.want(422, "POST", "/v1/jobs", {**request, "name": "other"}, key)
    for wrong in ("", "x" * 256, "\x7f", "é"):
        a = S.raw(f"POST /v1/jobs HTTP/1.1\r\nHost: localhost:{S.port}\r\nContent-Type: application/json\r\nIdempotency-Key: {wrong}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        assert a[0] in (400, 422), (wrong, a)
    ids = []
    threads = [threading.Thread(target=lambda: ids.append(S.ask("POST", "/v1/jobs", request, {"Idempotency-Key": "k-2"}).json()["id"])) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(ids) == 8 and len(set(ids)) == 1, ids
    S.stop()
    S.start()
    assert S.want(202, "POST", "/v1/jobs", request, {"Idempotency-Key": "k-2"}).json()["id"] == ids[0]
    for job in (first.json()["id"], ids[0]):
        S.wait(job)
        S.want(204, "DELETE", f"/v1/jobs/{job}")


@with_no_jobs
def order_limits_and_pages():
    busy = S.job(LONG, LONG_SPEECH, name="busy", options={"steps": 40})
    S.wait(busy, "running")
    waiting = [S.job(VIDEO, SPEECH, name=f"n{i}", priority=p) for i, p in enumerate((0, 5, -5, 5))]
    a = S.ask("POST", "/v1/jobs", {"video": VIDEO, "audio": SPEECH, "options": OPTIONS})
    assert a.status == 429 and a.code() == "busy" and int(a.headers["Retry-After"]) > 0, a.body
    positions = [S.want(200, "GET", f"/v1/jobs/{j}").json()["position"] for j in waiting]
    assert positions == [3, 1, 4, 2], positions
    S.want(409, "DELETE", f"/v1/uploads/{VIDEO}")
    ids, path, pages = [], "/v1/jobs?limit=2", 0
    while path:
        page = S.want(200, "GET", path).json()
        assert len(page["jobs"]) <= 2
        ids += [j["id"] for j in page["jobs"]]
        path, pages = page["next"] and f"/v1/jobs?limit=2&after={page['next']}", pages + 1
    assert ids == [*waiting[::-1], busy] and pages in (3, 4), (ids, waiting, busy)
    assert [j["id"] for j in S.want(200, "GET", "/v1/jobs?state=running").json()["jobs"]] == [busy]
    assert [j["id"] for j in S.want(200, "GET", "/v1/jobs?state=queued&limit=200").json()["jobs"]] == waiting[::-1]
    for query in ("limit=0", "limit=-1", "limit=x", "limit=99999999999999999999", "state=asleep", "after=x", "after=%00", "after=" + "0" * 32):
        a = S.ask("GET", "/v1/jobs?" + query)
        assert a.status in (400, 422) or a.status == 200 and a.json()["jobs"] == [] and "after" in query, (query, a.status, a.body)
    S.want(202, "POST", f"/v1/jobs/{waiting[2]}/cancel")
    assert S.wait(waiting[2], "canceled")["started"] is None
    S.want(202, "POST", f"/v1/jobs/{busy}/cancel")
    j = S.wait(busy, "canceled")
    assert events(S, busy)[-1][2].get("state", "canceled") == "canceled"
    done = [S.wait(waiting[i]) for i in (0, 1, 3)]
    assert done[1]["started"] <= done[2]["started"] <= done[0]["started"], [d["started"] for d in done]
    for job in [busy, *waiting]:
        S.want(204, "DELETE", f"/v1/jobs/{job}")
    assert S.want(200, "GET", "/v1/jobs").json() == {"jobs": [], "next": None}


@with_no_jobs
def cancelled_and_resumed():
    while True:  # until it is caught before its end
        job = S.job(LONG, LONG_SPEECH)
        while not ((j := S.want(200, "GET", f"/v1/jobs/{job}").json())["progress"] or {}).get("frame") and j["state"] in ("queued", "running"):
            time.sleep(0.02)
        asked = S.ask("POST", f"/v1/jobs/{job}/cancel")
        j = S.wait(job, "canceled", "done")
        assert asked.status == 202 or (asked.status, j["state"]) == (409, "done"), (asked.status, asked.body, j)
        if j["state"] == "canceled":
            break
        S.want(204, "DELETE", f"/v1/jobs/{job}")
    S.want(409, "GET", f"/v1/jobs/{job}/output")
    assert events(S, job)[-1][2] == {"state": "canceled"}, events(S, job)[-3:]
    S.want(202, "POST", f"/v1/jobs/{job}/resume")
    S.wait(job)
    is_whole(S, job, "long.mp4")
    S.want(409, "POST", f"/v1/jobs/{job}/cancel")
    # a running job is deleted with all of it
    other = S.job(LONG, LONG_SPEECH)
    S.wait(other, "running")
    S.want(204, "DELETE", f"/v1/jobs/{other}")
    until(lambda: not [f for f in left(S.data) if other in f] + workers(S, other))
    S.want(204, "DELETE", f"/v1/jobs/{job}")


def workers(s, job=""):
    """Processes that a server has started."""
    found = []
    for p in os.listdir("/proc"):
        if p.isdigit():
            try:
                command = open(f"/proc/{p}/cmdline", "rb").read()
                state = open(f"/proc/{p}/stat", "rb").read().rpartition(b") ")[2][:1]
                if os.path.join(s.data, "jobs", job).encode() in command and b"serve" not in command.split(b"\0") and state != b"Z":
                    found.append(int(p))
            except OSError:
                pass
    return found


@with_no_jobs
def a_worker_is_killed():
    job = S.job(LONG, LONG_SPEECH)
    S.wait(job, "running")
    time.sleep(DRAW.random() / 2)
    for p in workers(S, job):
        names = [open(f"/proc/{p}/{f}").read() for f in ("cmdline", "comm")]
        assert names[0].startswith("latentsync\0") and names[1].strip() == os.path.basename(LS)[:15], names
        os.kill(p, signal.SIGKILL)
    j = S.wait(job, "failed", "done")
    if j["state"] == "failed":
        assert j["error"]["message"] and S.want(200, "GET", "/health")
        S.want(202, "POST", f"/v1/jobs/{job}/resume")
        S.wait(job)
    is_whole(S, job, "long.mp4")
    S.want(204, "DELETE", f"/v1/jobs/{job}")


@with_no_jobs
def the_server_is_killed():
    jobs = [S.job(LONG, LONG_SPEECH), S.job(VIDEO, SPEECH)]
    last = [0, 0]
    for _ in range(3):
        time.sleep(DRAW.random())
        before = [S.want(200, "GET", f"/v1/jobs/{j}").json()["state"] for j in jobs]
        S.stop(signal.SIGKILL)
        until(lambda: not workers(S))  # they do not outlive their server
        S.start()
        after = [S.want(200, "GET", f"/v1/jobs/{j}").json()["state"] for j in jobs]
        assert all(b != "done" or a == "done" for a, b in zip(after, before)) and "failed" not in after, (before, after)
    S.wait(jobs[0])
    S.wait(jobs[1])
    is_whole(S, jobs[0], "long.mp4")
    is_whole(S, jobs[1])
    for j in jobs:
        ids = [e[0] for e in events(S, j)]
        assert ids == sorted(set(ids)) and ids
        S.want(204, "DELETE", f"/v1/jobs/{j}")


@with_no_jobs
def a_preview_and_an_estimate():
    j = S.wait(S.job(LONG, LONG_SPEECH, preview=0.64))
    assert j["preview"] == 0.64 and j["result"]["frames"] == 16, j
    good(run(LS, "sync", "-m", MODELS, "--resolution", 64, "--steps", 2, "--preset", "ultrafast", "--preview=0.64",
             "long/face.mp4", "long/speech.wav", "-o", "o.mp4"))
    is_whole(S, j["id"], "o.preview.mp4")
    S.want(204, "DELETE", f"/v1/jobs/{j['id']}")
    e = S.want(200, "POST", "/v1/estimate", {"video": VIDEO, "audio": SPEECH, "options": OPTIONS}, timeout=280).json()["estimates"]
    assert len(e) == 4 and all(x["frames"] > 20 and x["memory_bytes"] > 1e6 for x in e), e
    assert len(S.want(200, "POST", "/v1/estimate", {"video": VIDEO, "audio": SPEECH, "options": {**OPTIONS, "quality": "fast"}},
                      timeout=280).json()["estimates"]) == 1
    for request, status in (({"video": VIDEO}, (400, 422)), ({"video": "0" * 32, "audio": SPEECH}, (404, 422)), ({"video": SPEECH, "audio": SPEECH}, (422,)),
                            ({"video": VIDEO, "audio": SPEECH, "options": {"steps": 1001}}, (400, 422))):
        a = S.ask("POST", "/v1/estimate", request)
        assert a.status in status, (request, a.status, a.body)


@with_no_jobs
def an_estimate_is_of_what_a_job_gets():
    """Its share of the machine; on a cluster, where jobs take nothing here, all that the server may use."""
    os.makedirs("o.bin")
    for name in ("sbatch", "squeue", "scancel"):
        with open("o.bin/" + name, "w") as f:
            os.chmod(f.name, 0o700)
    path = {"PATH": os.path.abspath("o.bin") + ":" + os.environ["PATH"]}
    request = {"video": VIDEO, "audio": SPEECH, "options": {**OPTIONS, "quality": "fast"}}
    for args, shares in ((["--workers", 2], 2), (["--workers", 4, "--executor", "slurm"], 1)):
        with Server("--max-memory", 2 << 30, *args, data=f"o.data{shares}", env=path) as s:
            request["video"], request["audio"] = s.upload("face/face.mp4"), s.upload("face/speech.wav")
            e, = s.want(200, "POST", "/v1/estimate", request, timeout=280).json()["estimates"]
            assert e["max_memory_bytes"] == ((2 << 30) - (64 << 20)) // shares, e
            open("o.text", "w").write("no sound at all\n")
            s.want(422, "POST", "/v1/estimate", {**request, "features_from": s.upload("o.text")}, timeout=280)


@with_no_jobs
def inputs_that_fail():
    open("o.noise", "wb").write(os.urandom(5000))
    noise = S.upload("o.noise")
    a = S.ask("POST", "/v1/jobs", {"video": noise, "audio": SPEECH, "options": OPTIONS})
    assert a.status == 422, a.body
    j = S.ask("POST", "/v1/jobs", {"video": VIDEO, "audio": noise, "options": OPTIONS})
    if j.status == 202:
        j = S.wait(j.json()["id"], "failed")
        assert j["error"]["message"] and os.getcwd() not in json.dumps(j), j["error"]
        assert events(S, j["id"])[-1][1] in ("error", "state")
        S.want(204, "DELETE", f"/v1/jobs/{j['id']}")
    else:
        assert j.status == 422
    S.want(204, "DELETE", f"/v1/uploads/{noise}")
    incomplete = S.announce(10)
    a = S.ask("POST", "/v1/jobs", {"video": incomplete, "audio": SPEECH})
    assert a.status in (409, 422), a.body
    S.want(204, "DELETE", f"/v1/uploads/{incomplete}")


@with_no_jobs
def limits_of_a_video():
    with Server("--max-seconds", 1, data="o.data") as s:
        video, speech = s.upload("face/face.mp4"), s.upload("face/speech.wav")
        a = s.want(422, "POST", "/v1/jobs", {"video": video, "audio": speech, "options": OPTIONS})
        assert "at most 1 s" in a.json()["error"]["message"], a.body
    with Server("--max-pixels", 25599, data="o.data") as s:
        a = s.want(422, "POST", "/v1/jobs", {"video": video, "audio": speech, "options": OPTIONS})
        assert "pixel" in json.dumps(a.json()), a.body


@with_no_jobs
def a_stream_while_it_is_made():
    job = S.job(LONG, LONG_SPEECH)
    S.wait(job)
    playlist = S.want(200, "GET", f"/v1/jobs/{job}/stream.m3u8").body.decode()
    assert playlist.startswith("#EXTM3U") and "#EXT-X-ENDLIST" in playlist, playlist
    names = re.findall(r'URI="([^"]+)"', playlist) + [x for x in playlist.splitlines() if x and x[0] != "#"]
    parts = [S.want(200, "GET", f"/v1/jobs/{job}/{n}").body for n in names]
    open("o.stream.mp4", "wb").write(b"".join(parts))
    assert int(probe("o.stream.mp4")["nb_read_frames"]) == int(probe("long.mp4")["nb_read_frames"])
    for folder, paths in (("stream", ["stream.m3u8", names[-1]]), ("", ["stream.m3u8", names[-1], "output", "preview.jpg"])):
        inside = os.path.join(S.data, "jobs", job, folder).rstrip("/")
        os.rename(inside, "o.elsewhere" + folder)
        os.symlink(os.path.abspath("o.elsewhere" + folder), inside)
        for path in paths:  # a link is not followed
            S.want(404, "GET", f"/v1/jobs/{job}/{path}")
        os.remove(inside)
        os.rename("o.elsewhere" + folder, inside)
        for path in paths:
            S.want(200, "GET", f"/v1/jobs/{job}/{path}")
    S.want(204, "DELETE", f"/v1/jobs/{job}")


@with_no_jobs
def a_full_disk():
    faults = {"LD_PRELOAD": preload(FAULTS), "LS_FAULT_PATH": "/uploads/", "LS_FAULT_WRITE": "100000"}
    with Server(data="o.full", env=faults) as s:
        u = s.announce(200_000)
        a = s.ask("PATCH", f"/v1/uploads/{u}", b"x" * 200_000, {"Upload-Offset": "0", "Content-Type": "application/octet-stream"})
        assert a.status == 507 and a.code() == "full", a.body
        assert s.want(200, "GET", f"/v1/uploads/{u}").json()["received"] <= 100_000
        s.want(507, "POST", "/v1/jobs", *form(video=("v", b"x" * 100_000), audio=("a", b"x")))
        s.want(200, "GET", "/health")
        s.want(204, "DELETE", f"/v1/uploads/{u}")
        assert left(s.data) == [], left(s.data)


@with_no_jobs
def cards_are_shown():
    if not NVML:
        return "no library that stands for NVIDIA's"
    os.mkdir("o.lib")
    os.symlink(NVML, "o.lib/libnvidia-ml.so.1")
    with Server(data="o.card", env={"LD_LIBRARY_PATH": os.path.abspath("o.lib")}) as s:
        job = s.job(s.upload("long/face.mp4"), s.upload("long/speech.wav"), options={"steps": 1000})
        progress = until(lambda: (p := s.want(200, "GET", f"/v1/jobs/{job}").json()["progress"]) and "gpu" in p and p)
        assert progress["gpu"] == {"bytes": 35000000000, "total_bytes": 160000000000, "percent": 47.5}, progress
        s.want(204, "DELETE", f"/v1/jobs/{job}")


@with_no_jobs
def a_disk_that_is_almost_full():
    def refused(a):
        assert a.status == 507 and a.code() == "full" and "space" in a.json()["error"]["message"], a.body
        return True
    faults = {"LD_PRELOAD": preload(FAULTS), "LS_FAULT_FREE": str(1_003_000_000)}
    with Server(data="o.full", env=faults) as s:  # 1 GB is to stay free
        refused(s.ask("POST", "/v1/uploads", name="x", size=4_000_000))
        with s.connect(f"POST /v1/jobs HTTP/1.1\r\nHost: localhost:{s.port}\r\nContent-Type: multipart/form-data; boundary=abcd\r\n"
                       f"Content-Length: 4000000\r\nExpect: 100-continue\r\n\r\n".encode()) as c:
            assert c.recv(100).startswith(b"HTTP/1.1 507")
        video, speech = s.upload("face/face.mp4"), s.upload("face/speech.wav")
        job = s.job(video, speech)
        s.wait(job)
        is_whole(s, job)
        s.want(200, "GET", "/ready")
    s.env["LS_FAULT_FREE"] = str(999_000_000)
    with s.start():
        for a in (s.ask("POST", "/v1/uploads", name="x", size=1), s.ask("POST", "/v1/jobs", {"video": video, "audio": speech, "options": OPTIONS}),
                  s.ask("POST", "/v1/jobs", *form(video=("v", b"x"), audio=("a", b"x")))):
            refused(a)
        assert "full" in s.want(503, "GET", "/ready").json()["reason"]
        is_whole(s, job)  # what is there can be fetched, and removed
        assert re.search(r"disk_free_bytes 99[89]\d{6}\n", s.want(200, "GET", "/metrics").body.decode())
        for path in (f"/v1/jobs/{job}", f"/v1/uploads/{video}", f"/v1/uploads/{speech}"):
            s.want(204, "DELETE", path)
        until(lambda: left(s.data) == [])


@test
def nothing_is_left():
    for u in (VIDEO, SPEECH, LONG, LONG_SPEECH):
        S.want(204, "DELETE", f"/v1/uploads/{u}")
    until(lambda: not [f for f in left(S.data) if f.startswith("jobs/")])
    S.stop()
    assert sqlite3.connect(os.path.join(S.data, "latentsync.db")).execute("pragma integrity_check").fetchone() == ("ok",)


sys.exit(main(setup))
