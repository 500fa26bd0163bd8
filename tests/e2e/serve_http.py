#!/usr/bin/env python3
"""What the server answers to HTTP: uploads, ranges, who may ask, slow and broken clients."""
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

from common import LS, main, test, until


class Server:
    """A server of its own, on a free port."""

    def __init__(self, *options, data="data"):
        self.process = subprocess.Popen([LS, "serve", "--listen", "127.0.0.1:0", "--data", data, *options],
                                        stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("latentsync: ready at http://"), line
        self.url = line.split()[-1]
        self.port = urllib.parse.urlparse(self.url).port

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method, path, body=None, **headers):
        """Status, headers and body, parsed if it is JSON."""
        c = self.connect()
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        if isinstance(body, dict):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        c.request(method, path, body, headers)
        r = c.getresponse()
        data = r.read()
        c.close()
        if r.getheader("Content-Type") == "application/json" and data:
            data = json.loads(data)
        return r.status, r.headers, data

    def upload(self, data, name="a.mp4", **more):
        status, headers, made = self.ask("POST", "/v1/uploads", {"name": name, "size": len(data), **more})
        assert status == 201, (status, made)
        return headers["Location"], made

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(60)


SERVER = None
SLOW = []  # threads, each with a connection that sends next to nothing


class Slow(threading.Thread):
    def __init__(self, head):
        super().__init__(daemon=True)
        self.head, self.seconds, self.start_time = head, None, time.monotonic()
        self.socket = socket.create_connection(("127.0.0.1", SERVER.port))
        self.socket.settimeout(2)
        self.start()

    def run(self):
        self.socket.sendall(self.head)
        while time.monotonic() - self.start_time < 120:
            try:
                if self.head:
                    self.socket.sendall(b" ")
                if not self.socket.recv(1000):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        self.seconds = time.monotonic() - self.start_time


def setup():
    global SERVER
    SERVER = Server()
    host = f"Host: localhost:{SERVER.port}\r\n"
    where, _ = SERVER.upload(b"x" * 1000)
    body = host + "Content-Type: application/json\r\nContent-Length: 1000\r\nUpload-Offset: 0\r\n\r\n"
    for head in ("", "G", f"GET / HTTP/1.1\r\n{host}X:", f"POST /v1/uploads HTTP/1.1\r\n{body}", f"PATCH {where} HTTP/1.1\r\n{body}"):
        SLOW.append(Slow(head.encode()))


def refused(answer, status, code):
    assert answer[0] == status and answer[2]["error"]["code"] == code and answer[2]["error"]["message"], answer


BYTES = bytes(range(256)) * 4096  # 1 MiB


@test
def health_and_page():
    assert SERVER.ask("GET", "/health")[2]["status"] == "ok"
    status, headers, page = SERVER.ask("GET", "/")
    assert status == 200 and b"<html" in page and "script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert SERVER.ask("GET", "/", If_None_Match=headers["ETag"])[0] == 304
    status, headers, nothing = SERVER.ask("HEAD", "/")
    assert status == 200 and int(headers["Content-Length"]) == len(page) and not nothing
    refused(SERVER.ask("GET", "/v1/nothing"), 404, "not_found")
    refused(SERVER.ask("GET", "/v1/jobs/../../etc"), 404, "not_found")
    refused(SERVER.ask("GET", "/index.html%00.js"), 404, "not_found")
    refused(SERVER.ask("POST", "/v1/uploads", '{"name":"a","size":' + str(2**70) + "}", Content_Type="application/json"), 400, "invalid")
    status, headers, _ = SERVER.ask("PUT", "/v1/jobs", b"x")
    assert status == 405 and set(headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}


@test
def requests_are_logged():
    token = "a-token-that-no-log-may-hold"
    open("o.token", "w").write(token)
    server = Server("--access-log", "o.log", "--token-file", "o.token", data="o.logged")
    bearer = {"Authorization": "Bearer " + token}
    asked = [("GET", "/health", "/health"), ("GET", "/v1/jobs?limit=3&token=" + token, "/v1/jobs"), ("BREW", "/v1/jobs", "/v1/jobs"),
             ("GET", "/a%0a%20b%22%c3%bc%25", "/a%0A%20b\"%C3%BC%25"), ("DELETE", "/v1/jobs/" + "0" * 32, "/v1/jobs/" + "0" * 32)]
    statuses = [server.ask(method, path, **bearer)[0] for method, path, _ in asked]
    statuses.append(server.ask("POST", "/v1/session", {"token": token})[0])
    assert statuses == [200, 200, 405, 404, 404, 204], statuses
    assert server.stop() == 0
    text = open("o.log").read()
    lines = [re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ 127\.0\.0\.1 (\S+) (\S+) (\d+) \d+\.\d{3}", x).groups() for x in text.splitlines()]
    assert lines == [*((m, logged, str(s)) for (m, _, logged), s in zip(asked, statuses)), ("POST", "/v1/session", "204")], lines
    assert token not in text
    server = Server("--access-log", "o.log", "--token-file", "o.token", data="o.logged")  # adds to it
    server.ask("GET", "/health")
    assert server.stop() == 0 and open("o.log").read().startswith(text) and len(open("o.log").readlines()) == len(lines) + 1
    r = subprocess.run([LS, "serve", "--listen", "127.0.0.1:0", "--data", "o.logged", "--access-log", "o.none/log"], capture_output=True, text=True)
    assert r.returncode and "o.none/log" in r.stderr and "ready" not in r.stdout, r


@test
def upload_in_parts():
    where, made = SERVER.upload(BYTES, sha256=hashlib.sha256(BYTES).hexdigest())
    assert made["received"] == 0 and made["state"] == "receiving" and "sha256" not in made
    refused(SERVER.ask("PATCH", where, BYTES), 400, "invalid")  # no offset
    status, headers, _ = SERVER.ask("PATCH", where, BYTES[5:9], Upload_Offset="5")
    assert status == 409 and headers["Upload-Offset"] == "0"
    status, headers, _ = SERVER.ask("PATCH", where, BYTES[:1000], Upload_Offset="0")
    assert status == 204 and headers["Upload-Offset"] == "1000"
    status, headers, _ = SERVER.ask("HEAD", where)
    assert (headers["Upload-Offset"], headers["Upload-Length"]) == ("1000", str(len(BYTES)))
    refused(SERVER.ask("PATCH", where, BYTES, Upload_Offset="1000"), 413, "too_large")
    assert SERVER.ask("PATCH", where, BYTES[1000:], Upload_Offset="1000")[0] == 204
    assert SERVER.ask("GET", where)[2]["state"] == "complete"
    refused(SERVER.ask("PATCH", where, b"", Upload_Offset=str(len(BYTES))), 409, "conflict")
    assert open(f"data/uploads/{made['id']}", "rb").read() == BYTES
    assert SERVER.ask("DELETE", where)[0] == 204 and SERVER.ask("GET", where)[0] == 404
    assert not os.path.exists(f"data/uploads/{made['id']}")


@test
def upload_with_the_wrong_digest():
    where, _ = SERVER.upload(BYTES, sha256="0" * 64)
    refused(SERVER.ask("PATCH", where, BYTES, Upload_Offset="0"), 422, "unprocessable")
    assert SERVER.ask("GET", where)[2]["received"] == 0
    where, _ = SERVER.upload(b"abc", sha256=hashlib.sha256(b"abc").hexdigest().upper())
    assert SERVER.ask("PATCH", where, b"abd", Upload_Offset="0")[0] == 422
    assert SERVER.ask("PATCH", where, b"abc", Upload_Offset="0")[0] == 204


def cut(where, sent, announced, at=0):
    """Sends less than it says it will."""
    s = socket.create_connection(("127.0.0.1", SERVER.port))
    s.sendall(f"PATCH {where} HTTP/1.1\r\nHost: localhost:{SERVER.port}\r\nUpload-Offset: {at}\r\n"
              f"Content-Length: {announced}\r\n\r\n".encode() + sent)
    return s


def arrived(where, count):
    until(lambda: SERVER.ask("GET", where)[2]["received"] == count)


@test
def what_arrived_before_a_cut_counts():
    where, made = SERVER.upload(BYTES)
    cut(where, BYTES[:300000], len(BYTES)).close()
    arrived(where, 300000)
    second = cut(where, BYTES[300000:400000], len(BYTES) - 300000, 300000)  # still open
    arrived(where, 400000)
    assert SERVER.ask("PATCH", where, BYTES[400000:], Upload_Offset="400000")[0] == 204
    second.sendall(b"not any more")
    assert second.recv(100) == b""
    assert open(f"data/uploads/{made['id']}", "rb").read() == BYTES


@test
def ranges():
    where, _ = SERVER.upload(BYTES, name="talk.mp4")
    refused(SERVER.ask("GET", where + "/content"), 409, "conflict")
    SERVER.ask("PATCH", where, BYTES, Upload_Offset="0")
    where += "/content"
    n = len(BYTES)
    status, headers, data = SERVER.ask("GET", where)
    assert status == 200 and data == BYTES and headers["Content-Type"] == "video/mp4" and headers["Accept-Ranges"] == "bytes"
    tag, date = headers["ETag"], headers["Last-Modified"]
    for text, first, last in (("0-0", 0, 0), ("5-", 5, n - 1), ("-7", n - 7, n - 1), (f"9-{n * 2}", 9, n - 1), (f"-{n * 2}", 0, n - 1)):
        status, headers, data = SERVER.ask("GET", where, Range="bytes=" + text)
        assert status == 206 and headers["Content-Range"] == f"bytes {first}-{last}/{n}" and data == BYTES[first:last + 1], text
    for text in (f"{n}-", "-0", f"{n + 5}-{n + 9}"):
        status, headers, _ = SERVER.ask("GET", where, Range="bytes=" + text)
        assert status == 416 and headers["Content-Range"] == f"bytes */{n}", text
    for text in ("bytes=5-2", "bytes=a-b", "bytes=0-1,4-5", "lines=1-2", "bytes=", "bytes=99999999999999999999-", "bytes=-"):
        assert SERVER.ask("GET", where, Range=text)[0] == 200, text
    assert SERVER.ask("GET", where, Range="bytes=0-1", If_Range=tag)[0] == 206
    assert SERVER.ask("GET", where, Range="bytes=0-1", If_Range=date)[0] == 206
    assert SERVER.ask("GET", where, Range="bytes=0-1", If_Range='"other"')[0] == 200
    for known in (tag, "*", f'"x", {tag}', "W/" + tag):
        assert SERVER.ask("GET", where, If_None_Match=known)[0] == 304, known
    assert SERVER.ask("GET", where, If_None_Match='"x"')[0] == 200
    status, headers, data = SERVER.ask("HEAD", where)
    assert status == 200 and int(headers["Content-Length"]) == n and not data


@test
def a_page_among_the_uploads_is_not_shown():
    where, _ = SERVER.upload(b"<script>", name="x.html")
    SERVER.ask("PATCH", where, b"<script>", Upload_Offset="0")
    status, headers, _ = SERVER.ask("GET", where + "/content")
    assert headers["Content-Type"] == "application/octet-stream" and "sandbox" in headers["Content-Security-Policy"]


@test
def requests_that_are_wrong():
    for body in ({"name": "a", "size": 0}, {"name": "", "size": 1}, {"size": 1}, {"name": "a\nb", "size": 1},
                 {"name": "a", "size": "1"}, {"name": "a", "size": 1, "sha256": "12"}, {"name": "a" * 256, "size": 1}):
        refused(SERVER.ask("POST", "/v1/uploads", body), 400, "invalid")
    refused(SERVER.ask("POST", "/v1/uploads", {"name": "a", "size": 1 << 60}), 413, "too_large")
    refused(SERVER.ask("POST", "/v1/uploads", "{}", Content_Type="text/plain"), 415, "unsupported")
    for text in ("{", "[]", "", '{"a":1,"a":2}', "\0"):
        refused(SERVER.ask("POST", "/v1/uploads", text, Content_Type="application/json"), 400, "invalid")
    refused(SERVER.ask("POST", "/v1/jobs", " " * 70000, Content_Type="application/json"), 413, "too_large")
    refused(SERVER.ask("GET", "/v1/jobs?limit=0"), 400, "invalid")


def form(boundary="b0undary", **fields):
    """A multipart body; a file is (name, bytes)."""
    body = b""
    for name, value in fields.items():
        file = f'; filename="{value[0]}"' if isinstance(value, tuple) else ""
        body += (f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n').encode()
        body += (value[1] if isinstance(value, tuple) else value.encode()) + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


FORM = "multipart/form-data; boundary=b0undary"


def uploads():
    return set(os.listdir("data/uploads"))


@test
def forms_that_are_wrong():
    before = uploads()
    good = {"video": ("a.mp4", BYTES), "audio": ("a.wav", BYTES)}
    for status, fields in ((422, {"video": ("a.mp4", b""), "audio": ("a.wav", b"x")}), (400, {**good, "extra": ("x", b"x")}),
                           (400, {**good, "priority": "high"}), (400, {**good, "options": "{"}), (400, {**good, "preview": "2x"}),
                           (413, {**good, "name": "n" * 70000}), (400, {**good, "x" * 70: "1"})):
        answer = SERVER.ask("POST", "/v1/jobs", form(**fields), Content_Type=FORM)
        assert answer[0] == status, (status, answer, list(fields))
    body = form(**good)
    assert SERVER.ask("POST", "/v1/jobs", body + body.replace(b"--b0undary--", b""), Content_Type=FORM)[0] in (400, 422)
    for cut_body in (body[:-30], body[:1000], b"", b"--b0undary"):
        assert SERVER.ask("POST", "/v1/jobs", cut_body, Content_Type=FORM)[0] in (400, 422), len(cut_body)
    for head in ("Content-Disposition: x", "Content-Disposition: form-data", "X: y", 'Content-Disposition: form-data; filename="a"',
                 'Content-Disposition: form-data; name=""', "Content-Type: multipart/mixed; boundary=C"):
        part = f"--b0undary\r\n{head}\r\n\r\n--C\r\n\r\nx\r\n--b0undary--\r\n".encode()
        answer = SERVER.ask("POST", "/v1/jobs", part, Content_Type=FORM)
        assert answer[0] == 400 and answer[2]["error"]["message"], (head, answer)
    assert SERVER.ask("POST", "/v1/jobs", body, Content_Type="multipart/form-data")[0] == 415
    until(lambda: uploads() == before)
    s = socket.create_connection(("127.0.0.1", SERVER.port))
    s.sendall(f"POST /v1/jobs HTTP/1.1\r\nHost: localhost:{SERVER.port}\r\nContent-Type: {FORM}\r\n"
              f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:500000])
    until(lambda: uploads() != before)
    s.close()
    until(lambda: uploads() == before)


@test
def what_the_server_tells_of_itself():
    assert SERVER.ask("GET", "/ready")[2] == {"ready": True, "reason": None}
    status, headers, text = SERVER.ask("GET", "/metrics")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    for line in text.decode().splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) latentsync_\w+ .+|latentsync_\w+(\{\w+="\w+"\})? [-+.e0-9]+', line), line
    assert "3.1" in SERVER.ask("GET", "/v1/openapi.json")[2]["openapi"]
    tells = SERVER.ask("GET", "/v1/capabilities")[2]
    assert tells["limits"]["max_upload"] == 4 << 30 and "libx264" in tells["encoders"] and tells["devices"][0]["name"] == "cpu"
    info = json.loads(subprocess.run([LS, "info", "--json"], capture_output=True, check=True).stdout)
    assert tells["machine"]["cpu"] == info["cpu"] and tells["version"] == info["version"]
    steps = next(o for o in tells["options"] if o["name"] == "steps")  # whose default follows from the quality
    assert steps["type"] == "integer" and steps["default"] is None and steps["min"] == 1
    assert not {"output", "models", "job", "face-track"} & {o["name"] for o in tells["options"]}
    paths = [text for text in re.findall(r'"(/[^"]*)"', json.dumps({**tells, "options": []}))]
    assert not paths, paths


@test
def other_sites_are_refused():
    port = SERVER.port
    for host in ("evil.example", f"evil.example:{port}", "localhost", f"127.0.0.1:{port + 1}", f"127.0.0.1.evil.example:{port}",
                 "", f"[::2]:{port}"):
        status, _, answer = SERVER.ask("GET", "/health", Host=host)
        assert status == 421 and answer["error"]["code"] == "forbidden", (host, status)
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"LOCALHOST:{port}", f"[::1]:{port}"):
        assert SERVER.ask("GET", "/health", Host=host)[0] == 200, host
    new = {"name": "a", "size": 1}
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": f"http://localhost:{port}"},
                    {"Origin": f"http://127.0.0.1:{port + 1}"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": f"file://127.0.0.1:{port}"}):
        refused(SERVER.ask("POST", "/v1/uploads", new, **headers), 403, "forbidden")
    assert SERVER.ask("POST", "/v1/uploads", new, Origin=f"http://127.0.0.1:{port}", Sec_Fetch_Site="same-origin")[0] == 201


@test
def token():
    secret = "0123456789abcdef-secret"
    with open("token", "w") as f:
        f.write(secret + "\n")
    s = Server("--token-file", "token", "--host", "lips.example,other.example:8080", "--prefix", "/lips", data="data-token")
    assert s.ask("GET", "/lips/")[0] == s.ask("GET", "/lips/health")[0] == s.ask("GET", "/health")[0] == 200
    status, headers, _ = s.ask("GET", "/lips")
    assert status == 308 and headers["Location"] == "/lips/"
    status, headers, answer = s.ask("GET", "/lips/v1/jobs")
    assert status == 401 and headers["WWW-Authenticate"] == "Bearer" and answer["error"]["code"] == "unauthorized"
    for path in ("/ready", "/metrics", "/v1/capabilities", "/v1/jobs/" + "0" * 32):
        assert s.ask("GET", path)[0] == 401, path
    for given in (secret[:-1], secret + "x", "", "Bearer", secret.upper()):
        assert s.ask("GET", "/v1/jobs", Authorization="Bearer " + given)[0] == 401, given
    assert s.ask("GET", "/v1/jobs", Authorization="Bearer " + secret)[0] == 200
    assert s.ask("POST", "/v1/session", {"token": "wrong"})[0] == 401
    status, headers, _ = s.ask("POST", "/lips/v1/session", {"token": secret})
    cookie = headers["Set-Cookie"]
    assert status == 204 and secret not in cookie and all(w in cookie for w in ("HttpOnly", "SameSite=Strict", "Path=/lips/"))
    cookie = cookie.split(";")[0]
    assert s.ask("GET", "/v1/jobs", Cookie=cookie)[0] == 200 and s.ask("GET", "/v1/jobs", Cookie=cookie[:-1])[0] == 401
    status, headers, _ = s.ask("DELETE", "/lips/v1/session")
    assert status == 204 and "Max-Age=0" in headers["Set-Cookie"]
    bearer = {"Authorization": "Bearer " + secret}
    for host in ("lips.example", "lips.example:443", "other.example:8080"):
        assert s.ask("GET", "/v1/jobs", Host=host, **bearer)[0] == 200, host
    assert s.ask("GET", "/v1/jobs", Host="other.example", **bearer)[0] == 421
    status, headers, made = s.ask("POST", "/lips/v1/uploads", {"name": "a", "size": 1}, Host="lips.example", Origin="https://lips.example", **bearer)
    assert status == 201 and headers["Location"] == f"/lips/v1/uploads/{made['id']}"
    assert s.stop() == 0


def fails(*options):
    r = subprocess.run([LS, "serve", "--listen", "127.0.0.1:0", "--data", "data-x", *options], capture_output=True, text=True, timeout=60)
    assert not r.stdout, r.stdout
    return r.returncode, r.stderr


@test
def addresses():
    for address in ("127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:99999", "127.0.0.1:x", "::1:80", "unix:", ""):
        status, said = fails("--listen", address)
        assert status == 2 and "listen" in said or "socket" in said, (address, said)
    status, said = fails("--listen", f"127.0.0.1:{SERVER.port}")
    assert status == 7 and str(SERVER.port) in said, said
    status, said = fails("--listen", "0.0.0.0:0")
    assert status == 2 and "token" in said, said
    with open("short", "w") as f:
        f.write("short\n")
    status, said = fails("--token-file", "short")
    assert status == 2 and "16" in said, said
    assert fails("--token-file", "missing")[0] == 3
    assert fails("--prefix", "lips")[0] == fails("--keep", "soon")[0] == 2


class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("socket")


@test
def socket_file():
    for how in (signal.SIGKILL, signal.SIGTERM):  # what a killed server leaves is replaced
        p = subprocess.Popen([LS, "serve", "--listen", "unix:socket", "--data", "data-unix"], stdout=subprocess.PIPE, text=True)
        assert p.stdout.readline() == "latentsync: ready at unix:socket\n"
        assert os.stat("socket").st_mode & 0o777 == 0o660
        c = Unix("localhost")
        c.request("GET", "/health")
        assert c.getresponse().status == 200
        status, said = fails("--listen", "unix:socket")
        assert status == 7, said
        p.send_signal(how)
        p.wait(60)
    assert not os.path.exists("socket")
    with open("file", "w") as f:
        f.write("mine")
    assert fails("--listen", "unix:file")[0] == 7 and open("file").read() == "mine"


@test
def slow_clients_do_not_stop_others():
    slow = [socket.create_connection(("127.0.0.1", SERVER.port)) for _ in range(50)]
    for i, s in enumerate(slow):
        s.sendall(b"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{"[:1 + i])
    start = time.monotonic()
    for _ in range(20):
        assert SERVER.ask("GET", "/health")[0] == 200
    assert time.monotonic() - start < 10
    for s in slow:
        s.close()


@test
def slow_clients_are_dropped():
    for t in SLOW:
        t.join(150)
        assert t.seconds and 25 < t.seconds < 60, (t.head, t.seconds)


@test
def ends_in_order():
    assert SERVER.stop() == 0


if __name__ == "__main__":
    sys.exit(main(setup))
