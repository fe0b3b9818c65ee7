"""The files of a run: their names, how they are written, and how a killed run is picked up.

``<data>_<backbone>_<dim>_`` and then: ``results.csv`` (a row an epoch), ``log.jsonl`` (a line a
step), ``model.safetensors`` (with its card), ``vectors.safetensors`` (of the unseen classes),
``run.json`` (everything needed to repeat it), ``retrieval.png``; while it runs also
``state.safetensors``; where they are asked for, ``tensorboard``, ``trace.json.gz`` and
``profile.md``. Each but the logs is replaced whole, so a kill at any moment leaves files that can
be read.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from msedge.errors import ConfigError, DataError
from msedge.quoting import named, plain, quoted
from msedge.storage import atomic_path, remove_leftovers
from msedge.training.config import TrainConfig, recorded_settings

STATE_FORMAT = "msedge-training-state-2"


@dataclass(frozen=True)
class EpochRow:
    """What one epoch came to.

    Attributes:
        epoch: from 1.
        loss: mean over the epoch's steps.
        metrics: on the unseen classes, in percent.
        selection_value: what the checkpoint is chosen by; larger is better.
        seconds: of training and judging; not in the CSV, which repeats to the last digit.
    """

    epoch: int
    loss: float
    metrics: dict[str, float]
    selection_value: float
    seconds: float


@dataclass(frozen=True)
class Progress:
    """How far the epoch after the last whole one has come.

    Attributes:
        steps: that are done.
        loss: the sum of their losses.
        seconds: that they took.
    """

    steps: int = 0
    loss: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Memory:
    """What a killed run knew.

    Attributes:
        tensors: by name.
        rows: of the epochs that were whole.
        before: the figures before training.
        progress: in the epoch after them.
    """

    tensors: dict[str, Tensor]
    rows: tuple[EpochRow, ...]
    before: dict[str, float]
    progress: Progress = Progress()


class RunFiles:
    """The paths of a run's files, and the ways to write them."""

    def __init__(self, config: TrainConfig) -> None:
        """Name the files; nothing is written yet."""
        self._config = config

        def ending(end: str) -> Path:
            return config.save_root / f"{config.prefix}_{end}"

        self.results = ending("results.csv")
        self.model = ending("model.safetensors")
        self.vectors = ending("vectors.safetensors")
        self.record = ending("run.json")
        self.figure = ending("retrieval.png")
        self.state = ending("state.safetensors")
        self.log = ending("log.jsonl")
        self.tensorboard = ending("tensorboard")
        self.trace = ending("trace.json.gz")
        self.profile = ending("profile.md")

    def tidy(self) -> None:
        """Remove what runs that were killed while they wrote have left of these files."""
        for path in vars(self).values():
            if isinstance(path, Path):
                remove_leftovers(path)

    def guard(self) -> None:
        """Refuse to write over a run of other settings.

        Raises:
            ConfigError: such a run stands here and ``overwrite`` is off.
        """
        if self._config.overwrite or not self.record.is_file():
            return
        try:
            before = dict(json.loads(self.record.read_text(encoding="utf-8"))["config"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            before = {}
        different = _differences(recorded_settings(before), self._config.what_decides())
        if different:
            raise ConfigError(
                f"{named(self.record)} is of a run with other settings ({different}); "
                "choose another --save_root, or replace it with --overwrite"
            )

    def read_finished(self, fingerprint: str) -> dict[str, Any] | None:
        """The record of a finished run of these settings and data; None where there is none."""
        if not self.record.is_file():
            return None
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
            same = (
                record["finished"]
                and recorded_settings(record["config"]) == self._config.what_decides()
                and record["data"]["fingerprint"] == fingerprint
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        whole = all(path.is_file() for path in (self.results, self.model, self.vectors))
        return dict(record) if same and whole else None

    def write_results(self, rows: Sequence[EpochRow], selected: int, selection: str) -> None:
        """Write the CSV: a row an epoch, metrics in percent, the selected epoch marked."""
        with (
            atomic_path(self.results) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as opened,
        ):
            writer = csv.writer(opened, lineterminator="\n")
            names = list(rows[0].metrics)
            writer.writerow(["epoch", "loss", *names, "selected_by", "selection_value", "selected"])
            for row in rows:
                figures = [row.loss, *row.metrics.values()]
                writer.writerow(
                    [
                        row.epoch,
                        *(f"{value:.6f}" for value in figures),
                        selection,
                        f"{row.selection_value:.6f}",
                        int(row.epoch == selected),
                    ]
                )

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write the JSON record of the run."""
        with atomic_path(self.record) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    def write_state(self, memory: Memory, fingerprint: str) -> None:
        """Write what is needed to go on after this epoch."""
        metadata = {
            "format": STATE_FORMAT,
            "config": json.dumps(self._config.what_decides()),
            "fingerprint": fingerprint,
            "rows": json.dumps([asdict(row) for row in memory.rows]),
            "before": json.dumps(memory.before),
            "progress": json.dumps(asdict(memory.progress)),
        }
        tensors = {name: tensor.contiguous() for name, tensor in memory.tensors.items()}
        with atomic_path(self.state) as temporary:
            temporary.write_bytes(save(tensors, metadata))

    def read_state(self, fingerprint: str) -> Memory | None:
        """What a killed run of these settings and data knew; None where there is none.

        Raises:
            ConfigError: the state is of other settings, or of other data.
            DataError: the state cannot be read.
        """
        if not self.state.is_file():
            return None
        try:
            with safe_open(self.state, framework="pt") as opened:
                metadata = opened.metadata() or {}
            if metadata.get("format") != STATE_FORMAT:
                raise KeyError(f"format {metadata.get('format')!r}")
            before = dict(json.loads(metadata["config"]))
            rows = tuple(EpochRow(**row) for row in json.loads(metadata["rows"]))
            figures = dict(json.loads(metadata["before"]))
            progress = Progress(**json.loads(metadata["progress"]))
            _check_rows(rows, figures, progress)
            tensors = load_file(self.state)
        except (
            SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError,
            RecursionError,
        ) as error:  # fmt: skip
            raise DataError(
                f"the state in {named(self.state)} cannot be read ({plain(error)}); remove it to "
                "start anew"
            ) from error
        different = _differences(recorded_settings(before), self._config.what_decides())
        if different:
            raise ConfigError(
                f"the killed run in {named(self.state)} had other settings ({different}); "
                "repeat them to go on, or leave out --resume to start anew"
            )
        if metadata.get("fingerprint") != fingerprint:
            raise ConfigError(
                f"the images have changed since {named(self.state)} was written; "
                "leave out --resume to start anew"
            )
        return Memory(tensors, rows, figures, progress)


def _check_rows(rows: Sequence[EpochRow], before: Mapping[str, Any], progress: Progress) -> None:
    """Refuse what no run has written.

    Raises:
        ValueError: a value is of another kind, or cannot be.
    """
    numbers = [progress.loss, progress.seconds, *before.values()]
    for number, row in enumerate(rows, start=1):
        if row.epoch != number:
            raise ValueError(f"row {number} is of epoch {quoted(row.epoch)}")
        numbers += [row.loss, row.selection_value, row.seconds, *row.metrics.values()]
    if type(progress.steps) is not int or not 0 <= progress.steps < 2**63:
        raise ValueError(f"it was killed after {quoted(progress.steps)} steps")
    for value in numbers:
        if type(value) not in (int, float) or (type(value) is int and abs(value) > 2**63):
            raise ValueError(f"a figure is {quoted(value)}")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name in now if before.get(name) != now[name]]
    shown = [f"{name}: {quoted(before.get(name))} there, {now[name]!r} here" for name in names[:3]]
    more = [f"{len(names) - 3} more"] if len(names) > 3 else []
    return "; ".join([*shown, *more])
