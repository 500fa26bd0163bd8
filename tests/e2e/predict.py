#!/usr/bin/env python3
"""The server as cog's and Replicate's clients use one. Prints TAP.
usage: predict.py LATENTSYNC"""
import sys
import time

import serve_http
from common import TESTS, ffmpeg, main, syllables, test

TESTS.clear()  # of the other program


def setup():
    global SERVER, INPUT
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=2", "-pix_fmt", "yuv420p", "video.mp4")
    syllables("speech.wav", 1.5, (0, 1.5, 4))
    SERVER = serve_http.Server()
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
