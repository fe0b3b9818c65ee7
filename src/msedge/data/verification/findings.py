"""What can be found wrong with a dataset, as values.

Tested in ``tests/data/verification/test_verify.py`` and beside those that find it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["missing", "surplus", "misnamed", "misplaced", "leak", "duplicated", "unreadable"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One way in which a dataset differs from its protocol, or is broken.

    Attributes:
        kind: ``missing`` and ``surplus`` are of counts, classes, folders and files; ``misnamed``
            of classes and files; ``misplaced`` is a class on the wrong side of the split, and
            ``leak`` a class or a photo on both sides; ``duplicated`` and ``unreadable`` are of
            files.
        where: the path in the dataset, or the total that differs.
        message: one line: what was found, and what was expected.
    """

    kind: Kind
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.message}"
