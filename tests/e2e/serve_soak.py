#!/usr/bin/env python3
"""Hundreds of small jobs, one after another and some canceled, failed and resumed, while clients come and go: `latentsync serve` loses none,
leaves nothing and grows not. Prints TAP. usage: serve_soak.py LATENTSYNC PUPPET [JOBS]"""
import os
import random
import re
import sqlite3
import sys
import time

PUPPET, JOBS = os.path.abspath(sys.argv[2]), int((sys.argv[3:] or ["300"])[0])
from common import main, test  # noqa: E402
from server import OPTIONS, Server, left, speaker, sync  # noqa: E402

DRAW = random.Random(7)


def setup():
    speaker(PUPPET, "face", "Mama.")
    sync("face", "whole.mp4")


def figures(s):
    status = open(f"/proc/{s.process.pid}/status").read()
    return {"resident": int(re.search(r"VmRSS:\s+(\d+)", status)[1]), "threads": int(re.search(r"Threads:\s+(\d+)", status)[1]),
            "files": len(os.listdir(f"/proc/{s.process.pid}/fd"))}


@test
def jobs_without_end():
    whole, waiting, seen = open("whole.mp4", "rb").read(), [], []
    with Server("--workers", 2, "--max-queue", 8) as s:
        video, speech = s.upload("face/face.mp4"), s.upload("face/speech.wav")
        made = done = canceled = 0
        while made < JOBS or waiting:
            if made < JOBS and len(waiting) < 6:
                a = s.ask("POST", "/v1/jobs", {"video": video, "audio": speech, "options": OPTIONS}, {"Idempotency-Key": f"job {made}"})
                assert a.status == 202, a.body
                waiting.append(a.json()["id"])
                made += 1
                if DRAW.random() < 0.1:
                    s.ask("POST", f"/v1/jobs/{DRAW.choice(waiting)}/cancel")
            job = waiting[0]
            j = s.want(200, "GET", f"/v1/jobs/{job}").json()
            if j["state"] == "canceled":
                canceled += 1
                s.want(202, "POST", f"/v1/jobs/{job}/resume")
            elif j["state"] == "done":
                assert s.want(200, "GET", f"/v1/jobs/{job}/output").body == whole
                s.want(200, "GET", f"/v1/jobs/{job}/events")
                s.want(204, "DELETE", f"/v1/jobs/{job}")
                waiting.pop(0)
                done += 1
                if done % max(JOBS // 10, 1) == 0:
                    seen.append(figures(s))
                    print(f"# {done} jobs, {canceled} canceled: {seen[-1]}", flush=True)
                with s.connect(b"GET /v1/jobs HTTP/1.1\r\nHo"):
                    pass  # a client that leaves
            else:
                assert j["state"] in ("queued", "running"), j
                time.sleep(0.05)
        assert done == JOBS and canceled > JOBS // 40, (done, canceled)
        for u in (video, speech):
            s.want(204, "DELETE", f"/v1/uploads/{u}")
        time.sleep(1)
        assert left(s.data) == [], left(s.data)
        first, last = seen[len(seen) // 5], seen[-1]
        assert last["resident"] <= first["resident"] * 1.1 + 1000 and last["threads"] == first["threads"] and last["files"] <= first["files"] + 2, seen
    db = sqlite3.connect(os.path.join(s.data, "latentsync.db"))
    tables = [t for (t,) in db.execute("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")]
    rows = {t: db.execute(f"select count(*) from {t}").fetchone()[0] for t in tables}
    print("# rows left:", rows, "database:", os.path.getsize(os.path.join(s.data, "latentsync.db")), "bytes")
    assert rows and sum(rows.values()) <= 3 and os.path.getsize(os.path.join(s.data, "latentsync.db")) < 2e6, rows


sys.exit(main(setup))
