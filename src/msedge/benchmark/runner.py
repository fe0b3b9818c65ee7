"""The runs of a benchmark, each a process of its own: some at a time, none twice.

A run that fails is noted and the others go on. A run that a killed benchmark left behind is waited
for. When the benchmark itself is stopped, it stops its own processes, and these alone.
Tested in ``tests/benchmark/test_runner.py``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from msedge.benchmark.cells import Cell
from msedge.benchmark.locks import is_taken, take
from msedge.benchmark.outcomes import (
    Outcome,
    forget_failure,
    note_failure,
    read_folder,
    read_outcome,
)
from msedge.data.images import one_line
from msedge.errors import DataError

LOG = "train.log"
_TO_RUN = ("to do", "killed", "failed", "running")
_ERROR_MARK = "msedge: "
_TAIL = 4096  # bytes of a log that are looked at for its last lines
_LONGEST = 300  # characters of an error
_POLL, _PATIENCE = 0.2, 10.0  # seconds between looks; and for a process to end when it is told to


@dataclass(frozen=True)
class Running:
    """A run that has a process.

    Attributes:
        cell: what runs.
        process: its own process; None of one that an earlier benchmark left behind.
        log_start: where this attempt's lines begin in the log, in bytes.
        since: when it began, on the clock of ``time.monotonic``.
    """

    cell: Cell
    process: subprocess.Popen[bytes] | None
    log_start: int
    since: float

    def last_line(self) -> str:
        """What the run said last, on one line."""
        lines = _last_lines(self.cell.folder / LOG, self.log_start)
        return one_line(lines[-1]) if lines else ""


class Watcher(Protocol):
    """Who is told how a benchmark goes."""

    def started(self, run: Running) -> None:
        """Take that a run has begun, or is waited for."""

    def moved(self, running: Sequence[Running]) -> None:
        """Take what is running; called a few times a second."""

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """Take what a run came to, and how long it took now."""


def run_cells(
    cells: Sequence[Cell],
    *,
    jobs: int,
    fingerprint: Callable[[Cell], str | None],
    watcher: Watcher,
    after_each: Callable[[], object],
) -> None:
    """Run what is not finished, in order.

    Args:
        cells: the runs; those that are finished, or whose folder holds another run, are left.
        jobs: how many at a time; the cores are divided between them.
        fingerprint: of a run's data.
        watcher: who is told.
        after_each: called when a run has ended.

    Raises:
        KeyboardInterrupt: the benchmark was stopped; its processes have ended.
        DataError: a folder cannot be written to.
    """
    waiting = [c for c in cells if read_outcome(c, fingerprint(c)).state in _TO_RUN]
    running: list[Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                run = _start(waiting.pop(0), fingerprint, jobs)
                if run is not None:
                    running.append(run)
                    watcher.started(run)
            watcher.moved(running)
            time.sleep(_POLL)
            for run in [run for run in running if _has_ended(run)]:
                running.remove(run)
                outcome = _outcome(run, fingerprint)
                if run.process is None and outcome.state != "done":
                    waiting.insert(0, run.cell)  # what was left behind did not finish
                    continue
                watcher.ended(outcome, time.monotonic() - run.since)
                after_each()
    finally:
        _stop([run.process for run in running if run.process is not None])


def threads_of(jobs: int) -> int:
    """The threads of each run when several share this process's cores."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // jobs)


def _start(cell: Cell, fingerprint: Callable[[Cell], str | None], jobs: int) -> Running | None:
    """Start a run, or watch the one that is there; None where it has finished by now."""
    lock = take(cell.folder)
    if lock is None:
        return Running(cell, None, 0, time.monotonic())
    try:
        outcome = read_folder(cell, fingerprint(cell))
        if outcome.state == "done":
            return None
        forget_failure(cell)
        command = [sys.executable, "-m", "msedge", "train", "--config", str(cell.write_config())]
        command += [] if outcome.data_changed else ["--resume"]
        return _open(cell, command, threads_of(jobs), lock)
    finally:
        os.close(lock)  # the process keeps it


def _open(cell: Cell, command: Sequence[str], threads: int, lock: int) -> Running:
    log = cell.folder / LOG
    try:
        with log.open("ab") as opened:
            start = opened.tell()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=opened,
                env={"OMP_NUM_THREADS": str(threads), **os.environ},
                pass_fds=() if sys.platform == "win32" else (lock,),
            )
    except OSError as error:
        raise DataError(
            f"cannot start {cell.label} ({error.strerror}); see that {one_line(log)} can be written"
        ) from error
    return Running(cell, process, start, time.monotonic())


def _has_ended(run: Running) -> bool:
    if run.process is None:
        return not is_taken(run.cell.folder)
    return run.process.poll() is not None


def _outcome(run: Running, fingerprint: Callable[[Cell], str | None]) -> Outcome:
    """What a run came to; why one of ours failed is noted beside it."""
    outcome = read_folder(run.cell, fingerprint(run.cell))
    if outcome.state == "done" or run.process is None:
        return outcome
    note_failure(run.cell, _why(run, run.process.wait()))
    return read_folder(run.cell, fingerprint(run.cell))


def _why(run: Running, status: int) -> str:
    """The one line that tells why a run failed: its own error, or how it ended."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    lines = _last_lines(run.cell.folder / LOG, run.log_start)
    errors = [line for line in lines if line.startswith(_ERROR_MARK)]
    said = errors[-1].removeprefix(_ERROR_MARK) if errors else lines[-1] if lines else ""
    if status == 0:
        said = f"ended without a finished record; {said}"
    said = one_line(said) or f"exit status {status}"
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 3]}..."


def _last_lines(log: Path, start: int) -> list[str]:
    """The last lines of a log, none from before a place in it, without empty ones."""
    try:
        with log.open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(start, size - _TAIL))
            text = opened.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End processes of ours: ask first, and do not ask those that will not listen."""
    for process in processes:
        process.terminate()
    end = time.monotonic() + _PATIENCE
    for process in processes:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
