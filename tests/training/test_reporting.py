"""What the log, the watcher, the trace and the page are told of the steps."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from msedge.errors import ConfigError
from msedge.training.learner import Step
from msedge.training.processes import Processes
from msedge.training.reporting import Reporter, steps_between_looks
from msedge.training.run_files import EpochRow, RunFiles
from msedge.training.stopwatch import Stopwatch
from msedge.training.trainer import train

CPU, LATER = torch.device("cpu"), torch.device("meta")  # which works on behind the program
ROW = EpochRow(1, 2.5, {"mAP@all": 12.5}, 0.25, 3.0)


@pytest.fixture
def reporter(tiny_config, listener) -> Callable[..., Reporter]:
    """Reporters of a run with 12 steps an epoch."""

    def make(
        *,
        device: torch.device = CPU,
        processes: Processes | None = None,
        resume_at: tuple[int, int] | None = None,
        **changes: Any,
    ) -> Reporter:
        config = tiny_config(**changes)
        return Reporter(
            config,
            RunFiles(config),
            SimpleNamespace(stopwatch=Stopwatch(), steps_an_epoch=12),
            watcher=listener,
            device=device,
            processes=processes or Processes(),
            resume_at=resume_at,
        )

    return make


@pytest.fixture
def files(tiny_config) -> RunFiles:
    return RunFiles(tiny_config())


def step(number: int, loss: float = 0.5) -> Step:
    return Step(number, torch.tensor(loss), 8, 1e-3)


def lines(files: RunFiles) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files.log.read_text().splitlines()]


class TestSmoke:
    def test_a_line_and_a_move_for_each_step(self, reporter, files, listener):
        with closing(reporter()) as told:
            told.begin(1, 0)
            for number in (1, 2, 3):
                told.step(step(number, number / 4))
            told.end()
        assert [(x["kind"], x["epoch"], x["step"], x["loss"]) for x in lines(files)] == [
            ("step", 1, n, n / 4) for n in (1, 2, 3)
        ]
        assert [line["learning_rate"] for line in lines(files)] == [1e-3] * 3
        assert [move[:3] for move in listener.moves] == [("epoch 1", n, 12) for n in (1, 2, 3)]
        assert all(
            move[3].startswith(f"loss {move[1] / 4:.3f}, ") and "images/s" in move[3]
            for move in listener.moves
        )

    def test_a_line_for_an_epoch(self, reporter, files, listener):
        with closing(reporter()) as told:
            told.row(ROW, True)
        assert [(x["kind"], x["epoch"], x["metrics"]) for x in lines(files)] == [
            ("epoch", 1, {"mAP@all": 12.5})
        ]
        assert listener.rows == [(ROW, True)]

    def test_closed_twice(self, reporter):
        told = reporter()
        told.close()
        told.close()

    def test_goes_on_with_a_log(self, reporter, files):
        with closing(reporter()) as told:
            told.begin(1, 0)
            for number in (1, 2, 3):
                told.step(step(number))
        with closing(reporter(resume_at=(1, 2))) as told:
            told.begin(1, 2)
            told.step(step(3, 0.25))
        assert [(x["step"], x["loss"]) for x in lines(files)] == [(1, 0.5), (2, 0.5), (3, 0.25)]


class TestLooks:
    """A GPU is not waited for after each step."""

    def test_how_often(self):
        assert steps_between_looks(CPU) == 1
        assert steps_between_looks(torch.device("cuda")) > 1

    def test_every_step_is_told_in_the_end(self, reporter, files, listener):
        every = steps_between_looks(LATER)
        with closing(reporter(device=LATER)) as told:
            told.begin(1, 0)
            for number in range(1, every):
                told.step(step(number, number / 64))
            assert (lines(files), listener.moves) == ([], [])
            told.step(step(every, 1.0))
            assert len(lines(files)) == every
            told.step(step(every + 1, 0.25))
            told.end()
        assert [line["step"] for line in lines(files)] == list(range(1, every + 2))
        assert [line["loss"] for line in lines(files)] == [
            *(number / 64 for number in range(1, every)), 1.0, 0.25,
        ]  # fmt: skip
        assert [move[1] for move in listener.moves] == [every, every + 1]

    def test_a_loss_that_is_no_number_is_found_by_the_next_look(self, reporter):
        with closing(reporter(device=LATER)) as told:
            told.begin(1, 0)
            told.step(step(1, float("nan")))
            told.step(step(2))
            with pytest.raises(ConfigError, match="the loss of step 1 of epoch 1 is nan"):
                told.flush()


class TestNoNumber:
    @pytest.mark.parametrize("loss", ["nan", "inf", "-inf"])
    def test_ends_the_run_in_one_line(self, reporter, files, listener, loss):
        with closing(reporter()) as told:
            told.begin(2, 4)
            with pytest.raises(ConfigError) as caught:
                told.step(step(5, float(loss)))
        assert str(caught.value) == (
            f"the loss of step 5 of epoch 2 is {loss}; "
            "lower the learning rates, or compute with --precision 32"
        )
        assert [(x["step"], x["loss"]) for x in lines(files)] == [(5, None)]
        assert listener.moves == []


class TestProcesses:
    def test_others_write_nothing(self, reporter, files):
        other = Processes(1, 2)
        with closing(reporter(processes=other, profile=True, tensorboard=True)) as told:
            told.begin(1, 0)
            for number in (1, 2):
                told.step(step(number))
            told.end()
            told.row(ROW, True)
        assert not files.log.parent.exists()

    def test_all_look_at_the_losses(self, reporter):
        """So that none waits for another that has given up."""
        with closing(reporter(processes=Processes(1, 2))) as told:
            told.begin(1, 0)
            with pytest.raises(ConfigError, match="is nan"):
                told.step(step(1, float("nan")))


class TestWholeRuns:
    def test_losses_of_the_log_are_those_of_the_epochs(self, tiny_config, listener):
        result = train(tiny_config(epochs=2), listener)
        log = lines(result.files)
        assert [line["kind"] for line in log] == ["step"] * 4 + ["epoch"] + ["step"] * 4 + ["epoch"]
        for row in result.rows:
            losses = [x["loss"] for x in log if (x["kind"], x["epoch"]) == ("step", row.epoch)]
            assert sum(losses) / 4 == pytest.approx(row.loss, rel=1e-12)
        told = [line for line in log if line["kind"] == "epoch"]
        for line, row in zip(told, result.rows, strict=True):
            assert (line["loss"], line["metrics"]) == (row.loss, row.metrics)
        assert all(x["images_a_second"] > 0 for x in log if x["kind"] == "step")

    def test_a_second_run_begins_a_new_log(self, tiny_config, listener):
        files = [train(tiny_config(epochs=1), listener).files for _ in range(2)]
        assert [line["kind"] for line in lines(files[1])] == ["step"] * 4 + ["epoch"]

    def test_without_asking_no_trace_and_no_board(self, tiny_config, listener):
        files = train(tiny_config(epochs=1), listener).files
        assert not any(path.exists() for path in (files.trace, files.profile, files.tensorboard))

    @pytest.mark.parametrize("epochs", [1, 2])
    def test_profile(self, tiny_config, listener, epochs):
        """Of the first epoch after the warm-up, or of the last one."""
        files = train(tiny_config(epochs=epochs, warmup=1, profile=True), listener).files
        events = json.loads(gzip.decompress(files.trace.read_bytes()))["traceEvents"]
        names = {event.get("name") for event in events}
        assert {"msedge:forward", "msedge:backward", "msedge:optimizer"} <= names
        page = files.profile.read_text()
        assert "tiny, test_efficientnet at 32 px, batches of 8, precision 32" in page

    def test_profile_of_a_run_that_ends_early(self, tiny_config, listener, monkeypatch):
        """No recorder is left running, and the next run has its own."""

        def progress(what: str, done: int, *_: object) -> None:
            if (what, done) == ("epoch 1", 2):
                raise InterruptedError

        with monkeypatch.context() as patch:
            patch.setattr(listener, "progress", progress)
            with pytest.raises(InterruptedError):
                train(tiny_config(epochs=1, profile=True, warmup=0), listener)
        files = train(tiny_config(epochs=1, profile=True, warmup=0), listener).files
        assert files.profile.is_file()
        assert json.loads(gzip.decompress(files.trace.read_bytes()))["traceEvents"]

    def test_tensorboard(self, tiny_config, listener):
        pytest.importorskip("tensorboard")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        files = train(tiny_config(epochs=1, tensorboard=True), listener).files
        board = EventAccumulator(str(files.tensorboard))
        board.Reload()
        shown = [event.value for event in board.Scalars("step/loss")]
        assert shown == pytest.approx([x["loss"] for x in lines(files) if x["kind"] == "step"])
