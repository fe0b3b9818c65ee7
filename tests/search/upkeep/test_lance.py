"""Checks and upkeep of real Lance datasets, damaged by writing over their files."""

from __future__ import annotations

import os
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from kept_galleries import MODEL, beside, held, make, photo, photos
from msedge.errors import DataError
from msedge.search.lance.fragments import write_fragment
from msedge.search.lance.gallery import LanceGallery
from msedge.search.lance.schema import table_of
from msedge.search.store import Block
from msedge.search.upkeep.approximating import build_approximate
from msedge.search.upkeep.checking import check_gallery
from msedge.search.upkeep.compacting import compact_gallery
from msedge.search.upkeep.statistics import gallery_statistics


@pytest.fixture
def gallery(tmp_path):
    """Of three fragments."""
    path = make(tmp_path / "photos.lance", photos(100))
    with LanceGallery.open(path, writable=True) as opened:
        for start in (100, 200):
            numbers = range(start, start + 100)
            opened.put(Block([n + 1 for n in numbers], [photo(n) for n in numbers]))
    return path


def append(gallery, block, /, **columns):
    """Add rows behind the gallery's back, with some columns as they are given."""
    rows = table_of(block, MODEL.dim)
    for name, values in columns.items():
        field = rows.schema.field(name)
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, field, pa.array(values, field.type))
    lance.write_dataset(rows, str(gallery), mode="append", schema=rows.schema)


def files(path):
    """The files of a dataset and what they say, but for its hint where the newest version is."""
    return {each: each.read_bytes() for each in path.rglob("*") if each.is_file()}


def only(findings):
    (finding,) = findings
    return finding


def checked_and_mended(path, name):
    """The one finding of that name; it changes nothing, is mended, and stays mended."""
    before = files(path)
    finding = only(check_gallery(path))
    assert (finding.name, finding.is_left, finding.can_mend) == (name, True, True)
    assert files(path) == before
    mended = only(check_gallery(path, repair=True))
    assert (mended.name, mended.is_left) == (name, False)
    assert check_gallery(path) == []
    return finding


class TestChecking:
    def test_nothing_is_found_and_nothing_is_changed(self, gallery):
        before = files(gallery)
        assert check_gallery(gallery) == []
        assert check_gallery(gallery, repair=True) == []
        assert files(gallery) == before

    def test_an_empty_gallery(self, tmp_path):
        assert check_gallery(make(tmp_path / "a.lance", []), photos=True) == []

    def test_no_gallery(self, tmp_path):
        with pytest.raises(DataError, match="no gallery"):
            check_gallery(tmp_path / "a.lance")
        (tmp_path / "a.lance").mkdir()
        with pytest.raises(DataError, match="not a gallery"):
            check_gallery(tmp_path / "a.lance")
        lance.write_dataset(pa.table({"x": [1]}), str(tmp_path / "b.lance"))
        with pytest.raises(DataError, match="not a gallery"):
            check_gallery(tmp_path / "b.lance", repair=True)

    @pytest.mark.parametrize("value", [np.nan, np.inf, 0, 0.36])
    def test_vectors_that_no_search_can_use(self, gallery, value):
        wanted = held(gallery)
        block = Block([500, 501], [photo(500), photo(501)])
        vectors = [np.full(MODEL.dim, value, np.float16)] * 2
        append(gallery, block, vector=vectors)
        self.mark(gallery, 501)
        assert checked_and_mended(gallery, "vectors").count == 2
        assert held(gallery) == wanted

    @pytest.mark.parametrize("path", [b"a.jpg", b""])
    def test_paths_that_are_not_absolute(self, gallery, path):
        wanted = held(gallery)
        append(gallery, Block([500], [photo(500)]), path=[path])
        self.mark(gallery, 500)
        checked_and_mended(gallery, "paths")
        assert held(gallery) == wanted

    @pytest.mark.parametrize("columns", [{"id": [-4]}, {"size": [-1]}, {"taken": [np.nan]}])
    def test_fields_that_cannot_be(self, gallery, columns):
        wanted = held(gallery)
        append(gallery, Block([500], [photo(500)]), **columns)
        self.mark(gallery, 500)
        checked_and_mended(gallery, "fields")
        assert held(gallery) == wanted

    def test_the_newest_of_rows_of_one_id_or_path_stays(self, gallery):
        wanted = {row[0]: row for row in held(gallery)}
        append(gallery, Block([5], [photo(900)]))  # another path under an id that is taken
        append(gallery, Block([600], [photo(20, size=77)]))  # the path of id 21
        append(gallery, Block([5], [photo(901)]))
        self.mark(gallery, 600)
        assert checked_and_mended(gallery, "repeated").count == 5
        after = {row[0]: row for row in held(gallery)}
        assert set(after) == set(wanted) - {21} | {600}
        assert after[5][1] == os.fsencode(photo(901).path)
        assert after[600][2] == 77
        assert all(after[n] == wanted[n] for n in set(wanted) - {5, 21})

    def test_ids_that_could_be_given_again(self, gallery):
        append(gallery, Block([4000], [photo(4000)]))
        checked_and_mended(gallery, "ids")
        with LanceGallery.open(gallery, writable=True) as opened:
            assert opened.reserve_ids(1) > 4000

    def test_several_things_at_once(self, gallery):
        wanted = held(gallery)
        append(gallery, Block([500], [photo(500)]), taken=[np.nan])
        append(gallery, Block([501], [photo(501)]), path=[b"x"])
        assert {each.name for each in check_gallery(gallery)} == {"fields", "paths", "ids"}
        assert not any(each.is_left for each in check_gallery(gallery, repair=True))
        assert check_gallery(gallery) == []
        assert held(gallery) == wanted

    @pytest.mark.parametrize("damage", ["noise", "cut", "gone"])
    def test_a_damaged_file_costs_its_own_photos_alone(self, gallery, damage):
        wanted = held(gallery)
        fragment = lance.dataset(str(gallery)).get_fragments()[1]
        path = gallery / "data" / fragment.metadata.files[0].path
        if damage == "gone":
            path.unlink()
        elif damage == "cut":
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size // 2)
        else:
            size = path.stat().st_size
            path.write_bytes(np.random.default_rng(0).bytes(size))
        finding = checked_and_mended(gallery, "damage")
        assert finding.count == 100
        assert held(gallery) == [row for row in wanted if not 100 < row[0] <= 200]

    def test_a_newest_version_that_cannot_be_read(self, gallery):
        newest = min((gallery / "_versions").glob("*.manifest"))
        newest.write_bytes(os.urandom(newest.stat().st_size))
        before = files(gallery)
        finding = only(check_gallery(gallery, repair=True))
        assert (finding.name, finding.is_left, finding.can_mend) == ("damage", True, False)
        assert "\n" not in finding.what
        assert files(gallery) == before

    def test_half_a_copy_goes(self, gallery):
        half = gallery.with_name("photos.lance-new")
        (half / "data").mkdir(parents=True)
        assert check_gallery(gallery)[0].is_left
        assert not check_gallery(gallery, repair=True)[0].is_left
        assert beside(gallery.parent) == {"photos.lance"}

    def test_photos_that_the_index_does_not_know_are_told(self, gallery):
        build_approximate(gallery, recall=0.9, force=True)
        assert check_gallery(gallery) == []
        with LanceGallery.open(gallery, writable=True) as opened:
            opened.put(Block([500], [photo(500)]))
        finding = only(check_gallery(gallery))
        assert (finding.name, finding.count, finding.is_left) == ("unindexed", 1, False)

    def test_files_of_photos(self, gallery):
        finding = only(check_gallery(gallery, photos=True))
        assert (finding.name, finding.count) == ("missing", 300)

    def mark(self, path, largest):
        """Say that ids up to one were given, as whoever puts photos does."""
        with LanceGallery.open(path, writable=True) as opened:
            opened.reserve_ids(largest + 1)


class TestUpkeep:
    def test_statistics(self, gallery):
        statistics = gallery_statistics(gallery)
        assert (statistics.kind, statistics.photos) == ("lance", 300)
        assert statistics.lance["fragments"] == 3
        assert statistics.lance["versions"] >= 3
        assert statistics.approximate is None
        size = sum(each.stat().st_size for each in gallery.rglob("*") if each.is_file())
        assert statistics.bytes_on_disk == size

    def test_compacting(self, gallery):
        wanted = held(gallery)
        compacted = compact_gallery(gallery)
        assert compacted.done[0] == "fragments: 3 before, 1 now"
        assert held(gallery) == wanted

    def test_an_index_is_built_measured_and_brought_up_to_date(self, gallery):
        built = build_approximate(gallery, recall=0.9, force=True)
        assert built.state.recall >= 0.9
        assert (built.state.recall_wanted, built.state.photos, built.state.behind) == (0.9, 300, 0)
        with LanceGallery.open(gallery, writable=True) as opened:
            fragments = write_fragment(gallery, MODEL.dim, Block([400], [photo(400)]))
            opened.commit(fragments)
        assert gallery_statistics(gallery).approximate.behind == 1
        assert "photos taken into the index: 1" in compact_gallery(gallery).done
        assert gallery_statistics(gallery).approximate.behind == 0

    def test_small_galleries_need_none(self, gallery):
        built = build_approximate(gallery)
        assert built.state is None
        assert "300 photos are searched exactly" in built.why_not
        assert gallery_statistics(gallery).approximate is None


@pytest.mark.slow  # Lance tries again for some seconds
def test_a_gallery_elsewhere_stays_as_it_is_when_it_does_not_answer(monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "x",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with pytest.raises(DataError) as error:
        check_gallery(Path("s3://bucket/photos.lance"), repair=True)
    assert "\n" not in str(error.value)
