"""Galleries counted, made small, and given an index for approximate search.

What only a dataset of Lance has of these is in ``test_lance_upkeep.py``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading

import pytest

from made_photos import MODEL, held, ids, make, names, photo, photos
from msedge.errors import ConfigError, DataError
from msedge.locks import sole_indexer
from msedge.search.approximate.build import sole_builder
from msedge.search.stores import build_approximate, check_gallery, open_store
from msedge.search.stores.reports import Finding, Problem, StoppedError, Watched, examples
from msedge.search.thumbnails import ThumbnailCache


def counted(path, stop=None):
    with open_store(path) as store:
        return store.statistics(Watched(None, stop))


def compacted(path, watcher=None, stop=None):
    with open_store(path) as store:
        return store.compact(Watched(watcher, stop))


def stopped():
    stop = threading.Event()
    stop.set()
    return stop


class Steps:
    """Hears all steps, and does something at one."""

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


class TestStatistics:
    def test_what_it_holds(self, path):
        same = photo(1).content_hash
        make(path, [
            photo(1, "/a/1.jpg", width=30, height=20, taken=500.0),
            photo(2, "/a/2.jpg", width=20, height=30, taken=100.0),
            photo(3, "/a/b/3.jpg", width=20, height=20, taken=900.0, content_hash=same),
            photo(4, "s3://bucket/cats/4.jpg", width=31, height=30, taken=200.0),
        ])  # fmt: skip
        said = counted(path)
        assert (said.photos, said.model, said.bytes_a_vector) == (4, MODEL, 16)
        assert (said.gallery, f".{said.kind}") == (
            str(path),
            path.suffix.replace("msedge", "sqlite"),
        )
        assert said.taken == (100.0, 900.0)
        assert said.orientations == {"landscape": 2, "portrait": 1, "square": 1}
        assert said.folders == [("/a", 2), ("/a/b", 1), ("s3://bucket/cats", 1)]
        assert (said.folder_count, said.same_content) == (3, 1)
        assert said.approximate is None
        assert said.bytes_on_disk > 0
        assert said.as_dict()["model"]["name"] == MODEL.name

    def test_the_largest_folders_are_named(self, path):
        make(path, [photo(n, f"/{n % 15:02}/{n}.jpg") for n in range(15 * 3 + 4)])
        said = counted(path)
        assert said.folder_count == 15
        assert said.folders == [(f"/{n:02}", 4 if n < 4 else 3) for n in range(10)]

    def test_bytes_are_those_on_disk(self, tmp_path):
        gallery = make(tmp_path / "photos.msedge", photos(1))
        cache = ThumbnailCache.beside(gallery)
        cache.put("x", 320, b"x" * 9000)
        cache.close()
        size = gallery.stat().st_size
        thumbnails = (tmp_path / "photos.msedge.thumbnails").stat().st_size
        assert counted(gallery).bytes_on_disk == size
        assert counted(gallery).bytes_of_caches == {"thumbnails": thumbnails}
        with open_store(gallery, writable=True) as store:
            in_the_way = store.blocks(1)
            next(in_the_way)
            store.change(put=[photo(2)])
            log = (tmp_path / "photos.msedge-wal").stat().st_size
            assert store.size().on_disk == gallery.stat().st_size + log > size
            in_the_way.close()

    def test_an_empty_gallery(self, path):
        said = counted(make(path))
        assert (said.photos, said.taken, said.folders) == (0, None, [])

    def test_the_version_is_the_gallerys_and_it_can_be_stopped(self, gallery):
        with open_store(gallery, writable=True) as store:
            store.change(remove=[1])
            assert counted(gallery).version == store.version()
        with pytest.raises(StoppedError):
            counted(gallery, stopped())


class TestCompacting:
    @pytest.fixture
    def file(self, tmp_path):
        path = make(tmp_path / "photos.msedge", photos(3000))
        with open_store(path, writable=True) as store:
            store.change(remove=range(100, 2900))
        return path

    def test_no_photo_changes_and_no_id_is_given_again(self, gallery):
        with open_store(gallery, writable=True) as store:
            store.change(remove=range(50, 101))
        wanted = held(gallery)
        assert compacted(gallery).done
        assert held(gallery) == wanted
        assert check_gallery(gallery) == []
        with open_store(gallery, writable=True) as store:
            store.change(put=[photo(9000)])
            assert store.id_at(photo(9000).path) == 101

    def test_the_room_of_what_was_removed_is_given_back(self, file):
        wanted, size = held(file), file.stat().st_size
        done = compacted(file)
        assert done.bytes_before == size
        assert done.bytes_after == file.stat().st_size < size / 3
        assert held(file) == wanted
        assert names(file.parent) == {file.name}

    def test_readers_go_on_and_see_what_they_saw(self, file):
        with open_store(file) as reader:
            view, version = reader.view(), reader.version()
            blocks = reader.blocks(50)
            first = next(blocks)
            done = compacted(file)
            assert "others read the old one" in done.done[-1]
            assert first.ids + [n for block in blocks for n in block.ids] == ids(file)
            assert reader.version() == version
            assert reader.view(view).vectors.ids.tolist() == view.vectors.ids.tolist()
        open_store(file, writable=True).close()
        assert file.stat().st_size < done.bytes_before / 3

    def test_one_writer_at_a_time(self, file):
        with sole_indexer(file), pytest.raises(DataError, match="another process"):
            compacted(file)

    def test_when_it_is_stopped_the_gallery_is_as_it_was(self, file):
        wanted, stop = held(file), threading.Event()
        with pytest.raises(StoppedError):
            compacted(file, Steps("writing the file anew", stop.set), stop)
        assert held(file) == wanted
        assert check_gallery(file) == []

    @pytest.mark.skipif(sys.platform != "linux", reason="needs a file system of its own")
    def test_a_full_disk_is_said_in_a_line_and_the_gallery_stays(self, tmp_path):
        make(tmp_path / "photos.msedge", photos(4000))
        (tmp_path / "small").mkdir()
        mounted = "mount -t tmpfs -o size=1200k none small && cp photos.msedge small"
        if subprocess.run(["unshare", "-rm", "sh", "-c", mounted], cwd=tmp_path).returncode:
            pytest.skip("no file system can be mounted here")
        (tmp_path / "compact.py").write_text(
            "from pathlib import Path\n"
            "from msedge import MSEdgeError\n"
            "from msedge.search.stores import check_gallery, open_store\n"
            "from msedge.search.stores.reports import Watched\n"
            "path = Path('small/photos.msedge').absolute()\n"
            "try:\n"
            "    with open_store(path) as store: store.compact(Watched())\n"
            "except MSEdgeError as error: print(error)\n"
            "print(check_gallery(path))\n"
        )
        command = f"{mounted}; {sys.executable} compact.py"
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", command], cwd=tmp_path, capture_output=True, text=True
        )
        line, findings = done.stdout.splitlines()
        assert "the disk is full" in line
        assert "as it was; make room, of which compacting needs" in line
        assert findings == "[]"


class TestIndexes:
    """Those beside a file; a dataset's own are in ``test_lance_upkeep.py``."""

    @pytest.fixture
    def file(self, tmp_path):
        return make(tmp_path / "photos.msedge", photos(1000))

    @pytest.fixture
    def folder(self, file):
        return file.with_name(file.name + ".approximate")

    def test_it_is_built_measured_and_told(self, file):
        watcher = Steps()
        built = build_approximate(file, recall=0.9, kind="ivf-sq", force=True, watcher=watcher)
        state = built.state
        assert (state.kind, state.photos, state.behind) == ("ivf-sq", 1000, 0)
        assert state.recall >= state.recall_wanted == 0.9
        assert min(state.bytes_a_vector, state.queries, state.seconds) > 0
        assert len(watcher.steps) > 3
        assert counted(file).approximate == state
        assert counted(file).bytes_of_caches["approximate"] > 1000
        assert names(file.parent) == {"photos.msedge", "photos.msedge.approximate"}

    def test_small_and_empty_galleries_need_none(self, path, gallery):
        before = names(path.parent)
        built = build_approximate(gallery)
        assert (built.state, names(path.parent)) == (None, before)
        assert "100 photos are searched exactly" in built.why_not
        empty = make(path.with_name(f"empty{path.suffix}"))
        assert build_approximate(empty, force=True).state is None

    def test_of_a_file_of_the_first_release(self, file):
        with open_store(file, writable=True) as store:
            store._writer.executescript(
                "DROP TRIGGER photos_removed; DROP INDEX photos_by_version;"
                "ALTER TABLE photos DROP COLUMN version; DROP TABLE removed;"
                "ALTER TABLE photos DROP COLUMN hubness;"
                "DELETE FROM meta WHERE key = 'identity'; PRAGMA user_version = 1;"
            )
        assert build_approximate(file, force=True).state.behind == 0

    def test_the_last_index_stays_when_it_is_stopped(self, file, folder):
        build_approximate(file, recall=0.9, force=True)
        before, stop = (folder / "about.json").read_text(), threading.Event()
        with pytest.raises(StoppedError):
            build_approximate(file, force=True, watcher=Steps("training", stop.set), stop=stop)
        assert (folder / "about.json").read_text() == before
        assert check_gallery(file) == []

    def test_one_is_built_at_a_time_and_left_alone_meanwhile(self, file, folder):
        with sole_builder(folder):
            with pytest.raises(DataError, match="another process is building"):
                build_approximate(file, force=True)
            (finding,) = check_gallery(file, repair=True)
        assert (finding.is_left, finding.what) == (False, "the approximate index is being built")
        assert check_gallery(file) == []
        assert folder.exists()

    @pytest.mark.parametrize("recall", [0, 1, 1.5, float("nan")])
    def test_a_recall_is_a_share(self, gallery, recall):
        with pytest.raises(ConfigError, match="expected a share"):
            build_approximate(gallery, recall=recall, force=True)

    def test_no_such_kind(self, gallery):
        with pytest.raises(ConfigError, match=r"hnsw|leave it out"):
            build_approximate(gallery, kind="flat", force=True)

    def test_photos_put_and_removed_since_are_behind_it(self, file):
        def put():
            with open_store(file, writable=True) as store:
                if store.count() == 1000:
                    store.change(put=[photo(n) for n in range(2000, 2003)])

        built = build_approximate(file, force=True, watcher=Steps("training", put))
        assert (built.state.photos, built.state.behind) == (1000, 3)
        with open_store(file, writable=True) as store:
            store.change(remove=[1, 2])
        assert counted(file).approximate.behind == 5
        (finding,) = check_gallery(file)
        assert (finding.name, finding.count, finding.is_left) == ("approximate", 5, False)
        assert "5 photos behind" in finding.what

    def test_of_a_gallery_that_was_put_back_is_not_used(self, file):
        shutil.copy(file, file.with_name("earlier"))
        with open_store(file, writable=True) as store:
            store.change(remove=[1])
        build_approximate(file, force=True)
        shutil.copy(file.with_name("earlier"), file)
        (finding,) = check_gallery(file)
        assert (finding.is_left, "or of another past" in finding.what) == (True, True)
        assert counted(file).approximate is None

    def test_a_damaged_one_is_removed(self, file, folder):
        build_approximate(file, force=True)
        structure = next(folder.glob("structure-*"))
        structure.write_bytes(b"x" * structure.stat().st_size)
        assert counted(file).approximate is None
        (finding,) = check_gallery(file)
        assert (finding.name, finding.is_left, finding.can_mend) == ("approximate", True, True)
        assert folder.exists()
        assert not check_gallery(file, repair=True)[0].is_left
        assert check_gallery(file) == []
        assert names(file.parent) == {"photos.msedge"}

    def test_that_of_another_gallery_is_removed(self, file, folder):
        other = make(file.with_name("other.msedge"), photos(900))
        build_approximate(other, force=True)
        other.with_name("other.msedge.approximate").rename(folder)
        assert counted(file).approximate is None
        assert "of another gallery" in check_gallery(file, repair=True)[0].what
        assert names(file.parent) == {"photos.msedge", "other.msedge"}

    def test_what_a_killed_first_build_left_goes(self, file, folder):
        folder.mkdir()
        (folder / "vectors-12345678").write_bytes(b"half")
        assert not check_gallery(file, repair=True)[0].is_left
        assert names(file.parent) == {"photos.msedge"}

    def test_is_due_once_and_again_when_a_tenth_has_changed(self, file):
        with open_store(file, writable=True) as store:
            assert (store.is_index_due(), store.is_index_due(1001)) == (False, False)
            assert store.is_index_due(1000)
            build_approximate(file, force=True)
            assert not store.is_index_due(1000)
            store.change(put=[photo(n) for n in range(2000, 2080)])
            assert not store.is_index_due(100)
            store.change(remove=range(1, 40))
            assert store.is_index_due(100)


class TestReports:
    def test_examples_are_few_and_on_one_line(self):
        assert examples(["a\nb", "c"]) == "a\\nb, c"
        assert examples(range(9)) == "0, 1, 2, ..."

    def test_a_problem_is_mended_by_its_work(self):
        problem = Problem.found("vectors", "two", 2, "removes them", lambda: "removed")
        assert problem.finding.can_mend
        assert problem.mended() == Finding("vectors", "two", 2, "removed", True, is_mended=True)
        assert Problem.found("meta", "one", 1, "index again").mended().is_left
        assert not Problem.noted("busy", "one", 1, "wait").finding.is_left
