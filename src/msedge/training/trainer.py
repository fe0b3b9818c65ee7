"""Training from folders to files: the method, read from top to bottom.

Each epoch the network learns, every sketch of an unseen class asks for its photos, and the row is
written. The best epoch's weights and vectors are kept. With several processes all of them do this
together, and the first one writes.
"""

from __future__ import annotations

import signal
import time
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from msedge.data.datasets import ImageSet
from msedge.data.vectors import Vectors, save_vectors
from msedge.models.checkpoint import save_checkpoint
from msedge.models.network import MSEdge
from msedge.training.allocator import keep_freed_memory
from msedge.training.config import TrainConfig
from msedge.training.distillation import teacher_answers
from msedge.training.judging import Judge
from msedge.training.launch import launch
from msedge.training.learner import Learner
from msedge.training.processes import Processes
from msedge.training.reporting import Reporter, steps_between_looks
from msedge.training.run_card import SELECTION, describe_checkpoint
from msedge.training.run_data import RunData, RunImages, open_images, read_run_data
from msedge.training.run_files import EpochRow, Memory, Progress, RunFiles
from msedge.training.run_lock import sole_training
from msedge.training.run_record import describe_run
from msedge.training.stopping import StoppedError, StopSignals
from msedge.training.supervision import ending_together


class Watcher(Protocol):
    """Who is told how a run goes."""

    def say(self, message: str) -> None:
        """Take a line of news."""

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Take that ``done`` of ``total`` are done of ``what``."""

    def row(self, row: EpochRow, selected: bool) -> None:
        """Take what an epoch came to, and whether it is the best so far."""


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
        files: where it wrote.
        before: metrics on the unseen classes before training, in percent.
        rows: one an epoch.
        selected: the epoch whose weights were kept.
        selected_by: how it was chosen.
    """

    files: RunFiles
    before: dict[str, float]
    rows: tuple[EpochRow, ...]
    selected: int
    selected_by: str

    @property
    def after(self) -> dict[str, float]:
        """Metrics of the selected epoch on the unseen classes, in percent."""
        return next(row.metrics for row in self.rows if row.epoch == self.selected)


def train(config: TrainConfig, watcher: Watcher) -> RunResult:
    """Train as configured and write the run's files.

    Args:
        config: the run.
        watcher: who is told.

    Returns:
        The rows and where everything was written; with several processes, in each of them.

    Raises:
        StoppedError: SIGTERM or SIGINT came; the state is saved.
        ConfigError: another training writes the same files.
        MSEdgeError: the data, the configuration or the weights cannot be used; files of earlier
            runs are untouched.
    """
    keep_freed_memory()
    files = RunFiles(config)
    files.guard()
    data = read_run_data(config, say=watcher.say, progress=watcher.progress)
    watcher.say(data.summary())
    finished = files.read_finished(data.fingerprint) if config.resume else None
    if finished is not None:
        watcher.say("nothing to resume: this run is finished")
        files.state.unlink(missing_ok=True)  # it stays where the disk was full at the very end
        return RunResult(
            files,
            finished["before_training"],
            tuple(EpochRow(**row) for row in finished["epochs"]),
            finished["selected_epoch"],
            SELECTION[config.select],
        )
    with StopSignals() as signals:
        fabric, processes = launch(config)
        alone = sole_training(files.record) if processes.first else nullcontext()
        with ending_together(fabric, processes), alone:
            return _Run(config, files, data, watcher, signals, fabric, processes).train()


class _Run:
    """A run with everything that it needs, from its start or from where it was killed."""

    def __init__(
        self,
        config: TrainConfig,
        files: RunFiles,
        data: RunData,
        watcher: Watcher,
        signals: StopSignals,
        fabric: Fabric,
        processes: Processes,
    ) -> None:
        self._config, self._files, self._data = config, files, data
        self._watcher, self._signals = watcher, signals
        self._processes = processes
        self._device = fabric.device
        self._rows: list[EpochRow] = []
        self._before: dict[str, float] = {}
        self._reached = Progress()  # in the epoch after those of the rows
        self._saved = time.monotonic()
        torch.manual_seed(config.seed)
        with self._processes.after_the_first():
            self._images: RunImages = open_images(config, data, watcher.say)
        watcher.say(f"building {config.backbone} from {config.weights} weights")
        self._learner = Learner(
            config,
            fabric,
            self._images.train,
            self._targets(self._images.train),
            processes=self._processes,
            progress=lambda done, total: self._progress("frozen blocks", done, total),
        )
        self._judge = Judge(
            config,
            self._learner,
            device=self._device,
            processes=self._processes,
            progress=self._progress,
        )

    def train(self) -> RunResult:
        config, files = self._config, self._files
        resumed = self._remember()
        if self._processes.first:
            files.tidy()
        reporter = Reporter(
            config,
            files,
            self._learner,
            watcher=self._watcher,
            device=self._device,
            processes=self._processes,
            resume_at=(len(self._rows) + 1, self._reached.steps) if resumed else None,
        )
        with closing(reporter):
            for epoch in range(len(self._rows) + 1, config.epochs + 1):
                self._learn(epoch, reporter)
                self._judge_epoch(epoch, reporter)
        self._processes.wait()
        if self._processes.first:
            files.state.unlink(missing_ok=True)
        selected = best_epoch(self._rows)
        return RunResult(files, self._before, tuple(self._rows), selected, SELECTION[config.select])

    def _remember(self) -> bool:
        """Go back to where a killed run was; where there is none, judge the network as it is."""
        memory = self._files.read_state(self._data.fingerprint) if self._config.resume else None
        self._processes.wait()  # all have read it before the first one writes another
        if memory is None:
            self._watcher.say("how the network does before training")
            self._before = self._judge.figures(
                self._judge.vectors("unseen classes", self._images.unseen)
            )
            return False
        steps = memory.progress.steps
        within = f" and {steps} steps" if steps else ""
        self._watcher.say(f"going on after epoch {len(memory.rows)}{within} of the killed run")
        self._learner.load_state(memory.tensors)
        self._rows, self._before = list(memory.rows), memory.before
        self._reached = memory.progress
        return True

    def _learn(self, epoch: int, reporter: Reporter) -> None:
        """Train for an epoch, or for the rest of it."""
        start = time.monotonic() - self._reached.seconds
        kind = torch.float32 if self._device.type == "mps" else torch.float64  # it has no other
        total = torch.tensor(self._reached.loss, dtype=kind, device=self._device)
        number = self._reached.steps
        reporter.begin(epoch, number)
        for step in self._learner.epoch(epoch, number):
            total, number = total + step.loss, step.number
            reporter.step(step)
            stopped = self._told_to_stop(number)
            if stopped or self._save_is_due():
                reporter.flush()
                self._reached = Progress(number, total.item(), time.monotonic() - start)
                self._save()
                if stopped:
                    self._stop()
        reporter.end()
        self._reached = Progress(number, total.item(), time.monotonic() - start)

    def _judge_epoch(self, epoch: int, reporter: Reporter) -> None:
        """Judge the network after an epoch and write everything about it."""
        config, learnt = self._config, self._reached
        start = time.monotonic()
        vectors = self._judge.vectors("unseen classes", self._images.unseen)
        metrics = self._judge.figures(vectors)
        value = float(epoch)
        if config.select == "test":
            value = metrics["mAP@all"]
        elif self._images.held_out is not None:
            held_out = self._judge.vectors("held-out classes", self._images.held_out)
            value = self._judge.figures(held_out)["mAP@all"]
        seconds = learnt.seconds + time.monotonic() - start
        self._rows.append(EpochRow(epoch, learnt.loss / learnt.steps, metrics, value, seconds))
        self._reached = Progress()
        selected = best_epoch(self._rows)
        reporter.row(self._rows[-1], selected == epoch)
        if self._processes.first:
            self._write(epoch, selected, vectors)
            self._save()

    def _write(self, epoch: int, selected: int, vectors: Vectors) -> None:
        """Write what an epoch came to, and its network when it is the best so far."""
        config, files = self._config, self._files
        if selected == epoch:
            card = describe_checkpoint(config, self._rows[-1], self._data, self._learner)
            save_checkpoint(files.model, _plain(self._learner.judged()), card)
            save_vectors(files.vectors, vectors)
        files.write_results(self._rows, selected, SELECTION[config.select])
        files.write_record(
            describe_run(
                config,
                self._data.dataset,
                self._data.fingerprint,
                self._data.held_out,
                self._data.sketched,
                self._before,
                self._rows,
                selected,
                processes=self._processes.count,
            )
        )

    def _progress(self, what: str, done: int, total: int) -> None:
        """Tell what is done besides the steps, and stop there when told to."""
        self._watcher.progress(what, done, total)
        if self._processes.count == 1 and self._signals.number is not None:
            if self._before:
                self._save()
            self._stop()

    def _told_to_stop(self, step: int) -> bool:
        """Whether this process was, or another; they ask each other when they may look."""
        if self._processes.count > 1 and step % steps_between_looks(self._device):
            return False
        return self._processes.any(self._signals.number is not None)

    def _save_is_due(self) -> bool:
        return time.monotonic() - self._saved >= 60 * self._config.save_minutes

    def _save(self) -> None:
        if self._processes.first:
            memory = Memory(self._learner.state(), tuple(self._rows), self._before, self._reached)
            self._files.write_state(memory, self._data.fingerprint)
        self._saved = time.monotonic()

    def _stop(self) -> None:
        self._processes.wait()  # the first one may still be writing
        if self._before:
            epoch, steps = len(self._rows) + 1, self._reached.steps
            where = f"after step {steps} of epoch {epoch}; --resume goes on from there"
        else:
            where = "before a step was done; start it again the same way"
        raise StoppedError(f"stopped {where}", self._signals.number or signal.SIGTERM)

    def _targets(self, images: ImageSet) -> Tensor | None:
        config = self._config
        if not config.distillation:
            return None
        with self._processes.after_the_first():
            return teacher_answers(
                images,
                config.backbone,
                config.weights,
                image_size=config.image_size,
                device=self._device,
                folder=config.keep_dir,
                progress=lambda done, total: self._progress("asking the teacher", done, total),
            )


def best_epoch(rows: list[EpochRow]) -> int:
    """The first epoch with the largest selection value; 0 before the first."""
    return max(rows, key=lambda row: (row.selection_value, -row.epoch)).epoch if rows else 0


def _plain(network: nn.Module) -> MSEdge:
    if not isinstance(network, MSEdge):
        raise TypeError(f"expected the network itself, got {type(network).__name__}")
    return network
