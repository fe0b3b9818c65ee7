"""Processes that end together: one fails and says why, the others end without a word.

Whoever fails first says so in a store that the first process keeps, before its connections break.
The others see their own errors of broken connections, look there, and keep quiet. One that waits
for a message which will never come, as a GPU may, is ended by a thread that looks there now and
then; so is one whose first process was killed. Tested with real processes in
``tests/training/test_several_processes.py``.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist
from lightning_fabric import Fabric

from msedge.errors import MSEdgeError
from msedge.training.processes import Processes
from msedge.training.stopping import StoppedError

_LOOK_SECONDS = 0.2
_GRACE_SECONDS = 5.0  # for a process to end of itself
_STORE_TIMEOUT = timedelta(seconds=60)
_FAILED = "failed"  # the store's key


class ProcessLostError(MSEdgeError):
    """Another process of the run ended without saying why, as when it is killed."""


class FailedElsewhereError(MSEdgeError):
    """Another process of the run failed; what there is to say is said there.

    Attributes:
        exit_status: of the process that failed.
    """

    def __init__(self, exit_status: int) -> None:
        """Take the status that the other process ends with."""
        super().__init__("another process of this run failed, and says why")
        self.exit_status = exit_status


@contextmanager
def ending_together(fabric: Fabric, processes: Processes) -> Iterator[None]:
    """Let a failure in one process end all of them, and be told once.

    Args:
        fabric: the launched one, whose processes they are.
        processes: the same, seen from here; with one alone nothing is done.

    Raises:
        FailedElsewhereError: another one failed, or tells that all have been stopped.
        ProcessLostError: another one ended without a word.
    """
    if processes.count == 1:
        yield
        return
    supervision = _Supervision(processes, _take_children(fabric))
    try:
        yield
        processes.wait()  # before the first one ends, and the store with it
    except StoppedError as error:  # all of them are
        supervision.end()
        if processes.first:
            raise
        raise FailedElsewhereError(error.exit_status) from error
    except BaseException as error:
        supervision.end()
        told = supervision.tell(_exit_status(error))
        if told is not None:
            raise FailedElsewhereError(told) from error
        if _is_broken_connection(error):
            raise ProcessLostError(
                f"another of this run's {processes.count} processes has ended without a word; "
                "look for what killed it (memory?), then go on with --resume"
            ) from error
        raise
    supervision.end()


class _Supervision:
    """What a process knows of the others' failures."""

    def __init__(self, processes: Processes, children: Sequence[subprocess.Popen[bytes]]) -> None:
        self._children = children
        self._rank = processes.rank
        host = os.environ["MASTER_ADDR"]
        if processes.first:
            self._store = dist.TCPStore(  # type: ignore[attr-defined]
                host, 0, is_master=True, timeout=_STORE_TIMEOUT, wait_for_workers=False
            )
        port = processes.objects(self._store.port if processes.first else 0)[0]
        if not processes.first:
            self._store = dist.TCPStore(  # type: ignore[attr-defined]
                host, port, is_master=False, timeout=_STORE_TIMEOUT
            )
        processes.wait()  # until all are connected; the first one may fail at once
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="msedge-supervision")
        self._thread.start()

    def tell(self, exit_status: int) -> int | None:
        """Tell the others that this process fails; how another one ended, where one was first."""
        own = f"{self._rank} {exit_status}"
        try:
            first = self._store.compare_set(_FAILED, "", own).decode()
        except RuntimeError:  # the first process is gone
            return 1
        return None if first == own else int(first.split()[1])

    def end(self) -> None:
        """Watch no longer."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            status = self._failure()
            if status:
                if not self._ended.wait(_GRACE_SECONDS):
                    os._exit(status)  # the main thread waits for messages and cannot be woken
                return

    def _failure(self) -> int:
        """The exit status of another process that failed; 0 while all are well."""
        try:
            if self._store.check([_FAILED]):
                return int(self._store.get(_FAILED).split()[1])
        except RuntimeError:  # the first process is gone
            return 1
        return int(any(child.poll() for child in self._children))


def _take_children(fabric: Fabric) -> list[subprocess.Popen[bytes]]:
    """The processes that Fabric started, taken from it.

    It would answer the failure of one by killing this process too, which then could not say that
    a terminal's cursor be shown again, nor end with the right status.
    """
    started = getattr(fabric.strategy.launcher, "procs", [])
    children = list(started)
    started.clear()
    return children


def _exit_status(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 130
    return error.exit_status if isinstance(error, MSEdgeError) else 1


def _is_broken_connection(error: BaseException) -> bool:
    """Whether a process learnt by this error that another is gone."""
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and "gloo/transport" in str(error)
