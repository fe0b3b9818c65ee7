"""Things found in a home, of the sample set: each class is one function from chance to parts.

Proportions, counts and variants are drawn anew for every instance; colours are not decided here.
"""

from __future__ import annotations

import numpy as np

from msedge.data.sample_objects.parts import (
    Describe,
    Part,
    area,
    ellipse,
    line,
    place,
    polygon,
    rectangle,
    spline,
    symmetric,
    turned,
)

Rng = np.random.Generator


def _chair(rng: Rng) -> list[Part]:
    left, right, seat = 0.26, rng.uniform(0.62, 0.7), rng.uniform(0.52, 0.6)
    dx, dy, top = rng.uniform(0.1, 0.2), rng.uniform(0.08, 0.14), rng.uniform(0.02, 0.1)
    leg, lean = rng.uniform(0.03, 0.055), rng.uniform(0.0, 0.06)
    foot = seat + rng.uniform(0.34, 0.42)
    parts = [
        line([(x + dx, seat - dy), (x + dx, foot - dy * 0.8)], "body", leg) for x in (left, right)
    ]
    posts = [((x + dx, seat - dy), (x + dx + lean, top)) for x in (left, right)]
    if rng.random() < 0.5:
        a, b = posts[0][1], posts[1][1]
        parts.append(
            area(
                polygon(
                    (a[0], a[1]),
                    (b[0], b[1]),
                    (b[0] - lean * 0.5, seat - dy - 0.12),
                    (a[0] - lean * 0.5, seat - dy - 0.12),
                ),
                "second",
            )
        )
    else:
        for share in np.linspace(0.35, 0.95, int(rng.integers(2, 5))):
            y = seat - dy + (top - seat + dy) * share
            parts.append(
                line(
                    [(left + dx + lean * share, y), (right + dx + lean * share, y)], "second", 0.035
                )
            )
    parts += [line(post, "body", leg) for post in posts]
    parts += [line([(x, seat), (x, foot)], "body", leg) for x in (left, right)]
    cushion = polygon(
        (left - 0.02, seat),
        (left + dx, seat - dy),
        (right + dx + 0.02, seat - dy),
        (right + 0.02, seat),
    )
    edge = rectangle(left - 0.02, seat, right + 0.02, seat + 0.045)
    return [*parts, area(cushion, "second"), area(edge)]


def _clock(rng: Rng) -> list[Part]:
    r, rim = rng.uniform(0.32, 0.38), rng.uniform(0.82, 0.9)
    parts = []
    if rng.random() < 0.6:
        for x in (0.28, 0.72):
            bell = ellipse(0, 0, 0.11, 0.09, start=180, stop=360)
            parts.append(area(place(bell, -38 if x < 0.5 else 38, x, 0.55 - r * 0.92), "second"))
            foot = [(x, 0.55 + r * 0.8), (x + (x - 0.5) * 0.3, 0.6 + r)]
            parts.append(line(foot, "second", 0.05))
        parts.append(line([(0.5, 0.55 - r), (0.5, 0.49 - r)], "second", 0.04, detail=True))
    parts += [area(ellipse(0.5, 0.55, r)), area(ellipse(0.5, 0.55, r * rim), "light")]
    step = 90 if rng.random() < 0.3 else 30
    for angle in range(0, 360, step):
        tick = place(polygon((r * rim * 0.82, 0), (r * rim * 0.95, 0)), angle, 0.5, 0.55)
        parts.append(line(tick, "dark", 0.018, detail=angle % 90 != 0))
    for reach, width in ((0.5, 0.03), (0.72, 0.02)):
        hand = place(polygon((0, 0), (r * rim * reach, 0)), rng.uniform(0, 360), 0.5, 0.55)
        parts.append(line(hand, "dark", width))
    return [*parts, area(ellipse(0.5, 0.55, 0.025), "third", detail=True)]


def _cup(rng: Rng) -> list[Part]:
    top, low, wide = rng.uniform(0.25, 0.36), rng.uniform(0.8, 0.9), rng.uniform(0.25, 0.31)
    narrow, dip = wide * rng.uniform(0.62, 1.0), rng.uniform(0.045, 0.085)
    x, belly = 0.44, rng.uniform(0, 0.05)
    grip_top, grip_low = top + (low - top) * 0.2, top + (low - top) * rng.uniform(0.62, 0.78)
    reach = x + wide + rng.uniform(0.14, 0.22)
    handle = spline(
        [
            (x + wide * 0.9, grip_top),
            (reach, grip_top + 0.02),
            (reach, grip_low - 0.08),
            (x + narrow * 0.9, grip_low),
        ],
        closed=False,
    )
    side = np.concatenate(
        [
            ellipse(x, top, wide, dip, start=180, stop=360),
            polygon((x + (wide + narrow) / 2 + belly, (top + low) / 2)),
            ellipse(x, low, narrow, dip * 0.8, start=0, stop=180),
            polygon((x - (wide + narrow) / 2 - belly, (top + low) / 2)),
        ]
    )
    parts = []
    if rng.random() < 0.3:
        parts.append(area(ellipse(x, low + 0.02, wide * 1.55, dip * 1.4), "second"))
    parts += [
        line(handle, "body", rng.uniform(0.04, 0.065)),
        area(side),
        area(ellipse(x, top, wide, dip), "second"),
    ]
    if rng.random() < 0.45:
        for steam in (x - 0.1, x + 0.08):
            wave = [
                (steam, top - 0.06),
                (steam + 0.05, top - 0.13),
                (steam, top - 0.19),
                (steam + 0.04, top - 0.26),
            ]
            parts.append(line(spline(wave, closed=False), "light", 0.018, detail=True))
    if rng.random() < 0.5:
        y = (top + low) / 2 + rng.uniform(0, 0.08)
        stripe = ellipse(x, y, (wide + narrow) / 2, dip, start=10, stop=170)
        parts.append(line(stripe, "third", rng.uniform(0.02, 0.06), detail=True))
    return parts


def _ladder(rng: Rng) -> list[Part]:
    low, top = rng.uniform(0.17, 0.24), rng.uniform(0.11, 0.17)
    rail = rng.uniform(0.035, 0.06)
    parts = []
    for share in np.linspace(0.1, 0.9, int(rng.integers(5, 9))):
        half = low + (top - low) * share
        y = 1.0 - share
        parts.append(line([(0.5 - half, y), (0.5 + half, y)], "second", rail * 0.8))
    for side in (-1, 1):
        parts.append(line([(0.5 + side * low, 1.0), (0.5 + side * top, 0.0)], "body", rail))
    return turned(parts, rng.uniform(-22, 22))


def _lamp(rng: Rng) -> list[Part]:
    low, high, rim = rng.uniform(0.24, 0.32), rng.uniform(0.1, 0.17), rng.uniform(0.4, 0.5)
    top, base = rng.uniform(0.05, 0.12), rng.uniform(0.15, 0.22)
    shade = np.concatenate(
        [
            ellipse(0.5, top, high, 0.025, start=180, stop=360),
            ellipse(0.5, rim, low, 0.045, start=0, stop=180),
        ]
    )
    parts = []
    if rng.random() < 0.5:
        parts.append(line([(0.5, rim), (0.5, 0.92)], "second", rng.uniform(0.03, 0.05)))
    else:
        bulge = rng.uniform(0.09, 0.14)
        vase = symmetric(
            [(0.53, rim), (0.54, 0.56), (0.5 + bulge, 0.72), (0.5 + bulge * 0.7, 0.88), (0.5, 0.9)]
        )
        parts.append(area(vase, "second"))
    foot = np.concatenate(
        [
            ellipse(0.5, 0.92, base, 0.05, start=180, stop=360),
            ellipse(0.5, 0.95, base, 0.04, start=0, stop=180),
        ]
    )
    parts += [area(foot, "second"), area(shade)]
    if rng.random() < 0.5:
        parts.append(
            line(
                [(0.5 + low * 0.6, rim), (0.5 + low * 0.6, rim + 0.13)], "dark", 0.014, detail=True
            )
        )
    for share in (-0.4, 0.0, 0.4):
        parts.append(
            line(
                [(0.5 + high * share, top + 0.02), (0.5 + low * share, rim + 0.02)],
                "third",
                0.014,
                detail=True,
            )
        )
    return parts


HOUSEHOLD: dict[str, Describe] = {
    "chair": _chair,
    "clock": _clock,
    "cup": _cup,
    "ladder": _ladder,
    "lamp": _lamp,
}
