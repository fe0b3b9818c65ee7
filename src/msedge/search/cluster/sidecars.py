"""Two small files beside a dataset: photos that could not be read, and how many a shard holds.

``<gallery>.unread.jsonl`` is for people: a line a photo that was passed over, with the reason; it
is gone when there is none. ``<gallery>.shards.jsonl`` is a cache that may be deleted: thanks to it,
shards that are whole in the gallery are not opened again. Both are replaced whole. Tested in
``tests/search/cluster/test_sidecars.py``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from msedge.errors import DataError
from msedge.search.cluster.objects import filesystem, why
from msedge.search.locations import is_remote, location

UNREAD, SHARDS = ".unread.jsonl", ".shards.jsonl"


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """What a shard was found to hold.

    Attributes:
        path: of the shard.
        size: bytes.
        mtime_ns: when it was last changed, in nanoseconds of Unix time.
        photos: how many of its photos count.
        asked: the options that decide which ones.
    """

    path: str
    size: int
    mtime_ns: int
    photos: int
    asked: str


def read_shard_records(gallery: Path) -> dict[str, ShardRecord]:
    """What was written last, by the shard's path; nothing where that cannot be read."""
    records = {}
    for line in _read(_beside(gallery, SHARDS)):
        with contextlib.suppress(TypeError):
            record = ShardRecord(**line)
            records[record.path] = record
    return records


def write_shard_records(gallery: Path, records: Iterable[ShardRecord]) -> None:
    """Replace what was written.

    Raises:
        DataError: it cannot be written.
    """
    _write(_beside(gallery, SHARDS), [asdict(record) for record in records])


class DeadLetters:
    """What could not be read, by path, with the reason; kept in step with the file."""

    def __init__(self, gallery: Path) -> None:
        """Take what the file says."""
        self._path = _beside(gallery, UNREAD)
        lines = _read(self._path)
        self._letters = {
            str(line["location"]): str(line.get("reason", ""))
            for line in lines
            if "location" in line
        }
        self._changed = False

    def as_dict(self) -> dict[str, str]:
        """What is known now."""
        return dict(self._letters)

    def keep(self, paths: Iterable[str]) -> None:
        """Forget all but some."""
        wanted = {location(path) for path in paths}
        kept = {path: why for path, why in self._letters.items() if path in wanted}
        self._changed |= kept != self._letters
        self._letters = kept

    def add(self, path: str, reason: str) -> None:
        """Note something that could not be read."""
        self._changed |= self._letters.get(location(path)) != reason
        self._letters[location(path)] = reason

    def drop(self, path: str) -> None:
        """Forget something that could be read."""
        self._changed |= self._letters.pop(location(path), None) is not None

    def write(self) -> None:
        """Replace the file, where something has changed.

        Raises:
            DataError: it cannot be written.
        """
        if self._changed:
            lines = [
                {"location": path, "reason": self._letters[path]} for path in sorted(self._letters)
            ]
            _write(self._path, lines)
            self._changed = False


def _beside(gallery: Path, suffix: str) -> Path:
    return gallery.with_name(gallery.name + suffix)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        if is_remote(path):
            system, name = filesystem(str(path))
            text = system.cat_file(name).decode()
        else:
            text = path.read_text()
        lines = [json.loads(line) for line in text.splitlines()]
    except Exception:  # none was written, or it is damaged: what it says is found out anew
        return []
    return [line for line in lines if isinstance(line, dict)]


def _write(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    new = path.with_name(path.name + "-new")
    try:
        if is_remote(path):
            system, name = filesystem(str(path))
            if text:
                system.pipe_file(name, text)
            else:
                with contextlib.suppress(FileNotFoundError):
                    system.rm_file(name)
        elif text:
            new.write_bytes(text)
            new.replace(path)
        else:
            path.unlink(missing_ok=True)
            new.unlink(missing_ok=True)  # of a writer that was killed
    except Exception as error:  # each file system has errors of its own
        raise DataError(
            f"cannot write {location(path)} ({why(error)}): make room, or see to its permissions"
        ) from error
