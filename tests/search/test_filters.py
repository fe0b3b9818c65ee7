from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msedge.errors import ConfigError
from msedge.search.filters import Filters, paths_below
from msedge.search.locations import whole
from msedge.search.stores import store_class
from msedge.search.stores.reports import Model
from photo_files import new_photo

JUNE_1 = datetime.datetime(2020, 6, 1, tzinfo=datetime.UTC).timestamp()
DAY = 86_400
PHOTOS = [
    new_photo("/photos/cats/a.jpg", 1, taken=JUNE_1, width=30, height=20),
    new_photo("/photos/cats/old/b.jpg", 2, taken=JUNE_1 - 1, width=20, height=30),
    new_photo("/photos/cats2/c.jpg", 3, taken=JUNE_1 + DAY - 1, width=20, height=20),
    new_photo("/photos/cats.jpg", 4, taken=JUNE_1 + DAY, width=31, height=30),
]


@pytest.fixture(scope="module", params=["photos.msedge", "photos.lance"])
def gallery(tmp_path_factory, request):
    if request.param.endswith("lance"):
        pytest.importorskip("lance")
    path = tmp_path_factory.mktemp("gallery") / request.param
    with store_class(path).create(path, Model("m", "f", 4)) as store:
        store.change(put=PHOTOS)
        yield store


def matching(gallery, **wanted):
    query = np.full(4, 0.5, np.float32)
    filters = Filters(**wanted)
    if filters.folder is not None:
        filters = replace(filters, folder=whole(filters.folder))
    hits = gallery.view().search(query, 9, filters=filters, together=False)
    return sorted(hit.id for hit in hits)


class TestFilters:
    def test_nothing_asked_is_everything(self, gallery):
        assert matching(gallery) == [1, 2, 3, 4]

    def test_a_folder_is_itself_and_below_and_no_neighbour(self, gallery):
        assert matching(gallery, folder=Path("/photos/cats")) == [1, 2]
        assert matching(gallery, folder=Path("/photos/cats/")) == [1, 2]
        assert matching(gallery, folder=Path("/photos/cats/old/../old")) == [2]
        assert matching(gallery, folder=Path("/")) == [1, 2, 3, 4]
        assert matching(gallery, folder=Path("/nowhere")) == []

    def test_a_relative_folder_counts_from_the_working_directory(self, gallery, monkeypatch):
        monkeypatch.chdir("/")
        assert matching(gallery, folder=Path("photos/cats2")) == [3]

    def test_days_are_whole_and_both_ends_are_included(self, gallery):
        day = datetime.date(2020, 6, 1)
        assert matching(gallery, after=day) == [1, 3, 4]
        assert matching(gallery, before=day) == [1, 2, 3]
        assert matching(gallery, after=day, before=day) == [1, 3]

    def test_the_ends_of_the_calendar(self, gallery):
        ends = {"after": datetime.date.min, "before": datetime.date.max}
        assert matching(gallery, **ends) == [1, 2, 3, 4]

    @pytest.mark.parametrize(
        ("orientation", "ids"), [("landscape", [1, 4]), ("portrait", [2]), ("square", [3])]
    )
    def test_orientation(self, gallery, orientation, ids):
        assert matching(gallery, orientation=orientation) == ids

    def test_all_at_once(self, gallery):
        found = matching(
            gallery, folder="/photos", after=datetime.date(2020, 6, 2), orientation="landscape"
        )
        assert found == [4]

    def test_what_cannot_match_is_refused(self):
        with pytest.raises(ConfigError, match="expected one of landscape, portrait, square"):
            Filters(orientation="upside down")
        with pytest.raises(ConfigError, match="exchange the two"):
            Filters(after=datetime.date(2020, 1, 2), before=datetime.date(2020, 1, 1))


names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=4)
paths = st.lists(names.filter(lambda name: name not in (".", "..")), min_size=1, max_size=4)


@given(paths, paths)
def test_the_range_of_a_folder_is_what_begins_with_it(folder, path):
    first, end = paths_below(Path("/" + "/".join(folder)))
    inside = path[: len(folder)] == folder and len(path) > len(folder)
    assert (first <= ("/" + "/".join(path)).encode() < end) == inside
