"""Runs put together into rows, and what a row is called."""

from __future__ import annotations

import pytest

from msedge.benchmark.outcomes import note_failure, read_outcome
from msedge.benchmark.rows import columns, gather, labels, short_label


def rows_of(cells):
    return gather([read_outcome(cell, None) for cell in cells])


class TestGather:
    def test_a_row_a_configuration_in_the_plan_s_order(self, cells):
        found = cells(datasets=[{"data_name": "one"}, {"data_name": "two"}], seeds=[2, 0, 1])
        rows = rows_of(found)
        assert [(row.dataset, row.key.variant) for row in rows] == [
            ("one", "plain"), ("one", "edge"), ("two", "plain"), ("two", "edge"),
        ]  # fmt: skip
        assert all([o.cell.config.seed for o in row.outcomes] == [2, 0, 1] for row in rows)

    def test_means_of_what_is_finished(self, cells, finish):
        found = cells(seeds=[0, 1, 2])
        for cell in found:
            if cell.row.variant == "edge" and cell.config.seed < 2:
                finish(cell, 40.0 + 2 * cell.config.seed, held_out=60.0)
        plain, edge = rows_of(found)
        assert edge.means["mAP@all"].mean == 41.0
        assert edge.means["mAP@all"].half == pytest.approx(12.7062, abs=1e-4)
        assert edge.held_out is not None
        assert (edge.held_out.mean, len(edge.finished)) == (60.0, 2)
        assert (plain.means, plain.held_out, plain.error) == ({}, None, None)

    def test_an_error_where_there_is_no_figure(self, cells, finish):
        found = cells()
        note_failure(found[0], "no weights")
        assert rows_of(found)[0].error == "no weights"
        finish(found[2])
        assert rows_of(found)[0].error is None

    def test_no_held_out_figure_where_the_last_epoch_is_taken(self, cells, finish):
        found = cells(settings={"select": "last"})
        for cell in found:
            finish(cell)
        assert [row.held_out for row in rows_of(found)] == [None, None]


class TestLabels:
    def test_what_varies(self, cells):
        rows = rows_of(cells(axes={"image_size": [64, 96], "warmup": [0]}))
        assert columns(rows) == ("backbone", "dim", "variant", "image_size")
        assert labels(rows[0], columns(rows)) == ("tf_efficientnet_lite0", "512", "plain", "64")
        assert [short_label(row, rows) for row in rows][:2] == [
            "plain, image_size 64",
            "plain, image_size 96",
        ]

    def test_an_axis_of_one_block_only(self, cells):
        blocks = [{"axes": {"dim": [64]}}, {"axes": {"dim": [64], "warmup": [1]}}]
        rows = rows_of(cells(blocks=blocks, variants=None, baselines=None))
        assert columns(rows) == ("backbone", "dim", "warmup")
        assert [labels(row, columns(rows))[2] for row in rows] == ["2", "1"]

    def test_nothing_varies(self, cells):
        rows = rows_of(cells(variants=None, baselines=None))
        assert columns(rows) == ("backbone", "dim")
        assert short_label(rows[0], rows) == "as configured"
