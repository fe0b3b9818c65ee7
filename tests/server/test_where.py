"""``POST /api/where``: boxes as Python has them, and what becomes of photos without one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from encoders import PlacedEncoder
from msedge.search.gallery import Gallery
from msedge.search.indexing import index
from msedge.search.query import Query
from msedge.search.ranking import Pixels
from msedge.search.where import Box
from msedge.server.app import ServerSettings, create_app
from plain_asgi import post
from served import STROKES, encoded, picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photos with something red in each: at the left, in the middle, at the right."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, left in enumerate((40, 150, 260)):
        image = Image.new("RGB", (400, 300), (128, 128, 128))
        image.paste((230, 10, 10), (left, 100, left + 100, 200))
        image.save(folder / f"{number}.png")
    return folder


@pytest.fixture
def placed(folder: Path, tmp_path: Path):
    """A gallery whose model tells places."""
    index([folder], tmp_path / "photos.msedge", PlacedEncoder())
    with Gallery.open(tmp_path / "photos.msedge", model=PlacedEncoder()) as opened:
        yield opened


def client_of(gallery: Gallery, **settings: object) -> TestClient:
    app = create_app(gallery, ServerSettings(**settings))  # type: ignore[arg-type]
    return TestClient(app, base_url="http://localhost:8765")


def boxes(client: TestClient, **body: object) -> list[dict[str, float]]:
    answer = client.post("/api/where", json=body)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, float]] = answer.json()["boxes"]
    return found


def test_as_python(placed):
    with client_of(placed) as client:
        assert client.get("/api/gallery").json()["model"]["places"] is True
        found = boxes(client, strokes=STROKES, photos=[3, 1, 2], k=5, orientation="portrait")
    strokes = [(xs, ys) for xs, ys in STROKES]
    expected = placed.where([3, 1, 2], [strokes])
    assert found == [{"id": photo, **expected[photo].as_json()} for photo in (3, 1, 2)]
    lefts = {box["id"]: box["left"] for box in found}
    assert lefts[1] < lefts[2] < lefts[3]


def test_by_a_picture_and_by_a_photo(placed):
    with client_of(placed) as client:
        by_picture = boxes(client, image=encoded(picture(1)), photos=[2])
        by_photo = boxes(client, like=[1], photos=[2])
    assert by_picture[0]["left"] > 0.2
    assert [box["id"] for box in by_photo] == [2]


def test_photos_that_are_gone_changed_or_unknown_are_left_out(placed, folder):
    with client_of(placed) as client:
        (folder / "0.png").unlink()
        picture(1).save(folder / "1.png")
        found = boxes(client, strokes=STROKES, photos=[1, 2, 3, 77])
        assert [box["id"] for box in found] == [3]


def test_a_gallery_that_is_rebuilt_meanwhile_has_no_more_boxes(placed, monkeypatch):
    read = placed.boxes

    def rebuilt(query: Query, photos: list[int]) -> dict[int, Box]:
        return read(query if photos == [1] else replace(query, model="another"), photos)

    monkeypatch.setattr(placed, "boxes", rebuilt)
    with client_of(placed) as client:
        assert [box["id"] for box in boxes(client, strokes=STROKES, photos=[1, 2])] == [1]


def test_a_photo_for_which_there_never_is_memory_is_left_out(placed):
    with client_of(placed, memory_bytes=1) as client:
        assert boxes(client, strokes=STROKES, photos=[1, 2]) == []


def test_a_model_that_tells_no_places(client):
    assert client.get("/api/gallery").json()["model"]["places"] is False
    assert boxes(client, strokes=STROKES, photos=[1, 2]) == []


@pytest.mark.parametrize(
    "wrong",
    [{"photos": []}, {"photos": [*range(1, 50)]}, {"photos": ["1"]}, {}, {"photos": [1], "x": 1}],
)
def test_what_is_refused(client, wrong):
    assert client.post("/api/where", json={"strokes": STROKES, **wrong}).status_code == 422
    assert client.post("/api/where", json={"photos": [1]}).status_code == 422


def test_an_unknown_photo_to_be_like(placed):
    with client_of(placed) as client:
        answer = client.post("/api/where", json={"like": [77], "photos": [1]})
    assert (answer.status_code, answer.json()) == (
        404,
        {"detail": "photo 77 is not in this gallery"},
    )


def test_it_counts_as_a_question(placed):
    with client_of(placed, searches_per_second=1) as client:
        body = {"strokes": STROKES, "photos": [1]}
        answers = [client.post("/api/where", json=body).status_code for _ in range(5)]
    assert answers[0] == 200
    assert answers[-1] == 429


def test_photos_are_read_no_longer_than_somebody_waits(placed):
    """The client goes while its first photo is looked at."""

    class Leaving(PlacedEncoder):
        looked = 0

        def places(self, pixels: Pixels) -> np.ndarray:
            self.looked += 1
            loop.call_soon_threadsafe(left.set)
            return super().places(pixels)

    async def run() -> int:
        nonlocal loop, left
        loop, left = asyncio.get_running_loop(), asyncio.Event()
        with Gallery.open(placed.path, model=encoder) as opened:
            app = create_app(opened, ServerSettings())
            status = await post(app, left, "/api/where", {"strokes": STROKES, "photos": [1, 2, 3]})
            app.state.service.close()
        return status

    encoder, loop, left = Leaving(), None, None
    assert asyncio.run(run()) == 499
    assert encoder.looked == 1
