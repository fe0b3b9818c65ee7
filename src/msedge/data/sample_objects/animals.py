"""Animals of the sample set: each class is one function from chance to parts.

Proportions, counts and variants are drawn anew for every instance; colours are not decided here.
"""

from __future__ import annotations

import math

import numpy as np

from msedge.data.sample_objects.parts import (
    Describe,
    Part,
    area,
    band,
    ellipse,
    leaf,
    line,
    mirrored,
    place,
    polygon,
    rotate,
    spline,
    symmetric,
)

Rng = np.random.Generator


def _bird(rng: Rng) -> list[Part]:
    long, fat, tilt = rng.uniform(0.27, 0.33), rng.uniform(0.15, 0.21), rng.uniform(-25, -5)
    head = rotate(np.array([[long * 0.85, -0.12]]), tilt)[0] + 0.5
    x, y, r = float(head[0]), float(head[1]), rng.uniform(0.11, 0.15)
    spread = rng.uniform(0.05, 0.12)
    tail = polygon((-0.2, -0.05), (-0.56, -spread), (-0.6, spread * 0.7), (-0.2, 0.08))
    legs = [
        line([(a, 0.6), (a - 0.01, 0.8), (a + 0.07, 0.81)], "dark", 0.018)
        for a in (0.46, rng.uniform(0.53, 0.58))
    ]
    beak = polygon(
        (x + r * 0.8, y - 0.05),
        (x + r + rng.uniform(0.09, 0.18), y + 0.02),
        (x + r * 0.8, y + 0.06),
    )
    wing = spline([(0.12, -0.06), (0.0, 0.12), (-0.34, 0.16), (-0.18, -0.02), (0.0, -0.1)])
    return [
        area(rotate(tail, tilt) + 0.5, "second"),
        *legs,
        area(ellipse(0.5, 0.5, long, fat, tilt=tilt)),
        area(beak, "third"),
        area(ellipse(x, y, r)),
        area(place(wing, tilt + rng.uniform(-12, 12), 0.5, 0.47), "second"),
        area(ellipse(x + r * 0.3, y - r * 0.2, 0.022), "dark"),
    ]


def _butterfly(rng: Rng) -> list[Part]:
    up, out, low = rng.uniform(0.1, 0.2), rng.uniform(0.88, 0.97), rng.uniform(0.78, 0.9)
    upper = spline(
        [(0.52, 0.45), (0.66, up + 0.06), (out, up), (out - 0.02, 0.36), (0.78, 0.52), (0.54, 0.54)]
    )
    lower = spline(
        [
            (0.53, 0.52),
            (0.76, 0.53),
            (out - 0.1, 0.66),
            (0.74, low),
            (0.62, low - 0.06),
            (0.53, 0.62),
        ]
    )
    inner = (upper - (0.72, 0.36)) * rng.uniform(0.4, 0.6) + (0.74, 0.35)
    spot = ellipse(0.7, 0.66, rng.uniform(0.04, 0.07))
    feeler = spline([(0.51, 0.3), (0.54, 0.2), (rng.uniform(0.58, 0.66), 0.1)], closed=False)
    return [
        *mirrored(area(lower, "second")),
        *mirrored(area(upper)),
        *mirrored(area(inner, "third", detail=True)),
        *mirrored(area(spot, "light", detail=True)),
        *mirrored(line(feeler, "dark", 0.016)),
        area(ellipse(0.5, 0.52, rng.uniform(0.025, 0.04), rng.uniform(0.2, 0.26)), "dark"),
    ]


def _cat(rng: Rng) -> list[Part]:
    wide, high = rng.uniform(0.2, 0.25), rng.uniform(0.16, 0.2)
    y = rng.uniform(0.28, 0.33)
    ear = rng.uniform(0.16, 0.22)
    ears = polygon(
        (0.5 + wide * 0.95, y - 0.02),
        (0.5 + wide * 0.9, y - high - ear * 0.55),
        (0.54, y - high * 0.9),
    )
    parts = []
    if rng.random() < 0.7:
        hip, curl = rng.uniform(0.22, 0.3), rng.uniform(0.1, 0.2)
        tail = spline(
            [(0.6, 0.9), (0.84, 0.9), (0.95, 0.75), (0.9 + curl * 0.3, 0.72 - curl)], closed=False
        )
        body = symmetric(
            [(0.5, 0.38), (0.62, 0.45), (0.5 + hip, 0.78), (0.5 + hip * 0.8, 0.96), (0.5, 0.97)]
        )
        parts = [line(tail, "body", 0.075), area(body)]
        parts += mirrored(line([(0.55, 0.72), (0.55, 0.95)], "dark", 0.014, detail=True))
    whisker = [(0.56, y + 0.07), (0.5 + wide * 1.3, y + rng.uniform(0.02, 0.08))]
    lower = [(0.56, y + 0.09), (0.5 + wide * 1.25, y + rng.uniform(0.1, 0.15))]
    nose = polygon((0.47, y + 0.05), (0.53, y + 0.05), (0.5, y + 0.085))
    eye = ellipse(0.5 + wide * 0.42, y - 0.03, 0.036, rng.uniform(0.03, 0.05))
    return [
        *parts,
        *mirrored(area(ears)),
        area(ellipse(0.5, y, wide, high)),
        *mirrored(area(eye, "third")),
        *mirrored(area(ellipse(0.5 + wide * 0.42, y - 0.03, 0.013, 0.03), "dark", detail=True)),
        area(nose, "second"),
        *mirrored(line(whisker, "dark", 0.01)),
        *mirrored(line(lower, "dark", 0.01, detail=True)),
    ]


def _fish(rng: Rng) -> list[Part]:
    fat, back = rng.uniform(0.17, 0.26), rng.uniform(0.22, 0.3)
    body = spline(
        [
            (0.95, 0.5),
            (0.75, 0.5 - fat * 0.85),
            (0.52, 0.5 - fat),
            (back, 0.46),
            (back, 0.54),
            (0.52, 0.5 + fat),
            (0.75, 0.5 + fat * 0.85),
        ]
    )
    span, notch = rng.uniform(0.14, 0.24), rng.uniform(0.08, 0.16)
    tail = polygon((back + 0.05, 0.5), (0.03, 0.5 - span), (notch, 0.5), (0.03, 0.5 + span))
    fin = polygon(
        (0.68, 0.52 - fat),
        (rng.uniform(0.4, 0.5), 0.44 - fat - rng.uniform(0.03, 0.1)),
        (0.38, 0.55 - fat),
    )
    belly = polygon(
        (0.6, 0.48 + fat), (0.46, 0.55 + fat + rng.uniform(0, 0.06)), (0.45, 0.46 + fat)
    )
    parts = [area(tail, "second"), area(fin, "second"), area(belly, "second"), area(body)]
    parts.append(line(ellipse(0.67, 0.5, 0.06, fat * 0.7, start=-75, stop=75), "dark", 0.015))
    for x in np.linspace(0.36, 0.56, int(rng.integers(2, 4))):
        for y in (0.44, 0.56):
            parts.append(
                line(ellipse(x, y, 0.035, 0.05, start=-80, stop=80), "light", 0.012, detail=True)
            )
    side = leaf((0.58, 0.54), (0.44, rng.uniform(0.56, 0.64)), 0.1)
    eye = (0.83, 0.5 - fat * 0.25)
    return [
        *parts,
        area(side, "third", detail=True),
        area(ellipse(*eye, 0.035), "light"),
        area(ellipse(*eye, 0.017), "dark"),
    ]


def _penguin(rng: Rng) -> list[Part]:
    fat, crown = rng.uniform(0.2, 0.27), rng.uniform(0.04, 0.1)
    body = symmetric(
        [
            (0.5, crown),
            (0.62, crown + 0.1),
            (0.62, 0.3),
            (0.5 + fat, 0.6),
            (0.5 + fat * 0.7, 0.9),
            (0.5, 0.93),
        ]
    )
    belly = symmetric([(0.5, 0.34), (0.5 + fat * 0.55, 0.5), (0.5 + fat * 0.6, 0.75), (0.5, 0.89)])
    flap = rng.uniform(0.06, 0.2)
    flipper = leaf((0.5 + fat * 0.55, 0.36), (0.5 + fat + flap, rng.uniform(0.62, 0.72)), 0.1)
    foot = ellipse(0.5 + fat * 0.5, 0.94, 0.09, 0.035)
    beak = polygon(
        (0.45, crown + 0.15), (0.55, crown + 0.15), (0.5, crown + rng.uniform(0.21, 0.26))
    )
    eye = ellipse(rng.uniform(0.545, 0.56), crown + 0.11, 0.02)
    return [
        *mirrored(area(foot, "third")),
        *mirrored(area(flipper)),
        area(body),
        area(belly, "light"),
        area(beak, "third"),
        *mirrored(area(eye, "light")),
    ]


def _snail(rng: Rng) -> list[Part]:
    r, x, y = rng.uniform(0.24, 0.3), rng.uniform(0.4, 0.48), 0.5
    neck, reach = rng.uniform(0.4, 0.5), rng.uniform(0.86, 0.93)
    foot = spline(
        [
            (0.04, 0.84),
            (0.3, 0.72),
            (0.65, 0.7),
            (0.74, neck),
            (0.84, neck - 0.08),
            (reach + 0.02, neck),
            (reach - 0.04, 0.7),
            (0.8, 0.84),
            (0.4, 0.86),
        ]
    )
    turns = rng.uniform(1.8, 2.6)
    t = np.linspace(0, 1, 44)
    angle = 2 * math.pi * turns * t + rng.uniform(0, 6)
    coil = np.stack([x + r * 0.92 * t * np.cos(angle), y + r * 0.92 * t * np.sin(angle)], axis=1)
    tip = neck - rng.uniform(0.16, 0.24)
    parts = []
    for a, b in ((0.8, rng.uniform(0.74, 0.8)), (0.87, rng.uniform(0.88, 0.98))):
        parts += [
            line([(a, neck), (b, tip)], "second", 0.022),
            area(ellipse(b, tip, 0.022), "dark"),
        ]
    return [*parts, area(foot, "second"), area(ellipse(x, y, r)), line(coil, "dark", 0.026)]


def _turtle(rng: Rng) -> list[Part]:
    wide, high, low = rng.uniform(0.3, 0.35), rng.uniform(0.26, 0.36), 0.68
    dome = np.concatenate(
        [
            ellipse(0.45, low, wide, high, start=180, stop=360),
            ellipse(0.45, low, wide, 0.05, start=0, stop=180)[1:-1],
        ]
    )
    x, y = 0.45 + wide + rng.uniform(0.1, 0.15), rng.uniform(0.5, 0.62)
    neck = band([(0.45 + wide * 0.7, low + 0.02), (x - 0.03, y + 0.02)], 0.13, 0.1)
    parts = [area(neck, "second"), area(ellipse(x, y, 0.095, 0.075), "second")]
    for a in (0.45 - wide * 0.65, 0.45 + wide * 0.6):
        slant = rng.uniform(-0.04, 0.04)
        parts.append(area(band([(a, low), (a + slant, 0.87)], 0.13, 0.11), "second"))
    tail = polygon((0.48 - wide, low - 0.04), (0.37 - wide, low + 0.06), (0.48 - wide, low + 0.05))
    parts += [area(tail, "second"), area(dome)]
    for share in (-0.45, 0.0, 0.45):
        points = [
            (0.45 + wide * share, low),
            (0.45 + wide * share * 0.5, low - high * (0.95 - abs(share) * 0.2)),
        ]
        parts.append(line(points, "dark", 0.014, detail=True))
    ring = ellipse(0.45, low, wide * 0.7, high * 0.5, start=180, stop=360)
    parts.append(line(ring, "dark", 0.014, detail=bool(rng.random() < 0.5)))
    parts.append(area(ellipse(x + 0.035, y - 0.02, 0.017), "dark"))
    return parts


ANIMALS: dict[str, Describe] = {
    "bird": _bird,
    "butterfly": _butterfly,
    "cat": _cat,
    "fish": _fish,
    "penguin": _penguin,
    "snail": _snail,
    "turtle": _turtle,
}
