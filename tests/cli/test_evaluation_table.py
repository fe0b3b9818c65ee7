"""What a terminal shows of an evaluation, of any width."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from msedge.cli.app import app
from msedge.evaluation.conventions import CONVENTIONS

AT = ("--at", "2", "--at", "100")


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The lines that are printed in a terminal of some width."""

    def lines(*arguments: object, width: int = 100) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
        assert result.exit_code == 0, (result.output, result.exception)
        return [line.rstrip() for line in result.stdout.splitlines()]

    return lines


def document(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--json"])
    return json.loads(result.stdout)


def rows_below(lines: list[str], title: str) -> list[list[str]]:
    """The words of a table's rows, without the rule below its headings."""
    start = next(i for i, line in enumerate(lines) if line.startswith(title)) + 1
    end = next((i for i in range(start, len(lines)) if not lines[i]), len(lines))
    return [line.split() for line in lines[start:end] if not line.startswith("─")]


class TestHead:
    def test_what_was_judged(self, ask, made_features):
        made = made_features()
        assert ask(*made.files)[:4] == [
            f"queries   12 queries of 3 classes, {made.files[0]}",
            f"gallery   18 photos of 3 classes, {made.files[1]}",
            "vectors   8 dimensions, cosine",
            "relevant  5 to 7 photos for a query (R)",
        ]

    def test_codes_seen_photos_and_one_class(self, ask, made_features):
        own, seen = made_features(classes=("cow",)), made_features("seen", ("ant", "elk"))
        lines = ask(*own.files, "--binary", "--seen-gallery", seen.files[1], "--seen-share", 0.4)
        assert lines[0].startswith("queries   4 queries of 1 class, ")
        assert lines[2] == f"+ seen    4 photos, 40.0 % of each class, {seen.files[1]}"
        assert lines[3] == "vectors   8 dimensions, hamming on sign codes"
        assert lines[4] == "relevant  5 photos for a query (R)"

    def test_domains_are_named_where_the_file_names_them(self, ask, made_features, tmp_path):
        made, path = made_features(), tmp_path / "both.npz"
        vectors = np.concatenate([made.queries, made.gallery])
        labels = made.query_classes + made.gallery_classes
        np.savez(path, x=vectors, y=labels, domains=["sketch"] * 12 + ["photo"] * 18)
        assert ask(path, path)[0] == f"queries   12 sketches of 3 classes, {path}"


class TestFigures:
    def test_percent_with_one_decimal_and_interval(self, ask, made_features):
        files = made_features().files
        found = document(*files, *AT)["results"]["standard"]
        headings, row = rows_below(ask(*files, *AT, width=200), "Percent and 95 % intervals")
        assert headings == ["convention", *found]
        cells = [
            f"{100 * each['mean']:.1f} ({100 * each['low']:.1f}-{100 * each['high']:.1f})"
            for each in found.values()
        ]
        assert " ".join(row) == " ".join(["standard", *cells])

    def test_without_intervals(self, ask, made_features):
        files = made_features().files
        found = document(*files, *AT)["results"]["standard"]
        lines = ask(*files, *AT, "--no-intervals", width=80)
        assert rows_below(lines, "Percent")[1:] == [
            ["standard", *(f"{100 * each['mean']:.1f}" for each in found.values())]
        ]

    def test_a_row_a_convention(self, ask, made_features):
        files = made_features().files
        lines = ask(*files, "--convention", "all", "--no-intervals")
        assert [row[0] for row in rows_below(lines, "Percent")[1:]] == list(CONVENTIONS)

    @pytest.mark.parametrize("width", [200, 100, 80, 60, 40])
    def test_every_figure_in_any_width(self, ask, made_features, width):
        files = made_features().files
        lines = ask(*files, *AT, "--convention", "all", width=width)
        tables = lines[lines.index("Percent and 95 % intervals over queries") + 1 :]
        tables = [line for line in tables if not line.startswith("note:")]
        assert max(map(len, tables)) <= width
        words = " ".join(tables).split()
        for figures in document(*files, *AT, "--convention", "all")["results"].values():
            for measure, each in figures.items():
                assert measure in words
                assert f"{100 * each['mean']:.1f}" in words
                assert f"({100 * each['low']:.1f}-{100 * each['high']:.1f})" in words

    def test_one_table_of_the_usual_figures_in_100_columns(self, ask, made_features):
        lines = ask(*made_features().files, width=100)
        assert sum(line.startswith("convention") for line in lines) == 1

    def test_generalised(self, ask, made_features):
        own, seen = made_features(), made_features("seen", ("ant", "elk"))
        more = ("--seen-gallery", seen.files[1], "--seen-queries", seen.files[0], "--no-intervals")
        told = document(*own.files, *more)
        rows = rows_below(ask(*own.files, *more), "Percent")
        assert [row[:2] for row in rows[1:]] == [
            ["standard", "unseen"],
            ["seen", f"{100 * _first(told['generalised']['seen_queries']):.1f}"],
            ["harmonic", "mean"],
        ]
        assert rows[1][2] == f"{100 * _first(told):.1f}"
        harmonic = told["generalised"]["harmonic_mean"]["standard"]["mAP@all"]
        assert rows[3][2:] == [f"{100 * harmonic:.1f}"]


def _first(told: dict[str, Any]) -> float:
    return told["results"]["standard"]["mAP@all"]["mean"]


class TestMore:
    def test_classes_worst_first(self, ask, made_features):
        files = made_features().files
        told = document(*files, *AT, "--per-class", "--convention", "hits")
        lines = ask(*files, *AT, "--per-class", "--convention", "hits")
        headings, *rows = rows_below(lines, "Percent by class, hits, rising by mAP@all")
        assert headings[:4] == ["class", "queries", "R", "mAP@all"]
        firsts = [row["mAP@all"] for row in told["per_class"]["hits"]]
        assert firsts == sorted(firsts)
        assert len(set(firsts)) == 3
        for row, each in zip(rows, told["per_class"]["hits"], strict=True):
            values = [f"{100 * each[m]:.1f}" for m in headings[3:]]
            assert row == [*each["class"].split(), "4", str(each["relevant"]), *values]

    def test_classes_of_both_sides(self, ask, made_features):
        own, seen = made_features(), made_features("seen", ("ant", "elk"))
        more = ("--seen-gallery", seen.files[1], "--seen-queries", seen.files[0], "--per-class")
        lines = ask(*own.files, *more)
        for side, names in (("unseen", {"bat", "cow", "hot"}), ("seen", {"ant", "elk"})):
            rows = rows_below(lines, f"Percent by {side} class, standard, rising by mAP@all")
            assert {row[0] for row in rows[1:]} == names

    def test_odd_and_long_names_of_classes(self, ask, made_features):
        made = made_features()
        names = {"bat": "[red]a\x1bb[/red]", "cow": "c" * 99, "hot air balloon": "x"}
        for file, classes in zip(
            made.files, (made.query_classes, made.gallery_classes), strict=True
        ):
            arrays = dict(np.load(file))
            np.savez(file, **(arrays | {"y": [names[name] for name in classes]}))
        rows = rows_below(ask(*made.files, "--per-class"), "Percent by class")[1:]
        assert {row[0] for row in rows} == {r"[red]a\x1bb[/red]", "c" * 21 + "...", "x"}

    def test_fine_grained(self, ask, made_features):
        made = made_features()
        arrays = dict(np.load(made.files[0]))
        arrays["paths"][0] = "unknown.png"
        np.savez(made.files[0], **arrays)
        told = document(*made.files, "--fine-grained")["fine_grained"]
        title = (
            "Percent of 11 queries that find their own source photo "
            "(1 left out: theirs is not known or not in the gallery)"
        )
        headings, *rows = rows_below(ask(*made.files, "--fine-grained"), title)
        assert headings == ["among", "Acc@1", "Acc@5", "Acc@10"]
        for row, side in zip(rows, ("within_class", "whole_gallery"), strict=True):
            assert row[-3:] == [f"{100 * told[side][k]:.1f}" for k in ("1", "5", "10")]

    def test_comparison(self, ask, made_features):
        own, other = made_features(), made_features("other", seed=4)
        more = ("--compare", other.files[0], "--compare-gallery", other.files[1], *AT)
        told = document(*own.files, *more)["comparison"]["standard"]
        headings, *rows = rows_below(ask(*own.files, *more), f"Percent against {other.files[0]}")
        assert headings == ["measure", "queries", "other", "difference", "p"]
        for row, (measure, one) in zip(rows, told.items(), strict=True):
            assert row[0] == measure
            assert float(row[1]) == pytest.approx(100 * one["first"], abs=0.051)
            assert float(row[2]) == pytest.approx(100 * one["second"], abs=0.051)
            assert float(row[3]) == pytest.approx(100 * one["difference"], abs=0.051)
            assert float(row[-1]) == pytest.approx(one["p_value"], rel=0.06)

    def test_no_difference_has_no_minus(self, ask, made_features):
        made = made_features()
        more = ("--compare", made.files[0], "--compare-gallery", made.files[1], *AT)
        rows = rows_below(ask(*made.files, *more), "Percent against")[1:]
        assert {" ".join(row[3:]) for row in rows} == {"+0.0 (+0.0 to +0.0) 1"}

    def test_notes_come_last(self, ask, made_features):
        files = made_features().files
        told = document(*files, *AT)["notes"]
        assert len(told) == 1
        assert ask(*files, *AT)[-2:] == ["", f"note: {told[0]}"]
        assert not any(line.startswith("note") for line in ask(*files, "--at", 2))
