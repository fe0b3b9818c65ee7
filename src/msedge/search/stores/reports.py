"""What is told of work on a gallery: how far it is, what was found, what it came to.

Tested in ``tests/search/stores/test_upkeep.py``.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, Self

from msedge.data.images import one_line

_EXAMPLES = 3
_INSTRUCTIONS = 20_000  # of SQLite's machine between two looks: some milliseconds


@dataclass(frozen=True, slots=True)
class Model:
    """What made a gallery's vectors; its fingerprint is a hash of all that decides them."""

    name: str
    fingerprint: str
    dim: int


class Told:
    """What a command comes to, which prints itself as JSON."""

    def as_dict(self) -> dict[str, Any]:
        """Its fields, for JSON."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True)
class IndexState(Told):
    """An index for approximate search, what it finds, and how old it is."""

    kind: str
    recall: float  # share of the true first 20 photos that it found when it was built
    recall_wanted: float
    queries: int  # over which that was measured
    photos: int
    behind: int  # photos put or removed since; they are searched exactly
    seconds: float
    bytes_a_vector: float | None = None  # in memory, where that is known
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Size:
    """What a gallery takes on disk, in bytes; see :class:`Statistics`."""

    on_disk: int | None
    caches: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] | None = None


@dataclass(frozen=True)
class Statistics(Told):
    """Of one gallery at one moment."""

    gallery: str
    kind: str
    model: Model
    version: int
    bytes_a_vector: int
    photos: int
    taken: tuple[float, float] | None  # first and last, seconds of Unix time
    orientations: dict[str, int]
    folders: list[tuple[str, int]]  # those with most photos directly in them, and how many
    folder_count: int
    same_content: int  # photos whose file has the same bytes as another's before it
    bytes_on_disk: int | None  # without caches, where it is known
    bytes_of_caches: dict[str, int]
    approximate: IndexState | None
    lance: dict[str, int] | None  # what only a dataset has: fragments, versions, unindexed


@dataclass(frozen=True)
class Compacted(Told):
    """What compacting came to: bytes on disk, where they are known, and a line for each step."""

    bytes_before: int | None
    bytes_after: int | None
    done: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Finding(Told):
    """One thing that is not as it should be, or that is worth knowing."""

    name: str  # of its sort, for programs: `vectors`, `leftovers`
    what: str
    count: int  # of rows, files or bytes, as `what` says
    advice: str  # what repairing does, or what to do where it does nothing
    can_mend: bool = False
    is_note: bool = False  # all is well nevertheless
    is_mended: bool = False

    @property
    def is_left(self) -> bool:
        """Whether something remains to be done."""
        return not (self.is_note or self.is_mended)


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding, and what mends it, if anything does; that returns what is then advised."""

    finding: Finding
    mend: Callable[[], str] | None = None
    leaves_more: bool = False  # for a person to do

    @classmethod
    def found(
        cls, name: str, what: str, count: int, advice: str, mend: Callable[[], str] | None = None
    ) -> Self:
        """A fault."""
        return cls(Finding(name, what, count, advice, can_mend=mend is not None), mend)

    @classmethod
    def noted(cls, name: str, what: str, count: int, advice: str) -> Self:
        """Something worth knowing that is no fault."""
        return cls(Finding(name, what, count, advice, is_note=True))

    def mended(self) -> Finding:
        """Do the work."""
        if self.mend is None:
            return self.finding
        return replace(self.finding, advice=self.mend(), is_mended=not self.leaves_more)


def examples(names: Iterable[object]) -> str:
    """The first few of many, on one line.

    >>> examples(["a", "b", "c", "d"])
    'a, b, c, ...'
    """
    names = list(names)
    shown = [one_line(str(name)) for name in names[:_EXAMPLES]]
    return ", ".join(shown + ["..."] * (len(names) > _EXAMPLES))


class Watcher(Protocol):
    """Is told how far work is."""

    def say(self, message: str) -> None:
        """Take a line of news."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Take how far something is, in photos."""


class StoppedError(Exception):
    """Work was asked to stop, and has left everything as it was."""


class Watched:
    """A watcher that may be none, and a request to stop that may never come."""

    def __init__(self, watcher: Watcher | None = None, stop: threading.Event | None = None) -> None:
        self._watcher, self.stop = watcher, stop or threading.Event()

    def say(self, message: str) -> None:
        """Pass on a line of news."""
        if self._watcher:
            self._watcher.say(message)

    def progress(self, what: str, done: int = 0, total: int = 0) -> None:
        """Pass on how far something is, or raise a StoppedError; no numbers: it has begun."""
        if self.stop.is_set():
            raise StoppedError
        if self._watcher:
            self._watcher.progress(what, done, total)

    @contextmanager
    def interrupting(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Let a request to stop end what SQLite is at, by a StoppedError."""
        connection.set_progress_handler(self.stop.is_set, _INSTRUCTIONS)
        try:
            yield
        except sqlite3.OperationalError as error:
            if self.stop.is_set():
                raise StoppedError from error
            raise
        finally:
            connection.set_progress_handler(None, 0)
