"""Searching over HTTP: what is found, and every way to be refused."""

from __future__ import annotations

import base64
import datetime
import io
import os
import sqlite3
import struct
import zlib
from contextlib import closing

import pytest
from PIL import Image

from msedge.search.stores import open_store
from msedge.server.service import Service
from served import START, STROKES, add, encoded, picture


def ask(client, path="/api/search", **body):
    return client.post(path, json=body)


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


def refusal(answer, status):
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    assert "\n" not in answer.json()["detail"]
    return answer.json()["detail"]


class TestSearch:
    def test_strokes_find_what_python_finds(self, client, gallery):
        answer = ask(client, strokes=STROKES, k=4)
        found = gallery.search([STROKES], k=4)
        assert ids(answer) == [hit.photo.id for hit in found]
        body = answer.json()
        assert body["searched"] == 6
        assert body["took_ms"] > 0
        for shown, hit in zip(body["hits"], found, strict=True):
            assert shown["rank"] == hit.rank
            assert shown["similarity"] == pytest.approx(hit.similarity, abs=1e-6)

    def test_what_a_hit_says(self, client, photos):
        hits = {hit["id"]: hit for hit in ask(client, like=[1]).json()["hits"]}
        size = photos[0].stat().st_size
        assert hits[1] == {
            "rank": 1,
            "id": 1,
            "name": "red.jpg",
            "folder": str(photos[0].parent),
            "similarity": 1.0,
            "score": 1.0,
            "width": 300,
            "height": 400,
            "taken": f"{datetime.datetime.fromtimestamp(START + size, datetime.UTC):%FT%TZ}",
            "copies": [],
        }
        names = [hits[number]["name"] for number in range(1, 7)]
        assert names[1:3] == ["naïve 🐱.png", 'a;b"c%2e.webp']
        assert names[3] == "caf\\xe9\n.gif"

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
    def test_images_find_what_python_finds(self, client, gallery, kind):
        drawing = Image.new("RGB", (64, 48), "white")
        drawing.paste("black", (10, 10, 40, 14))
        text = encoded(drawing, kind)
        found = gallery.search(base64.b64decode(text))
        assert ids(ask(client, image=text)) == [hit.photo.id for hit in found]

    def test_svg(self, client):
        svg = (
            b"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'><path d='M1 1L8 8'/></svg>"
        )
        svg = svg.replace(b"<path", b"<path stroke='black'")
        assert len(ids(ask(client, image=base64.b64encode(svg).decode()))) == 6

    def test_strokes_image_and_photos_together(self, client, gallery):
        drawing = Image.new("RGB", (64, 48), "white")
        drawing.paste("black", (10, 10, 40, 14))
        text = encoded(drawing)
        answer = ask(client, strokes=STROKES, image=text, like=[2], unlike=[3], k=3)
        found = gallery.search([STROKES, base64.b64decode(text)], like=[2], unlike=[3], k=3)
        assert ids(answer) == [hit.photo.id for hit in found]

    def test_k(self, client):
        assert len(ids(ask(client, strokes=STROKES, k=2))) == 2
        assert len(ids(ask(client, strokes=STROKES, k=500))) == 6

    def test_unlike_is_not_found(self, client):
        assert 3 not in ids(ask(client, strokes=STROKES, unlike=[3]))

    def test_near_duplicates_are_copies(self, own_client, own_gallery, own_photos):
        twin = own_photos[0].with_name("twin.jpg")
        twin.write_bytes(own_photos[0].read_bytes())
        add(own_gallery.path, twin)
        first = ask(own_client, like=[1], k=1).json()["hits"][0]
        assert (first["id"], first["copies"]) == (1, [7])

    def test_similar(self, client, gallery):
        answer = ask(client, "/api/similar", id=4, k=3, unlike=[5])
        assert ids(answer) == [hit.photo.id for hit in gallery.similar(4, k=3, unlike=[5])]
        assert ids(answer)[0] == 4

    def test_a_gallery_that_grows(self, own_client, own_gallery, tmp_path):
        assert 7 not in ids(ask(own_client, strokes=STROKES))
        new = tmp_path / "photos" / "new.png"
        picture(99).save(new)
        add(own_gallery.path, new)
        answer = ask(own_client, like=[7])
        assert ids(answer)[0] == 7
        assert answer.json()["searched"] == 7
        with open_store(own_gallery.path, writable=True) as file:
            file.change(remove=[7])
        assert 7 not in ids(ask(own_client, strokes=STROKES))

    def test_hits_and_their_number_are_of_one_state(
        self, own_client, own_gallery, tmp_path, monkeypatch
    ):
        new, find = tmp_path / "photos" / "new.png", own_gallery.find
        picture(99).save(new)

        def find_and_add(*args, **options):
            hits = find(*args, **options)
            add(own_gallery.path, new)
            monkeypatch.undo()
            return hits

        monkeypatch.setattr(own_gallery, "find", find_and_add)
        answer = ask(own_client, strokes=STROKES)
        assert (len(ids(answer)), answer.json()["searched"]) == (7, 7)

    def test_an_empty_gallery(self, own_client, own_gallery):
        with open_store(own_gallery.path, writable=True) as file:
            file.change(remove=range(1, 7))
        answer = ask(own_client, strokes=STROKES)
        assert ids(answer) == []
        assert answer.json()["searched"] == 0


class TestFilters:
    def test_folder_and_below(self, client, photos):
        everything = photos[0].parent.parent
        for folder, wanted in (
            (everything / "cats", {1, 2, 3}),
            (everything / "cats" / "big", {2}),
            (everything / "dogs", {4, 5, 6}),
            (everything, {1, 2, 3, 4, 5, 6}),
            ("/", {1, 2, 3, 4, 5, 6}),
            ("", {1, 2, 3, 4, 5, 6}),
        ):
            assert set(ids(ask(client, strokes=STROKES, folder=str(folder)))) == wanted
            assert set(ids(ask(client, "/api/similar", id=1, folder=str(folder)))) == wanted

    def test_every_folder_that_is_told_can_be_asked_for(self, own_client, own_gallery, tmp_path):
        folder = tmp_path / "photos" / os.fsdecode(b"\xff\xfe")
        folder.mkdir()
        picture(50).save(folder / "x.png")
        add(own_gallery.path, folder / "x.png")
        told = own_client.get("/api/gallery").json()["folders"]
        assert len(told) == 4
        for each in told:
            found = ids(ask(own_client, strokes=STROKES, folder=each["folder"]))
            assert len(found) >= each["photos"] > 0

    def test_orientation_and_dates(self, client):
        assert ids(ask(client, strokes=STROKES, orientation="portrait")) == [1]
        assert ids(ask(client, strokes=STROKES, orientation="square")) == []
        assert len(ids(ask(client, strokes=STROKES, after="2020-01-31"))) == 6
        assert ids(ask(client, strokes=STROKES, before="2020-01-30")) == []

    def test_days_that_exclude_each_other(self, client):
        answer = ask(client, strokes=STROKES, after="2021-01-01", before="2020-01-01")
        refusal(answer, 422)

    @pytest.mark.parametrize(
        "folder", ["/etc", "..", "../../etc", "cats", "/photos/../etc", "~", "C:\\", "\x00", "%2e"]
    )
    def test_a_folder_is_looked_up_and_never_opened(self, client, folder, monkeypatch):
        opened = []
        monkeypatch.setattr(os, "scandir", lambda *given: opened.append(given))
        monkeypatch.setattr(os, "listdir", lambda *given: opened.append(given))
        assert "no photo" in refusal(ask(client, strokes=STROKES, folder=folder), 422)
        assert opened == []


class TestRefusals:
    @pytest.mark.parametrize("path", ["/api/search", "/api/similar"])
    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b"{}", b"1" * 6000]
    )
    def test_what_is_no_question(self, client, path, body):
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 413, 422)
        refusal(answer, answer.status_code)

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
    )
    def test_what_forms_of_other_sites_can_send(self, client, kind):
        answer = client.post(
            "/api/search", content=b'{"like": [1]}', headers={"Content-Type": kind}
        )
        assert "application/json" in refusal(answer, 415)

    def test_the_place_of_a_mistake_is_named(self, client):
        assert refusal(ask(client, strokes=STROKES, k=501), 422).startswith("k: ")
        assert refusal(ask(client, strokes=[[["a"], [1]]]), 422).startswith("strokes.0.0.0: ")
        assert refusal(ask(client, strokes=STROKES, page=2), 422).startswith("page: ")
        assert "nothing is asked" in refusal(ask(client), 422)

    def test_mistakes_are_not_repeated_at_length(self, client):
        line = refusal(ask(client, strokes=STROKES, **{"x" * 100_000: 1}), 422)
        assert len(line) < 200

    @pytest.mark.parametrize("body", [{"like": [77]}, {"strokes": STROKES, "unlike": [1, 77]}])
    def test_photos_that_are_not_there(self, client, body):
        assert "photo 77" in refusal(ask(client, **body), 404)
        assert "photo 77" in refusal(ask(client, "/api/similar", id=77), 404)

    @pytest.mark.parametrize("image", ["not base64!", "====", "QUJ", ""])
    def test_garbage_for_base64(self, client, image):
        assert refusal(ask(client, image=image), 422)

    @pytest.mark.parametrize(
        "content",
        [
            b"this is no picture",
            b"\x89PNG\r\n\x1a\n" + b"\x00" * 50,
            b"\xff\xd8\xff\xe0" + b"\x12" * 99,
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        ],
    )
    def test_images_that_are_none(self, client, content):
        refusal(ask(client, image=base64.b64encode(content).decode()), 422)

    def test_a_blank_drawing(self, client):
        refusal(ask(client, image=encoded(Image.new("RGB", (64, 64), "white"))), 422)

    def test_pixels(self, connect):
        client = connect(max_pixels=99 * 99)
        assert "9801 pixels" in refusal(ask(client, image=encoded(picture(1, (100, 99)))), 413)
        assert len(ids(ask(client, image=encoded(picture(1, (99, 99)))))) == 6

    def test_pixels_of_heic(self, connect):
        pillow_heif = pytest.importorskip("pillow_heif")
        content = io.BytesIO()
        pillow_heif.from_pillow(picture(1, (100, 99))).save(content)
        image = base64.b64encode(content.getvalue()).decode()
        assert "9801 pixels" in refusal(ask(connect(max_pixels=99 * 99), image=image), 413)
        assert len(ids(ask(connect(max_pixels=100 * 99), image=image))) == 6

    @pytest.mark.parametrize("side", [5_000, 9_000, 60_000])
    def test_decompression_bombs(self, client, side):
        bomb = base64.b64encode(png_of(side)).decode()
        assert "pixels" in refusal(ask(client, image=bomb), 413)

    def test_bytes(self, connect):
        client = connect(max_body_bytes=2_000)
        noise = Image.frombytes("RGB", (40, 40), os.urandom(4800))
        assert "2000 bytes" in refusal(ask(client, image=encoded(noise)), 413)
        assert len(ids(ask(client, strokes=STROKES))) == 6

    def test_chunked_bytes(self, connect):
        client = connect(max_body_bytes=2_000)
        answer = client.post(
            "/api/search",
            content=iter([b'{"image": "'] + [b"A" * 500] * 10),
            headers={"Content-Type": "application/json"},
        )
        assert "content-length" not in answer.request.headers
        assert "2000 bytes" in refusal(answer, 413)

    def test_a_gallery_that_cannot_be_read_any_more(self, own_client, own_gallery):
        own_gallery.close()
        for answer in (
            ask(own_client, strokes=STROKES),
            ask(own_client, "/api/similar", id=1),
            own_client.get("/api/gallery"),
            own_client.get("/api/photos/1"),
            own_client.get("/api/photos/1/thumbnail"),
        ):
            assert "photos.msedge" in refusal(answer, 503)
        assert own_client.get("/healthz").status_code == 200
        figures = own_client.get("/metrics").text
        assert "msedge_gallery_readable 0.0" in figures  # and how many photos there were
        assert "msedge_photos 6.0" in figures

    def test_a_gallery_that_goes_while_it_is_asked(self, own_client, own_gallery, monkeypatch):
        """It was there when the answer was begun."""
        away = own_gallery.path.with_name("away")

        def check(_service):
            if not away.exists():
                own_gallery.path.rename(away)

        monkeypatch.setattr(Service, "check_gallery", check)
        for path, asked in (
            ("/api/search", {"strokes": STROKES}), ("/api/similar", {"id": 1}),
        ):  # fmt: skip
            assert "no gallery" in refusal(ask(own_client, path, **asked), 503)
        away.rename(own_gallery.path)
        monkeypatch.undo()
        assert ask(own_client, strokes=STROKES).status_code == 200
        own_gallery.path.rename(away)
        assert "no gallery" in refusal(own_client.get("/api/photos/1"), 503)

    @pytest.mark.parametrize("step", ["query", "find", "photo"])
    def test_a_gallery_that_is_away_for_a_moment(self, own_client, own_gallery, monkeypatch, step):
        does, aside = getattr(own_gallery, step), own_gallery.path.with_name("aside")

        def does_without(*args, **options):
            own_gallery.path.rename(aside)
            try:
                return does(*args, **options)
            finally:
                aside.rename(own_gallery.path)

        monkeypatch.setattr(own_gallery, step, does_without)
        assert "no gallery" in refusal(ask(own_client, strokes=STROKES, like=[1]), 503)
        monkeypatch.undo()
        assert ids(ask(own_client, strokes=STROKES, like=[1]))

    def test_a_gallery_of_other_weights_since(self, own_client, own_gallery):
        with closing(sqlite3.connect(own_gallery.path)) as connection, connection:
            connection.execute("UPDATE meta SET value = 'other-1' WHERE key = 'fingerprint'")
        for answer in (ask(own_client, strokes=STROKES), own_client.get("/api/gallery")):
            assert "other weights" in refusal(answer, 503)
        assert own_client.get("/api/photos/1").status_code == 200  # which needs no weights

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
    def test_other_methods(self, client, method):
        refusal(client.request(method, "/api/search"), 405)


def png_of(side: int) -> bytes:
    """A PNG of a few hundred bytes that claims to be huge."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = zlib.compress(bytes(100_000))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", content)
        + chunk(b"IEND", b"")
    )
