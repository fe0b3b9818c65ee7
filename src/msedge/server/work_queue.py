"""Work in threads: so much at a time, so much waiting, and the rest turned away at once.

The line is one for all, so a client may have a limit of its own besides.

Tested in ``tests/server/test_work_queue.py``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request

from msedge.server.clients import client_of
from msedge.server.memory import MemoryBudget

T = TypeVar("T")

NO_ANSWER = "the gallery does not answer in time: try again in a few seconds"
_BYTES_A_SECOND = 50_000_000  # of memory that a picture needs: large ones take their time
CLIENT_GONE = 499
"""Status, in the metrics, of what nobody waited for any more (nginx's number for it)."""

_LEAVING = 0.02  # seconds, in which clients that have just gone leave the line


@dataclass(slots=True)
class _Job:
    """When it was asked for, the memory that it needs, and when its turn came."""

    asked: float
    memory: int
    started: float = 0.0


class WorkQueue:
    """Threads for one kind of work, and a short line before them."""

    def __init__(
        self,
        at_once: int,
        waiting: int,
        *,
        per_client: int | None = None,
        seconds: float | None = None,
        memory: MemoryBudget | None = None,
        refused: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        """Take the limits; None for no such limit.

        Args:
            at_once: how many run at a time.
            waiting: how many may wait for that.
            per_client: how many of one client may run or wait.
            seconds: that work may take, or wait while no other comes to its end.
            memory: what work may need of it at a time, with all others that share it.
            refused: hears why one is turned away: ``"client"`` or ``"queue"``.
        """
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="msedge-serve")
        self._free = asyncio.Semaphore(at_once)
        self._most_waiting, self._per_client, self._refused = waiting, per_client, refused
        self._memory = memory or MemoryBudget(sys.maxsize)
        self._clients: Counter[str] = Counter()
        self._seconds, self._ended = seconds, 0.0
        self.waiting = 0
        self.running = 0

    async def run(self, request: Request, work: Callable[[], T], *, memory: int = 0) -> T:
        """Run `work` in a thread when its turn comes.

        Args:
            request: who asked; its body must have been read. When its client goes away before the
                turn comes, the work is dropped.
            work: what to do.
            memory: bytes that it needs; its turn comes when they are there.

        Returns:
            What `work` returns; its exceptions are passed on.

        Raises:
            HTTPException: 413 when there never are so many bytes; 429 when too many wait already,
                or too many of this client's; :data:`CLIENT_GONE` when the client went; 503 when
                what it waits for hangs.
        """
        self._memory.check(memory)
        with self._counted(client_of(request.scope)):
            job = _Job(time.monotonic(), memory)
            running = asyncio.ensure_future(self._run(request, work, job))
            try:
                while not running.done():
                    left = self._seconds_left(job)
                    if left is not None and left <= 0:
                        raise HTTPException(503, NO_ANSWER, {"Retry-After": "5"})
                    await asyncio.wait({running}, timeout=left)
            finally:
                running.cancel()  # the thread goes on; nobody waits for it any more
            return running.result()

    def _seconds_left(self, job: _Job) -> float | None:
        if self._seconds is None:
            return None
        since = job.started or max(job.asked, self._ended)
        return since + self._seconds + job.memory / _BYTES_A_SECOND - time.monotonic()

    @contextmanager
    def _counted(self, client: str) -> Iterator[None]:
        if self._per_client is not None and self._clients[client] >= self._per_client:
            raise self._refusal("client", "your address asks too much at a time")
        self._clients[client] += 1
        try:
            yield
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]  # or there would be one for every client there ever was

    def _refusal(self, reason: str, line: str) -> HTTPException:
        self._refused(reason)
        return HTTPException(429, f"{line}: try again in a second", {"Retry-After": "1"})

    async def _run(self, request: Request, work: Callable[[], T], job: _Job) -> T:
        memory = job.memory
        if self._must_wait(memory) and self.waiting >= self._most_waiting:
            await asyncio.sleep(_LEAVING)
        if self._must_wait(memory):
            if self.waiting >= self._most_waiting:
                raise self._refusal("queue", "too much is asked at a time")
            self.waiting += 1
            try:
                await self._turn(request, memory)
            finally:
                self.waiting -= 1
        else:
            await self._acquire(memory)
        self.running += 1
        job.started = time.monotonic()
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._threads, work)
            self._ended = time.monotonic()
            return result
        finally:
            self.running -= 1
            self._release(memory)

    def _must_wait(self, memory: int) -> bool:
        return self._free.locked() or not self._memory.has(memory)

    async def _acquire(self, memory: int) -> None:
        await self._memory.take(memory)  # first, so that work without any is not held up by it
        try:
            await self._free.acquire()
        except asyncio.CancelledError:
            self._memory.give(memory)
            raise

    def _release(self, memory: int) -> None:
        self._free.release()
        self._memory.give(memory)

    async def _turn(self, request: Request, memory: int) -> None:
        """Wait for a turn or for the client to leave, whichever is first."""
        turn: asyncio.Future[Any] = asyncio.ensure_future(self._acquire(memory))
        gone = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait({turn, gone}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._give_up(turn, memory)
            raise
        finally:
            gone.cancel()
        if not turn.done():
            self._give_up(turn, memory)
            gone.result()  # or it went wrong in another way, such as with too long a body
            raise HTTPException(CLIENT_GONE, "the client went away")

    def _give_up(self, turn: asyncio.Future[Any], memory: int) -> None:
        def release(waited: asyncio.Future[Any]) -> None:
            if not waited.cancelled():
                self._release(memory)

        turn.add_done_callback(release)  # it may be granted in the moment it is given up
        turn.cancel()

    def close(self) -> None:
        """Let the threads end; what has not begun is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
