from __future__ import annotations

import numpy as np
import pytest

from encoders import ColourEncoder
from galleries import make_gallery, photo
from msedge.search.gallery_file import GalleryFile
from msedge.search.snapshot import Found, Snapshot


def made(vectors, ids=None) -> Snapshot:
    vectors = np.asarray(vectors, np.float32)
    ids = np.arange(1, len(vectors) + 1) if ids is None else np.asarray(ids)
    return Snapshot(1, ids.astype(np.int64), vectors)


def circle(count: int, first: float = 0.0, step: float = 20.0) -> np.ndarray:
    angles = np.radians(first + step * np.arange(count))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


EAST = np.array([1, 0], np.float32)


class TestRead:
    def test_it_holds_what_the_file_holds(self, tmp_path):
        path = make_gallery(tmp_path, {"a.png": photo("red"), "b.png": photo("blue")})
        with GalleryFile.open(path) as file:
            snapshot = Snapshot.read(file)
            ids, stored = file.vectors()
            assert snapshot.version == file.version()
        assert snapshot.ids.tolist() == ids.tolist() == [1, 2]
        assert snapshot.vectors.dtype == np.float32
        np.testing.assert_allclose(snapshot.vectors, stored, atol=1e-3)
        np.testing.assert_allclose(np.linalg.norm(snapshot.vectors, axis=1), 1.0, atol=1e-6)

    def test_it_cannot_be_changed(self, tmp_path):
        path = make_gallery(tmp_path, {"a.png": photo("red")})
        with GalleryFile.open(path) as file:
            snapshot = Snapshot.read(file)
        with pytest.raises(ValueError, match="read-only"):
            snapshot.vectors[0] = 0
        with pytest.raises(ValueError, match="read-only"):
            snapshot.ids[0] = 0

    def test_an_empty_gallery(self, tmp_path):
        with GalleryFile.open(make_gallery(tmp_path, {})) as file:
            snapshot = Snapshot.read(file)
        assert snapshot.vectors.shape == (0, ColourEncoder.dim)
        assert snapshot.vector(1) is None
        query = np.eye(ColourEncoder.dim, dtype=np.float32)[0]
        assert snapshot.search(query, 5, allowed=None, together=True) == []
        allowed = snapshot.allowed(np.array([3]), (4,))
        assert snapshot.search(query, 5, allowed=allowed, together=True) == []


class TestVector:
    def test_by_id(self):
        snapshot = made(circle(3), ids=[2, 5, 9])
        np.testing.assert_array_equal(snapshot.vector(5), snapshot.vectors[1])
        assert [snapshot.vector(missing) for missing in (0, 1, 3, 10)] == [None] * 4


class TestAllowed:
    def test_all(self):
        assert made(circle(3)).allowed(None, ()) is None

    def test_some_and_ids_that_it_does_not_know(self):
        snapshot = made(circle(4), ids=[2, 5, 9, 11])
        assert snapshot.allowed(np.array([1, 5, 11, 99]), ()).tolist() == [False, True, False, True]

    def test_left_out_photos_go_with_their_near_duplicates(self):
        vectors = np.concatenate([circle(3), circle(1, first=21)])
        snapshot = made(vectors)
        assert snapshot.allowed(None, (2, 77)).tolist() == [True, False, True, False]
        assert snapshot.allowed(np.array([1, 2]), (2,)).tolist() == [True, False, False, False]


class TestSearch:
    def test_near_duplicates_are_one(self):
        snapshot = made(np.concatenate([circle(3), circle(3, first=1)]), ids=range(10, 16))
        found = snapshot.search(EAST, 2, allowed=None, together=True)
        assert [(each.id, each.copies) for each in found] == [(10, (13,)), (11, (14,))]
        assert [each.similarity for each in found] == pytest.approx([1.0, np.cos(np.radians(20))])

    def test_apart_when_asked(self):
        snapshot = made(np.concatenate([circle(3), circle(3, first=1)]))
        found = snapshot.search(EAST, 3, allowed=None, together=False)
        assert [each.id for each in found] == [1, 4, 2]
        assert {each.copies for each in found} == {()}

    def test_ties_by_id(self):
        found = made([EAST] * 5).search(EAST, 3, allowed=None, together=False)
        assert found == [Found(1, 1.0), Found(2, 1.0), Found(3, 1.0)]

    def test_it_looks_as_far_down_as_it_takes(self):
        """A thousand copies of the best photo do not hide the others."""
        snapshot = made(np.concatenate([[EAST] * 3000, circle(4, first=30, step=30)]))
        found = snapshot.search(EAST, 4, allowed=None, together=True)
        assert [each.id for each in found] == [1, 3001, 3002, 3003]
        assert len(found[0].copies) == 2999

    def test_fewer_groups_than_asked_for(self):
        snapshot = made([EAST] * 700)
        (only,) = snapshot.search(EAST, 20, allowed=None, together=True)
        assert only.copies == tuple(range(2, 701))

    def test_only_what_is_allowed(self):
        snapshot = made(circle(4))
        allowed = np.array([False, True, False, True])
        found = snapshot.search(EAST, 9, allowed=allowed, together=True)
        assert [each.id for each in found] == [2, 4]
