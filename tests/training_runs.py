"""Training by the real command, in processes of its own, and what it leaves in a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from msedge.training.config import TrainConfig
from msedge.training.run_files import RunFiles

SECONDS = 300  # many times what is needed on a busy machine
ALONE = ("-m", "msedge")


def of_torchrun(processes: int) -> tuple[str, ...]:
    """What starts the command in several processes, as clusters do."""
    return (
        *("-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", str(processes), "-m", "msedge"),
    )


class Run:
    """``msedge train`` at work, with everything that it starts. Use it as a context manager."""

    def __init__(self, config: TrainConfig, *options: str, launcher: Sequence[str] = ALONE) -> None:
        beside = config.save_root.parent
        beside.mkdir(parents=True, exist_ok=True)
        self._words = Path(tempfile.mkdtemp(prefix="words_", dir=beside))
        settings = self._words / "settings.yaml"
        settings.write_text(yaml.safe_dump(config.model_dump(mode="json")))
        command = [sys.executable, *launcher, "train", "--config", str(settings), *options]
        with (self._words / "out").open("wb") as out, (self._words / "err").open("wb") as err:
            self.process = subprocess.Popen(
                command,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def stderr(self) -> str:
        """What has been said on standard error."""
        return (self._words / "err").read_text()

    def wait(self) -> int:
        """The exit status, once there is one."""
        return self.process.wait(SECONDS)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, which has to come true while the run is at work."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, f"ended too early\n{self.stderr}"
            assert time.monotonic() < deadline, f"never came\n{self.stderr}"
            time.sleep(0.002)

    def alive(self) -> dict[int, int]:
        """The processes that there still are of this run, as pid to parent's pid."""
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat="], capture_output=True, text=True, check=True
        )
        rows = [line.split() for line in listed.stdout.splitlines()]
        return {
            int(pid): int(parent)
            for pid, parent, group, state in rows
            if int(group) == self.process.pid and not state.startswith("Z")
        }

    def leaves_nobody_behind(self) -> bool:
        """Whether all its processes end within some seconds."""
        deadline = time.monotonic() + 30
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        return not self.alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def complete(config: TrainConfig, *options: str, launcher: Sequence[str] = ALONE) -> Run:
    """A run that has ended well."""
    with Run(config, *options, launcher=launcher) as run:
        assert run.wait() == 0, run.stderr
    return run


def log_lines(config: TrainConfig, kind: str) -> list[dict[str, Any]]:
    """The whole lines of a kind, ``step`` or ``epoch``, in the log of a run."""
    try:
        written = RunFiles(config).log.read_text().rpartition("\n")[0]
    except FileNotFoundError:
        return []
    entries = [json.loads(line) for line in written.splitlines()]
    return [entry for entry in entries if entry["kind"] == kind]


def losses(config: TrainConfig) -> dict[tuple[int, int], float]:
    """The loss of each step, by epoch and step, none of which may be written twice."""
    steps = log_lines(config, "step")
    counts = Counter((line["epoch"], line["step"]) for line in steps)
    assert set(counts.values()) <= {1}, counts
    return {(line["epoch"], line["step"]): line["loss"] for line in steps}
