"""A serverless worker for RunPod. Its input:

    {"video": URL, "audio": URL, "options": {"quality": "fast"}, "output_url": URL, "format": "mp4"}

`options` are those of `latentsync sync` that decide the result. With `output_url`, to which the video
is sent by PUT (a presigned address of S3, for example), the answer is {"bytes", "frames", "seconds",
"seed"}; without it the video comes in "video_base64", which RunPod limits to about 15 MB."""
import base64
import json
import os
import shutil
import subprocess
import tempfile
import urllib.parse
import urllib.request

PROGRAM = os.environ.get("LATENTSYNC", "latentsync")
SCHEMES = os.environ.get("LATENTSYNC_SCHEMES", "https").split(",")
MAX_BYTES = int(os.environ.get("LATENTSYNC_MAX_BYTES", 4 << 30))
INLINE_BYTES = 14 << 20
# Files and folders of the worker are not the caller's to name.
OPTIONS = {"video-stream", "audio-stream", "deinterlace", "offset", "keep-sound", "audio-windows", "silence", "face", "max-gap",
           "detect-every", "min-face", "occlusion", "resolution", "quality", "sampler", "steps", "guidance", "cache-interval",
           "guidance-interval", "seed", "dtype", "blend", "sharpen", "until", "start", "duration", "preview", "fps", "video-codec",
           "pixel-format", "crf", "preset", "mark"}
FORMATS = ("mp4", "mov", "mkv", "webm")


class Refused(Exception):
    """What is wrong with the input."""


def checked(url):
    if not isinstance(url, str) or urllib.parse.urlsplit(url).scheme not in SCHEMES:
        raise Refused(f"an address that begins with {' or '.join(s + '://' for s in SCHEMES)} is expected, not {url!r}")
    return url


def fetch(url, path):
    with urllib.request.urlopen(checked(url), timeout=60) as answer, open(path, "wb") as out:
        while block := answer.read(1 << 20):
            out.write(block)
            if out.tell() > MAX_BYTES:
                raise Refused(f"{url} has more than {MAX_BYTES} bytes")


def send(path, url):
    with open(path, "rb") as body:
        request = urllib.request.Request(url, data=body, method="PUT", headers={
            "Content-Length": str(os.path.getsize(path)), "Content-Type": "application/octet-stream"})
        urllib.request.urlopen(request, timeout=600).close()


def arguments(options):
    if not isinstance(options, dict):
        raise Refused("options: an object is expected")
    words = []
    for name, value in options.items():
        if name not in OPTIONS:
            raise Refused(f"there is no option {name!r}")
        if not isinstance(value, (str, int, float)) or isinstance(value, bool):
            raise Refused(f"{name}: a text or a number is expected")
        words.append(f"--{name}={value}")
    return words


def lips(video, audio, output, options, progress):
    """Runs the program; its last event, which is "done"."""
    command = [PROGRAM, "sync", "--progress=json", *arguments(options), "-o", output, "--", video, audio]
    last = {}
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as p:
        for line in p.stdout:
            last = json.loads(line)
            if last["event"] == "progress":
                progress(last)
        p.wait()
        said.seek(0)
        words = said.readline().strip()  # of arguments that are refused before the first event
    if last.get("event") != "done":
        raise Refused(last.get("message") or words or f"latentsync ended with status {p.returncode}")
    return last


def handler(job, progress=None):
    wanted = job.get("input") or {}
    try:
        for name in ("video", "audio"):
            checked(wanted.get(name))
        if wanted.get("output_url") is not None:
            checked(wanted["output_url"])
        form = wanted.get("format", "mp4")
        if form not in FORMATS:
            raise Refused(f"format: expected one of {', '.join(FORMATS)}")
        options = wanted.get("options", {})
        arguments(options)
        folder = tempfile.mkdtemp()
        try:
            video, audio, output = (os.path.join(folder, name) for name in ("video", "audio", "output." + form))
            fetch(wanted["video"], video)
            fetch(wanted["audio"], audio)
            done = lips(video, audio, output, options, progress or (lambda event: None))
            if "preview" in options:
                output = done["output"]
            answer = {"bytes": os.path.getsize(output), **{k: done[k] for k in ("frames", "seconds", "seed") if k in done}}
            if wanted.get("output_url"):
                send(output, wanted["output_url"])
            elif answer["bytes"] > INLINE_BYTES:
                raise Refused(f"the video has {answer['bytes']} bytes, too many for an answer: give an output_url")
            else:
                with open(output, "rb") as f:
                    answer["video_base64"] = base64.b64encode(f.read()).decode()
            return answer
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except (Refused, OSError) as e:  # OSError: what urllib raises, too
        return {"error": str(e)}


def main():
    import runpod

    def run(job):
        return handler(job, lambda event: runpod.serverless.progress_update(job, f"{event['stage']} {100 * event['fraction']:.0f} %"))

    runpod.serverless.start({"handler": run})


if __name__ == "__main__":
    main()
