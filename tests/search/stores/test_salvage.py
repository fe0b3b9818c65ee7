"""Damaged files: what can still be read is saved, and the damaged file stays as it is."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing

import pytest

from made_photos import MODEL, held, make, names, photo, photos
from msedge.errors import DataError
from msedge.search.stores import check_gallery, open_store

PAGE = 8192


@pytest.fixture
def gallery(tmp_path):
    return make(tmp_path / "photos.msedge", photos(2000))


def overwrite(path, page, *, start=0, size=PAGE, seed=1):
    """Write noise over a page, by its number from 1."""
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE + start)
        file.write(random.Random(seed).randbytes(size))


def root(path, name="photos"):
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        return connection.execute(query, (name,)).fetchone()[0]


def leaves(path):
    """Numbers of the pages that hold photos."""
    content = path.read_bytes()
    return [at // PAGE + 1 for at in range(0, len(content), PAGE) if content[at] == 0x0D]


def files(folder):
    """What lies there, but for what SQLite's readers share while they read."""
    return {name for name in names(folder) if not name.endswith("-shm")}


def salvaged(path):
    """What is in the new file; as many photos are told, before and after."""
    damaged, there = path.read_bytes(), files(path.parent)
    (before,) = check_gallery(path)
    assert (before.name, before.is_left, before.can_mend) == ("damage", True, True)
    assert files(path.parent) == there
    found = {each.name: each for each in check_gallery(path, repair=True)}
    assert found["damage"].is_left
    new = path.with_name(path.name + "-salvaged")
    kept = held(new)
    assert f"{len(kept):,} photos can be read" in before.what
    assert f"{len(kept):,} photos are in" in found["damage"].advice
    assert path.read_bytes() == damaged
    assert files(path.parent) == there | {new.name}
    assert check_gallery(new) == []
    with open_store(new) as store:
        assert (store.model, store.view().version) == (MODEL, store.version())
    return kept


@pytest.mark.parametrize("page", ["header", "photos"])
def test_pages_that_lead_to_others_cost_nothing(gallery, page):
    wanted = held(gallery)
    overwrite(gallery, 1 if page == "header" else root(gallery))
    assert salvaged(gallery) == wanted


def test_everything_but_photos_and_the_record_may_be_gone(gallery):
    wanted, kept = held(gallery), {root(gallery, "meta"), *leaves(gallery)} - {1}
    for page in range(1, gallery.stat().st_size // PAGE + 1):
        if page not in kept:
            overwrite(gallery, page, seed=page)
    assert salvaged(gallery) == wanted


def test_leaves_cost_their_own_photos_alone(gallery):
    wanted = held(gallery)
    for page in leaves(gallery)[3:6]:
        overwrite(gallery, page)
    kept = salvaged(gallery)
    assert set(kept) < set(wanted)
    assert len(kept) > 1790


def test_of_a_leaf_what_is_whole_is_kept(gallery):
    """Noise over the middle of a page costs the rows that lie there."""
    wanted = held(gallery)
    overwrite(gallery, root(gallery))
    overwrite(gallery, leaves(gallery)[5], start=4000, size=300)
    kept = salvaged(gallery)
    assert set(kept) < set(wanted)
    assert len(kept) > 1990


def test_damage_at_two_places_of_a_leaf_costs_nothing_between(gallery):
    wanted = held(gallery)
    overwrite(gallery, root(gallery))
    for start in (2500, 7000):
        with gallery.open("r+b") as file:
            file.seek((leaves(gallery)[5] - 1) * PAGE + start)
            file.write(b"\xff" * 120)
    kept = salvaged(gallery)
    assert set(kept) < set(wanted)
    assert len(kept) > 1993


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_was_cut(gallery, share):
    wanted = held(gallery)
    with gallery.open("r+b") as file:
        file.truncate(int(gallery.stat().st_size * share))
    kept = salvaged(gallery)
    assert set(kept) <= set(wanted)
    assert len(kept) > 2000 * share * 0.6


class TestTheLog:
    @pytest.fixture
    def left(self, gallery, tmp_path):
        """As a kill leaves it: half of the photos are in the log alone."""
        (tmp_path / "left").mkdir()
        with open_store(gallery, writable=True) as store:
            next(reader := store.blocks(1))  # keeps the log from being moved
            store.change(put=[photo(n) for n in range(2000, 4000)], remove=[7])
            for ending in ("", "-wal"):
                shutil.copy(f"{gallery}{ending}", tmp_path / "left")
            reader.close()
        return tmp_path / "left" / gallery.name

    @pytest.mark.parametrize("damage", ["header", "cut to a page"])
    def test_is_read_with_the_file(self, left, gallery, damage):
        wanted = held(gallery)
        if damage == "header":
            overwrite(left, 1)
        else:
            with left.open("r+b") as file:
                file.truncate(PAGE)
        kept = salvaged(left)
        assert set(kept) <= set(wanted)
        assert len(kept) == 3999 if damage == "header" else len(kept) >= 2000

    def test_of_a_damaged_gallery_is_not_taken_in(self, left):
        overwrite(left, 1)
        log = left.with_name(left.name + "-wal").read_bytes()
        assert [each.name for each in check_gallery(left, repair=True)] == ["damage"]
        assert left.with_name(left.name + "-wal").read_bytes() == log


class TestWhichStays:
    def test_photos_that_were_removed_stay_removed(self, gallery):
        """Also where the page that they lie on was not written over: others have it."""
        old = gallery.read_bytes()
        with open_store(gallery, writable=True) as store:
            store.change(remove=range(500, 1900))
        wanted = held(gallery)
        new = bytearray(gallery.read_bytes())
        for page in leaves(gallery)[1:]:
            if not any(new[(page - 1) * PAGE :][:8]):  # zeros, where SQLite cleans up
                new[(page - 1) * PAGE : page * PAGE] = old[(page - 1) * PAGE : page * PAGE]
        gallery.write_bytes(bytes(new) + old[PAGE:])
        overwrite(gallery, 1)
        assert salvaged(gallery) == wanted

    def test_of_two_states_of_a_photo_the_newer_stays(self, gallery):
        """Old pages, which nothing leads to, still look like pages; the same in either order."""
        old = gallery.read_bytes()
        with open_store(gallery, writable=True) as store:
            store.change(put=[photo(5, size=99, mtime_ns=10**18)])
            # Its file has an older date now, and it is the newer state nevertheless.
            store.change(put=[photo(6, size=98, mtime_ns=1)], move=[(12, photo(10).path, 9, 8)])
        wanted, new = held(gallery), gallery.read_bytes()
        for content in (new + old[PAGE:], old + new[PAGE:]):
            folder = gallery.with_name(f"{len(content)}{content[PAGE : 2 * PAGE] == old[PAGE]}")
            folder.mkdir(exist_ok=True)
            path = folder / gallery.name
            path.write_bytes(content)
            overwrite(path, 1)
            kept = salvaged(path)
            shutil.rmtree(folder)
            assert [row for row in kept if row[0] in (6, 7)] == wanted[5:7]
            assert len(kept) <= 2000

    def test_rows_that_make_no_sense_are_left_out(self, gallery):
        wanted = held(gallery)
        with closing(sqlite3.connect(gallery)) as connection, connection:
            for number, bad in enumerate(("width = 0", "vector = x'00'", "path = 'a'"), 5):
                connection.execute(f"UPDATE photos SET {bad} WHERE id = {number}")
        overwrite(gallery, 1)
        assert salvaged(gallery) == [row for row in wanted if row[0] not in (5, 6, 7)]


def test_what_was_salvaged_before_is_not_overwritten(gallery):
    beside_it = gallery.with_name(gallery.name + "-salvaged")
    beside_it.write_text("earlier")
    overwrite(gallery, root(gallery))
    with pytest.raises(DataError, match="is there already"):
        check_gallery(gallery, repair=True)
    assert beside_it.read_text() == "earlier"


@pytest.mark.parametrize("page", [1, "photos"])
def test_a_gallery_that_does_not_say_what_made_it_is_to_be_indexed_again(gallery, page):
    gallery.write_bytes(gallery.read_bytes().replace(b"fingerprint", b"fingerprinx"))
    overwrite(gallery, 1 if page == 1 else root(gallery))
    if page == 1:
        with pytest.raises(DataError, match="is not a gallery"):
            check_gallery(gallery, repair=True)
    else:
        (finding,) = check_gallery(gallery, repair=True)
        assert (finding.name, finding.can_mend) == ("damage", False)
        assert "0 photos can be read" in finding.what
        assert "index the photos again into another file" in finding.advice
    assert names(gallery.parent) == {gallery.name}


def test_noise_anywhere_is_found_or_does_no_harm(gallery):
    """Noise within a page that SQLite still accepts can only be in facts; then it reads."""
    whole = gallery.read_bytes()
    moments = random.Random(8)
    told = 0
    for seed in range(15):
        gallery.write_bytes(whole)
        page = moments.randrange(1, len(whole) // PAGE + 1)
        overwrite(gallery, page, start=moments.randrange(PAGE - 300), size=300, seed=seed)
        try:
            findings = check_gallery(gallery)
        except DataError:  # the bytes that say what a file is
            assert page == 1
            continue
        told += bool(findings)
        if not findings:
            assert len(held(gallery)) == 2000
    assert told > 8
