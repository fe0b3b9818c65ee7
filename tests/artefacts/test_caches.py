"""What lies beside a gallery and can be deleted: a search goes on without it, whatever it holds."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from approximate_galleries import built, clustered
from hostile_artefacts import TRIED, Case, cut_short, held_to_it, of_others, refusal, turned, wiped
from made_photos import MODEL, make, photos, unit
from msedge.search.approximate.index import NAME, ApproximateIndex, read_about
from msedge.search.stores import build_approximate, check_gallery, open_store
from msedge.search.stores.sqlite.vectors import folder_of
from msedge.search.thumbnails import ThumbnailCache

DIM = MODEL.dim


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small index, not to be changed."""
    folder = tmp_path_factory.mktemp("index") / "index"
    assert built(folder, clustered(300, DIM)) is not None
    return folder


@pytest.fixture
def copied(index: Path, tmp_path: Path) -> Path:
    """One that may be."""
    folder = tmp_path / "copied"
    folder.mkdir()
    for path in index.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def said(folder: Path, **changes: Any) -> None:
    """Let an index say something else of itself."""
    content = json.loads((folder / NAME).read_text())
    content["about"] |= changes
    (folder / NAME).write_text(json.dumps(content))


LIES: dict[str, dict[str, Any]] = {
    "a count of 10^18": {"count": 10**18},
    "a count of -1": {"count": -1},
    "a count of a text": {"count": "x"},
    "a count of infinity": {"count": 1e999},
    "a width of 0": {"dim": 0},
    "a width of 10^12": {"dim": 10**12},
    "another width": {"dim": DIM * 2},
    "a version of a text": {"version": "x"},
    "a version below 0": {"version": -1},
    "a recall of a text": {"recall_measured": "all"},
    "no parameters": {"parameters": {}},
    "parameters of texts": {"parameters": {"lists": "1", "width": "2", "depth": "3"}},
    "a search of nothing": {"parameters": {"lists": 1, "width": 0, "depth": 0}},
    "a search below nothing": {"parameters": {"lists": 1, "width": -5, "depth": 10}},
    "a kind that nobody knows": {"kind": "ivf\npq"},
    "a fingerprint of a number": {"fingerprint": 7},
    "a field that nobody knows": {"stranger": 1},
    "bytes of a list": {"bytes": [1]},
}


class TestTheIndex:
    @pytest.mark.parametrize("name", LIES)
    def test_that_lies_of_itself_is_not_used(self, copied, name):
        said(copied, **LIES[name])
        assert "delete the folder" in (refusal(ApproximateIndex.open, copied) or "")
        TRIED["approximate index: what it says", "crafted"] += 1

    def test_description_from_anywhere_is_read_or_refused_in_one_line(self, copied, mark):
        whole = (copied / NAME).read_bytes()
        more = [
            Case("crafted", "nested deeply", b"[" * 100_000),
            Case("crafted", "10 MB", b'{"format": 1, "x": "' + b"x" * 10**7 + b'"}'),
            Case("crafted", "a newer format", b'{"format": 2}'),
            Case("crafted", "a format of 5,000 digits", b'{"format": ' + b"9" * 4000 + b"}"),
            Case("crafted", "files elsewhere", whole.replace(b'"name": "', b'"name": "/etc/../')),
            Case(
                "crafted", "a file of no name", whole.replace(b'"name": "', b'"name": "", "x": "')
            ),
        ]
        cases = chain(
            cut_short(whole), turned(whole, header=300), wiped(whole), of_others(mark), more
        )
        held_to_it(
            "approximate index: what it says",
            (Case(c.kind, c.name, c.content, must_fail=c.must_fail and c.name != "files elsewhere")
             for c in cases if c.name != "after 0.99"),
            lambda path: read_about(path.parent), copied / NAME, mark,
        )  # fmt: skip

    @pytest.mark.parametrize("what", ["ids", "vectors", "structure"])
    def test_files_that_were_damaged_are_not_used(self, copied, mark, what):
        path = next(copied.glob(f"{what}-*"))
        whole = path.read_bytes()
        cases = [*cut_short(whole), *turned(whole, header=100), *wiped(whole), *of_others(mark)]
        cases = [Case(c.kind, c.name, c.content) for c in cases if c.content != whole]
        held_to_it(
            f"approximate index: {what}", cases,
            lambda path: ApproximateIndex.open(path.parent), path, mark,
        )  # fmt: skip

    def test_pipes_are_not_waited_for(self, copied):
        path = next(copied.glob("ids-*"))
        path.unlink()
        os.mkfifo(path)
        assert refusal(ApproximateIndex.open, copied)
        (copied / NAME).unlink()
        os.mkfifo(copied / NAME)
        assert refusal(ApproximateIndex.open, copied)

    def test_search_goes_on_without_it(self, tmp_path):
        gallery = make(tmp_path / "g.msedge", photos(30))
        folder_of(gallery).mkdir()
        for content in (b"[" * 100_000, b"{}", b"\xff", b'{"format": 1e999}'):
            (folder_of(gallery) / NAME).write_bytes(content)
            with open_store(gallery) as store:
                assert store.index_state() is None
                query = unit(1).astype(np.float32)
                hits = store.view().search(query, 3, filters=None, without=(), together=False)
            assert len(hits) == 3


class TestTheFolderOfTheIndex:
    """Building one removes what earlier builds left, and must remove nothing else."""

    def test_files_of_others_stay_when_an_index_is_built(self, tmp_path):
        folder = tmp_path / "mine"
        folder.mkdir()
        (folder / "thesis.txt").write_text("years of work")
        (folder / "ids-0123abcd").write_text("left by a killed build")
        built(folder, clustered(50, DIM))
        assert (folder / "thesis.txt").read_text() == "years of work"
        assert not (folder / "ids-0123abcd").exists()

    def test_a_link_to_another_folder_is_not_built_into(self, tmp_path):
        gallery = make(tmp_path / "g.msedge", photos(30))
        documents = tmp_path / "documents"
        documents.mkdir()
        (documents / "thesis.txt").write_text("years of work")
        folder_of(gallery).symlink_to(documents)
        assert "is a link" in (
            refusal(lambda path: build_approximate(path, force=True), gallery) or ""
        )
        refusal(lambda path: check_gallery(path, repair=True), gallery, must_fail=False)
        assert [path.name for path in documents.iterdir()] == ["thesis.txt"]

    def test_repair_leaves_files_of_others(self, tmp_path):
        gallery = make(tmp_path / "g.msedge", photos(30))
        folder_of(gallery).mkdir()
        (folder_of(gallery) / NAME).write_text("{")
        (folder_of(gallery) / "thesis.txt").write_text("years of work")
        check_gallery(gallery, repair=True)
        assert [path.name for path in folder_of(gallery).iterdir()] == ["thesis.txt"]


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
CACHE = {
    "thumbnails without end": [
        "DROP TABLE thumbnails",
        f"CREATE VIEW thumbnails AS {ENDLESS} "
        "SELECT x AS content_hash, x AS side, x AS used, x AS jpeg FROM c",
    ],
    "a trigger": ["CREATE TRIGGER t AFTER INSERT ON thumbnails BEGIN DELETE FROM thumbnails; END"],
    "a table besides": ["CREATE TABLE diary (day)"],
    "a picture of 10^12 bytes": ["UPDATE thumbnails SET jpeg = 1000000000000"],
    "a picture that is a text": ["UPDATE thumbnails SET jpeg = 'x'"],
    "a picture of 100 MB": ["UPDATE thumbnails SET jpeg = zeroblob(100000000)"],
    "a time that is a text": ["UPDATE thumbnails SET used = 'then'"],
}


def used(path: Path) -> bool:
    """Ask a cache and give it something; whether it keeps that now or the next time."""
    for _ in range(2):
        cache = ThumbnailCache(path)
        cache.get("a", 1)
        cache.put("b", 1, b"picture")
        kept = cache.get("b", 1)
        cache.close()
    return kept == b"picture"


class TestTheCacheOfThumbnails:
    @pytest.fixture
    def cache(self, tmp_path) -> Path:
        path = tmp_path / "g.msedge.thumbnails"
        made = ThumbnailCache(path)
        made.put("a", 1, b"thumbnail")
        made.close()
        return path

    @pytest.mark.parametrize("name", CACHE)
    def test_that_holds_something_else_is_begun_again(self, cache, name):
        with closing(sqlite3.connect(cache, isolation_level=None)) as connection:
            for words in CACHE[name]:
                connection.execute(words)
        assert used(cache)
        TRIED["thumbnail cache", "crafted"] += 1

    def test_that_is_damaged_does_no_harm(self, cache, mark):
        whole = cache.read_bytes()
        for case in chain(cut_short(whole), turned(whole, header=100), wiped(whole)):
            cache.write_bytes(case.content)
            used(cache)
            TRIED["thumbnail cache", case.kind] += 1
        assert not mark.was_left

    def test_that_is_another_programs_file_is_left_as_it_is(self, cache, mark):
        for case in of_others(mark):
            if not case.content:  # an empty file is nobody's
                continue
            cache.write_bytes(case.content)
            assert not used(cache)
            assert cache.read_bytes() == case.content
            TRIED["thumbnail cache", case.kind] += 1
        assert not mark.was_left

    def test_that_is_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.thumbnails")
        assert not used(tmp_path / "pipe.thumbnails")
