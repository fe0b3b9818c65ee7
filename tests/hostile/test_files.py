"""Files that change under the reader's hands, and those that nobody may read."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bounded import MEASURABLE, measured
from hostile_formats import encoded, scene
from indexing_runs import held, run
from msedge.data.drawings import open_drawing
from msedge.data.image_content import read_content
from msedge.data.images import open_image
from msedge.errors import DataError
from msedge.search.reading import Decoded, read_photo
from msedge.search.sources.contents import Unreadable
from msedge.search.sources.objects import Item

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and owners")

READERS = (open_image, open_drawing, read_content)
PHOTO = encoded(scene(), "JPEG")
NOBODY = 65_534


@contextmanager
def at_work(job):
    """Do a job again and again beside the test."""
    stop = threading.Event()

    def work():
        while not stop.is_set():
            with suppress(OSError):
                job()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def read(path):
    return read_photo(Item(str(path), 0, 0), None, 32)


class TestWhatIsNoFile:
    @pytest.mark.parametrize("reader", READERS)
    @pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to itself", "gone"])
    def test_a_reader_says_so_and_waits_for_nothing(self, reader, kind, tmp_path):
        path = tmp_path / "a.jpg"
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "folder":
            path.mkdir()
        elif kind == "link to itself":
            path.symlink_to(path)
        with pytest.raises(DataError) as caught:
            reader(path)
        assert str(caught.value).isprintable()
        assert str(path) in str(caught.value)

    def test_a_pipe_that_takes_a_photo_s_place_holds_nobody_up(self, tmp_path):
        path, pipe, photo = tmp_path / "a.jpg", tmp_path / "pipe", tmp_path / "photo"
        photo.write_bytes(PHOTO)
        os.mkfifo(pipe)

        def change_places():
            for other in (pipe, photo):
                (tmp_path / "next").unlink(missing_ok=True)
                os.link(other, tmp_path / "next")
                (tmp_path / "next").replace(path)

        change_places()
        seen = set()
        with at_work(change_places):
            until = time.monotonic() + 30
            while len(seen) < 2 and time.monotonic() < until:
                seen.add(type(read(path)))
        assert seen == {Decoded, Unreadable}


class TestWhatChanges:
    def test_a_file_that_comes_and_goes_is_read_or_missing(self, tmp_path):
        path = tmp_path / "a.jpg"

        def come_and_go():
            path.write_bytes(PHOTO)
            path.unlink()

        told = set()
        with at_work(come_and_go):
            for _ in range(300):
                found = read(path)
                told.add("read" if isinstance(found, Decoded) else found.reason)
        assert "no such file" in told
        allowed = ("read", "no such file", "its content is not a JPEG", "image file is truncated")
        assert all(line.startswith(allowed) for line in told), told

    @pytest.mark.skipif(not MEASURABLE, reason="needs Linux, to measure memory")
    def test_a_file_that_grows_is_read_no_further_than_the_limit(self, tmp_path, monkeypatch):
        monkeypatch.setattr("msedge.search.reading.MAX_BYTES", 3_000_000)
        path = tmp_path / "a.jpg"
        path.write_bytes(PHOTO)
        with path.open("ab") as stream, at_work(lambda: stream.write(bytes(200_000))):
            cost = measured(lambda: self._until_too_large(path))
        assert "larger than 3 MB" in cost.answer
        assert cost.megabytes < 50

    @staticmethod
    def _until_too_large(path):
        until = time.monotonic() + 30
        while time.monotonic() < until:
            found = read(path)
            if isinstance(found, Unreadable):
                return found.reason
        return "never"

    @pytest.mark.skipif(not MEASURABLE, reason="needs Linux, to measure memory")
    @pytest.mark.parametrize("reader", READERS)
    def test_a_terabyte_of_nothing_costs_nothing(self, reader, tmp_path):
        path = tmp_path / "a.jpg"
        with path.open("wb") as stream:
            stream.write(PHOTO)
            stream.truncate(2**40)

        def work():
            try:
                return str(reader(path))
            except DataError as error:
                return str(error)

        cost = measured(work)
        assert "is larger than" in cost.answer
        assert cost.megabytes < 20

    def test_what_was_written_to_while_it_was_read_is_read_again(self, tmp_path):
        root, gallery = tmp_path / "photos", tmp_path / "g.msedge"
        root.mkdir()
        path = root / "a.jpg"
        path.write_bytes(PHOTO)
        run(root, gallery)
        before = held(gallery)
        other = encoded(scene(seed=5), "JPEG")
        with at_work(lambda: path.write_bytes(other)):
            run(root, gallery)
        path.write_bytes(other)
        run(root, gallery)
        alone = tmp_path / "alone.msedge"
        run(root, alone)
        assert held(gallery) == held(alone) != before

    def test_a_folder_that_goes_while_it_is_indexed_leaves_the_rest(self, tmp_path):
        root = tmp_path / "photos"
        for folder in ("a", "b"):
            (root / folder).mkdir(parents=True)
            for number in range(12):
                content = encoded(scene(seed=number), "JPEG")
                (root / folder / f"{number}.jpg").write_bytes(content + folder.encode())

        class Remover:
            def say(self, message): ...

            def committed(self, photos): ...

            def progress(self, done, _):
                for path in sorted((root / "b").glob("*.jpg")) if done == 0 else ():
                    path.unlink()

        summary = run(root, tmp_path / "g.msedge", watcher=Remover())
        assert summary.photos == 12
        assert {each.reason for each in summary.skipped} == {"no such file"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root changes users")
class TestWhatNobodyMayRead:
    """Root may read everything, so that these are read as a user who owns nothing."""

    @pytest.mark.parametrize("reader", READERS)
    def test_a_file_is_named_with_the_reason(self, reader):
        path = Path("/tmp") / f"msedge-{os.getpid()}.jpg"
        path.write_bytes(PHOTO)
        path.chmod(0)

        def work():
            os.setuid(NOBODY)
            try:
                return str(reader(path))
            except DataError as error:
                return str(error)

        try:
            assert measured(work).answer.endswith(f"{path}: permission denied")
        finally:
            path.unlink()

    def test_a_folder_is_told_and_what_was_known_of_it_stays(self):
        place = Path("/tmp") / f"msedge-{os.getpid()}"
        for name in ("open", "closed"):
            (place / name).mkdir(parents=True)
            (place / name / "a.jpg").write_bytes(encoded(scene(seed=len(name)), "JPEG"))
        gallery = place / "g" / "g.msedge"
        gallery.parent.mkdir()

        def work():
            os.setuid(NOBODY)
            summary = run([place / "open", place / "closed"], gallery, allow_empty=True)
            return [(each.path.name, each.reason) for each in summary.skipped], summary.photos

        def below():
            os.setuid(NOBODY)
            summary = run(place, gallery)
            return [(each.path.name, each.reason) for each in summary.skipped], summary.photos

        try:
            gallery.parent.chmod(0o777)
            assert measured(work).answer == ([], 2)
            (place / "closed").chmod(0)
            assert measured(below).answer == ([("closed", "permission denied")], 2)
        finally:
            (place / "closed").chmod(0o700)
            for path in sorted(place.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            place.rmdir()
