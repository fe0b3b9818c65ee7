"""Files that a stranger, a bad disk or another program could put in the place of ours.

Everything is made by code from a seed: what is cut short, what has bits turned, what is of another
program, and pickles that would leave a mark if anything ever ran them. :func:`refusal` holds a
reader to the promise: one line, of an error of ours, and no warning beside it.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import sqlite3
import tarfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from msedge.errors import MSEdgeError

LONGEST_LINE = 1200
"""Characters of a message: a path of 4,096 aside, nobody reads more."""

SECONDS = 30
"""Against hanging, on a busy machine; a reader takes some milliseconds."""

TRIED: Counter[tuple[str, str]] = Counter()
"""Cases by artefact and kind, over all that were given to :func:`held_to_it` or counted there."""

_CUTS = (0, 1, 7, 8, 9, 64, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Case:
    """Something to be read in the place of a whole file.

    Attributes:
        kind: what was done; cases are counted by it.
        name: tells it from the others of its kind.
        content: of the file.
        must_fail: whether nothing can be made of it; a turned bit may also go unnoticed.
    """

    kind: str
    name: str
    content: bytes
    must_fail: bool = True

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


class Mark:
    """A file that stands there once a payload has been run."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "payload-was-run"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))

    @property
    def was_left(self) -> bool:
        return self.path.exists()


def cut_short(whole: bytes) -> Iterator[Case]:
    """The beginnings of a file: of single bytes, and of shares of it."""
    for cut in _CUTS:
        length = cut if isinstance(cut, int) else int(cut * len(whole))
        if length < len(whole):
            yield Case("cut short", f"after {cut}", whole[:length])


def turned(whole: bytes, *, header: int, each: int = 12, seed: int = 0) -> Iterator[Case]:
    """Bits turned near the beginning, and anywhere: one, and a handful."""
    rng = np.random.default_rng([seed, len(whole)])
    for where, end in (("header", min(header, len(whole))), ("body", len(whole))):
        for number in range(each):
            content = bytearray(whole)
            for at in rng.integers(0, end, 1 if number % 2 else 5):
                content[at] ^= 1 << int(rng.integers(8))
            yield Case(f"bits turned in the {where}", str(number), bytes(content), must_fail=False)


def wiped(whole: bytes, seed: int = 0) -> Iterator[Case]:
    """A part of zeros or of noise, as a disk gives that has lost a page."""
    rng = np.random.default_rng([seed, len(whole), 1])
    for number in range(6):
        start = int(rng.integers(len(whole)))
        end = min(len(whole), start + max(16, len(whole) // 10))
        fill = bytes(end - start) if number % 2 else rng.bytes(end - start)
        content = whole[:start] + fill + whole[end:]
        yield Case("a part lost", str(number), content, must_fail=False)
    yield Case("a part lost", "all of it", bytes(len(whole)))


def of_others(mark: Mark) -> Iterator[Case]:
    """Files of other programs, with a payload where the format can hold one."""
    texts = {
        "text": b"not what you expect\n" * 40,
        "page": b"<!DOCTYPE html><html><body>404</body></html>",
        "JSON": json.dumps({"format": 1, "about": {}, "files": {}}).encode(),
        "deep JSON": b"[" * 200_000,
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(200),
        "program": b"\x7fELF\x02\x01\x01" + bytes(500),
        "gzip": gzip.compress(bytes(5000)),
        "one byte": b"{",
        "nothing": b"",
        "an address": b"git-lfs\nversion https://git-lfs.github.com/spec/v1\nsize 12345\n",
    }
    for name, content in texts.items():
        yield Case("of another program", name, content)
    for protocol in (0, 2, 5):
        content = pickle.dumps({"state_dict": mark}, protocol)
        yield Case("a pickle with a payload", f"protocol {protocol}", content)
    yield Case("a pickle with a payload", "checkpoint of PyTorch", _torch_archive(mark))
    yield Case("a pickle with a payload", "array of objects", _objects(mark))
    yield Case("a pickle with a payload", "archive of objects", _archive_of_objects(mark))
    yield Case("a pickle with a payload", "in a tar", _tar(mark))
    yield Case("of another program", "database", another_database())


def another_database() -> bytes:
    """An SQLite file that is no gallery."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE photos (id INTEGER PRIMARY KEY, vector BLOB)")
        connection.execute("CREATE TABLE meta (key TEXT, value)")
        return bytes(connection.serialize())


def _torch_archive(mark: Mark) -> bytes:
    """A zip as `torch.save` writes it, with a pickle that does something."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(mark, 2))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return content.getvalue()


def _objects(mark: Mark) -> bytes:
    content = io.BytesIO()
    np.save(content, np.array([mark, mark], dtype=object), allow_pickle=True)
    return content.getvalue()


def _archive_of_objects(mark: Mark) -> bytes:
    content = io.BytesIO()
    objects = np.array([mark, mark], dtype=object)
    np.savez(content, embeddings=np.eye(2, dtype=np.float32), labels=objects)
    return content.getvalue()


def _tar(mark: Mark) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            inside = pickle.dumps(mark, 2)
            member = tarfile.TarInfo(name)
            member.size = len(inside)
            archive.addfile(member, io.BytesIO(inside))
    return content.getvalue()


def safetensors(header: object, body: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file with any header, and any length said of it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def refusal(read: Callable[[Path], object], path: Path, *, must_fail: bool = True) -> str | None:
    """What a reader says of a file: one line, of an error of ours, without a warning beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # would stand on standard error
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            read(path)
        except MSEdgeError as error:
            message = str(error)
        else:
            assert not must_fail, f"{path} was taken for a whole one"
            return None
    assert message.isprintable(), message  # so that it is one line, without escapes for terminals
    assert 0 < len(message) <= LONGEST_LINE, len(message)
    return message


def held_to_it(
    what: str, cases: Iterable[Case], read: Callable[[Path], object], path: Path, mark: Mark
) -> Counter[str]:
    """Give every case to a reader, and hold it to :func:`refusal`; how many there were by kind.

    No payload may be run, the file stays as it is, and each takes seconds at most.

    Args:
        what: the artefact, for the count.
        cases: what stands in its place.
        read: what a command does with it.
        path: where each case is put.
        mark: of the payloads.
    """
    counts: Counter[str] = Counter()
    for case in cases:
        path.write_bytes(case.content)
        start = time.monotonic()
        try:
            refusal(read, path, must_fail=case.must_fail)
        except BaseException as error:
            raise AssertionError(f"{path.suffix}: {case}: {type(error).__name__}") from error
        assert time.monotonic() - start < SECONDS, case
        assert not mark.was_left, case
        assert path.read_bytes() == case.content, case
        counts[case.kind] += 1
        TRIED[what, case.kind] += 1
    return counts
