"""A disk that fills up at any point while a gallery is written: one line, and nothing is lost.

Each case leaves so many kB on a small disk, from none to enough, and looks at three things: what
was stored before is whole, nothing half-made is taken for a gallery, and once there is room the
same work ends as it would have on a large disk.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from encoders import ColourEncoder
from indexing_runs import held, run
from made_photos import compact
from msedge.errors import DataError
from msedge.search.gallery import Gallery
from msedge.search.stores import check_gallery, copy_gallery, open_or_create, open_store
from msedge.search.stores.reports import Model
from msedge.search.stores.store import REBUILDING
from msedge.search.thumbnails import ThumbnailCache
from photo_files import new_photo, picture, write_photo
from small_disk import SmallDisk, mounted

_DIM = 64
_EVERY = pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
"""Which of the sizes are tried: one in five, or all in the slow tests."""


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk", 16) as disk:
        yield disk


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(120):
        write_photo(folder / f"{number % 5}" / f"{'long' * 20}{number:03}.png", number)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A gallery of 0.7 MB, a third of which was removed again."""
    path = tmp_path_factory.mktemp("source") / "g.msedge"
    with open_or_create(path, Model("m", "f", _DIM)) as file:
        for first in range(0, 1500, 500):
            file.change(put=[_unit_photo(first + number) for number in range(500)])
        file.change(remove=range(1, 1500, 3))
    return path


def _unit_photo(number: int):
    vector = np.random.default_rng(number).standard_normal(_DIM)
    unit = (vector / np.linalg.norm(vector)).astype(np.float16)
    return new_photo(f"/{number % 9}/{'y' * 40}{number}.jpg", number, dim=_DIM, vector=unit)


def amounts(most: int, step: int, every: int) -> list[int]:
    """The kilobytes to leave on the disk: from none to enough."""
    return [*range(0, most, step * every), most]


def refused(work) -> bool:
    """Whether the disk was too full for some work, which then says so in one line."""
    try:
        work()
        return False
    except DataError as error:
        line = str(error)
    assert len(line.splitlines()) == 1
    assert "make room" in line or "No space left" in line, line
    return True


def left_over(disk: SmallDisk) -> set[str]:
    """What lies on the disk beside galleries and photos."""
    ends = (".msedge", ".lance", ".png")
    tops = {name for name in disk.names() if "/" not in name}
    return {name for name in tops if not name.endswith(ends)}


def is_sound(path: Path) -> bool:
    """Whether no photo is missing or damaged; a log that was not moved over is neither."""
    return all(finding.name == "log" for finding in check_gallery(path) if finding.is_left)


class TestIndexing:
    @_EVERY
    def test_into_a_new_gallery(self, disk, photos, monkeypatch, every):
        monkeypatch.setattr("msedge.search.indexing._PHOTOS_A_COMMIT", 20)
        gallery = disk.root / "g.msedge"
        run(photos, gallery)
        wanted = held(gallery)
        kept, outcomes = 0, set()
        for kilobytes in amounts(900, 45, every):
            disk.empty()
            disk.leave(kilobytes)
            outcomes.add(refused(lambda: run(photos, gallery)))
            if gallery.exists():
                there = held(gallery)
                assert there.items() <= wanted.items()
                assert len(there) >= kept, "more room, and less was kept"
                kept = len(there)
                assert is_sound(gallery)
            else:
                assert left_over(disk) == set()
            disk.make_room()
            run(photos, gallery)
            assert held(gallery) == wanted
            assert left_over(disk) == set()
        assert outcomes == {True, False}
        assert kept == len(wanted)

    @_EVERY
    def test_into_a_gallery_that_can_be_searched_meanwhile(self, disk, photos, tmp_path, every):
        gallery, more = disk.root / "g.msedge", tmp_path / "more"
        for number in range(200, 260):
            write_photo(more / f"{number}.png", number)
        outcomes = set()
        for kilobytes in amounts(320, 20, every):
            disk.empty()
            run(photos, gallery)
            before = held(gallery)
            disk.leave(kilobytes)
            outcomes.add(refused(lambda: run(more, gallery)))
            assert held(gallery).items() >= before.items()
            with Gallery.open(gallery, model=ColourEncoder()) as opened:
                assert len(opened.search(picture(7), k=5)) == 5
            disk.make_room()
            run(more, gallery)
            assert len(held(gallery)) == len(before) + 60
            assert left_over(disk) == set()
        assert outcomes == {True, False}

    @_EVERY
    def test_rebuilding_leaves_the_gallery_as_it_was_until_the_end(self, disk, photos, every):
        gallery, again = disk.root / "g.msedge", ColourEncoder("colours-2")
        outcomes = set()
        for kilobytes in amounts(640, 40, every):
            disk.empty()
            run(photos, gallery)
            before = held(gallery)
            disk.leave(kilobytes)
            is_full = refused(lambda: run(photos, gallery, again, rebuild=True))
            outcomes.add(is_full)
            assert held(gallery) == before  # these encoders make the same vectors
            with open_store(gallery) as file:
                assert file.model.fingerprint == ("colours-1" if is_full else "colours-2")
            disk.make_room()
            run(photos, gallery, again, rebuild=True)
            assert left_over(disk) == set()
            assert not gallery.with_name(gallery.name + REBUILDING).exists()
        assert outcomes == {True, False}


class TestUpkeep:
    @_EVERY
    def test_a_copy_is_whole_or_not_there(self, disk, source, every):
        copy, outcomes = disk.root / "copy.msedge", set()
        for kilobytes in amounts(2240, 80, every):
            disk.empty()
            disk.leave(kilobytes)
            is_full = refused(lambda: copy_gallery(source, copy))
            outcomes.add(is_full)
            assert copy.exists() != is_full
            assert left_over(disk) == set()
            disk.make_room()
            if is_full:
                copy_gallery(source, copy)
            assert is_sound(copy)
            assert held(copy) == held(source)
        assert outcomes == {True, False}

    @_EVERY
    def test_a_copy_into_a_lance_dataset_is_whole_or_not_there(self, disk, source, every):
        pytest.importorskip("lance")
        copy, outcomes = disk.root / "copy.lance", set()
        for kilobytes in amounts(480, 40, every):
            disk.empty()
            disk.leave(kilobytes)
            is_full = refused(lambda: copy_gallery(source, copy))
            outcomes.add(is_full)
            assert copy.exists() != is_full
            assert left_over(disk) == set()
            disk.make_room()
            if is_full:
                copy_gallery(source, copy)
            assert is_sound(copy)
        assert outcomes == {True, False}

    @_EVERY
    def test_compacting_changes_no_photo(self, disk, source, every):
        gallery, outcomes = disk.root / "g.msedge", set()
        for kilobytes in amounts(1200, 60, every):
            disk.empty()
            shutil.copy(source, gallery)
            before = held(gallery)
            disk.leave(kilobytes)
            outcomes.add(refused(lambda: compact(gallery)))
            assert held(gallery) == before
            disk.make_room()
            compact(gallery)
            assert held(gallery) == before
            assert is_sound(gallery)
            assert left_over(disk) == set()
        assert outcomes == {True, False}

    @_EVERY
    def test_an_approximate_index_is_whole_or_the_one_before(self, disk, source, every):
        pytest.importorskip("faiss")
        from msedge.search.stores import build_approximate

        gallery, outcomes = disk.root / "g.msedge", set()
        shutil.copy(source, gallery)
        build_approximate(gallery, recall=0.9, force=True)
        before = _same_hits(gallery)
        for kilobytes in amounts(1000, 100, every):
            disk.leave(kilobytes)
            outcomes.add(refused(lambda: build_approximate(gallery, recall=0.9, force=True)))
            assert _same_hits(gallery) == before
            assert is_sound(gallery)
            names = {name for name in disk.names() if name.startswith("g.msedge.approximate/")}
            assert len(names) == 5, names
        assert outcomes == {True, False}

    @_EVERY
    def test_what_is_salvaged_is_whole_or_not_there(self, disk, source, every):
        gallery, outcomes = disk.root / "g.msedge", set()
        content = bytearray(source.read_bytes())
        content[-8192 * 3 : -8192 * 2] = b"\xaa" * 8192
        salvaged = gallery.with_name(gallery.name + "-salvaged")
        for kilobytes in amounts(2400, 160, every):
            disk.empty()
            gallery.write_bytes(content)
            disk.leave(kilobytes)
            is_full = refused(lambda: check_gallery(gallery, repair=True))
            outcomes.add(is_full)
            assert salvaged.exists() != is_full
            disk.make_room()
            if is_full:
                check_gallery(gallery, repair=True)
            assert is_sound(salvaged)
            assert gallery.read_bytes() == content
        assert outcomes == {True, False}


def _same_hits(gallery: Path) -> list[int]:
    with closing(open_store(gallery)) as file:
        vector = next(file.blocks()).photos[3].vector.astype(np.float32)
        return [
            found.id
            for found in file.view().search(vector, 5, filters=None, without=(), together=False)
        ]


def test_a_run_that_ends_on_a_full_disk_can_be_followed_by_a_search(disk, photos):
    """The log was not moved into the file: the gallery is sound, and not called damaged."""
    gallery = disk.root / "g.msedge"
    run(photos, gallery)
    room = 0
    for kilobytes in range(100, 420, 20):
        disk.empty()
        disk.leave(kilobytes)
        if not refused(lambda: run(photos, gallery)):
            room = kilobytes
            break
    assert gallery.with_name("g.msedge-wal").stat().st_size, f"with {room} kB all was moved"
    with Gallery.open(gallery, model=ColourEncoder()) as opened:
        assert opened.photos == 120


@pytest.mark.parametrize("kilobytes", [0, 8, 24, 64, 400])
def test_thumbnails_are_kept_where_there_is_room_and_made_anew_where_not(disk, kilobytes):
    disk.leave(kilobytes)
    cache = ThumbnailCache.beside(disk.root / "g.msedge")
    for number in range(20):
        cache.put(f"{number}", 100, bytes([number]) * 4_000)
        assert cache.get(f"{number}", 100) in (None, bytes([number]) * 4_000)
    disk.make_room()
    cache.close()
    cache = ThumbnailCache.beside(disk.root / "g.msedge")
    cache.put("more", 100, b"jpeg")
    assert cache.get("more", 100) == b"jpeg"
    cache.close()
