"""What tools/train/clips wrote, as arrays."""
import os

import numpy as np

MOUTH = ("open", "width", "round", "teeth", "tongue", "tuck")


class Clips:
    """faces and sources [clips, frames, 128, 128, 3] uint8 (or None); samples[i] int16; mouths[i] [rows, 6], one row every 20 ms."""

    def __init__(self, folder):
        rows = [line.split() for line in open(os.path.join(folder, "clips.txt"))]
        samples = np.fromfile(os.path.join(folder, "speech.s16"), np.int16)
        mouths = np.fromfile(os.path.join(folder, "mouths.f32"), np.float32).reshape(-1, len(MOUTH))
        self.seeds = [int(r[0]) for r in rows]
        self.first = [int(r[3]) for r in rows]
        self.samples, self.mouths, s, m = [], [], 0, 0
        for r in rows:
            self.samples.append(samples[s:s + int(r[1])])
            self.mouths.append(mouths[m:m + int(r[2])])
            s, m = s + int(r[1]), m + int(r[2])
        self.faces, self.sources = (np.memmap(p, np.uint8, "r").reshape(len(rows), -1, 128, 128, 3) if os.path.getsize(p) else None
                                    for p in (os.path.join(folder, name + ".u8") for name in ("faces", "sources")))
        self.mask = np.fromfile(os.path.join(folder, "mask.u8"), np.uint8).reshape(128, 128)

    def __len__(self):
        return len(self.seeds)
