"""Mistakes with galleries: the exit status, and every word that the person is told.

``files/mistakes.json`` is the table: what was typed, and what was answered on standard error. A
mistake prints nothing on standard output, and leaves everything as it was. The boxes that usage
errors stand in are left out.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

TABLE = Path(__file__).parent / "files" / "mistakes.json"
MISTAKES = json.loads(TABLE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, drawn_photos, drawing, type_in):
    """Galleries, things that are none, and one that another process indexes into."""
    folder = tmp_path_factory.mktemp("mistakes")
    drawn_photos(folder / "photos")
    shutil.copy(drawing, folder / "drawing.png")
    (folder / "photos.txt").write_text("no photo, no gallery\n" * 99)
    (folder / "text.msedge").write_text("no gallery\n" * 999)
    (folder / "text.png").write_text("no picture\n" * 99)
    (folder / "bytes.msedge").write_bytes(b"")
    (folder / "nothing").mkdir()
    (folder / "folder.msedge").mkdir()
    (folder / "empty.lance").mkdir()
    with closing(sqlite3.connect(folder / "other.msedge")) as other:
        other.executescript("CREATE TABLE bookmarks (url TEXT); PRAGMA user_version = 1;")
    whole = folder / "photos.msedge"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in (
            ("index", "photos", "--gallery", "photos.msedge"),
            ("index", "nothing", "--gallery", "none.msedge"),
            ("gallery", "copy", "photos.msedge", "photos.lance"),
        ):
            assert type_in(*command).status == 0
        shutil.copytree("photos", "emptied")
        assert type_in("index", "emptied", "--gallery", "emptied.msedge").status == 0
        for path in list(Path("emptied").rglob("*.jpg")):
            path.unlink()
    for name, change in (
        ("newer.msedge", "PRAGMA user_version = 99"),
        ("view.msedge", "CREATE VIEW more AS SELECT path FROM photos"),
        ("nameless.msedge", "DELETE FROM meta WHERE key = 'model'"),
        ("moved.msedge", "UPDATE meta SET value = '/models/mine.safetensors' WHERE key = 'model'"),
        ("retrained.msedge", "UPDATE meta SET value = 'another' WHERE key = 'fingerprint'"),
    ):
        shutil.copy(whole, folder / name)
        with closing(sqlite3.connect(folder / name)) as connection:
            connection.executescript(change)
    content = whole.read_bytes()
    (folder / "truncated.msedge").write_bytes(content[: len(content) // 2])
    shutil.copy(whole, folder / "busy.msedge")
    with (folder / "busy.msedge-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def left(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but SQLite's own beside a gallery, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
        if not path.name.endswith(("-wal", "-shm"))
    }


@pytest.mark.parametrize("about", MISTAKES)
def test_a_mistake(golden, folder, type_in, monkeypatch, about):
    monkeypatch.chdir(folder)
    typed = MISTAKES[about]["typed"]
    before = left(folder)
    if typed[0] == "serve":  # which would not end, were it no mistake
        command = [sys.executable, "-m", "msedge", *typed]
        environment = os.environ | {"COLUMNS": "200", "MSEDGE_DEBUG": ""}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        status, out, err = done.returncode, done.stdout, done.stderr
    else:
        answer = type_in(*typed)
        status, out, err = answer.status, answer.out, answer.err
    lines = (line.strip("│╭╮╰╯─ ") for line in err.replace(str(folder), "<here>").splitlines())
    said = [line for line in lines if line]
    golden.entry("mistakes.json", about, {"typed": typed, "status": status, "says": said})
    assert out == ""
    assert left(folder) == before


def test_every_mistake_is_told():
    """But for a gallery without photos, which is no mistake: nothing is found there."""
    silent = {about for about, each in MISTAKES.items() if each["status"] == 0}
    assert silent == {"search of a gallery without photos", "search that filters leave nothing of"}
    assert all(each["says"] for each in MISTAKES.values())
    assert all("Traceback" not in line for each in MISTAKES.values() for line in each["says"])
