"""Rows against a baseline: figures by hand, and intervals that know when there is nothing."""

from __future__ import annotations

import numpy as np
import pytest

from msedge.benchmark.differences import differences
from msedge.benchmark.outcomes import read_outcome
from msedge.benchmark.queries import query_values
from msedge.benchmark.rows import gather
from msedge.evaluation.significance import bootstrap


def rows_of(cells):
    return gather([read_outcome(cell, None) for cell in cells])


@pytest.fixture
def better(cells, finish):
    """Edge is better by 1, 3 and 2 points; of plain the last seed is not there."""

    def make(**changes):
        found = cells(seeds=[0, 1, 2, 3], **changes)
        for cell in found:
            seed, edge = cell.config.seed, cell.row.variant == "edge"
            if edge:
                finish(cell, 50.0 + (1, 3, 2, 9)[seed], held_out=70.0, noise=0.4)
            elif seed < 3:
                finish(cell, 50.0, held_out=72.0, noise=0.9)
        return found

    return make


class TestDifferences:
    def test_over_the_seeds_that_both_have(self, better):
        (found,) = differences(rows_of(better()), ["plain"])
        assert (found.row.key.variant, found.baseline.key.variant) == ("edge", "plain")
        assert found.seeds == (0, 1, 2)
        assert found.unseen.mean == 2.0
        assert found.unseen.half == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)
        assert found.held_out is not None
        assert (found.held_out.mean, found.held_out.half) == (-2.0, 0.0)

    def test_queries_are_those_of_significance(self, better):
        cells = better()
        (found,) = differences(rows_of(cells), ["plain"])
        means = {
            variant: np.mean(
                [
                    query_values(c).average_precision
                    for c in cells
                    if c.row.variant == variant and c.config.seed < 3
                ],
                axis=0,
            )
            for variant in ("plain", "edge")
        }
        gains = 100 * (means["edge"] - means["plain"])
        expected = bootstrap({"gain": gains}, resamples=2000)["gain"]
        assert found.queries is not None
        assert found.queries.mean == pytest.approx(expected.mean)
        assert found.queries.low == pytest.approx(expected.low)
        assert found.queries.high == pytest.approx(expected.high)
        assert 0 < found.queries.low < found.queries.high  # less noise is better

    def test_only_the_variant_differs(self, better):
        rows = rows_of(better(axes={"dim": [8, 16]}))
        pairs = [(d.row.key.axes, d.baseline.key.axes) for d in differences(rows, ["plain"])]
        assert pairs == [((("dim", n),), (("dim", n),)) for n in ("8", "16")]

    def test_nothing_to_compare_with(self, better, cells):
        assert differences(rows_of(better()), []) == ()
        assert (
            differences(rows_of(cells(name="else", datasets=[{"data_name": "b"}])), ["plain"]) == ()
        )

    def test_other_images_are_other_queries(self, cells, finish):
        found = cells(seeds=[0])
        for cell in found:
            finish(cell, data=_data(cell.row.variant or ""))
        (difference,) = differences(rows_of(found), ["plain"])
        assert difference.queries is None
        assert difference.held_out is not None

    def test_other_held_out_classes_are_no_measure(self, cells, finish):
        found = cells(seeds=[0])
        for cell in found:
            finish(cell, data=_data("same", [str(cell.row.variant)]))
        (difference,) = differences(rows_of(found), ["plain"])
        assert difference.held_out is None
        assert difference.queries is not None


def _data(fingerprint: str, held_out: list[str] | None = None) -> dict[str, object]:
    return {"fingerprint": fingerprint, "protocol": None, "held_out_classes": held_out or ["a"]}
