"""Neighbour expansion from the command line: what is expanded, and that the figures say so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner

from msedge.cli.app import app, main
from msedge.cli.evaluation_expansion import Expansion, chosen_expansion
from msedge.evaluation.evaluate import evaluate
from msedge.evaluation.expansion import expand_queries, smooth_gallery
from msedge.evaluation.fine_grained import fine_grained
from msedge.models.bank import Bank, choose_drawings, read_bank, save_bank

BOTH = ("--smooth-gallery", 4, "--expand-queries", 3)
SAID = (
    "gallery smoothed over 4 neighbours; queries expanded by 3: not comparable with published "
    "figures without it"
)


@pytest.fixture
def figures() -> Callable[..., dict[str, Any]]:
    def ask(*arguments: object) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--json"])
        assert result.exit_code == 0, (result.output, result.exception)
        return json.loads(result.stdout)

    return ask


def mean_ap(document: dict[str, Any]) -> float:
    return document["results"]["standard"]["mAP@all"]["mean"]


def expected_ap(queries, gallery, query_labels, gallery_labels) -> float:
    return evaluate(queries, gallery, query_labels, gallery_labels).means()["mAP@all"]


class TestVectors:
    @pytest.mark.parametrize(
        ("smooth", "expand", "power"), [(4, 0, None), (0, 3, None), (4, 3, None), (5, 2, 0.5)]
    )
    def test_what_is_ranked(self, figures, made_features, smooth, expand, power):
        made, more = made_features(), [] if power is None else ["--expansion-power", power]
        options = {"power": 3.0 if power is None else power}
        gallery, queries = made.gallery, made.queries
        if smooth:
            gallery = smooth_gallery(gallery, neighbours=smooth, **options)
        if expand:
            queries = expand_queries(queries, gallery, neighbours=expand, **options)
        labels = made.ids(made.query_classes), made.ids(made.gallery_classes)
        document = figures(
            *made.files, "--smooth-gallery", smooth, "--expand-queries", expand, *more
        )
        assert mean_ap(document) == expected_ap(queries, gallery, *labels)
        assert mean_ap(document) != mean_ap(figures(*made.files))

    def test_off_is_the_default_and_nothing_is_said(self, figures, made_features):
        files = made_features().files
        document = figures(*files, "--smooth-gallery", 0, "--expand-queries", 0)
        assert document == figures(*files)
        assert document["expansion"] is None
        assert "expan" not in CliRunner().invoke(app, ["evaluate", *map(str, files)]).stdout

    def test_seen_photos_are_neighbours_and_seen_queries_expanded(self, figures, made_features):
        own = made_features()
        seen = made_features("seen", ("ant", "zebra"), seed=1)
        names = [*own.gallery_classes, *seen.gallery_classes]
        ids = {name: row for row, name in enumerate(sorted(set(names)))}
        labels = np.array([ids[name] for name in names])
        photos = smooth_gallery(np.concatenate([own.gallery, seen.gallery]), neighbours=4)
        expected = [
            expected_ap(
                expand_queries(each.queries, photos, neighbours=3),
                photos,
                np.array([ids[name] for name in each.query_classes]),
                labels,
            )
            for each in (own, seen)
        ]
        more = ("--seen-gallery", seen.files[1], "--seen-queries", seen.files[0])
        document = figures(*own.files, *more, *BOTH)
        asked = (document, document["generalised"]["seen_queries"])
        assert [mean_ap(each) for each in asked] == expected

    def test_both_systems_of_a_comparison(self, figures, made_features):
        own, other = made_features(), made_features("other", seed=2, dim=5)
        more = ("--compare", other.files[0], "--compare-gallery", other.files[1])
        compared = figures(*own.files, *more, *BOTH)["comparison"]["standard"]["mAP@all"]
        alone = [mean_ap(figures(*each.files, *BOTH)) for each in (own, other)]
        assert (compared["first"], compared["second"]) == pytest.approx(alone, abs=1e-12)
        assert alone[1] != mean_ap(figures(*other.files))

    def test_fine_grained(self, figures, made_features):
        made = made_features()
        photos = smooth_gallery(made.gallery, neighbours=4)
        stems = [path.split("/")[-1].removesuffix(".jpg") for path in made.gallery_paths]
        drawn = [path.split("/")[-1].removesuffix("-1.png") for path in made.query_paths]
        expected = fine_grained(
            expand_queries(made.queries, photos, neighbours=3),
            photos,
            made.ids(made.query_classes),
            made.ids(made.gallery_classes),
            np.array([stems.index(stem) for stem in drawn]),
            np.arange(18),
        )
        found = figures(*made.files, "--fine-grained", *BOTH)["fine_grained"]
        for side in ("within_class", "whole_gallery"):
            assert found[side] == {str(k): v for k, v in getattr(expected, side).items()}

    def test_repeats_are_those_of_the_file(self, figures, made_features):
        """Photos with one neighbourhood get one vector, which makes no copies of them."""
        files = made_features().files
        notes = figures(*files, "--smooth-gallery", 99, "--expansion-power", 0)["notes"]
        assert not any("twice" in note for note in notes)


@pytest.fixture
def bank(tmp_path) -> Path:
    """Of 40 drawings for vectors of 8 numbers."""
    drawings = choose_drawings(np.random.default_rng(3).normal(size=(40, 8)), ["x"] * 40)
    nothing = np.empty((0, 8), np.float16)
    save_bank(path := tmp_path / "a.bank.safetensors", Bank("", drawings, (), nothing, nothing))
    return path


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ap_less_half(queries, gallery, query_labels, gallery_labels, drawings) -> float:
    """mAP by cosine less half the mean cosine to the 30 nearest drawings, from the definition."""
    photos, near = unit(gallery.astype(float)), unit(drawings.astype(float))
    hubness = np.sort(photos @ near.T, axis=1)[:, -30:].mean(axis=1)
    scores = unit(queries.astype(float)) @ photos.T - hubness / 2
    return float(np.mean([
        average_precision_score(gallery_labels == label, row)
        for label, row in zip(query_labels, scores, strict=True)
    ]))  # fmt: skip


class TestHubs:
    def test_what_is_ranked(self, figures, made_features, bank):
        made = made_features()
        labels = made.ids(made.query_classes), made.ids(made.gallery_classes)
        document = figures(*made.files, "--hubs", bank)
        wanted = ap_less_half(made.queries, made.gallery, *labels, read_bank(bank).drawings)
        assert mean_ap(document) == pytest.approx(wanted, abs=1e-12)
        assert mean_ap(document) != mean_ap(figures(*made.files))

    def test_features_of_sketches_are_a_bank(self, figures, made_features):
        made, other = made_features(), made_features("other", seed=5)
        labels = made.ids(made.query_classes), made.ids(made.gallery_classes)
        drawings = choose_drawings(other.queries, other.query_classes)
        document = figures(*made.files, "--hubs", other.files[0])
        wanted = ap_less_half(made.queries, made.gallery, *labels, drawings)
        assert mean_ap(document) == pytest.approx(wanted, abs=1e-12)
        assert document["hubs"]["drawings"] == len(other.queries)

    def test_of_a_smoothed_gallery_they_are_those_of_the_smoothed_photos(
        self, figures, made_features, bank
    ):
        made = made_features()
        labels = made.ids(made.query_classes), made.ids(made.gallery_classes)
        photos = smooth_gallery(made.gallery, neighbours=4)
        document = figures(*made.files, "--hubs", bank, "--smooth-gallery", 4)
        wanted = ap_less_half(made.queries, photos, *labels, read_bank(bank).drawings)
        assert mean_ap(document) == pytest.approx(wanted, abs=1e-9)

    def test_fine_grained_and_both_systems_of_a_comparison(self, figures, made_features, bank):
        own, other = made_features(), made_features("other", seed=2)
        more = ("--compare", other.files[0], "--compare-gallery", other.files[1], "--hubs", bank)
        document = figures(*own.files, *more, "--fine-grained")
        compared = document["comparison"]["standard"]["mAP@all"]
        alone = [mean_ap(figures(*each.files, "--hubs", bank)) for each in (own, other)]
        assert (compared["first"], compared["second"]) == pytest.approx(alone, abs=1e-12)
        photos, near = unit(own.gallery.astype(float)), read_bank(bank).drawings.astype(float)
        hubness = np.sort(photos @ unit(near).T, axis=1)[:, -30:].mean(axis=1)
        scores = unit(own.queries.astype(float)) @ photos.T - hubness / 2
        stems = [path.split("/")[-1].removesuffix(".jpg") for path in own.gallery_paths]
        sources = [path.split("/")[-1].removesuffix("-1.png") for path in own.query_paths]
        first = [stems[row.argmax()] == one for row, one in zip(scores, sources, strict=True)]
        assert document["fine_grained"]["whole_gallery"]["1"] == np.mean(first)

    def test_everything_that_is_printed_says_so(self, figures, made_features, bank, monkeypatch):
        monkeypatch.setenv("COLUMNS", "400")
        files = made_features().files
        said = (
            "each photo's similarity less 0.5 of its mean similarity to its 30 nearest of 40 "
            f"drawings ({bank}): not comparable with published figures without it"
        )
        lines = (
            CliRunner()
            .invoke(app, ["evaluate", *map(str, (*files, "--hubs", bank))])
            .stdout.splitlines()
        )
        assert f"hubs      {said}" in lines
        assert f"note: {said}" in lines
        document = figures(*files, "--hubs", bank)
        assert document["hubs"] == {"file": str(bank), "drawings": 40, "says": said}
        assert said in document["notes"]

    def test_without_them_nothing_is_said(self, figures, made_features):
        files = made_features().files
        assert figures(*files)["hubs"] is None
        assert "hubs" not in CliRunner().invoke(app, ["evaluate", *map(str, files)]).stdout

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (("--binary",), r"--hubs takes something off a cosine, .* by hamming"),
            (("--metric", "euclidean"), r"--hubs takes .* by euclidean .*; leave out one of the"),
        ],
    )
    def test_it_goes_with_cosine_alone(self, type_in, made_features, bank, more, message):
        answer = type_in(main, "evaluate", *made_features().files, "--hubs", bank, *more)
        assert (answer.code, answer.out) == (2, "")
        assert re.fullmatch(rf"msedge: {message}.*\n", answer.err), answer.err

    def test_files_that_will_not_do(self, type_in, made_features, bank, tmp_path):
        narrow = made_features("narrow", dim=5).files
        (tmp_path / "no.bank.safetensors").write_bytes(b"no")
        for hubs, files, message in (
            (bank, narrow, "the drawings in .* have 8 dimensions, and the photos 5: give drawings"),
            (tmp_path / "no.bank.safetensors", narrow, "the bank .* is damaged"),
            (tmp_path / "none.bank.safetensors", narrow, "no bank at"),
            (tmp_path / "none.npz", narrow, "no features at|.*none.npz"),
        ):
            answer = type_in(main, "evaluate", *files, "--hubs", hubs)
            assert (answer.code, answer.out) == (2, "")
            assert re.fullmatch(rf"msedge: {message}.*\n", answer.err), answer.err


class TestWords:
    def test_everything_that_is_printed_says_so(self, figures, made_features, monkeypatch):
        monkeypatch.setenv("COLUMNS", "100")
        files = made_features().files
        note = f"{SAID} (a neighbour weighs its cosine to the power 2.5)"
        more = (*BOTH, "--expansion-power", 2.5)
        result = CliRunner().invoke(app, ["evaluate", *map(str, (*files, *more))])
        lines = result.stdout.splitlines()
        assert lines[3] == f"expansion {SAID}"
        assert f"note: {note}" in lines
        document = figures(*files, *more)
        assert document["notes"][0] == note
        assert document["expansion"] == {
            "smooth_gallery": 4, "expand_queries": 3, "power": 2.5, "says": SAID,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("expansion", "said"),
        [
            (Expansion(10, 20), "gallery smoothed over 10 neighbours; queries expanded by 20: "),
            (Expansion(1, 0), "gallery smoothed over 1 neighbour: not comparable with published "),
            (Expansion(0, 1_000), "queries expanded by 1,000 neighbours: not comparable with "),
        ],
    )
    def test_what_was_done(self, expansion, said):
        assert str(expansion).startswith(said)

    def test_nothing_was_done(self):
        assert str(chosen_expansion(0, 0, None, "hamming")) == ""


class TestErrors:
    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (("--smooth-gallery", -1), r"--smooth-gallery must be a number .* 0 for off, got -1"),
            (("--expand-queries", -2), r"--expand-queries must be a number .* 0 for off, got -2"),
            (
                ("--expansion-power", 3),
                r"--expansion-power has no use without --smooth-gallery or --expand-queries; give",
            ),
            ((*BOTH, "--expansion-power", -1), r"power must be a number of at least 0.* got -1.0"),
            ((*BOTH, "--expansion-power", "nan"), r"power must be a number .* got nan"),
            (
                (*BOTH, "--binary"),
                r"--smooth-gallery averages what is near by cosine, which does not go with a "
                r"ranking by hamming \(--metric, --binary\); leave out one of the two",
            ),
            (("--expand-queries", 3, "--metric", "hamming"), r"--expand-queries .* by hamming"),
            (("--expand-queries", 3, "--metric", "euclidean"), r"--expand-queries .* by euclid"),
        ],
    )
    def test_options(self, type_in, made_features, monkeypatch, more, message):
        monkeypatch.setattr("msedge.cli.evaluation_inputs.load_inputs", pytest.fail)  # not so far
        answer = type_in(main, "evaluate", *made_features().files, *more)
        assert (answer.code, answer.out) == (2, "")
        assert re.fullmatch(rf"msedge: {message}.*\n", answer.err), answer.err
