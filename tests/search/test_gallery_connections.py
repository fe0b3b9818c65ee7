from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from msedge.errors import DataError
from msedge.search.gallery_file import GalleryFile, Model
from photo_files import new_photo

MODEL = Model("m", "f", 4)
NOBODY = 65534


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "photos.msedge"
    with GalleryFile.create(path, MODEL) as file:
        file.put([new_photo(f"/{number}.jpg", number) for number in range(300)])
    return path


def read_everything(path, **options):
    with GalleryFile.open(path, **options) as file:
        file.vectors()
        file.photos()


def refusal(path, **options):
    """The line that opening ends in; neither the file nor its folder changes."""
    content = path.read_bytes() if path.is_file() else None
    names = sorted(path.parent.iterdir())
    with pytest.raises(DataError) as caught:
        read_everything(path, **options)
    assert (path.read_bytes() if content is not None else None) == content
    assert sorted(path.parent.iterdir()) == names
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


class TestWhatIsNoGallery:
    def test_a_missing_file(self, tmp_path):
        assert "make it with `msedge index" in refusal(tmp_path / "none.msedge")

    def test_a_folder(self, tmp_path):
        (tmp_path / "g.msedge").mkdir()
        assert "is not a gallery" in refusal(tmp_path / "g.msedge")

    @pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff" + bytes(9000)])
    def test_another_file(self, tmp_path, content):
        path = tmp_path / "g.msedge"
        path.write_bytes(content)
        assert "is not a gallery" in refusal(path)
        assert "is not a gallery" in refusal(path, writable=True)

    def test_another_programs_database_even_with_a_log_beside_it(self, tmp_path):
        path = tmp_path / "g.msedge"
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE diary (day)")
        connection.commit()
        assert "is not a gallery" in refusal(path, writable=True)
        connection.close()
        assert "is not a gallery" in refusal(path, writable=True)

    def test_a_newer_schema(self, path):
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 3")
        connection.close()
        line = refusal(path, writable=True)
        assert "schema 3" in line
        assert "update msedge" in line

    def test_a_gallery_that_does_not_say_what_made_it(self, path):
        with sqlite3.connect(path) as connection:
            connection.execute("DELETE FROM meta WHERE key = 'dim'")
        connection.close()
        assert "is damaged" in refusal(path)

    def test_a_gallery_without_its_tables(self, path):
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TABLE photos")
        connection.close()
        assert "is damaged" in refusal(path)


class TestDamage:
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_a_file_cut_short(self, path, share):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        assert "index again" in refusal(path)

    def test_bytes_overwritten(self, path):
        content = bytearray(path.read_bytes())
        content[8192:] = b"\xaa" * (len(content) - 8192)
        path.write_bytes(content)
        assert "is damaged" in refusal(path)

    def test_a_vector_cut_short(self, path):
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE photos SET vector = x'0011' WHERE id = 7")
        connection.close()
        assert "a vector is cut short" in refusal(path)


@pytest.fixture
def open_folder():
    """A folder that others may look into, unlike those of tmp_path."""
    folder = Path(tempfile.mkdtemp(prefix="gallery-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


READ = (
    "import os, sys; from pathlib import Path\n"
    "from msedge.search.gallery_file import GalleryFile\n"
    f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
    "with GalleryFile.open(Path(sys.argv[1])) as file:\n"
    "    print(file.count(), file.version(), len(file.vectors()[0]))\n"
)


def read_as_another(path):
    """What someone sees who may read the gallery and write nothing."""
    return subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, timeout=60
    )


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="needs a user who may write nothing"
)
class TestReadingWithoutWriting:
    def test_a_closed_gallery(self, open_folder):
        path = open_folder / "g.msedge"
        with GalleryFile.create(path, MODEL) as file:
            file.put([new_photo("/a.jpg")])
        done = read_as_another(path)
        assert (done.stdout, done.stderr) == ("1 1 1\n", "")
        assert list(open_folder.iterdir()) == [path]

    def test_a_gallery_that_is_being_written(self, open_folder):
        path = open_folder / "g.msedge"
        with GalleryFile.create(path, MODEL) as file:
            file.put([new_photo("/a.jpg")])
            assert read_as_another(path).stdout == "1 1 1\n"
            file.put([new_photo("/b.jpg", 1)])
            assert read_as_another(path).stdout == "2 2 2\n"
            with file.transaction():
                file.put([new_photo("/c.jpg", 2)])
                assert read_as_another(path).stdout == "2 2 2\n"

    def test_changes_beside_the_file_that_cannot_be_read_are_not_passed_over(self, open_folder):
        path, copy = open_folder / "g.msedge", open_folder / "copy"
        copy.mkdir(mode=0o755)
        with GalleryFile.create(path, MODEL) as file:
            file.put([new_photo("/a.jpg")])
            for suffix in ("", "-wal"):
                shutil.copy(f"{path}{suffix}", copy)
        done = read_as_another(copy / "g.msedge")
        assert done.stdout == "1 1 1\n" or "was not closed" in done.stderr


def test_a_reader_sees_a_gallery_whose_writer_was_killed(tmp_path):
    """The log that a kill leaves is part of the gallery, and reading it in is not a change."""
    path, left = tmp_path / "g.msedge", tmp_path / "left"
    left.mkdir()
    with GalleryFile.create(path, MODEL) as file:
        file.put([new_photo("/a.jpg")])
        for name in ("g.msedge", "g.msedge-wal"):
            shutil.copy(tmp_path / name, left)
    with GalleryFile.open(left / "g.msedge") as file:
        assert (file.count(), file.version()) == (1, 1)
