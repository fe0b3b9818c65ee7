"""An evaluation as JSON and as CSV: complete, and as exact as it was computed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import msedge
from msedge.cli.app import app
from msedge.evaluation.evaluate import evaluate


@pytest.fixture
def figures() -> Callable[..., dict[str, Any]]:
    def ask(*arguments: object) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--json"])
        assert result.exit_code == 0, (result.output, result.exception)
        return json.loads(result.stdout)

    return ask


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class TestJson:
    def test_everything_has_its_place(self, figures, made_features):
        own, other = made_features(), made_features("other")
        given = ("--compare", other.files[0], "--compare-gallery", other.files[1])
        document = figures(*own.files, *given, "--fine-grained", "--per-class")
        assert list(document) == [
            "msedge", "files", "metric", "binary", "expansion", "hubs", "dimensions", "seed",
            "at", "conventions", "gallery", "queries", "classes", "relevant", "results",
            "per_class", "left_out", "generalised", "fine_grained", "comparison", "notes",
        ]  # fmt: skip
        assert document["msedge"] == msedge.__version__
        assert set(document["files"]) == {"queries", "gallery", "other_queries", "other_gallery"}
        assert document["left_out"] == {"queries": 0, "classes": []}
        assert len(document["notes"]) == 2  # no class has 100 photos

    def test_what_was_not_asked_for_is_null(self, figures, made_features):
        document = figures(*made_features().files)
        assert "per_class" not in document
        for key in ("expansion", "generalised", "fine_grained", "comparison"):
            assert document[key] is None

    def test_classes(self, figures, made_features):
        made = made_features()
        expected = evaluate(
            made.queries,
            made.gallery,
            made.ids(made.query_classes),
            made.ids(made.gallery_classes),
            at=[3],
        ).by_class()
        rows = figures(*made.files, "--per-class", "--at", 3)["per_class"]["standard"]
        assert len(rows) == 3
        for row in rows:
            label = ("bat", "cow", "hot air balloon").index(row.pop("class"))
            assert (row.pop("queries"), row.pop("relevant")) == (4, 5 + label)
            assert row == expected[label]

    def test_left_out(self, figures, made_features):
        asked, made = made_features("more", ("bat", "cow", "elk")), made_features()
        document = figures(asked.files[0], made.files[1], "--drop-absent")
        assert document["left_out"] == {"queries": 4, "classes": ["elk"]}
        assert (document["queries"], document["classes"]) == (8, 2)
        assert document["relevant"] == {"fewest": 5, "most": 6}  # of the classes asked for


class TestCsv:
    def test_a_row_a_query(self, figures, made_features, tmp_path):
        made, path = made_features(), tmp_path / "new" / "q.csv"
        more = ("--convention", "hits", "--convention", "rank", "--at", 3)
        document = figures(*made.files, *more, "--per-query", path)
        rows = read(path)
        assert [row["row"] for row in rows] == [str(row) for row in range(12)]
        assert [row["path"] for row in rows] == made.query_paths
        assert [row["class"] for row in rows] == made.query_classes
        assert [row["relevant"] for row in rows] == ["5"] * 4 + ["6"] * 4 + ["7"] * 4
        for name in ("hits", "rank"):
            for measure, figure in document["results"][name].items():
                values = [float(row[f"{name} {measure}"]) for row in rows]
                assert np.mean(values) == pytest.approx(figure["mean"], abs=1e-15)

    def test_what_utf_8_cannot_hold_is_escaped(self, made_features, figures, tmp_path):
        files = made_features(classes=("bat", "\udc80")).files
        figures(*files, "--per-query", tmp_path / "q.csv")
        assert {row["class"] for row in read(tmp_path / "q.csv")} == {"bat", r"\udc80"}

    def test_rows_are_those_of_the_file(self, made_features, figures, tmp_path):
        made, path = made_features(), tmp_path / "both.npz"
        vectors = np.concatenate([made.gallery, made.queries])
        labels = [*made.gallery_classes, "elk", *made.query_classes[1:]]
        np.savez(path, x=vectors, y=labels, domains=[1] * 18 + [0] * 12)
        figures(path, path, "--drop-absent", "--per-query", tmp_path / "q.csv")
        rows = read(tmp_path / "q.csv")
        assert [int(row["row"]) for row in rows] == list(range(19, 30))
        assert {row["path"] for row in rows} == {""}

    def test_seen_queries_are_told_apart(self, figures, made_features, tmp_path):
        own, seen = made_features(), made_features("seen", ("ant", "elk"))
        more = ("--seen-gallery", seen.files[1], "--seen-queries", seen.files[0])
        document = figures(*own.files, *more, "--per-query", tmp_path / "q.csv")
        rows = read(tmp_path / "q.csv")
        assert [row["queries"] for row in rows] == ["unseen"] * 12 + ["seen"] * 8
        expected = document["generalised"]["seen_queries"]["results"]["standard"]["mAP@all"]
        values = [float(row["standard mAP@all"]) for row in rows[12:]]
        assert np.mean(values) == pytest.approx(expected["mean"], abs=1e-15)

    def test_said_where_it_lies(self, made_features, tmp_path):
        path = tmp_path / "q.csv"
        arguments = ["evaluate", *map(str, made_features().files), "--per-query", str(path)]
        result = CliRunner().invoke(app, arguments)
        assert result.stdout.splitlines()[-1] == f"Written to {path}."
        assert len(read(path)) == 12
