#!/usr/bin/env python3
"""Downloading models, from a server that behaves as the hub and its storage do, or as none should.
usage: pull.py LATENTSYNC LATENTSYNC_WITH_TEST_KNOWLEDGE FAULTS. Prints TAP."""
import hashlib
import http.server
import io
import json
import os
import pty
import random
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import zipfile

from common import LS, digest, good, main, preload, run, test

PULL, FAULTS = sys.argv[2], sys.argv[3]
HUB = "/ByteDance/LatentSync-%s/resolve/main/%s"
VAE_URL = "/stabilityai/sd-vae-ft-mse/resolve/main/diffusion_pytorch_model.safetensors"
ZIP_URL = "/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip"
UNET, TINY, VAE = "latentsync_unet.pt", "whisper/tiny.pt", "vae/diffusion_pytorch_model.safetensors"
DET, LANDMARKS = "face/det_10g.onnx", "face/2d106det.onnx"
rng = random.Random(7)
BODY = {f: rng.randbytes(n) for f, n in ((UNET, 3_000_000), (TINY, 70_000), (VAE, 120_000), (DET, 40_000),
                                         (LANDMARKS, 9_000))}
OLD_UNET = rng.randbytes(3_000_000)  # of version 1.5
SYNCNET, SYNCNET_BODY = "auxiliary/syncnet_v2.model", rng.randbytes(50_000)
STABLE, STABLE_BODY = "stable_syncnet.pt", rng.randbytes(60_000)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def pack(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in members:
            z.writestr(name, data)
    return out.getvalue()


ZIP = pack([("1k3d68.onnx", b"not wanted" * 999), ("det_10g.onnx", BODY[DET]), ("2d106det.onnx", BODY[LANDMARKS])])


class Item:
    """What the server has under a path, and how it misbehaves."""

    def __init__(self, body, hub=True):
        self.body, self.etag = body, '"%s"' % sha(body)[:32]
        self.linked = {"X-Linked-Etag": '"%s"' % sha(body)} if hub else {}
        self.hub = hub
        self.ranges = True
        self.heeds_condition = True
        self.shift = 0      # a range begins so many bytes before what was asked for
        self.cuts = []      # for each coming request: after so many bytes the connection ends
        self.statuses = []  # for each coming request: answered with this instead
        self.location = None
        self.length = None  # what Content-Length says
        self.stall = None   # after so many bytes nothing more comes
        self.drip = None    # after so many bytes they come one by one
        self.extra = b""    # after the body
        self.chunked = False
        self.pause = 0      # seconds before each 64 kB


class Server:
    def __init__(self, context=None):
        self.items, self.log, self.sent = {}, [], 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                try:
                    server.answer(self)
                except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                    self.close_connection = True

        class Threads(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args):  # a client that does not trust the certificate
                pass

        self.httpd = Threads(("127.0.0.1", 0), Handler)
        if context:
            self.httpd.socket = context.wrap_socket(self.httpd.socket, server_side=True, do_handshake_on_connect=False)
        self.url = "%s://localhost:%d" % ("https" if context else "http", self.httpd.server_port)
        threading.Thread(target=self.httpd.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.httpd.shutdown()
        self.httpd.server_close()

    def requests(self, path):
        return [headers for p, headers in self.log if p == path]

    def answer(self, h):
        storage = h.path.startswith("/storage")
        path = h.path[len("/storage"):] if storage else h.path
        item = self.items.get(path)
        self.log.append((h.path, dict(h.headers)))
        if not item:
            return self.status(h, 404, {})
        if not storage and item.statuses:
            status = item.statuses.pop(0)
            if status != 200:
                return self.status(h, status, {})
        if not storage and item.location:
            return self.status(h, 302, {"Location": item.location, **item.linked})
        if item.hub and not storage:
            return self.status(h, 302, {"Location": self.url + "/storage" + path, "ETag": '"of the redirect"',
                                        **item.linked})
        self.body(h, item)

    def status(self, h, status, headers):
        h.send_response(status)
        for k, v in headers.items():
            h.send_header(k, v)
        h.send_header("Content-Length", "5")
        h.end_headers()
        h.wfile.write(b"page\n")

    def body(self, h, item):
        start, asked, body = 0, h.headers.get("Range"), item.body
        if asked and item.ranges and (not item.heeds_condition or h.headers.get("If-Range", item.etag) == item.etag):
            start = int(asked[len("bytes="):-1]) - item.shift
            if start >= len(body):
                h.send_response(416)
                h.send_header("Content-Range", "bytes */%d" % len(body))
                h.send_header("Content-Length", "0")
                return h.end_headers()
            h.send_response(206)
            h.send_header("Content-Range", "bytes %d-%d/%d" % (start, len(body) - 1, len(body)))
        else:
            h.send_response(200)
        h.send_header("ETag", item.etag)
        if not item.chunked:
            h.send_header("Content-Length", str(len(body) - start if item.length is None else item.length))
        h.send_header("Connection", "close")
        h.end_headers()
        h.close_connection = True
        data = body[start:] + item.extra
        cut = item.cuts.pop(0) if item.cuts else len(data)
        if item.drip is not None:
            h.wfile.write(data[:item.drip])
            for i in range(item.drip, len(data)):
                time.sleep(0.1)
                h.wfile.write(data[i:i + 1])
        for i in range(0, min(cut, len(data)), 65536):
            piece = data[i:min(i + 65536, cut)]
            if item.stall is not None and i >= item.stall:
                time.sleep(20)
            time.sleep(item.pause)
            h.wfile.write(piece)
            self.sent += len(piece)


def publish(server, version="1.6"):
    server.items = {HUB % (version, UNET): Item(BODY[UNET] if version == "1.6" else OLD_UNET),
                    HUB % (version, TINY): Item(BODY[TINY]), VAE_URL: Item(BODY[VAE]), ZIP_URL: Item(ZIP, hub=False)}
    return server.items[HUB % (version, UNET)]


def know(**other):
    """What the command under test takes for published."""
    files = {"1.6/" + UNET: BODY[UNET], "1.5/" + UNET: OLD_UNET, "buffalo_l.zip": ZIP, SYNCNET: SYNCNET_BODY, STABLE: STABLE_BODY,
             **{f: BODY[f] for f in (TINY, VAE, DET, LANDMARKS)}, **other}
    with open("known", "w") as f:
        for name, body in files.items():
            f.write(f"{name} {sha(body)} {len(body)}\n")


def know_size(size):
    """The UNet is of this size."""
    text = open("known").read().replace(f"1.6/{UNET} {sha(BODY[UNET])} {len(BODY[UNET])}", f"1.6/{UNET} {sha(b'')} {size}")
    with open("known", "w") as f:
        f.write(text)


def env(**more):
    return {**{k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith("HF_")},
            "LS_TEST_KNOWN": os.path.abspath("known"), **more}


def pull(server, *options, program=PULL, terms="--accept-licence", out="o.models", more=None, **kw):
    return run(program, "models", "pull", "--mirror", server.url, "--out", out, *([terms] if terms else []),
               *options, env=env(**(more or {})), stdin=subprocess.DEVNULL, **kw)


def refused(r, *words, code=3, name=UNET, out="o.models/1.6", part=False):
    assert r.returncode == code, f"exit {r.returncode} instead of {code}: {r.stderr}"
    for w in words:
        assert w in r.stderr, f"no {w!r} in: {r.stderr}"
    assert not os.path.exists(f"{out}/{name}"), "there is a file under the final name"
    assert os.path.exists(f"{out}/{name}.part.info") == part, os.listdir(out)
    assert os.path.exists(f"{out}/{name}.part") == part, os.listdir(out)


def complete(version="1.6", out="o.models", faces=True):
    want = {UNET: BODY[UNET] if version == "1.6" else OLD_UNET, TINY: BODY[TINY], VAE: BODY[VAE]}
    if faces:
        want.update({DET: BODY[DET], LANDMARKS: BODY[LANDMARKS]})
    have = {os.path.relpath(os.path.join(d, f), f"{out}/{version}")
            for d, _, files in os.walk(f"{out}/{version}") for f in files}
    assert have == {*want, "model.json"}, have
    assert json.load(open(f"{out}/{version}/model.json")) == {"resolution": 512 if version == "1.6" else 256}
    for name, body in want.items():
        assert digest(f"{out}/{version}/{name}") == sha(body), name


def setup():
    know()


@test
def all_files_by_way_of_redirects():
    with Server() as s:
        publish(s)
        r = good(pull(s))
        complete()
        assert "non-commercial research only" in r.stderr and "OpenRAIL++" in r.stderr and "MIT" in r.stderr
        assert "LatentSync 1.6 downloaded into o.models/1.6" in r.stdout
        assert all(h["User-Agent"].startswith("latentsync/") and h["Accept-Encoding"] == "identity"
                   for _, h in s.log), s.log
        before = len(s.log)
        r = good(pull(s))
        assert len(s.log) == before, "what is there was asked for again"
        assert r.stderr.count("there already, checked") == 5, r.stderr


@test
def what_a_server_says_does_not_count():
    with Server() as s:
        unet = publish(s)
        # the real command knows the real files
        refused(pull(s, program=LS), UNET, "sends 3000000 bytes, but the file has 5072222488")
        # another file of the same size, which the server vouches for: not even asked for
        unet.body = rng.randbytes(3_000_000)
        unet.linked = {"X-Linked-Etag": '"%s"' % sha(unet.body)}
        before = s.sent
        refused(pull(s), UNET, sha(unet.body), "instead of the published one with " + sha(BODY[UNET]))
        assert s.sent - before < 1_000_000, s.sent - before
        # the same in the header of the last response, and in none
        unet.hub = False
        refused(pull(s), UNET, sha(unet.body), sha(BODY[UNET]))
        unet.linked = {}
        refused(pull(s), UNET, sha(unet.body), "removed")


@test
def http_beyond_this_machine():
    with Server() as s:
        unet = publish(s)
        elsewhere = s.url.replace("localhost", "0.0.0.0")  # which leads here as well, but does not say so
        args = [PULL, "models", "pull", "--without-faces", "--out", "o.models"]
        for mirror in (elsewhere, elsewhere.replace("http", "HTTP"), "http://localhost@192.0.2.1",
                       "http://localhost.example.org", "http://127.0.0.1.example.org", "http://[::2]/x"):
            r = run(*args, "--mirror", mirror, env=env())
            assert r.returncode == 2 and mirror in r.stderr and "--insecure" in r.stderr, (mirror, r.stderr)
        r = run(*args, env=env(HF_ENDPOINT=elsewhere))
        assert r.returncode == 2 and elsewhere in r.stderr and "--insecure" in r.stderr, r.stderr
        assert not s.log and not os.path.exists("o.models")
        unet.location = elsewhere + "/storage" + HUB % ("1.6", UNET)
        refused(pull(s, terms="--without-faces"), UNET, "redirects to " + elsewhere)
        assert not s.requests("/storage" + HUB % ("1.6", UNET))
        good(run(*args, "--mirror", elsewhere, "--insecure", env=env()))
        complete(faces=False)


@test
def cut_connections_are_resumed():
    with Server() as s:
        unet = publish(s)
        unet.cuts = [1_100_000, 1_100_000]
        r = good(pull(s, "--retries", "1"))  # both brought the file forward
        complete()
        asked = s.requests("/storage" + HUB % ("1.6", UNET))
        assert [a.get("Range") for a in asked] == [None, "bytes=1100000-", "bytes=2200000-"], asked
        assert [a.get("If-Range") for a in asked] == [None, unet.etag, unet.etag], asked
        assert s.sent == sum(len(BODY[f]) for f in (UNET, TINY, VAE)) + len(ZIP), s.sent
        assert "retrying in 1 s" in r.stderr, r.stderr


@test
def tags_that_do_not_vouch_for_bytes():
    for tag in ('W/"weak"', '"a\x01b"', "bare", '"' + "x" * 2000 + '"'):
        with Server() as s:
            unet = publish(s)
            unet.etag, unet.cuts = tag, [1_100_000]
            good(pull(s, terms="--without-faces"))
            asked = s.requests("/storage" + HUB % ("1.6", UNET))
            assert asked[1]["Range"] == "bytes=1100000-" and "If-Range" not in asked[1], asked
            shutil.rmtree("o.models")


@test
def retries_end():
    with Server() as s:
        unet = publish(s)
        unet.cuts = [100_000, 1000, 1000, 1000]
        refused(pull(s, "--retries", "1"), UNET, "next run resumes", part=True)
        assert len(s.requests(HUB % ("1.6", UNET))) == 2
        unet.cuts = []
        sent = s.sent
        r = good(pull(s))
        assert s.requests("/storage" + HUB % ("1.6", UNET))[-1]["Range"] == "bytes=101000-"
        assert s.sent - sent == sum(len(BODY[f]) for f in BODY if f in (UNET, TINY, VAE)) - 101000 + len(ZIP)
        assert "resuming after 0.1 of 3.0 MB" in r.stderr, r.stderr
        complete()


@test
def killed_run_goes_on():
    with Server() as s:
        unet = publish(s)
        unet.pause = 0.05
        for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
            p = subprocess.Popen([PULL, "models", "pull", "--mirror", s.url, "--out", "o.models", "--accept-licence"],
                                 env=env(), stderr=subprocess.PIPE, text=True)
            size = os.path.getsize("o.models/1.6/" + UNET + ".part") if number == signal.SIGINT else 0
            while p.poll() is None and not (os.path.exists("o.models/1.6/" + UNET + ".part") and
                                            os.path.getsize("o.models/1.6/" + UNET + ".part") > size + 300_000):
                time.sleep(0.01)
            p.send_signal(number)
            _, err = p.communicate(timeout=30)
            assert p.returncode == code, (p.returncode, err)
            assert not os.path.exists("o.models/1.6/" + UNET)
        assert "same command to resume" in err, err
        unet.pause = 0
        have = os.path.getsize("o.models/1.6/" + UNET + ".part")
        good(pull(s))
        complete()
        assert s.requests("/storage" + HUB % ("1.6", UNET))[-1]["Range"] == f"bytes={have}-"


@test
def server_without_ranges():
    with Server() as s:
        unet = publish(s)
        unet.ranges, unet.cuts = False, [500_000]
        r = good(pull(s))
        complete()
        assert "from the beginning" in r.stderr, r.stderr


@test
def file_that_changed_between_runs():
    for obeys in (True, False):  # If-Range
        with Server() as s:
            item = publish(s)
            path = HUB % ("1.6", UNET)
            item.cuts = [300_000]
            refused(pull(s, "--retries", "0"), part=True)
            item.etag, item.heeds_condition = '"other"', obeys
            r = good(pull(s, terms="--without-faces"))
            complete(faces=False)
            assert ("from the beginning" in r.stderr) == obeys, r.stderr
            asked = [a.get("Range") for a in s.requests("/storage" + path)]
            assert asked == [None, "bytes=300000-"], asked
            shutil.rmtree("o.models")
    with Server() as s:  # the rest of another file, whatever its header says
        item = publish(s)
        item.cuts = [300_000]
        refused(pull(s, "--retries", "0"), part=True)
        item.body = rng.randbytes(3_000_000)
        refused(pull(s), UNET, "removed")
        item.body = BODY[UNET]
        good(pull(s))
        complete()


@test
def server_that_sends_another_range():
    with Server() as s:
        unet = publish(s)
        unet.cuts, unet.shift = [500_000], 1000
        r = good(pull(s, terms="--without-faces"))
        complete(faces=False)
        assert "from the beginning" in r.stderr, r.stderr


@test
def part_that_is_whole_too_long_or_foreign():
    info = "{url}{path}\n\"x\"\n{sha}\n{size}\n"
    for part, body, words in ((BODY[UNET], BODY[UNET], "complete, checked"),   # killed before it got its name
                              (BODY[UNET] + b"more", BODY[UNET], "complete"),
                              (b"of something else", rng.randbytes(9), "complete")):
        with Server() as s:
            publish(s)
            os.makedirs("o.models/1.6")
            open("o.models/1.6/" + UNET + ".part", "wb").write(part)
            open("o.models/1.6/" + UNET + ".part.info", "w").write(info.format(
                url=s.url, path=HUB % ("1.6", UNET), sha=sha(body), size=len(body)))
            r = good(pull(s, terms="--without-faces"))
            assert words in r.stderr
            complete(faces=False)
            shutil.rmtree("o.models")
    with Server() as s:  # 416: the part is longer than what the server has now
        item = publish(s)
        item.body = b"short" * 100
        os.makedirs("o.models/1.6")
        open("o.models/1.6/" + UNET + ".part", "wb").write(b"x" * 1000)
        open("o.models/1.6/" + UNET + ".part.info", "w").write(info.format(
            url=s.url, path=HUB % ("1.6", UNET), sha=sha(BODY[UNET]), size=len(BODY[UNET])))
        item.etag = '"x"'
        refused(pull(s), UNET, "sends 500 bytes")
        assert [a.get("Range") for a in s.requests("/storage" + HUB % ("1.6", UNET))] == ["bytes=1000-", None]


@test
def wrong_bytes():
    with Server() as s:
        unet = publish(s)
        right = sha(unet.body)
        unet.body = bytes([unet.body[0] ^ 1]) + unet.body[1:]
        refused(pull(s), UNET, right, sha(unet.body), "removed")
        assert not os.path.exists("o.models/1.6/" + UNET + ".part.info")
        # of a resumed file too
        unet.cuts = [1_000_000]
        refused(pull(s), UNET, right, sha(unet.body), "removed")
        # an unchanged one is not replaced by a wrong one
        unet.body = BODY[UNET]
        good(pull(s))
        s.items[HUB % ("1.6", UNET)] = item = Item(rng.randbytes(5000))
        item.body = rng.randbytes(5000)
        know(**{"1.6/" + UNET: b"other"})
        r = pull(s)
        know()
        assert r.returncode == 3 and digest("o.models/1.6/" + UNET) == sha(BODY[UNET]), r.stderr


@test
def lies_about_the_size():
    with Server() as s:
        unet = publish(s)
        unet.length = 1000
        refused(pull(s, "--retries", "0"), "sends 1000 bytes", "3000000")
        unet.length = 1 << 50
        refused(pull(s, "--retries", "0"), "sends 1125899906842624 bytes")
        # no length, and more than there is
        unet.length, unet.chunked, unet.extra = None, True, b"x" * 5_000_000
        refused(pull(s, "--retries", "0"), "more than the file's 3000000 bytes")
        # promised, and never sent
        unet.extra, unet.cuts = b"", [2_000_000]
        refused(pull(s, "--retries", "0"), "too early", part=True)
        for words in ("-5", "x", "99999999999999999999999"):
            unet.length, unet.linked["X-Linked-Size"] = None, words
            unet.chunked = False
            good(pull(s))
            shutil.rmtree("o.models")
        # more than the disk has
        know_size(1 << 60)
        unet.linked, unet.length = {}, 1 << 60
        refused(pull(s, "--retries", "0"), "are free", code=6)
        know()


@test
def server_that_tells_no_hash():
    with Server() as s:
        publish(s)
        for item in s.items.values():
            item.hub, item.linked = False, {}
        good(pull(s))  # known files
        complete()
        shutil.rmtree("o.models")
        item = s.items[HUB % ("1.6", UNET)]
        item.body = rng.randbytes(3_000_000)
        refused(pull(s), UNET, sha(item.body), sha(BODY[UNET]))
        item.linked = {"X-Linked-Etag": '"a265f773a47193eed794233aa2a0f0bb6d3eaa63"'}  # git's
        refused(pull(s), UNET, sha(item.body), sha(BODY[UNET]))
        item.body = b"<html>Log in to this network</html>"
        refused(pull(s), UNET, "35 bytes")


@test
def bad_redirects():
    with Server() as s, Server() as other:
        unet = publish(s)
        unet.location = s.url + HUB % ("1.6", UNET)
        refused(pull(s), "redirects")
        assert len(s.requests(HUB % ("1.6", UNET))) <= 12
        open("secret", "wb").write(BODY[UNET])
        unet.location = "file://" + os.path.abspath("secret")
        refused(pull(s), "file")
        unet.location = "ftp://localhost/x"
        refused(pull(s), "ftp")
        publish(other)
        unet.location = other.url + "/storage" + HUB % ("1.6", UNET)
        good(pull(s))
        complete()


@test
def statuses():
    with Server() as s:
        unet = publish(s)
        for status, word in ((404, "404"), (401, "401"), (403, "403"), (304, "304"), (204, "204")):
            unet.statuses = [status]
            refused(pull(s), UNET, word)
            assert len(s.requests(HUB % ("1.6", UNET))) == 1
            s.log.clear()
        unet.statuses = [500, 429]
        r = good(pull(s))
        complete()
        assert "500" in r.stderr and "429" in r.stderr and "2 of 5" in r.stderr, r.stderr
    r = pull(s, "--retries", "0", out="o.gone")  # nobody answers any more
    assert r.returncode == 3 and "connect" in r.stderr, r.stderr


@test
def silent_server():
    with Server() as s:
        unet = publish(s)
        unet.stall = 500_000
        start = time.time()
        refused(pull(s, "--timeout", "1", "--retries", "0"), UNET, "next run resumes", part=True)
        assert time.time() - start < 10
        unet.stall = None
        good(pull(s))
        complete()


@test
def dripping_server():
    with Server() as s:
        unet = publish(s)
        unet.drip = 500_000
        start = time.time()
        refused(pull(s, "--timeout", "2", "--retries", "0"), UNET, "next run resumes", part=True)
        assert time.time() - start < 20
        unet.drip = None
        good(pull(s))
        complete()
        assert s.requests("/storage" + HUB % ("1.6", UNET))[-1]["Range"].startswith("bytes=5000")


@test
def archives():
    with Server() as s:
        publish(s)
        det, marks = ("det_10g.onnx", BODY[DET]), ("2d106det.onnx", BODY[LANDMARKS])
        evil = pack([("../../evil.onnx", b"evil"), ("/tmp/ls-evil.onnx", b"evil"), ("a/../../x/det_10g.onnx", BODY[DET]),
                     ("buffalo_l/2d106det.onnx", BODY[LANDMARKS])])
        broken = bytearray(pack([det, marks]))
        at = broken.find(b"det_10g.onnx") + 500
        broken[at] ^= 0xff
        stored = io.BytesIO()
        with zipfile.ZipFile(stored, "w") as z:
            z.writestr(*det)
            z.writestr(*marks)
        crc = bytearray(stored.getvalue())
        crc[crc.find(BODY[DET]) + 9] ^= 1
        for body, words in ((b"no zip" * 100, "buffalo_l.zip cannot be read"), (ZIP[:-40], "buffalo_l.zip cannot be read"),
                            (pack([det]), "has no 2d106det.onnx"), (pack([marks]), "has no det_10g.onnx"),
                            (pack([("det_10g.onnx", BODY[DET] + b"0" * 50_000_000), marks]), "50040000 bytes instead of 40000"),
                            (pack([("det_10g.onnx", b"x" * len(BODY[DET])), marks]), sha(b"x" * len(BODY[DET]))),
                            (bytes(broken), "det_10g.onnx in buffalo_l.zip"), (bytes(crc), "CRC error")):
            know(**{"buffalo_l.zip": body})
            s.items[ZIP_URL] = Item(body, hub=False)
            r = pull(s)
            assert r.returncode == 3 and words in r.stderr, (words, r.stderr)
            have = set(os.listdir("o.models/1.6/face"))
            assert have <= {"det_10g.onnx"}, have
            shutil.rmtree("o.models/1.6/face")
        know(**{"buffalo_l.zip": evil})
        s.items[ZIP_URL] = Item(evil, hub=False)
        good(pull(s))
        complete()
        assert not os.path.exists("o.models/evil.onnx") and not os.path.exists("/tmp/ls-evil.onnx")
        know()
        # another archive than the published one is not opened
        shutil.rmtree("o.models/1.6/face")
        refused(pull(s), "buffalo_l.zip", "bytes" if len(evil) != len(ZIP) else sha(evil), name=DET)
        s.items[ZIP_URL] = Item(evil)
        refused(pull(s), "buffalo_l.zip", "bytes", name=DET)
        # and though an earlier run may have taken it for the published one
        open("o.models/1.6/face/buffalo_l.zip.part", "wb").write(evil)
        open("o.models/1.6/face/buffalo_l.zip.part.info", "w").write(
            f"{s.url}{ZIP_URL}\n\n{sha(evil)}\n{len(evil)}\n")
        refused(pull(s), "buffalo_l.zip", "bytes", name=DET)
        assert os.listdir("o.models/1.6/face") == []
        s.items[ZIP_URL] = Item(ZIP, hub=False)
        s.items[ZIP_URL].cuts = [1000]
        good(pull(s))
        assert s.requests(ZIP_URL)[-1]["Range"] == "bytes=1000-"
        complete()


@test
def terms_of_the_faces():
    with Server() as s:
        publish(s)
        r = pull(s, terms=None)
        assert r.returncode == 2 and "--accept-licence" in r.stderr and "--without-faces" in r.stderr, r.stderr
        assert "non-commercial" in r.stderr and not s.log and not os.path.exists("o.models")
        assert "only what they agreed to say" in r.stderr
        r = pull(s, "--without-faces")
        assert r.returncode == 2 and "exclude" in r.stderr
        good(pull(s, terms="--without-faces"))
        complete(faces=False)
        assert not s.requests(ZIP_URL)
        for answer, code in (("n\n", 2), ("\n", 2), ("y\n", 0)):
            pid, fd = pty.fork()
            if pid == 0:
                os.execve(PULL, [PULL, "models", "pull", "--mirror", s.url, "--out", "o.models"], env())
            said = b""
            try:
                while b"[y/N]" not in said:
                    said += os.read(fd, 4096)
                os.write(fd, answer.encode())
                while piece := os.read(fd, 4096):
                    said += piece
            except OSError:  # the other end is closed
                pass
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code, said
            os.close(fd)
        complete()
        assert b"\r" in said and b"MB" in said, said
        r = good(pull(s, terms=None))  # they are there: nothing to ask
        assert "agreed" not in r.stderr  # which was said once


@test
def versions_share_files():
    with Server() as s:
        publish(s)
        good(pull(s))
        publish(s, "1.5")
        sent = s.sent
        r = good(pull(s, "1.5"))
        complete("1.5")
        complete()
        assert s.sent - sent == len(OLD_UNET), s.sent - sent
        assert r.stderr.count("checked, hard link to") == 4 and "o.models/1.6/" + VAE in r.stderr, r.stderr
        assert os.path.samefile("o.models/1.5/" + VAE, "o.models/1.6/" + VAE)
        # a damaged one is not taken
        os.remove("o.models/1.5/" + VAE)
        with open("o.models/1.6/" + VAE, "r+b") as f:
            f.write(b"damaged")
        good(pull(s, "1.5"))
        assert digest("o.models/1.5/" + VAE) == sha(BODY[VAE])
        r = pull(s, "1.4")
        assert r.returncode == 2 and "1.6 or 1.5" in r.stderr


@test
def damaged_file_is_replaced():
    with Server() as s:
        publish(s)
        good(pull(s))
        for name in (UNET, DET):
            with open("o.models/1.6/" + name, "r+b") as f:
                f.write(b"damaged")
        good(pull(s))
        complete()


@test
def where_it_goes():
    with Server() as s:
        publish(s)
        home = os.path.abspath("o.home")
        args = [PULL, "models", "pull", "--mirror", s.url + "/", "--without-faces"]
        good(run(*args, env=env(HOME=home, XDG_DATA_HOME="")))
        complete(out="o.home/.local/share/latentsync", faces=False)
        good(run(*args, env=env(HOME=home, XDG_DATA_HOME=os.path.abspath("o.data"))))
        complete(out="o.data/latentsync", faces=False)
        for mirror in ("ftp://localhost", "localhost", "file:///tmp", ""):
            r = run(PULL, "models", "pull", "--mirror", mirror, "--out", "o.models", "--without-faces", env=env())
            assert r.returncode == 2 and "mirror" in r.stderr, r.stderr


@test
def folders_that_cannot_be_written():
    with Server() as s:
        publish(s)
        r = pull(s, more={"LD_PRELOAD": preload(FAULTS), "LS_FAULT_FROZEN": "o.models"})
        assert r.returncode == 3 and "Read-only file system" in r.stderr and not s.log, r.stderr
        os.makedirs("o.models/1.6")
        r = pull(s, more={"LD_PRELOAD": preload(FAULTS), "LS_FAULT_FROZEN": "o.models/1.6"})
        assert r.returncode == 3 and "Read-only file system" in r.stderr and UNET in r.stderr, r.stderr
        open("o.file", "w").close()
        r = pull(s, out="o.file")
        assert r.returncode == 3 and "o.file" in r.stderr, r.stderr


@test
def full_disk():
    with Server() as s:
        publish(s)
        r = pull(s, more={"LD_PRELOAD": preload(FAULTS), "LS_FAULT_PATH": UNET, "LS_FAULT_WRITE": "1000000"})
        refused(r, "No space left", "next run resumes", code=6, part=True)
        assert len(s.requests(HUB % ("1.6", UNET))) == 1
        have = os.path.getsize("o.models/1.6/" + UNET + ".part")
        assert 500_000 < have <= 1_000_000, have
        good(pull(s))
        assert s.requests("/storage" + HUB % ("1.6", UNET))[-1]["Range"] == f"bytes={have}-"
        complete()
        shutil.rmtree("o.models/1.6/face")
        r = pull(s, more={"LD_PRELOAD": preload(FAULTS), "LS_FAULT_PATH": "2d106det", "LS_FAULT_WRITE": "10"})
        assert r.returncode == 6 and "No space left" in r.stderr, r.stderr
        zips = len(s.requests(ZIP_URL))
        good(pull(s))
        assert len(s.requests(ZIP_URL)) == zips  # the archive was kept
        complete()


@test
def two_at_once():
    with Server() as s:
        unet = publish(s)
        unet.pause = 0.1
        p = subprocess.Popen([PULL, "models", "pull", "--mirror", s.url, "--out", "o.models", "--accept-licence"],
                             env=env(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while not os.path.exists("o.models/1.6/" + UNET + ".part"):
            time.sleep(0.01)
        r = pull(s)
        assert r.returncode == 7 and "another process" in r.stderr, r.stderr
        unet.pause = 0
        assert p.wait(timeout=60) == 0
        complete()


@test
def progress():
    with Server() as s:
        unet = publish(s)
        unet.pause = 0.03
        r = good(pull(s, "--progress", "json"))
        assert r.stderr == "", r.stderr
        lines = [json.loads(x) for x in r.stdout.splitlines()]
        assert lines[0]["event"] == "start" and lines[0]["command"] == "models pull", lines[0]
        assert lines[-1] == {"event": "done", "directory": "o.models/1.6", "version": "1.6", "faces": True}, lines[-1]
        mine = [x for x in lines if x["event"] == "transfer" and x["file"] == UNET and not x["checking"]]
        assert mine[-1]["bytes"] == mine[-1]["total_bytes"] == 3_000_000 and len(mine) >= 3, lines
        assert mine[-1]["bytes_per_second"] > 1e5
        assert [x["bytes"] for x in mine] == sorted(x["bytes"] for x in mine)
        shutil.rmtree("o.models")
        unet.pause = 0
        r = good(pull(s, "--quiet"))
        assert r.stderr == "" and r.stdout == "", r.stderr
        shutil.rmtree("o.models")
        del s.items[ZIP_URL]
        r = good(pull(s, "--progress", "none", terms="--without-faces"))
        assert "MB" not in r.stderr and "complete" in r.stderr
        r = pull(s)
        assert r.returncode == 3 and "404" in r.stderr and "without the mirror" in r.stderr, r.stderr


def certify(name, hosts="DNS:localhost"):
    """A certificate, in NAME.pem; what a server needs."""
    good(run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key", "-out",
             name + ".pem", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=" + hosts))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(name + ".pem", name + ".key")
    return context


@test
def certificates():
    context = certify("ours")
    certify("other")
    with Server(context) as s, Server() as plain:
        unet = publish(s)
        refused(pull(s), "certificate")
        refused(pull(s, more={"SSL_CERT_FILE": "other.pem"}), "certificate")
        assert not s.log
        good(pull(s, more={"SSL_CERT_FILE": "ours.pem"}))
        complete()
        shutil.rmtree("o.models")
        publish(plain)  # what began with https stays so
        unet.location = plain.url + "/storage" + HUB % ("1.6", UNET)
        refused(pull(s, more={"SSL_CERT_FILE": "ours.pem"}), "http")
        assert not plain.log
        s.url = s.url.replace("localhost", "127.0.0.1")  # another name than the certificate's
        refused(pull(s, more={"SSL_CERT_FILE": "ours.pem"}), "127.0.0.1")


@test
def token_stays_with_the_hub():
    context = certify("both", "DNS:localhost,IP:127.0.0.1")
    secret = {"HF_TOKEN": "hf_secret", "SSL_CERT_FILE": "both.pem"}
    with Server(context) as s, Server(context) as other, Server() as plain:
        for server in (s, other, plain):
            publish(server)
        path = "/storage" + HUB % ("1.6", UNET)
        for elsewhere in (other.url, s.url.replace("localhost", "127.0.0.1")):  # another port, another name
            s.items[HUB % ("1.6", UNET)].location = elsewhere + path
            s.log.clear()
            good(pull(s, more=secret))
            complete()
            for asked, headers in s.log:
                own = asked != path and asked != ZIP_URL
                assert headers.get("Authorization") == ("Bearer hf_secret" if own else None), (asked, headers)
            assert {ZIP_URL, HUB % ("1.6", UNET), VAE_URL} <= {asked for asked, _ in s.log}, s.log
            shutil.rmtree("o.models")
        assert other.requests(path) and not any("Authorization" in h for _, h in other.log), other.log
        good(pull(plain, more=secret))  # everybody could read it
        assert not any("Authorization" in h for _, h in plain.log), plain.log
        for token in ("a b", "a\r\nX: y", "\u00e4"):
            r = pull(s, out="o.none", more={**secret, "HF_TOKEN": token})
            assert r.returncode == 2 and "token" in r.stderr and token not in r.stderr, r.stderr
        good(pull(s, out="o.other", more={**secret, "HF_TOKEN": ""}))


def listed(stderr):
    """What is to be fetched by hand: URL, SHA-256 and path."""
    words = [line.removeprefix("latentsync: ").split(" ") for line in stderr.splitlines()]
    return [w for w in words if len(w) == 3 and len(w[1]) == 64]


def fetch(lines):
    for url, _, path in lines:
        body = {UNET: BODY[UNET], TINY: BODY[TINY], VAE: BODY[VAE], "face/buffalo_l.zip": ZIP}
        with open(path, "wb") as f:
            f.write(next(b for name, b in body.items() if path.endswith(name)))


@test
def offline_lists_what_to_fetch():
    with Server() as s:
        publish(s)
    want = [[s.url + url, sha(body), "o.models/1.6/" + name] for url, body, name in
            ((HUB % ("1.6", UNET), BODY[UNET], UNET), (HUB % ("1.6", TINY), BODY[TINY], TINY), (VAE_URL, BODY[VAE], VAE),
             (ZIP_URL, ZIP, "face/buffalo_l.zip"))]
    start = time.time()
    r = pull(s)
    assert r.returncode == 3 and "connect" in r.stderr and "retrying" not in r.stderr, r.stderr
    assert time.time() - start < 10
    assert listed(r.stderr) == want, r.stderr
    assert listed(pull(s, terms="--without-faces").stderr) == want[:3]
    fetch(want)
    good(pull(s))
    complete()
    # what is not as published is asked for again, and nothing else
    with open("o.models/1.6/" + TINY, "r+b") as f:
        f.write(b"damaged")
    os.remove("o.models/1.6/" + DET)
    r = pull(s)
    assert r.returncode == 3 and TINY + ": not the published file" in r.stderr, r.stderr
    assert listed(r.stderr) == [want[1], want[3]], r.stderr
    fetch(want)
    good(pull(s))
    complete()
    # a name that does not resolve
    s.url = "https://name.invalid"
    r = pull(s, out="o.other")
    assert r.returncode == 3 and "resolve" in r.stderr and "retrying" not in r.stderr, r.stderr
    assert len(listed(r.stderr)) == 4, r.stderr


@test
def connection_lost_later_is_retried():
    with Server() as s, Server() as gone:
        unet = publish(s)
    with Server() as s:
        unet = publish(s)
        unet.location = gone.url + "/storage"
        refused(pull(s, "--retries", "1"), "retrying in 1 s", "connect")
        assert len(s.requests(HUB % ("1.6", UNET))) == 2
        unet.location = None
        r = good(pull(s))
        assert not listed(r.stderr)


@test
def endpoint_of_the_hub():
    with Server() as s:
        publish(s)
        args = [PULL, "models", "pull", "--out", "o.models"]
        nowhere = {"https_proxy": "http://localhost:1"}
        r = run(*args, "--accept-licence", env=env(HF_ENDPOINT=s.url + "/", **nowhere))
        assert r.returncode == 3 and "retrying" not in r.stderr, r.stderr
        complete(faces=False)
        assert listed(r.stderr) == [["https://github.com" + ZIP_URL, sha(ZIP), "o.models/1.6/face/buffalo_l.zip"]], r.stderr
        r = run(*args, "--without-faces", "--out", "o.other", env=env(HF_ENDPOINT="", **nowhere))
        assert r.returncode == 3 and "https://huggingface.co" + VAE_URL in [x[0] for x in listed(r.stderr)], r.stderr
        r = run(*args, "--without-faces", "--out", "o.other", env=env(https_proxy=s.url))  # which connects to nobody
        assert r.returncode == 3 and "retrying" not in r.stderr and len(listed(r.stderr)) == 3, r.stderr
        r = run(*args, "--without-faces", env=env(HF_ENDPOINT="ftp://localhost"))
        assert r.returncode == 2 and "ftp://localhost" in r.stderr, r.stderr
        before = len(s.log)
        good(run(*args, "--without-faces", "--mirror", s.url, "--out", "o.mirror", env=env(HF_ENDPOINT="ftp://localhost")))
        assert len(s.log) > before


def put(path, body):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(body)


def take(origin, *options, out="o.models", **kw):
    return run(PULL, "models", "import", "--out", out, origin, *options, env=env(), **kw)


def snapshot(root):
    return {os.path.join(d, f): (os.readlink(p) if os.path.islink(p := os.path.join(d, f)) else
                                 (os.stat(p).st_ino, os.stat(p).st_mtime_ns, os.stat(p).st_size))
            for d, _, files in os.walk(root) for f in files}


def collect(root):
    """A folder with what other programs keep."""
    cache = f"{root}/.cache/huggingface/hub/models--stabilityai--sd-vae-ft-mse"
    put(f"{root}/LatentSync/checkpoints/{UNET}", BODY[UNET])
    put(f"{root}/ComfyUI/custom_nodes/ComfyUI-LatentSyncWrapper/checkpoints/{TINY}", BODY[TINY])
    put(f"{cache}/blobs/{sha(BODY[VAE])}", BODY[VAE])
    os.makedirs(f"{cache}/snapshots/31f26f")
    os.symlink(f"../../blobs/{sha(BODY[VAE])}", f"{cache}/snapshots/31f26f/diffusion_pytorch_model.safetensors")
    put(f"{root}/.insightface/models/buffalo_l/det_10g.onnx", BODY[DET])
    put(f"{root}/.insightface/models/buffalo_l/2d106det.onnx", BODY[LANDMARKS])


@test
def import_from_other_programs():
    collect("o.from")
    before = snapshot("o.from")
    r = good(take("o.from"))
    complete()
    assert snapshot("o.from") == before
    assert "1.6 imported into o.models/1.6" in r.stdout and r.stderr.count("checked, hard link to") == 5, r.stderr
    assert os.path.abspath("o.from/LatentSync/checkpoints/" + UNET) in r.stderr, r.stderr
    assert not listed(r.stderr)
    for name in (UNET, TINY, VAE, DET):
        assert not os.path.islink("o.models/1.6/" + name) and os.stat("o.models/1.6/" + name).st_nlink == 2
    r = good(take("o.from"))
    assert r.stderr.count("there already, checked") == 5, r.stderr
    with Server() as s:
        good(pull(s))  # nothing is left to ask for
        assert not s.log
    # a damaged one is replaced, and the original of the link is not what is written to
    os.remove("o.models/1.6/" + TINY)
    put("o.models/1.6/" + TINY, b"damaged")
    os.remove("o.models/1.6/" + VAE)
    os.symlink("gone", "o.models/1.6/" + VAE)
    good(take("o.from"))
    complete()
    assert snapshot("o.from") == before


@test
def syncnets_if_wanted():
    wanted = {SYNCNET: SYNCNET_BODY, STABLE: STABLE_BODY}
    for version in ("1.6", "1.5"):
        urls = {HUB % (version, SYNCNET), HUB % ("1.6", STABLE)}  # it is the same for both
        with Server() as s:
            publish(s, version)
            s.items.update({HUB % (version, SYNCNET): Item(SYNCNET_BODY), HUB % ("1.6", STABLE): Item(STABLE_BODY)})
            out = f"o.models{version}"
            r = good(pull(s, version, out=out))
            complete(version, out)
            assert "SyncNet" not in r.stderr, r.stderr
            before = len(s.log)
            r = good(pull(s, version, "--syncnet", out=out))
            assert "StableSyncNet, by ByteDance" in r.stderr and "MIT" in r.stderr, r.stderr
            assert all(digest(f"{out}/{version}/{f}") == sha(body) for f, body in wanted.items())
            assert {p for p, _ in s.log[before:]} == urls | {"/storage" + u for u in urls}, s.log[before:]
    put("o.from/vae", BODY[VAE])
    r = good(take("o.from", "--syncnet", out="o.more"))
    assert [x[2] for x in listed(r.stderr)] == ["o.more/1.6/" + f for f in (UNET, TINY, SYNCNET, STABLE, "face/buffalo_l.zip")]
    for name, body in wanted.items():
        put("o.from/" + os.path.basename(name) + "2", body)
    r = good(take("o.from", out="o.more"))
    assert all(os.path.samefile("o.more/1.6/" + f, "o.from/" + os.path.basename(f) + "2") for f in wanted)
    assert len(listed(r.stderr)) == 3, r.stderr
    for name, body in wanted.items():
        good(run(LS, "models", "random", "--size", "mini", "--out", "o.mini"))
        good(run(LS, "models", "check", "o.mini"))
        put("o.mini/" + name, body)
        r = run(LS, "models", "check", "o.mini")
        assert r.returncode == 4 and name in r.stderr, r.stderr
        shutil.rmtree("o.mini")


@test
def import_of_a_part():
    put("o.from/checkpoints/renamed.bin", BODY[TINY])
    put("o.from/a/same size", b"x" * len(BODY[VAE]))
    put("o.from/1.5.pt", OLD_UNET + b"0")
    know(**{"1.5/" + UNET: OLD_UNET + b"0"})
    r = good(take("o.from"))
    assert os.listdir("o.models/1.6/whisper") == ["tiny.pt"] and not os.path.exists("o.models/1.6/" + UNET)
    assert "seems to have the UNet of LatentSync 1.5, not of 1.6" in r.stderr, r.stderr
    assert "same size has the size of " + VAE + " but not its SHA-256" in r.stderr, r.stderr
    assert [x[2] for x in listed(r.stderr)] == ["o.models/1.6/" + f for f in (UNET, VAE, "face/buffalo_l.zip")], r.stderr
    assert listed(r.stderr)[0][0] == "https://huggingface.co" + HUB % ("1.6", UNET)
    assert listed(r.stderr)[0][1] == sha(BODY[UNET])
    r = take("o.from")
    assert r.returncode == 3 and "no published file" in r.stderr and len(listed(r.stderr)) == 3, r.stderr
    good(take("o.from", "1.5"))
    assert os.path.samefile("o.models/1.5/" + UNET, "o.from/1.5.pt")
    assert os.path.samefile("o.models/1.5/" + TINY, "o.models/1.6/" + TINY)
    know()
    put("o.zip/Downloads/buffalo.zip", ZIP)
    put("o.zip/unet", BODY[UNET])
    put("o.zip/vae", BODY[VAE])
    r = good(take("o.zip"))
    complete()
    assert "from o.zip/Downloads/buffalo.zip" in r.stderr, r.stderr
    for origin in ("o.nowhere", "o.zip/vae"):
        r = take(origin, out="o.more")
        assert r.returncode == 3 and origin in r.stderr, r.stderr
    r = run(PULL, "models", "import", env=env())
    assert r.returncode == 2 and "FOLDER is missing" in r.stderr, r.stderr


@test
def import_from_another_disk():
    origin = "/dev/shm/ls-import-%d" % os.getpid()
    if not os.access("/dev/shm", os.W_OK) or os.stat("/dev/shm").st_dev == os.stat(".").st_dev:
        return "there is no other disk"
    try:
        collect(origin)
        r = good(take(origin))
        complete()
        assert r.stderr.count("symbolic link to " + origin) == 5, r.stderr
        assert os.readlink("o.models/1.6/" + UNET) == f"{origin}/LatentSync/checkpoints/{UNET}"
        assert "/blobs/" in os.readlink("o.models/1.6/" + VAE)
    finally:
        shutil.rmtree(origin)


@test
def import_of_hostile_folders():
    collect("o.from")
    name = os.fsencode("o.from/") + b"bad\n\x1b[31m\xff"
    os.rename("o.from/LatentSync", name)
    os.symlink("..", "o.from/ComfyUI/up")
    os.symlink("gone", "o.from/dangling")
    os.mkfifo("o.from/pipe")
    r = subprocess.run([PULL, "models", "import", "--out", "o.models", "o.from"], env=env(), capture_output=True, timeout=60)
    assert r.returncode == 0, r.stderr
    complete()
    assert b"\x1b" not in r.stderr and b"bad??[31m" in r.stderr, r.stderr
    # folders without end
    for i in range(15):
        os.makedirs(f"o.maze/{i}")
        for k in range(9):
            os.symlink(f"../{i + 1}", f"o.maze/{i}/{k}")
    os.makedirs("o.maze/15")
    r = take("o.maze", out="o.more")
    assert r.returncode == 3 and "only the first 200000" in r.stderr, r.stderr
    put("o.deep/" + "d/" * 40 + "tiny.pt", BODY[TINY])
    assert take("o.deep", out="o.more").returncode == 3


@test
def import_is_interrupted():
    put("o.from/unet", b"")
    os.truncate("o.from/unet", 1 << 36)
    know_size(1 << 36)
    p = subprocess.Popen([PULL, "models", "import", "--progress", "json", "--out", "o.models", "o.from"], env=env(),
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = {}
    while line.get("event") != "transfer":
        line = json.loads(p.stdout.readline())
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=30)
    know()
    assert line["checking"] and line["file"] == UNET and line["total_bytes"] == 1 << 36, line
    assert json.loads(out.splitlines()[-1])["code"] == "LS_ECANCELED", out
    assert p.returncode == 130 and not os.path.exists("o.models/1.6/" + UNET), (p.returncode, err)


@test
def usage():
    r = good(run(LS, "models", "pull", "--help"))
    for word in ("--mirror", "--out", "--accept-licence", "SSL_CERT_FILE"):
        assert word in r.stdout, word
    assert "models pull" in run(LS, "models", "--help").stdout
    for args in (["1.6", "1.5"], ["--retries", "x"], ["--timeout", "0"], ["--wrong"]):
        r = run(LS, "models", "pull", *args)
        assert r.returncode == 2 and 'Try "latentsync models pull --help"' in r.stderr, r.stderr


sys.exit(main(setup))
