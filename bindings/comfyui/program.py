"""The program: where it is, and a run of it that shows its progress and that ComfyUI can cancel."""
import importlib.util
import json
import logging
import os
import queue
import re
import shutil
import subprocess
import tempfile
import threading

import comfy.model_management
import comfy.utils

PATIENCE = 1  # seconds that a cancelled run has to end by itself; what is finished is kept in any case
LEVELS = {"error": logging.ERROR, "notice": logging.WARNING, "warning": logging.WARNING}


def _in_package():
    """In the Python package, which is not imported: the name is also that of the original's modules."""
    try:
        spec = importlib.util.find_spec("latentsync")
    except (ImportError, ValueError):
        return []
    folders = spec.submodule_search_locations if spec else None
    return [os.path.join(folder, "_bundle", "bin", "latentsync") for folder in folders or []]


def find():
    named = os.environ.get("LATENTSYNC")
    for path in [named] if named else [*_in_package(), shutil.which("latentsync")]:
        if path and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    if named:
        raise RuntimeError(f"LatentSync: LATENTSYNC is {named}, which is no program; set it to the program latentsync")
    raise RuntimeError("LatentSync: the program latentsync was not found. Build and install it (./dev build and meson install "
                       "in its source), or set LATENTSYNC to it, and start ComfyUI again")


def _stop(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _inputs(text):
    """With options as the nodes call their inputs."""
    return re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda m: m[1].replace("-", "_"), text)


def _why(process, error, stderr):
    if error:
        return _inputs("; ".join(filter(None, (error.get("message"), error.get("hint")))))
    stderr.seek(0)
    said = [line.strip() for line in stderr.read().decode("utf-8", "replace").splitlines()]
    said = [line[len("latentsync: "):] if line.startswith("latentsync: ") else line for line in said
            if line and not line.startswith('Try "latentsync')]
    return _inputs("; ".join(said[-4:])) or f"the program ended with status {process.returncode}"


def run(heard, *arguments):
    """Gives each line of standard output, a JSON object, to `heard`. Cancelling in ComfyUI ends the program, and so does the end
    of ComfyUI, which closes the program's standard input."""
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen([find(), *arguments, "--watch-stdin"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        arrived = queue.SimpleQueue()

        def read():
            for line in process.stdout:
                arrived.put(line)
            arrived.put(None)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        error = None
        try:
            while True:
                comfy.model_management.throw_exception_if_processing_interrupted()
                try:
                    line = arrived.get(timeout=0.1)
                except queue.Empty:
                    continue
                if line is None:
                    break
                item = json.loads(line)
                if item.get("event") == "error":
                    error = item
                else:
                    heard(item)
            process.wait()
        finally:
            _stop(process)
            reader.join()
            process.stdin.close()
            process.stdout.close()
        if process.returncode:
            raise RuntimeError(f"LatentSync: {_why(process, error, stderr)}")


def _preview(path):
    from PIL import Image
    try:
        image = Image.open(path)
        image.load()
    except OSError:
        return None
    return "JPEG", image, 512


def sync(command, picture):
    """`sync`, whose progress is shown; `picture`: the file that has the newest frame."""
    bar = comfy.utils.ProgressBar(1000)
    shown = None

    def heard(event):
        nonlocal shown
        if event["event"] == "message" and event["level"] in LEVELS:
            logging.log(LEVELS[event["level"]], "LatentSync: %s", event["text"])
        elif event["event"] == "progress":
            preview = None
            if os.path.exists(picture) and os.stat(picture).st_mtime_ns != shown:
                shown, preview = os.stat(picture).st_mtime_ns, _preview(picture)
            bar.update_absolute(int(1000 * event["fraction"]), 1000, preview)
        elif event["event"] == "done":
            logging.info("LatentSync: %d frames, %d of them made by this run, in %.0f s", event["frames"], event["frames_generated"],
                         event["elapsed_seconds"])

    try:
        run(heard, *command, "--progress", "json", "--newest-frame", picture)
    finally:
        if os.path.exists(picture):
            os.remove(picture)
