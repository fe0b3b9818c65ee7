from __future__ import annotations

import datetime
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from encoders import ColourEncoder
from galleries import COLOURS, make_gallery, new_photo, photo
from msedge.errors import DataError
from msedge.search.filters import Filters
from msedge.search.gallery_file import GalleryFile

ENCODER = ColourEncoder()


@pytest.fixture
def file(tmp_path):
    """Ten photos: two of each of five colours, ids 1 to 10, a day each."""
    pictures = {
        f"{mark}/{colour}.png": photo(colour, mark=8 * mark)
        for mark in (0, 1)
        for colour in COLOURS
    }
    with GalleryFile.open(make_gallery(tmp_path, pictures), writable=True) as file:
        yield file


def hits(view, query, k=3, *, filters=None, without=(), together=False):
    found = view.search(query, k, filters=filters, without=without, together=together)
    return [each.id for each in found]


class TestSearch:
    def test_the_photo_itself_comes_first(self, file):
        view = file.view()
        for number in range(1, 11):
            assert hits(view, view.vector(number))[0] == number

    def test_only_photos_that_match(self, file, tmp_path):
        view, days = file.view(), (datetime.date(1970, 1, 3), datetime.date(1970, 1, 4))
        query = view.vector(1)
        assert set(hits(view, query, 9, filters=Filters(after=days[0], before=days[1]))) == {3, 4}
        below = Filters(folder=tmp_path / "photos" / "1")
        assert set(hits(view, query, 9, filters=below)) == {6, 7, 8, 9, 10}
        assert hits(view, query, 9, filters=Filters(folder=tmp_path / "elsewhere")) == []

    def test_photos_that_are_not_wanted(self, file):
        view = file.view()
        assert hits(view, view.vector(4), 9, without=(4, 999))[0] != 4
        assert len(hits(view, view.vector(4), 99, without=(4,))) < 10

    def test_many_threads_and_more_filters_than_are_kept(self, file):
        view = file.view()
        asked = [Filters(after=datetime.date(1969, 1, 1 + number % 28), before=day)
                 for number in range(40) for day in (datetime.date(1970, 1, 5), None)]  # fmt: skip
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda f: hits(view, view.vector(2), 99, filters=f), asked))
        assert {len(answer) for answer, filters in zip(answers, asked, strict=True)
                if filters.before} == {5}  # fmt: skip
        assert {len(answer) for answer, filters in zip(answers, asked, strict=True)
                if not filters.before} == {10}  # fmt: skip


class TestOneMoment:
    def test_the_same_view_until_something_changes(self, file, tmp_path):
        view = file.view()
        assert file.view(view) is view
        assert file.is_current(view)
        picture = tmp_path / "photos" / "new.png"
        photo("red", mark=3).save(picture)
        file.put([new_photo(picture, ENCODER)])
        assert not file.is_current(view)
        after = file.view(view)
        assert after is not view
        assert after.version == view.version + 1
        assert view.vector(11) is None
        np.testing.assert_allclose(np.linalg.norm(after.vector(11)), 1, atol=1e-6)

    def test_a_photo_that_went_is_not_shown(self, file):
        view = file.view()
        file.remove([5])
        assert [each.id for each in view.photos([4, 5, 6])] == [4, 6]
        assert view.photos([]) == []
        assert 5 in hits(view, view.vector(5))
        assert 5 not in hits(file.view(view), view.vector(5), 99)


class TestReadingAll:
    def test_blocks_hold_everything_in_order(self, file):
        blocks = list(file.blocks(rows=4))
        assert [len(block.ids) for block in blocks] == [4, 4, 2]
        ids = [number for block in blocks for number in block.ids]
        photos = [each for block in blocks for each in block.photos]
        assert ids == list(range(1, 11))
        assert [each.path for each in photos] == [each.path for each in file.photos()]
        np.testing.assert_array_equal(np.stack([p.vector for p in photos]), file.vectors()[1])

    def test_blocks_are_of_one_commit(self, file):
        blocks = file.blocks(rows=4)
        first = next(blocks)
        file.remove([9])
        assert sum(len(block.ids) for block in [first, *blocks]) == 10

    def test_by_path(self, file, tmp_path):
        assert file.id_at(tmp_path / "photos" / "1" / "red.png") == 6
        assert file.id_at(tmp_path / "photos" / "2" / "red.png") is None


class TestPutWithIds:
    def test_photos_keep_their_numbers(self, file, tmp_path):
        block = next(file.blocks())
        wanted = block._replace(ids=[number * 100 for number in block.ids])
        with GalleryFile.create(tmp_path / "copy.msedge", file.model) as copy:
            copy.put_with_ids(wanted)
            assert [each.id for each in copy.photos()] == wanted.ids
            np.testing.assert_array_equal(copy.vectors()[1], file.vectors()[1])
            assert len(copy.changes(0, most=99).ids) == 10

    def test_none_is_put_where_one_is_there_already(self, file):
        block = next(file.blocks())
        with pytest.raises(DataError, match="holds one of these photos already"):
            file.put_with_ids(block._replace(ids=[number + 9 for number in block.ids]))
        assert file.count() == 10
