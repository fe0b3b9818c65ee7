"""So much at a time, so much waiting, and nothing done for those who left."""

from __future__ import annotations

import asyncio
import threading

import pytest
from starlette.exceptions import HTTPException

from msedge.errors import DataError
from msedge.server.memory import MemoryBudget
from msedge.server.work_queue import CLIENT_GONE, WorkQueue


class Asker:
    """A request whose client stays until told otherwise."""

    def __init__(self, address="192.0.2.1"):
        self.left = asyncio.Event()
        self.scope = {"client": (address, 5000)}

    async def receive(self):
        await self.left.wait()
        return {"type": "http.disconnect"}


class Work:
    """Work that begins when its turn comes and lasts until it is let go."""

    def __init__(self):
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        assert self.go.wait(20)
        return "done"

    async def has_begun(self):
        assert await asyncio.to_thread(self.begun.wait, 20)


async def waiting(queue, number):
    while queue.waiting != number:
        await asyncio.sleep(0.001)


def in_a_loop(test):
    def run(self):
        async def limited():
            async with asyncio.timeout(30):
                await test(self)

        asyncio.run(limited())

    run.__name__ = test.__name__
    return run


class TestWorkQueue:
    @in_a_loop
    async def test_it_answers(self):
        queue = WorkQueue(2, 0)
        thread = await queue.run(Asker(), threading.get_ident)
        assert thread != threading.get_ident()
        assert (queue.running, queue.waiting) == (0, 0)
        queue.close()

    @in_a_loop
    async def test_errors_are_passed_on_and_free_the_place(self):
        queue = WorkQueue(1, 0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await queue.run(Asker(), lambda: 1 / 0)
        assert await queue.run(Asker(), lambda: 5) == 5
        queue.close()

    @in_a_loop
    async def test_so_many_at_a_time_and_the_rest_in_order(self):
        queue, works = WorkQueue(2, 9), [Work() for _ in range(4)]
        tasks = [asyncio.create_task(queue.run(Asker(), work)) for work in works]
        await works[0].has_begun()
        await works[1].has_begun()
        await waiting(queue, 2)
        assert queue.running == 2
        assert not works[2].begun.is_set()
        works[1].go.set()
        await works[2].has_begun()
        assert not works[3].begun.is_set()
        for work in works:
            work.go.set()
        assert await asyncio.gather(*tasks) == ["done"] * 4
        assert (queue.running, queue.waiting) == (0, 0)
        queue.close()

    @in_a_loop
    async def test_more_than_may_wait_are_turned_away_at_once(self):
        queue, first, second = WorkQueue(1, 1), Work(), Work()
        tasks = [asyncio.create_task(queue.run(Asker(), work)) for work in (first, second)]
        await first.has_begun()
        await waiting(queue, 1)
        with pytest.raises(HTTPException) as told:
            await queue.run(Asker(), Work())
        assert told.value.status_code == 429
        assert told.value.headers == {"Retry-After": "1"}
        first.go.set()
        second.go.set()
        assert await asyncio.gather(*tasks) == ["done"] * 2
        queue.close()

    @in_a_loop
    async def test_a_client_has_a_limit_of_its_own(self):
        told = []
        queue, work = WorkQueue(1, 9, per_client=2, refused=told.append), Work()
        tasks = [asyncio.create_task(queue.run(Asker("2001:db8::1"), work)) for _ in range(2)]
        await work.has_begun()
        await waiting(queue, 1)
        with pytest.raises(HTTPException) as refused:  # a neighbour of it in the same network
            await queue.run(Asker("2001:db8::2"), Work())
        assert refused.value.status_code == 429
        assert refused.value.headers == {"Retry-After": "1"}
        assert told == ["client"]
        other = asyncio.create_task(queue.run(Asker("2001:db8:0:1::1"), lambda: "other"))
        work.go.set()
        assert await asyncio.gather(*tasks, other) == ["done", "done", "other"]
        assert await queue.run(Asker("2001:db8::2"), lambda: "free again") == "free again"
        assert not queue._clients  # nobody is remembered
        queue.close()

    @in_a_loop
    async def test_a_body_that_goes_wrong_while_one_waits_is_told(self):
        class Broken(Asker):
            async def receive(self):
                raise HTTPException(408, "too slow")

        queue, first = WorkQueue(1, 9), Work()
        running = asyncio.create_task(queue.run(Asker(), first))
        await first.has_begun()
        with pytest.raises(HTTPException) as told:
            await queue.run(Broken(), Work())
        assert told.value.status_code == 408
        first.go.set()
        assert await running == "done"
        assert await queue.run(Asker(), lambda: "free again") == "free again"
        queue.close()

    @in_a_loop
    async def test_who_leaves_before_the_turn_is_dropped(self):
        queue, first, dropped, last = WorkQueue(1, 9), Work(), Work(), Work()
        leaver = Asker()
        running = asyncio.create_task(queue.run(Asker(), first))
        await first.has_begun()
        gone = asyncio.create_task(queue.run(leaver, dropped))
        await waiting(queue, 1)
        later = asyncio.create_task(queue.run(Asker(), last))
        await waiting(queue, 2)
        leaver.left.set()
        with pytest.raises(HTTPException) as told:
            await gone
        assert told.value.status_code == CLIENT_GONE
        first.go.set()
        await last.has_begun()
        last.go.set()
        assert [await running, await later] == ["done"] * 2
        assert not dropped.begun.is_set()
        assert await queue.run(Asker(), lambda: "free again") == "free again"
        queue.close()

    @in_a_loop
    async def test_who_leaves_when_it_has_begun_gets_it_done(self):
        queue, work, leaver = WorkQueue(1, 9), Work(), Asker()
        task = asyncio.create_task(queue.run(leaver, work))
        await work.has_begun()
        leaver.left.set()
        await asyncio.sleep(0.01)
        work.go.set()
        assert await task == "done"
        queue.close()

    @in_a_loop
    async def test_a_cancelled_wait_loses_no_place(self):
        queue, first = WorkQueue(1, 9), Work()
        running = asyncio.create_task(queue.run(Asker(), first))
        await first.has_begun()
        for together in (False, True):  # also when its turn comes in that very moment
            waiter = asyncio.create_task(queue.run(Asker(), lambda: None))
            await waiting(queue, 1)
            if together:
                first.go.set()
                await running
            waiter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiter
            assert queue.waiting == 0
        assert await queue.run(Asker(), lambda: "free again") == "free again"
        queue.close()


class TestMemory:
    @in_a_loop
    async def test_work_waits_for_memory_and_other_work_does_not(self):
        budget = MemoryBudget(10)
        queue = WorkQueue(3, 1, memory=budget)
        other = WorkQueue(1, 1, memory=budget)
        first, second, strokes = Work(), Work(), Work()
        running = asyncio.create_task(other.run(Asker(), first, memory=8))
        await first.has_begun()
        late = asyncio.create_task(queue.run(Asker(), second, memory=8))
        await waiting(queue, 1)
        strokes.go.set()
        assert await queue.run(Asker(), strokes) == "done"
        assert not second.begun.is_set()
        with pytest.raises(HTTPException) as refusal:
            await queue.run(Asker(), Work(), memory=1)
        assert refusal.value.status_code == 429
        first.go.set()
        second.go.set()
        assert [await running, await late] == ["done", "done"]
        assert budget.taken == 0
        queue.close()
        other.close()

    @in_a_loop
    async def test_a_client_that_goes_leaves_its_place(self):
        budget = MemoryBudget(10)
        queue = WorkQueue(2, 5, memory=budget)
        first, asker = Work(), Asker()
        running = asyncio.create_task(queue.run(Asker(), first, memory=8))
        await first.has_begun()
        gone = asyncio.create_task(queue.run(asker, Work(), memory=8))
        await waiting(queue, 1)
        asker.left.set()
        with pytest.raises(HTTPException) as left:
            await gone
        assert left.value.status_code == CLIENT_GONE
        first.go.set()
        await running
        assert (budget.taken, queue.waiting, queue.running) == (0, 0, 0)
        queue.close()

    @in_a_loop
    async def test_work_that_fails_gives_it_back(self):
        budget = MemoryBudget(10)
        queue = WorkQueue(1, 1, memory=budget)

        def fail():
            raise DataError("no picture")

        with pytest.raises(DataError):
            await queue.run(Asker(), fail, memory=10)
        assert budget.taken == 0
        queue.close()
