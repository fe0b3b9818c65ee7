"""What a run tells while it trains: progress, the log, the trace, and that a loss is no number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from msedge.errors import ConfigError
from msedge.training.config import TrainConfig
from msedge.training.learner import Learner, Step
from msedge.training.meter import Meter, Pace
from msedge.training.processes import Processes
from msedge.training.profiling import Profile
from msedge.training.run_files import EpochRow, RunFiles
from msedge.training.step_log import StepLog

if TYPE_CHECKING:
    from msedge.training.trainer import Watcher


_UNRECORDED = 3  # first steps of an epoch, which load libraries and fill caches


def steps_between_looks(device: torch.device) -> int:
    """After how many steps the program may look at what a device has computed.

    A GPU works on behind the program, and looking at its results waits for them.
    """
    return 1 if device.type == "cpu" else 10


class Reporter:
    """Tells what the steps and epochs come to. Close it at the end.

    The first of several processes writes; each of them looks at the losses.
    """

    def __init__(
        self,
        config: TrainConfig,
        files: RunFiles,
        learner: Learner,
        *,
        watcher: Watcher,
        device: torch.device,
        processes: Processes,
        resume_at: tuple[int, int] | None,
    ) -> None:
        """Open the log.

        Args:
            config: the run.
            files: where it writes.
            learner: whose steps are told.
            watcher: who is told.
            device: what computes.
            processes: of the run.
            resume_at: as of :class:`~msedge.training.step_log.StepLog`.

        Raises:
            ConfigError: TensorBoard is asked for and not installed.
            DataError: the log cannot be written.
        """
        self._config, self._files, self._learner = config, files, learner
        self._watcher, self._device = watcher, device
        self._every = steps_between_looks(device)
        self._meter = Meter(learner.stopwatch, device)
        self._epoch = 0
        self._unseen: list[tuple[Step, Pace]] = []
        self._log: StepLog | None = None
        self._profile: Profile | None = None
        self._profiles = config.profile and processes.first
        if processes.first:
            self._log = StepLog(
                files.log,
                resume_at=resume_at,
                tensorboard=files.tensorboard if config.tensorboard else None,
            )

    def begin(self, epoch: int, done: int) -> None:
        """Take that the steps of an epoch begin, or go on after some that are done."""
        self._epoch = epoch
        self._meter.restart()
        config = self._config
        # The warm-up, which has no backward pass through the backbone, is not what takes the time.
        if self._profiles and epoch > min(config.warmup, config.epochs - 1):
            self._profiles = False
            title = (
                f"{config.data_name}, {config.backbone} at {config.image_size} px, batches of "
                f"{config.batch_size}, precision {config.precision}"
            )
            self._profile = Profile(
                self._files.trace,
                self._files.profile,
                self._learner.stopwatch,
                title=title,
                device=self._device,
                skip=max(0, min(_UNRECORDED, self._learner.steps_an_epoch - done - 1)),
            )

    def step(self, step: Step) -> None:
        """Take a step.

        Raises:
            ConfigError: a loss is not finite.
            DataError: the log cannot be written.
        """
        self._meter.step(step.images)
        if self._profile is not None:
            self._profile.step(step.images)
        self._unseen.append((step, self._meter.pace()))
        if step.number % self._every == 0:
            self.flush()

    def flush(self) -> None:
        """Look at the losses of the steps since the last look, and tell them.

        Raises:
            ConfigError: one is not finite.
            DataError: the log cannot be written.
        """
        if not self._unseen:
            return
        losses = torch.stack([step.loss for step, _ in self._unseen]).tolist()
        for (step, pace), loss in zip(self._unseen, losses, strict=True):
            if self._log is not None:
                self._log.step(self._epoch, step.number, loss, step.rate, pace)
            if not math.isfinite(loss):
                raise ConfigError(
                    f"the loss of step {step.number} of epoch {self._epoch} is {loss}; "
                    "lower the learning rates, or compute with --precision 32"
                )
        (step, pace), loss = self._unseen[-1], losses[-1]
        self._unseen.clear()
        self._watcher.progress(
            f"epoch {self._epoch}", step.number, self._learner.steps_an_epoch, _note(loss, pace)
        )

    def end(self) -> None:
        """Take that the steps of the epoch are done."""
        self.flush()
        self._end_profile()

    def row(self, row: EpochRow, selected: bool) -> None:
        """Take what the epoch came to, and whether it is the best so far."""
        if self._log is not None:
            self._log.epoch(row)
        self._watcher.row(row, selected)

    def close(self) -> None:
        """End the trace and close the log; may be called again."""
        try:
            self._end_profile()
        finally:
            if self._log is not None:
                self._log.close()

    def _end_profile(self) -> None:
        if self._profile is not None:
            self._profile.close()
            self._profile = None


def _note(loss: float, pace: Pace) -> str:
    waiting = f", waiting {pace.waiting:.0%}" if pace.waiting >= 0.01 else ""
    memory = pace.memory_gb if pace.device_memory_gb is None else pace.device_memory_gb
    return f"loss {loss:.3f}, {pace.images_a_second:.0f} images/s{waiting}, {memory:.1f} GB"
