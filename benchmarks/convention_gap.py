"""How far apart the conventions are on one and the same ranking, and what duplicates add.

Claims (``docs/referee.md``): with nothing changed but the definition, mAP@200 differs by tens of
points between ``hits`` and ``total``; a gallery that holds its original photos twice raises P@200.

    python benchmarks/convention_gap.py [--seed 0] [--figure docs/images/conventions.svg]
    python benchmarks/convention_gap.py --vectors FILE.safetensors

The vectors are made, of the size of ``sketchy-21``. Known are 12,694 queries, 10,453 unique photos
and 12,553 lines of the lists in circulation, which name the 100 originals of each class twice;
skyscraper's 545 queries and 161 photos; and that no other class has fewer than 276 photos. How the
remaining photos and queries fall on the other 20 classes is drawn by the seed. Each image is its
class's centre plus noise, in 32 dimensions, and the noise alone sets the quality: the default gives
a ``standard`` mAP@200 near 45. Originals are drawn like all other photos, which those of the
dataset are not. ``--vectors`` takes a file that ``msedge train`` wrote instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from msedge.data.protocols import load_protocol
from msedge.data.vectors import load_vectors
from msedge.errors import MSEdgeError
from msedge.evaluation.conventions import CONVENTIONS
from msedge.evaluation.evaluate import evaluate
from msedge.evaluation.tables.splits import CLASS_SIZES

PROTOCOL = "sketchy-21"
SHORT_QUERIES = 545  # of skyscraper; counted where the class sizes of `splits` were
DIM = 32
NOISE = 1.44
SWEEP = (0.85, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.7, 2.0, 2.6)
HEADLINE = ("mAP@200", "mAP@all", "P@100", "P@200")

Table = dict[str, dict[str, float]]
"""Convention, then measure, to a mean in percent."""


@dataclass(frozen=True)
class Problem:
    """Vectors ``(Q, D)`` and ``(M, D)`` with their class ids ``(Q,)`` and ``(M,)``."""

    queries: npt.NDArray[Any]
    gallery: npt.NDArray[Any]
    asked: npt.NDArray[np.int64]
    kept: npt.NDArray[np.int64]

    def table(self, at: Sequence[int] = (100, 200)) -> Table:
        """Every measure under every convention."""
        found = evaluate(
            self.queries, self.gallery, self.asked, self.kept, at=at, conventions=tuple(CONVENTIONS)
        )
        return {
            name: {measure: 100 * value for measure, value in found.means(name).items()}
            for name in CONVENTIONS
        }


def synthetic(noise: float, seed: int) -> Problem:
    """Images of the unseen classes of ``sketchy-21``; class 0 is skyscraper."""
    known, expected = CLASS_SIZES[PROTOCOL], load_protocol(PROTOCOL).expected
    assert expected.queries is not None
    assert expected.unseen_classes is not None
    (short,), others = known.short, expected.unseen_classes - 1
    rng = np.random.default_rng(seed)
    free = known.gallery - short.photos - others * known.others
    photos = known.others + rng.multinomial(free, rng.dirichlet(np.full(others, 2.0)))
    queries = rng.multinomial(expected.queries - SHORT_QUERIES, np.full(others, 1 / others))
    kept = rng.permutation(np.repeat(np.arange(others + 1), [short.photos, *photos]))
    asked = np.repeat(np.arange(others + 1), [SHORT_QUERIES, *queries])
    centres = rng.standard_normal((others + 1, DIM))
    return Problem(
        centres[asked] + noise * rng.standard_normal((len(asked), DIM)),
        centres[kept] + noise * rng.standard_normal((len(kept), DIM)),
        asked,
        kept,
    )


def duplicated(problem: Problem) -> Problem:
    """The gallery as the lists in circulation have it, the originals of each class twice."""
    expected = load_protocol(PROTOCOL).expected
    assert expected.gallery_lines is not None
    assert expected.gallery_unique is not None
    classes = np.unique(problem.kept)
    originals = (expected.gallery_lines - expected.gallery_unique) // len(classes)
    again = np.concatenate([np.flatnonzero(problem.kept == c)[:originals] for c in classes])
    return replace(
        problem,
        gallery=np.concatenate([problem.gallery, problem.gallery[again]]),
        kept=np.concatenate([problem.kept, problem.kept[again]]),
    )


def from_file(path: Path) -> Problem:
    """The sketches and photos of a file of vectors."""
    vectors = load_vectors(path)
    sketches, photos = vectors.of("sketch"), vectors.of("photo")
    return Problem(
        vectors.embeddings[sketches],
        vectors.embeddings[photos],
        vectors.labels[sketches],
        vectors.labels[photos],
    )


def show(table: Table, measures: Sequence[str]) -> None:
    """Print a table as Markdown."""
    print(f"| | {' | '.join(measures)} |")
    print(f"|---|{'---|' * len(measures)}")
    for name, values in table.items():
        print(f"| `{name}` | {' | '.join(figure(values[each]) for each in measures)} |")
    print()


def figure(value: float) -> str:
    """One decimal; no sign before a zero."""
    return f"{round(value, 1) + 0.0:.1f}"


def show_gain(table: Table, doubled: Table) -> None:
    """Print what the duplicates add to each measure, under each convention."""
    gain = {
        name: {measure: doubled[name][measure] - value for measure, value in values.items()}
        for name, values in table.items()
    }
    show(doubled, HEADLINE)
    print("gained by the duplicates:\n")
    show(gain, HEADLINE)


# ------------------------------------------------------------------------------- the figure
#
# Written by hand: bars and a few lines need no library, and text stays text. Black, greys and a
# label at each bar, so that print and screen readers have it too; 600 units wide with a size of
# 15 or more stays legible on a phone.

WIDTH, TOP, ROW = 600, 34, 23
SHADES = {
    "standard": "#000", "sake": "#555", "zse": "#555",
    "hits": "#999", "total": "#bbb", "rank": "#ddd",
}  # fmt: skip


def draw(table: Table, sweep: Sequence[Table]) -> str:
    """The figure as SVG: a group of bars for each measure, then mAP@200 as quality varies."""
    group = TOP + ROW * len(table) + 14
    height = 40 + 2 * group + 442
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="16" role="img">',
        "<title>One ranking under six conventions</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        text(12, 28, "One ranking, six conventions (percent)", size=19, weight="bold"),
    ]
    for place, measure in enumerate(HEADLINE):
        left, top = place % 2 * (WIDTH // 2), 40 + place // 2 * group
        parts += bars(left, top, measure, {name: table[name][measure] for name in table})
    parts += curves(40 + 2 * group, sweep)
    return "\n".join([*parts, "</svg>", ""])


def bars(left: int, top: int, measure: str, values: dict[str, float]) -> Iterable[str]:
    """One measure: a bar a convention, with its figure."""
    yield text(left + 84, top + 24, measure, weight="bold")
    for row, (name, value) in enumerate(values.items()):
        y, width = top + TOP + ROW * row, 1.5 * value
        yield text(left + 78, y + 16, name, anchor="end")
        yield (
            f'<rect x="{left + 84}" y="{y + 2}" width="{width:.1f}" height="{ROW - 5}" '
            f'fill="{SHADES[name]}" stroke="#000"/>'
        )
        yield text(left + 90 + width, y + 16, f"{value:.1f}")


def curves(top: int, sweep: Sequence[Table]) -> Iterable[str]:
    """mAP@200 of each ranking under each convention, over that under ``standard``."""
    left, bottom, side = 56, top + 386, 320

    def points(name: str) -> list[tuple[float, float]]:
        pairs = [(each["standard"]["mAP@200"], each[name]["mAP@200"]) for each in sweep]
        return [(left + 5.2 * x, bottom - side / 100 * y) for x, y in sorted(pairs)]

    yield text(12, top + 34, "mAP@200 under each convention", size=19, weight="bold")
    for tick in range(0, 101, 20):
        x, y = left + 5.2 * tick, bottom - side / 100 * tick
        yield line([(left, y), (left + 520, y)], 'stroke="#ddd"')
        yield text(left - 8, y + 6, str(tick), anchor="end")
        yield text(x, bottom + 22, str(tick), anchor="middle")
    below = "mAP@200 under standard, from poor rankings to good"
    yield text(left + 260, bottom + 44, below, anchor="middle")
    widest = 0.0
    for name in CONVENTIONS:
        dash = ' stroke-dasharray="8 5"' if name == "total" else ""
        yield line(points(name), f'stroke="#000" stroke-width="2"{dash}')
        if name not in ("hits", "total"):
            apart = [abs(each[name]["mAP@200"] - each["standard"]["mAP@200"]) for each in sweep]
            widest = max(widest, *apart)
        else:
            yield "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points(name))
    yield text(left + 66, bottom - 160, "hits", anchor="end", weight="bold")
    for row, said in enumerate(("sake, zse, rank:", f"within {widest:.1f} points")):
        yield text(left + 325, bottom - 153 + 20 * row, said)
    yield text(left + 325, bottom - 173, "standard", weight="bold")
    yield text(left + 380, bottom - 60, "total", weight="bold")


def line(points: Iterable[tuple[float, float]], style: str) -> str:
    """An open polyline."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{places}" fill="none" {style}/>'


def text(
    x: float, y: float, content: str, *, anchor: str = "", weight: str = "", size: int = 0
) -> str:
    """A line of text with its baseline at y."""
    given = {"text-anchor": anchor, "font-weight": weight, "font-size": size}
    style = "".join(f' {name}="{value}"' for name, value in given.items() if value)
    return f'<text x="{x:.1f}" y="{y:.1f}"{style}>{escape(content)}</text>'


def main() -> None:
    """Print the tables, and draw the figure where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", type=float, default=NOISE, help="0 is a perfect ranking")
    parser.add_argument("--figure", type=Path, help="write the figure here, as SVG")
    parser.add_argument("--vectors", type=Path, help="judge this file instead of made vectors")
    options = parser.parse_args()
    if options.vectors is not None:
        try:
            problem = from_file(options.vectors)
            table = problem.table((10, 100, 200))
        except MSEdgeError as error:
            parser.error(str(error))
        print(f"{len(problem.queries):,} queries x {len(problem.gallery):,} photos\n")
        show(table, ("mAP@10", *HEADLINE[:2], "P@10", *HEADLINE[2:]))
        return
    problem = synthetic(options.noise, options.seed)
    print(
        f"{len(problem.queries):,} queries x {len(problem.gallery):,} photos, "
        f"seed {options.seed}, noise {options.noise}\n"
    )
    table = problem.table()
    show(table, HEADLINE)
    doubled = duplicated(problem)
    print(f"the same with the originals twice, {len(doubled.gallery):,} lines:\n")
    show_gain(table, doubled.table())
    if options.figure is not None:
        sweep = [synthetic(noise, options.seed).table() for noise in SWEEP]
        options.figure.write_text(draw(table, sweep), encoding="utf-8")
        print(f"mAP@200 as noise falls:\n\n| | {' | '.join(map(str, SWEEP[::-1]))} |")
        print(f"|---|{'---|' * len(SWEEP)}")
        for name in CONVENTIONS:
            figures = (figure(each[name]["mAP@200"]) for each in sweep[::-1])
            print(f"| `{name}` | {' | '.join(figures)} |")
        print(f"\nwritten to {options.figure}")


if __name__ == "__main__":
    main()
