"""A gallery that another process holds: who waits, for how long, and who goes on."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from encoders import ColourEncoder
from galleries import make_gallery, photo
from indexing_runs import counts, held, run
from msedge.errors import DataError
from msedge.search.gallery import Gallery
from photo_files import write_photo

HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    held.execute(statement).fetchall()
print("held", flush=True)
sys.stdin.read()
"""
WRITING = ("BEGIN EXCLUSIVE",)
ALONE = ("PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE", "UPDATE meta SET value = value")


@contextmanager
def holder(gallery, *statements):
    """Another process that holds a gallery until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(gallery), *statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def gallery(tmp_path):
    return make_gallery(tmp_path, {f"{n}.png": photo("red", mark=n) for n in range(6)})


@pytest.fixture
def patience(monkeypatch):
    """Half a second in place of ten."""
    monkeypatch.setattr("msedge.search.stores.sqlite.file.SECONDS_TO_WAIT", 0.5)


class TestAWriterThatDoesNotEnd:
    def test_searching_goes_on(self, gallery, tmp_path):
        with holder(gallery, *WRITING), Gallery.open(gallery, model=ColourEncoder()) as opened:
            assert len(opened.search(tmp_path / "photos" / "0.png", k=3)) == 3

    @pytest.mark.usefixtures("patience")
    def test_indexing_says_so_and_changes_nothing(self, gallery, tmp_path):
        before = held(gallery)
        write_photo(tmp_path / "photos" / "new.png")
        begun = time.monotonic()
        with holder(gallery, *WRITING), pytest.raises(DataError) as caught:
            run(tmp_path / "photos", gallery)
        assert "another program is writing it: try again" in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
        assert time.monotonic() - begun >= 0.5
        assert held(gallery) == before

    def test_one_that_is_killed_lets_go_and_loses_nobody_elses_photos(self, gallery, tmp_path):
        write_photo(tmp_path / "photos" / "new.png")
        with holder(gallery, *WRITING, "DELETE FROM photos") as process:
            process.kill()
            process.wait()
            summary = run(tmp_path / "photos", gallery)
        assert summary.new == 1
        assert len(held(gallery)) == 7

    def test_one_that_ends_in_time_is_waited_for(self, gallery, tmp_path):
        write_photo(tmp_path / "photos" / "new.png")
        with holder(gallery, *WRITING) as process:
            soon = threading.Timer(1.5, process.kill)
            soon.start()
            summary = run(tmp_path / "photos", gallery)
            soon.join()
        assert counts(summary)[0] == 1


class TestAProcessThatWantsItAlone:
    @pytest.mark.usefixtures("patience")
    def test_searching_says_so_in_a_line(self, gallery):
        with holder(gallery, *ALONE), pytest.raises(DataError) as caught:
            Gallery.open(gallery, model=ColourEncoder())
        assert "another program is writing it: try again" in str(caught.value)

    def test_a_searcher_that_reads_it_already_keeps_it_out(self, gallery, tmp_path):
        with Gallery.open(gallery, model=ColourEncoder()) as opened:
            drawing = tmp_path / "photos" / "0.png"
            first = [hit.photo.id for hit in opened.search(drawing, k=3)]
            other = sqlite3.connect(gallery, timeout=0.2, isolation_level=None)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.executescript("; ".join(ALONE))
            other.close()
            assert [hit.photo.id for hit in opened.search(drawing, k=3)] == first
