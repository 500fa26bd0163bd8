#!/usr/bin/env python3
"""docs/SERVER.md is held to what it says: its commands run, nginx takes its configuration and passes everything on, systemd its unit.
Prints TAP. usage: serve_docs.py LATENTSYNC PUPPET"""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

PUPPET = os.path.abspath(sys.argv[2])
from common import LS, good, main, probe, run, test  # noqa: E402
from server import API, MODELS, OPTIONS, SOURCE, Server, speaker  # noqa: E402

PAGE = open(os.path.join(SOURCE, "docs/SERVER.md")).read()


def setup():
    speaker(PUPPET, "face")
    for f in ("face.mp4", "speech.wav"):
        shutil.copy("face/" + f, f)


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.S)


@test
def its_commands_run():
    if not (shutil.which("curl") and shutil.which("jq")):
        return "there is no curl or no jq"
    with Server(data="o.data") as s:
        script = "\n".join(blocks("sh")).replace("http://127.0.0.1:7860", f"http://127.0.0.1:{s.port}")
        # as fast as tests want it
        script = script.replace("-F quality=fast", "-F quality=fast " + " ".join(f"-F {k}={v}" for k, v in OPTIONS.items())).replace(
            '{\\"quality\\":\\"fast\\"', '{\\"quality\\":\\"fast\\",\\"resolution\\":64,\\"steps\\":2')
        assert script.count("127.0.0.1") == 1 and script.count("steps") == 2, script
        with open("o.said", "w+") as said:
            try:
                r = subprocess.run(["bash", "-xeuo", "pipefail", "-c", script], stdout=subprocess.PIPE, stderr=said, text=True, timeout=250)
            except subprocess.TimeoutExpired:
                r = None
        assert r and r.returncode == 0, f"{open('o.said').read()[-1500:]}{s.said()[-1500:]}"
        assert '"done"' in r.stdout and int(probe("dubbed.mp4")["nb_read_frames"]) > 20 and os.path.getsize("face1.png") > 100, r.stdout
        jobs = s.want(200, "GET", "/v1/jobs").json()["jobs"]
        assert len(jobs) == 2, "a job, deleted, a preview, and one that was asked for twice"
        s.wait(jobs[0]["id"], "done", "canceled")


@test
def it_names_what_there_is():
    options = set(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", good(run(LS, "serve", "--help")).stdout, re.M))
    named = set(re.findall(r"(?<![\w-])--(?:listen|[a-z]+-[a-z-]+|workers|data|host|prefix|keep|models)\b", PAGE.split("## In a container")[0]))
    assert named - {"--data-binary", "--create-home"} <= options, named - options
    for path in API["paths"]:
        tail = path.split("}")[-1] if path.endswith(("cancel", "resume", "probe", "events", "output", "content", "faces", "jpg", "png", "m3u8")) else path
        assert tail in PAGE or "{file}" in path or path.startswith(("/v1/session", "/{")), path
    codes = set(re.findall(r"`(\w+)`", re.search(r"\| status \| code.*?\n\n", PAGE, re.S)[0]))
    assert set(API["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"]["enum"]) - {"internal"} <= codes, codes
    with Server(data="o.data") as s:
        there = set(re.findall(r"^# TYPE (\S+)", s.want(200, "GET", "/metrics").body.decode(), re.M))
    assert there == set(re.findall(r"`(latentsync_\w+)[`{]", PAGE)), there


@test
def behind_nginx():
    if not shutil.which("nginx"):
        return "there is no nginx"
    with socket.socket() as c:
        c.bind(("127.0.0.1", 0))
        port = c.getsockname()[1]
    with Server("--prefix", "/lips", "--host", "lips.example.org", data="o.data") as s:
        (location,) = blocks("nginx")
        os.mkdir("o.nginx")
        paths = "".join(f"{p}_temp_path {os.path.abspath('o.nginx')};" for p in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        open("o.nginx/conf", "w").write(
            f"daemon off; worker_processes 1; pid {os.path.abspath('o.nginx/pid')}; events {{}} http {{ access_log off; {paths}\n"
            f"server {{ listen 127.0.0.1:{port}; {location.replace('7860', str(s.port))} }} }}")
        p = subprocess.Popen(["nginx", "-c", os.path.abspath("o.nginx/conf"), "-e", os.path.abspath("o.nginx/log")], start_new_session=True)
        try:
            own, s.port = s.port, port
            end = time.monotonic() + 20
            while time.monotonic() < end:
                try:
                    s.connect().close()
                    break
                except OSError:
                    time.sleep(0.02)
            name = {"Host": "lips.example.org"}

            def ask(method, path, body=None, **headers):
                return s.ask(method, "/lips" + path, body, {**name, **headers}, checked=False)
            ids = []
            for f in ("face.mp4", "speech.wav"):
                a = ask("POST", "/v1/uploads", {"name": f, "size": os.path.getsize(f)})
                assert a.status == 201 and a.headers["Location"].startswith("/lips/v1/uploads/"), a.body
                ids.append(a.json()["id"])
            # what nginx has taken when the client goes has arrived
            head = (f"PATCH /lips/v1/uploads/{ids[0]} HTTP/1.1\r\nHost: lips.example.org\r\nContent-Type: application/octet-stream\r\n"
                    f"Upload-Offset: 0\r\nContent-Length: {os.path.getsize('face.mp4')}\r\n\r\n")
            data = open("face.mp4", "rb").read()
            with s.connect(head.encode() + data[:5000]):
                while ask("GET", f"/v1/uploads/{ids[0]}").json()["received"] < 5000:
                    assert time.monotonic() < end + 20
                    time.sleep(0.02)
            time.sleep(0.2)
            kind = {"Content-Type": "application/octet-stream"}
            while ask("PATCH", f"/v1/uploads/{ids[0]}", data[5000:], **kind, **{"Upload-Offset": "5000"}).status == 409:
                time.sleep(0.05)  # until the server has seen that the client is gone
                assert time.monotonic() < end + 30
            assert ask("PATCH", f"/v1/uploads/{ids[1]}", open("speech.wav", "rb").read(), **kind, **{"Upload-Offset": "0"}).status == 204
            job = ask("POST", "/v1/jobs", {"video": ids[0], "audio": ids[1], "options": OPTIONS}).json()
            with s.connect(f"GET /lips/v1/jobs/{job['id']}/events HTTP/1.1\r\nHost: lips.example.org\r\n\r\n".encode()) as c:
                got, first = b"", None
                while b"event: done" not in got:
                    part = c.recv(65536)
                    assert part, got
                    got += part
                    first = first or time.monotonic()
                assert time.monotonic() - first > 0.2, "events came together at the end"
            output = ask("GET", f"/v1/jobs/{job['id']}/output", Range="bytes=4-7")
            assert output.status == 206 and output.body == b"ftyp"
            assert ask("GET", "/", **{"Host": "evil.example"}).status == 421
            s.port = own
        finally:
            p.send_signal(signal.SIGTERM)
            p.wait(20)


@test
def as_a_service():
    if not shutil.which("systemd-analyze"):
        return "there is no systemd"
    unit = open(os.path.join(SOURCE, "src/server/latentsync.service.in")).read()
    (drop_in,) = blocks("ini")
    open("o.latentsync.service", "w").write(unit.replace("@bindir@/latentsync", "/bin/true") + drop_in)
    r = run("systemd-analyze", "verify", "--man=no", os.path.abspath("o.latentsync.service"))
    assert not re.search("o.latentsync.service:.*(Unknown|Failed|ignor)", r.stderr), r.stderr
    (conf,) = blocks("conf")
    options = re.fullmatch(r'LATENTSYNC_OPTIONS="(.*)"\n', conf, re.S)[1].replace("\\\n", "").split()
    command = re.search(r"ExecStart=@bindir@/latentsync (.*)", unit)[1].replace("$LATENTSYNC_OPTIONS", "").split() + options
    assert command[0] == "serve"
    with open("o.token", "w") as f:
        f.write("0123456789abcdef0123456789abcdef\n")
    command = [a.replace("/run/credentials/latentsync.service/token", "o.token").replace("/run/latentsync", os.getcwd()).replace("%S/latentsync", "o.data") for a in command]
    p = subprocess.Popen([LS, *command, "--models", MODELS], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert "socket" in p.stdout.readline()
    p.terminate()
    assert p.wait(30) == 0


sys.exit(main(setup))
