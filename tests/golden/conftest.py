"""What the goldens of the public doors share: how they are kept, and how a command is typed.

The files under ``files/`` say what this release answers at its public doors: the command line, the
HTTP API, and ``msedge.Gallery``. The tests beside this one ask the same again. They import nothing
of ``msedge.search``, so that they outlive how it is cut.

Where an answer is meant to change, write the goldens anew and read the difference before it is
committed::

    MSEDGE_WRITE_GOLDEN=1 pytest tests/golden

That writes texts and JSON. The galleries under ``files/galleries`` are what earlier releases wrote
and are never written anew; ``make_galleries.py`` says how they were made.

Only what is volatile is replaced before two answers are compared: the folder of the test, seconds,
photos a second, sizes on disk, and digests of what names that folder.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msedge.cli.app import main
from msedge.data.sample import draw_photo, draw_sketch

FILES = Path(__file__).parent / "files"
WRITING = os.environ.get("MSEDGE_WRITE_GOLDEN") == "1"
HERE = "<here>"
FIRST_DAY = 1_577_880_000  # noon of 2020-01-01, UTC
_VOLATILE = {
    "seconds",
    "photos_per_second",
    "bytes_on_disk",
    "bytes_before",
    "bytes_after",
    "took_ms",
}
_SIZES = {"bytes_of_caches"}  # by name: the names stay


class Golden:
    """Answers on file, and the comparison with what is answered now."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, Any]] = {}

    def text(self, name: str, found: str) -> None:
        """Hold a text against the one on file."""
        path = FILES / name
        if WRITING:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(found, encoding="utf-8")
        assert found == path.read_text(encoding="utf-8")

    def document(self, name: str, found: Any, *, within: float = 0.0) -> None:
        """Hold JSON against the one on file; similarities and mAP may differ by ``within``."""
        path = FILES / name
        found = json.loads(json.dumps(found))
        if WRITING:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        _assert_same(found, json.loads(path.read_text(encoding="utf-8")), within)

    def entry(self, name: str, key: str, found: Any, *, within: float = 0.0) -> None:
        """Hold JSON against one entry of a table on file."""
        if name not in self._tables:
            path = FILES / name
            there = path.exists() or not WRITING
            self._tables[name] = json.loads(path.read_text(encoding="utf-8")) if there else {}
        found = json.loads(json.dumps(found))
        if WRITING:
            self._tables[name][key] = found
        _assert_same(found, self._tables[name][key], within)

    def write_tables(self) -> None:
        """Keep the entries that were given, where goldens are written."""
        for name, table in self._tables.items() if WRITING else ():
            path = FILES / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _assert_same(found: Any, kept: Any, within: float) -> None:
    assert _without_measures(found) == _without_measures(kept)
    assert _measures(found) == pytest.approx(_measures(kept), rel=0, abs=within)


def _without_measures(document: Any) -> Any:
    if isinstance(document, dict):
        return {
            key: _without_measures(value)
            for key, value in document.items()
            if not _is_measure(key, value)
        }
    if isinstance(document, list):
        return [_without_measures(each) for each in document]
    return document


def _measures(document: Any) -> list[float]:
    if isinstance(document, list):
        return [value for each in document for value in _measures(each)]
    if not isinstance(document, dict):
        return []
    own = [value for key, value in sorted(document.items()) if _is_measure(key, value)]
    return own + [value for key in sorted(document) for value in _measures(document[key])]


def _is_measure(key: str, value: Any) -> bool:
    return key in ("similarity", "score", "mAP") and isinstance(value, float)


@pytest.fixture(scope="session")
def golden() -> Iterator[Golden]:
    """The answers on file."""
    kept = Golden()
    yield kept
    kept.write_tables()


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    status: int | str | None
    out: str
    err: str

    def document(self) -> Any:
        """What it printed, as JSON, where all went well."""
        assert (self.status, self.out != "") == (0, True), self.err
        return json.loads(self.out)


@pytest.fixture(scope="session")
def type_in() -> Callable[..., Answer]:
    """Type ``msedge`` with arguments, in this process."""

    def typed(*arguments: object) -> Answer:
        out, err = (
            io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)
        )
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setenv("COLUMNS", "200")
            patch.setenv("MSEDGE_DEBUG", "")
            patch.setattr(sys, "argv", ["msedge", *map(str, arguments)])
            with pytest.raises(SystemExit) as left:
                main()
        said = [stream.buffer.getvalue().decode() for stream in (out, err)]
        return Answer(left.value.code or 0, *said)

    return typed


@pytest.fixture(scope="session")
def steady() -> Callable[..., Any]:
    """Put a name in the place of what differs at each run, and leave all else as it is."""

    def without_volatile(document: Any, here: Path | None = None) -> Any:
        if isinstance(document, str):
            return document if here is None else document.replace(str(here), HERE)
        if isinstance(document, list):
            return [without_volatile(each, here) for each in document]
        if not isinstance(document, dict):
            return document
        kept = {}
        for key, value in document.items():
            if key in _VOLATILE:
                assert isinstance(value, int | float), f"{key} is {value!r}"
                assert value >= 0, f"{key} is {value!r}"
                kept[key] = f"<{key}>"
            elif key == "digest" and here is not None:  # of paths too, and those lie in the folder
                assert re.fullmatch("[0-9a-f]{64}", value)
                kept[key] = "<digest>"
            elif key in _SIZES:
                assert all(size > 0 for size in value.values())
                kept[key] = sorted(value)
            else:
                kept[key] = without_volatile(value, here)
        return kept

    return without_volatile


def hits_of(hits: Any) -> list[dict[str, Any]]:
    """Hits of ``msedge.Gallery`` as JSON, similarities to the last digit."""
    return [
        {
            "rank": hit.rank,
            "id": hit.photo.id,
            "similarity": float(hit.similarity),
            "copies": [copy.id for copy in hit.copies],
        }
        for hit in hits
    ]


@pytest.fixture(scope="session")
def as_documents() -> Callable[[Any], list[dict[str, Any]]]:
    """Turn hits of ``msedge.Gallery`` into JSON."""
    return hits_of


def write_photos(folder: Path) -> Path:
    """Drawn photos of two classes in two folders, one of them twice; each dated by its file."""
    day = 0
    for name, sizes in (
        ("cup", ((0, 0, 160, 160), (0, 20, 160, 140))),
        ("fish", ((20, 0, 130, 160),) * 3),
    ):
        (folder / name).mkdir(parents=True)
        for number, crop in enumerate(sizes):
            path = folder / name / f"{name} {number}.jpg"
            draw_photo(name, np.random.default_rng(number)).crop(crop).save(path, quality=90)
            os.utime(path, (FIRST_DAY + 86_400 * day,) * 2)
            day += 1
    again = folder / "fish" / "fish again.jpg"
    again.write_bytes((folder / "fish" / "fish 0.jpg").read_bytes())
    os.utime(again, (FIRST_DAY + 86_400 * day,) * 2)
    return folder


@pytest.fixture(scope="session")
def drawn_photos() -> Callable[[Path], Path]:
    """Write six drawn photos below a folder that is not there yet."""
    return write_photos


@pytest.fixture(scope="session")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sketch of a cup."""
    path = tmp_path_factory.mktemp("drawing") / "cup.png"
    draw_sketch("cup", np.random.default_rng(7)).save(path)
    return path
