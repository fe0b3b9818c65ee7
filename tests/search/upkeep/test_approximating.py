"""The approximate index beside a gallery's file: built, measured, and its state told."""

from __future__ import annotations

import threading

import pytest

from kept_galleries import beside, make, photo, photos
from msedge.errors import ConfigError, DataError
from msedge.search.approximate.build import sole_builder
from msedge.search.approximate_view import folder_of, index_beside
from msedge.search.gallery_file import GalleryFile
from msedge.search.upkeep.approximating import build_approximate
from msedge.search.upkeep.checking import check_gallery
from msedge.search.upkeep.statistics import gallery_statistics
from msedge.search.upkeep.watching import StoppedError


@pytest.fixture
def gallery(tmp_path):
    return make(tmp_path / "photos.msedge", photos(1000))


class Watcher:
    def __init__(self, at=None, do=None):
        self.steps, self.at, self.do = [], at, do

    def say(self, message):
        self.steps.append(message)

    def progress(self, what, done, total):
        if what not in self.steps:
            self.steps.append(what)
        assert done <= total or not total
        if what == self.at:
            self.do()


class TestBuilding:
    def test_it_is_built_measured_and_used(self, gallery):
        watcher = Watcher()
        built = build_approximate(gallery, recall=0.9, kind="ivf-sq", force=True, watcher=watcher)
        state = built.state
        assert (state.kind, state.photos, state.behind) == ("ivf-sq", 1000, 0)
        assert state.recall >= state.recall_wanted == 0.9
        assert state.bytes_a_vector > 0
        assert len(watcher.steps) > 3
        with GalleryFile.open(gallery) as file:
            assert index_beside(file) is not None
        assert beside(gallery.parent) == {"photos.msedge", "photos.msedge.approximate"}

    def test_small_galleries_need_none(self, gallery):
        built = build_approximate(gallery)
        assert built.state is None
        assert "1,000 photos are searched exactly" in built.why_not
        assert beside(gallery.parent) == {"photos.msedge"}

    def test_an_empty_gallery_gets_none(self, tmp_path):
        path = make(tmp_path / "a.msedge", [])
        assert build_approximate(path, force=True).state is None

    def test_the_last_index_stays_when_it_is_stopped(self, gallery):
        build_approximate(gallery, recall=0.9, force=True)
        before = (folder_of(gallery) / "about.json").read_text()
        stop = threading.Event()
        watcher = Watcher("training", stop.set)
        with pytest.raises(StoppedError):
            build_approximate(gallery, recall=0.9, force=True, watcher=watcher, stop=stop)
        assert (folder_of(gallery) / "about.json").read_text() == before
        assert check_gallery(gallery) == []

    def test_one_at_a_time(self, gallery):
        with (
            sole_builder(folder_of(gallery)),
            pytest.raises(DataError, match="another process is building"),
        ):
            build_approximate(gallery, force=True)

    @pytest.mark.parametrize("recall", [0, 1, 1.5, float("nan")])
    def test_a_recall_is_a_share(self, gallery, recall):
        with pytest.raises(ConfigError, match="expected a share"):
            build_approximate(gallery, recall=recall, force=True)

    def test_no_such_kind(self, gallery):
        with pytest.raises(ConfigError, match="hnsw"):
            build_approximate(gallery, kind="flat", force=True)

    def test_kinds_are_those_of_files(self, tmp_path):
        path = make(tmp_path / "a.lance", photos(10))
        with pytest.raises(ConfigError, match="leave it out"):
            build_approximate(path, kind="hnsw", force=True)

    def test_photos_put_while_it_is_built_are_behind_it(self, gallery):
        def put():
            with GalleryFile.open(gallery, writable=True) as file:
                if file.count() == 1000:
                    file.put([photo(n) for n in range(2000, 2003)])

        built = build_approximate(gallery, force=True, watcher=Watcher("training", put))
        assert (built.state.photos, built.state.behind) == (1000, 3)


class TestState:
    def test_behind(self, gallery):
        build_approximate(gallery, force=True)
        with GalleryFile.open(gallery, writable=True) as file:
            file.put([photo(n) for n in range(2000, 2005)])
            file.remove([1, 2])
        assert gallery_statistics(gallery).approximate.behind == 7
        (finding,) = check_gallery(gallery)
        assert (finding.name, finding.count, finding.is_left) == ("approximate", 7, False)

    def test_a_damaged_index_is_removed(self, gallery):
        build_approximate(gallery, force=True)
        structure = next(folder_of(gallery).glob("structure-*"))
        structure.write_bytes(b"x" * structure.stat().st_size)
        assert gallery_statistics(gallery).approximate is None
        (finding,) = check_gallery(gallery)
        assert (finding.name, finding.is_left, finding.can_mend) == ("approximate", True, True)
        assert folder_of(gallery).exists()
        assert not check_gallery(gallery, repair=True)[0].is_left
        assert check_gallery(gallery) == []
        assert beside(gallery.parent) == {"photos.msedge"}

    def test_the_index_of_another_gallery_is_removed(self, gallery, tmp_path):
        other = make(tmp_path / "other.msedge", photos(900))
        build_approximate(other, force=True)
        folder_of(other).rename(folder_of(gallery))
        assert gallery_statistics(gallery).approximate is None
        assert "of another gallery" in check_gallery(gallery, repair=True)[0].what
        assert beside(tmp_path) == {"photos.msedge", "other.msedge"}

    def test_one_that_is_being_built_is_left_alone(self, gallery):
        with sole_builder(folder_of(gallery)):
            (finding,) = check_gallery(gallery, repair=True)
        assert (finding.is_left, finding.what) == (False, "the approximate index is being built")
        assert folder_of(gallery).exists()

    def test_what_a_killed_first_build_left_goes(self, gallery):
        folder = folder_of(gallery)
        folder.mkdir()
        (folder / "vectors-12345678").write_bytes(b"half")
        assert not check_gallery(gallery, repair=True)[0].is_left
        assert beside(gallery.parent) == {"photos.msedge"}
