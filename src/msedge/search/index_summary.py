"""What indexing tells: while it goes, and at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class IndexWatcher(Protocol):
    """Someone who is told how indexing goes."""

    def say(self, message: str) -> None:
        """Hear a line of news."""

    def progress(self, done: int, total: int) -> None:
        """Hear how many of the photos that have to be read are done with."""

    def committed(self, photos: int) -> None:
        """Hear that what was done is safe in the gallery, which now holds so many photos."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was passed over.

    Attributes:
        path: a file, or a folder that cannot be read.
        reason: why, in a few words.
    """

    path: Path
    reason: str


@dataclass(slots=True)
class IndexSummary:
    """What indexing came to.

    Attributes:
        new: photos that the gallery did not hold.
        changed: photos whose content is another than before.
        moved: photos that lie elsewhere than before, with the same content.
        removed: photos that are no longer there.
        unchanged: photos that are as they were.
        embedded: how many of the new and changed went through the network; the others have the
            content of one that did.
        skipped: what was passed over, by path; looked at again by the next run.
        photos: in the gallery now.
        left: photos still to be read, where indexing was asked to stop.
        stopped: whether it was asked to stop.
        seconds: that it took.
    """

    new: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    embedded: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    photos: int = 0
    left: int = 0
    stopped: bool = False
    seconds: float = 0.0

    @property
    def photos_per_second(self) -> float:
        """New and changed photos a second."""
        return (self.new + self.changed) / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        names = ("new", "changed", "moved", "removed", "unchanged", "embedded", "photos", "left")
        return {
            **{name: getattr(self, name) for name in names},
            "stopped": self.stopped,
            "seconds": round(self.seconds, 3),
            "photos_per_second": round(self.photos_per_second, 1),
            "skipped": [{"path": str(s.path), "reason": s.reason} for s in self.skipped],
        }
