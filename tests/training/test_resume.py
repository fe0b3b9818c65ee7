"""A run that ends in the middle of an epoch, by a kill or told to, and is gone on with.

Real processes are killed in ``tests/cli`` and ``test_several_processes.py``; here are moments.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from msedge.errors import ConfigError
from msedge.training.config import TrainConfig
from msedge.training.learner import Learner, Step
from msedge.training.run_files import RunFiles
from msedge.training.stopping import StoppedError
from msedge.training.trainer import train
from same_run import KilledError, assert_same_run, killed, steps_of

STEPS = 2  # an epoch of ``everything``: 16 images of two classes, in batches of 8


def kill_at(epoch: int, step: int) -> Callable:
    def kill(monkeypatch: pytest.MonkeyPatch, listener: Any) -> None:
        def progress(what: str, done: int, *_: object) -> None:
            if (what, done) == (f"epoch {epoch}", step):
                raise KilledError

        monkeypatch.setattr(listener, "progress", progress)

    return kill


class TestKilled:
    @pytest.mark.parametrize(
        ("epoch", "step", "known"),
        [
            (1, 1, None),
            (1, 2, (0, 1)),
            (1, STEPS, (0, STEPS - 1)),
            (2, 1, (1, 0)),
            (2, 2, (1, 1)),
            (3, STEPS, (2, STEPS - 1)),
        ],
    )
    def test_killed_within_an_epoch(self, everything, listener, tmp_path, epoch, step, known):
        """With a state after every step, no more than the step of the kill is done again."""
        whole = train(everything(save_root=tmp_path / "whole"), listener)
        killed(everything(save_minutes=0), kill_at(epoch, step), listener)
        resumed = train(everything(resume=True), listener)
        told = [line for line in listener.said if line.startswith("going on")]
        if known is None:
            assert told == []
        else:
            steps = f" and {known[1]} steps" if known[1] else ""
            assert told == [f"going on after epoch {known[0]}{steps} of the killed run"]
        assert_same_run(whole.files, resumed.files)
        log = steps_of(resumed.files)
        assert log == steps_of(whole.files)
        assert [line[1:3] for line in log if line[0] == "step"] == [
            (n, m) for n in (1, 2, 3) for m in range(1, STEPS + 1)
        ]
        assert not resumed.files.state.exists()

    def test_killed_again_and_again(self, everything, listener, tmp_path):
        """The loss of an epoch stays the mean over all of its steps."""
        whole = train(everything(save_root=tmp_path / "whole"), listener)
        killed(everything(save_minutes=0), kill_at(1, 2), listener)
        for moment in ((1, STEPS), (2, 1), (2, STEPS), (3, 1), (3, STEPS)):
            killed(everything(save_minutes=0, resume=True), kill_at(*moment), listener)
        resumed = train(everything(resume=True), listener)
        assert_same_run(whole.files, resumed.files)
        assert steps_of(whole.files) == steps_of(resumed.files)

    def test_within_an_epoch_it_is_saved_now_and_then(self, everything, listener, monkeypatch):
        """By the clock: not before the minutes are over."""
        saved: list[tuple[int, int]] = []
        write = RunFiles.write_state

        def write_state(self: RunFiles, memory: Any, data: str) -> None:
            saved.append((len(memory.rows), memory.progress.steps))
            write(self, memory, data)

        monkeypatch.setattr(RunFiles, "write_state", write_state)
        train(everything(save_minutes=60), listener)
        assert saved == [(1, 0), (2, 0), (3, 0)]
        saved.clear()
        train(everything(save_minutes=0), listener)
        within = [(epoch, step) for epoch in range(3) for step in range(1, STEPS + 1)]
        assert saved == sorted([*within, (1, 0), (2, 0), (3, 0)])

    @pytest.mark.parametrize("looks", [1, 10])
    def test_a_loss_that_is_no_number_is_not_saved(self, everything, listener, tmp_path, looks):
        """The run ends in one line, and what was saved before it stays and can be gone on with."""
        whole = train(everything(save_root=tmp_path / "whole"), listener)
        loss = Learner._loss
        asked: list[int] = []

        def spoilt(self: Learner, *batch: Any) -> torch.Tensor:
            asked.append(1)
            return loss(self, *batch) * (math.nan if len(asked) == STEPS + 2 else 1.0)

        states: list[bytes] = []
        write = RunFiles.write_state

        def write_state(self: RunFiles, memory: Any, data: str) -> None:
            write(self, memory, data)
            states.append(self.state.read_bytes())

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Learner, "_loss", spoilt)
            # as on a GPU, whose results are looked at now and then
            patch.setattr("msedge.training.reporting.steps_between_looks", lambda _: looks)
            patch.setattr(RunFiles, "write_state", write_state)
            with pytest.raises(ConfigError) as caught:
                train(everything(save_minutes=0), listener)
        assert str(caught.value) == (
            "the loss of step 2 of epoch 2 is nan; lower the learning rates, or compute with "
            "--precision 32"
        )
        assert len(states) == STEPS + 2  # each step, and the end of the epoch
        assert RunFiles(everything()).state.read_bytes() == states[-1]
        resumed = train(everything(resume=True), listener)
        assert "going on after epoch 1 and 1 steps of the killed run" in listener.said
        assert_same_run(whole.files, resumed.files)
        assert steps_of(whole.files) == steps_of(resumed.files)


class TestTold:
    """Signals, as clusters and people send them: real ones, to this process."""

    @staticmethod
    def told(config: TrainConfig, listener: Any, moment: tuple[str, int], number: int) -> str:
        """Train until the moment, be told to stop there, and give back what is said of it."""

        def progress(what: str, done: int, *_: object) -> None:
            if (what, done) == moment:
                os.kill(os.getpid(), number)

        before = signal.getsignal(number)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(listener, "progress", progress)
            with pytest.raises(StoppedError) as caught:
                train(config, listener)
        assert caught.value.exit_status == 128 + number
        assert signal.getsignal(number) is before
        return str(caught.value)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    @pytest.mark.parametrize(
        ("moment", "where"),
        [
            (("epoch 1", 1), "after step 1 of epoch 1"),
            (("epoch 2", 2), "after step 2 of epoch 2"),
        ],
    )
    def test_after_the_step(self, everything, listener, tmp_path, number, moment, where):
        whole = train(everything(save_root=tmp_path / "whole"), listener)
        said = self.told(everything(), listener, moment, number)
        assert said == f"stopped {where}; --resume goes on from there"
        resumed = train(everything(resume=True), listener)
        assert_same_run(whole.files, resumed.files)
        assert steps_of(whole.files) == steps_of(resumed.files)

    def test_while_an_epoch_is_judged(self, everything, listener, tmp_path, monkeypatch):
        """The epoch is judged anew; nothing of it is trained again."""
        whole = train(everything(save_root=tmp_path / "whole"), listener)
        moments = ("held-out classes", 16)  # which are looked at after the first epoch only
        said = self.told(everything(), listener, moments, signal.SIGTERM)
        assert said == f"stopped after step {STEPS} of epoch 1; --resume goes on from there"
        learnt: list[tuple[int, int]] = []
        epoch = Learner.epoch

        def noted(self: Learner, number: int, done: int = 0) -> Iterator[Step]:
            for step in epoch(self, number, done):
                learnt.append((number, step.number))
                yield step

        monkeypatch.setattr(Learner, "epoch", noted)
        resumed = train(everything(resume=True), listener)
        assert learnt == [(number, step) for number in (2, 3) for step in range(1, STEPS + 1)]
        assert_same_run(whole.files, resumed.files)
        assert steps_of(whole.files) == steps_of(resumed.files)

    def test_before_the_first_epoch(self, everything, listener):
        said = self.told(everything(), listener, ("unseen classes", 24), signal.SIGTERM)
        assert said == "stopped before a step was done; start it again the same way"
        assert not RunFiles(everything()).state.exists()
