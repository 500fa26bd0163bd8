#!/usr/bin/env python3
"""`latentsync serve` is held to openapi.json: every path, every answer; and to what a hostile client tries: uploads that are cut, wrong
lengths, paths out of the data folder, options that name files. Prints TAP.
usage: serve.py LATENTSYNC PUPPET"""
import hashlib
import json
import os
import re
import socket
import sys

import jsonschema

PUPPET = os.path.abspath(sys.argv[2])
from common import LS, bad, main, run, test, until  # noqa: E402
import server  # noqa: E402
from server import API, Server, resolve, speaker, valid  # noqa: E402

S = None  # the server of most tests
VIDEO = SPEECH = JOB = None
NO_ID = "0" * 32
BINARY = {"Content-Type": "application/octet-stream"}


def setup():
    global S, VIDEO, SPEECH, JOB
    speaker(PUPPET, "face")
    S = Server("--max-upload", "3M", "--host", "lips.example")
    VIDEO, SPEECH = S.upload("face/face.mp4"), S.upload("face/speech.wav")
    JOB = S.job(VIDEO, SPEECH, name='a "b" \\ ü.mp4')


def operations():
    return [(t, m) for t, path in API["paths"].items() for m in path]


@test
def the_description_is_sound():
    assert S.want(200, "GET", "/v1/openapi.json").json() == API
    names = [API["paths"][t][m]["operationId"] for t, m in operations()]
    assert len(names) == len(set(names))
    for t, m in operations():
        op = API["paths"][t][m]
        given = [resolve(p)["name"] for p in op.get("parameters", []) if resolve(p)["in"] == "path"]
        assert given == re.findall(r"{(\w+)}", t), t
        for part in [*op["responses"].values(), op.get("requestBody", {})]:
            for content in resolve(part).get("content", {}).values():
                if "example" in content and not isinstance(content["example"], str):
                    valid(content["example"], content["schema"])
    for schema in API["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    used = set(re.findall(r'"#/components/(\w+/[\w-]+)"', json.dumps(API)))
    assert used == {f"{kind}/{name}" for kind in API["components"] if kind != "securitySchemes" for name in API["components"][kind]} | \
        {"schemas/Event"} & used, "a component is not used"


@test
def every_path_has_the_methods_that_are_described():
    table = re.findall(r'{"([A-Z]+)", "(/[^"]*)"', open(os.path.join(server.SOURCE, "src/server/http_routes.c")).read())
    page = {("GET", "/"), ("GET", "/{}")}
    assert {(m, re.sub(r"{\w+}", "{}", t)) for m, t in table} - page == {
        (m.upper(), re.sub(r"{n}\.png|{\w+}", "{}", t)) for t, m in operations() if m != "head"}
    for t, path in API["paths"].items():
        if t.startswith("/predictions/{"):
            continue  # one path with two names
        a = S.want(405, "BREW", re.sub(r"{\w+}", lambda m: "1" if m[0] == "{n}" else "init.mp4" if m[0] == "{file}" else NO_ID, t))
        allowed = {m for m in re.split(r",\s*", a.headers["Allow"]) if m != "OPTIONS"}
        described = {m.upper() for m in path}
        if t.count("/") == 1:
            allowed -= {"GET"} - described  # a file of the page, whatever its name
        assert allowed - {"HEAD"} == described - {"HEAD"}, f"{t}: {allowed}, described {described}"
    for path in ("/v1", "/v1/", "/v1/jobs/", "/v2/jobs", f"/v1/jobs/{NO_ID}/x", "/v1/uploads/%00", "/v1/uploads/" + NO_ID.upper().replace("0", "A")):
        S.want(404, "GET", path)


@test
def an_upload_in_parts():
    data = os.urandom(300_000)
    u = S.announce(len(data), "../../Ü \"x\".bin", sha256=hashlib.sha256(data).hexdigest())
    assert S.send(u, data[:100_000]).headers["Upload-Offset"] == "100000"
    for offset in (0, 99_999, 100_001, 300_000, 2**63, 2**64 + 100_000):
        a = S.ask("PATCH", f"/v1/uploads/{u}", data[:10], {**BINARY, "Upload-Offset": str(offset)})
        assert a.status == (409 if offset < 2**63 else 400) or a.status == 409, a.body
        assert a.status == 400 or a.headers["Upload-Offset"] == "100000"
    for offset in ("", "-1", "1e5", "0x10", "100000,100000", "١"):
        s, got = S.raw(f"PATCH /v1/uploads/{u} HTTP/1.1\r\nHost: localhost:{S.port}\r\nContent-Type: application/octet-stream\r\n"
                       f"Upload-Offset: {offset}\r\nContent-Length: 1\r\n\r\nx".encode())
        assert s == 400, (offset, got)
    a = S.want(200, "HEAD", f"/v1/uploads/{u}")
    had = int(a.headers["Upload-Offset"])
    assert had == 100_000 and a.headers["Upload-Length"] == "300000"
    a = S.send(u, data[had:-1] + bytes([data[-1] ^ 1]), had, status=422)  # it begins anew
    assert "SHA-256" in a.json()["error"]["message"] and S.want(200, "GET", f"/v1/uploads/{u}").json()["received"] == 0
    for i in range(0, len(data), 77_777):
        S.send(u, data[i:i + 77_777], i)
    j = S.want(200, "GET", f"/v1/uploads/{u}").json()
    assert j["state"] == "complete" and j["received"] == len(data) and "x" in j["name"], j
    assert S.want(200, "GET", f"/v1/uploads/{u}/content").body == data
    a = S.ask("PATCH", f"/v1/uploads/{u}", b"more", {**BINARY, "Upload-Offset": str(len(data))})
    assert a.status in (409, 413), a.status
    S.want(204, "DELETE", f"/v1/uploads/{u}")
    S.want(404, "GET", f"/v1/uploads/{u}")
    S.want(404, "DELETE", f"/v1/uploads/{u}")
    S.want(404, "PATCH", f"/v1/uploads/{u}", b"x", {**BINARY, "Upload-Offset": "0"})


@test
def a_cut_upload_is_resumed():
    data = os.urandom(200_000)
    u = S.announce(len(data), sha256=hashlib.sha256(data).hexdigest().upper())
    head = "PATCH /v1/uploads/{} HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: application/octet-stream\r\nUpload-Offset: {}\r\n"
    had = 0
    for cut, chunked in ((50_000, False), (1, False), (30_000, True), (20_000, False)):
        request = head.format(u, S.port, had).encode()
        if chunked:  # a whole chunk, and half of another
            s = S.connect(request + b"Transfer-Encoding: chunked\r\n\r\n" + f"{cut:x}\r\n".encode() + data[had:had + cut] + b"\r\nffff\r\n")
        else:
            s = S.connect(request + f"Content-Length: {len(data) - had}\r\n\r\n".encode() + data[had:had + cut])
        s.shutdown(socket.SHUT_WR)
        had += cut
        until(lambda: int(S.ask("HEAD", f"/v1/uploads/{u}").headers["Upload-Offset"]) == had)
        s.close()
    rest = b"".join(f"{len(part):x};x=y\r\n".encode() + part + b"\r\n" for part in (data[had:-7], data[-7:]))
    status, got = S.raw(head.format(u, S.port, had).encode() + b"Transfer-Encoding: chunked\r\n\r\n" + rest + b"0\r\n\r\n")
    assert status == 204, got
    assert S.want(200, "GET", f"/v1/uploads/{u}/content").body == data


@test
def two_clients_cannot_write_one_upload():
    u = S.announce(10)
    head = f"PATCH /v1/uploads/{u} HTTP/1.1\r\nHost: localhost:{S.port}\r\nContent-Type: application/octet-stream\r\nUpload-Offset: 0\r\nContent-Length: 10\r\n\r\n"
    with S.connect(head.encode() + b"01234") as s:
        until(lambda: S.want(200, "GET", f"/v1/uploads/{u}").json()["received"] == 5)
        a = S.ask("PATCH", f"/v1/uploads/{u}", b"abcdefghij", {**BINARY, "Upload-Offset": "0"})
        assert a.status == 409, a.status
        s.sendall(b"56789")
        assert s.recv(100).startswith(b"HTTP/1.1 204")
    assert S.want(200, "GET", f"/v1/uploads/{u}/content").body == b"0123456789"


@test
def wrong_lengths():
    u = S.announce(10)
    assert S.ask("PATCH", f"/v1/uploads/{u}", b"0" * 11, {**BINARY, "Upload-Offset": "0"}).status == 413
    assert S.want(200, "GET", f"/v1/uploads/{u}").json()["received"] in (0, 10)
    u = S.announce(10)
    chunked = f"PATCH /v1/uploads/{u} HTTP/1.1\r\nHost: localhost:{S.port}\r\nContent-Type: application/octet-stream\r\nUpload-Offset: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert S.raw(chunked.encode() + b"b\r\n01234567890\r\n0\r\n\r\n")[0] == 413
    for more in (b"zz\r\nx", b"-1\r\nx", b"ffffffffffffffffff\r\nx"):
        assert S.raw(chunked.encode() + more)[0] in (0, 400, 408, 413), more
    for length in (b"-1", b"x", b"1, 2", b"99999999999999999999"):
        assert S.raw(f"PATCH /v1/uploads/{u} HTTP/1.1\r\nHost: localhost:{S.port}\r\nUpload-Offset: 0\r\nContent-Length: ".encode() + length +
                     b"\r\n\r\n")[0] in (0, 400, 413, 415), length
    S.want(413, "POST", "/v1/uploads", name="x", size=3 * 1024**2 + 1)
    for body in ({"name": "x"}, {"size": 1}, {"name": "", "size": 1}, {"name": "x", "size": 0}, {"name": "x", "size": -1},
                 {"name": "x", "size": 1.5}, {"name": "x", "size": "1"}, {"name": 1, "size": 1}, {"name": "x", "size": 1, "sha256": "00"},
                 {"name": "x", "size": 1, "sha256": "g" * 64}, {"name": "x" * 300, "size": 1}, [], {"name": "x\0y", "size": 1},
                 {"name": "x\ny", "size": 1}):
        a = S.ask("POST", "/v1/uploads", body)
        assert a.status in (400, 422), (body, a.status)
    assert S.ask("POST", "/v1/uploads", {"name": "x", "size": 2**70}).status in (400, 413)


@test
def headers_and_parameters_without_end():
    host = f"Host: localhost:{S.port}\r\n"
    for lines in ("X: " + "y" * 200_000 + "\r\n", "".join(f"X-{i}: y\r\n" for i in range(20_000)), "Cookie: " + "a=b; " * 40_000 + "\r\n"):
        status, got = S.raw(f"GET /health HTTP/1.1\r\n{host}{lines}\r\n".encode())
        assert status in (0, 400, 413, 431), (lines[:20], status)
    status, got = S.raw(f"GET /{'x' * 200_000} HTTP/1.1\r\n{host}\r\n".encode())
    assert status in (0, 400, 414, 431), status
    query = "&".join(f"p{i}=1" for i in range(3000))
    status, got = S.raw(f"GET /v1/jobs?{query} HTTP/1.1\r\n{host}\r\n".encode())
    assert status in (0, 200, 400, 413, 414, 431), status
    for line in (b"GET", b"GET / HTTP/9.9", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\xff\xfe / HTTP/1.1"):
        status, got = S.raw(line + b"\r\n" + host.encode() + b"\r\n")
        assert status in (0, 400, 404, 405, 421, 501, 505), (line, status)
    for lines in ("", f"{host}Host: evil\r\n", f"Host: evil\r\n{host}"):
        assert S.raw(f"GET /health HTTP/1.1\r\n{lines}\r\n".encode())[0] in (400, 421), lines
    two = f"GET /health HTTP/1.1\r\n{host}\r\n".encode() * 2
    with S.connect(two) as s:  # one connection, two requests
        got = b""
        while got.count(b"HTTP/1.1 200") < 2:
            part = s.recv(65536)
            assert part, got
            got += part
    S.want(200, "GET", "/health")


@test
def ranges():
    path = f"/v1/uploads/{VIDEO}/content"
    data = open("face/face.mp4", "rb").read()
    n = len(data)
    whole = S.want(200, "GET", path)
    tag = whole.headers["ETag"]
    assert whole.body == data and whole.headers["Accept-Ranges"] == "bytes" and not tag.startswith("W/")
    for text, first, last in (("0-0", 0, 0), ("0-", 0, n - 1), ("100-199", 100, 199), (f"{n - 1}-", n - 1, n - 1), ("-1", n - 1, n - 1),
                              (f"-{n}", 0, n - 1), (f"-{n + 5}", 0, n - 1), (f"5-{n + 99}", 5, n - 1), (f"5-{10**17}", 5, n - 1)):
        a = S.want(206, "GET", path, headers={"Range": "bytes=" + text})
        assert a.headers["Content-Range"] == f"bytes {first}-{last}/{n}" and a.body == data[first:last + 1], text
    for text in (f"{n}-", f"{n}-{n + 1}", "-0", f"{10**17}-"):
        assert S.want(416, "GET", path, headers={"Range": "bytes=" + text}).headers["Content-Range"] == f"bytes */{n}", text
    for text in ("bytes=5-4", "bytes=", "bytes=a-b", "lines=0-1", "bytes=0-1,5-6", "bytes=0-1,", "bytes 0-1", "bytes=-", f"bytes={2**64}-", f"bytes=1-{2**64}",
                 "bytes=+1-2", "bytes=1-2x"):
        a = S.ask("GET", path, headers={"Range": text})
        assert a.status == 200 and a.body == data or a.status == 206 and str(2**64) in text or a.status == 416 and str(2**64) in text, (text, a.status)
    assert S.want(206, "GET", path, headers={"Range": "bytes=0-1", "If-Range": tag}).body == data[:2]
    for other in ('"other"', "W/" + tag, "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert S.want(200, "GET", path, headers={"Range": "bytes=0-1", "If-Range": other}).body == data
    for match in (tag, "*", f'"x", {tag}', "W/" + tag):
        assert not S.want(304, "GET", path, headers={"If-None-Match": match}).body
    assert S.want(200, "GET", path, headers={"If-None-Match": '"x"'}).body == data
    head = S.want(200, "HEAD", path)
    assert head.headers["Content-Length"] == str(n) and head.headers["ETag"] == tag


@test
def what_a_file_holds():
    p = S.want(200, "GET", f"/v1/uploads/{VIDEO}/probe").json()
    said = json.loads(run(LS, "probe", "--json", "face/face.mp4").stdout)
    del said["path"]
    assert p == {**said, "name": "face.mp4"} and p["is_video"] and "/" not in p["name"]
    open("o.text", "w").write("no media at all\n" * 10)
    u = S.upload("o.text")
    S.want(422, "GET", f"/v1/uploads/{u}/probe")
    part = S.announce(10)
    S.send(part, b"012")
    for what in ("probe", "faces", "content"):
        a = S.want(409, "GET", f"/v1/uploads/{part}/{what}")
        assert "3 of 10 bytes" in a.json()["error"]["message"] and a.code() == "conflict", a.body
    a = S.want(422, "POST", "/v1/estimate", video=part, audio=SPEECH)
    assert a.json()["error"]["message"].startswith("video: "), a.body
    # a playlist must not make the server read its own files, or the network's
    for body in (f"#EXTM3U\n#EXTINF:1,\n{os.path.abspath('face/face.mp4')}\n", "ffconcat version 1.0\nfile /etc/passwd\n",
                 f"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:{S.port}/health\n"):
        open("o.list", "w").write(body)
        a = S.ask("GET", f"/v1/uploads/{S.upload('o.list')}/probe")
        assert a.status == 422 or not a.json()["is_video"], a.body


@test
def faces_to_choose_from():
    path = f"/v1/uploads/{VIDEO}/faces"
    first = S.ask("GET", path)
    assert first.status == 200 or first.headers["Retry-After"] == "1"
    a = until(lambda: (a := S.ask("GET", path)).status != 202 and a)
    faces = a.json()["faces"]
    assert a.status == 200 and len(faces) == 1, a.body
    (f,) = faces
    x0, y0, x1, y1 = f["box"]
    assert 0 <= x0 < 80 < x1 <= 160 and 0 <= y0 < y1 <= 160 and f["image"] == f"{path}/{f['id']}.png", f
    picture = S.want(200, "GET", f["image"])
    open("o.png", "wb").write(picture.body)
    assert run("ffprobe", "-v", "error", "o.png").returncode == 0 and picture.headers["Content-Type"] == "image/png"
    S.want(304, "GET", f["image"], headers={"If-None-Match": picture.headers["ETag"]})
    for n in ("0", "2", "-1", "99999999999999999999", "1%2f..", "x"):
        S.want(404, "GET", f"{path}/{n}.png")


@test
def nothing_of_the_machine_is_shown():
    secret = "a line that no answer may hold"
    open("secret", "w").write(secret)
    inside = os.path.join(S.data, "secret")
    open(inside, "w").write(secret)
    ups = ["../secret", "..%2fsecret", "%2e%2e/secret", "%2e%2e%2fsecret", "....//secret", "..\\secret", "..%5csecret", "%252e%252e%252fsecret", "secret",
           os.path.abspath("secret"), "../../secret", "../../../secret", "/etc/passwd", "../../../../../../../../etc/passwd", "latentsync.db", "../latentsync.db",
           "..%2flatentsync.db", "init.mp4%00/../../../secret", "secret%00.m4s"]
    roots = ["/", "/v1/"] + [re.sub(r"{\w+}.*", "", t) for t in API["paths"] if "{" in t] + [
        f"/v1/jobs/{JOB}/", f"/v1/jobs/{JOB}/stream/", f"/v1/jobs/{JOB}/output/", f"/v1/uploads/{VIDEO}/", f"/v1/uploads/{VIDEO}/faces/",
        f"/v1/uploads/{VIDEO}/content/"]
    for root in sorted(set(roots)):
        for up in ups:
            status, got = S.raw(f"GET {root}{up} HTTP/1.1\r\nHost: localhost:{S.port}\r\nConnection: close\r\n\r\n".encode())
            assert status in (400, 404, 405), (root + up, status, got[:200])
    with S.connect("".join(f"GET {root}{up} HTTP/1.1\r\nHost: localhost:{S.port}\r\n\r\n" for root in roots for up in ups[:4]).encode() +
                   b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") as s:
        got = b""
        while part := s.recv(65536):
            got += part
    assert secret.encode() not in got and b"root:" not in got and b"SQLite format" not in got
    for upload in ("../secret", "/etc/passwd", "file:///etc/passwd", os.path.abspath("face/face.mp4"), "secret", "", NO_ID, VIDEO.upper(), VIDEO + "0", None, 5, ["x"]):
        for where in ("video", "audio"):
            a = S.ask("POST", "/v1/jobs", {"video": VIDEO, "audio": SPEECH, where: upload})
            assert a.status in (400, 404, 422), (upload, a.status)
    os.remove(inside)
    # what is said of files and of jobs holds no path of this machine
    for path in ("/v1/capabilities", "/v1/jobs", f"/v1/jobs/{JOB}", f"/v1/uploads/{VIDEO}", f"/v1/uploads/{VIDEO}/probe", "/ready", "/metrics"):
        a = S.ask("GET", path)
        assert S.data not in a.body.decode() and os.getcwd() not in a.body.decode(), path


@test
def options_that_are_none():
    for options, word in (({"nonsense": 1}, "nonsense"), ({"steps": 1001}, "steps"), ({"steps": "many"}, "steps"), ({"steps": 1e9}, "steps"), ({"quality": "superb"}, "quality"),
                          ({"face-track": "/etc/passwd"}, "face-track"), ({"output": "/tmp/x.mp4"}, "output"), ({"models": "/"}, "models"), ({"detector": "/x"}, "detector"),
                          ({"save-track": "/tmp/x"}, "save-track"), ({"job": "/tmp/x"}, "job"), ({"stats": "/tmp/x"}, "stats"), ({"device": "cpu"}, "device"),
                          ({"restart": True}, "restart"), ({"max-memory": "1T"}, "max-memory"), ({"steps": None}, "steps"), ({"steps": [2]}, "steps"),
                          ({"--steps": 2}, "--steps"), ({"steps": "2 --restart"}, "steps"), ({"video": "/etc/passwd"}, "video"), ({"seed": str(2**64)}, "seed"), ({"seed": 2**64}, "18446744073709551616")):
        a = S.ask("POST", "/v1/jobs", {"video": VIDEO, "audio": SPEECH, "options": options})
        assert a.status in (400, 422) and word in a.json()["error"]["message"], (options, a.status, a.body)
    for more in ({"priority": 11}, {"priority": -11}, {"priority": "x"}, {"priority": 0.5}, {"preview": 0}, {"preview": 61}, {"preview": "x"}, {"name": 5}, {"name": "x" * 300},
                 {"options": []}, {"options": "x"}, {"webhook": 5}, {"webhook": "https://example.org/x"}, {"unknown": 1}, {"features_from": "x"}):
        a = S.ask("POST", "/v1/jobs", {"video": VIDEO, "audio": SPEECH, **more})
        assert a.status in (400, 403, 404, 422), (more, a.status, a.body)
    offered = {o["name"]: o for o in S.want(200, "GET", "/v1/capabilities").json()["options"]}
    assert {"steps", "seed", "quality", "face", "crf", "video-codec"} <= set(offered) and not {"face-track", "output", "job", "device", "models", "detector"} & set(offered)
    assert offered["quality"]["choices"] == ["auto", "fast", "balanced", "best"] and offered["steps"]["min"] == 1 and offered["seed"]["default"] == "1247"


@test
def a_token_is_asked_for():
    token = "3d7e-correct-horse-battery-staple"
    open("o.token", "w").write(token + "\n")
    os.chmod("o.token", 0o600)
    with Server("--token-file", "o.token", data="o.data") as s:
        for t, m in operations():
            path = re.sub(r"{\w+}", NO_ID, t)
            free = API["paths"][t][m].get("security") == []
            for headers in ({}, {"Authorization": "Bearer " + token[:-1]}, {"Authorization": "Bearer " + token + "x"}, {"Authorization": "Basic " + token}, {"Cookie": "latentsync=x"},
                            {"Authorization": "Bearer "}, {"Authorization": token}, {"Cookie": f"other={token}"}):
                a = s.ask(m.upper(), path, b"{}" if m in ("post", "put", "patch") else None, headers)
                assert (a.status != 401) == free or t == "/v1/session", (t, m, headers, a.status)
        s.want(200, "GET", "/v1/jobs", headers={"Authorization": "Bearer " + token})
        s.want(200, "GET", "/v1/jobs", headers={"Authorization": "bearer " + token})
        s.want(401, "POST", "/v1/session", token="wrong")
        a = s.want(204, "POST", "/v1/session", token=token)
        cookie = a.headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie and token not in cookie, cookie
        pair = cookie.split(";")[0]
        s.want(200, "GET", "/v1/jobs", headers={"Cookie": f"a=b; {pair}; c=d"})
        s.want(401, "GET", "/v1/jobs", headers={"Cookie": pair[:-1]})
        s.want(401, "GET", "/v1/jobs", headers={"Cookie": "x" + pair})
        s.want(403, "POST", "/v1/uploads", {"name": "x", "size": 1}, {"Cookie": pair, "Origin": "http://evil.example"})
        assert "Max-Age=0" in s.want(204, "DELETE", "/v1/session", headers={"Cookie": pair}).headers["Set-Cookie"]
        assert token not in s.said()


@test
def the_page():
    a = S.want(200, "GET", "/")
    policy = a.headers["Content-Security-Policy"]
    assert a.headers["Content-Type"].startswith("text/html") and "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    page = a.body.decode()
    assert not re.search(r"https?://(?!www\.w3\.org)", page) and not re.search(r"<script(?![^>]*src=)|\son\w+=|<style|\sstyle=", page)
    files = re.findall(r'(?:src|href)="([^"#:]+)"', page)
    assert files
    for f in files:
        got = S.want(200, "GET", "/" + f.lstrip("./"))
        assert got.body and got.headers["ETag"]
        S.want(304, "GET", "/" + f.lstrip("./"), headers={"If-None-Match": got.headers["ETag"]})


@test
def names_to_download_by():
    job = S.wait(JOB)
    a = S.want(200, "HEAD", f"/v1/jobs/{JOB}/output")
    name = a.headers["Content-Disposition"]
    assert name.startswith("attachment") and "filename*=UTF-8''" in name and "%C3%BC" in name and "\n" not in name, name
    assert (S.want(200, "HEAD", f"/v1/jobs/{JOB}/output?inline=1").headers["Content-Disposition"] or "inline").startswith("inline")
    got = S.want(200, "GET", f"/v1/jobs/{JOB}/output")
    assert len(got.body) == job["result"]["bytes"] == int(a.headers["Content-Length"]) and a.headers["ETag"] == got.headers["ETag"]
    assert S.want(206, "GET", f"/v1/jobs/{JOB}/output", headers={"Range": "bytes=4-7"}).body == b"ftyp"
    S.want(304, "GET", f"/v1/jobs/{JOB}/output", headers={"If-None-Match": a.headers["ETag"]})
    S.want(416, "GET", f"/v1/jobs/{JOB}/output", headers={"Range": "bytes=99999999-"})
    for name in ("x\r\nSet-Cookie: a=b", "\u202e\u0000x", "../../etc/passwd", ";=\"", "名" * 60):
        a = S.ask("POST", "/v1/jobs", {"video": VIDEO, "audio": SPEECH, "name": name, "options": server.OPTIONS})
        assert a.status in (202, 400, 422), a.body
        if a.status == 202:
            j = S.wait(a.json()["id"])
            got = S.want(200, "HEAD", f"/v1/jobs/{j['id']}/output")
            d = got.headers["Content-Disposition"]
            assert got.headers["Set-Cookie"] is None and "/" not in d and not re.search(r"[\x00-\x1f\x7f-\xff]", d), d
            S.want(204, "DELETE", f"/v1/jobs/{j['id']}")


@test
def there_is_no_progress_of_a_server():
    bad(run(LS, "serve", "--progress", "json"), "--progress", code=2)
    assert "--progress" not in run(LS, "serve", "--help").stdout


@test
def the_server_ends_in_order():
    assert S.process.poll() is None
    S.stop()
    assert "error" not in S.said().lower(), S.said()


sys.exit(main(setup))
