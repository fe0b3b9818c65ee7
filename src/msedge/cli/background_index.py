"""A large gallery's approximate index, kept up to date while the gallery is served.

It is built by a process of its own, ``msedge gallery approximate``, which gives way to the server;
until it is there, and while it is built anew, searches go on with what there is. It ends with the
server, also where that is killed. Tested in ``tests/cli/test_background_index.py`` and
``tests/faults/test_killed_servers.py``.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

from msedge.errors import MSEdgeError
from msedge.search.stores import open_store
from msedge.search.stores.store import APPROXIMATE_FROM

_SECONDS_BETWEEN_LOOKS = 60.0
_SECONDS_AFTER_FAILURE = 3600.0
_SECONDS_TO_END = 10.0


class BackgroundIndex:
    """Looks now and then whether the index is due, and has it built. A context manager."""

    def __init__(
        self,
        gallery: Path,
        *,
        recall: float,
        say: Callable[[str], None],
        least: int = APPROXIMATE_FROM,
        pause: float = _SECONDS_BETWEEN_LOOKS,
    ) -> None:
        """Take a gallery; nothing is begun yet.

        Args:
            gallery: one whose index is a cache beside it.
            recall: the share of the first 20 photos that the index is to find.
            say: hears a line of news.
            least: photos from which a gallery gets an index.
            pause: seconds between two looks.
        """
        self._gallery, self._recall, self._say = gallery, recall, say
        self._least, self._pause = least, pause
        self._ended = Event()
        self._thread = Thread(target=self._run, name="background-index", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        wait = 0.0
        while not self._ended.wait(wait):
            wait = self._pause
            try:
                with open_store(self._gallery) as store:
                    due = store.is_index_due(self._least)
            except MSEdgeError:  # the server itself says what is wrong with the gallery
                continue
            if due and not self._is_built():
                wait = max(self._pause, _SECONDS_AFTER_FAILURE)

    def _is_built(self) -> bool:
        """Have it built; whether that worked."""
        self._say("building the approximate index in the background; searches go on meanwhile")
        try:
            status, last_line = self._build()
        except (OSError, MemoryError, RuntimeError) as error:  # no process, no memory, no thread
            status, last_line = 1, f"cannot start a process for it ({error})"
        if self._ended.is_set():
            return True
        if status < 0:
            name = signal.Signals(-status).name
            last_line = f"its process was killed ({name}; out of memory?), another tries later"
        self._say(last_line if status == 0 else f"no approximate index: {last_line}")
        return status == 0

    def _build(self) -> tuple[int, str]:
        """Have it built; how its process ended, and what it said last."""
        gentle = ["nice", "-n", "10"] if shutil.which("nice") else []
        command = [*gentle, sys.executable, "-m", "msedge.cli.with_parent", "gallery"]
        command += ["approximate", str(self._gallery), "--recall", str(self._recall), "--force"]
        # A group of its own, so that Ctrl+C in a terminal reaches it through this thread alone.
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            said = Thread(target=self._ends_with_server, args=(process,), daemon=True)
            said.start()
            lines = process.communicate()[0].strip().splitlines() or ["it said nothing"]
        return process.returncode, lines[-1]

    def _ends_with_server(self, process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            if self._ended.wait(0.2):
                process.terminate()
                try:
                    process.wait(_SECONDS_TO_END)
                except subprocess.TimeoutExpired:
                    process.kill()
