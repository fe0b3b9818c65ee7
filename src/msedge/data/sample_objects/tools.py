"""Things a hand holds, of the sample set: each class is one function from chance to parts.

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
    line,
    mirror,
    mirrored,
    polygon,
    rectangle,
    spline,
    symmetric,
    turned,
)

Rng = np.random.Generator


def _glasses(rng: Rng) -> list[Part]:
    wide, high, gap = rng.uniform(0.15, 0.19), rng.uniform(0.11, 0.17), rng.uniform(0.05, 0.08)
    x, rim = 0.5 + gap + wide, rng.uniform(0.022, 0.045)
    power = rng.choice([1.0, 0.55])
    t = np.linspace(0, 2 * math.pi, 36, endpoint=False)
    lens = np.stack(
        [
            x + wide * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** power,
            0.5 + high * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** power,
        ],
        axis=1,
    )
    rise = rng.uniform(0.02, 0.06)
    bridge = spline([(0.5 - gap, 0.47), (0.5, 0.47 - rise), (0.5 + gap, 0.47)], closed=False)
    out = x + wide
    temple = [
        (out, 0.46),
        (out + 0.03, 0.43),
        (out - rng.uniform(0.06, 0.14), rng.uniform(0.2, 0.28)),
    ]
    shine = [(x - 0.05, 0.52), (x + 0.03, 0.43)]
    return [
        *mirrored(line(temple, "body", rim)),
        *mirrored(area(lens, "light" if rng.random() < 0.6 else "dark")),
        *mirrored(line(lens, "body", rim, closed=True)),
        line(bridge, "body", rim),
        *mirrored(line(shine, "second", 0.016, detail=True)),
    ]


def _guitar(rng: Rng) -> list[Part]:
    hip, waist, chest = rng.uniform(0.2, 0.24), rng.uniform(0.1, 0.14), rng.uniform(0.15, 0.19)
    body = symmetric(
        [
            (0.5, 0.5),
            (0.5 + chest * 0.7, 0.5),
            (0.5 + chest, 0.57),
            (0.5 + waist, 0.68),
            (0.5 + hip, 0.83),
            (0.5 + hip * 0.6, 0.97),
            (0.5, 0.98),
        ]
    )
    slim, nut = rng.uniform(0.025, 0.035), rng.uniform(0.1, 0.16)
    head = symmetric(
        [(0.5 + slim, nut), (0.5 + slim * 2, nut - 0.03), (0.5 + slim * 1.7, nut - 0.12)][::-1],
        smooth=False,
    )
    parts = [area(body), area(ellipse(0.5, 0.66, rng.uniform(0.055, 0.07)), "dark")]
    parts.append(area(rectangle(0.5 - slim, nut, 0.5 + slim, 0.64), "second"))
    parts.append(area(head, "second"))
    parts.append(area(rectangle(0.42, 0.82, 0.58, 0.85), "third"))
    for y in np.linspace(nut + 0.05, 0.48, 5):
        parts.append(line([(0.5 - slim, y), (0.5 + slim, y)], "dark", 0.008, detail=True))
    for x in (0.485, 0.515):
        parts.append(line([(x, nut), (x, 0.83)], "light", 0.006, detail=True))
    for y in (nut - 0.1, nut - 0.05):
        parts += mirrored(area(ellipse(0.5 + slim * 2.4, y, 0.018), "third", detail=True))
    return turned(parts, rng.uniform(-50, 50))


def _hammer(rng: Rng) -> list[Part]:
    top, thick = rng.uniform(0.12, 0.18), rng.uniform(0.13, 0.17)
    slim, claw = rng.uniform(0.06, 0.09), rng.uniform(0.24, 0.32)
    head = polygon(
        (0.72, top - 0.02),
        (0.8, top - 0.02),
        (0.8, top + thick + 0.02),
        (0.72, top + thick + 0.02),
        (0.72, top + thick * 0.85),
        (0.44, top + thick * 0.9),
    )
    prong = spline(
        [
            (0.44, top + thick * 0.9),
            (0.3, top + thick * 0.75),
            (0.5 - claw, top + thick * 1.3),
            (0.26, top + 0.02),
            (0.42, top),
        ],
        closed=False,
    )
    handle = band(
        [(0.52, top + 0.05), (0.52, 0.6), (0.52, 1.0)], slim, slim * rng.uniform(1.1, 1.6)
    )
    parts = [area(handle, "body"), area(np.concatenate([head, prong[1:]]), "second")]
    grip = rng.uniform(0.68, 0.76)
    parts.append(
        line([(0.52 - slim * 0.6, grip), (0.52 + slim * 0.6, grip)], "dark", 0.016, detail=True)
    )
    return turned(parts, rng.uniform(-50, 50))


def _key(rng: Rng) -> list[Part]:
    r, thick = rng.uniform(0.13, 0.17), rng.uniform(0.05, 0.075)
    end = rng.uniform(0.9, 0.98)
    bow = ellipse(0.22, 0.5, r, r * rng.uniform(0.85, 1.25))
    if rng.random() < 0.35:
        corner = 0.22 + r
        bow = np.concatenate(
            [
                ellipse(c[0], c[1], r * 0.55, start=s, stop=s + 200)
                for c, s in (
                    ((corner - r * 0.7, 0.5 + r * 0.62), -20),
                    ((0.22 - r * 0.6, 0.5), 80),
                    ((corner - r * 0.7, 0.5 - r * 0.62), 180),
                )
            ]
        )
    parts = [line([(0.22 + r, 0.5), (end, 0.5)], "body", thick)]
    for x in np.linspace(end - 0.03, end - rng.uniform(0.12, 0.2), int(rng.integers(2, 4))):
        parts.append(line([(x, 0.5), (x, 0.5 + rng.uniform(0.1, 0.17))], "body", thick * 0.8))
    parts.append(line(bow, "body", thick * 1.1, closed=True))
    if rng.random() < 0.5:
        parts.append(line([(0.28 + r, 0.45), (0.28 + r, 0.55)], "second", 0.03, detail=True))
    return turned(parts, rng.uniform(-50, 50))


def _scissors(rng: Rng) -> list[Part]:
    spread, pivot = rng.uniform(9, 28), (0.5, 0.52)
    r, tall = rng.uniform(0.085, 0.11), rng.uniform(1.1, 1.5)
    blade = polygon((0.465, 0.56), (0.46, 0.3), (0.5, 0.0), (0.53, 0.3), (0.535, 0.56))
    out = rng.uniform(0.03, 0.06)
    parts = []
    for side in (1, -1):
        ring = line(
            ellipse(0.5 + out, 0.7 + r * tall, r, r * tall),
            "body",
            rng.uniform(0.045, 0.06),
            closed=True,
        )
        arm = area(
            polygon((0.465, 0.54), (0.535, 0.54), (0.55 + out, 0.73), (0.47 + out, 0.73)), "body"
        )
        half = [area(blade, "light"), arm, ring]
        half = half if side == 1 else [mirror(part) for part in half]
        parts += turned(half, -side * spread, pivot)
    parts.append(area(ellipse(*pivot, 0.028), "dark"))
    return turned(parts, rng.uniform(-50, 50))


def _umbrella(rng: Rng) -> list[Part]:
    wide, top, brim = rng.uniform(0.42, 0.48), rng.uniform(0.1, 0.18), rng.uniform(0.46, 0.54)
    scallops, sag = int(rng.integers(3, 7)), rng.uniform(0.03, 0.07)
    dome = ellipse(0.5, brim, wide, brim - top, start=180, stop=360)
    t = np.linspace(1, -1, scallops * 6 + 1)[1:-1]
    hem = np.stack(
        [0.5 + wide * t, brim - sag * np.abs(np.sin((t + 1) * math.pi * scallops / 2))], axis=1
    )
    hook = rng.uniform(0.07, 0.11)
    crook = ellipse(0.5 - hook, 0.88, hook, start=0, stop=rng.uniform(150, 190))
    shaft = np.concatenate([polygon((0.5, brim - 0.06)), crook])
    parts = [line(shaft, "second", rng.uniform(0.024, 0.04)), area(np.concatenate([dome, hem]))]
    for i in range(1, scallops):
        x = 0.5 + wide * (2 * i / scallops - 1)
        rib = spline(
            [(0.5, top), (0.5 + (x - 0.5) * 0.75, top + (brim - top) * 0.45), (x, brim)],
            closed=False,
        )
        parts.append(line(rib, "third", 0.014, detail=bool(rng.random() < 0.5)))
    parts.append(line([(0.5, top), (0.5, top - 0.06)], "second", 0.024))
    return parts


TOOLS: dict[str, Describe] = {
    "glasses": _glasses,
    "guitar": _guitar,
    "hammer": _hammer,
    "key": _key,
    "scissors": _scissors,
    "umbrella": _umbrella,
}
