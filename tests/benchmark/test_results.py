"""The files of a benchmark: whole at any moment, and saying the same."""

from __future__ import annotations

import csv
import json

import pytest

import msedge
from msedge.benchmark.outcomes import note_failure
from msedge.benchmark.results import NAMES, write_results
from msedge.errors import DataError


@pytest.fixture
def written(plan, cells, finish, tmp_path):
    """Three runs of four, one of which failed, and their files."""
    found = cells(axes={"image_size": [64]})
    for cell in found:
        if cell.row.variant == "plain":
            finish(cell, 40.0 + cell.config.seed)
    note_failure(found[1], "no weights")
    chosen = plan(axes={"image_size": [64]})
    return write_results(chosen, found, lambda _: None, tmp_path / "out"), tmp_path / "out"


def test_all_four_are_written(written):
    _, root = written
    assert {path.name for path in root.iterdir() if path.is_file()} == set(NAMES)


def test_csv_has_a_row_a_run(written):
    summary, root = written
    with (root / "results.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    told = [(row["variant"], row["image_size"], row["seed"], row["status"]) for row in rows]
    assert told == [
        ("plain", "64", "0", "done"),
        ("edge", "64", "0", "failed"),
        ("plain", "64", "1", "done"),
        ("edge", "64", "1", "to do"),
    ]
    done, failed = rows[2], rows[1]
    assert (done["mAP@all"], done["mAP@all before"]) == ("41.000000", "10.000000")
    assert (done["selection_value"], done["selected_epoch"]) == ("60.000000", "2")
    assert (done["seconds"], done["protocol"], done["error"]) == ("3.0", "sketchy-21", "")
    assert (failed["mAP@all"], failed["error"]) == ("", "no weights")
    assert len(summary.outcomes) == 4


def test_json_has_everything(written):
    _, root = written
    found = json.loads((root / "results.json").read_text())
    assert found["plan"]["name"] == "trial"
    assert found["versions"]["msedge"] == msedge.__version__
    assert [cell["status"] for cell in found["cells"]] == ["done", "failed", "done", "to do"]
    assert found["cells"][0]["record"]["epochs"][1]["metrics"]["mAP@all"] == 40.0
    assert found["cells"][3]["config"]["fusion"] == "edge"
    plain = found["rows"][0]
    assert (plain["variant"], plain["seeds"]) == ("plain", [0, 1])
    assert plain["metrics"]["mAP@all"]["mean"] == 40.5
    assert found["differences"] == []


def test_differences_in_the_json(plan, cells, finish, tmp_path):
    found = cells()
    for cell in found:
        finish(cell, 41.0 if cell.row.variant == "edge" else 40.0)
    write_results(plan(), found, lambda _: None, tmp_path / "out")
    (each,) = json.loads((tmp_path / "out/results.json").read_text())["differences"]
    assert (each["variant"], each["baseline"], each["seeds"]) == ("edge", "plain", [0, 1])
    assert each["mAP@all"]["mean"] == 1.0
    assert each["over_queries"]["low"] <= each["over_queries"]["high"]


def test_a_folder_that_cannot_be_written(plan, cells, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(DataError, match="cannot write"):
        write_results(plan(), cells(), lambda _: None, tmp_path / "out")
