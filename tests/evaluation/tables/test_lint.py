"""All rules together, on tables and on what simulated rankings truly give."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.evaluation.tables import splits
from msedge.evaluation.tables.findings import Finding
from msedge.evaluation.tables.lint import lint
from msedge.evaluation.tables.results_table import read_entries
from msedge.evaluation.tables.splits import ClassSizes, ShortClass

CUTS = (4, 8)
NAMES = ("standard", "sake", "zse", "hits", "total", "rank")


def findings(header: str, *rows: str) -> list[Finding]:
    return lint(read_entries(header.split(","), [row.split(",") for row in rows]))


class TestLint:
    def test_a_sound_table(self):
        rows = ("SAKE,0.547,0.692,0.497,0.598", "DSN,0.583,0.704,0.501,0.597")
        assert findings("method,S25 mAP,S25 P@100,S21 mAP@200,S21 P@200", *rows) == []

    def test_by_row_and_the_gravest_first(self):
        header = "method,convention,S21 mAP@200,S21 P@200,S21 P@100"
        found = findings(header, "A,sake,0.80,0.70,0.60", "B,hits,0.80,0.60,0.70", "C,,1.1,0.1,nan")
        assert [(each.row, each.rule) for each in found] == [
            (1, "ap-above-precision"),
            (1, "precision-rises"),
            (2, "mixed-conventions"),
            (3, "not-a-number"),
            (3, "mixed-units"),
        ]
        assert [each.method for each in found] == ["A", "A", "B", "C", "C"]

    def test_nothing_in_nothing_out(self):
        assert lint([]) == []


@dataclass(frozen=True)
class Simulated:
    """Rankings of a small dataset: by query the class and which ranks are relevant."""

    photos: list[int]  # by class
    rankings: list[tuple[int, list[bool]]]

    @property
    def sizes(self) -> ClassSizes:
        """All that can be known of the classes."""
        share = [
            Decimal(sum(one == label for one, _ in self.rankings)) / len(self.rankings)
            for label in range(len(self.photos))
        ]
        short = [label for label, photos in enumerate(self.photos) if photos < CUTS[-1]]
        return ClassSizes(
            gallery=sum(self.photos),
            others=min([size for size in self.photos if size >= CUTS[-1]], default=CUTS[-1]),
            short=tuple(
                ShortClass(str(label), self.photos[label], share[label], share[label])
                for label in short
            ),
        )


@st.composite
def simulated(draw: st.DrawFn) -> Simulated:
    photos = draw(st.lists(st.integers(1, 13), min_size=2, max_size=4))
    # one class more keeps a rank k + 1 for the convention that looks at it
    gallery = [label for label, size in enumerate([*photos, 9]) for _ in range(size)]
    rankings = []
    for label in draw(st.lists(st.integers(0, len(photos) - 1), min_size=1, max_size=6)):
        order = draw(st.permutations(gallery))
        if draw(st.booleans()):  # the ends of what is possible
            order = sorted(order, key=lambda one: one == label, reverse=draw(st.booleans()))
        rankings.append((label, [one == label for one in order]))
    return Simulated([*photos, 9], rankings)


def average_precision(name: str, ranked: list[bool], k: int) -> float:
    relevant, top = sum(ranked), ranked[:k]
    hits = list(accumulate(top))
    precision = [hit / rank for rank, hit in enumerate(hits, start=1)]
    if name in ("sake", "zse"):
        precision = [max(precision[rank:]) for rank in range(k)]
    area = sum(value for value, one in zip(precision, top, strict=True) if one)
    best = min(k, relevant)
    divisor = {"hits": max(hits[-1], 1), "total": relevant, "rank": k}.get(name, best)
    return area / divisor


def precision_at(name: str, ranked: list[bool], k: int) -> float:
    if name == "rank":
        return float(ranked[k])
    places = min(k, sum(ranked)) if name == "zse" else k
    return sum(ranked[:places]) / places


def figures(data: Simulated, name: str) -> list[float]:
    ranked = [ranking for _, ranking in data.rankings]
    averages = [fmean(average_precision(name, one, k) for one in ranked) for k in CUTS]
    return averages + [fmean(precision_at(name, one, k) for one in ranked) for k in CUTS]


class TestSimulatedRankings:
    """What a ranking truly gives is never called impossible, however it is printed."""

    @pytest.mark.parametrize("name", NAMES)
    @settings(max_examples=150, deadline=None)
    @given(data=simulated(), digits=st.integers(2, 5), told=st.booleans(), percent=st.booleans())
    def test_true_figures_are_possible(self, name, data, digits, told, percent):
        printed = [
            f"{100 * value:.{digits - 2}f}%" if percent else f"{value:.{digits}f}"
            for value in figures(data, name)
        ]
        header = [
            "convention",
            "gallery",
            *(f"sketchy-21 {m}@{k}" for m in ("mAP", "P") for k in CUTS),
        ]
        row = [name, str(sum(data.photos)) if told else "", *printed]
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(splits.CLASS_SIZES, "sketchy-21", data.sizes)
            found = lint(read_entries(header, [row]))
            undeclared = lint(read_entries(header[1:], [row[1:]]))
        assert [each for each in found if each.severity != "suspect"] == []
        if name in ("standard", "sake", "zse"):
            assert [each for each in undeclared if each.severity != "suspect"] == []

    @pytest.mark.parametrize("name", ["standard", "sake", "zse", "total"])
    def test_the_simulation_comes_to_the_bound(self, name):
        # A class of 3 photos ranked perfectly: AP@8 is 1 (2/8 for zse's P to reach 1 too).
        data = Simulated([3, 9], [(0, [True] * 3 + [False] * 9)])
        average, precision = figures(data, name)[1], figures(data, name)[3]
        assert average == 1
        assert precision == (1 if name == "zse" else 3 / 8)
        header = ["convention", "sketchy-21 mAP@8", "sketchy-21 P@8"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(splits.CLASS_SIZES, "sketchy-21", data.sizes)
            exact = lint(read_entries(header, [[name, "1", f"{precision:.4f}"]]))
            patch.setitem(splits.CLASS_SIZES, "sketchy-21", ClassSizes(12, 9))
            large = lint(read_entries(header, [[name, "1.0000", "0.3750"]]))
        assert exact == []
        assert [each.severity for each in large] == ["impossible"]
