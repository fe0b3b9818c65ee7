"""Many searches at a time: what runs, what waits, what is turned away, and what is dropped."""

from __future__ import annotations

import asyncio
import threading

import httpx

from msedge.search.gallery import Gallery
from msedge.server.app import ServerSettings, create_app
from plain_asgi import post
from served import ENCODER, STROKES

BODY = {"strokes": STROKES}


class SlowEncoder(type(ENCODER)):
    """Waits until it is let go."""

    def __init__(self):
        super().__init__()
        self.go, self.running, self.most, self.asked = threading.Event(), 0, 0, 0
        self._lock = threading.Lock()

    def sketches(self, pixels):
        with self._lock:
            self.asked += 1
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.go.wait(20)
        with self._lock:
            self.running -= 1
        return super().sketches(pixels)


class TestManyAtATime:
    def test_the_encoder_is_not_flooded(self, gallery):
        encoder = SlowEncoder()
        settings = ServerSettings(searches_at_once=2, searches_waiting=3)

        async def run():
            with Gallery.open(gallery.path, model=encoder) as opened:
                app = create_app(opened, settings)
                transport = httpx.ASGITransport(app)
                async with httpx.AsyncClient(
                    transport=transport, base_url="http://localhost", timeout=30
                ) as client:
                    body = {"strokes": STROKES}
                    asked = [
                        asyncio.create_task(client.post("/api/search", json=body)) for _ in range(8)
                    ]
                    while encoder.running < 2 or sum(task.done() for task in asked) < 3:
                        await asyncio.sleep(0.005)
                    # while the encoder is busy, everything else goes on
                    assert (await client.get("/healthz")).status_code == 200
                    figures = (await client.get("/metrics")).text
                    encoder.go.set()
                    answers = await asyncio.gather(*asked)
                    after = (await client.get("/metrics")).text
                app.state.service.close()
            return answers, figures, after

        answers, figures, after = asyncio.run(run())
        assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 3
        for answer in answers:
            if answer.status_code == 429:
                assert answer.headers["retry-after"] == "1"
                assert list(answer.json()) == ["detail"]
        assert (encoder.most, encoder.asked) == (2, 5)
        assert "msedge_searches_in_flight 2.0" in figures
        assert "msedge_searches_waiting 3.0" in figures
        assert "msedge_searches_in_flight 0.0" in after
        assert "msedge_searches_waiting 0.0" in after

    def test_who_left_is_not_searched_for(self, gallery):
        encoder = SlowEncoder()

        async def run():
            with Gallery.open(gallery.path, model=encoder) as opened:
                app = create_app(opened, ServerSettings(searches_at_once=1))
                first = asyncio.create_task(post(app, asyncio.Event(), "/api/search", BODY))
                while not encoder.asked:
                    await asyncio.sleep(0.005)
                left = asyncio.Event()
                second = asyncio.create_task(post(app, left, "/api/search", BODY))
                while not app.state.service.searches.waiting:
                    await asyncio.sleep(0.005)
                left.set()
                gone = await second
                encoder.go.set()
                done = await first
                app.state.service.close()
            return gone, done

        assert asyncio.run(run()) == (499, 200)
        assert encoder.asked == 1
