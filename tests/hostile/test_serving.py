"""Hostile images over HTTP: as a query, and in the place of a photo of the gallery."""

from __future__ import annotations

import base64
import os
import sys

import pytest
from fastapi.testclient import TestClient

from hostile_images import COSTLY, corpus, some
from msedge.search.gallery import Gallery
from msedge.server.app import create_app
from served import ENCODER, write_gallery, write_photos

# The processes that people start pass over what Pillow remarks; pytest shows it.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def served(tmp_path):
    """A gallery of six photos, its photos, and who asks a server of it."""
    photos = write_photos(tmp_path / "photos")
    path = write_gallery(tmp_path / "photos.msedge", photos)
    with Gallery.open(path, model=ENCODER) as gallery:
        application = create_app(gallery, None)
        with TestClient(application, base_url="http://localhost:8765") as client:
            yield client, photos


def _ask_with_each(client, files) -> None:
    for file in files:
        content = file.make()
        if not content:
            continue
        image = base64.b64encode(content).decode()
        answer = client.post("/api/search", json={"image": image})
        assert answer.status_code in (200, 413, 422), (file.kind, file.name, answer.text)
        if answer.status_code != 200:
            detail = answer.json()["detail"]
            assert isinstance(detail, str), (file.name, detail)
            assert detail.isprintable()
            assert len(detail) < 300
        if file.fate == "refused":
            assert answer.status_code != 200, (file.kind, file.name)
    assert client.post("/api/search", json={"like": [1]}).status_code == 200


def test_a_hostile_query_is_answered_or_refused_in_a_line(served):
    files = some(4)
    assert len(files) > 50
    _ask_with_each(served[0], files)


@pytest.mark.slow
def test_each_hostile_query_is_answered_or_refused_in_a_line(served):
    files = [f for f in corpus() if not f.large and f.kind not in COSTLY and f.kind != "no image"]
    assert len(files) > 400
    _ask_with_each(served[0], files)


@pytest.mark.skipif(sys.platform == "win32", reason="a file in use is not replaced there")
def test_a_hostile_file_in_a_photo_s_place_is_gone_or_no_picture(served):
    client, photos = served
    answers = set()
    for file in some(4):
        state = photos[0].stat()
        content = file.make()[: state.st_size].ljust(state.st_size, b"\0")
        photos[0].write_bytes(content)
        os.utime(photos[0], ns=(state.st_atime_ns, state.st_mtime_ns))  # as if it were the photo
        for route in ("/api/photos/1/thumbnail", "/api/photos/1"):
            answer = client.get(route)
            answers.add(answer.status_code)
            assert answer.status_code in (200, 410, 415), (file.kind, file.name, answer.text)
    assert answers == {200, 415}
    photos[0].unlink()
    os.mkfifo(photos[0])
    assert client.get("/api/photos/1/thumbnail").status_code == 410
    assert client.get("/api/photos/1").status_code == 410
    assert client.get("/api/photos/2").status_code == 200
