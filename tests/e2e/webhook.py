#!/usr/bin/env python3
"""Calls that the server makes when a job has ended, to a server of ours with TLS. Prints TAP.
usage: webhook.py LATENTSYNC"""
import base64
import hashlib
import hmac
import http.server
import json
import os
import ssl
import sys
import threading
import time

import serve_http
from common import TESTS, ffmpeg, main, run, syllables, test

TESTS.clear()  # of the other program
SECRET = b"thirty-two bytes of a test secret"


class Receiver(http.server.BaseHTTPRequestHandler):
    calls, answers = [], []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).calls.append((self.path, dict(self.headers), body, time.time()))
        status, headers = self.answers.pop(0) if self.answers else (200, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *args):
        pass


def setup():
    global PORT
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=2", "-pix_fmt", "yuv420p", "video.mp4")
    syllables("speech.wav", 1.5, (0, 1.5, 4))
    r = run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-keyout",
            "key.pem", "-out", "ours.pem", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
    assert r.returncode == 0, r.stderr
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("ours.pem", "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    PORT = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with open("secret", "wb") as f:
        f.write(b"whsec_" + base64.b64encode(SECRET) + b"\n")
    os.environ["SSL_CERT_FILE"] = os.path.abspath("ours.pem")
    os.environ["https_proxy"] = "http://127.0.0.1:1"  # is not to be used


def serve(hosts, data="data"):
    return serve_http.Server("--webhook-hosts", hosts, "--webhook-secret", "secret", data=data)


def uploads(server):
    ids = []
    for name in ("video.mp4", "speech.wav"):
        data = open(name, "rb").read()
        where, made = server.upload(data, name)
        assert server.ask("PATCH", where, data, Upload_Offset="0")[0] == 204
        ids.append(made["id"])
    return ids


def canceled_job(server, webhook):
    video, audio = uploads(server)
    status, _, job = server.ask("POST", "/v1/jobs", {"video": video, "audio": audio, "webhook": webhook})
    if status != 202:
        return status, job
    server.ask("POST", f"/v1/jobs/{job['id']}/cancel", b"")
    while server.ask("GET", f"/v1/jobs/{job['id']}")[2]["state"] in ("queued", "running"):
        time.sleep(0.1)
    return status, server.ask("GET", f"/v1/jobs/{job['id']}")[2]


def arrived(count, seconds=60):
    end = time.time() + seconds
    while len(Receiver.calls) < count and time.time() < end:
        time.sleep(0.05)
    assert len(Receiver.calls) == count, Receiver.calls
    return Receiver.calls


def check(call, job):
    path, headers, body, at = call
    headers = {k.lower(): v for k, v in headers.items()}
    told = json.loads(body)
    assert path == "/hook?x=1" and headers["content-type"] == "application/json"
    assert told["type"] == "job." + job["state"] and told["data"]["id"] == job["id"] and told["timestamp"] == job["finished"]
    assert abs(int(headers["webhook-timestamp"]) - at) < 10
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    code = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == "v1," + code
    return headers["webhook-id"]


@test
def a_job_that_ended_is_told_of_until_it_is_taken():
    Receiver.calls.clear()
    Receiver.answers[:] = [(500, {}), (302, {"Location": f"https://127.0.0.1:{PORT}/elsewhere"})]
    server = serve(f"127.0.0.1:{PORT}")
    status, job = canceled_job(server, f"https://127.0.0.1:{PORT}/hook?x=1")
    assert status == 202 and job["state"] == "canceled", job
    ids = {check(c, job) for c in arrived(3)}
    assert len(ids) == 1, ids
    time.sleep(1.5)
    arrived(3)
    assert server.stop() == 0


@test
def what_was_not_taken_is_told_by_the_next_server():
    Receiver.calls.clear()
    Receiver.answers[:] = [(503, {})] * 2
    server = serve(f"127.0.0.1:{PORT}", "o.data")
    _, job = canceled_job(server, f"https://127.0.0.1:{PORT}/hook?x=1")
    arrived(1)
    server.stop(9)
    server = serve(f"127.0.0.1:{PORT}", "o.data")
    ids = {check(c, job) for c in arrived(3)}
    assert len(ids) == 1, ids
    assert server.stop() == 0
    server = serve(f"127.0.0.1:{PORT}", "o.data")
    time.sleep(1)
    arrived(3)
    assert server.stop() == 0


@test
def nobody_else_is_called():
    Receiver.calls.clear()
    server = serve(f"localhost:{PORT},hooks.example.org", "o.data")
    for url in ["http://localhost/", f"https://127.0.0.1:{PORT}/", "https://localhost/", f"https://user:a@localhost:{PORT}/",
                f"https://localhost:{PORT}@other.example.org/", "https://hooks.example.org.evil.example/", "file:///etc/passwd", "x", "",
                "https://hooks.example.org:8443/"]:
        status, answer = canceled_job(server, url)
        assert status in (400, 422) and "webhook" in answer["error"]["message"], (url, status, answer)
    # the name is allowed; that it stands for this machine is not
    status, job = canceled_job(server, f"https://localhost:{PORT}/hook?x=1")
    assert status == 202, job
    time.sleep(3)
    assert not Receiver.calls and server.stop() == 0
    server = serve(f"localhost:{PORT},127.0.0.1", "o.data")
    check(arrived(1)[0], job)
    assert server.stop() == 0
    server = serve_http.Server(data="o.other")
    status, answer = canceled_job(server, f"https://localhost:{PORT}/")
    assert status in (400, 422) and "calls nobody" in answer["error"]["message"], answer
    assert server.stop() == 0


if __name__ == "__main__":
    sys.exit(main(setup))
