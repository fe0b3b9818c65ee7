from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from encoders import ColourEncoder
from lance_galleries import DIM, MODEL, block, kept, made_up, make_lance
from msedge.errors import DataError, WeightsError
from msedge.search.gallery_file import GalleryFile
from msedge.search.lance import gallery as lance_gallery
from msedge.search.lance.fragments import write_fragment
from msedge.search.lance.gallery import LanceGallery
from msedge.search.store import Block


@pytest.fixture
def gallery(tmp_path):
    return make_lance(tmp_path / "a.lance", *range(1, 11))


def ids(gallery):
    return [photo.id for photo in gallery.photos()]


class TestReading:
    """Beside SQLite's gallery, which holds the same."""

    @pytest.fixture
    def both(self, tmp_path):
        held = block(9, 3, 7, 1, 12)
        odd = made_up(13, os.fsdecode(b"/photos/caf\xe9\n/13.jpg"))
        held = Block(sorted([*held.ids, 13]), [made_up(n) for n in sorted(held.ids)] + [odd])
        with GalleryFile.create(tmp_path / "a.msedge", MODEL) as file:
            file.put_with_ids(held)
        LanceGallery.create(tmp_path / "a.lance", MODEL).put(held)
        lance, file = LanceGallery.open(tmp_path / "a.lance"), GalleryFile.open(file.path)
        with lance, file:
            yield lance, file

    def test_gives_the_same_photos(self, both):
        lance, file = both
        assert lance.count() == file.count() == 6
        assert lance.photos() == file.photos()
        for asked in ([12, 1, 5, 1], [], [0, -1, 2**63, 2**70, 3], range(2000)):
            assert lance.photos(list(asked)) == file.photos(list(asked))

    def test_gives_the_same_places_and_folders(self, both):
        lance, file = both
        assert lance.places() == file.places()
        assert lance.folders() == file.folders()
        for photo in file.photos():
            assert lance.id_at(photo.path) == photo.id
        assert lance.id_at(Path("/photos/none.jpg")) is None

    def test_gives_the_same_blocks(self, both):
        for rows in (1, 4, 4096):
            for ours, theirs in zip(both[0].blocks(rows), both[1].blocks(rows), strict=True):
                assert ours.ids == theirs.ids
                for one, other in zip(ours.photos, theirs.photos, strict=True):
                    assert one.vector.tobytes() == other.vector.tobytes()
                    assert kept(one, 1) == kept(other, 1)

    def test_gives_nothing_of_an_empty_gallery(self, tmp_path):
        empty = LanceGallery.create(tmp_path / "a.lance", MODEL)
        assert (empty.count(), empty.photos(), empty.places(), empty.folders()) == (0, [], {}, [])
        assert list(empty.blocks()) == []
        assert empty.id_at(Path("/a")) is None

    def test_gives_blocks_of_one_moment_while_photos_are_put(self, gallery):
        reading = gallery.blocks(3)
        first = next(reading)
        gallery.put(block(11, 1, ids=[1, 11]))
        assert first.ids + [number for rest in reading for number in rest.ids] == [*range(1, 11)]


class TestPut:
    def test_replaces_the_photo_of_an_id(self, gallery):
        gallery.put(Block([4], [made_up(44)]))
        assert gallery.photos([4]) == [kept(made_up(44), 4)]
        assert gallery.count() == 10
        assert gallery.id_at(made_up(4).path) is None

    def test_replaces_the_photo_of_a_path(self, gallery):
        gallery.put(Block([20], [made_up(44, made_up(4).path)]))
        assert gallery.photos([4, 20]) == [kept(made_up(44, made_up(4).path), 20)]
        assert gallery.count() == 10

    def test_replaces_two_photos_by_one_that_has_the_id_of_one_and_the_path_of_the_other(
        self, gallery
    ):
        gallery.put(Block([4], [made_up(44, made_up(5).path)]))
        assert ids(gallery) == [1, 2, 3, 4, 6, 7, 8, 9, 10]

    def test_of_many_photos_replaces_them_all(self, tmp_path):
        count = 700  # more than fit into a filter
        gallery = make_lance(tmp_path / "a.lance", *range(1, count + 1))
        moved = [made_up(number, f"/moved/{number}.jpg") for number in range(1, count + 1)]
        gallery.put(Block(list(range(1, count + 1)), moved))
        assert gallery.folders() == [(Path("/moved"), count)]
        gallery.put(Block(list(range(1001, 1001 + count)), moved))
        assert (gallery.count(), ids(gallery)[0]) == (count, 1001)

    def test_is_one_version(self, gallery):
        before = gallery.version()
        gallery.put(Block([4], [made_up(44, made_up(5).path)]))
        assert gallery.version() == before + 1

    def test_of_nothing_changes_nothing(self, gallery):
        before = gallery.version()
        gallery.put(Block([], []))
        assert gallery.version() == before


class TestIds:
    def test_are_reserved_once(self, gallery):
        assert [gallery.reserve_ids(count) for count in (1, 5, 2)] == [11, 12, 17]
        with LanceGallery.open(gallery.path, writable=True) as other:
            assert other.reserve_ids(1) == 19

    def test_of_removed_photos_are_not_given_again(self, gallery):
        gallery.put(Block([50], [made_up(50)]))
        gallery.commit([], removing=ids(gallery))
        assert gallery.reserve_ids(1) == 51

    def test_of_a_new_gallery_begin_at_1(self, tmp_path):
        assert LanceGallery.create(tmp_path / "a.lance", MODEL).reserve_ids(3) == 1


class TestCommit:
    def test_adds_and_removes_at_once(self, gallery):
        before = gallery.version()
        fragments = write_fragment(gallery.path, DIM, block(11, 12))
        fragments += write_fragment(gallery.path, DIM, block(13))
        gallery.commit(fragments, removing=[2, 3, 999])
        assert ids(gallery) == [1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
        assert gallery.version() == before + 1

    def test_removes_everything_and_goes_on(self, gallery):
        gallery.commit([], removing=range(1, 11))
        assert gallery.count() == 0
        gallery.commit(write_fragment(gallery.path, DIM, block(11)))
        assert ids(gallery) == [11]

    def test_is_refused_where_another_has_changed_photos(self, gallery):
        with LanceGallery.open(gallery.path, writable=True) as other:
            other.put(block(11))
        with pytest.raises(DataError, match="changed by another process meanwhile"):
            gallery.commit([], removing=[1])
        assert gallery.count() == 11
        assert gallery.places()["/photos/2/11.jpg"].id == 11
        gallery.commit([], removing=[1])  # what others did is known now
        assert gallery.count() == 10

    def test_is_not_hindered_by_upkeep_and_reserved_ids(self, gallery):
        gallery.put(block(11))  # a second fragment, so that there is something to compact
        with LanceGallery.open(gallery.path, writable=True) as other:
            other.reserve_ids(5)
            other.build_index()
            other.compact()
        gallery.commit(write_fragment(gallery.path, DIM, block(12)), removing=[1])
        assert ids(gallery) == [*range(2, 13)]

    def test_after_own_changes_is_not_refused(self, gallery):
        gallery.put(block(11))
        gallery.reserve_ids(2)
        gallery.commit([], removing=[11])
        assert gallery.count() == 10


class TestAnOpenGallery:
    def test_sees_what_others_commit_within_a_second(self, gallery):
        with LanceGallery.open(gallery.path, writable=True) as other:
            view = gallery.view()
            other.put(block(11))
            begun = time.monotonic()
            while gallery.is_current(view):
                assert time.monotonic() - begun < lance_gallery.SECONDS_BETWEEN_LOOKS + 0.5
                time.sleep(0.01)
            assert gallery.view(view).photos([11]) == [kept(made_up(11), 11)]
            assert view.photos([11]) == []

    def test_gives_the_same_view_while_nothing_changes(self, gallery):
        view = gallery.view()
        assert gallery.view(view) is view
        assert gallery.is_current(view)
        gallery.put(block(11))
        assert not gallery.is_current(view)
        assert gallery.view(view) is not view

    def test_that_was_opened_to_read_writes_nothing(self, gallery):
        with LanceGallery.open(gallery.path) as reading:
            for change in (
                lambda: reading.put(block(11)),
                lambda: reading.commit([], removing=[1]),
                lambda: reading.reserve_ids(1),
            ):
                with pytest.raises(DataError, match="was opened for reading alone"):
                    change()
        assert gallery.count() == 10

    def test_says_so_once_it_is_closed(self, gallery):
        gallery.close()
        with pytest.raises(DataError, match="has been closed: open it again"):
            gallery.count()

    def test_refuses_an_encoder_of_other_weights(self, gallery):
        with pytest.raises(WeightsError, match="was made by other weights"):
            gallery.check_model(ColourEncoder())

    def test_says_so_when_it_has_been_rebuilt(self, gallery, tmp_path):
        other = type(MODEL)("another", "0" * 64, DIM)
        gallery.path.rename(tmp_path / "old.lance")
        LanceGallery.create(gallery.path, other)
        with pytest.raises(WeightsError, match="has been rebuilt with other weights"):
            gallery.now(afresh=True)
