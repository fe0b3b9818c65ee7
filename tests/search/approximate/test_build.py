"""Building: what is chosen, refused and told, and what stays where it does not come to its end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import approximate_galleries
from approximate_galleries import blocks, built, clustered, drawn, exactly, ids_of, index_of
from msedge.errors import ConfigError, DataError, ShapeError
from msedge.search.approximate.build import build, plan_for, remove_index, sole_builder
from msedge.search.approximate.index import ApproximateIndex
from msedge.search.stores.reports import Model, StoppedError, Watched

KINDS = ("hnsw", "ivf-sq", "ivf-pq")
WHOLE = ["about.json", "ids", "lock", "structure", "vectors"]
TESTS = str(Path(approximate_galleries.__file__).parent)


class Watcher:
    """Hears, and stops at a step, or at the first progress of it."""

    def __init__(self, stop=None, at="", progressed=False):
        self.said, self.heard = [], []
        self._stop, self._at, self._progressed = stop, at, progressed

    def say(self, message):
        raise AssertionError(message)

    def progress(self, what, done, total):
        if not self.said or self.said[-1] != what:
            self.said.append(what)
            has_begun = True
        else:
            self.heard.append((what, done, total))
            has_begun = False
        if what == self._at and has_begun != self._progressed:
            self._stop.set()


def names(folder):
    return sorted(path.name.partition("-")[0] for path in folder.iterdir())


def build_of(folder, parts, **options):
    model = Model("a model", "f" * 64, 8)
    return build(
        folder, parts, **{"count": 3, "model": model, "version": 2, "recall": 0.9} | options
    )


class TestPlan:
    @pytest.mark.parametrize(
        ("count", "dim", "recall", "kind", "lists"),
        [
            (0, 256, 0.99, "hnsw", 0),
            (49_999, 256, 0.99, "hnsw", 0),
            (50_000, 256, 0.99, "ivf-pq", 512),
            (1_000_000, 512, 0.99, "ivf-pq", 2048),
            (1_000_000, 512, 0.9, "ivf-pq", 2048),
            (1_000_000, 512, 0.997, "ivf-sq", 2048),
            (1_000_000, 31, 0.99, "ivf-sq", 2048),
            (1_000_000, 32, 0.99, "ivf-pq", 2048),
            (100_000_000, 128, 0.99, "ivf-pq", 16_384),
            (10**10, 128, 0.99, "ivf-pq", 65_536),
        ],
    )
    def test_by_size_width_and_recall(self, count, dim, recall, kind, lists):
        assert plan_for(count, dim, recall=recall)[:2] == (kind, lists)

    @given(st.integers(0, 10**9), st.sampled_from(KINDS))
    def test_what_is_asked_for_and_no_more_lists_than_photos(self, count, kind):
        chosen, lists, why = plan_for(count, 64, recall=0.99, kind=kind)
        assert (chosen, why) == (kind, "asked for")
        assert lists == 0 if kind == "hnsw" else 1 <= lists <= max(1, count // 8)

    @pytest.mark.parametrize("recall", [0.0, 1.0, -1.0, float("nan")])
    def test_a_recall_that_is_no_share(self, recall):
        with pytest.raises(ConfigError, match="expected a share below 1"):
            plan_for(10, 4, recall=recall)

    def test_no_such_kind(self):
        with pytest.raises(ConfigError, match="expected hnsw, ivf-sq, ivf-pq"):
            plan_for(10, 4, recall=0.9, kind="flat")


class TestSmoke:
    def test_the_folder_holds_one_index(self, tmp_path):
        for version in (1, 2):
            built(tmp_path / "index", clustered(300, 8), version=version)
            assert names(tmp_path / "index") == WHOLE
        assert ApproximateIndex.open(tmp_path / "index").about.version == 2

    def test_the_watcher_hears_of_every_step(self, tmp_path):
        watcher = Watcher()
        options = {"kind": "ivf-pq", "count": 4000, "recall": 0.99}
        built(tmp_path / "index", clustered(5000, 8), watched=Watched(watcher), **options)
        steps = ["writing vectors", "training", "filling", "measuring"]
        assert watcher.said == [steps[0], "ivf-pq: asked for", *steps[1:]]
        assert all(0 <= done <= total for _, done, total in watcher.heard)
        ends = {step: (done, total) for step, done, total in watcher.heard}
        assert list(ends) == steps
        assert all(done == total for done, total in ends.values())
        assert watcher.heard[0] == ("writing vectors", 0, 4000)

    def test_blocks_of_any_size_and_integers(self, tmp_path):
        vectors = clustered(100, 8)
        parts = [(ids.astype(np.int32), *rest) for ids, *rest in blocks(vectors, 7)]
        parts.insert(3, (np.empty(0, np.int64), np.empty((0, 8), np.float16), np.empty(0)))
        build_of(tmp_path / "index", parts)
        index = ApproximateIndex.open(tmp_path / "index")
        assert (index.vectors == vectors).all()
        assert index.ids.tolist() == ids_of(100).tolist()


class TestRecall:
    @pytest.mark.parametrize("kind", KINDS)
    def test_what_is_stored_is_that_of_an_independent_count(self, tmp_path, kind):
        vectors, queries = clustered(20_000, 24), drawn(60, 24)
        index = index_of(tmp_path / "index", vectors, kind=kind, recall=0.9, queries=queries)
        right = sum(
            len(set(index.nearest(query, 20)[0].tolist()) & set(exactly(vectors, query, 20)[0]))
            for query in queries
        )
        assert index.about.sample == 60
        assert right / 1200 == pytest.approx(index.about.recall_measured, abs=1e-9)
        assert right / 1200 >= 0.95  # half of what may be missed is kept back for other queries

    def test_a_higher_one_takes_more_effort(self, tmp_path):
        low, high = (
            built(tmp_path / str(recall), clustered(20_000, 24), kind="ivf-pq", recall=recall)
            for recall in (0.3, 0.999)
        )
        assert low.parameters == {"lists": 256, "width": 8, "depth": 100}
        assert high.parameters["width"] > 8
        assert high.parameters["depth"] > 100
        assert low.recall_measured < 0.999 <= high.recall_measured

    @pytest.mark.parametrize(("kind", "width"), [("hnsw", 2048), ("ivf-pq", 256)])
    def test_what_was_reached_is_stored_and_said(self, tmp_path, monkeypatch, kind, width):
        monkeypatch.setattr("msedge.search.approximate.build._MOST_DEPTH", 0)
        monkeypatch.setattr("msedge.search.approximate.build._ROUNDING", -1.0)  # nothing is right
        # Without clusters, four bits for every two numbers tell too few apart.
        watcher, vectors = Watcher(), clustered(12_000, 64, kinds=1, spread=50.0)
        options = {"kind": kind, "watched": Watched(watcher), "queries": drawn(4, 64)}
        about = built(tmp_path / "index", vectors, recall=0.999, **options)
        assert about.recall_measured < about.recall_wanted == 0.999
        assert about.parameters["width"] == width
        said = f"recall {about.recall_measured:.4f} is less than the 0.999 wanted"
        assert watcher.said[-1] == said
        assert ApproximateIndex.open(tmp_path / "index").about == about

    @pytest.mark.parametrize("count", [0, 10])
    def test_without_queries_or_photos_nothing_is_measured(self, tmp_path, count):
        queries = drawn(5, 8)[: 0 if count else 5]
        about = built(tmp_path / "index", clustered(count, 8), queries=queries)
        assert (about.sample, about.recall_measured) == (0, 1)


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
            build_of(tmp_path / "index", [(np.arange(3), vectors, np.zeros(3))])

    @pytest.mark.parametrize(
        ("ids", "said"),
        [
            (([1, 2, 2],), "after 2 came 2"),
            (([3, 2, 1],), "after 3 came 2"),
            (([1, 2, 3], [3, 4, 5]), "after 3 came 3"),
        ],
    )
    def test_ids_that_do_not_rise(self, tmp_path, ids, said):
        parts = [(np.array(each), clustered(3, 8), np.zeros(3)) for each in ids]
        with pytest.raises(DataError, match=f"have to rise, {said}"):
            build_of(tmp_path / "index", parts)
        assert names(tmp_path / "index") == ["lock"]

    @pytest.mark.parametrize("options", [{"recall": 1.5}, {"kind": "flat"}])
    def test_a_wrong_option_is_refused_before_anything_is_read(self, tmp_path, options):
        def unread():
            pytest.fail("was read")
            yield

        with pytest.raises(ConfigError):
            build_of(tmp_path / "index", unread(), **options)
        assert not (tmp_path / "index").exists()

    def test_another_builds_into_it(self, tmp_path):
        with (
            sole_builder(tmp_path / "index"),
            pytest.raises(DataError, match="another process is building"),
        ):
            built(tmp_path / "index", clustered(10, 8))
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
            build_of(tmp_path / "index", broken())
        assert ApproximateIndex.open(tmp_path / "index").about.version == 1
        assert names(tmp_path / "index") == WHOLE


class TestFolder:
    def test_what_killed_builds_left_is_removed_and_nothing_else(self, tmp_path):
        folder, others = tmp_path / "index", {"ids-01234567", "ids-0123abcd.txt", "thesis.txt"}
        (folder / "ids-01234567").mkdir(parents=True)
        ours = ("ids-0123abcd", "vectors-0123abcd", "structure-0123abcd", ".about-0123abcd.json")
        for name in (*ours, "ids-0123abcd.txt", "thesis.txt"):
            (folder / name).write_text("something")

        def given():  # what was left makes room before more is written
            assert not (folder / "ids-0123abcd").exists()
            yield from blocks(clustered(50, 8))

        build_of(folder, given())
        kept = {path.name for path in folder.iterdir()}
        assert others <= kept
        assert sorted(name.partition("-")[0] for name in kept - others) == WHOLE
        remove_index(folder)
        assert {path.name for path in folder.iterdir()} == others

    def test_removing_all_that_there_is_removes_the_folder(self, tmp_path):
        built(tmp_path / "index", clustered(50, 8))
        remove_index(tmp_path / "index")
        assert not (tmp_path / "index").exists()

    @pytest.mark.parametrize("damaged", [b"[" * 10_000, b"[]", b'{"files": 1}', b"\xff", "a pipe"])
    def test_one_is_built_over_a_damaged_one(self, tmp_path, damaged):
        built(tmp_path / "index", clustered(50, 8))
        about = tmp_path / "index" / "about.json"
        about.unlink()
        if damaged == "a pipe":
            os.mkfifo(about)
        else:
            about.write_bytes(damaged)
        built(tmp_path / "index", clustered(60, 8))
        assert ApproximateIndex.open(tmp_path / "index").about.count == 60
        assert names(tmp_path / "index") == WHOLE


class TestStop:
    @pytest.mark.parametrize("progressed", [False, True])
    @pytest.mark.parametrize("step", ["writing vectors", "training", "filling", "measuring"])
    def test_the_old_one_stays_and_nothing_else(self, tmp_path, step, progressed):
        built(tmp_path / "index", clustered(300, 8))
        stop = threading.Event()
        watcher = Watcher(stop, step, progressed)
        options = {"version": 2, "watched": Watched(watcher, stop), "kind": "ivf-sq"}
        with pytest.raises(StoppedError):
            built(tmp_path / "index", clustered(6000, 8), **options)
        assert watcher.said[-1] == step
        assert len([done for name, done, _ in watcher.heard if name == step]) == progressed
        assert names(tmp_path / "index") == WHOLE
        assert ApproximateIndex.open(tmp_path / "index").about.version == 1


def process(code, *words):
    environment = {**os.environ, "PYTHONPATH": TESTS}
    program = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize("limit", [10_000, 200_000, 1_100_000])
def test_a_full_disk_leaves_the_old_one(tmp_path, limit):
    built(tmp_path / "index", clustered(100, 8))
    code = (  # ids are 320 KB, vectors 640 KB, the structure about 5 MB
        "import sys, resource; from pathlib import Path\n"
        "from approximate_galleries import built, clustered\n"
        "from msedge.errors import DataError\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try: built(Path(sys.argv[1]), clustered(40_000, 8), version=2)\n"
        "except DataError as error: print(error)\n"
    )
    said, _ = process(code, tmp_path / "index").communicate(timeout=120)
    assert "make room; what stood there is untouched" in said
    assert said.count("\n") == 1
    assert ApproximateIndex.open(tmp_path / "index").about.version == 1
    assert names(tmp_path / "index") == WHOLE


def test_a_kill_at_any_moment_leaves_the_old_one_or_the_new_one(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from approximate_galleries import built, clustered\n"
        "vectors, version = clustered(6000, 8), int(sys.argv[2])\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    version += 1\n"
        "    built(Path(sys.argv[1]), vectors, version=version, kind='ivf-pq', recall=0.5)\n"
        "    print(version, flush=True)\n"
    )
    folder, vectors = tmp_path / "index", clustered(6000, 8)
    built(folder, vectors, version=0)
    moments, last = random.Random(3), 0
    for _ in range(8):
        builder = process(code, folder, last)
        assert builder.stdout.readline() == "ready\n"
        begun = time.monotonic()
        told = [int(builder.stdout.readline()) for _ in range(moments.randint(1, 2))]
        # Somewhere within the next one, however fast the machine is.
        time.sleep(moments.uniform(0.0, (time.monotonic() - begun) / len(told)))
        builder.send_signal(signal.SIGKILL)
        told += [int(line) for line in builder.stdout.read().split()]
        builder.wait()
        index, newest = ApproximateIndex.open(folder), max([last, *told])
        # What was told is there; the one after it may be.
        assert index.about.version in (newest, newest + 1)
        last = index.about.version
        assert len(index.nearest(drawn(1, 8)[0], 20)[0]) == 20
        assert (index.vectors == vectors).all()
    assert last > 0
    built(folder, clustered(10, 8), version=99)
    assert names(folder) == WHOLE
