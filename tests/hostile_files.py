"""A folder of hostile files beside good photos: those of the corpus, and what is no file at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hostile_formats import encoded, scene
from hostile_images import Hostile

ODD_NAMES = (
    b"two\nlines.jpg",
    b"\x1b[2Jclears the screen.jpg",
    b"\xff\xfe not utf-8.jpg",
    b"\xed\xa0\x80 half a pair.jpg",
    b"-rf.jpg",
    b"--help.jpg",
    b" .jpg",
    b"'; drop table photos; --.jpg",
    b"%s%n%x {0} ${HOME}.jpg",
    b"[red]markup[/red].jpg",
    "\u202egpj.exe.jpg".encode(),
    "e\u0301 and \u00e9.jpg".encode(),
    "\N{ZERO WIDTH SPACE}.jpg".encode(),
    "\N{PILE OF POO}.jpg".encode(),
    "\u2028line separator.jpg".encode(),
    b"n" * 251 + b".jpg",
)
"""Names of files, as the file system has them; each is a photo that can be read."""


@dataclass(slots=True)
class Folder:
    """What was written.

    Attributes:
        path: of the folder.
        good: sound photos, some with odd names.
        files: files of the corpus, by path.
        told: things that are no readable file, each of which is to be told in a line.
        silent: things that are passed over, as they are not named like photos or are folders.
    """

    path: Path
    good: list[Path] = field(default_factory=list)
    files: dict[Path, Hostile] = field(default_factory=dict)
    told: list[Path] = field(default_factory=list)
    silent: list[Path] = field(default_factory=list)


def write_folder(path: Path, files: Iterable[Hostile]) -> Folder:
    """Write hostile files, odd things and good photos into a folder."""
    folder = Folder(path)
    for seed in range(4):
        photo = path / "good" / f"{seed}.jpg"
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_bytes(encoded(scene(96, 72, seed), "JPEG"))
        folder.good.append(photo)
    _write_odd_names(folder)
    for file in files:
        place = path / file.kind.replace(" ", "-") / file.name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(file.make())
        folder.files[place] = file
    _write_odd_things(folder)
    return folder


def _write_odd_names(folder: Folder) -> None:
    (folder.path / "names").mkdir()
    for at, name in enumerate(ODD_NAMES):
        place = folder.path / "names" / os.fsdecode(name)
        with suppress(OSError):  # a file system that takes text alone
            place.write_bytes(encoded(scene(96, 72, 100 + at), "JPEG"))
            folder.good.append(place)


def _write_odd_things(folder: Folder) -> None:
    odd = folder.path / "things"
    odd.mkdir()
    os.mkfifo(odd / "pipe.jpg")
    (odd / "to itself.jpg").symlink_to("to itself.jpg")
    (odd / "to the other.jpg").symlink_to("to the one.jpg")
    (odd / "to the one.jpg").symlink_to("to the other.jpg")
    (odd / "to nothing.png").symlink_to("nothing.png")
    (odd / "to no end.png").symlink_to("/dev/zero")
    (odd / "to a pipe.png").symlink_to("pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(odd)  # the path of a socket has a hundred bytes
        try:
            server.bind("socket.jpg")
        finally:
            os.chdir(here)
    folder.told += list(odd.iterdir())
    with (odd / "a terabyte.jpg").open("wb") as sparse:
        sparse.truncate(2**40)
    folder.told.append(odd / "a terabyte.jpg")
    (odd / "a folder.jpg").mkdir()
    (odd / "loop").symlink_to("..")
    (odd / "pipe").symlink_to("pipe.jpg")
    folder.silent += [odd / "a folder.jpg", odd / "loop", odd / "pipe"]
