"""Commands that get little memory: refused more by a limit of the process, or killed for it.

``ulimit`` makes the system refuse: an error arises in the process. A control group makes the
kernel's out-of-memory killer end it, as on a machine that is full.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

SECONDS = 120  # many times what is needed on a busy machine
_GROUPS = Path("/sys/fs/cgroup")


def refused_beyond(
    megabytes: int, arguments: Sequence[str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run Python with some arguments in a folder, with so much address space and no more."""
    limited = ["sh", "-c", f'ulimit -v {megabytes * 1024}; exec "$@"', "sh", sys.executable]
    return subprocess.run(
        [*limited, *arguments], cwd=folder, capture_output=True, text=True, timeout=SECONDS,
        check=False, env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip


def within(group: Path, arguments: Sequence[str]) -> list[str]:
    """A command that runs Python in a control group."""
    entering = f'echo $$ > "{group}/cgroup.procs" && exec "$@"'
    return ["sh", "-c", entering, "sh", sys.executable, *arguments]


@contextmanager
def small_group(megabytes: int) -> Iterator[Path]:
    """A control group with so much memory and no more; skips where none can be made."""
    folder, limit = _place()
    group = folder / f"msedge-test-{secrets.token_hex(4)}"
    try:
        group.mkdir()
        (group / limit).write_text(str(megabytes * 2**20))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group with a limit of memory can be made here ({error})")
    with suppress(OSError):  # where there is swap, it would be filled first
        (group / ("memory.swap.max" if limit == "memory.max" else "memory.swappiness")).write_text(
            "0"
        )
    try:
        yield group
    finally:
        _remove(group)


def was_killed_for_memory(group: Path) -> bool:
    """Whether the kernel killed a process of a control group for its memory."""
    for name in ("memory.oom_control", "memory.events"):
        with suppress(OSError):
            for line in (group / name).read_text().splitlines():
                if line.startswith("oom_kill ") and int(line.split()[1]):
                    return True
    return False


def _place() -> tuple[Path, str]:
    """The folder of this process's own group, and the file of its limit."""
    try:
        own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        pytest.skip("this system has no control groups")
    for _, controllers, path in own:
        if "memory" in controllers.split(","):  # version 1
            return _GROUPS / "memory" / path.lstrip("/"), "memory.limit_in_bytes"
    path = next((path for _, controllers, path in own if not controllers), "/")
    return _GROUPS / path.lstrip("/"), "memory.max"


def _remove(group: Path) -> None:
    """End what is left in a group, and remove it."""
    until = time.monotonic() + 10
    while group.exists() and time.monotonic() < until:
        with suppress(OSError):
            for pid in (group / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
        with suppress(OSError):
            group.rmdir()
        time.sleep(0.05)
