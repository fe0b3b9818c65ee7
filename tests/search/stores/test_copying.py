"""Copies between both kinds: equal to the bit, of one moment, whole or not there."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_photos import MODEL, held, make, names, photo, photos, told, unit
from msedge.errors import ConfigError, DataError
from msedge.search.photo import COLUMNS, Block, NewPhoto
from msedge.search.stores import copy_gallery, copying, open_store, store_class
from msedge.search.stores.reports import StoppedError

KINDS = ("msedge", "lance")
BOTH_WAYS = [(one, other) for one in KINDS for other in KINDS]

_NAMES = st.binary(min_size=1, max_size=12).filter(lambda x: not set(x) & set(b"\0/"))
_LOCAL = st.lists(_NAMES.filter(lambda x: x not in (b".", b"..")), min_size=1, max_size=3).map(
    lambda parts: Path("/" + "/".join(map(os.fsdecode, parts)))
)
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_KEYS = st.lists(_TEXT.filter(lambda x: x not in ("", ".", "..") and "/" not in x), min_size=1)
_REMOTE = _KEYS.map(lambda parts: Path("s3://bucket/" + "/".join(parts[:3])))


def _values(column):
    if column.kind is Path:
        return _LOCAL | _REMOTE
    if column.kind is str:
        return _TEXT
    if column.kind is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    bits = int(column.arrow.removeprefix("int")) - 1
    return st.integers(-(2**bits) if column.least is None else column.least, 2**bits - 1)


_PHOTO = st.builds(
    NewPhoto,
    **{column.name: _values(column) for column in COLUMNS},
    vector=st.integers(0, 2**32 - 1).map(unit),
)
_HELD = st.dictionaries(st.integers(1, 2**63 - 2), _PHOTO, max_size=6).filter(
    lambda x: len({os.fsencode(each.path) for each in x.values()}) == len(x)
)


class Doing:
    """A watcher that does something when so many photos have been through a step."""

    def __init__(self, at, do, step="copying"):
        self.at, self.do, self.step = at, do, step

    def say(self, message):
        pass

    def progress(self, what, done, total):
        assert done <= total or not total
        if what == self.step and done >= self.at and self.do:
            do, self.do = self.do, None
            do()


class TestEquality:
    @pytest.mark.parametrize(("one", "other"), BOTH_WAYS)
    def test_a_copy_holds_everything_to_the_bit(self, tmp_path, one, other):
        source, target = tmp_path / f"a.{one}", tmp_path / "new" / f"b.{other}"
        target.parent.mkdir()
        make(source, photos(300), ids=range(5, 2000, 6)[:300])
        with open_store(source, writable=True) as store:
            store.write_note("parts", "2x2")
        copied = copy_gallery(source, target)
        assert (held(target), copied.photos) == (held(source), 300)
        assert copy_gallery(target, tmp_path / f"again.{one}").digest == copied.digest
        with open_store(target) as store:
            assert (store.model, store.notes()) == (MODEL, {"parts": "2x2"})
        assert names(target.parent) == {f"b.{other}"}

    @pytest.mark.parametrize(("one", "other"), BOTH_WAYS)
    def test_an_id_that_was_given_is_not_given_again_by_a_copy(self, tmp_path, one, other):
        source, target = make(tmp_path / f"a.{one}", photos(9)), tmp_path / f"b.{other}"
        with open_store(source, writable=True) as store:
            store.change(remove=[8, 9])
        copy_gallery(source, target)
        with open_store(target, writable=True) as store:
            assert (store.last_id(), store.reserve_ids(1)) == (9, 10)

    @pytest.mark.parametrize(("one", "other"), BOTH_WAYS)
    def test_an_empty_gallery_is_copied(self, tmp_path, one, other):
        source, target = make(tmp_path / f"a.{one}"), tmp_path / f"b.{other}"
        assert (copy_gallery(source, target).photos, held(target)) == (0, [])

    @settings(max_examples=25, deadline=None)
    @given(_HELD)
    def test_there_and_back_is_the_identity(self, content):
        numbers = sorted(content)
        with tempfile.TemporaryDirectory() as folder:
            first, second, third = (Path(folder) / n for n in ("a.msedge", "b.lance", "c.msedge"))
            make(first, [content[number] for number in numbers], numbers)
            wanted = [(number, *told(content[number])) for number in numbers]
            digests = {copy_gallery(first, second).digest, copy_gallery(second, third).digest}
            assert held(first) == held(second) == held(third) == wanted
            assert len(digests) == 1

    @pytest.mark.parametrize("change", ["a photo", "a bit"])
    def test_a_copy_that_differs_is_refused_and_removed(self, tmp_path, monkeypatch, change):
        def careless(block):
            if change == "a photo":
                return Block(block.ids[1:], block.photos[1:])
            vector = block.photos[4].vector.copy()
            vector.view(np.uint16)[3] ^= 1
            block.photos[4] = replace(block.photos[4], vector=vector)
            return block

        make(tmp_path / "a.msedge", photos(10))
        kind = store_class(tmp_path / "b.msedge")
        put = kind.put_with_ids
        monkeypatch.setattr(kind, "put_with_ids", lambda self, block: put(self, careless(block)))
        count = 9 if change == "a photo" else 10
        with pytest.raises(DataError, match=f"holds {count} photos that are not the 10"):
            copy_gallery(tmp_path / "a.msedge", tmp_path / "b.msedge")
        assert names(tmp_path) == {"a.msedge"}


class TestRefusals:
    def test_what_is_there_stays(self, path):
        source = make(path.with_name("a.msedge"), photos(3))
        path.write_text("a diary")
        with pytest.raises(DataError, match="is there already"):
            copy_gallery(source, path)
        assert path.read_text() == "a diary"
        assert names(path.parent) == {"a.msedge", path.name}

    def test_no_gallery(self, path):
        with pytest.raises(DataError, match="no gallery"):
            copy_gallery(path.with_name("none.msedge"), path)
        assert names(path.parent) == set()

    def test_a_file_in_an_object_store(self, tmp_path):
        make(tmp_path / "a.msedge", photos(3))
        with pytest.raises(ConfigError, match=r"ends in \.lance"):
            copy_gallery(tmp_path / "a.msedge", Path("s3://bucket/b.msedge"))

    def test_rows_that_cannot_be_are_not_copied(self, tmp_path, path):
        source = make(tmp_path / "a.msedge", photos(30))
        store = open_store(source, writable=True)
        store._writer.execute("UPDATE photos SET width = 0 WHERE id = 9")
        store.close()
        with pytest.raises(DataError, match=r"what is said of the photo .* cannot be"):
            copy_gallery(source, path)
        assert names(tmp_path) == {"a.msedge"}

    @pytest.mark.skipif(sys.platform == "win32", reason="there are no such folders")
    def test_no_folder_to_write_to(self, tmp_path, suffix):
        source = make(tmp_path / "a.msedge", photos(3))
        (tmp_path / "file").touch()
        with pytest.raises(DataError):
            copy_gallery(source, tmp_path / "file" / f"b{suffix}")
        assert names(tmp_path) == {"a.msedge", "file"}

    @pytest.mark.skipif(sys.platform != "linux", reason="needs a file system of its own")
    def test_a_full_disk_leaves_nothing_and_is_said_in_a_line(self, tmp_path, suffix):
        random_bytes = random.Random(1).randbytes
        wide = [photo(n, content_hash=random_bytes(250).hex()) for n in range(8000)]
        source = make(tmp_path / "a.msedge", wide)
        (tmp_path / "small").mkdir()
        mounted = "mount -t tmpfs -o size=1m none small && touch small/there"
        if subprocess.run(["unshare", "-rm", "sh", "-c", mounted], cwd=tmp_path).returncode:
            pytest.skip("no file system can be mounted here")
        program = (
            "import sys; from pathlib import Path\n"
            "from msedge import MSEdgeError; from msedge.search.stores import copy_gallery\n"
            "try: copy_gallery(Path(sys.argv[1]), Path(sys.argv[2]).absolute())\n"
            "except MSEdgeError as error: print(error, file=sys.stderr)\n"
        )
        (tmp_path / "copying.py_").write_text(program)
        command = f"{mounted}; {sys.executable} copying.py_ {source} small/b{suffix}; ls -A small"
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", command], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.stdout == "there\n"
        (line,) = done.stderr.splitlines()
        assert "the disk is full: make room" in line


@pytest.fixture
def small_blocks(monkeypatch):
    """What goes through at a time."""
    for name in KINDS:
        kind = store_class(Path(f"a.{name}"))
        monkeypatch.setattr(kind, "blocks", partialmethod(kind.blocks, rows=50))


@pytest.mark.usefixtures("small_blocks")
class TestWhileOthersWrite:
    @pytest.mark.parametrize(("one", "other"), BOTH_WAYS)
    def test_the_copy_is_of_one_moment(self, tmp_path, one, other):
        source, target = make(tmp_path / f"a.{one}", photos(400)), tmp_path / f"b.{other}"
        before = held(source)

        def write():
            with open_store(source, writable=True) as store:
                store.change(put=[photo(n) for n in range(1000, 1100)], remove=range(300, 390))

        copy_gallery(source, target, watcher=Doing(100, write))
        assert held(target) == before
        assert len(held(source)) == 410

    @pytest.mark.parametrize("step", ["copying", "comparing"])
    def test_stopping_leaves_nothing(self, path, step):
        source, stop = make(path.with_name("a.msedge"), photos(400)), threading.Event()
        with pytest.raises(StoppedError):
            copy_gallery(source, path, watcher=Doing(100, stop.set, step), stop=stop)
        assert names(path.parent) == {"a.msedge"}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_whatever_the_moment_of_a_kill_the_copy_is_whole_or_not_there(tmp_path, suffix):
    source, target = make(tmp_path / "a.msedge", photos(1500)), tmp_path / f"b{suffix}"
    wanted = held(source)
    copier = (
        "import sys, time; from pathlib import Path\n"
        "from msedge.search.stores import copy_gallery\n"
        "from msedge.search.stores.sqlite.store import SqliteStore\n"
        "blocks = SqliteStore.blocks\n"
        "SqliteStore.blocks = lambda self, rows=100: blocks(self, 100)\n"
        "class Slow:\n"
        "    def say(self, message): pass\n"
        "    def progress(self, what, done, total): time.sleep(0.01)\n"
        "print('begun', flush=True)\n"
        "copy_gallery(Path(sys.argv[1]), Path(sys.argv[2]), watcher=Slow())\n"
    )
    moments = random.Random(int(os.environ.get("MSEDGE_TEST_SEED", "5")))
    cut_short = 0
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", copier, source, target], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "begun\n"
            time.sleep(moments.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
        if not target.exists():
            cut_short += 1
            continue
        assert held(target) == wanted
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    assert cut_short
    if not target.exists():
        copy_gallery(source, target)
    assert held(target) == wanted
    assert names(tmp_path) == {"a.msedge", target.name}


class TestObjectStores:
    """In Lance's store in memory, which is as remote as S3 but for the network."""

    @pytest.fixture
    def bucket(self, tmp_path):
        return Path(f"shared-memory://{tmp_path.name}")

    def test_there_and_back(self, tmp_path, bucket):
        source = make(tmp_path / "a.msedge", [*photos(300), photo(300, "s3://bucket/1.jpg")])
        copy_gallery(source, bucket / "b.lance")
        copy_gallery(bucket / "b.lance", bucket / "c.lance")
        copy_gallery(bucket / "c.lance", tmp_path / "d.msedge")
        assert held(bucket / "b.lance") == held(tmp_path / "d.msedge") == held(source)
        assert names(tmp_path) == {"a.msedge", "d.msedge"}
        with open_store(tmp_path / "d.msedge") as store:
            assert store.id_at(Path("s3://bucket/1.jpg")) == 301

    def test_what_is_there_stays(self, tmp_path, bucket):
        copy_gallery(make(tmp_path / "a.msedge", photos(3)), bucket / "b.lance")
        with pytest.raises(DataError, match=r"b\.lance is there already"):
            copy_gallery(make(tmp_path / "c.msedge", photos(9)), bucket / "b.lance")
        assert len(held(bucket / "b.lance")) == 3

    @pytest.mark.usefixtures("small_blocks")
    @pytest.mark.parametrize("step", ["copying", "comparing"])
    def test_a_copy_that_is_stopped_is_not_there(self, tmp_path, bucket, step):
        source, stop = make(tmp_path / "a.msedge", photos(400)), threading.Event()
        with pytest.raises(StoppedError):
            copy_gallery(source, bucket / "b.lance", watcher=Doing(100, stop.set, step), stop=stop)
        with pytest.raises(DataError, match="no gallery"):
            held(bucket / "b.lance")
        copy_gallery(source, bucket / "b.lance")
        assert held(bucket / "b.lance") == held(source)

    def test_what_others_put_into_a_copy_before_it_is_compared_is_not_removed(
        self, tmp_path, bucket, monkeypatch
    ):
        from msedge.search.stores.lance import copying as of_lance

        def late(*arguments):
            with open_store(bucket / "b.lance", writable=True) as store:
                store.change(put=[photo(900)])
            copying.check_equal(*arguments)

        monkeypatch.setattr(of_lance, "check_equal", late)
        with pytest.raises(DataError, match="401 photos that are not the 400"):
            copy_gallery(make(tmp_path / "a.msedge", photos(400)), bucket / "b.lance")
        assert len(held(bucket / "b.lance")) == 401
