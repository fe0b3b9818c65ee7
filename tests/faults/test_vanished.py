"""Photos whose disk goes away, comes back, or is swapped: what the gallery knows of them stays."""

from __future__ import annotations

import shutil

import pytest

from indexing_runs import Listener, counts, held, run
from msedge.errors import DataError
from msedge.search.stores import open_store
from photo_files import write_photo
from small_disk import mounted, unmount


def fill(folder, count=12):
    for number in range(count):
        write_photo(folder / f"{number % 3}" / f"{number}.png", number)


@pytest.fixture
def card(tmp_path):
    """A disk with photos, mounted on a folder, as a camera's card is."""
    with mounted(tmp_path / "card", 4) as disk:
        fill(disk.root)
        yield disk


def test_the_empty_folder_that_a_disk_leaves_removes_nothing(card, tmp_path):
    gallery = tmp_path / "g.msedge"
    run(card.root, gallery)
    before = held(gallery)
    unmount(card.root)
    with pytest.raises(DataError, match=r"no photos in .*is its disk missing\?.*--allow-empty"):
        run(card.root, gallery)
    assert held(gallery) == before
    fill(card.root)  # as if it were there again, with the same photos
    assert counts(run(card.root, gallery)) == (0, 0, 0, 0, 12)


def test_a_disk_below_the_folder_that_is_indexed(tmp_path):
    """One of several disks is missing, so that the folder given has photos all the same."""
    gallery = tmp_path / "g.msedge"
    with mounted(tmp_path / "photos" / "card", 4) as disk:
        fill(tmp_path / "photos" / "own")
        fill(disk.root)
        run(tmp_path / "photos", gallery)
        before = held(gallery)
    summary = run(tmp_path / "photos", gallery)
    assert counts(summary) == (0, 0, 0, 12, 12), "nobody can tell this from a removal"
    fill(tmp_path / "photos" / "card")
    assert counts(run(tmp_path / "photos", gallery)) == (12, 0, 0, 0, 12)
    assert {path: row[2] for path, row in held(gallery).items()} == {
        path: row[2] for path, row in before.items()
    }


@pytest.mark.parametrize("at", [0, 4, 8])
def test_a_disk_that_goes_away_while_it_is_indexed(card, tmp_path, at):
    gallery = tmp_path / "g.msedge"
    run(card.root, gallery)
    for number in range(12, 40):
        write_photo(card.root / "new" / f"{number}.png", number)
    before = held(gallery)
    gone = []

    def progress(done):
        if done >= at and not gone:
            gone.append(done)
            unmount(card.root)

    summary = run(card.root, gallery, watcher=Listener(progress))
    assert gone
    assert summary.removed == 0
    assert held(gallery).items() >= before.items()
    assert summary.new + len(summary.skipped) == 28


def test_a_folder_that_is_removed_while_it_is_indexed(tmp_path):
    gallery, photos = tmp_path / "g.msedge", tmp_path / "photos"
    fill(photos, 40)
    summary = run(
        photos, gallery, watcher=Listener(lambda done: done == 8 and shutil.rmtree(photos))
    )
    assert summary.new + len(summary.skipped) == 40
    with open_store(gallery) as file:
        assert file.count() == summary.new
