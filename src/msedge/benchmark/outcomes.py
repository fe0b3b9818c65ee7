"""What a cell's folder says: whether its run is finished, and what it came to.

The files of the run are the only memory, so a benchmark can be killed at any moment, and the
table can be made of whatever is there. Tested in ``tests/benchmark/test_outcomes.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msedge.benchmark.cells import Cell
from msedge.benchmark.locks import is_taken
from msedge.data.images import one_line
from msedge.quoting import plain
from msedge.storage import atomic_path
from msedge.training.config import recorded_settings

State = Literal["done", "running", "killed", "to do", "failed", "other settings"]
FAILURE = "failure.txt"
_LONGEST_FAILURE = 400  # characters
_WHOLE = ("results.csv", "model.safetensors", "vectors.safetensors")


@dataclass(frozen=True)
class Outcome:
    """The state of a cell.

    Attributes:
        cell: the run.
        state: ``killed`` is a run with finished epochs and no process; ``other settings`` a
            folder that holds another run, which is not touched.
        error: why it failed, in one line.
        record: of a finished run, as ``msedge train`` wrote it.
        data_changed: the folder holds a run of images that have changed since.
    """

    cell: Cell
    state: State
    error: str | None = None
    record: Mapping[str, Any] | None = None
    data_changed: bool = False

    @property
    def failed(self) -> bool:
        """Whether there is an error to be told."""
        return self.error is not None

    @property
    def selected(self) -> Mapping[str, Any]:
        """The row of the selected epoch of a finished run."""
        record = self._finished()
        return next(r for r in record["epochs"] if r["epoch"] == record["selected_epoch"])

    @property
    def before(self) -> Mapping[str, float]:
        """The metrics of a finished run before training, in percent."""
        return dict(self._finished()["before_training"])

    @property
    def metrics(self) -> Mapping[str, float]:
        """The metrics of its selected epoch, in percent."""
        return dict(self.selected["metrics"])

    @property
    def data(self) -> Mapping[str, Any]:
        """What a finished run read: fingerprint, protocol, classes and counts."""
        return dict(self._finished()["data"])

    @property
    def held_out_classes(self) -> tuple[str, ...]:
        """The seen classes that its checkpoint was chosen with."""
        return tuple(self.data["held_out_classes"])

    @property
    def held_out(self) -> float | None:
        """mAP@all on held-out seen classes, in percent; None where nothing was held out."""
        chosen_on_seen = self.cell.config.select == "seen"
        return float(self.selected["selection_value"]) if chosen_on_seen else None

    @property
    def seconds(self) -> float:
        """Of training and judging, over all epochs."""
        return float(sum(row["seconds"] for row in self._finished()["epochs"]))

    def _finished(self) -> Mapping[str, Any]:
        if self.record is None:
            raise ValueError(f"{self.cell.label} is not finished")
        return self.record


def read_outcome(cell: Cell, fingerprint: str | None) -> Outcome:
    """What stands in a cell's folder.

    Args:
        cell: the run.
        fingerprint: of its data as it is now; None if it is not known and any data will do.
    """
    return Outcome(cell, "running") if is_taken(cell.folder) else read_folder(cell, fingerprint)


def read_folder(cell: Cell, fingerprint: str | None) -> Outcome:
    """The same, whether or not a process is at work there."""
    record = _read_record(cell.file("run.json"))
    if record is None:
        error = _failure(cell)
        return Outcome(cell, "failed" if error else "to do", error)
    different = _differences(recorded_settings(record["config"]), cell.config.what_decides())
    if different:
        return Outcome(
            cell,
            "other settings",
            f"{one_line(cell.folder)} holds a run {different}; "
            "remove it, or choose another --save-root",
        )
    changed = fingerprint is not None and record["data"]["fingerprint"] != fingerprint
    whole = all(cell.file(end).is_file() for end in _WHOLE)
    if record["finished"] and whole and not changed:
        return Outcome(cell, "done", record=record)
    if error := _failure(cell):
        return Outcome(cell, "failed", error, data_changed=changed)
    return Outcome(cell, "to do" if record["finished"] else "killed", data_changed=changed)


def note_failure(cell: Cell, error: str) -> None:
    """Keep why a run failed beside it.

    Raises:
        DataError: the note cannot be written.
    """
    with atomic_path(cell.folder / FAILURE) as temporary:
        temporary.write_text(error + "\n", encoding="utf-8")


def forget_failure(cell: Cell) -> None:
    """Remove the note of an earlier attempt."""
    (cell.folder / FAILURE).unlink(missing_ok=True)


def _failure(cell: Cell) -> str | None:
    try:
        if not (cell.folder / FAILURE).is_file():
            return None
        text = (cell.folder / FAILURE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return plain(text.strip(), _LONGEST_FAILURE) or None


def _read_record(path: Path) -> dict[str, Any] | None:
    """A run's record; None where there is none that can be used."""
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            return None
        record = json.loads(path.read_text(encoding="utf-8"))
        epochs = [row["epoch"] for row in record["epochs"]]
        usable = (
            isinstance(record["config"], dict)
            and isinstance(record["finished"], bool)
            and isinstance(record["data"]["fingerprint"], str)
            and record["selected_epoch"] in epochs
            and (not record["finished"] or _is_whole(record))
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record if usable else None


def _is_whole(record: Mapping[str, Any]) -> bool:
    """Whether the record of a finished run holds what a table is made of.

    Raises:
        KeyError: something is missing.
        TypeError: something is of another kind; also AttributeError.
    """
    data, figures = record["data"], [*record["before_training"].values()]
    for row in record["epochs"]:
        figures += [row["selection_value"], row["seconds"], *row["metrics"].values()]
    return all(type(value) in (int, float) for value in figures) and all(
        isinstance(name, str) for name in data["held_out_classes"]
    )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    lacking = [name for name in now if name not in before]
    names = [name for name in before if name not in now or before[name] != now[name]]
    if not names and not lacking:
        return ""
    how = "with another" if names else "of a version without"
    told = names or lacking
    more = f" and {len(told) - 3} more" if len(told) > 3 else ""
    return f"{how} {', '.join(plain(name, 60) for name in told[:3])}{more}"
