"""Pictures wait for memory, those that never get it are told so, and what was taken comes back."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image
from starlette.exceptions import HTTPException

from msedge.errors import ConfigError
from msedge.search import query
from msedge.server.memory import MemoryBudget, memory_size
from served import STROKES, encoded, picture

MB = 10**6


def in_a_loop(test):
    return lambda self: asyncio.run(test(self))


class TestMemoryBudget:
    @in_a_loop
    async def test_it_is_taken_in_turn(self):
        budget, order = MemoryBudget(10), []

        async def taken(needed):
            await budget.take(needed)
            order.append(needed)

        await taken(6)
        tasks = [asyncio.create_task(taken(needed)) for needed in (5, 3, 4)]
        await asyncio.sleep(0)
        assert order == [6]  # 3 would fit, and stands behind 5
        assert not budget.has(1)
        assert budget.has(0)
        budget.give(6)
        await asyncio.gather(*tasks[:2])
        assert order == [6, 5, 3]
        budget.give(5)
        await tasks[2]
        budget.give(3)
        budget.give(4)
        assert budget.taken == 0

    @in_a_loop
    async def test_who_leaves_holds_up_nobody(self):
        budget = MemoryBudget(10)
        await budget.take(6)
        large = asyncio.create_task(budget.take(9))
        small = asyncio.create_task(budget.take(4))
        await asyncio.sleep(0)
        large.cancel()
        await small
        assert budget.taken == 10

    @in_a_loop
    async def test_who_leaves_when_it_is_granted_gives_it_back(self):
        budget = MemoryBudget(10)
        await budget.take(6)
        late = asyncio.create_task(budget.take(9))
        await asyncio.sleep(0)
        budget.give(6)
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        assert budget.taken == 0

    def test_what_never_fits_is_refused(self):
        with pytest.raises(HTTPException, match="--memory") as refusal:
            MemoryBudget(300 * MB).check(301 * MB)
        assert refusal.value.status_code == 413
        MemoryBudget(300 * MB).check(300 * MB)


class TestRoutes:
    def test_a_picture_beyond_it_is_refused_and_a_small_one_answered(self, connect):
        client = connect(memory_bytes=60 * MB)
        large = Image.new("RGB", (4000, 3000), "white")
        large.paste("black", (500, 500, 3000, 700))
        answer = client.post("/api/search", json={"image": encoded(large)})
        assert answer.status_code == 413
        assert "--memory" in answer.json()["detail"]
        small = client.post("/api/search", json={"image": encoded(picture(1))})
        assert small.status_code == 200
        assert client.post("/api/search", json={"strokes": STROKES}).status_code == 200
        assert client.app.state.service.searches.waiting == 0

    def test_photos_of_the_gallery_as_well(self, connect):
        client = connect(memory_bytes=10 * MB)
        assert client.get("/api/photos/1").status_code == 200  # as it lies there
        for path in ("/api/photos/5", "/api/photos/4/thumbnail"):
            answer = client.get(path)
            assert answer.status_code == 413
            assert "--memory" in answer.json()["detail"]

    def test_many_at_a_time_stay_within_it(self, connect, monkeypatch):
        """What all that are being read were counted as, seen from where they are read."""
        client = connect(memory_bytes=150 * MB, searches_at_once=8)
        budget, seen = client.app.state.service.searches._memory, []
        page = picture(3, (2000, 1500))
        page.paste("white", (0, 0, 2000, 1500))
        page.paste("black", (300, 300, 1500, 400))
        body = {"image": encoded(page)}
        real, together, lock = query.open_drawing, [0], threading.Lock()

        def watched(*given, **named):
            with lock:
                together[0] += 1
                seen.append((together[0], budget.taken))
            try:
                return real(*given, **named)
            finally:
                with lock:
                    together[0] -= 1

        monkeypatch.setattr(query, "open_drawing", watched)
        with ThreadPoolExecutor(8) as askers:
            answers = list(askers.map(lambda _: client.post("/api/search", json=body), range(8)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({str(answer.json()["hits"]) for answer in answers}) == 1
        assert max(taken for _, taken in seen) <= 150 * MB
        assert max(count for count, _ in seen) <= 2
        assert budget.taken == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [("400MB", 400 * MB), ("1.5 gb", 1500 * MB), ("512MiB", 2**29), ("2G", 2000 * MB),
     ("160000000", 160 * MB), ("1Ti", 2**40)],
)  # fmt: skip
def test_sizes(text, size):
    assert memory_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "10MB", "0", "1e9", "4 4MB", "5XB", "\n"])
def test_what_is_no_size(text):
    with pytest.raises(ConfigError) as refusal:
        memory_size(text)
    assert "MB" in str(refusal.value)
    assert str(refusal.value).isprintable()
