"""Made things of the sample set: each class is one function from chance to parts.

Proportions, counts and variants are drawn anew for every instance; colours are not decided here.
"""

from __future__ import annotations

import math

import numpy as np

from msedge.data.sample_parts import (
    Describe,
    Part,
    area,
    band,
    ellipse,
    leaf,
    line,
    mirror,
    place,
    polygon,
    rectangle,
    spline,
    symmetric,
    turned,
)

Rng = np.random.Generator


def _pair(part: Part) -> list[Part]:
    return [part, mirror(part)]


def _bicycle(rng: Rng) -> list[Part]:
    r, y = rng.uniform(0.19, 0.23), 0.68
    back, front = (0.23, y), (rng.uniform(0.74, 0.78), y)
    crank, seat, head = (rng.uniform(0.45, 0.49), y + 0.02), (0.4, 0.36), (front[0] - 0.09, 0.37)
    parts = []
    for x, _ in (back, front):
        parts.append(line(ellipse(x, y, r), "dark", rng.uniform(0.025, 0.045), closed=True))
        for angle in rng.uniform(0, 60) + np.arange(0, 180, 45):
            spoke = place(polygon((-r, 0), (r, 0)), float(angle), x, y)
            parts.append(line(spoke, "light", 0.008, detail=True))
    tube = rng.uniform(0.025, 0.04)
    saddle, bar = seat[1] - rng.uniform(0.04, 0.1), head[1] - rng.uniform(0.05, 0.12)
    frame = [[back, (0.415, 0.42), (head[0], 0.42), crank, back], [crank, seat], [head, front]]
    parts += [line(path, "body", tube) for path in frame]
    parts.append(line([seat, (seat[0] - 0.02, saddle)], "body", tube))
    parts.append(line([(seat[0] - 0.09, saddle), (seat[0] + 0.07, saddle)], "second", 0.045))
    grip = [(head[0] + 0.1, bar + 0.03), (head[0] + 0.06, bar - 0.02), (head[0] - 0.04, bar), head]
    parts.append(line(grip, "second", 0.028))
    parts.append(area(ellipse(*crank, 0.045), "third"))
    return parts


def _car(rng: Rng) -> list[Part]:
    floor, waist = 0.72, rng.uniform(0.48, 0.54)
    roof, bonnet, boot = rng.uniform(0.26, 0.34), rng.uniform(0.7, 0.82), rng.uniform(0.08, 0.24)
    slope = rng.uniform(0.06, 0.14)
    shell = polygon(
        (0.03, waist + 0.04),
        (boot, waist),
        (boot + slope, roof),
        (bonnet - slope - 0.05, roof),
        (bonnet, waist),
        (0.95, waist + 0.05),
        (0.98, floor),
        (0.02, floor),
    )
    pane = roof + 0.04
    middle = (boot + bonnet) / 2
    rear = polygon(
        (boot + 0.06, waist),
        (boot + slope + 0.025, pane),
        (middle - 0.035, pane),
        (middle - 0.035, waist),
    )
    fore = polygon(
        (middle, waist), (middle, pane), (bonnet - slope - 0.07, pane), (bonnet - 0.06, waist)
    )
    parts = [area(shell), area(rear, "light"), area(fore, "light")]
    parts.append(
        line([(middle - 0.018, waist), (middle - 0.018, floor - 0.02)], "dark", 0.01, detail=True)
    )
    parts.append(
        line(
            [(middle - 0.1, waist + 0.06), (middle - 0.05, waist + 0.06)],
            "dark",
            0.016,
            detail=True,
        )
    )
    parts.append(area(ellipse(0.95, waist + 0.1, 0.025, 0.035), "third", detail=True))
    r = rng.uniform(0.095, 0.125)
    for x in (rng.uniform(0.2, 0.25), rng.uniform(0.74, 0.8)):
        parts += [area(ellipse(x, floor, r), "dark"), area(ellipse(x, floor, r * 0.5), "second")]
    return parts


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
        *_pair(line(temple, "body", rim)),
        *_pair(area(lens, "light" if rng.random() < 0.6 else "dark")),
        *_pair(line(lens, "body", rim, closed=True)),
        line(bridge, "body", rim),
        *_pair(line(shine, "second", 0.016, detail=True)),
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
        parts += _pair(area(ellipse(0.5 + slim * 2.4, y, 0.018), "third", detail=True))
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


def _house(rng: Rng) -> list[Part]:
    left, right = rng.uniform(0.12, 0.22), rng.uniform(0.78, 0.88)
    eave, peak, over = rng.uniform(0.42, 0.52), rng.uniform(0.08, 0.2), rng.uniform(0.03, 0.09)
    flat = rng.choice([0.0, rng.uniform(0.08, 0.2)])
    roof = polygon(
        (left - over, eave), (0.5 - flat, peak), (0.5 + flat, peak), (right + over, eave)
    )
    parts = []
    if rng.random() < 0.65:
        x = rng.uniform(0.64, 0.72)
        parts.append(
            area(rectangle(x, peak - 0.02, x + rng.uniform(0.07, 0.11), eave - 0.05), "third")
        )
    parts += [area(rectangle(left, eave, right, 0.92)), area(roof, "second")]
    door, wide = rng.uniform(0.32, 0.62), rng.uniform(0.13, 0.17)
    parts.append(area(rectangle(door, rng.uniform(0.62, 0.68), door + wide, 0.92), "third"))
    parts.append(area(ellipse(door + wide * 0.8, 0.8, 0.013), "dark", detail=True))
    for x in (left + 0.06, right - 0.2):
        if x + 0.15 < door or x > door + wide + 0.01:
            parts.append(area(rectangle(x, 0.59, x + 0.14, 0.73), "light"))
            parts.append(line([(x + 0.07, 0.59), (x + 0.07, 0.73)], "dark", 0.014, detail=True))
            parts.append(line([(x, 0.66), (x + 0.14, 0.66)], "dark", 0.014, detail=True))
    if rng.random() < 0.4:
        parts.append(area(ellipse(0.5, (eave + peak) / 2 + 0.04, 0.055), "light", detail=True))
    return parts


def _ice_cream(rng: Rng) -> list[Part]:
    rim, wide = rng.uniform(0.48, 0.56), rng.uniform(0.16, 0.2)
    cone = polygon((0.5 - wide, rim), (0.5 + wide, rim), (0.5, 1.0))
    parts = [area(cone, "second")]
    for share in (0.3, 0.62):
        y, half = rim + (1 - rim) * share * 0.8, wide * (1 - share)
        parts.append(
            line(
                [
                    (0.5 - wide * (1 - share * 0.5), rim + 0.48 * share * 0.5),
                    (0.5 + half * 0.3, y + 0.06),
                ],
                "dark",
                0.012,
                detail=True,
            )
        )
        parts.append(
            line(
                [
                    (0.5 + wide * (1 - share * 0.5), rim + 0.48 * share * 0.5),
                    (0.5 - half * 0.3, y + 0.06),
                ],
                "dark",
                0.012,
                detail=True,
            )
        )
    r = wide * rng.uniform(0.85, 1.05)
    balls = int(rng.integers(1, 4))
    spots = {1: [(0, 0.6)], 2: [(0, 0.5), (0.15, 1.6)], 3: [(-0.6, 0.45), (0.6, 0.45), (0, 1.4)]}[
        balls
    ]
    r *= 1.25 if balls == 1 else 1.0
    for (x, y), tone in zip(spots, ("body", "third", "light"), strict=False):
        parts.append(area(ellipse(0.5 + x * r, rim - y * r, r), tone))
    top = rim - spots[-1][1] * r - r
    if rng.random() < 0.5:
        parts.append(area(ellipse(0.5 + spots[-1][0] * r, top - 0.01, 0.045), "dark", detail=True))
    return parts


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


def _rocket(rng: Rng) -> list[Part]:
    wide, waist = rng.uniform(0.12, 0.17), rng.uniform(0.26, 0.32)
    hull = symmetric(
        [
            (0.5, 0.02),
            (0.5 + wide * 0.75, 0.18),
            (0.5 + wide, 0.42),
            (0.5 + wide * 0.9, 0.65),
            (0.5 + wide * 0.6, 0.78),
            (0.5, 0.78),
        ]
    )
    nose = symmetric(
        [(0.5, 0.02), (0.5 + wide * 0.6, 0.13), (0.5 + wide * 0.82, 0.22), (0.5, 0.25)]
    )
    out = rng.uniform(0.16, 0.24)
    fin = polygon(
        (0.5 + wide * 0.8, 0.52),
        (0.5 + wide + out * 0.7, 0.72),
        (0.5 + wide + out * 0.6, 0.88),
        (0.5 + wide * 0.5, 0.77),
    )
    flame = symmetric(
        [(0.5 + wide * 0.5, 0.76), (0.5 + wide * 0.55, 0.86), (0.5, rng.uniform(0.95, 1.04))]
    )
    core = leaf((0.5, 0.77), (0.5, 0.92), 0.1)
    parts = [
        area(flame, "third", detail=bool(rng.random() < 0.3)),
        area(core, "light", detail=True),
    ]
    parts += [*_pair(area(fin, "second")), area(hull), area(nose, "second")]
    for y in (waist + 0.08, waist + 0.24)[: int(rng.integers(1, 3))]:
        r = rng.uniform(0.05, 0.065)
        parts += [
            area(ellipse(0.5, y, r), "dark"),
            area(ellipse(0.5, y, r * 0.65), "light", detail=True),
        ]
    return turned(parts, rng.uniform(-30, 30))


def _sailboat(rng: Rng) -> list[Part]:
    deck, keel, mast = rng.uniform(0.68, 0.75), rng.uniform(0.86, 0.93), rng.uniform(0.44, 0.52)
    bow, stern, top = rng.uniform(0.92, 0.98), rng.uniform(0.04, 0.1), rng.uniform(0.02, 0.08)
    hull = np.concatenate(
        [
            polygon((stern, deck), (bow, deck)),
            spline(
                [(bow - 0.1, keel - 0.03), (0.5, keel), (stern + 0.12, keel - 0.02)], closed=False
            ),
        ]
    )
    boom = deck - rng.uniform(0.05, 0.09)
    main = polygon((mast + 0.03, top + 0.06), (rng.uniform(0.78, 0.9), boom), (mast + 0.03, boom))
    jib = polygon(
        (mast - 0.03, top + rng.uniform(0.06, 0.16)),
        (rng.uniform(0.1, 0.24), boom),
        (mast - 0.03, boom),
    )
    parts = [
        line([(mast, top), (mast, deck + 0.01)], "dark", 0.028),
        area(main, "light"),
        area(jib, "second"),
        area(hull),
    ]
    if rng.random() < 0.5:
        flag = polygon(
            (mast, top - 0.02), (mast - rng.uniform(0.1, 0.16), top + 0.02), (mast, top + 0.05)
        )
        parts.append(area(flag, "third", detail=True))
    if rng.random() < 0.5:
        parts.append(
            line(
                [(stern + 0.05, deck + 0.07), (bow - 0.06, deck + 0.07)],
                "third",
                0.022,
                detail=True,
            )
        )
    return parts


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


def _windmill(rng: Rng) -> list[Part]:
    base, neck, hub = rng.uniform(0.16, 0.22), rng.uniform(0.08, 0.12), rng.uniform(0.36, 0.4)
    tower = symmetric([(0.5 + neck, hub), (0.5 + base, 1.0)], smooth=False)
    cap = ellipse(0.5, hub, neck * 1.15, 0.11, start=180, stop=360)
    parts = [area(tower), area(cap, "second"), area(rectangle(0.455, 0.86, 0.545, 1.0), "third")]
    if rng.random() < 0.6:
        parts.append(area(ellipse(0.5, 0.62, 0.04), "light", detail=True))
    first, reach, wide = rng.uniform(0, 90), rng.uniform(0.34, 0.42), rng.uniform(0.08, 0.12)
    for angle in first + np.arange(4) * 90.0:
        sail = place(rectangle(0.09, 0.0, reach, wide), float(angle), 0.5, hub - 0.02)
        arm = place(polygon((0, 0), (reach + 0.02, 0)), float(angle), 0.5, hub - 0.02)
        parts += [area(sail, "light"), line(arm, "dark", 0.02)]
        for share in (0.4, 0.7):
            bar = polygon((reach * share, 0), (reach * share, wide))
            parts.append(line(place(bar, float(angle), 0.5, hub - 0.02), "dark", 0.01, detail=True))
    return [*parts, area(ellipse(0.5, hub - 0.02, 0.03), "dark")]


THINGS: dict[str, Describe] = {
    "bicycle": _bicycle,
    "car": _car,
    "chair": _chair,
    "clock": _clock,
    "cup": _cup,
    "glasses": _glasses,
    "guitar": _guitar,
    "hammer": _hammer,
    "house": _house,
    "ice_cream": _ice_cream,
    "key": _key,
    "ladder": _ladder,
    "lamp": _lamp,
    "rocket": _rocket,
    "sailboat": _sailboat,
    "scissors": _scissors,
    "umbrella": _umbrella,
    "windmill": _windmill,
}
