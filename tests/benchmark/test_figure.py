"""The figure of a benchmark: its rows, panels and dashed line."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from msedge.benchmark.figure import figure
from msedge.benchmark.outcomes import note_failure, read_outcome
from msedge.benchmark.rows import gather

NS = "{http://www.w3.org/2000/svg}"


def drawn(plan, cells, **changes) -> ET.Element:
    rows = gather([read_outcome(cell, None) for cell in cells(**changes)])
    return ET.fromstring(figure(plan(**changes), rows))


def texts(root: ET.Element) -> list[str]:
    return [node.text or "" for node in root.iter(f"{NS}text")]


def test_rows_panels_and_figures(plan, cells, finish):
    changes = {"datasets": [{"data_name": "one"}, {"data_name": "two"}]}
    for cell in cells(**changes):
        if cell.row.variant == "edge" and cell.config.seed == 1:
            note_failure(cell, "no weights")
        elif cell.config.data_name == "one":
            finish(cell, 40.0 + 2 * cell.config.seed)
    found = texts(drawn(plan, cells, **changes))
    assert found[0] == "trial"
    assert [text for text in found if text in ("one", "two")] == ["one", "two"]
    assert (found.count("plain"), found.count("edge")) == (2, 2)
    assert {"41.0 ± 12.7", "40.0", "to do", "failed"} <= set(found)


def test_the_baseline_is_dashed_where_it_is_one_row(plan, cells, finish):
    for changes in ({}, {"axes": {"dim": [8, 16]}}, {"baselines": None}):
        for cell in cells(**changes):
            finish(cell)
        root = drawn(plan, cells, **changes)
        dashed = [node for node in root.iter(f"{NS}line") if node.get("stroke-dasharray")]
        assert len(dashed) == (0 if changes else 1)
        assert any("the mean of plain" in text for text in texts(root)) == (not changes)


def test_an_axis_of_numbers_makes_a_curve(plan, cells, finish):
    changes = {"axes": {"sketch_classes": [0, 5, 20]}, "curve": "sketch_classes"}
    for cell in cells(**changes):
        if cell.row.variant == "edge" or cell.config.sketch_classes:
            finish(cell, 30.0 + (cell.config.sketch_classes or 0) + cell.config.seed)
    root = drawn(plan, cells, **changes)
    assert {"plain", "edge", "0", "5", "20", "sketch_classes"} <= set(texts(root))
    lines = [node.attrib["points"].split() for node in root.iter(f"{NS}polyline")]
    assert [len(points) for points in lines] == [2, 3]
