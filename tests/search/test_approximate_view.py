"""A gallery file with an approximate index beside it answers as it does without one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.search.approximate.build import build
from msedge.search.approximate_due import is_due
from msedge.search.approximate_view import IndexedVectors, folder_of, index_beside
from msedge.search.filters import Filters
from msedge.search.gallery_file import GalleryFile, Model, NewPhoto
from msedge.search.snapshot import Snapshot

DIM, PHOTOS = 16, 600
MODEL = Model("m", "f", DIM)


def photo(number: int, seed: int | None = None) -> NewPhoto:
    """A photo in one of three folders, whose vector stands for nothing."""
    vector = np.random.default_rng(number if seed is None else seed).standard_normal(DIM)
    path = Path(f"/photos/{number % 3}/{number:04}.jpg")
    unit = (vector / np.linalg.norm(vector)).astype(np.float16)
    return NewPhoto(path, 1, 1, f"{number:064}", 4, 3, 86_400.0 * number, unit)


def build_beside(path: Path, *, identity: str | None = None) -> None:
    with GalleryFile.open(path) as file:
        build(
            folder_of(path),
            ((np.array(b.ids), np.stack([p.vector for p in b.photos])) for b in file.blocks(100)),
            count=file.count(),
            model=file.model,
            version=file.version(),
            gallery=file.identity() if identity is None else identity,
            recall=0.95,
            kind="ivf-sq",
        )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("approximate") / "g.msedge"
    with GalleryFile.create(path, MODEL) as file:
        file.put([photo(number) for number in range(PHOTOS)])
    build_beside(path)
    return path


@pytest.fixture
def path(built, tmp_path):
    """A gallery of its own, with its index; ids are those of photos plus one."""
    for each in built.parent.iterdir():
        copy = shutil.copytree if each.is_dir() else shutil.copy
        copy(each, tmp_path / each.name)
    return tmp_path / "g.msedge"


def ids(view, query, k=20, *, filters=None, without=()):
    hits = view.search(query, k, filters=filters, without=without, together=False)
    return [hit.id for hit in hits]


def query(seed: int = 99) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


class TestWhichIsUsed:
    def test_the_index_where_there_is_one(self, path):
        with GalleryFile.open(path) as file, GalleryFile.open(path, exact=True) as exact:
            assert isinstance(file.view().vectors, IndexedVectors)
            assert isinstance(exact.view().vectors, Snapshot)
            found, true = ids(file.view(), query()), ids(exact.view(), query())
            assert len(set(found) & set(true)) >= 18

    def test_none_of_another_gallery(self, path):
        """A gallery made anew may have the same name, model and version."""
        path.unlink()
        with GalleryFile.create(path, MODEL) as file:
            file.put([photo(number) for number in range(5)])
            assert file.version() == 1
            assert index_beside(file) is None
            assert isinstance(file.view().vectors, Snapshot)

    def test_none_that_is_damaged(self, path):
        (folder_of(path) / "about.json").write_text("{}")
        with GalleryFile.open(path) as file:
            view = file.view()
            assert isinstance(view.vectors, Snapshot)
            assert file.is_current(view)
            assert len(ids(view, query())) == 20

    def test_none_that_is_far_behind(self, path):
        with GalleryFile.open(path, writable=True) as file:
            file.put([photo(number) for number in range(PHOTOS, PHOTOS + 10_001)])
            assert isinstance(file.view().vectors, Snapshot)

    def test_a_new_one_is_taken_up_and_a_deleted_one_given_up(self, path):
        with GalleryFile.open(path) as file:
            first = file.view()
            build_beside(path)
            assert not file.is_current(first)
            second = file.view(first)
            assert isinstance(second.vectors, IndexedVectors)
            shutil.rmtree(folder_of(path))
            assert len(ids(second, query())) == 20  # its files stay mapped
            third = file.view(second)
            assert isinstance(third.vectors, Snapshot)
            build_beside(path)
            assert isinstance(file.view(third).vectors, IndexedVectors)


class TestWhatHasChangedSince:
    def test_new_changed_and_removed_photos(self, path):
        with GalleryFile.open(path, writable=True) as file:
            before = file.view()
            file.put([photo(PHOTOS)])
            file.put([photo(7, seed=PHOTOS)])  # id 8 now looks like the new one
            file.remove([10])
            view = file.view(before)
            assert isinstance(view.vectors, IndexedVectors)
            asked = view.vector(8)
            np.testing.assert_array_equal(asked, view.vector(PHOTOS + 1))
            assert ids(view, asked, 2) == [8, PHOTOS + 1]
            assert view.vector(10) is None
            assert 10 not in ids(view, before.vector(10), PHOTOS + 9)
            assert len(ids(view, asked, PHOTOS + 9)) == PHOTOS
            assert ids(before, before.vector(10), 1) == [10]

    def test_nothing_is_lost_with_many_changes(self, path):
        with GalleryFile.open(path, writable=True) as file:
            file.put([photo(number, seed=number + 5000) for number in range(0, PHOTOS, 2)])
            file.remove(range(1, PHOTOS, 5))
            view, true = file.view(), Snapshot.read(file)
            assert sorted(ids(view, query(), PHOTOS)) == true.ids.tolist()
            for number in true.ids[::37].tolist():
                np.testing.assert_array_equal(view.vector(number), true.vector(number))


class TestFilters:
    @settings(max_examples=25, deadline=None)
    @given(folder=st.integers(0, 3), seed=st.integers(0, 10**6), k=st.integers(1, 250))
    def test_are_exact(self, built, folder, seed, k):
        filters = Filters(folder=Path(f"/photos/{folder}"))
        with GalleryFile.open(built) as file:
            found = ids(file.view(), query(seed), k, filters=filters)
            matching = set(file.ids(filters).tolist())
        assert set(found) <= matching
        assert len(found) == len(set(found)) == min(k, len(matching))

    def test_photos_that_are_not_wanted(self, built):
        with GalleryFile.open(built) as file:
            view = file.view()
            assert ids(view, view.vector(5), 1) == [5]
            assert 5 not in ids(view, view.vector(5), 50, without=(5,))


class TestDue:
    def test_a_small_gallery_needs_none(self, tmp_path):
        with GalleryFile.create(tmp_path / "g.msedge", MODEL) as file:
            file.put([photo(number) for number in range(5)])
            assert not is_due(file)
            assert is_due(file, least=5)
            assert not is_due(file, least=6)

    def test_until_a_tenth_has_changed(self, path):
        with GalleryFile.open(path, writable=True) as file:
            assert not is_due(file, least=100)
            file.put([photo(number) for number in range(PHOTOS, PHOTOS + 40)])
            assert not is_due(file, least=100)
            file.remove(range(1, 40))
            assert is_due(file, least=100)
        build_beside(path)
        with GalleryFile.open(path) as file:
            assert not is_due(file, least=100)
