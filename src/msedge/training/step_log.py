"""The log of a run: a line of JSON a step and one an epoch, and the same for TensorBoard.

Each line is strict JSON, in which a number that is not finite is ``null``::

    {"kind": "step", "epoch": 1, "step": 20, "loss": 3.2, "learning_rate": 0.0001,
     "images_a_second": 81.5, "waiting": 0.02, "memory_gb": 1.1, "device_memory_gb": null}
    {"kind": "epoch", "epoch": 1, "loss": 3.4, "metrics": {"mAP@all": 21.7},
     "selection_value": 30.1, "seconds": 62.5}

Every line is handed to the system at once, so a killed process loses none but the one that it was
writing; that one is dropped when the run is resumed.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msedge.errors import ConfigError, DataError
from msedge.storage import atomic_path
from msedge.training.meter import Pace
from msedge.training.run_files import EpochRow

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_FLUSH_SECONDS = 5  # what TensorBoard shows may lag behind by so much
_DIGITS = 4  # of figures that are measured rather than computed


class StepLog:
    """Writes a run's log as it goes."""

    def __init__(
        self,
        path: Path,
        *,
        resume_at: tuple[int, int] | None = None,
        tensorboard: Path | None = None,
    ) -> None:
        """Open the log.

        Args:
            path: of the lines (``.jsonl``).
            resume_at: an epoch and the steps done in it, which the run goes on after; lines of
                later steps, of this epoch as a whole and of later ones are dropped, and so is a
                torn last line. After an epoch that has its line this is ``(epoch + 1, 0)``. None
                starts anew.
            tensorboard: a folder for TensorBoard's files; None writes none. Its x axis is the
                number of steps in all.

        Raises:
            ConfigError: ``tensorboard`` without its package.
            DataError: the log or the folder cannot be read or written.
        """
        if tensorboard is not None:
            _require_tensorboard()
        kept = _lines_until(path, resume_at) if resume_at is not None else []
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"".join(kept))
        self._path = path
        self._steps = sum(json.loads(line)["kind"] == "step" for line in kept)
        with self._writing():
            self._board = _open_board(tensorboard, self._steps) if tensorboard else None
            self._file = path.open("ab", buffering=0)

    def step(self, epoch: int, step: int, loss: float, rate: float, pace: Pace) -> None:
        """Write what a step came to.

        Args:
            epoch: from 1.
            step: in the epoch, from 1.
            loss: of its batch.
            rate: the learning rate that it was made with.
            pace: how the run goes.

        Raises:
            DataError: the log cannot be written.
        """
        self._steps += 1
        measured = {
            name: None if value is None else round(value, _DIGITS)
            for name, value in pace._asdict().items()
        }
        values = {"loss": loss, "learning_rate": rate, **measured}
        self._write({"kind": "step", "epoch": epoch, "step": step, **values})
        self._show("step", values)

    def epoch(self, row: EpochRow) -> None:
        """Write what an epoch came to.

        Raises:
            DataError: the log cannot be written.
        """
        self._write(
            {
                "kind": "epoch",
                "epoch": row.epoch,
                "loss": row.loss,
                "metrics": {name: _strict(value) for name, value in row.metrics.items()},
                "selection_value": row.selection_value,
                "seconds": round(row.seconds, _DIGITS),
            }
        )
        self._show("epoch", {"loss": row.loss, "seconds": row.seconds} | row.metrics)

    def close(self) -> None:
        """Close the files; what was written stays. May be called again."""
        self._file.close()
        if self._board is not None:
            with self._writing():
                self._board.close()
            self._board = None

    def _write(self, entry: Mapping[str, object]) -> None:
        strict = {name: _strict(value) for name, value in entry.items()}
        line = json.dumps(strict, allow_nan=False).encode() + b"\n"
        with self._writing():
            while line:  # a disk that is nearly full takes a part, then refuses the rest
                line = line[self._file.write(line) :]

    def _show(self, group: str, values: Mapping[str, float | None]) -> None:
        if self._board is None:
            return
        with self._writing():
            for name, value in values.items():
                if value is not None and math.isfinite(value):
                    self._board.add_scalar(f"{group}/{name}", value, self._steps)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"cannot write the log {self._path} ({error.strerror or error}); "
                "make room for it, then go on with --resume"
            ) from error


def _strict(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lines_until(path: Path, last: tuple[int, int]) -> list[bytes]:
    """The whole lines of a log up to a step, each with its end of line."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"cannot read the log {path} ({error.strerror})") from error
    return [line + b"\n" for line in lines if _place(line) <= last]


def _place(line: bytes) -> tuple[float, float]:
    """The epoch and the step that a line is of; nothing comes after a torn one."""
    try:
        entry = json.loads(line)
        step = entry["step"] if entry["kind"] == "step" else math.inf
        return float(entry["epoch"]), float(step)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return math.inf, math.inf


def _require_tensorboard() -> None:
    try:
        importlib.import_module("tensorboard")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "tensorboard needs the package tensorboard: pip install 'msedge[train,tensorboard]'"
        ) from error


def _open_board(folder: Path, steps: int) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=steps + 1, flush_secs=_FLUSH_SECONDS)
