from __future__ import annotations

import numpy as np
import pytest

from encoders import ColourEncoder
from galleries import make_gallery, new_photo, photo
from msedge.search.gallery_file import GalleryFile
from msedge.search.snapshot import Snapshot


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
        assert len(snapshot.nearest(query, 5, None).ids) == 0
        assert len(snapshot.nearest(query, 5, snapshot.allowed(np.array([3]))).ids) == 0


class TestAfter:
    @pytest.fixture
    def file(self, tmp_path):
        pictures = {f"{mark}.png": photo("red", mark=mark) for mark in range(20)}
        with GalleryFile.open(make_gallery(tmp_path, pictures), writable=True) as file:
            yield file

    def put(self, file: GalleryFile, path, picture) -> None:
        picture.save(path)
        file.put([new_photo(path, ColourEncoder())])

    def test_it_is_what_reading_everything_gives(self, file, tmp_path):
        before = Snapshot.read(file)
        self.put(file, tmp_path / "photos" / "3.png", photo("blue"))
        self.put(file, tmp_path / "photos" / "new.png", photo("green"))
        file.remove([7, 20])
        after, whole = before.after(file), Snapshot.read(file)
        assert after.version == whole.version > before.version
        assert after.ids.tolist() == whole.ids.tolist()
        assert len(after.ids) == 19
        assert 7 not in after.ids
        np.testing.assert_array_equal(after.vectors, whole.vectors)
        assert not np.array_equal(after.vector(4), before.vector(4))

    def test_only_what_changed_is_read(self, file, tmp_path, monkeypatch):
        before = Snapshot.read(file)
        self.put(file, tmp_path / "photos" / "new.png", photo("green"))
        monkeypatch.setattr(GalleryFile, "vectors", None)  # would fail when called
        assert len(before.after(file).ids) == 21

    def test_where_much_changed_everything_is_read(self, file):
        before = Snapshot.read(file)
        file.remove(range(1, 11))
        assert file.changes(before.version, most=5) is None
        assert before.after(file).ids.tolist() == list(range(11, 21))


class TestVector:
    def test_by_id(self):
        snapshot = made(circle(3), ids=[2, 5, 9])
        np.testing.assert_array_equal(snapshot.vector(5), snapshot.vectors[1])
        assert [snapshot.vector(missing) for missing in (-1, 0, 1, 3, 10, 2**70)] == [None] * 6


class TestNearest:
    def test_ids_that_it_does_not_know_allow_nothing(self):
        snapshot = made(circle(4), ids=[2, 5, 9, 11])
        allowed = snapshot.allowed(np.array([1, 5, 11, 99]))
        assert allowed.tolist() == [False, True, False, True]
        assert snapshot.nearest(EAST, 9, allowed).ids.tolist() == [5, 11]

    def test_candidates_come_with_their_vectors(self):
        nearest = made(circle(4), ids=[2, 5, 9, 11]).nearest(EAST, 2, None)
        assert nearest.ids.tolist() == [2, 5]
        assert nearest.similarities == pytest.approx([1.0, np.cos(np.radians(20))])
        np.testing.assert_allclose(nearest.vectors, circle(2), atol=1e-6)

    def test_ties_by_id(self):
        assert made([EAST] * 5).nearest(EAST, 3, None).ids.tolist() == [1, 2, 3]
