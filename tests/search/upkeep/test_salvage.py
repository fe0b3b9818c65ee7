"""Damaged galleries: what can still be read is saved, and the damaged file stays as it is."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest

from kept_galleries import MODEL, beside, held, make, photo, photos
from msedge.errors import DataError
from msedge.search.gallery_file import GalleryFile
from msedge.search.upkeep.checking import check_gallery
from msedge.search.upkeep.salvage import SALVAGED, count_readable, salvage

PAGE = 8192


@pytest.fixture
def gallery(tmp_path):
    return make(tmp_path / "photos.msedge", photos(2000))


def overwrite(path, page, *, start=0, size=PAGE, seed=1):
    """Write noise over a page, by its number from 1."""
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE + start)
        file.write(random.Random(seed).randbytes(size))


def rootpage(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'photos'"
        ).fetchone()[0]


class TestSalvaging:
    def test_the_root_of_the_table(self, gallery):
        wanted = held(gallery)
        overwrite(gallery, rootpage(gallery))
        damaged = gallery.read_bytes()
        target, count = salvage(gallery)
        assert (target.name, count) == ("photos.msedge-salvaged", 2000)
        assert held(target) == wanted
        assert gallery.read_bytes() == damaged
        assert beside(gallery.parent) == {"photos.msedge", "photos.msedge-salvaged"}

    def test_the_header_and_schema(self, gallery):
        wanted = held(gallery)
        overwrite(gallery, 1)
        assert count_readable(gallery) == 2000
        target, _ = salvage(gallery)
        with GalleryFile.open(target) as file:
            assert file.model == MODEL
        assert held(target) == wanted

    def test_leaves_cost_their_own_photos_alone(self, gallery):
        wanted = held(gallery)
        size = gallery.stat().st_size // PAGE
        moments = random.Random(3)
        for page in moments.sample(range(5, size), 8):
            overwrite(gallery, page, start=moments.randrange(0, 6000), size=900, seed=page)
        target, count = salvage(gallery)
        kept = held(target)
        assert set(kept) <= set(wanted)
        assert count == len(kept) > 1000

    def test_a_file_that_was_cut(self, gallery):
        wanted = held(gallery)
        with gallery.open("r+b") as file:
            file.truncate(gallery.stat().st_size * 2 // 3)
        kept = held(salvage(gallery)[0])
        assert set(kept) <= set(wanted)
        assert len(kept) > 500

    def test_photos_that_were_removed_stay_removed(self, gallery):
        with GalleryFile.open(gallery, writable=True) as file:
            file.remove(range(500, 1900))
        wanted = held(gallery)
        overwrite(gallery, rootpage(gallery))
        assert held(salvage(gallery)[0]) == wanted

    def test_of_two_states_of_a_photo_the_newer_stays(self, gallery):
        """An old page of a row that was moved, which nothing leads to, still looks like one."""
        old = gallery.read_bytes()
        with GalleryFile.open(gallery, writable=True) as file:
            file.put([photo(5, size=99, mtime_ns=10**18)])
        wanted = held(gallery)
        new = gallery.read_bytes()
        changed = [
            page
            for page in range(2, len(old) // PAGE)
            if old[page * PAGE :][:PAGE] != new[page * PAGE :][:PAGE] and old[page * PAGE] == 0x0D
        ]
        gallery.write_bytes(new + b"".join(old[page * PAGE :][:PAGE] for page in changed))
        overwrite(gallery, rootpage(gallery))
        assert changed
        assert held(salvage(gallery)[0]) == wanted

    def test_what_was_salvaged_before_is_not_overwritten(self, gallery):
        beside_it = gallery.with_name(gallery.name + SALVAGED)
        beside_it.write_text("earlier")
        overwrite(gallery, rootpage(gallery))
        with pytest.raises(DataError, match="is there already"):
            salvage(gallery)
        assert beside_it.read_text() == "earlier"

    def test_a_gallery_that_does_not_say_what_made_it(self, gallery):
        gallery.write_bytes(gallery.read_bytes().replace(b"fingerprint", b"fingerprinx"))
        assert count_readable(gallery) == 0
        with pytest.raises(DataError, match="does not say any more what made it"):
            salvage(gallery)
        assert beside(gallery.parent) == {gallery.name}


class TestChecking:
    @pytest.mark.parametrize("page", ["the header", "the root"])
    def test_damage_is_told_and_left_as_it_is(self, gallery, page):
        wanted = held(gallery)
        overwrite(gallery, 1 if page == "the header" else rootpage(gallery))
        damaged = gallery.read_bytes()
        (finding,) = check_gallery(gallery)
        assert (finding.name, finding.is_left, finding.can_mend) == ("damage", True, True)
        assert "2,000 photos can be read" in finding.what
        assert beside(gallery.parent) == {gallery.name}
        (finding,) = check_gallery(gallery, repair=True)
        assert finding.is_left
        assert "2,000 photos are in" in finding.advice
        assert gallery.read_bytes() == damaged
        salvaged = gallery.with_name(gallery.name + SALVAGED)
        assert held(salvaged) == wanted
        assert check_gallery(salvaged) == []

    def test_noise_anywhere_is_found_or_does_no_harm(self, gallery):
        """Noise within a page that SQLite still accepts can only be in fields; then it reads."""
        whole = gallery.read_bytes()
        wanted = held(gallery)
        moments = random.Random(8)
        told = 0
        for seed in range(40):
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
                assert len(held(gallery)) == len(wanted)
        assert told > 20
