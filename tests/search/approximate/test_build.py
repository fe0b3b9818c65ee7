"""Building: what is refused, what is told, and what stays where it does not come to its end."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading

import numpy as np
import pytest

from approximate_galleries import blocks, built, clustered, drawn, index_of
from msedge.errors import ConfigError, DataError, ShapeError
from msedge.search.approximate.build import build
from msedge.search.approximate.index import ApproximateIndex
from msedge.search.approximate.vector_files import sole_builder
from msedge.search.gallery_rows import Model

MODEL = Model("a model", "f" * 64, 8)


class Watcher:
    def __init__(self, stop=None, at=""):
        self.said, self.heard, self._stop, self._at = [], [], stop, at

    def say(self, message):
        self.said.append(message)
        if self._stop is not None and message == self._at:
            self._stop.set()

    def progress(self, done, total):
        self.heard.append((done, total))


def names(folder):
    return sorted(path.name.partition("-")[0] for path in folder.iterdir())


WHOLE = ["about.json", "ids", "lock", "structure", "vectors"]


class TestSmoke:
    def test_the_folder_holds_one_index(self, tmp_path):
        for version in (1, 2):
            built(tmp_path / "index", clustered(300, 8), version=version)
            assert names(tmp_path / "index") == WHOLE
        assert ApproximateIndex.open(tmp_path / "index").about.version == 2

    def test_the_watcher_hears_of_every_step(self, tmp_path):
        watcher = Watcher()
        built(tmp_path / "index", clustered(3000, 8), watcher=watcher, kind="ivf-pq")
        assert watcher.said == [
            "writing vectors",
            "ivf-pq: asked for",
            "training",
            "filling",
            "measuring",
        ]
        assert all(0 <= done <= total for done, total in watcher.heard)

    def test_blocks_of_any_size(self, tmp_path):
        vectors = clustered(100, 8)
        parts = [*blocks(vectors, 7)]
        parts.insert(3, (np.empty(0, np.int64), np.empty((0, 8), np.float16)))
        build(tmp_path / "index", parts, count=1, model=MODEL, version=1, recall=0.9)
        assert (ApproximateIndex.open(tmp_path / "index").vectors == vectors).all()


class TestRecallOutOfReach:
    def test_what_was_reached_is_stored_and_said(self, tmp_path, monkeypatch):
        monkeypatch.setattr("msedge.search.approximate.tuning._MOST_DEPTH", 40)
        # Without clusters, four bits for every two numbers tell too few apart.
        vectors = clustered(6000, 64, kinds=1, spread=50.0)
        watcher, queries = Watcher(), drawn(64, 64)
        options = {"kind": "ivf-pq", "watcher": watcher, "queries": queries}
        about = built(tmp_path / "index", vectors, recall=0.999, **options)
        assert 0 < about.recall_measured < about.recall_wanted == 0.999
        said = f"recall {about.recall_measured:.4f} is less than the 0.999 wanted"
        assert watcher.said[-1] == said
        assert ApproximateIndex.open(tmp_path / "index").about == about


class TestExceptions:
    @pytest.mark.parametrize(
        "vectors",
        [
            clustered(3, 7),
            clustered(4, 8),
            clustered(3, 8).astype(np.float32),
            np.full((3, 8), np.nan, np.float16),
        ],
    )
    def test_vectors_that_are_not_what_was_said(self, tmp_path, vectors):
        with pytest.raises(ShapeError):
            build(tmp_path / "index", [(np.arange(3), vectors)], count=3, model=MODEL, version=1,
                  recall=0.9)  # fmt: skip

    @pytest.mark.parametrize("ids", [([1, 2, 2],), ([3, 2, 1],), ([1, 2, 3], [3, 4, 5])])
    def test_ids_that_do_not_rise(self, tmp_path, ids):
        parts = [(np.array(each), clustered(3, 8)) for each in ids]
        with pytest.raises(DataError, match="have to rise"):
            build(tmp_path / "index", parts, count=3, model=MODEL, version=1, recall=0.9)
        assert names(tmp_path / "index") == ["lock"]

    def test_a_wrong_option_is_refused_before_anything_is_read(self, tmp_path):
        def unread():
            pytest.fail("was read")
            yield

        for options in ({"recall": 1.5}, {"recall": 0.9, "kind": "flat"}):
            with pytest.raises(ConfigError):
                build(tmp_path / "index", unread(), count=3, model=MODEL, version=1, **options)

    def test_another_builds_into_it(self, tmp_path):
        with (
            sole_builder(tmp_path / "index"),
            pytest.raises(DataError, match="another process is building"),
        ):
            built(tmp_path / "index", clustered(10, 8))

    def test_a_file_where_the_folder_should_be(self, tmp_path):
        (tmp_path / "index").write_text("")
        with pytest.raises(DataError, match="cannot write"):
            built(tmp_path / "index", clustered(10, 8))

    def test_an_error_of_who_gives_the_blocks_goes_through_and_the_old_one_stays(self, tmp_path):
        built(tmp_path / "index", clustered(10, 8))

        def broken():
            yield next(blocks(clustered(10, 8)))
            raise DataError("the gallery is damaged")

        with pytest.raises(DataError, match="the gallery is damaged"):
            build(tmp_path / "index", broken(), count=3, model=MODEL, version=2, recall=0.9)
        assert ApproximateIndex.open(tmp_path / "index").about.version == 1
        assert names(tmp_path / "index") == WHOLE


class TestStop:
    @pytest.mark.parametrize("step", ["writing vectors", "training", "filling", "measuring"])
    def test_the_old_one_stays_and_nothing_else(self, tmp_path, step):
        built(tmp_path / "index", clustered(300, 8))
        stop = threading.Event()
        watcher = Watcher(stop, step)
        vectors = clustered(6000, 8)
        about = built(tmp_path / "index", vectors, version=2, watcher=watcher, stop=stop)
        assert about is None
        assert watcher.said[-1] == step
        assert names(tmp_path / "index") == WHOLE
        assert ApproximateIndex.open(tmp_path / "index").about.version == 1


class TestFullDisk:
    @pytest.mark.parametrize("limit", [10_000, 200_000, 1_100_000])
    def test_the_old_one_stays(self, tmp_path, limit):
        vectors = clustered(40_000, 8)  # ids 320 KB, vectors 640 KB, structure about 5 MB
        index_of(tmp_path / "index", vectors[:100])
        code = (
            "import sys, resource; sys.path.insert(0, sys.argv[2])\n"
            "from pathlib import Path\n"
            "from approximate_galleries import built, clustered\n"
            "from msedge.errors import DataError\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
            "try: built(Path(sys.argv[1]), clustered(40_000, 8), version=2)\n"
            "except DataError as error: print(error)\n"
        )
        folder, tests = str(tmp_path / "index"), __file__.rpartition("/search/")[0]
        words = [sys.executable, "-c", code, folder, tests]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
        assert "make room; what stood there is untouched" in done.stdout
        assert done.stdout.count("\n") == 1
        assert ApproximateIndex.open(tmp_path / "index").about.version == 1
        assert names(tmp_path / "index") == WHOLE
        assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != limit
