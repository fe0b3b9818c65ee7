"""The log's lines, what a kill leaves of them, and what TensorBoard reads."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.errors import ConfigError, DataError
from msedge.training.meter import Pace
from msedge.training.run_files import EpochRow
from msedge.training.step_log import StepLog

PACE = Pace(81.25, 0.125, 1.5, None)
STEPS = 5
"""An epoch of the runs in these tests."""


def row(epoch: int, loss: float = 0.5) -> EpochRow:
    return EpochRow(epoch, loss, {"mAP@all": 21.5, "P@100": 10.25}, 30.125, 62.5)


def train(log: StepLog, until: tuple[int, int], start: tuple[int, int] = (1, 0)) -> None:
    """Log what a run does from one moment to another, each an epoch and the steps done in it."""
    epoch, step = start
    while (epoch, step) < until:
        if step < STEPS:
            step += 1
            log.step(epoch, step, 100 * epoch + step, 0.01 * epoch, PACE)
        else:
            log.epoch(row(epoch, 100.0 * epoch))
            epoch, step = epoch + 1, 0


def whole_lines(path: Path) -> list[dict]:
    content = path.read_bytes()
    assert content.endswith(b"\n") or not content

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in content.splitlines()]


def unbroken(folder: Path, until: tuple[int, int]) -> bytes:
    with closing(StepLog(folder / "unbroken.jsonl")) as log:
        train(log, until)
    return (folder / "unbroken.jsonl").read_bytes()


class TestSmoke:
    def test_the_lines(self, tmp_path):
        path = tmp_path / "made" / "a_log.jsonl"
        with closing(StepLog(path)) as log:
            log.step(1, 20, 3.25, 1e-4, PACE)
            log.epoch(row(1))
        assert [path] == list(path.parent.iterdir())
        step, epoch = whole_lines(path)
        assert step == {
            "kind": "step",
            "epoch": 1,
            "step": 20,
            "loss": 3.25,
            "learning_rate": 1e-4,
            "images_a_second": 81.25,
            "waiting": 0.125,
            "memory_gb": 1.5,
            "device_memory_gb": None,
        }
        assert epoch == {
            "kind": "epoch",
            "epoch": 1,
            "loss": 0.5,
            "metrics": {"mAP@all": 21.5, "P@100": 10.25},
            "selection_value": 30.125,
            "seconds": 62.5,
        }

    def test_losses_keep_every_digit_and_measurements_do_not(self, tmp_path):
        with closing(StepLog(tmp_path / "log.jsonl")) as log:
            log.step(1, 1, 1 / 3, 2 / 3, Pace(1 / 3, 2 / 3, 1 / 3, 2 / 3))
        (step,) = whole_lines(tmp_path / "log.jsonl")
        assert (step["loss"], step["learning_rate"]) == (1 / 3, 2 / 3)
        assert (step["images_a_second"], step["device_memory_gb"]) == (0.3333, 0.6667)

    def test_a_line_is_there_as_soon_as_it_is_written(self, tmp_path):
        log = StepLog(tmp_path / "log.jsonl")
        for count in range(1, 4):
            log.step(1, count, 0.5, 0.1, PACE)
            assert len(whole_lines(tmp_path / "log.jsonl")) == count
        log.close()
        log.close()

    def test_starts_anew(self, tmp_path):
        unbroken(tmp_path, (2, 3))
        assert unbroken(tmp_path, (1, 1)).count(b"\n") == 1


class TestExceptions:
    def test_a_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match="choose a folder") as raised:
            StepLog(tmp_path / "file" / "log.jsonl")
        assert "\n" not in str(raised.value)

    def test_a_log_that_is_a_folder(self, tmp_path):
        with pytest.raises(DataError, match="cannot read the log"):
            StepLog(tmp_path, resume_at=(1, 1))

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
    def test_a_full_disk(self, tmp_path):
        log = StepLog(tmp_path / "log.jsonl")
        log._file.close()
        log._file = open("/dev/full", "ab", buffering=0)  # noqa: PTH123, SIM115
        with pytest.raises(DataError, match=r"No space left on device.*--resume") as raised:
            log.step(1, 1, 0.5, 0.1, PACE)
        assert "\n" not in str(raised.value)
        log.close()

    def test_a_disk_that_takes_a_part_of_a_line(self, tmp_path):
        written = b""

        class Slow:
            def write(self, line: bytes) -> int:
                nonlocal written
                written += line[:7]
                return len(line[:7])

            def close(self) -> None: ...

        with closing(StepLog(tmp_path / "log.jsonl")) as log:
            log._file.close()
            log._file = Slow()
            log.step(1, 1, 0.5, 0.1, PACE)
        assert json.loads(written)["loss"] == 0.5


class TestNumbersThatAreNone:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_are_null(self, tmp_path, value):
        with closing(StepLog(tmp_path / "log.jsonl")) as log:
            log.step(1, 1, value, value, Pace(value, value, value, value))
            log.epoch(EpochRow(1, value, {"mAP@all": value, "P@100": 1.0}, value, value))
        step, epoch = whole_lines(tmp_path / "log.jsonl")
        assert {name for name, each in step.items() if each is None} == {
            "loss", "learning_rate", *Pace._fields,
        }  # fmt: skip
        assert epoch["metrics"] == {"mAP@all": None, "P@100": 1.0}
        assert epoch["loss"] is epoch["selection_value"] is epoch["seconds"] is None


class TestResume:
    @settings(deadline=None, max_examples=40)
    @given(data=st.data())
    def test_a_resumed_log_is_that_of_the_unbroken_run(self, tmp_path_factory, data):
        folder = tmp_path_factory.mktemp("run")
        moments = st.tuples(st.integers(1, 3), st.integers(0, STEPS))
        saved, killed = sorted(data.draw(st.tuples(moments, moments)))
        path = folder / "log.jsonl"
        with closing(StepLog(path)) as log:
            train(log, killed)
        with closing(StepLog(path, resume_at=saved)) as log:
            assert path.read_bytes() == unbroken(folder, saved)
            train(log, (4, 0), start=saved)
        assert path.read_bytes() == unbroken(folder, (4, 0))

    def test_an_epoch_that_was_judged_again_has_one_line(self, tmp_path):
        path = tmp_path / "log.jsonl"
        with closing(StepLog(path)) as log:
            train(log, (2, 0))
        with closing(StepLog(path, resume_at=(1, STEPS))) as log:
            log.epoch(row(1))
        assert [line["kind"] for line in whole_lines(path)] == ["step"] * STEPS + ["epoch"]

    def test_wherever_a_line_was_torn(self, tmp_path):
        path = tmp_path / "log.jsonl"
        content = unbroken(tmp_path, (2, 2))
        before = content.rindex(b"\n", 0, -1) + 1
        for end in range(before, len(content)):
            path.write_bytes(content[:end])
            with closing(StepLog(path, resume_at=(2, 2))) as log:
                log.step(2, 3, 203, 0.02, PACE)
            places = [(line["epoch"], line.get("step")) for line in whole_lines(path)]
            assert places[-2:] == [(2, 2 if end == len(content) - 1 else 1), (2, 3)]
            assert len(places) == content.count(b"\n") + (end == len(content) - 1)

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"null",
            b"[1]",
            b"{}",
            b"\xff\xfe",
            b'{"kind": "step", "epoch": 1}',
            b"\0" * 9,
            b'{"kind": "epoch", "epoch": ' + b"9" * 4000 + b"}",
            b"[" * 100_000,
        ],
        ids=range(9),
    )
    def test_lines_that_are_none_are_dropped(self, tmp_path, line):
        path = tmp_path / "log.jsonl"
        content = unbroken(tmp_path, (1, 3))
        path.write_bytes(content + line + b"\n")
        StepLog(path, resume_at=(1, 3)).close()
        assert path.read_bytes() == content

    def test_without_a_log(self, tmp_path):
        with closing(StepLog(tmp_path / "log.jsonl", resume_at=(7, 2))) as log:
            log.step(7, 3, 0.5, 0.1, PACE)
        assert len(whole_lines(tmp_path / "log.jsonl")) == 1

    def test_after_a_kill(self, tmp_path):
        path = tmp_path / "log.jsonl"
        endless = (
            "import sys, itertools\n"
            "from pathlib import Path\n"
            "from msedge.training.meter import Pace\n"
            "from msedge.training.step_log import StepLog\n"
            "log = StepLog(Path(sys.argv[1]))\n"
            "for step in itertools.count(1):\n"
            "    log.step(1, step, 0.5, 0.1, Pace(1.0, 0.0, 1.0, None))\n"
            "    print(step, flush=True)\n"
        )
        command = [sys.executable, "-c", endless, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            said = [process.stdout.readline() for _ in range(100)]
            process.send_signal(signal.SIGKILL)
            said += process.stdout.readlines()
        told = max(int(each) for each in said if each.endswith(b"\n"))
        with closing(StepLog(path, resume_at=(1, told))) as log:
            log.step(1, told + 1, 0.5, 0.1, PACE)
        assert [line["step"] for line in whole_lines(path)] == [*range(1, told + 2)]


class TestTensorBoard:
    @staticmethod
    def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
        accumulation = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        events = accumulation.EventAccumulator(str(folder), purge_orphaned_data=True)
        events.Reload()
        return {
            tag: [(each.step, each.value) for each in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
        }

    def test_the_figures(self, tmp_path):
        pytest.importorskip("tensorboard")
        board = tmp_path / "board"
        with closing(StepLog(tmp_path / "log.jsonl", tensorboard=board)) as log:
            train(log, (3, 0))
        shown = self.read(board)
        losses = [101, 102, 103, 104, 105, 201, 202, 203, 204, 205]
        assert shown["step/loss"] == [*enumerate(losses, start=1)]
        assert shown["epoch/loss"] == [(5, 100), (10, 200)]
        assert shown["epoch/mAP@all"] == [(5, 21.5), (10, 21.5)]
        assert shown["step/images_a_second"] == [(n, 81.25) for n in range(1, 11)]
        assert shown.keys() == {
            "step/loss", "step/learning_rate", "step/images_a_second", "step/waiting",
            "step/memory_gb", "epoch/loss", "epoch/seconds", "epoch/mAP@all", "epoch/P@100",
        }  # fmt: skip

    def test_numbers_that_are_none_are_left_out(self, tmp_path, caplog):
        pytest.importorskip("tensorboard")
        with closing(StepLog(tmp_path / "log.jsonl", tensorboard=tmp_path)) as log:
            log.step(1, 1, math.nan, 0.5, PACE)
            log.step(1, 2, 0.25, 0.5, PACE)
        assert self.read(tmp_path)["step/loss"] == [(2, 0.25)]
        assert not caplog.records

    def test_resume_purges_later_steps(self, tmp_path):
        pytest.importorskip("tensorboard")
        path, board = tmp_path / "log.jsonl", tmp_path / "board"
        log = StepLog(path, tensorboard=board)
        train(log, (2, 4))
        log.close()
        with closing(StepLog(path, resume_at=(2, 1), tensorboard=board)) as log:
            log.step(2, 2, 0.5, 0.1, PACE)
        shown = self.read(board)["step/loss"]
        assert shown == [(1, 101), (2, 102), (3, 103), (4, 104), (5, 105), (6, 201), (7, 0.5)]
        assert len(list(board.iterdir())) == 2

    def test_started_anew_nothing_of_before_is_shown(self, tmp_path):
        pytest.importorskip("tensorboard")
        for until in ((3, 0), (1, 2)):
            with closing(StepLog(tmp_path / "log.jsonl", tensorboard=tmp_path / "board")) as log:
                train(log, until)
        assert self.read(tmp_path / "board")["step/loss"] == [(1, 101), (2, 102)]

    def test_without_its_package(self, tmp_path, monkeypatch):
        content = unbroken(tmp_path, (1, 3))
        monkeypatch.setitem(sys.modules, "tensorboard", None)
        with pytest.raises(ConfigError, match=r"pip install 'msedge\[train,tensorboard\]'") as told:
            StepLog(tmp_path / "unbroken.jsonl", tensorboard=tmp_path / "board")
        assert "\n" not in str(told.value)
        assert (tmp_path / "unbroken.jsonl").read_bytes() == content
        assert not (tmp_path / "board").exists()

    def test_a_folder_that_is_a_file(self, tmp_path):
        pytest.importorskip("tensorboard")
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError) as raised:
            StepLog(tmp_path / "log.jsonl", tensorboard=tmp_path / "file")
        assert "\n" not in str(raised.value)

    def test_it_is_not_loaded_where_it_is_not_asked_for(self, tmp_path):
        code = (
            "import sys\nfrom pathlib import Path\n"
            "from msedge.training.step_log import StepLog\n"
            "StepLog(Path(sys.argv[1])).close()\n"
            "print('tensorboard' in sys.modules)"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "log.jsonl")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        assert done.stdout == "False\n"
