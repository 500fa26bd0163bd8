"""Draws what the trainings logged: curves.py OUT.svg audio.csv vae.csv unet.csv [that of a UNet trained on]"""
import csv
import math
import sys

PANELS = (("Audio encoder: error of the mouth", ("probe_loss", "test_probe_loss"), "test_correlation", "correlation of the opening"),
          ("VAE: loss", ("loss",), "test_mouth_psnr", "PSNR at the mouth, dB"),
          ("UNet: error of the noise, weighted", ("loss", "test_loss"), "test_correlation", "correlation after 8 steps"),
          ("UNet, with guidance learned", ("loss", "test_loss"), "test_correlation", "correlation after 8 steps"))
COLOURS = ("#2563a8", "#d9772b", "#3f9b5f")
WIDTH, HEIGHT, LEFT, TOP = 400, 220, 56, 44


def panel(x0, title, rows, names, right, right_title):
    out = ['<g transform="translate(%d 0)">' % x0, '<text x="%d" y="18" class="title">%s</text>' % (LEFT, title)]
    steps = [float(r["step"]) for r in rows]
    px = lambda s: LEFT + s / steps[-1] * (WIDTH - 2 * LEFT)
    series = [(n, [float(r[n]) for r in rows]) for n in names if n in rows[0]]
    values = [math.log10(v) for _, vs in series for v in vs if v > 0]
    low, high = min(values), max(values) + 1e-9
    py = lambda v: TOP + (high - math.log10(v)) / (high - low) * (HEIGHT - TOP - 40)
    other = [float(r[right]) for r in rows]
    bottom, top = min(other), max(other) + 1e-9
    qy = lambda v: TOP + (top - v) / (top - bottom) * (HEIGHT - TOP - 40)
    out.append('<rect x="%d" y="%d" width="%d" height="%d" class="frame"/>' % (LEFT, TOP, WIDTH - 2 * LEFT, HEIGHT - TOP - 40))
    for k in range(5):
        v = 10 ** (low + (high - low) * k / 4)
        out.append('<text x="%d" y="%.1f" class="left">%.3g</text>' % (LEFT - 4, py(v) + 4, v))
        w = bottom + (top - bottom) * k / 4
        out.append('<text x="%d" y="%.1f" class="right">%.3g</text>' % (WIDTH - LEFT + 4, qy(w) + 4, w))
    curves = [(n, [py(v) for v in vs]) for n, vs in series] + [(right_title, [qy(v) for v in other])]
    for i, (name, ys) in enumerate(curves):
        points = " ".join("%.1f,%.1f" % (px(s), y) for s, y in zip(steps, ys))
        colour = COLOURS[2] if i == len(curves) - 1 else COLOURS[i]
        out.append('<polyline points="%s" stroke="%s"/>' % (points, colour))
        out.append('<text x="%d" y="34" fill="%s">%s</text>' % (LEFT + 90 * i, colour, name.replace("probe_", "").replace("_", " ")))
    out.append('<text x="%d" y="%d" class="middle">%d steps</text></g>' % (WIDTH // 2, HEIGHT - 20, steps[-1]))
    return out


def main():
    lines = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="10">' % (len(sys.argv[2:]) * WIDTH, HEIGHT),
             "<style>.title{font-size:13px;font-weight:bold}.left{text-anchor:end;fill:#555}.right{fill:#555}.middle{text-anchor:middle}"
             ".frame{fill:#fff;stroke:#bbb}polyline{fill:none;stroke-width:1.5}</style>",
             '<rect width="100%" height="100%" fill="#fff"/>']
    for i, (path, (title, names, right, right_title)) in enumerate(zip(sys.argv[2:], PANELS)):
        rows = [r for r in csv.DictReader(open(path)) if all(math.isfinite(float(v)) for v in r.values())]
        lines += panel(i * WIDTH, title, rows, names, right, right_title)
    with open(sys.argv[1], "w") as f:
        f.write("\n".join(lines) + "\n</svg>\n")


main()
