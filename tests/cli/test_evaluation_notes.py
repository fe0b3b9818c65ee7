"""What is said beside the figures, and that it is not said where it is not so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msedge.cli.evaluation_inputs import Files, Source, load_inputs
from msedge.cli.evaluation_notes import notes_on, repeated
from msedge.data.features import load_features
from msedge.evaluation.evaluate import evaluate


@pytest.fixture
def notes(tmp_path: Path) -> Callable[..., tuple[str, ...]]:
    """The notes on 2 cows and 1 bat, asked of 4 cows and 2 bats, with changes to the files."""

    def on(
        *,
        metric: str = "cosine",
        binary: bool = False,
        at: tuple[int, ...] = (2,),
        conventions: tuple[str, ...] = ("standard",),
        others: bool = False,
        drop_absent: bool = False,
        **changes: dict[str, Any],
    ) -> tuple[str, ...]:
        sources, rng = {}, np.random.default_rng(0)
        labels = {"queries": ["cow", "cow", "bat"], "gallery": ["cow"] * 4 + ["bat"] * 2}
        if others:
            labels |= {f"other_{role}": of for role, of in labels.items()}
        for role, given in labels.items():
            arrays = {"x": rng.normal(size=(len(given), 3)), "y": given} | changes.get(role, {})
            np.savez(tmp_path / f"{role}.npz", **arrays)
            sources[role] = Source(tmp_path / f"{role}.npz")
        inputs = load_inputs(
            Files(**sources), refuse_zeros=False, drop_absent=drop_absent, share=1.0, seed=0
        )
        evaluation = evaluate(
            inputs.queries.embeddings,
            inputs.ranked.embeddings,
            inputs.queries.labels,
            inputs.ranked.labels,
            at=at,
            conventions=conventions,
            metric=metric,
        )
        return notes_on(inputs, evaluation, metric, binary=binary)

    return on


def test_nothing_to_say(notes):
    assert notes() == ()
    assert notes(others=True) == ()


class TestBounds:
    def test_mean_over_queries(self, notes):
        """At 3, two cows reach 3 of 3 and the bat 2 of 3; at 5, they reach 4 of 5 and 2 of 5."""
        assert notes(at=(2, 3, 5)) == (
            "P@3 as h_k / k cannot exceed 88.9 here: 1 of 2 classes have fewer than 3 photos "
            "(mean of min(k, R) / k)",
            "P@5 as h_k / k cannot exceed 66.7 here: 2 of 2 classes have fewer than 5 photos "
            "(mean of min(k, R) / k)",
        )

    def test_only_where_a_convention_divides_by_k(self, notes):
        assert notes(at=(5,), conventions=("zse", "rank")) == ()
        assert len(notes(at=(5,), conventions=("zse", "hits"))) == 1

    def test_beyond_the_gallery_sake_divides_by_its_photos(self, notes):
        """4 and 2 of 6 photos are relevant, which is what P@12 comes to, however they rank."""
        (found,) = notes(at=(12,), conventions=("sake",))
        assert found == (
            "P@12 as h_k / M cannot exceed 55.6 here: 2 of 2 classes have fewer than 12 photos "
            "(mean of min(k, R) / M)"
        )
        (by_k,) = notes(at=(12,), conventions=("sake", "total"))
        assert by_k.startswith("P@12 as h_k / k cannot exceed 27.8 here")
        of_one = {"queries": {"y": ["cow"] * 3}, "gallery": {"y": ["cow"] * 6}}
        assert notes(at=(12,), conventions=("sake",), **of_one) == ()


class TestRepeats:
    VECTORS = np.array([[1, 2, 3], [1, 2, 3], [3, 2, 1], [1, 2, 3], [1, 2, 3], [0, 1, 0]], float)

    def test_counted_within_a_class(self, notes, tmp_path):
        assert notes(gallery={"x": self.VECTORS}) == (
            "the gallery holds 2 photos twice (a vector equal to that of an earlier photo of the "
            "class): use msedge data prepare, which leaves repeats out",
        )
        assert repeated(load_features(tmp_path / "gallery.npz")) == 2

    def test_one_alone(self, notes):
        (found,) = notes(gallery={"x": np.array([[1, 2, 3], [1, 2, 3], *np.eye(3), [2, 1, 0]])})
        assert found.startswith("the gallery holds 1 photo twice (")

    def test_codes_are_often_equal(self, notes):
        codes = {"x": self.VECTORS > 1}
        assert notes(metric="hamming", queries={"x": np.eye(3)}, gallery=codes) == ()


class TestOthers:
    def test_queries_left_out(self, notes):
        found = notes(queries={"y": ["cow", "elk", "bat"]}, drop_absent=True)
        assert found == ("1 query is left out, since the gallery has no photo of its class: elk",)

    def test_one_file_in_both_places(self, tmp_path):
        rng, path = np.random.default_rng(0), tmp_path / "all.npz"
        np.savez(path, x=rng.normal(size=(4, 3)), y=["cow"] * 4)

        def found() -> tuple[str, ...]:
            inputs = load_inputs(
                Files(Source(path), Source(tmp_path / ".." / tmp_path.name / "all.npz")),
                refuse_zeros=True, drop_absent=False, share=1.0, seed=0,
            )  # fmt: skip
            evaluation = evaluate(
                inputs.queries.embeddings, inputs.ranked.embeddings,
                inputs.queries.labels, inputs.ranked.labels, at=(1,),
            )  # fmt: skip
            return notes_on(inputs, evaluation, "cosine", binary=False)

        (said,) = found()
        assert said.startswith("4 of 4 queries are in the gallery themselves, as the same rows of ")
        np.savez(path, x=rng.normal(size=(4, 3)), y=["cow"] * 4, domains=[0, 0, 1, 1])
        assert found() == ()

    def test_files_of_the_other_domain(self, notes):
        swapped = {"queries": {"domains": [1] * 3}, "gallery": {"domains": [0] * 6}}
        first, second = notes(**swapped)
        assert first.startswith("the queries are photos: ")
        assert first.endswith("queries.npz holds no sketches")
        assert second.startswith("the gallery is of sketches: ")
        right = {"queries": {"domains": [0] * 3}, "gallery": {"domains": [1] * 6}}
        assert notes(**right) == ()

    def test_systems_with_different_galleries(self, notes):
        fewer = {"x": np.ones((5, 3)), "y": ["cow"] * 3 + ["bat"] * 2}
        (found,) = notes(others=True, other_gallery=fewer)
        assert "different galleries, of 6 and 5 photos" in found
        moved = {"y": ["bat"] * 2 + ["cow"] * 4}  # another order is no other gallery
        assert notes(others=True, other_gallery=moved) == ()
