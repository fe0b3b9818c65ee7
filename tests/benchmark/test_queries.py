"""Values a query: against scikit-learn, and kept as long as the vectors stay."""

from __future__ import annotations

import os

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from msedge.benchmark.queries import ceiling, query_values
from msedge.data.vectors import load_vectors
from msedge.errors import DataError


class TestQueryValues:
    def test_are_scikit_learn_s(self, cells, finish):
        (cell, *_) = cells()
        finish(cell, noise=0.8)
        found = query_values(cell)
        vectors = load_vectors(cell.file("vectors.safetensors"))
        asked, kept = vectors.of("sketch"), vectors.of("photo")
        scores = vectors.embeddings[asked].astype(float) @ vectors.embeddings[kept].T
        expected = [
            average_precision_score(vectors.labels[kept] == label, row)
            for label, row in zip(vectors.labels[asked], scores, strict=True)
        ]
        np.testing.assert_allclose(found.average_precision, expected, atol=1e-9)
        np.testing.assert_array_equal(found.labels, vectors.labels[asked])
        assert set(found.relevant) == {6}
        assert min(expected) < 0.9  # else any ranking would do

    def test_are_kept_until_the_vectors_change(self, cells, finish, monkeypatch):
        (cell, *_) = cells()
        finish(cell, noise=0.8)
        first = query_values(cell)
        ranked = []
        monkeypatch.setattr(
            "msedge.benchmark.queries._judge", lambda path: ranked.append(path) or first
        )
        again = query_values(cell)
        np.testing.assert_array_equal(again.average_precision, first.average_precision)
        assert ranked == []
        os.utime(cell.file("vectors.safetensors"), ns=(0, 0))
        query_values(cell)
        assert len(ranked) == 1

    def test_kept_ones_that_are_damaged_are_made_anew(self, cells, finish):
        (cell, *_) = cells()
        finish(cell)
        first = query_values(cell)
        cell.file("queries.safetensors").write_text("nonsense")
        np.testing.assert_array_equal(query_values(cell).relevant, first.relevant)

    def test_without_vectors(self, cells):
        with pytest.raises(DataError, match="remove the folder to run it anew"):
            query_values(cells()[0])


@pytest.mark.parametrize(("k", "highest"), [(5, 100.0), (10, 60.0), (12, 50.0)])
def test_ceiling(cells, finish, k, highest):
    (cell, *_) = cells()
    finish(cell)
    assert ceiling(query_values(cell), k) == pytest.approx(highest)
