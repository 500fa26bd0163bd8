"""What the tests of `latentsync serve` share: a server on a free port, a client that holds every answer against openapi.json."""
import atexit
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time

try:
    import jsonschema
except ImportError:  # this Python is not the system's, whose packages ./dev installs
    print("1..0 # SKIP there is no jsonschema")
    sys.exit()

from common import LS, QUICK, good, run

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
API = json.load(open(os.path.join(SOURCE, "src/server/openapi.json")))
MODELS = os.path.join(SOURCE, "models/mini")
OPTIONS = {"resolution": 64, "steps": 2, "preset": "ultrafast"}  # QUICK
SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin"}
SEEN = set()  # operations and their answers


def strict(schema):
    """As the server is to obey it: members that are not described are errors."""
    if isinstance(schema, list):
        return [strict(x) for x in schema]
    if not isinstance(schema, dict):
        return schema
    s = {k: strict(v) for k, v in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        s.setdefault("additionalProperties", False)
    return s


RESOLVER = jsonschema.RefResolver("", {**API, "components": {**API["components"], "schemas": strict(API["components"]["schemas"])}})


def resolve(node):
    while "$ref" in node:
        node = RESOLVER.resolve(node["$ref"])[1]
    return node


def valid(value, schema):
    jsonschema.Draft202012Validator(strict(schema), resolver=RESOLVER, format_checker=jsonschema.FormatChecker()).validate(value)


def template(method, path):
    """The path of the description that a request belongs to."""
    path = path.split("?")[0]
    for t in sorted(API["paths"], key=lambda t: t.count("{")):
        if method.lower() in API["paths"][t] and re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(t)), path):
            return t
    return None


def check_answer(method, path, answer):
    for name, value in SAFE.items():
        assert answer.headers[name] == value, f"{method} {path}: {name} is {answer.headers[name]}"
    t = template(method, path)
    if answer.status in (405, 408, 431) or t is None:
        if answer.status >= 400 and method != "HEAD":
            valid(answer.json(), {"$ref": "#/components/schemas/Error"})
        return
    responses = API["paths"][t][method.lower()]["responses"]
    assert str(answer.status) in responses, f"{method} {path}: {answer.status} is not described: {answer.body[:300]}"
    SEEN.add((method, t, answer.status))
    described = resolve(responses[str(answer.status)])
    for name, header in described.get("headers", {}).items():
        value, header = answer.headers[name], resolve(header)
        if value is None:
            assert not header.get("required"), f"{method} {path}: {answer.status} without {name}"
            continue
        schema = header["schema"]
        valid(int(value) if schema.get("type") == "integer" else value, schema)
    kind = (answer.headers["Content-Type"] or "").split(";")[0]
    if method == "HEAD" or "content" not in described:
        assert not answer.body, answer.body
        return
    assert kind in described["content"] or "*/*" in described["content"], f"{method} {path}: {kind}"
    if kind == "application/json":
        valid(answer.json(), described["content"][kind]["schema"])


class Answer:
    def __init__(self, response):
        self.status, self.headers = response.status, response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)

    def code(self):
        return self.json()["error"]["code"]


class Server:
    def __init__(self, *args, data="data", env=None, start=True):
        self.data, self.token, self.process = os.path.abspath(data), None, None
        self.args, self.env = [str(a) for a in args], {**os.environ, "HOME": os.getcwd(), **(env or {})}
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        if start:
            self.start()

    def command(self):
        return [LS, "serve", "--listen", f"127.0.0.1:{self.port}", "--data", self.data, "--models", MODELS, *self.args]

    def start(self, **kw):
        self.log = open(self.data + ".log", "ab+")
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env=self.env, start_new_session=True, **kw)
        atexit.register(self.process.kill)
        line = self.process.stdout.readline()
        assert f"http://127.0.0.1:{self.port}" in line, f"no address in {line!r}: {self.said()}"
        return self

    def said(self):
        return open(self.data + ".log", errors="replace").read()

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        status = self.process.wait(60)
        assert how == signal.SIGKILL or status == 0, f"exit {status}: {self.said()}"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.stop(signal.SIGKILL if kind else signal.SIGTERM)

    def ask(self, method, path, body=None, headers=(), timeout=60, checked=True, **json_body):
        """A request and its answer. Members of a JSON body may be given by name."""
        headers = dict(headers)
        if json_body:
            body = json_body
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        if isinstance(body, str):
            body = body.encode()
        if self.token:
            headers.setdefault("Authorization", "Bearer " + self.token)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers)
            answer = Answer(connection.getresponse())
        finally:
            connection.close()
        if checked:
            check_answer(method, path, answer)
        return answer

    def want(self, status, method, path, *args, **kw):
        answer = self.ask(method, path, *args, **kw)
        assert answer.status == status, f"{method} {path}: {answer.status} instead of {status}: {answer.body[:400]}"
        return answer

    def connect(self, data=b""):
        """A socket on which `data` has been sent."""
        s = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        s.sendall(data)
        return s

    def raw(self, data):
        """The status, and all, of what comes back for these bytes; 0: nothing does."""
        with self.connect(data) as s:
            got = b""
            try:
                while part := s.recv(65536):
                    got += part
                    if b"\r\n\r\n" in got:
                        break
            except ConnectionResetError:
                pass
        return int(got.split()[1]) if got.startswith(b"HTTP/1.1 ") else 0, got

    def announce(self, size, name="a file", **more):
        return self.want(201, "POST", "/v1/uploads", name=name, size=size, **more).json()["id"]

    def send(self, upload, data, offset=0, status=204, **headers):
        return self.want(status, "PATCH", f"/v1/uploads/{upload}", data,
                         {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream", **headers})

    def upload(self, path, **more):
        data = open(path, "rb").read()
        upload = self.announce(len(data), os.path.basename(path), **more)
        self.send(upload, data)
        return upload

    def job(self, video, audio, headers=(), options=(), **more):
        answer = self.want(202, "POST", "/v1/jobs", {"video": video, "audio": audio, "options": {**OPTIONS, **dict(options)}, **more}, headers)
        assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}", answer.headers["Location"]
        return answer.json()["id"]

    def wait(self, job, *states, seconds=120):
        """The job once it is in one of these states."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            j = self.want(200, "GET", f"/v1/jobs/{job}").json()
            if j["state"] in (states or ("done",)):
                return j
            assert j["state"] in ("queued", "running"), f"{j['state']}: {j['error']}, {self.said()[-2000:]}"
            time.sleep(0.05)
        raise AssertionError(f"after {seconds} s {j['state']}: {j}")


def form(**fields):
    """A multipart body and its Content-Type. A file is (name, bytes)."""
    boundary = secrets.token_hex(12)
    body = b""
    for name, value in fields.items():
        label = f'; filename="{value[0]}"\r\nContent-Type: application/octet-stream' if isinstance(value, tuple) else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{label}\r\n\r\n'.encode()
        body += (value[1] if isinstance(value, tuple) else str(value).encode()) + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def speaker(puppet, folder, text="Mama bought a papaya.", seed=5):
    """FOLDER/face.mp4 and FOLDER/speech.wav, a drawn speaker of 160 x 160 pixels."""
    good(run(puppet, "--seed", seed, "--size", 160, "--voice", "en-us", "--text", text, folder))


def sync(folder, output, *more):
    """What a job is to make."""
    good(run(LS, "sync", "-m", MODELS, *QUICK, *more, f"{folder}/face.mp4", f"{folder}/speech.wav", "-o", output))


def left(data):
    """What is in the data folder besides the database."""
    return sorted(os.path.relpath(os.path.join(d, f), data) for d, _, files in os.walk(data) for f in files
                  if not f.startswith("latentsync.db") and not f.endswith("lock"))
