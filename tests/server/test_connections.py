"""How many connections there may be, and which one makes room."""

from __future__ import annotations

import asyncio
import resource

import pytest

from msedge.server.connections import MOST_CONNECTIONS, Connections, open_files
from msedge.server.settings import ServerSettings


class Line:
    """A connection that does as it is told."""

    def __init__(self):
        self.idle, self.closed, self.due, self.looks = True, False, None, 0

    def is_idle(self):
        return self.idle

    def give_way(self):
        self.closed = True

    def look(self, passed):
        assert passed >= 0
        self.looks += 1
        return self.due


def in_a_loop(test):
    def run(self):
        async def limited():
            async with asyncio.timeout(30):
                await test(self)

        asyncio.run(limited())

    run.__name__ = test.__name__
    return run


def connections(most, dropped=lambda _reason: None, **seconds):
    return Connections(ServerSettings(most_connections=most, **seconds), dropped)


class TestRoom:
    @in_a_loop
    async def test_the_one_that_is_idle_for_longest_gives_way(self):
        told = []
        kept, lines = connections(3, told.append), [Line() for _ in range(5)]
        assert all(kept.admit(line) for line in lines)
        assert [line.closed for line in lines] == [True, True, False, False, False]
        assert len(kept) == 3
        assert told == ["idle", "idle"]

    @in_a_loop
    async def test_one_that_asked_since_is_not_the_longest(self):
        kept, lines = connections(2), [Line() for _ in range(3)]
        kept.admit(lines[0])
        kept.admit(lines[1])
        for idle in (False, True):
            lines[0].idle = idle
            kept.note(lines[0])
        kept.admit(lines[2])
        assert [line.closed for line in lines] == [False, True, False]

    @in_a_loop
    async def test_one_that_asks_never_gives_way(self):
        told = []
        kept, lines = connections(2, told.append), [Line(), Line()]
        for line in lines:
            kept.admit(line)
            line.idle = False
            kept.note(line)
        assert not kept.admit(Line())
        assert told == ["full"]
        assert not any(line.closed for line in lines)
        kept.forget(lines[0])
        assert kept.admit(Line())
        assert len(kept) == 2

    @in_a_loop
    async def test_notes_of_one_that_is_gone_count_nothing(self):
        kept, line = connections(2), Line()
        kept.admit(line)
        kept.forget(line)
        kept.note(line)
        kept.forget(line)
        assert len(kept) == 0


class TestLooks:
    @in_a_loop
    async def test_all_are_looked_at_while_there_are_any(self):
        told = []
        kept, line = connections(2, told.append, idle_seconds=0.02), Line()
        kept.admit(line)
        while line.looks < 3:
            await asyncio.sleep(0.005)
        line.due = "header"
        while not told:
            await asyncio.sleep(0.005)
        assert set(told) == {"header"}
        kept.forget(line)
        await asyncio.sleep(0.05)
        looks = line.looks
        await asyncio.sleep(0.05)
        assert line.looks == looks
        again = Line()
        kept.admit(again)
        while not again.looks:
            await asyncio.sleep(0.005)


class TestOpenFiles:
    @pytest.fixture
    def limits(self):
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        yield before
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    def test_more_are_asked_for(self, limits):
        if limits[1] != resource.RLIM_INFINITY and limits[1] < 4096:
            pytest.skip("this machine allows fewer open files")
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))
        assert open_files() == 4096
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 4096

    def test_what_is_enough_stays(self, limits):
        assert open_files() >= min(4096, limits[0])
        assert open_files() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def test_so_many_connections(self):
        assert connections(None)._most == min(MOST_CONNECTIONS, open_files() // 2)
