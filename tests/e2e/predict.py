#!/usr/bin/env python3
"""The server as cog's and Replicate's clients use one. Prints TAP.
usage: predict.py LATENTSYNC [PUPPET]"""
import base64
import os
import sys
import time

PUPPET = os.path.abspath(sys.argv[2]) if sys.argv[2:] else None
MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../models/mini")
import serve_http  # noqa: E402
from common import LS, TESTS, ffmpeg, good, main, run, syllables, test, until  # noqa: E402

TESTS.clear()  # of the other program


def setup():
    global SERVER, INPUT
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=2", "-pix_fmt", "yuv420p", "video.mp4")
    syllables("speech.wav", 1.5, (0, 1.5, 4))
    SERVER = serve_http.Server("--models", MODELS)
    ids = []
    for name in ("video.mp4", "speech.wav"):
        data = open(name, "rb").read()
        where, made = SERVER.upload(data, name)
        assert SERVER.ask("PATCH", where, data, Upload_Offset="0")[0] == 204
        ids.append("upload:" + made["id"])
    INPUT = {"video": ids[0], "audio": ids[1], "guidance_scale": 1.5, "inference_steps": 3, "seed": 7}


def ended(made):
    while True:
        status, _, p = SERVER.ask("GET", "/predictions/" + made["id"])
        assert status == 200, p
        if p["status"] not in ("starting", "processing"):
            return p
        time.sleep(0.2)


@test
def a_prediction_from_its_start_to_its_end():
    assert SERVER.ask("GET", "/health-check")[2]["status"] in ("READY", "BUSY")
    status, _, made = SERVER.ask("POST", "/predictions", {"input": INPUT}, Prefer="respond-async")
    assert status == 202 and made["status"] in ("starting", "processing"), (status, made)
    assert made["output"] is None and made["error"] is None and made["input"] == INPUT, made
    job = SERVER.ask("GET", "/v1/jobs/" + made["id"])[2]
    assert {"guidance": 1.5, "steps": 3, "seed": 7}.items() <= job["options"].items(), job
    p = ended(made)  # there is no face in this video
    assert p["status"] == "failed" and "face" in p["error"] and p["output"] is None and p["completed_at"], p


@test
def one_that_is_canceled_and_put_again():
    body = {"input": dict(INPUT, seed=8)}
    status, _, made = SERVER.ask("PUT", "/predictions/mine-1", body)
    assert status == 202, made
    status, _, again = SERVER.ask("PUT", "/predictions/mine-1", body)
    assert status in (201, 202) and again["id"] == made["id"], again
    assert SERVER.ask("PUT", "/predictions/mine-1", {"input": INPUT})[0] == 422
    assert SERVER.ask("POST", f"/predictions/{made['id']}/cancel", b"")[0] == 200
    assert ended(made)["status"] in ("canceled", "failed")
    assert SERVER.ask("POST", f"/predictions/{made['id']}/cancel", b"")[0] == 200


def data_uri(path, kind):
    return f"data:{kind};base64," + base64.b64encode(open(path, "rb").read()).decode()


@test
def one_that_succeeds_with_its_files_in_the_request():
    if not PUPPET:
        return "no drawn speakers"
    good(run(PUPPET, "--seed", 5, "--size", 160, "--voice", "en-us", "--text", "Mama.", "face"))
    good(run(LS, "sync", "-m", MODELS, "--steps", 2, "face/face.mp4", "face/speech.wav", "-o", "whole.mp4"))
    body = {"input": {"video": data_uri("face/face.mp4", "video/mp4"), "audio": data_uri("face/speech.wav", "audio/wav"), "inference_steps": 2}}
    status, _, first = SERVER.ask("PUT", "/predictions/talk", body, Prefer="wait=0")
    assert status == 202 and first["status"] in ("starting", "processing"), first
    before = set(os.listdir("data/uploads"))

    def finished():  # a wait is a minute at most
        status, _, p = SERVER.ask("PUT", "/predictions/talk", body, Prefer="respond-async, wait=60")
        assert status in (201, 202) and p["id"] == first["id"], (status, p)
        return status == 201 and p
    p = until(finished, 600)
    assert p["status"] == "succeeded" and p["error"] is None and p["metrics"]["predict_time"] > 0, p
    assert p["input"]["inference_steps"] == 2 and p["input"]["video"].startswith("upload:"), p
    status, headers, got = SERVER.ask("GET", p["output"])
    assert status == 200 and headers["Content-Type"] == "video/mp4" and got == open("whole.mp4", "rb").read()
    until(lambda: set(os.listdir("data/uploads")) == before)  # repetitions leave no files
    status, _, again = SERVER.ask("POST", "/predictions", {"input": dict(p["input"], video=body["input"]["video"])})
    assert status == 202 and again["id"] != p["id"], again  # an upload and a file
    p = until(lambda: (p := SERVER.ask("GET", "/predictions/" + again["id"])[2])["status"] == "succeeded" and p, 600)
    assert SERVER.ask("GET", p["output"])[2] == got


@test
def files_that_are_none():
    before = set(os.listdir("data/uploads"))
    for uri in ("data:video/mp4,AAAA", "data:video/mp4;base64,A*AA", "data:video/mp4;base64,", "data:video/mp4;base64,AAA", "data:", "data:;base64",
                "data:video/mp4;base64," + base64.b64encode(b"no video" * 100).decode()):
        for member in ("video", "audio"):
            status, _, answer = SERVER.ask("POST", "/predictions", {"input": dict(INPUT, **{member: uri})}, Prefer="wait")
            assert status == 422 and member in answer["error"]["message"], (uri, status, answer)
    c = SERVER.connect()
    c.putrequest("POST", "/predictions")
    for header in (("Content-Type", "application/json"), ("Content-Length", str((16 << 20) + 1))):
        c.putheader(*header)
    c.endheaders()
    r = c.getresponse()
    assert r.status == 413 and b"/v1/uploads" in r.read()
    c.close()
    assert SERVER.ask("POST", "/v1/estimate", {"x": "A" * (64 << 10)})[0] == 413  # elsewhere JSON is small
    until(lambda: set(os.listdir("data/uploads")) == before)


@test
def what_is_refused():
    for body in [{}, {"input": {}}, {"input": dict(INPUT, audio="http://127.0.0.1/a.wav")}, {"input": dict(INPUT, lips=1)},
                 {"input": dict(INPUT, inference_steps="many")}, {"input": dict(INPUT, video="upload:" + "0" * 32)},
                 {"input": INPUT, "webhook": "https://example.org/"}]:
        status, _, answer = SERVER.ask("POST", "/predictions", body)
        assert status in (400, 422) and answer["error"]["message"], (status, body, answer)
    assert SERVER.ask("GET", "/predictions/" + "0" * 32)[0] == 404
    assert SERVER.ask("POST", f"/predictions/{'0' * 32}/cancel", b"")[0] == 404
    assert SERVER.stop() == 0


sys.exit(main(setup))
