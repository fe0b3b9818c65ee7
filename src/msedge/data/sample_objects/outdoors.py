"""Vehicles and buildings of the sample set: each class is one function from chance to parts.

Proportions, counts and variants are drawn anew for every instance; colours are not decided here.
"""

from __future__ import annotations

import numpy as np

from msedge.data.sample_objects.parts import (
    Describe,
    Part,
    area,
    ellipse,
    leaf,
    line,
    mirrored,
    place,
    polygon,
    rectangle,
    spline,
    symmetric,
    turned,
)

Rng = np.random.Generator


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
    parts += [*mirrored(area(fin, "second")), area(hull), area(nose, "second")]
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


OUTDOORS: dict[str, Describe] = {
    "bicycle": _bicycle,
    "car": _car,
    "house": _house,
    "rocket": _rocket,
    "sailboat": _sailboat,
    "windmill": _windmill,
}
