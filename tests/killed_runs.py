"""Commands that are killed at moments drawn at random, and what has to hold after each kill.

A writer is a command in a folder: what it reads lies in ``inputs``, what it writes in ``out``. It
is run once undisturbed. Then it is started and killed again and again, half of the times at a
moment of that run, half right after a change in ``out``: that is when something is half written.
After each kill everything in ``out`` is as it was before or as it is after an undisturbed run; now
and then the same command runs to its end, and nothing tells the folder from an undisturbed one.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

TESTS = str(Path(__file__).parent)
MSEDGE = ("-m", "msedge")
SECONDS = 300  # many times what is needed on a busy machine
_MARK = "MSEDGE_KILLED_RUN"  # in the environment of everything that a command starts
_SECONDS_TO_END = 90.0  # for what a killed command had started
_TOKEN = re.compile(r"(?<=-)[0-9a-f]{8}\b")  # drawn anew for each file

State = Mapping[str, Hashable]
"""What stands in ``out``: the content of each of its parts, by a name."""


@dataclass(frozen=True, slots=True)
class Writer:
    """A command that writes state.

    Attributes:
        name: what the counts call it.
        command: arguments of Python, whose current folder holds ``inputs`` and ``out``.
        prepare: writes ``inputs``, and what stands in ``out`` before.
        read: what stands in ``out``; raises for anything that is there by halves.
        at_once: whether all parts change together, else each on its own.
        gallery: the name of a gallery in ``out`` that has to pass ``msedge gallery check``.
        ends_with: the status of the command when it has done all it can.
        refuses: what it says, with status 2, where it finds its work done.
        alone: whether the kill is for the first process alone, which then has to take with it
            those that it started.
    """

    name: str
    command: tuple[str, ...]
    prepare: Callable[[Path], None]
    read: Callable[[Path], State]
    at_once: bool = True
    gallery: str | None = None
    ends_with: int = 0
    refuses: str | None = None
    alone: bool = False


@dataclass(slots=True)
class Tally:
    """What came of the kills.

    Attributes:
        kills: that ended a command at work.
        in_writes: of these, between its first and its last change of a file.
        too_late: starts that had ended before their moment, which do not count.
        completed: runs to the end afterwards.
        parts: of the state, compared after each kill.
    """

    name: str
    kills: int = 0
    in_writes: int = 0
    too_late: int = 0
    completed: int = 0
    parts: int = 0

    def line(self) -> str:
        """The figures, for people."""
        return (
            f"{self.name:34} {self.kills:4} kills, {self.in_writes:4} between writes; "
            f"{self.completed:3} runs to the end, {self.parts:6} states compared"
        )


@dataclass(frozen=True, slots=True)
class _Undisturbed:
    before: State
    after: State
    names: frozenset[str]
    seconds: float
    first_change: float
    changes: int


@dataclass(slots=True)
class _Watched:
    """Counts the changes of the files in a folder, as often as they can be looked at."""

    folder: Path
    count: int = 0
    first: float | None = None
    _last: dict[str, tuple[int, int]] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._last = _seen(self.folder)

    def look(self) -> int:
        seen = _seen(self.folder)
        if seen != self._last:
            self._last = seen
            self.count += 1
            if self.first is None:
                self.first = time.monotonic() - self._begun
        return self.count


def kill_again_and_again(
    writer: Writer, folder: Path, kills: int, *, seed: int, in_a_row: int = 4
) -> Tally:
    """Kill a command so many times, and hold it to what is promised.

    Args:
        writer: the command.
        folder: an empty one.
        kills: how many.
        seed: of the moments.
        in_a_row: kills before it may run to its end.

    Raises:
        AssertionError: a promise was broken; the message says after which kill.
    """
    draw, tally = random.Random(f"{writer.name} {seed}"), Tally(writer.name)
    undisturbed = _prepared(writer, folder)
    state, row = undisturbed.before, 0
    while tally.kills < kills:
        assert tally.too_late <= 3 * kills + 10, "it ends before it can be killed"
        note = f"{writer.name}, seed {seed}, after {tally.kills} kills"
        is_killed = _is_killed(writer, folder, undisturbed, draw, tally)
        if is_killed:
            now = writer.read(folder)
            check_between(state, now, undisturbed.after, at_once=writer.at_once, note=note)
            _check_gallery(writer, folder, note, is_complete=False)
            tally.parts += len(now.keys() | undisturbed.after.keys())
            state, row = now, row + 1
            is_done = state == undisturbed.after != undisturbed.before
            if row < in_a_row and tally.kills < kills and not is_done:
                continue
            _run_to_the_end(writer, folder, undisturbed, note)
        _check_complete(writer, folder, undisturbed, note)
        tally.completed += bool(row)
        _begin_again(folder)
        state, row = undisturbed.before, 0
    return tally


def check_between(before: State, now: State, after: State, *, at_once: bool, note: str) -> None:
    """Each part is the old one or the new one; all together where they change at once."""
    if at_once:
        assert now in (before, after), f"{note}: neither the old nor the new"
    for name in before.keys() | now.keys() | after.keys():
        own = now.get(name)
        assert own in (before.get(name), after.get(name)), f"{note}: {name} is neither"


def processes_of(mark: str) -> list[int]:
    """The living processes that have a mark in their environment; itself left out."""
    wanted, found = f"{_MARK}={mark}".encode(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z" and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def marked(mark: str) -> dict[str, str]:
    """The environment by which the processes of a command are found again."""
    return os.environ | {_MARK: mark, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def all_end(mark: str) -> bool:
    """Whether what a killed command had started ends of itself."""
    until = time.monotonic() + _SECONDS_TO_END
    while processes_of(mark):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def end_all(mark: str) -> None:
    """End what has a mark."""
    for pid in processes_of(mark):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _prepared(writer: Writer, folder: Path) -> _Undisturbed:
    """Write what the command needs, and run it in peace once."""
    (folder / "inputs").mkdir(parents=True)
    (folder / "out").mkdir()
    writer.prepare(folder)
    shutil.copytree(folder / "out", folder / "before", symlinks=True)
    before = writer.read(folder)
    begun = time.monotonic()
    process, _ = _started(writer, folder)
    watched = _Watched(folder / "out")
    while process.poll() is None:
        assert time.monotonic() < begun + SECONDS, f"{writer.name} does not end"
        watched.look()
        time.sleep(0.001)
    seconds = time.monotonic() - begun
    assert process.returncode == writer.ends_with, _words(folder)
    watched.look()
    after = writer.read(folder)
    assert watched.first is not None, f"{writer.name} writes nothing"
    _check_gallery(writer, folder, "undisturbed", is_complete=True)
    names = _names(folder / "out")
    _begin_again(folder)
    assert writer.read(folder) == before
    return _Undisturbed(before, after, names, seconds, watched.first, watched.count)


def _started(writer: Writer, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    mark = f"{os.getpid()}-{random.SystemRandom().getrandbits(64):x}"
    words = folder / "words.txt"
    with words.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, *writer.command],
            cwd=folder,
            env=marked(mark),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return process, mark


def _is_killed(
    writer: Writer, folder: Path, usual: _Undisturbed, draw: random.Random, tally: Tally
) -> bool:
    """Start a command and kill it; False where it had ended before."""
    moment = change = None
    if draw.random() < 0.5:
        moment = draw.uniform(0.7 * usual.first_change, 1.02 * usual.seconds)
    else:
        change = draw.randint(1, usual.changes)
    pause = draw.uniform(0, 0.01) if draw.random() < 0.5 else 0.0
    begun = time.monotonic()
    process, mark = _started(writer, folder)
    watched = _Watched(folder / "out")
    try:
        while process.poll() is None:
            watched.look()
            late = time.monotonic() - begun
            if (moment is not None and late >= moment) or (change and watched.count >= change):
                time.sleep(pause)
                break
            assert late < SECONDS, f"{writer.name} does not end"
            time.sleep(0.001)
        with suppress(ProcessLookupError):
            (os.kill if writer.alone else os.killpg)(process.pid, signal.SIGKILL)
        process.wait(SECONDS)
        assert all_end(mark), f"{writer.name}: processes outlive it"
    finally:
        end_all(mark)
    if process.returncode != -signal.SIGKILL:
        assert process.returncode == writer.ends_with, _words(folder)
        return False
    tally.kills += 1
    tally.in_writes += 0 < watched.count < usual.changes
    return True


def _run_to_the_end(writer: Writer, folder: Path, usual: _Undisturbed, note: str) -> None:
    """The same command again, which ends well, or says that its work is done."""
    is_done = writer.refuses is not None and writer.read(folder) == usual.after
    process, mark = _started(writer, folder)
    try:
        status = process.wait(SECONDS)
        assert all_end(mark), f"{note}: processes outlive it"
    finally:
        end_all(mark)
    words = _words(folder)
    if is_done and status == 2:
        assert str(writer.refuses) in words, f"{note}: {words}"
        for lock in (folder / "out").glob("*-lock"):
            lock.unlink()  # empty, and nobody holds it: the next writer of the gallery removes it
    else:
        assert status == writer.ends_with, f"{note}: status {status}\n{words}"


def _check_complete(writer: Writer, folder: Path, usual: _Undisturbed, note: str) -> None:
    """Everything is as after an undisturbed run, and nothing else is left."""
    now = writer.read(folder)
    different = [name for name in now.keys() | usual.after.keys()
                 if now.get(name) != usual.after.get(name)]  # fmt: skip
    assert not different, f"{note}: not as undisturbed: {sorted(different)[:5]}"
    other = sorted(_names(folder / "out") ^ usual.names)
    assert not other, f"{note}: {len(other)} left, or missing: {other[:5]}"
    _check_gallery(writer, folder, note, is_complete=True)


def _check_gallery(writer: Writer, folder: Path, note: str, *, is_complete: bool) -> None:
    """No damage after a kill, and nothing at all to mend after a run to the end."""
    if writer.gallery is None or not (path := folder / "out" / writer.gallery).exists():
        return
    from msedge.search.stores import check_gallery

    allowed = set() if is_complete else {"leftovers", "log", "approximate"}
    found = {finding.name for finding in check_gallery(path) if finding.is_left}
    assert found <= allowed, f"{note}: `msedge gallery check` finds {found - allowed}"


def _begin_again(folder: Path) -> None:
    shutil.rmtree(folder / "out")
    shutil.copytree(folder / "before", folder / "out", symlinks=True)


def _names(folder: Path) -> frozenset[str]:
    """All files below a folder, those in a Lance dataset as one, drawn parts of names left out."""
    found = set()
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        inside = next((n for n, part in enumerate(parts) if part.endswith(".lance")), None)
        shown = "/".join(parts if inside is None else parts[: inside + 1])
        found.add(_TOKEN.sub("*", shown))
    return frozenset(found)


def _seen(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file below a folder, as far as it holds still."""
    found: dict[str, tuple[int, int]] = {}
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    with suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        found[entry.path] = status.st_size, status.st_mtime_ns
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
        except OSError:
            continue
    return found


def _words(folder: Path) -> str:
    return (folder / "words.txt").read_text(errors="replace")[-3000:]
