"""A predictor for cog, with the inputs of the LatentSync that Replicate serves. `latentsync serve`
answers cog's requests by itself, with uploads first (docs/SERVER.md); this is for cog's images."""
import json
import os
import subprocess
import tempfile

from cog import BasePredictor, Input, Path

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.environ.get("LATENTSYNC", os.path.join(HERE, "root/usr/local/bin/latentsync"))
MODELS = os.environ.get("LATENTSYNC_MODELS", os.path.join(HERE, "root/usr/local/share/latentsync/models/mini"))


class Predictor(BasePredictor):
    def setup(self):
        subprocess.run([PROGRAM, "models", "check", MODELS], check=True, stdout=subprocess.DEVNULL)

    def predict(
        self,
        video: Path = Input(description="Video of the person who is to speak"),
        audio: Path = Input(description="Recording of the speech"),
        guidance_scale: float = Input(description="Guidance scale", ge=1, le=10, default=1.5),
        inference_steps: int = Input(description="Denoising steps", ge=1, le=100, default=20),
        seed: int = Input(description="Seed of the noise; 0 draws one", default=0),
    ) -> Path:
        output = os.path.join(tempfile.mkdtemp(), "output.mp4")
        command = [PROGRAM, "sync", "--progress=json", "--models", MODELS, f"--guidance={guidance_scale}", f"--steps={inference_steps}",
                   f"--seed={seed or -1}", "-o", output, "--", str(video), str(audio)]
        last = {}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as p:
            for line in p.stdout:
                last = json.loads(line)
                if last["event"] == "progress":
                    print(f"{last['stage']} {100 * last['fraction']:.0f} %", flush=True)
        if last.get("event") != "done":
            raise RuntimeError(last.get("message") or f"latentsync ended with status {p.returncode}")
        return Path(output)
