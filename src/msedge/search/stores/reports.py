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
    """What made a gallery's vectors.

    Attributes:
        name: what the model is called, or its path.
        fingerprint: a hash of everything that decides its vectors.
        dim: width of the vectors.
    """

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
    """An index for approximate search, what it finds, and how old it is.

    Attributes:
        kind: of the index.
        recall: share of the true first 20 that it found when it was built.
        recall_wanted: what was asked for.
        queries: over which that was measured.
        photos: that it was built of.
        behind: photos put or removed since; they are searched exactly.
        seconds: that building took.
        bytes_a_vector: in memory; None where that is not known.
        parameters: what it was built and is searched with.
    """

    kind: str
    recall: float
    recall_wanted: float
    queries: int
    photos: int
    behind: int
    seconds: float
    bytes_a_vector: float | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Size:
    """What a gallery takes on disk.

    Attributes:
        on_disk: bytes, without caches; None where that is not known.
        caches: bytes by name: ``approximate``, ``thumbnails``.
        parts: what only a dataset has: ``fragments``, ``versions``, ``unindexed``.
    """

    on_disk: int | None
    caches: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] | None = None


@dataclass
class Statistics(Told):
    """Of one gallery at one moment.

    Attributes:
        gallery: where it lies.
        kind: ``sqlite`` or ``lance``.
        model: what made the vectors.
        version: rises with every change of the photos.
        bytes_a_vector: as it is stored.
        photos: how many there are.
        taken: first and last date, seconds of Unix time; None of an empty gallery.
        orientations: photos that are ``landscape``, ``portrait``, ``square``.
        folders: those with most photos directly in them, and how many that is.
        folder_count: all folders that photos lie directly in.
        same_content: photos whose file has the same bytes as another's before it.
        bytes_on_disk: of the gallery, without caches; None where that is not known.
        bytes_of_caches: by name: ``approximate``, ``thumbnails``.
        approximate: the index for approximate search; None where there is none.
        lance: what only a Lance dataset has: ``fragments``, ``versions``, ``unindexed``.
    """

    gallery: str
    kind: str
    model: Model
    version: int
    bytes_a_vector: int
    photos: int = 0
    taken: tuple[float, float] | None = None
    orientations: dict[str, int] = field(default_factory=dict)
    folders: list[tuple[str, int]] = field(default_factory=list)
    folder_count: int = 0
    same_content: int = 0
    bytes_on_disk: int | None = None
    bytes_of_caches: dict[str, int] = field(default_factory=dict)
    approximate: IndexState | None = None
    lance: dict[str, int] | None = None


@dataclass(frozen=True)
class Compacted(Told):
    """What compacting came to.

    Attributes:
        bytes_before: on disk; None where that is not known.
        bytes_after: on disk.
        done: what was done, a line each.
        seconds: that it took.
    """

    bytes_before: int | None
    bytes_after: int | None
    done: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Finding(Told):
    """One thing that is not as it should be, or that is worth knowing.

    Attributes:
        name: the same for all findings of a sort, for programs: ``vectors``, ``leftovers``.
        what: in words, with an example where there are many.
        count: of rows, files or bytes, as ``what`` says.
        advice: what repairing does, or what to do where it does nothing.
        can_mend: whether repairing helps.
        is_note: whether all is well nevertheless.
        is_mended: whether it has been repaired.
    """

    name: str
    what: str
    count: int
    advice: str
    can_mend: bool = False
    is_note: bool = False
    is_mended: bool = False

    @property
    def is_left(self) -> bool:
        """Whether something remains to be done."""
        return not (self.is_note or self.is_mended)


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding, and the work that mends it.

    Attributes:
        finding: what was found.
        mend: repairs it; None where nothing can. What it returns stands in place of ``advice``.
        leaves_more: whether a person has something to do even then.
    """

    finding: Finding
    mend: Callable[[], str] | None = None
    leaves_more: bool = False

    @classmethod
    def found(
        cls, name: str, what: str, count: int, advice: str, mend: Callable[[], str] | None = None
    ) -> Self:
        """A problem, which repairing mends where there is a way to."""
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
    """Is told how long work goes."""

    def say(self, message: str) -> None:
        """Take a line of news."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Take how far something is, in photos."""


class StoppedError(Exception):
    """Work was asked to stop, and has left everything as it was."""


class Watched:
    """A watcher that may be none, and a request to stop that may never come."""

    def __init__(self, watcher: Watcher | None = None, stop: threading.Event | None = None) -> None:
        """Take both."""
        self._watcher, self.stop = watcher, stop or threading.Event()

    def say(self, message: str) -> None:
        """Pass on a line of news."""
        if self._watcher:
            self._watcher.say(message)

    def progress(self, what: str, done: int = 0, total: int = 0) -> None:
        """Pass on how far something is; without numbers, that it is begun.

        Raises:
            StoppedError: the work is to stop.
        """
        if self.stop.is_set():
            raise StoppedError
        if self._watcher:
            self._watcher.progress(what, done, total)

    @contextmanager
    def interrupting(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Let a request to stop end what SQLite is at.

        Raises:
            StoppedError: the work is to stop.
        """
        connection.set_progress_handler(self.stop.is_set, _INSTRUCTIONS)
        try:
            yield
        except sqlite3.OperationalError as error:
            if self.stop.is_set():
                raise StoppedError from error
            raise
        finally:
            connection.set_progress_handler(None, 0)
