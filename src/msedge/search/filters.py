"""Which photos of a gallery are asked for: by folder, date and orientation.

Tested in ``tests/search/test_filters.py``.
"""

from __future__ import annotations

import calendar
import datetime
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msedge.errors import ConfigError
from msedge.search.locations import whole

Orientation = Literal["landscape", "portrait", "square"]

_COMPARISON = {"landscape": ">", "portrait": "<", "square": "="}
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Filters:
    """What a photo has to be; ``None`` asks for nothing.

    Days begin and end at midnight UTC, as :attr:`~msedge.search.photo.Facts.taken` holds
    the camera's clock read as UTC: a photo is of the day that its camera showed.

    Attributes:
        folder: the photo lies in it or below it; a relative one counts from the working directory.
        after: the first day.
        before: the last day, included.
        orientation: wider than high, higher than wide, or neither.

    Raises:
        ConfigError: the orientation is unknown, or no day is left between the two.
    """

    folder: Path | None = None
    after: datetime.date | None = None
    before: datetime.date | None = None
    orientation: Orientation | None = None

    def __post_init__(self) -> None:
        if self.orientation is not None and self.orientation not in _COMPARISON:
            names = ", ".join(_COMPARISON)
            raise ConfigError(f"no orientation {self.orientation!r}: expected one of {names}")
        if self.after and self.before and self.after > self.before:
            raise ConfigError(
                f"no day lies after {self.after} and before {self.before}: exchange the two"
            )


def condition(filters: Filters) -> tuple[str, list[Any]]:
    """Filters as an SQL expression over a gallery's columns, and its placeholders' values."""
    parts = ["TRUE"]
    values: list[Any] = []
    if filters.folder is not None:
        parts.append("path >= ? AND path < ?")  # a range, so that the index on paths serves
        values += paths_below(filters.folder)
    if filters.after is not None:
        parts.append("taken >= ?")
        values.append(calendar.timegm(filters.after.timetuple()))
    if filters.before is not None:
        parts.append("taken < ?")
        values.append(calendar.timegm(filters.before.timetuple()) + _DAY)
    if filters.orientation is not None:
        parts.append(f"width {_COMPARISON[filters.orientation]} height")
    return " AND ".join(parts), values


def paths_below(folder: Path) -> tuple[bytes, bytes]:
    """The range of stored paths of everything below a folder: from the first up to the second."""
    separator = os.fsencode(os.sep)
    inside = os.fsencode(whole(folder)).rstrip(separator)
    return inside + separator, inside + bytes([separator[0] + 1])
