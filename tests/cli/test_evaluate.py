"""``msedge evaluate``: every kind of file and every option, against the functions it calls."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner

from msedge.cli.app import app, main
from msedge.data.vectors import Vectors, save_vectors
from msedge.evaluation.conventions import CONVENTIONS
from msedge.evaluation.evaluate import evaluate
from msedge.evaluation.fine_grained import fine_grained
from msedge.evaluation.generalised import share_of, with_seen
from msedge.evaluation.scoring import METRICS, sign_codes
from msedge.evaluation.significance import bootstrap, compare


@pytest.fixture
def figures() -> Callable[..., dict[str, Any]]:
    """What ``--json`` gives; only that stands on standard output, and nothing beside it."""

    def ask(*arguments: object) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--json"])
        assert result.exit_code == 0, (result.output, result.exception)
        assert result.stderr == ""
        return json.loads(result.stdout)

    return ask


def means(document: dict[str, Any], convention: str = "standard") -> dict[str, float]:
    return {name: each["mean"] for name, each in document["results"][convention].items()}


def judged(made, **options):
    return evaluate(
        made.queries,
        made.gallery,
        made.ids(made.query_classes),
        made.ids(made.gallery_classes),
        **options,
    )


class TestFiles:
    def test_archives(self, figures, made_features):
        made = made_features()
        document = figures(*made.files, "--at", 3)
        assert means(document) == judged(made, at=[3]).means()
        assert document["files"]["queries"] == {"file": str(made.files[0]), "labels": None}
        counts = {key: document[key] for key in ("queries", "gallery", "classes", "dimensions")}
        assert counts == {"queries": 12, "gallery": 18, "classes": 3, "dimensions": 8}
        assert document["relevant"] == {"fewest": 5, "most": 7}

    @pytest.mark.parametrize("kind", ["names.txt", "names.npy", "integers.npy"])
    def test_plain_arrays_with_labels(self, figures, made_features, tmp_path, kind):
        made, arguments = made_features(), []
        for side, vectors in (("query", made.queries), ("gallery", made.gallery)):
            classes = getattr(made, f"{side}_classes")
            np.save(tmp_path / f"{side}.npy", vectors)
            if kind == "names.txt":
                (tmp_path / f"{side}_{kind}").write_text("\n".join(classes))
            else:
                named = kind == "names.npy"
                np.save(tmp_path / f"{side}_{kind}", classes if named else made.ids(classes))
            arguments.append(tmp_path / f"{side}_{kind}")
        document = figures(tmp_path / "query.npy", tmp_path / "gallery.npy", "--labels", *arguments)
        assert means(document) == judged(made).means()
        assert document["files"]["gallery"]["labels"] == str(arguments[1])

    def test_one_file_of_ours(self, figures, made_features, tmp_path):
        made = made_features()
        names = sorted(set(made.gallery_classes))
        both = Vectors(
            np.concatenate([made.queries, made.gallery]),
            np.array([names.index(n) for n in made.query_classes + made.gallery_classes]),
            np.repeat([0, 1], [12, 18]),
            tuple(names),
            (*made.query_paths, *made.gallery_paths),
        )
        path = tmp_path / "v.safetensors"
        save_vectors(path, both)
        assert means(figures(path, path)) == judged(made).means()

    def test_labels_of_one_side_alone(self, figures, made_features, tmp_path):
        made = made_features()
        (tmp_path / "y.txt").write_text("\n".join(["cow"] * 4 + ["Bat"] * 4 + ["bat"] * 4))
        document = figures(*made.files, "--labels", tmp_path / "y.txt", "-", "--per-class")
        rows = document["per_class"]["standard"]
        assert {row["class"]: row["queries"] for row in rows} == {"Bat": 8, "cow": 4}


class TestMeasures:
    @pytest.mark.parametrize("name", CONVENTIONS)
    def test_each_convention(self, figures, made_features, name):
        made = made_features()
        document = figures(*made.files, "--convention", name, "--at", 6, "--at", 2, "--at", 6)
        found = judged(made, conventions=[name], at=[6, 2])
        assert means(document, name) == found.means(name)
        assert document["at"] == [6, 2]
        assert document["conventions"] == {
            name: {
                "ap": CONVENTIONS[name].ap_formula,
                "p": CONVENTIONS[name].p_formula,
                "used_by": CONVENTIONS[name].used_by,
            }
        }

    def test_all_conventions_and_some(self, figures, made_features):
        files = made_features().files
        assert list(figures(*files, "--convention", "all")["results"]) == list(CONVENTIONS)
        some = ("--convention", "zse", "--convention", "hits", "--convention", "zse")
        assert list(figures(*files, *some)["results"]) == ["zse", "hits"]

    def test_hits_is_scikit_learn_on_the_first_k(self, figures, made_features):
        made, k = made_features(), 6
        unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (made.queries, made.gallery)]
        expected = []
        for similarity, class_ in zip(unit[0] @ unit[1].T, made.query_classes, strict=True):
            first = np.argsort(-similarity)[:k]
            relevant = [made.gallery_classes[photo] == class_ for photo in first]
            found = average_precision_score(relevant, similarity[first]) if any(relevant) else 0.0
            expected.append(found)
        found = means(figures(*made.files, "--convention", "hits", "--at", k), "hits")[f"mAP@{k}"]
        assert found == pytest.approx(np.mean(expected), abs=1e-12)

    @pytest.mark.parametrize("metric", METRICS[:2])
    def test_metrics(self, figures, made_features, metric):
        made = made_features()
        document = figures(*made.files, "--metric", metric)
        assert means(document) == judged(made, metric=metric).means()
        assert (document["metric"], document["binary"]) == (metric, False)

    def test_sign_codes_are_those_given_as_codes(self, figures, made_features, tmp_path):
        made = made_features()
        document = figures(*made.files, "--binary")
        codes = [sign_codes(made.queries), sign_codes(made.gallery)]
        expected = evaluate(
            *codes,
            made.ids(made.query_classes),
            made.ids(made.gallery_classes),
            metric="hamming",
        ).means()
        assert means(document) == expected != judged(made).means()
        assert (document["metric"], document["binary"]) == ("hamming", True)
        for name, values, classes in (
            ("q", codes[0], made.query_classes),
            ("g", codes[1] == 1, made.gallery_classes),
        ):
            np.savez(tmp_path / f"{name}.npz", x=values, y=classes)
        given = (tmp_path / "q.npz", tmp_path / "g.npz", "--metric", "hamming")
        assert means(figures(*given)) == expected

    def test_intervals(self, figures, made_features):
        made = made_features()
        expected = bootstrap(judged(made).values["standard"], seed=3, resamples=50)
        document = figures(*made.files, "--seed", 3, "--resamples", 50)
        for measure, interval in expected.items():
            found = document["results"]["standard"][measure]
            assert (found["low"], found["high"]) == (interval.low, interval.high)
        bare = figures(*made.files, "--no-intervals")["results"]["standard"]["mAP@all"]
        assert (bare["low"], bare["high"]) == (None, None)

    def test_fine_grained(self, figures, made_features):
        made = made_features()
        photos = {Path(path).stem: row for row, path in enumerate(made.gallery_paths)}
        drawn = [photos[Path(path).stem.removesuffix("-1")] for path in made.query_paths]
        expected = fine_grained(
            made.queries,
            made.gallery,
            made.ids(made.query_classes),
            made.ids(made.gallery_classes),
            np.array(drawn),
            np.arange(18),
        )
        found = figures(*made.files, "--fine-grained")["fine_grained"]
        assert (found["queries"], found["left_out"]) == (12, 0)
        for side in ("within_class", "whole_gallery"):
            assert found[side] == {str(k): v for k, v in getattr(expected, side).items()}
        assert found["within_class"]["10"] == 1.0  # no class has more than 7 photos


class TestGeneralised:
    @pytest.mark.parametrize("share", [1.0, 0.4])
    def test_seen_photos_and_sketches(self, figures, made_features, share):
        own = made_features()
        seen = made_features("seen", ("ant", "zebra"), seed=1)
        names = sorted({*own.gallery_classes, *seen.gallery_classes})
        ids = {
            side: np.array([names.index(n) for n in classes])
            for side, classes in (
                ("q", own.query_classes), ("g", own.gallery_classes),
                ("sq", seen.query_classes), ("sg", seen.gallery_classes),
            )
        }  # fmt: skip
        photos, labels = with_seen(
            own.gallery, ids["g"], seen.gallery, ids["sg"], share=share, seed=5
        )
        rows = share_of(ids["sq"], share, 5)
        unseen = evaluate(own.queries, photos, ids["q"], labels).means()
        also = evaluate(seen.queries[rows], photos, ids["sq"][rows], labels).means()

        more = ("--seen-gallery", seen.files[1], "--seen-queries", seen.files[0])
        document = figures(*own.files, *more, "--seen-share", share, "--seed", 5)
        told = document["generalised"]
        assert means(document) == unseen
        assert means(told["seen_queries"]) == also
        assert told["seen_queries"]["queries"] == len(rows) == (8 if share == 1 else 4)
        assert (told["share"], told["seen_photos"]) == (share, len(photos) - 18)
        assert document["gallery"] == len(photos)
        both = unseen["mAP@all"], also["mAP@all"]
        harmonic = told["harmonic_mean"]["standard"]["mAP@all"]
        assert harmonic == pytest.approx(2 / (1 / both[0] + 1 / both[1]))

    def test_seen_photos_alone(self, figures, made_features):
        own, seen = made_features(), made_features("seen", ("ant", "zebra"), seed=1)
        document = figures(*own.files, "--seen-gallery", seen.files[1], "--fine-grained")
        told = document["generalised"]
        assert (told["seen_queries"], told["harmonic_mean"]) == (None, None)
        alone = figures(*own.files, "--fine-grained")
        assert means(document)["mAP@all"] < means(alone)["mAP@all"]
        sides = [each["fine_grained"] for each in (document, alone)]
        assert sides[0]["within_class"] == sides[1]["within_class"]
        assert sides[0]["whole_gallery"]["5"] <= sides[1]["whole_gallery"]["5"]
        assert alone["generalised"] is None


class TestComparison:
    def test_paired_test(self, figures, made_features):
        own, other = made_features(), made_features("other", seed=2, dim=5)
        expected = compare(
            judged(own).values["standard"],
            judged(other).values["standard"],
            resamples=300,
            seed=7,
        )
        more = ("--compare", other.files[0], "--compare-gallery", other.files[1])
        document = figures(*own.files, *more, "--resamples", 300, "--seed", 7)
        for measure, one in expected.items():
            assert document["comparison"]["standard"][measure] == vars(one)
        assert expected["mAP@all"].difference != 0

    def test_gallery_from_the_same_file_and_other_labels(self, figures, made_features, tmp_path):
        made = made_features()
        path = tmp_path / "both.npz"
        np.savez(
            path,
            x=np.concatenate([made.queries, made.gallery]),
            domains=["sketch"] * 12 + ["photo"] * 18,
        )
        (tmp_path / "y.txt").write_text("\n".join(made.query_classes + made.gallery_classes))
        labels = ("--compare-labels", tmp_path / "y.txt", tmp_path / "y.txt")
        compared = figures(*made.files, "--compare", path, *labels)["comparison"]["standard"]
        assert {(one["difference"], one["p_value"]) for one in compared.values()} == {(0.0, 1.0)}


class TestErrors:
    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (("--convention", "voc"), r"unknown convention 'voc': expected .*rank, or all"),
            (("--metric", "dot"), r"unknown metric 'dot': expected one of cosine, eucl"),
            (("--metric", "hamming"), r"queries row 0 is no binary code.*--binary"),
            (
                ("--binary", "--metric", "cosine"),
                r"--binary compares sign codes by hamming, not by",
            ),
            (("--at", "0"), r"cut-offs in at must be at least 1, got 0"),
            (("--at", str(2**63)), r"cut-offs in at must be at most 2,147,483,647, got 9223372036"),
            (("--seen-share", "0.2"), r"--seen-share has no use without --seen-gallery"),
            (("--seed", "-1"), r"seed must be 0 or more, got -1"),
            (("--resamples", "0"), r"resamples must be at least 1, got 0"),
            (("--seen-labels", "y.txt"), r"--seen-labels has no use without --seen-gallery"),
            (("--seen-queries", "q.npz"), r"--seen-queries has no use without --seen-gallery"),
            (
                ("--seen-query-labels", "y"),
                r"--seen-query-labels has no use without --seen-queries",
            ),
            (("--compare-gallery", "g.npz"), r"--compare-gallery has no use without --compare"),
            (("--compare-labels", "a", "b"), r"--compare-labels has no use without --compare"),
            (
                ("--compare", "a", "--seen-gallery", "b"),
                r"--compare does not go with --seen-gallery",
            ),
            (("--labels", "y.txt", "-"), r"cannot read labels from y\.txt: no such file"),
            (("--per-query", "/dev/null/q.csv"), r"cannot write /dev/null/q\.csv"),
        ],
    )
    def test_options(self, type_in, made_features, more, message):
        files = made_features().files
        answer = type_in(main, "evaluate", *files, *more)
        assert (answer.code, answer.out) == (2, "")
        assert re.fullmatch(rf"msedge: .*{message}.*\n", answer.err), answer.err

    @pytest.mark.parametrize("low", [0, 0.5])
    def test_signs_that_are_all_the_same(self, type_in, made_features, tmp_path, low):
        """Features after a ReLU, or codes of 0 and 1: any ranking would be the gallery's order."""
        for side, path in zip("qg", made_features().files, strict=True):
            arrays = dict(np.load(path))
            np.savez(tmp_path / f"{side}.npz", x=np.maximum(arrays["x"], low), y=arrays["y"])
        answer = type_in(main, "evaluate", tmp_path / "q.npz", tmp_path / "g.npz", "--binary")
        assert (answer.code, answer.out) == (2, "")
        assert re.fullmatch(
            r"msedge: all photos of .*g\.npz have the same sign code.*--metric hamming.*\n",
            answer.err,
        )

    def test_draws_are_checked_before_the_long_work(self, type_in, made_features, monkeypatch):
        monkeypatch.setattr("msedge.cli.evaluation_report.evaluate", pytest.fail)
        answer = type_in(main, "evaluate", *made_features().files, "--resamples", 0)
        assert (answer.code, answer.err) == (2, "msedge: resamples must be at least 1, got 0\n")

    def test_names_that_say_no_photo(self, type_in, made_features):
        made = made_features()
        arrays = dict(np.load(made.files[0]))
        np.savez(made.files[0], **(arrays | {"paths": [f"{row}-1.png" for row in range(12)]}))
        answer = type_in(main, "evaluate", *made.files, "--fine-grained")
        assert (answer.code, answer.out) == (2, "")
        assert re.fullmatch(
            r"msedge: no sketch in .* is named after a photo in .*NAME-1\.png.*\n", answer.err
        )

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"x": np.ones((3, 8, 1))}, r"have shape \(3, 8, 1\); expected \(N, D\)"),
            ({"x": np.ones((0, 8)), "y": []}, r"have shape \(0, 8\).*at least one row"),
            ({"x": np.ones((2, 8)), "y": ["cow"]}, r"holds 1 labels for 2 vectors"),
            ({"x": np.ones((1, 5)), "y": ["cow"]}, r"queries have 5 dimensions but gallery has 8"),
            (
                {"x": np.full((1, 8), np.nan), "y": ["cow"]},
                r"row 0 of .*q\.npz holds NaN or infinity",
            ),
            ({"x": np.eye(8)[:2] - np.eye(8)[:1], "y": ["cow", "cow"]}, r"row 0 of .*is all zeros"),
            ({"x": np.ones((1, 8)), "y": [3]}, r"with names but .* with integers"),
            (
                {"x": np.ones((2, 8)), "y": ["cow", "Elk"]},
                r"class 'Elk' has queries .*--drop-absent",
            ),
            ({"x": np.ones((1, 8)), "y": ["elk"]}, r"no query has a photo of its class in the gal"),
        ],
    )
    def test_features(self, type_in, made_features, tmp_path, change, message):
        np.savez(tmp_path / "q.npz", **change)
        answer = type_in(main, "evaluate", tmp_path / "q.npz", made_features().files[1])
        assert (answer.code, answer.out) == (2, "")
        assert re.fullmatch(rf"msedge: .*{message}.*\n", answer.err), answer.err


class TestTerminal:
    def test_help_names_every_choice(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        told = CliRunner().invoke(app, ["evaluate", "--help"]).output
        for name in (*CONVENTIONS, *METRICS):
            assert re.search(rf"\b{name}\b", told)

    def test_a_bar_only_where_someone_looks(self, type_in, made_features, monkeypatch):
        files = made_features().files
        answer = type_in(main, "evaluate", *files)
        assert (answer.code, answer.err) == (0, "")
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        monkeypatch.setenv("TERM", "xterm")
        watched = type_in(main, "evaluate", *files, "--json")
        assert "Ranking" in watched.err
        assert json.loads(watched.out)["queries"] == 12


def test_import_is_light() -> None:
    code = (
        "import sys, msedge.cli.evaluate; "
        "print(sorted({'torch', 'numpy', 'rich.console', 'msedge.data.features'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
