"""What a check finds, and what would mend it.

Tested in ``tests/search/upkeep/test_checking.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from msedge.data.images import one_line

_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Finding:
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

    def as_dict(self) -> dict[str, Any]:
        """Its fields, for JSON."""
        return asdict(self)


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

    def mended(self) -> Finding:
        """Do the work."""
        if self.mend is None:
            return self.finding
        return replace(self.finding, advice=self.mend(), is_mended=not self.leaves_more)


def found(
    name: str,
    what: str,
    count: int,
    advice: str,
    mend: Callable[[], str] | None = None,
) -> Problem:
    """A problem, which repairing mends where there is a way to."""
    return Problem(Finding(name, what, count, advice, can_mend=mend is not None), mend)


def noted(name: str, what: str, count: int, advice: str) -> Problem:
    """Something worth knowing that is no fault."""
    return Problem(Finding(name, what, count, advice, is_note=True))


def examples(names: Iterable[object]) -> str:
    """The first few of many, on one line.

    >>> examples(["a", "b", "c", "d"])
    'a, b, c, ...'
    """
    names = list(names)
    shown = [one_line(str(name)) for name in names[:_EXAMPLES]]
    return ", ".join(shown + ["..."] * (len(names) > _EXAMPLES))
