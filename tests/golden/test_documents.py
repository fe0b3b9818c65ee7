"""What every command about galleries prints, from the first index to the last check.

One story of a folder of drawn photos, told step by step: each step is a command, and its answer is
held against ``files/documents.json``. Of what is printed for people, only times and sizes on disk
are replaced.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from msedge.data.sample import draw_sketch

TABLE = "documents.json"
TIMES = re.compile(r"\d[\d,]*\.\d(?= s\b| photos/s\b)")
SIZES = re.compile(r"\d[\d.,]* (?=kB\b|MB\b)")  # on disk; a vector's are in bytes
DAY = 1_590_000_000
GALLERY = ("--gallery", "photos.msedge")


def put(path: str, content: bytes, day: int) -> None:
    """Write a file of a day of its own."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)
    os.utime(path, (DAY + 86_400 * day,) * 2)


def spoil() -> None:
    """Files that are no photos, or no whole ones."""
    whole = Path("photos/cup/cup 0.jpg").read_bytes()
    put("photos/cut.jpg", whole[: len(whole) // 2], 1)
    put("photos/text.jpg", b"no picture\n" * 9, 2)
    put("photos/empty.png", b"", 3)
    put("photos/notes.txt", b"nothing to index\n", 4)
    put("photos/.hidden.jpg", Path("photos/cup/cup 1.jpg").read_bytes() + b"\0", 5)
    Path("photos/nowhere.jpg").symlink_to("gone.jpg")


def change() -> None:
    """One photo changes, one moves, one goes, one comes, and one is only touched."""
    put("photos/cup/cup 0.jpg", Path("photos/fish/fish 2.jpg").read_bytes(), 6)
    Path("photos/elsewhere").mkdir()
    Path("photos/cup/cup 1.jpg").rename("photos/elsewhere/cup.jpg")
    Path("photos/fish/fish 2.jpg").unlink()
    put("photos/new.jpg", Path("drawing.png").read_bytes(), 7)
    os.utime("photos/fish/fish 1.jpg", (DAY, DAY))


def empty() -> None:
    """The photos of a folder go."""
    shutil.rmtree("photos/fish")
    Path("photos/fish").mkdir()


def damage() -> None:
    """A row that no search can use, an index that is not there, and what a kill left."""
    shutil.copy("copy.msedge", "damaged.msedge")
    with closing(sqlite3.connect("damaged.msedge")) as gallery:
        gallery.execute("UPDATE photos SET vector = zeroblob(length(vector)) WHERE id = 2")
        gallery.execute("DROP INDEX photos_by_content")
        gallery.commit()
    Path("damaged.msedge-rebuild").write_bytes(b"left by a kill")
    Path("damaged.msedge.thumbnails").write_bytes(b"no thumbnails\n" * 99)
    with closing(sqlite3.connect("copy.msedge")) as gallery:
        gallery.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = Path("copy.msedge").read_bytes()
    Path("torn.msedge").write_bytes(content[: len(content) // 2])


STORY: dict[str, tuple[str, ...] | Callable[[], None]] = {
    "index": ("index", "photos", *GALLERY, "--json"),
    "index again": ("index", "photos", *GALLERY, "--json"),
    "index again, told": ("index", "photos", *GALLERY),
    "search": ("search", "drawing.png", *GALLERY, "--json"),
    "search, every copy": ("search", "drawing.png", *GALLERY, "--json", "--all", "-k", "4"),
    "search in a folder": ("search", "drawing.png", *GALLERY, "--json", "--folder", "photos/fish"),
    "search like a photo": ("search", "--like", "photos/fish/fish 0.jpg", *GALLERY, "--json"),
    "search like a file": ("search", "--like", "drawing.png", *GALLERY, "--json", "-k", "1"),
    "search unlike a photo": (
        *("search", "drawing.png", "--unlike", "photos/fish/fish 0.jpg", *GALLERY, "--json"),
    ),
    "search for this and not that": (
        *("search", "drawing.png", "--not-sketch", "fish.png", *GALLERY, "--json"),
    ),
    "search of some days": (
        *("search", "drawing.png", *GALLERY, "--json"),
        *("--after", "2020-01-02", "--before", "2020-01-04", "--orientation", "portrait"),
    ),
    "search, a table": ("search", "drawing.png", *GALLERY),
    "search, paths": ("search", "drawing.png", *GALLERY, "--paths", "-k", "3"),
    "search, paths and NULs": ("search", "drawing.png", *GALLERY, "--null", "-k", "3"),
    "stats": ("gallery", "stats", "photos.msedge", "--json"),
    "stats, told": ("gallery", "stats", "photos.msedge"),
    "check": ("gallery", "check", "photos.msedge", "--json"),
    "check, told": ("gallery", "check", "photos.msedge"),
    "check of photos": ("gallery", "check", "photos.msedge", "--photos", "--json"),
    "spoil": spoil,
    "index of spoilt files": ("index", "photos", *GALLERY, "--json"),
    "index of spoilt files, told": ("index", "photos", *GALLERY),
    "index without some": (
        *("index", "photos", "--gallery", "some.msedge", "--json"),
        *("--exclude", "*.png", "--exclude", "fish", "--exclude", "cup/* 0.jpg", "--hidden"),
    ),
    "index of one photo": ("index", "photos/cup/cup 0.jpg", "--gallery", "one.msedge", "--json"),
    "change": change,
    "check of changed photos": ("gallery", "check", "photos.msedge", "--photos", "--json"),
    "index of changed photos": ("index", "photos", *GALLERY, "--json"),
    "search after changes": ("search", "drawing.png", *GALLERY, "--json"),
    "stats after changes": ("gallery", "stats", "photos.msedge", "--json"),
    "compact": ("gallery", "compact", "photos.msedge", "--json"),
    "compact, told": ("gallery", "compact", "photos.msedge"),
    "copy": ("gallery", "copy", "photos.msedge", "copy.msedge", "--json"),
    "copy to Lance": ("gallery", "copy", "photos.msedge", "copy.lance", "--json"),
    "copy from Lance": ("gallery", "copy", "copy.lance", "back.msedge", "--json"),
    "copy, told": ("gallery", "copy", "copy.lance", "other.lance"),
    "approximate, unforced": ("gallery", "approximate", "photos.msedge", "--json"),
    "approximate, unforced, told": ("gallery", "approximate", "photos.msedge"),
    "approximate": ("gallery", "approximate", "photos.msedge", "--force", "--json"),
    "approximate, told": ("gallery", "approximate", "photos.msedge", "--force", "--recall", "0.9"),
    "stats with an index": ("gallery", "stats", "photos.msedge", "--json"),
    "stats with an index, told": ("gallery", "stats", "photos.msedge"),
    "search with an index": ("search", "drawing.png", *GALLERY, "--json"),
    "search past an index": ("search", "drawing.png", *GALLERY, "--json", "--exact"),
    "stats of Lance": ("gallery", "stats", "copy.lance", "--json"),
    "check of Lance": ("gallery", "check", "copy.lance", "--json"),
    "search of Lance": ("search", "drawing.png", "--gallery", "copy.lance", "--json"),
    "approximate of Lance": ("gallery", "approximate", "copy.lance", "--force", "--json"),
    "compact of Lance": ("gallery", "compact", "copy.lance", "--json"),
    "search of Lance with an index": ("search", "drawing.png", "--gallery", "copy.lance", "--json"),
    "stats of Lance with an index, told": ("gallery", "stats", "copy.lance"),
    "damage": damage,
    "check of damage": ("gallery", "check", "damaged.msedge", "--json"),
    "check of damage, told": ("gallery", "check", "damaged.msedge"),
    "repair of damage": ("gallery", "check", "damaged.msedge", "--repair", "--json"),
    "check of what was mended": ("gallery", "check", "damaged.msedge", "--json"),
    "check of a torn file": ("gallery", "check", "torn.msedge", "--json"),
    "repair of a torn file": ("gallery", "check", "torn.msedge", "--repair", "--json"),
    "check of a torn file afterwards": ("gallery", "check", "torn.msedge", "--json"),
    "empty": empty,
    "index of emptied folders": ("index", "photos/fish", *GALLERY, "--json", "--allow-empty"),
    "rebuild": (
        *("index", "photos", *GALLERY, "--rebuild", "--json"),
        *("--model", "msedge-lite-sketchy21"),
    ),
    "search after a rebuild": ("search", "drawing.png", *GALLERY, "--json"),
    "index with a recall": ("index", "photos", *GALLERY, "--recall", "0.9"),
    "stats at the end": ("gallery", "stats", "photos.msedge", "--json"),
}
COMMANDS = [about for about, step in STORY.items() if isinstance(step, tuple)]


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """Where the story is played."""
    return tmp_path_factory.mktemp("story")


@pytest.fixture(scope="module")
def answers(here, drawn_photos, drawing, type_in):
    """What each step came to."""
    told = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("TZ", "UTC")
        time.tzset()
        drawn_photos(here / "photos")
        shutil.copy(drawing, here / "drawing.png")
        draw_sketch("fish", np.random.default_rng(8)).save(here / "fish.png")
        for about, step in STORY.items():
            if isinstance(step, tuple):
                told[about] = type_in(*step)
            else:
                step()
    time.tzset()
    return told


@pytest.mark.parametrize("about", COMMANDS)
def test_a_step(golden, steady, answers, here, about):
    answer = answers[about]
    found = {"typed": list(STORY[about]), "status": answer.status}
    if "--json" in STORY[about]:
        found["out"] = steady(json.loads(answer.out), here)
    else:
        plain = answer.out.replace(str(here), "<here>")
        found["out"] = SIZES.sub("<size> ", TIMES.sub("<time>", plain)).split("\n")
    lines = answer.err.replace(str(here), "<here>").splitlines()
    found["err"] = [TIMES.sub("<time>", line.rstrip()) for line in lines if line.strip()]
    golden.entry(TABLE, about, found, within=1e-5)


def test_copies_are_equal(answers):
    """Whatever the digest, which is of paths too, and those differ from run to run."""
    digests = {answers[about].document()["digest"] for about in COMMANDS if "copy " in about}
    assert len(digests) == 1
    assert len(digests.pop()) == 64
