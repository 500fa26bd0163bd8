#!/usr/bin/env python3
"""latentsync check: drawn speakers whose sound is early, late, another's, or none.
usage: check.py LATENTSYNC PUPPET [--table FIRST COUNT]: tests, or the figures of docs/QUALITY.md."""
import array
import os
import random
import shutil
import sys

PUPPET = os.path.abspath(sys.argv[2])
DETECTOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../models/mini/face/drawn.onnx")
from common import LS, ffmpeg, good, json, main, run, test  # noqa: E402

# held out: see HELD_OUT in tools/puppet/lines.c
TEXTS = (("en-us+f2", "Good morning everybody, and welcome to the show. A quick brown fox jumps over the lazy dog. "
          "Father made a wooden table from the apple tree."),
         ("de+m3", "Guten Morgen, wie haben Sie heute geschlafen? Der Müller mahlt das Korn in der alten Mühle. "
          "Viele bunte Blumen wachsen vor unserer Tür."),
         ("fr+f4", "Bonjour à tous, et bienvenue dans notre maison. Le boulanger prépare ses gâteaux pendant la nuit. "
          "Une belle femme porte un chapeau de paille."),
         ("es+m1", "Buenos días a todos, empezamos con las noticias. El fuego del hogar iluminaba la habitación. "
          "Nunca había visto una flor tan hermosa."),
         ("it+f1", "Buongiorno a tutti e benvenuti al programma. Abbiamo visto un film bello ma troppo lungo. "
          "Le foglie cadono piano davanti alla casa."))


def draw(seed):
    voice, text = TEXTS[seed % len(TEXTS)]
    good(run(PUPPET, "--seed", seed, "--size", 256, "--voice", voice, "--text", text, "--rate", 130 + seed * 7 % 50, f"s{seed}"))


def shift(ms):
    """Later by so many milliseconds."""
    return f"adelay={ms}:all=1" if ms > 0 else f"atrim=start={-ms / 1000},asetpts=PTS-STARTPTS" if ms else "anull"


def join(output, seed, sound=None, ms=0, *more):
    ffmpeg("-i", f"s{seed}/face.mp4", "-i", sound or f"s{seed}/speech.wav", "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-af", shift(ms),
           "-c:a", "aac", *more, output)


def check(video, seed=None, *more):
    r = run(LS, "check", "--json", "-q", *(["-t", f"s{seed}/track.jsonl"] if seed else []), *more, video)
    assert r.stdout, r.stderr
    c = json.loads(r.stdout)
    assert r.returncode == (c["verdict"] != "in sync"), (r.returncode, c, r.stderr)
    assert (c["lag_ms"] is None) == (c["verdict"] == "cannot tell") == (c["confidence"] < c["least_confidence"]), c
    return c


def setup():
    os.environ.update(HOME=os.getcwd(), XDG_DATA_HOME="", XDG_DATA_DIRS=os.getcwd())  # no installed model
    for seed in (50001, 50002):
        draw(seed)


@test
def a_lag_is_found():
    for seed, ms in ((50001, -200), (50001, -80), (50001, 0), (50001, 40), (50002, -40), (50002, 120), (50002, 200)):
        join("o.mp4", seed, None, ms)
        c = check("o.mp4", seed)
        want = "in sync" if abs(ms) < 60 else "late" if ms > 0 else "early"
        assert c["verdict"] == want and abs(c["lag_ms"] - ms) <= 40, (seed, ms, c)


@test
def the_face_is_found_and_the_words_are_right():
    join("o.mkv", 50001, None, 120)
    r = run(LS, "check", "o.mkv")
    assert r.returncode == 1 and r.stdout.startswith("late by 1") and "behind the lips" in r.stdout, r
    assert "detecting faces" in r.stderr, r
    events = [json.loads(line) for line in run(LS, "check", "--progress", "json", "o.mkv").stdout.splitlines()]
    assert events[0]["event"] == "start" and events[-1]["event"] == "done", events
    assert events[-1]["verdict"] == "late" and events[-1]["method"] == "mouth opening", events[-1]


@test
def a_video_that_begins_later_than_its_sound():
    ffmpeg("-itsoffset", "0.16", "-i", "s50001/face.mp4", "-i", "s50001/speech.wav", "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac",
           "o.mkv")
    c = check("o.mkv")
    assert c["verdict"] == "early" and abs(c["lag_ms"] + 160) <= 40, c


@test
def what_cannot_be_told():
    join("o.wrong.mp4", 50001, "s50002/speech.wav")
    join("o.silent.mp4", 50001, None, 0, "-af", "volume=0")
    ffmpeg("-f", "lavfi", "-i", "anoisesrc=a=0.0005:r=16000:d=8", "o.noise.wav")
    join("o.noise.mp4", 50001, "o.noise.wav")
    ffmpeg("-i", "s50001/face.mp4", "-i", "s50001/speech.wav", "-map", "0:v", "-map", "1:a", "-vf", "trim=end_frame=1,loop=200:1,setpts=N/25/TB",
           "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "o.still.mp4")
    for name in ("wrong", "silent", "noise"):
        c = check(f"o.{name}.mp4", 50001)
        assert c["verdict"] == "cannot tell", (name, c)
    assert check("o.still.mp4")["verdict"] == "cannot tell"


@test
def stretches_show_what_the_whole_hides():
    join("o.1.mkv", 50001)
    join("o.2.mkv", 50001, None, 200, "-shortest")
    for k in (1, 2):
        ffmpeg("-i", f"o.{k}.mkv", "-af", "apad", "-t", "10", "-vf", "tpad=stop_mode=clone:stop_duration=10", "-c:v", "libx264", "-preset", "ultrafast",
               "-c:a", "pcm_s16le", f"o.part{k}.mkv")
    with open("o.list", "w") as f:
        f.write("file o.part1.mkv\nfile o.part2.mkv\n")
    ffmpeg("-f", "concat", "-i", "o.list", "-c", "copy", "o.mkv")
    stretches = check("o.mkv")["stretches"]
    assert [s["start"] for s in stretches] == [0, 10], stretches
    assert [s["verdict"] for s in stretches] == ["in sync", "late"] and abs(stretches[1]["lag_ms"] - 200) <= 40, stretches


def stable_syncnet(path, **other):
    """Random weights of a narrow StableSyncNet in its published layout; `other`: tensors of another shape, None for one that is missing,
    or a value that all numbers of one have, by the names in which "_" stands for "."."""
    shapes = {}

    def layer(name, *shape):
        shapes[name + ".weight"], shapes[name + ".bias"] = shape, shape[:1]

    for side, inputs, halves, attends in (("visual_encoder", 48, "11111111", "00001100"), ("audio_encoder", 1, "1110111", "0001100")):
        layer(f"{side}.conv_in", 32, inputs, 3, 3)
        layer(f"{side}.norm_out", 32)
        module = 0
        for half, attend in zip(halves, attends):
            block = f"{side}.down_blocks.{module}"
            for i in (1, 2):
                layer(f"{block}.norm{i}", 32)
                layer(f"{block}.conv{i}", 32, 32, 3, 3)
            if half == "1":
                layer(f"{block}.downsample_conv", 32, 32, 3, 3)
            if attend == "1":
                module += 1
                block = f"{side}.down_blocks.{module}"
                for name in ("norm1", "norm2", "norm3"):
                    layer(f"{block}.{name}", 32)
                for name in ("conv_in", "conv_out"):
                    layer(f"{block}.{name}", 32, 32, 1, 1)
                for name in ("to_q", "to_k", "to_v", "to_out.0"):
                    layer(f"{block}.attn.{name}", 32, 32)
                layer(f"{block}.ff.net.0.proj", 256, 32)
                layer(f"{block}.ff.net.2", 32, 128)
            module += 1
    rng, header, data = random.Random(3), {}, b""
    for name, shape in shapes.items():
        change = other.get(name.replace(".", "_"), shape)
        if change is None:
            continue
        shape = change if isinstance(change, tuple) else shape
        n = 1
        for size in shape:
            n *= size
        scale = (3 / (n / shape[0])) ** 0.5 if len(shape) > 1 else 0.1
        middle = 1 if "norm" in name and name.endswith("weight") else 0
        values = array.array("f", [change] * n if isinstance(change, float) else (middle + rng.uniform(-scale, scale) for _ in range(n)))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * n]}
        data += values.tobytes()
    text = json.dumps(header).encode()
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + data)


@test
def stable_syncnet_where_it_is_installed():
    stable_syncnet("o.models/stable_syncnet.pt")
    join("o.mp4", 50001)
    args = [LS, "check", "--json", "-q", "-t", "s50001/track.jsonl", "o.mp4"]
    for more, reason in ((["--models", "o.models"], "its weights are installed"), (["--syncnet", "o.models/stable_syncnet.pt"], "its weights were given")):
        r = run(*args, *more)
        c = json.loads(r.stdout)
        assert c["method"] == "StableSyncNet" and c["reason"] == reason and c["least_confidence"] == 0.5, c
        assert 0 <= c["confidence"] <= 1 and r.returncode == (c["verdict"] != "in sync"), (r, c)
        assert c["confidence"] >= 0.5 or c["verdict"] == "cannot tell", c
    r = run(LS, "check", "-q", "-t", "s50001/track.jsonl", "--models", "o.models", "o.mp4")
    assert "at least 0.5 is needed; by StableSyncNet, as its weights are installed; " in r.stdout, r
    os.makedirs("o.models/auxiliary")
    with open("o.models/auxiliary/syncnet_v2.model", "wb") as f:
        f.write(b"nonsense")
    assert json.loads(run(*args, "--models", "o.models").stdout)["method"] == "StableSyncNet"
    os.remove("o.models/stable_syncnet.pt")
    r = run(*args, "--models", "o.models")
    assert r.returncode == 4 and "syncnet_v2.model" in r.stderr and not r.stdout, r
    shutil.rmtree("o.models/auxiliary")
    assert json.loads(run(*args, "--models", "o.models").stdout)["reason"] == "there are no weights of a SyncNet"


@test
def a_syncnet_is_found_wherever_the_faces_come_from():
    home = ".local/share/latentsync/1.6"
    for name in ("latentsync_unet.pt", "whisper/tiny.pt", "vae/diffusion_pytorch_model.safetensors"):
        os.makedirs(os.path.dirname(f"{home}/{name}"), exist_ok=True)
        open(f"{home}/{name}", "w").close()
    stable_syncnet(f"{home}/stable_syncnet.pt")
    join("o.mp4", 50001, None, 0, "-t", "1")
    try:
        for faces in (["-t", "s50001/track.jsonl"], ["--detector", DETECTOR]):
            c = json.loads(run(LS, "check", "--json", "-q", *faces, "o.mp4").stdout)
            assert c["method"] == "StableSyncNet" and c["reason"] == "its weights are installed", c
    finally:
        shutil.rmtree(home)


@test
def stable_syncnets_that_cannot_be_used():
    join("o.mp4", 50001)
    good(run(LS, "models", "random", "--size", "mini", "--out", "o.mini"))
    path = "o.mini/stable_syncnet.pt"
    stable_syncnet(path)
    r = good(run(LS, "models", "check", "o.mini"))
    assert "StableSyncNet " + path in r.stdout and "windows of 16 frames, 32 wide" in r.stdout, r.stdout
    for change, *words in (({"visual_encoder_conv_in_weight": (32, 64, 3, 3)}, "visual_encoder.conv_in.weight", "64 channels", "latents"),
                           ({"audio_encoder_conv_in_bias": None}, "audio_encoder.conv_in.bias [32]", "missing"),
                           ({"visual_encoder_down_blocks_2_conv2_weight": (32, 16, 3, 3)}, "visual_encoder.down_blocks.2.conv2.weight",
                            "[32, 16, 3, 3]", "expected [32, 32, 3, 3]"),
                           ({"audio_encoder_down_blocks_1_downsample_conv_weight": None}, "audio encoder", "80 x 52"),
                           ({"audio_encoder_conv_in_bias": float("nan")}, "not finite")):
        stable_syncnet(path, **change)
        for r in (run(LS, "models", "check", "o.mini"), run(LS, "check", "-t", "s50001/track.jsonl", "--syncnet", path, "o.mp4")):
            assert r.returncode == 4 and all(w in r.stderr for w in [path, *words]) and "confidence" not in r.stdout, (change, r)
    with open(path, "r+b") as f:
        f.truncate(100000)
    r = run(LS, "check", "-t", "s50001/track.jsonl", "--syncnet", path, "o.mp4")
    assert r.returncode == 4 and path in r.stderr and not r.stdout, r


@test
def what_cannot_be_checked():
    ffmpeg("-i", "s50001/face.mp4", "-an", "-c", "copy", "o.mute.mp4")
    ffmpeg("-f", "lavfi", "-i", "color=gray:s=256x256:r=25:d=1", "-f", "lavfi", "-i", "sine=d=1", "-c:v", "libx264", "-c:a", "aac", "o.empty.mp4")
    for video, status, word in (("o.mute.mp4", 3, "audio"), ("o.empty.mp4", 5, "no face"), ("o.none.mp4", 3, "o.none.mp4")):
        r = run(LS, "check", video)
        assert r.returncode == status and word in r.stderr and not r.stdout, r


def table(first, count):
    shifts = range(-200, 201, 40)
    found = {ms: [] for ms in shifts}
    wrong = []
    for seed in range(first, first + count):
        draw(seed)
    for seed in range(first, first + count):
        for ms in shifts:
            join("o.mp4", seed, None, ms)
            found[ms].append(check("o.mp4", seed))
        for other in range(first, first + count):
            if other % len(TEXTS) != seed % len(TEXTS):
                join("o.mp4", seed, f"s{other}/speech.wav")
                wrong.append(check("o.mp4", seed))
    print("| sound shifted by, ms | found, mean | from | to | within a frame | cannot tell | least confidence |")
    print("|---|---|---|---|---|---|---|")
    for ms, c in found.items():
        lags = [x["lag_ms"] for x in c if x["lag_ms"] is not None]
        print("| %+d | %+.0f | %+d | %+d | %d of %d | %d | %.1f |" % (
            ms, sum(lags) / max(1, len(lags)), min(lags), max(lags), sum(abs(x - ms) <= 40 for x in lags), len(c), len(c) - len(lags),
            min(x["confidence"] for x in c)))
    print("wrong speech: %d of %d cannot be told, confidence up to %.1f" % (
        sum(c["verdict"] == "cannot tell" for c in wrong), len(wrong), max(c["confidence"] for c in wrong)))


if "--table" in sys.argv:
    table(int(sys.argv[4]), int(sys.argv[5]))
    shutil.rmtree(os.getcwd())
else:
    sys.exit(main(setup))
