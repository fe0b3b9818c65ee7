"""Copies: equal to the bit, of one moment, whole or not there."""

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
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kept_galleries import MODEL, beside, held, make, photo, photos, unit
from msedge.errors import ConfigError, DataError
from msedge.search.gallery_file import GalleryFile, NewPhoto
from msedge.search.locations import whole
from msedge.search.open_store import open_store
from msedge.search.store import Block
from msedge.search.upkeep import copying, copying_to_lance
from msedge.search.upkeep.checking import check_gallery
from msedge.search.upkeep.compacting import compact_gallery
from msedge.search.upkeep.copying import copy_gallery
from msedge.search.upkeep.statistics import gallery_statistics
from msedge.search.upkeep.watching import StoppedError

KINDS = ("msedge", "lance")
BOTH_WAYS = [(one, other) for one in KINDS for other in KINDS]

_NAMES = st.binary(min_size=1, max_size=12).filter(lambda x: not set(x) & set(b"\0/"))
_LOCAL = st.lists(_NAMES.filter(lambda x: x not in (b".", b"..")), min_size=1, max_size=3).map(
    lambda parts: Path("/" + "/".join(map(os.fsdecode, parts)))
)
_KEYS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1).filter(
        lambda x: x not in (".", "..")
    ),
    min_size=1,
    max_size=3,
)
_REMOTE = _KEYS.map(lambda parts: Path("s3://bucket/" + "/".join(parts)))
_LARGE = st.integers(-(2**63), 2**63 - 1)
_PIXELS = st.integers(1, 2**31 - 1)
_PHOTO = st.builds(
    NewPhoto,
    path=_LOCAL | _REMOTE,
    size=st.integers(0, 2**63 - 1),
    mtime_ns=_LARGE,
    content_hash=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    width=_PIXELS,
    height=_PIXELS,
    taken=st.floats(allow_nan=False, allow_infinity=False),
    vector=st.integers(0, 2**32 - 1).map(unit),
)
_HELD = st.dictionaries(
    st.integers(1, 2**63 - 2), _PHOTO, min_size=0, max_size=6
).filter(lambda x: len({os.fsencode(each.path) for each in x.values()}) == len(x))  # fmt: skip


def last_id(path):
    """The id that the next photo of a gallery gets, less one."""
    store = open_store(path, writable=True)
    if isinstance(store, GalleryFile):
        store.put([photo(77, "/new.jpg")])
        number = store.id_at(Path("/new.jpg"))
        store.close()
        return number - 1
    return store.reserve_ids(1) - 1


class TestEquality:
    @pytest.mark.parametrize(("one", "other"), BOTH_WAYS)
    def test_a_copy_holds_everything_to_the_bit(self, tmp_path, one, other):
        source, target = tmp_path / f"a.{one}", tmp_path / "new" / f"b.{other}"
        target.parent.mkdir()
        make(source, photos(300), ids=range(5, 2000, 6)[:300])
        copied = copy_gallery(source, target)
        assert held(target) == held(source)
        assert copied.photos == 300
        with open_store(target) as store:
            assert store.model == MODEL
        assert beside(target.parent) == {f"b.{other}"}

    @pytest.mark.parametrize(("one", "other"), BOTH_WAYS)
    def test_an_id_that_was_given_is_not_given_again_by_a_copy(self, tmp_path, one, other):
        source, target = tmp_path / f"a.{one}", tmp_path / f"b.{other}"
        make(source, photos(9))
        with open_store(source, writable=True) as store:
            if isinstance(store, GalleryFile):
                store.remove([8, 9])
            else:
                store.commit([], removing=[8, 9])
        copy_gallery(source, target)
        assert last_id(target) == 9

    @pytest.mark.parametrize(("one", "other"), BOTH_WAYS)
    def test_an_empty_gallery_is_copied(self, tmp_path, one, other):
        source, target = make(tmp_path / f"a.{one}", []), tmp_path / f"b.{other}"
        assert copy_gallery(source, target).photos == 0
        assert held(target) == []

    @settings(max_examples=25, deadline=None)
    @given(_HELD)
    def test_there_and_back_is_the_identity(self, content):
        with tempfile.TemporaryDirectory() as folder:
            first, second, third = (
                Path(folder) / name for name in ("a.msedge", "b.lance", "c.msedge")
            )
            ids = sorted(content)
            make(first, [content[number] for number in ids], ids)
            wanted = held(first)
            # SQLite keeps no sign of zero; what is put is otherwise what is held
            assert [row[1:] for row in wanted] == [
                (
                    os.fsencode(each.path), each.size, each.mtime_ns, each.content_hash,
                    each.width, each.height, each.taken, each.vector.tobytes(),
                )
                for each in (content[number] for number in ids)
            ]  # fmt: skip
            digests = {copy_gallery(first, second).digest, copy_gallery(second, third).digest}
            assert held(second) == wanted
            assert held(third) == wanted
            assert len(digests) == 1

    def test_a_copy_that_differs_is_refused_and_removed(self, tmp_path, monkeypatch):
        make(tmp_path / "a.msedge", photos(10))

        class Forgetful(GalleryFile):
            def put_with_ids(self, block):
                super().put_with_ids(Block(block.ids[1:], block.photos[1:]))

        monkeypatch.setattr(copying, "GalleryFile", Forgetful)
        with pytest.raises(DataError, match="holds 9 photos that are not the 10"):
            copy_gallery(tmp_path / "a.msedge", tmp_path / "b.msedge")
        assert beside(tmp_path) == {"a.msedge"}

    def test_one_bit_is_seen(self, tmp_path, monkeypatch):
        make(tmp_path / "a.msedge", photos(10))

        class Careless(GalleryFile):
            def put_with_ids(self, block):
                vector = block.photos[4].vector.copy()
                vector.view(np.uint16)[3] ^= 1
                block.photos[4] = photo(4, vector=vector)
                super().put_with_ids(block)

        monkeypatch.setattr(copying, "GalleryFile", Careless)
        with pytest.raises(DataError, match="10 photos that are not the 10"):
            copy_gallery(tmp_path / "a.msedge", tmp_path / "b.msedge")


class TestRefusals:
    @pytest.mark.parametrize("kind", KINDS)
    def test_what_is_there_stays(self, tmp_path, kind):
        source = make(tmp_path / "a.msedge", photos(3))
        target = tmp_path / f"b.{kind}"
        target.write_text("a diary")
        with pytest.raises(DataError, match="is there already"):
            copy_gallery(source, target)
        assert target.read_text() == "a diary"
        assert beside(tmp_path) == {"a.msedge", target.name}

    def test_no_gallery(self, tmp_path):
        with pytest.raises(DataError, match="no gallery"):
            copy_gallery(tmp_path / "a.msedge", tmp_path / "b.msedge")
        assert beside(tmp_path) == set()

    def test_a_file_in_an_object_store(self, tmp_path):
        source = make(tmp_path / "a.msedge", photos(3))
        with pytest.raises(ConfigError, match=r"s3://bucket/b\.msedge.*\.lance"):
            copy_gallery(source, Path("s3://bucket/b.msedge"))

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_place_that_cannot_be_written_to(self, tmp_path, kind):
        source = make(tmp_path / "a.msedge", photos(3))
        (tmp_path / "file").touch()
        with pytest.raises(DataError) as error:
            copy_gallery(source, tmp_path / "file" / f"b.{kind}")
        assert "\n" not in str(error.value)

    def test_a_gallery_is_not_copied_onto_one_that_is_being_made(self, tmp_path):
        source = make(tmp_path / "a.msedge", photos(3))
        with (
            copying.sole_indexer(tmp_path / "b.msedge"),
            pytest.raises(DataError, match="another process"),
        ):
            copy_gallery(source, tmp_path / "b.msedge")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system of its own")
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_said_in_a_line_and_nothing_is_left(tmp_path, kind):
    random_bytes = random.Random(1).randbytes
    wide = [photo(n, content_hash=random_bytes(250).hex()) for n in range(8000)]
    source, small = make(tmp_path / "a.msedge", wide), tmp_path / "small"
    small.mkdir()
    mounted = "mount -t tmpfs -o size=1m none small && touch small/there"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mounted], cwd=tmp_path).returncode:
        pytest.skip("no file system can be mounted here")
    copy = f"{sys.executable} -m msedge gallery copy {source} small/b.{kind}"
    command = f"{mounted}; {copy}; ls -A small"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "there\n"
    (line,) = done.stderr.splitlines()
    assert "the disk is full" in line


class Pausing:
    """A watcher that does something when so many photos are copied."""

    def __init__(self, at, do, step="copying"):
        self.at, self.do, self.step = at, do, step

    def say(self, message):
        pass

    def progress(self, what, done, total):  # noqa: ARG002
        if what == self.step and done >= self.at and self.do:
            do, self.do = self.do, None
            do()


class TestWhileOthersWrite:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("source_kind", KINDS)
    def test_the_copy_is_of_one_moment(self, tmp_path, monkeypatch, source_kind, kind):
        monkeypatch.setattr(copying, "_ROWS", 50)
        source, target = make(tmp_path / f"a.{source_kind}", photos(400)), tmp_path / f"b.{kind}"
        before = held(source)

        def write():
            with open_store(source, writable=True) as store:
                if isinstance(store, GalleryFile):
                    store.put([photo(n) for n in range(1000, 1100)])
                    store.remove(range(300, 390))
                else:
                    store.put(Block(list(range(1000, 1100)), [photo(n) for n in range(1000, 1100)]))
                    store.commit([], removing=range(300, 390))

        copy_gallery(source, target, watcher=Pausing(100, write))
        assert held(target) == before
        assert len(held(source)) == 410

    def test_stopping_leaves_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(copying, "_ROWS", 50)
        source = make(tmp_path / "a.msedge", photos(400))
        for kind in KINDS:
            stop = threading.Event()
            with pytest.raises(StoppedError):
                copy_gallery(
                    source, tmp_path / f"b.{kind}", watcher=Pausing(100, stop.set), stop=stop
                )
        assert beside(tmp_path) == {"a.msedge"}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_the_moment_of_a_kill_the_copy_is_whole_or_not_there(tmp_path, kind):
    source, target = make(tmp_path / "a.msedge", photos(1500)), tmp_path / f"b.{kind}"
    wanted = held(source)
    copier = (
        "import sys, time; from pathlib import Path\n"
        "from msedge.search.upkeep import copying\n"
        "copying._ROWS = 100\n"
        "class Slow:\n"
        "    def say(self, message): pass\n"
        "    def progress(self, what, done, total): time.sleep(0.01)\n"
        "print('begun', flush=True)\n"
        "copying.copy_gallery(Path(sys.argv[1]), Path(sys.argv[2]), watcher=Slow())\n"
    )
    moments = random.Random(int(os.environ.get("MSEDGE_TEST_SEED", "5")))
    cut_short = 0
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", copier, source, target], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "begun\n"
            time.sleep(moments.uniform(0, 0.6))
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
    assert beside(tmp_path) == {"a.msedge", target.name}


def test_remote_photos_are_copied_into_a_file(tmp_path):
    place = whole(Path("s3://bucket/cats/1.jpg"))
    make(tmp_path / "a.lance", [photo(1, place)])
    copy_gallery(tmp_path / "a.lance", tmp_path / "b.msedge")
    with GalleryFile.open(tmp_path / "b.msedge") as file:
        assert file.photos()[0].path == place
        assert file.id_at(place) == 1


class TestObjectStores:
    """In Lance's store in memory, which is as remote as S3 but for the network."""

    @pytest.fixture
    def bucket(self, tmp_path):
        return Path(f"shared-memory://{tmp_path.name}")

    def test_there_and_back(self, tmp_path, bucket):
        source = make(tmp_path / "a.msedge", photos(300))
        copy_gallery(source, bucket / "b.lance")
        copy_gallery(bucket / "b.lance", bucket / "c.lance")
        copy_gallery(bucket / "c.lance", tmp_path / "d.msedge")
        assert held(bucket / "b.lance") == held(tmp_path / "d.msedge") == held(source)
        assert last_id(bucket / "c.lance") == 300
        assert check_gallery(bucket / "c.lance") == []
        assert gallery_statistics(bucket / "b.lance").bytes_on_disk is None
        assert compact_gallery(bucket / "b.lance").bytes_after is None
        assert beside(tmp_path) == {"a.msedge", "d.msedge"}

    def test_what_is_there_stays(self, tmp_path, bucket):
        make(tmp_path / "a.msedge", photos(3))
        copy_gallery(tmp_path / "a.msedge", bucket / "b.lance")
        make(tmp_path / "c.msedge", photos(9))
        with pytest.raises(DataError, match=r"b\.lance is there already"):
            copy_gallery(tmp_path / "c.msedge", bucket / "b.lance")
        assert len(held(bucket / "b.lance")) == 3

    @pytest.mark.parametrize("step", ["copying", "comparing"])
    def test_a_copy_that_is_stopped_is_not_there(self, tmp_path, bucket, monkeypatch, step):
        monkeypatch.setattr(copying, "_ROWS", 50)
        source, stop = make(tmp_path / "a.msedge", photos(400)), threading.Event()
        with pytest.raises(StoppedError):
            copy_gallery(
                source, bucket / "b.lance", watcher=Pausing(100, stop.set, step), stop=stop
            )
        with pytest.raises(DataError, match="no gallery"):
            held(bucket / "b.lance")
        copy_gallery(source, bucket / "b.lance")
        assert held(bucket / "b.lance") == held(source)

    def test_what_others_put_into_a_copy_before_it_is_compared_is_not_removed(
        self, tmp_path, bucket, monkeypatch
    ):
        monkeypatch.setattr(copying, "_ROWS", 50)
        source = make(tmp_path / "a.msedge", photos(400))

        def put():
            with open_store(bucket / "b.lance", writable=True) as store:
                store.put(Block([900], [photo(900)]))

        compared = copying_to_lance.check_equal

        def late(*arguments):
            put()
            compared(*arguments)

        monkeypatch.setattr(copying_to_lance, "check_equal", late)
        with pytest.raises(DataError, match="401 photos that are not the 400"):
            copy_gallery(source, bucket / "b.lance")
        assert len(held(bucket / "b.lance")) == 401
