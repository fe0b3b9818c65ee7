"""Several processes that change one gallery, none of which undoes what another did."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lance import LanceDataset
from lance.commit import CommitConflictError

from lance_galleries import DIM, MODEL, block, kept, made_up, make_lance
from msedge.errors import DataError
from msedge.search.lance.changes import anchor_of, change, rows_with
from msedge.search.lance.fragments import read_fragments, write_fragment
from msedge.search.lance.gallery import LanceGallery
from msedge.search.store import Block

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from lance_galleries import block, made_up
from msedge.search.lance.gallery import LanceGallery
from msedge.search.store import Block

writer = int(sys.argv[2])
with LanceGallery.open(Path(sys.argv[1]), writable=True) as gallery:
    for turn in range(8):
        first = gallery.reserve_ids(3)
        numbers = [first, first + 1, first + 2]
        new = [made_up(first), made_up(first + 1), made_up(first + 2, f"/shared/{turn}.jpg")]
        gallery.put(Block(numbers, new))
        print(*numbers, flush=True)
"""


def planned(gallery, *numbers, removing=()):
    """A change that is planned now, to be committed later."""
    dataset = gallery.now(afresh=True).dataset
    new = read_fragments(write_fragment(gallery.path, DIM, block(*numbers)))
    return dataset, change(dataset, new, rows_with(dataset, ids=removing))


def commit(plan):
    dataset, operation = plan
    LanceDataset.commit(dataset, operation, read_version=dataset.version)


class TestTwoChangesOfOneVersion:
    @pytest.mark.parametrize("there", [(), (1,), (1, 2, 3)], ids=["empty", "one", "several"])
    @pytest.mark.parametrize("removing", [(), (1,), (1, 2, 3)])
    def test_never_both_happen(self, tmp_path, there, removing):
        gallery = LanceGallery.create(tmp_path / "a.lance", MODEL)
        for number in there:
            gallery.put(block(number))
        first, second = planned(gallery, 11, removing=removing), planned(gallery, 12)
        commit(first)
        with pytest.raises(CommitConflictError):
            commit(second)
        assert {photo.id for photo in gallery.now(afresh=True).photos()} == (
            set(there) - set(removing) | {11}
        )

    def test_one_that_was_emptied_meanwhile_is_left_alone(self, tmp_path):
        gallery = make_lance(tmp_path / "a.lance", 1)
        late = planned(gallery, 2)
        gallery.commit([], removing=[1])
        with pytest.raises(CommitConflictError):
            commit(late)

    def test_compacting_gets_in_the_way_of_none(self, tmp_path):
        gallery = make_lance(tmp_path / "a.lance", 1, 2)
        for number in range(3, 8):
            gallery.put(block(number))
        plan = planned(gallery, 11)
        dataset = gallery.now(afresh=True).dataset
        dataset.optimize.compact_files(excluded_fragment_ids=[anchor_of(dataset)])
        commit(plan)
        assert gallery.now(afresh=True).count() == 8


class TestCommitting:
    def test_begins_again_where_compacting_moved_what_is_to_go(self, tmp_path, monkeypatch):
        gallery = make_lance(tmp_path / "a.lance", 1)
        for number in range(2, 7):
            gallery.put(block(number))
        other, hindered = LanceGallery.open(gallery.path, writable=True), []
        real = LanceDataset.commit

        def commit_after_compacting(dataset, operation, **options):
            if not hindered:
                hindered.append(other.compact().fragments_after)
            return real(dataset, operation, **options)

        monkeypatch.setattr(LanceDataset, "commit", commit_after_compacting)
        gallery.commit(write_fragment(gallery.path, DIM, block(11)), removing=[3, 4])
        assert hindered
        assert [photo.id for photo in gallery.photos()] == [1, 2, 5, 6, 11]

    def test_is_refused_where_photos_change_at_the_last_moment(self, tmp_path, monkeypatch):
        gallery = make_lance(tmp_path / "a.lance", 1, 2)
        other, hindered = LanceGallery.open(gallery.path, writable=True), []
        real = LanceDataset.commit

        def commit_after_another(dataset, operation, **options):
            if not hindered:
                hindered.append(True)
                other.put(block(9))
            return real(dataset, operation, **options)

        monkeypatch.setattr(LanceDataset, "commit", commit_after_another)
        with pytest.raises(DataError, match="changed by another process"):
            gallery.commit(write_fragment(gallery.path, DIM, block(11)), removing=[1])
        assert [photo.id for photo in gallery.now(afresh=True).photos()] == [1, 2, 9]


class TestManyWriters:
    def test_in_threads_put_a_path_once(self, tmp_path):
        path = make_lance(tmp_path / "a.lance", 1).path
        together = threading.Barrier(4)

        def write(_):
            with LanceGallery.open(path, writable=True) as gallery:
                for turn in range(5):
                    (number,) = [gallery.reserve_ids(1)]
                    together.wait()
                    gallery.put(Block([number], [made_up(number, f"/shared/{turn}.jpg")]))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        with LanceGallery.open(path) as gallery:
            photos = gallery.photos()
            assert sorted(str(photo.path) for photo in photos if photo.id > 1) == [
                f"/shared/{turn}.jpg" for turn in range(5)
            ]

    def test_in_processes_lose_nothing(self, tmp_path):
        path = make_lance(tmp_path / "a.lance").path
        command = [sys.executable, "-c", WRITER, path]
        tests = str(Path(__file__).parents[2])
        writers = [
            subprocess.Popen([*command, str(number), tests], stdout=subprocess.PIPE, text=True)
            for number in range(3)
        ]
        said = [writer.communicate(timeout=120)[0].splitlines() for writer in writers]
        assert [writer.returncode for writer in writers] == [0, 0, 0]
        given = [int(number) for lines in said for line in lines for number in line.split()]
        assert sorted(given) == list(range(1, 3 * 8 * 3 + 1))
        with LanceGallery.open(path) as gallery:
            photos = {photo.id: photo for photo in gallery.photos()}
            own = [number for number in given if number % 3]
            assert [photos[number] for number in own] == [
                kept(made_up(number), number) for number in own
            ]
            shared = [str(photo.path) for number, photo in photos.items() if not number % 3]
            assert sorted(shared) == [f"/shared/{turn}.jpg" for turn in range(8)]
