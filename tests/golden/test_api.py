"""The HTTP API: its document whole, and what it answers about six drawn photos."""

from __future__ import annotations

import base64
import io

import pytest
from fastapi.testclient import TestClient
from PIL import Image

import msedge
from msedge.server.app import create_app


@pytest.fixture(scope="module")
def folder(tmp_path_factory, drawn_photos, type_in):
    """Six drawn photos, and a gallery of them."""
    folder = tmp_path_factory.mktemp("served")
    drawn_photos(folder / "photos")
    type_in("index", folder / "photos", "--gallery", folder / "photos.msedge", "--json").document()
    return folder


@pytest.fixture(scope="module")
def client(folder):
    """Who asks a server of them."""
    with (
        msedge.Gallery.open(folder / "photos.msedge") as gallery,
        TestClient(create_app(gallery), base_url="http://localhost:8765") as asking,
    ):
        yield asking


def test_openapi_document(golden, client):
    answer = client.get("/openapi.json")
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["info"].pop("version") == msedge.__version__
    golden.document("openapi.json", document)


STROKES = [[[10, 20, 30, 40, 10], [40, 10, 10, 40, 40]], [[18, 18], [22, 26]]]
ASKED = {
    "by a picture": ("/api/search", {"image": "DRAWING", "k": 6}),
    "by strokes": ("/api/search", {"strokes": STROKES, "k": 3}),
    "by a picture and photos": ("/api/search", {"image": "DRAWING", "like": [3], "unlike": [1]}),
    "by a photo": ("/api/similar", {"id": 4}),
    "by a photo, filtered": (
        "/api/similar",
        {"id": 1, "orientation": "portrait", "after": "2020-01-04", "before": "2020-01-04"},
    ),
    "by a photo, in a folder": ("/api/similar", {"id": 1, "folder": "FOLDER/cup"}),
    "by nothing": ("/api/search", {}),
    "by an unknown photo": ("/api/similar", {"id": 99}),
    "by an unknown photo to be like": ("/api/search", {"like": [99]}),
    "by what is no picture": ("/api/search", {"image": "bm8gcGljdHVyZQ=="}),
    "by what is not base64": ("/api/search", {"image": "?"}),
    "for no hit": ("/api/similar", {"id": 1, "k": 0}),
    "for too many hits": ("/api/similar", {"id": 1, "k": 501}),
    "by an unknown orientation": ("/api/similar", {"id": 1, "orientation": "askew"}),
    "by days the wrong way round": (
        "/api/similar",
        {"id": 1, "after": "2020-02-01", "before": "2020-01-01"},
    ),
    "by what nobody knows": ("/api/similar", {"id": 1, "colour": "red"}),
}


@pytest.mark.parametrize("about", ASKED)
def test_search(golden, client, steady, folder, drawing, about):
    path, body = ASKED[about]
    body = dict(body)
    if body.get("image") == "DRAWING":
        body["image"] = base64.b64encode(drawing.read_bytes()).decode()
    if "folder" in body:
        body["folder"] = body["folder"].replace("FOLDER", str(folder / "photos"))
    answer = client.post(path, json=body)
    found = {"status": answer.status_code, "answer": steady(answer.json(), folder)}
    golden.entry("api.json", f"search {about}", found, within=1e-5)


READ = [
    "/api/gallery", "/healthz", "/api/photos/1", "/api/photos/4/thumbnail", "/api/photos/99",
    "/api/photos/99/thumbnail", "/api/photos/none", "/api/nothing",
]  # fmt: skip


@pytest.mark.parametrize("path", READ)
def test_read(golden, client, steady, folder, path):
    answer = client.get(path)
    headers = ("content-type", "etag", "cache-control", "content-disposition")
    found = {name: answer.headers.get(name) for name in headers} | {"status": answer.status_code}
    if answer.headers["content-type"] == "application/json":
        found["answer"] = steady(answer.json(), folder)
    if answer.headers["content-type"] == "image/jpeg":
        with Image.open(io.BytesIO(answer.content)) as picture:
            found["picture"] = [*picture.size, len(answer.content)]
    golden.entry("api.json", f"GET {path}", found)


def test_a_photo_is_its_file(client, folder):
    (path,) = (folder / "photos").glob("cup/cup 0.jpg")
    assert client.get("/api/photos/1").content == path.read_bytes()
