#!/usr/bin/env python3
"""The examples: their form, and what they run, with the program. Prints TAP.
usage: examples.py LATENTSYNC SOURCE"""
import base64
import contextlib
import fnmatch
import glob
import http.server
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import threading
import types

SOURCE = os.path.abspath(sys.argv[2])
sys.path[:0] = [os.path.join(SOURCE, "tests/e2e"), os.path.join(SOURCE, "tests/examples")]
from common import LS, QUICK, digest, ffmpeg, good, main, probe, run, test, track  # noqa: E402
from dockerfile import instructions  # noqa: E402

DOCKERFILES = ["Dockerfile", "examples/runpod/Dockerfile"]


def source(path):
    return os.path.join(SOURCE, path)


def read(path):
    with open(source(path)) as f:
        return f.read()


def setup():
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=2", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "video.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=f=300:r=16000:d=1", "speech.wav")
    track("track.jsonl", 50, cx=80, cy=60, s=40)
    good(run(LS, "models", "random", "--size", "mini", "--out", "models"))
    # the program as the examples call it, on a video whose faces are known
    for name, more in (("latentsync", "-m models -t track.jsonl " + " ".join(QUICK)), ("faceless", "-m models " + " ".join(QUICK))):
        with open(name, "w") as f:
            f.write(f'#!/bin/sh\ncase $1 in\nsync | plan) c=$1 && shift && exec {LS} $c {more} "$@" ;;\nesac\nexec {LS} "$@"\n')
        os.chmod(name, 0o755)
    os.environ["LATENTSYNC"] = os.path.abspath("latentsync")
    os.environ["LATENTSYNC_MODELS"] = os.path.abspath("models")


def shell(text, what, dialect="sh"):
    r = subprocess.run(["shellcheck", "-s", dialect, "-"], input=text, capture_output=True, text=True)
    assert r.returncode == 0, f"{what}: {r.stdout}"


def is_left_out(path, rules):
    """Whether .dockerignore keeps a path from the build: the last rule that matches counts."""
    out = False
    for rule in rules:
        pattern = rule.lstrip("!")
        parts = path.split("/")
        if any(fnmatch.fnmatch("/".join(parts[:n]), pattern) for n in range(1, len(parts) + 1)):
            out = not rule.startswith("!")
    return out


@test
def dockerfiles_copy_what_there_is_and_do_not_run_as_root():
    rules = [line for line in read(".dockerignore").splitlines() if line and line[0] != "#"]
    for path in DOCKERFILES:
        steps, stages = list(instructions(source(path))), []
        folder = os.path.dirname(path)
        for word, rest in steps:
            assert word in {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}, word
            if word == "FROM":
                assert re.fullmatch(r"(debian:12-slim|latentsync)( AS \w+)?", rest), rest
                stages += re.findall(r" AS (\w+)", rest)
            elif word == "COPY":
                *copied, _ = rest.split()
                if copied[0].startswith("--from="):
                    assert copied[0][7:] in stages, rest
                    continue
                for pattern in copied:
                    found = glob.glob(source(os.path.join(folder, pattern)))
                    assert found, f"{path}: {pattern} is not there"
                    assert folder or not any(is_left_out(os.path.relpath(f, SOURCE), rules) for f in found), pattern
            elif word == "RUN":
                shell(rest, path)
                if "apt-get install" in rest:
                    assert "--no-install-recommends" in rest and rest.endswith(("rm -rf /var/lib/apt/lists/*",)) or "venv" in rest, rest
            elif word in ("ENTRYPOINT", "CMD"):
                assert isinstance(json.loads(rest), list)
        users = [rest for word, rest in steps if word == "USER"]
        assert users and users[-1] not in ("root", "0"), users
        assert steps[-1][0] == "CMD" and any(word == "HEALTHCHECK" for word, _ in steps)
    # no models of others, and nothing that is secret or large, goes to the engine
    for path in (".git/config", "token", "build/latentsync", "shared/models/a.pt", "tests/data/mask_512.safetensors", "tools/train/train.py"):
        assert is_left_out(path, rules), path
    assert is_left_out("models/full/vae.pt", rules) and not is_left_out("models/mini/vae.pt", rules)


@test
def what_the_image_installs_is_what_the_program_needs():
    """The packages of the last stage have every library that the program is linked with."""
    if "Debian GNU/Linux 12" not in open("/etc/os-release").read():
        return "the Dockerfile is for Debian 12"
    installed = next(rest for word, rest in reversed(list(instructions(source("Dockerfile")))) if word == "RUN" and "apt-get install" in rest)
    names = set(re.findall(r"[\w.+-]+", installed))
    needed = re.findall(r"NEEDED\s+(\S+)", good(run("objdump", "-p", LS)).stdout)
    files = run("dpkg-query", "-S", *("*/" + library for library in needed)).stdout.splitlines()
    for library in needed:
        owners = {line.split(":")[0] for line in files if line.endswith("/" + library)}
        assert owners & (names | {"libc6"}), (library, owners)
    listed = re.search(r"system_packages:\n((?:    - \S+\n)+)", read("examples/cog/cog.yaml")).group(1).split()[1::2]
    assert set(listed) == {n for n in names if re.match(r"lib.+\d$", n)}, listed
    # and ./dev builds with what the first stage has
    first = next(rest for word, rest in instructions(source("Dockerfile")) if word == "RUN")
    wanted = re.search(r"build_packages=\((.*?)\)", read("dev"), re.S).group(1).split()
    assert set(wanted) - {"libcmocka-dev"} == set(re.findall(r"(?<= )[a-z][\w.+-]*(?= )", first.split("recommends")[1].split("&&")[0])), first
    for other in re.findall(r"apt-get install[^&]*?\n    cd ", read("examples/apptainer/latentsync.def"), re.S):
        assert set(wanted) - {"libcmocka-dev"} <= set(other.split()), other


@test
def yaml_is_yaml_and_names_what_there_is():
    try:
        import yaml
    except ImportError:
        return "python3-yaml is not installed"
    compose = yaml.safe_load(read("compose.yaml"))
    service = compose["services"]["latentsync"]
    assert service["read_only"] and service["ports"] == ["127.0.0.1:7860:7860"] and service["volumes"] == ["data:/data"]
    assert set(service["secrets"]) == set(compose["secrets"]) and "data" in compose["volumes"]
    assert "/run/secrets/" + service["secrets"][0] in service["command"]
    assert run(LS, *service["command"][:1], "--help").returncode == 0
    cards = yaml.safe_load(read("compose.nvidia.yaml"))["services"]["latentsync"]
    assert cards["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    claim = yaml.safe_load(read("examples/kubernetes/volume.yaml"))
    for step in ("plan", "render", "join"):
        job = yaml.safe_load(read(f"examples/kubernetes/{step}.yaml"))
        assert job["apiVersion"] == "batch/v1" and job["kind"] == "Job" and job["metadata"]["name"] == "latentsync-" + step
        pod = job["spec"]["template"]["spec"]
        assert pod["restartPolicy"] == "OnFailure" and pod["securityContext"]["runAsNonRoot"]
        container, = pod["containers"]
        volumes = {v["name"]: v for v in pod["volumes"]}
        assert {m["name"] for m in container["volumeMounts"]} == set(volumes)
        assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert (job["spec"].get("completionMode") == "Indexed") == (step == "render")
    cog = yaml.safe_load(read("examples/cog/cog.yaml"))
    file, name = cog["predict"].split(":")
    assert f"class {name}(" in read("examples/cog/" + file)


@test
def scripts_are_sound():
    shell(read("examples/render-share.sh"), "render-share.sh")
    shell(read("tests/examples/container.sh"), "container.sh", "bash")
    shell("#!/bin/sh\n" + read("examples/apptainer/latentsync.def").split("%post\n")[1].split("%runscript")[0], "latentsync.def")
    for line in read("examples/apptainer/latentsync.def").split("%files\n")[1].split("%post")[0].splitlines():
        assert not line.strip() or os.path.exists(source(line.split()[0])), line
    # the script within the job of Nomad's, and its braces
    job = read("examples/nomad/latentsync.nomad.hcl")
    shell("#!/bin/sh\n" + re.search(r"<<-EOT\n(.*?)EOT", job, re.S).group(1).replace("${var.count}", "8"), "latentsync.nomad.hcl")
    depth = 0
    for line in job.splitlines():
        depth += line.count("{") + line.count("[") - line.count("}") - line.count("]")
        assert depth >= 0, line
    assert depth == 0
    shared = re.search(r'file\("(.*?)"\)', job).group(1)
    assert os.path.exists(source("examples/nomad/" + shared))


@test
def machines_that_share_a_job_make_the_same_as_one():
    """The commands of the jobs of Kubernetes, one pod after the other."""
    good(run("./latentsync", "sync", "video.mp4", "speech.wav", "--segment-seconds", "0.64", "-o", "whole.mp4"))

    def command(step):
        line = re.search(r"command: (\[.*\])", read(f"examples/kubernetes/{step}.yaml")).group(1)
        words = [w.replace("/data/in/", "").replace("/data/", "").replace("/examples/", source("examples/")) for w in json.loads(line)]
        return ["./latentsync", *words[1:]] if words[0] == "latentsync" else words

    plan = command("plan")
    good(run(*plan, "--segment-seconds", "0.64"))
    assert run(*command("join")).returncode != 0 and not os.path.exists("out.mp4")
    # of 8 pods the last 6 have nothing to do
    for index in (1, 7, 0, 1):
        good(run(*[w.replace("$(JOB_COMPLETION_INDEX)", str(index)) for w in command("render")]))
    good(run(*command("join")))
    assert digest("out.mp4") == digest("whole.mp4")
    r = run("sh", source("examples/render-share.sh"), "absent.lsjob", "0", "2")
    assert r.returncode != 0, r


class Files(http.server.BaseHTTPRequestHandler):
    """Gives the files of this folder, and takes one."""
    taken = {}

    def do_GET(self):
        try:
            with open(self.path[1:], "rb") as f:
                data = f.read()
        except OSError:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_PUT(self):
        self.taken[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def load(path):
    spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3], source(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@test
def the_worker_of_runpod():
    os.environ["LATENTSYNC_SCHEMES"] = "http"
    started, said = [], []
    sys.modules["runpod"] = types.SimpleNamespace(serverless=types.SimpleNamespace(
        start=started.append, progress_update=lambda job, text: said.append((job["id"], text))))
    worker = load("examples/runpod/handler.py")
    worker.main()
    handler = started[0]["handler"]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    wanted = {"video": url + "video.mp4", "audio": url + "speech.wav"}
    try:
        options = {"seed": 7, "mark": "none", "duration": 0.5}
        answer = handler({"id": "a", "input": {**wanted, "options": options}})
        assert answer["frames"] == 13 and answer["seed"] == 7 and said and said[0][0] == "a" and "%" in said[-1][1], (answer, said)
        with open("o.inline.mp4", "wb") as f:
            f.write(base64.b64decode(answer["video_base64"], validate=True))
        assert os.path.getsize("o.inline.mp4") == answer["bytes"] and probe("o.inline.mp4")["nb_read_frames"] == "13"
        good(run("./latentsync", "sync", "video.mp4", "speech.wav", "--seed=7", "--mark=none", "--duration=0.5", "-o", "o.mp4"))
        assert digest("o.mp4") == digest("o.inline.mp4")
        answer = handler({"id": "b", "input": {**wanted, "format": "mkv", "options": {"preview": 0.5}, "output_url": url + "put"}})
        assert "video_base64" not in answer and Files.taken["/put"][:4] == b"\x1aE\xdf\xa3" and answer["bytes"] == len(Files.taken["/put"])
        for change, words in (({"video": "file:///etc/passwd"}, "http://"), ({"audio": None}, "http://"), ({"video": url + "absent"}, "404"),
                              ({"options": {"models": "/"}}, "no option 'models'"), ({"options": {"save-track": "/tmp/x"}}, "no option"),
                              ({"options": {"steps": [1]}}, "steps"), ({"options": 3}, "object"), ({"format": "../x"}, "format"),
                              ({"options": {"steps": "many"}}, "steps"), ({"audio": url + "video.mp4"}, "no audio stream"),
                              ({"output_url": "ftp://x"}, "http://")):
            answer = handler({"id": "c", "input": {**wanted, **change}})
            assert set(answer) == {"error"} and words in answer["error"], (change, answer)
        assert handler({"id": "d"})["error"]
    finally:
        server.shutdown()
    # every option that it lets through is one, and names no file
    r = good(run(LS, "sync", "--help")).stdout
    assert all(f" --{name} " in r.replace("\n", " ") for name in worker.OPTIONS), worker.OPTIONS


@test
def the_predictor_of_cog():
    class Path(str):
        pass

    sys.modules["cog"] = types.SimpleNamespace(BasePredictor=object, Path=Path, Input=lambda **kw: kw.get("default"))
    module = load("examples/cog/predict.py")
    predictor = module.Predictor()
    predictor.setup()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        output = predictor.predict(Path("video.mp4"), Path("speech.wav"), guidance_scale=1.0, inference_steps=2, seed=7)
    assert "frames 100 %" in said.getvalue()
    assert isinstance(output, Path) and probe(output)["nb_read_frames"] == "25"
    good(run("./latentsync", "sync", "video.mp4", "speech.wav", "--guidance=1.0", "--steps=2", "--seed=7", "-o", "o.mp4"))
    assert digest("o.mp4") == digest(output)
    module.PROGRAM = os.path.abspath("faceless")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            predictor.predict(Path("video.mp4"), Path("speech.wav"), guidance_scale=1.0, inference_steps=2, seed=7)
    except RuntimeError as e:
        assert "face" in str(e), e
    else:
        raise AssertionError("there is no face")


if __name__ == "__main__":
    raise SystemExit(main(setup))
