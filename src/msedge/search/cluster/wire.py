"""What the driver and its workers tell each other: parts of the work, and what became of them.

Both are JSON, so that whatever version of Ray carries them, nothing is unpickled here. Tested in
``tests/search/cluster/test_wire.py``.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from msedge.search.folders import FoundFile
from msedge.search.gallery_rows import NewPhoto


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A shard that photos lie in: as it was when it was listed.

    Attributes:
        path: of the shard.
        size: bytes.
        mtime_ns: when it was last changed, in nanoseconds of Unix time.
        column: of the photos, in a Parquet file.
    """

    path: str
    size: int
    mtime_ns: int
    column: str


@dataclass(frozen=True, slots=True)
class Item:
    """A photo to be read.

    Attributes:
        file: its path, and what identifies its content: its own size and time, or its shard's.
        id: that it has in the gallery, or will have.
        known_hash: of the content that the gallery holds under this path; empty for a new one.
        shard: that it lies in; None for a file or an object of its own.
        spot: where in the shard, as of `Listing`.
    """

    file: FoundFile
    id: int
    known_hash: str = ""
    shard: ShardFile | None = None
    spot: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Part:
    """Photos that one worker reads, embeds and writes in one go."""

    number: int
    items: tuple[Item, ...]

    def as_json(self) -> bytes:
        """As it goes to a worker."""
        shards = list(dict.fromkeys(item.shard for item in self.items if item.shard))
        numbers = {shard: number for number, shard in enumerate(shards)}
        items = [
            [i.file.path, i.file.size, i.file.mtime_ns, i.id, i.known_hash]
            + ([numbers[i.shard], *i.spot] if i.shard else [])
            for i in self.items
        ]
        rows = [[s.path, s.size, s.mtime_ns, s.column] for s in shards]
        return json.dumps({"number": self.number, "shards": rows, "items": items}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """What :meth:`as_json` wrote."""
        told = json.loads(text)
        shards = [ShardFile(*row) for row in told["shards"]]
        items = []
        for path, size, mtime_ns, id, known, *place in told["items"]:
            file = FoundFile(path, size, mtime_ns)
            if place:
                items.append(Item(file, id, known, shards[place[0]], (place[1], place[2])))
            else:
                items.append(Item(file, id, known))
        return cls(told["number"], tuple(items))


@dataclass(slots=True)
class PartResult:
    """What became of a part.

    Attributes:
        number: of the part.
        fragments: of the dataset, that hold its photos; not part of it yet.
        written: ids of the photos in them.
        same: ids of those whose content is as the gallery knew it.
        held: photos whose content lay elsewhere before, for the driver to decide on; as of
            :func:`held_photo`, by id.
        unread: what could not be used: id, reason, whether it is damaged.
        worker: which one.
        node: the machine.
        seconds: that it took.
        failed: why nothing of it could be done; None where it was.
        hopeless: whether that will be so wherever and however often it is tried.
    """

    number: int
    fragments: list[str] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    same: list[int] = field(default_factory=list)
    held: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    unread: list[tuple[int, str, bool]] = field(default_factory=list)
    worker: str = ""
    node: str = ""
    seconds: float = 0.0
    failed: str | None = None
    hopeless: bool = False

    def as_json(self) -> bytes:
        """As it goes to the driver."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """What :meth:`as_json` wrote."""
        return cls(**json.loads(text))


def held_photo(photo: NewPhoto) -> dict[str, Any]:
    """A photo with its vector, as JSON holds it."""
    vector = base64.b64encode(photo.vector.astype("<f2").tobytes()).decode()
    fields = ("size", "mtime_ns", "content_hash", "width", "height", "taken")
    return {
        "path": os.fspath(photo.path),
        "vector": vector,
        **{name: getattr(photo, name) for name in fields},
    }


def photo_held(told: dict[str, Any]) -> NewPhoto:
    """What :func:`held_photo` wrote."""
    vector = np.frombuffer(base64.b64decode(told["vector"]), "<f2").astype(np.float16)
    return NewPhoto(**{**told, "path": Path(told["path"]), "vector": vector})
