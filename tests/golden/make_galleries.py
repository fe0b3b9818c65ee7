"""How the galleries under ``files/galleries`` were made: ``python tests/golden/make_galleries.py``.

They are what earlier releases wrote and stay as they are. Run this only with the release whose
galleries are to be kept, and only for a kind that is not there yet: it leaves alone what is.

All hold the same eight drawn photos of the shipped model, whose files are not kept: they are said
to lie below ``/photos``, where nothing need be. Two have names that are no UTF-8 or have a line
break, two have the same bytes, two are near-duplicates, and a ninth was removed.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np

from msedge.data.sample import draw_photo

GALLERIES = Path(__file__).parent / "files" / "galleries"
FIRST_DAY = 1_577_880_000  # noon of 2020-01-01, UTC
SQUARE, WIDE, HIGH = (0, 0, 160, 160), (0, 20, 160, 140), (20, 0, 140, 160)
PHOTOS = (
    (b"2019/cup 1.jpg", "cup", 1, SQUARE),
    (b"2019/cup 2.jpg", "cup", 2, WIDE),
    (b"2019/cup 2 again.jpg", "cup", 2, WIDE),
    (b"2019/cup 2 smaller.png", "cup", 2, WIDE),
    ("naïve 🐱/fish.jpg".encode(), "fish", 3, SQUARE),
    (b"caf\xe9/fish.jpg", "fish", 4, HIGH),
    (b"line\nbreak/lamp.jpg", "lamp", 5, HIGH),
    (b"lamp.jpg", "lamp", 6, WIDE),
    (b"removed.jpg", "bird", 7, SQUARE),
)

FIRST_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE photos (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    taken REAL NOT NULL,
    vector BLOB NOT NULL
);
CREATE INDEX photos_by_content ON photos (content_hash);
"""
"""As the first release wrote it."""

COLUMNS = "id, path, size, mtime_ns, content_hash, width, height, taken, vector"


def write_photos(folder: Path) -> None:
    """Draw them below a folder."""
    for day, (name, drawn, seed, crop) in enumerate(PHOTOS):
        path = Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))  # noqa: PTH118 (bytes)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = draw_photo(drawn, np.random.default_rng(seed)).crop(crop)
        if path.suffix == ".png":
            picture.reduce(2).save(path)
        else:
            picture.save(path, quality=90)
        os.utime(path, (FIRST_DAY + 86_400 * day,) * 2)


def msedge(*arguments: str | Path) -> None:
    """Run a command."""
    subprocess.run([sys.executable, "-m", "msedge", *arguments], check=True)


def second_schema(path: Path, folder: Path) -> None:
    """As ``msedge index`` writes it, but for where the photos lie."""
    write_photos(folder)
    msedge("index", folder, "--gallery", path, "--threads", "1")
    (folder / "removed.jpg").unlink()
    msedge("index", folder, "--gallery", path, "--threads", "1")
    with closing(sqlite3.connect(path)) as gallery:
        for number, name in gallery.execute("SELECT id, path FROM photos").fetchall():
            place = name.replace(os.fsencode(folder), b"/photos")
            gallery.execute("UPDATE photos SET path = ? WHERE id = ?", (place, number))
        gallery.commit()


def first_schema(path: Path, second: Path) -> None:
    """The same photos in the tables of the first release."""
    with closing(sqlite3.connect(path, isolation_level=None)) as gallery:
        gallery.execute("PRAGMA page_size = 8192")
        gallery.execute("PRAGMA journal_mode = WAL")
        gallery.execute(f"PRAGMA application_id = {0x4D534547}")
        gallery.execute("PRAGMA user_version = 1")
        gallery.executescript(FIRST_SCHEMA)
        gallery.execute("ATTACH ? AS second", (str(second),))
        gallery.execute(f"INSERT INTO photos SELECT {COLUMNS} FROM second.photos")
        gallery.execute("INSERT INTO meta SELECT * FROM second.meta WHERE key != 'identity'")
        gallery.execute("DELETE FROM sqlite_sequence")
        gallery.execute("INSERT INTO sqlite_sequence SELECT * FROM second.sqlite_sequence")


def pack(folder: Path, tar: Path) -> None:
    """A folder as one file, without who made it and when."""

    def nameless(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(tar, "w") as packed:
        packed.add(folder, folder.name, filter=nameless)


def main() -> None:
    """Make those that are not there."""
    GALLERIES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        second = GALLERIES / "schema-2.msedge"
        if not second.exists():
            second_schema(folder / second.name, folder / "photos")
            shutil.copy(folder / second.name, second)
        shutil.copy(second, folder / second.name)
        if not (GALLERIES / "schema-1.msedge").exists():
            first_schema(folder / "schema-1.msedge", folder / second.name)
            shutil.copy(folder / "schema-1.msedge", GALLERIES)
        for name in ("lance", "lance-indexed"):
            if not (GALLERIES / f"{name}.tar").exists():
                msedge("gallery", "copy", folder / second.name, folder / f"{name}.lance")
                if name == "lance-indexed":
                    msedge("gallery", "approximate", folder / f"{name}.lance", "--force")
                pack(folder / f"{name}.lance", GALLERIES / f"{name}.tar")


if __name__ == "__main__":
    main()
