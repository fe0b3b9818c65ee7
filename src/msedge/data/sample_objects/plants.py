"""Plants and food of the sample set: each class is one function from chance to parts.

Proportions, counts and variants are drawn anew for every instance; colours are not decided here.
"""

from __future__ import annotations

import math

import numpy as np

from msedge.data.sample_objects.parts import (
    Describe,
    Part,
    Tone,
    area,
    ellipse,
    leaf,
    line,
    mirrored,
    place,
    polygon,
    spline,
    symmetric,
    turned,
)

Rng = np.random.Generator


def _apple(rng: Rng) -> list[Part]:
    wide, low, dip = rng.uniform(0.3, 0.38), rng.uniform(0.8, 0.9), rng.uniform(0.3, 0.36)
    flesh = symmetric(
        [
            (0.5, dip),
            (0.5 + wide * 0.35, dip - 0.075),
            (0.5 + wide * 0.75, dip - 0.03),
            (0.5 + wide, dip + 0.14),
            (0.5 + wide * 0.97, dip + 0.3),
            (0.5 + wide * 0.75, low - 0.08),
            (0.5 + wide * 0.38, low),
            (0.5, low - 0.03),
        ]
    )
    lean = rng.uniform(-0.06, 0.08)
    top = (0.5 + lean, rng.uniform(0.08, 0.16))
    stem = line(
        spline([(0.5, dip + 0.03), (0.5 + lean * 0.3, 0.22), top], closed=False), "dark", 0.032
    )
    parts = [area(flesh), stem]
    if rng.random() < 0.8:
        tip = (top[0] + rng.uniform(0.16, 0.26), top[1] + rng.uniform(-0.06, 0.08))
        parts.append(area(leaf((0.5 + lean * 0.5, 0.22), tip, rng.uniform(0.08, 0.13)), "second"))
    shine = ellipse(0.5, 0.55, wide * 0.72, 0.2, start=190, stop=235)
    return [*parts, line(shine, "light", 0.025, detail=True)]


def _cactus(rng: Rng) -> list[Part]:
    top, half = rng.uniform(0.05, 0.14), rng.uniform(0.085, 0.12)
    trunk = np.concatenate(
        [
            ellipse(0.5, top + half, half, start=180, stop=360),
            polygon((0.5 + half, 0.9), (0.5 - half, 0.9)),
        ]
    )
    parts = []
    for side in (-1, 1):
        if side == 1 or rng.random() < 0.85:
            foot, reach, rise = (
                rng.uniform(0.42, 0.6),
                rng.uniform(0.22, 0.3),
                rng.uniform(0.16, 0.3),
            )
            x = 0.5 + side * reach
            bend = [(0.5, foot), (x - side * 0.07, foot), (x, foot - 0.07), (x, foot - rise)]
            parts.append(line(spline(bend, closed=False), "body", rng.uniform(0.1, 0.14)))
    parts.append(area(trunk))
    for x in (0.5 - half * 0.4, 0.5 + half * 0.4):
        parts.append(line([(x, top + 0.1), (x, 0.68)], "light", 0.012, detail=True))
    if rng.random() < 0.4:
        parts.append(area(ellipse(0.5, top, 0.05, 0.04), "third", detail=True))
    if rng.random() < 0.65:
        wide = rng.uniform(0.17, 0.22)
        pot = symmetric([(0.5 + wide, 0.72), (0.5 + wide * 0.7, 0.97)], smooth=False)
        rim = symmetric([(0.5 + wide * 1.15, 0.68), (0.5 + wide * 1.15, 0.75)], smooth=False)
        parts += [area(pot, "second"), area(rim, "second")]
    return parts


def _carrot(rng: Rng) -> list[Part]:
    wide, end = rng.uniform(0.12, 0.18), rng.uniform(0.93, 1.0)
    root = symmetric(
        [
            (0.5, 0.3),
            (0.5 + wide * 0.8, 0.32),
            (0.5 + wide, 0.42),
            (0.5 + wide * 0.55, 0.7),
            (0.5, end),
        ]
    )
    parts = []
    for spread in np.linspace(-1, 1, int(rng.integers(3, 6))):
        tip = (0.5 + spread * rng.uniform(0.16, 0.26), rng.uniform(0.0, 0.08) + abs(spread) * 0.06)
        parts.append(area(leaf((0.5, 0.34), tip, rng.uniform(0.07, 0.11)), "second"))
    parts.append(area(root))
    for y in np.linspace(0.42, 0.78, int(rng.integers(3, 6))):
        half = wide * (1.1 - y) * 0.8
        x = 0.5 + rng.choice([-1.0, 1.0]) * half * 0.8
        parts.append(line([(x - half, y), (x + half * 0.3, y + 0.01)], "dark", 0.012, detail=True))
    return turned(parts, rng.uniform(-45, 45))


def _flower(rng: Rng) -> list[Part]:
    petals, long, first = int(rng.integers(5, 10)), rng.uniform(0.2, 0.26), rng.uniform(0, 72)
    core, y = rng.uniform(0.07, 0.11), 0.32
    sway = rng.uniform(-0.08, 0.08)
    stem = spline([(0.5, y), (0.5 + sway, 0.65), (0.5 + sway * 0.4, 1.0)], closed=False)
    parts = [line(stem, "second", 0.03)]
    for side in (-1, 1):
        if rng.random() < 0.8:
            foot = rng.uniform(0.68, 0.85)
            tip = (0.5 + side * rng.uniform(0.2, 0.28), foot - rng.uniform(0.06, 0.18))
            parts.append(
                area(leaf((0.5 + sway * 0.8, foot), tip, rng.uniform(0.08, 0.12)), "second")
            )
    wide = rng.uniform(0.75, 1.15) * long * math.sin(math.pi / petals)
    for i in range(petals):
        petal = ellipse(long * 0.62, 0, long * 0.5, wide)
        parts.append(area(place(petal, first + 360 * i / petals, 0.5, y)))
    return [*parts, area(ellipse(0.5, y, core), "third")]


def _ice_cream(rng: Rng) -> list[Part]:
    rim, wide = rng.uniform(0.48, 0.56), rng.uniform(0.16, 0.2)
    cone = polygon((0.5 - wide, rim), (0.5 + wide, rim), (0.5, 1.0))
    parts = [area(cone, "second")]
    for start, stop in ((0.02, 0.4), (0.25, 0.62), (0.5, 0.8)):
        groove = [
            (0.5 + side * wide * (1 - share), rim + (1 - rim) * share)
            for side, share in ((-1, start), (1, stop))
        ]
        parts += mirrored(line(groove, "dark", 0.012, detail=True))
    r = wide * rng.uniform(0.85, 1.05)
    scoops: list[tuple[float, float, Tone]]
    match int(rng.integers(3)):
        case 0:
            r *= 1.25
            scoops = [(0, 0.6, "body")]
        case 1:
            scoops = [(0, 0.5, "body"), (0.15, 1.6, "third")]
        case _:
            scoops = [(-0.6, 0.45, "body"), (0.6, 0.45, "third"), (0, 1.4, "light")]
    parts += [area(ellipse(0.5 + x * r, rim - y * r, r), tone) for x, y, tone in scoops]
    x, y, _ = scoops[-1]
    if rng.random() < 0.5:
        cherry = ellipse(0.5 + x * r, rim - (y + 1) * r - 0.01, 0.045)
        parts.append(area(cherry, "dark", detail=True))
    return parts


def _mushroom(rng: Rng) -> list[Part]:
    wide, top, brim = rng.uniform(0.34, 0.46), rng.uniform(0.08, 0.24), rng.uniform(0.48, 0.56)
    thin, foot = rng.uniform(0.07, 0.12), rng.uniform(0.1, 0.18)
    stem = symmetric(
        [
            (0.5, brim - 0.05),
            (0.5 + thin, brim),
            (0.5 + thin, 0.72),
            (0.5 + foot, 0.92),
            (0.5, 0.95),
        ]
    )
    dome = ellipse(0.5, brim, wide, brim - top, start=180, stop=360)
    brink = ellipse(0.5, brim, wide, rng.uniform(0.03, 0.09), start=0, stop=180)
    parts = [area(stem, "light"), area(np.concatenate([dome, brink[1:-1]]))]
    if rng.random() < 0.5:
        skirt = spline([(0.5 - thin, 0.64), (0.5, 0.7), (0.5 + thin, 0.64)], closed=False)
        parts.append(line(skirt, "second", 0.02, detail=True))
    for x in np.linspace(-0.6, 0.6, int(rng.integers(3, 6))):
        y = brim - (brim - top) * rng.uniform(0.25, 0.75) * math.sqrt(1 - x * x)
        r = rng.uniform(0.03, 0.055)
        parts.append(
            area(ellipse(0.5 + wide * x, y, r, r * 0.85), "second", detail=bool(rng.random() < 0.5))
        )
    return parts


def _pineapple(rng: Rng) -> list[Part]:
    wide, high = rng.uniform(0.19, 0.26), rng.uniform(0.27, 0.33)
    y = 0.98 - high
    parts = []
    for spread in sorted(np.linspace(-1, 1, int(rng.integers(5, 8))), key=lambda s: -abs(s)):
        tip = (0.5 + spread * rng.uniform(0.2, 0.28), rng.uniform(0.0, 0.06) + 0.16 * abs(spread))
        parts.append(area(leaf((0.5 + spread * 0.04, y - high + 0.06), tip, 0.1), "second"))
    parts.append(area(ellipse(0.5, y, wide, high)))
    rows = int(rng.integers(3, 5))
    for i in range(-rows, rows + 1):
        for slope in (-1, 1):
            s = np.linspace(-1.5, 1.5, 40)
            x, v = s * 0.7 + i * 0.6 * 3 / rows, slope * s
            inside = x**2 + v**2 < 0.95
            if inside.sum() > 4:
                points = np.stack([0.5 + wide * x[inside], y + high * v[inside]], axis=1)
                parts.append(line(points[[0, -1]], "dark", 0.012, detail=i % 2 == 1))
    return turned(parts, rng.uniform(-15, 15))


def _tree(rng: Rng) -> list[Part]:
    thick = rng.uniform(0.045, 0.08)
    trunk = symmetric(
        [(0.5 + thick * 0.7, 0.5), (0.5 + thick, 0.85), (0.5 + thick * 1.7, 0.98)], smooth=False
    )
    parts = [area(trunk, "second")]
    if rng.random() < 0.35:
        tiers, wide = int(rng.integers(2, 5)), rng.uniform(0.26, 0.34)
        for i in range(tiers):
            low = 0.82 - i * 0.62 / tiers
            half = wide * (1 - i * 0.55 / tiers)
            parts.append(
                area(polygon((0.5 - half, low), (0.5 + half, low), (0.5, low - 0.8 / tiers - 0.1)))
            )
        return parts
    lobes, y = int(rng.integers(6, 10)), rng.uniform(0.32, 0.38)
    wide, high, bump = rng.uniform(0.3, 0.4), rng.uniform(0.24, 0.32), rng.uniform(0.05, 0.12)
    angle = np.linspace(0, 2 * math.pi, lobes * 8, endpoint=False)
    swell = 1 - bump + 2.2 * bump * np.abs(np.sin(angle * lobes / 2 + rng.uniform(0, 3)))
    crown = np.stack([0.5 + wide * swell * np.cos(angle), y + high * swell * np.sin(angle)], axis=1)
    parts.append(area(crown))
    for _ in range(int(rng.integers(0, 5))):
        x, v = 0.5 + rng.uniform(-0.6, 0.6) * wide, y + rng.uniform(-0.6, 0.6) * high
        parts.append(area(ellipse(x, v, 0.03), "third", detail=True))
    return parts


PLANTS: dict[str, Describe] = {
    "apple": _apple,
    "cactus": _cactus,
    "carrot": _carrot,
    "flower": _flower,
    "ice_cream": _ice_cream,
    "mushroom": _mushroom,
    "pineapple": _pineapple,
    "tree": _tree,
}
