"""Photos and thumbnails by number: every format, odd names, and files that went or changed."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import tarfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from PIL import ExifTags, Image

from msedge.search.stores import open_store
from msedge.server import photo_routes
from msedge.server.app import create_app
from served import add, new_photo, picture

OPEN_FILES = Path("/proc/self/fd")


def image_of(answer):
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def gone(answer, status=410):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    line = answer.json()["detail"]
    assert line.isprintable()
    return line


class TestPhoto:
    @pytest.mark.parametrize(
        ("number", "kind"), [(1, "jpeg"), (2, "png"), (3, "webp"), (4, "gif"), (6, "bmp")]
    )
    def test_the_file_as_it_lies_there(self, client, photos, number, kind):
        answer = client.get(f"/api/photos/{number}")
        assert answer.status_code == 200
        assert answer.content == photos[number - 1].read_bytes()
        assert answer.headers["content-type"] == f"image/{kind}"
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.headers["x-content-type-options"] == "nosniff"

    def test_what_browsers_do_not_show_becomes_jpeg(self, client, photos):
        answer = client.get("/api/photos/5")
        assert answer.headers["content-type"] == "image/jpeg"
        shown = image_of(answer)
        assert (shown.format, shown.size) == ("JPEG", (400, 300))
        with Image.open(photos[4]) as original:
            difference = np.asarray(shown, float) - np.asarray(original, float)
        assert np.abs(difference).mean() < 4

    def test_names(self, client):
        names = {}
        for number in range(1, 7):
            value = client.get(f"/api/photos/{number}").headers["content-disposition"]
            start = "inline; filename*=UTF-8''"
            assert value.startswith(start)
            names[number] = unquote_to_bytes(value.removeprefix(start)).decode()
        assert names[2] == "naïve 🐱.png"
        assert names[3] == 'a;b"c%2e.webp'
        assert names[4] == "caf\\xe9\n.gif"

    def test_content_decides_the_type(self, own_client, own_gallery, tmp_path):
        liar = tmp_path / "photos" / "page.jpg"
        picture(70).save(liar, "PNG")
        add(own_gallery.path, liar)
        assert own_client.get("/api/photos/7").headers["content-type"] == "image/png"

    def test_only_if_it_is_new(self, client):
        answer = client.get("/api/photos/1")
        assert answer.headers["cache-control"] == "private, no-cache"
        etag = answer.headers["etag"]
        for named in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = client.get("/api/photos/1", headers={"If-None-Match": named})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        other = client.get("/api/photos/1", headers={"If-None-Match": '"other"'})
        assert other.status_code == 200
        assert client.get("/api/photos/2").headers["etag"] != etag

    @pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="counts open files by /proc")
    def test_no_file_stays_open(self, client, photos):
        def still_open():
            links = []
            for descriptor in OPEN_FILES.iterdir():
                try:
                    links.append(descriptor.readlink())
                except FileNotFoundError:
                    continue
            return [link for link in links if link in photos]

        for number in range(1, 7):
            etag = client.get(f"/api/photos/{number}").headers["etag"]
            client.get(f"/api/photos/{number}", headers={"If-None-Match": etag})
            client.get(f"/api/photos/{number}/thumbnail")
        assert still_open() == []


class TestThumbnail:
    def test_every_format(self, client):
        for number in range(1, 7):
            answer = client.get(f"/api/photos/{number}/thumbnail")
            assert answer.headers["content-type"] == "image/jpeg"
            shown = image_of(answer)
            assert shown.size == ((240, 320) if number == 1 else (320, 240))

    def test_only_if_it_is_new(self, client):
        answer = client.get("/api/photos/1/thumbnail")
        assert answer.headers["cache-control"].startswith("private, max-age=")
        etag = answer.headers["etag"]
        assert etag != client.get("/api/photos/1").headers["etag"]
        again = client.get("/api/photos/1/thumbnail", headers={"If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")

    def test_it_is_made_once(self, own_client, own_gallery, monkeypatch):
        made, make = [], photo_routes.thumbnail

        def noted(photo, side):
            made.append(photo.id)
            return make(photo, side)

        monkeypatch.setattr(photo_routes, "thumbnail", noted)
        answers = [own_client.get("/api/photos/2/thumbnail").content for _ in range(3)]
        assert made == [2]
        assert len(set(answers)) == 1
        cache = own_gallery.path.with_name("photos.msedge.thumbnails")
        assert cache.is_file()
        cache.unlink()  # at any time
        assert own_client.get("/api/photos/2/thumbnail").content == answers[0]

    def test_upright(self, own_client, own_gallery, tmp_path):
        path = tmp_path / "photos" / "lying.jpg"
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        left_red = Image.new("RGB", (400, 200), "blue")
        left_red.paste("red", (0, 0, 200, 200))
        left_red.save(path, exif=exif)
        add(own_gallery.path, path)
        with open_store(own_gallery.path, writable=True) as file:
            (photo,) = file.photos([7])
        assert (photo.width, photo.height) == (200, 400)
        shown = image_of(own_client.get("/api/photos/7/thumbnail"))
        assert shown.size == (160, 320)
        top = shown.getpixel((80, 40))
        assert top[0] > 200 > 60 > top[2]


@pytest.mark.parametrize("end", ["", "/thumbnail"])
class TestGone:
    def test_no_such_photo(self, client, end):
        for number in (0, 7, 2**53 - 1):
            assert str(number) in gone(client.get(f"/api/photos/{number}{end}"), 404)

    @pytest.mark.parametrize(
        "number",
        ["-1", "+1", "1_0", "1.0", "%201", "x", "1e3", str(2**53), "9" * 5000, "%00", "1;2"],
    )
    def test_what_is_no_number(self, client, end, number):
        answer = client.get(f"/api/photos/{number}{end}")
        assert answer.status_code == 422
        assert len(answer.json()["detail"]) < 200

    @pytest.mark.parametrize(
        "path",
        [
            "../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd",
            "....//etc/passwd", "/etc/passwd", "1/../../../etc/passwd", "1%2f..%2f2",
            "..\\..\\windows", "file:///etc/passwd", "1/", "",
        ],
    )  # fmt: skip
    def test_traversal(self, client, end, path):
        answer = client.get(f"/api/photos/{path}{end}")
        assert answer.status_code in (404, 422)
        assert b"root:" not in answer.content

    def test_removed(self, own_client, own_photos, end):
        assert own_client.get(f"/api/photos/1{end}").status_code == 200  # and so in the cache
        own_photos[0].unlink()
        assert "no longer there" in gone(own_client.get(f"/api/photos/1{end}"))

    def test_with_its_folder(self, own_client, own_photos, end):
        own_photos[3].parent.rename(own_photos[3].parent.with_name("elsewhere"))
        assert "no longer there" in gone(own_client.get(f"/api/photos/4{end}"))

    def test_changed(self, own_client, own_photos, end):
        picture(80).save(own_photos[0])
        assert "msedge index" in gone(own_client.get(f"/api/photos/1{end}"))

    def test_changed_at_equal_size(self, own_client, own_photos, end):
        content = bytearray(own_photos[5].read_bytes())
        content[-1] ^= 1
        own_photos[5].write_bytes(content)
        later = time.time_ns() + 5_000_000_000
        os.utime(own_photos[5], ns=(later, later))
        assert "has changed" in gone(own_client.get(f"/api/photos/6{end}"))

    def test_replaced_by_a_link_to_something_else(self, own_client, own_photos, end):
        own_photos[0].unlink()
        own_photos[0].symlink_to("/etc/passwd")
        assert "has changed" in gone(own_client.get(f"/api/photos/1{end}"))

    def test_replaced_by_a_folder_or_a_pipe(self, own_client, own_photos, end):
        own_photos[0].unlink()
        own_photos[0].mkdir()
        gone(own_client.get(f"/api/photos/1{end}"))
        own_photos[0].rmdir()
        os.mkfifo(own_photos[0])
        assert "has changed" in gone(own_client.get(f"/api/photos/1{end}"))

    def test_indexed_again(self, own_client, own_gallery, own_photos, end):
        before = own_client.get(f"/api/photos/1{end}")
        picture(81, (60, 90)).save(own_photos[0])
        add(own_gallery.path, own_photos[0])
        after = own_client.get(f"/api/photos/1{end}")
        assert image_of(after).size == (60, 90)
        assert after.headers["etag"] != before.headers["etag"]


def test_a_photo_that_cannot_be_shown(own_client, own_gallery, own_photos):
    """Its bytes are those that were indexed, but nothing here can read them."""
    own_photos[4].write_bytes(b"II*\x00 and then nothing of a TIFF")
    status = own_photos[4].stat()
    with open_store(own_gallery.path, writable=True) as file:
        file.change(move=[(5, own_photos[4], status.st_size, status.st_mtime_ns)])
    os.truncate(own_photos[4], file_size := own_gallery.photo(5).size)
    os.utime(own_photos[4], ns=(0, own_gallery.photo(5).mtime_ns))
    assert file_size > 0
    assert own_client.get("/api/photos/5").status_code == 415
    assert own_client.get("/api/photos/5/thumbnail").status_code == 415


class TestPhotosInATar:
    @pytest.fixture
    def shard(self, own_photos, own_gallery, tmp_path):
        """The six photos once more, in a tar; ids 7 to 12."""
        shard = tmp_path / "shard.tar"
        with tarfile.open(shard, "w") as tar:
            for photo in own_photos:
                tar.add(photo, photo.name)
        inside = [replace(new_photo(photo), path=shard / photo.name) for photo in own_photos]
        with open_store(own_gallery.path, writable=True) as file:
            file.change(put=inside)
        return shard

    @pytest.mark.usefixtures("shard")
    @pytest.mark.parametrize("number", [1, 2, 5])
    def test_are_shown_as_if_they_were_files(self, own_client, number):
        for end in ("", "/thumbnail"):
            file = own_client.get(f"/api/photos/{number}{end}")
            member = own_client.get(f"/api/photos/{number + 6}{end}")
            assert member.status_code == 200
            assert member.content == file.content
            assert member.headers["content-type"] == file.headers["content-type"]

    def test_that_is_gone_or_another_now(self, own_client, shard, own_photos):
        with tarfile.open(shard, "w") as tar:
            tar.add(own_photos[1], own_photos[0].name)
        assert "has changed" in gone(own_client.get("/api/photos/7"))
        assert "cannot be read" in gone(own_client.get("/api/photos/8"))
        shard.unlink()
        assert "is no longer there" in gone(own_client.get("/api/photos/7"))

    def test_their_folder_is_the_tar(self, own_client, shard):
        folders = {each["folder"] for each in own_client.get("/api/gallery").json()["folders"]}
        assert str(shard) in folders


class TestClosing:
    """A photo's file is closed with its answer, without the garbage collector's help."""

    def test_when_the_client_goes_in_the_middle(self, gallery):
        opened = []

        async def run():
            app = create_app(gallery)

            async def receive():
                await asyncio.sleep(0.05)
                return {"type": "http.disconnect"}

            async def send(message):
                if message["type"] == "http.response.body":
                    opened.append(True)
                    await asyncio.sleep(30)

            headers = [(b"host", b"localhost")]
            scope = {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": "1.1",
                "method": "GET",
                "scheme": "http",
                "path": "/api/photos/1",
                "raw_path": b"/api/photos/1",
                "query_string": b"",
                "root_path": "",
                "headers": headers,
                "client": ("127.0.0.1", 1),
                "server": ("127.0.0.1", 80),
            }
            async with asyncio.timeout(20):
                await app(scope, receive, send)
            app.state.service.close()

        gc.disable()
        try:
            asyncio.run(run())
            assert opened
            assert not self._open(gallery.photo(1).path)
        finally:
            gc.enable()

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_when_all_went_well(self, client, gallery, method):
        gc.disable()
        try:
            for _ in range(3):
                client.request(method, "/api/photos/1")
            assert not self._open(gallery.photo(1).path)
        finally:
            gc.enable()

    def _open(self, path):
        if not Path("/proc/self/fd").exists():
            pytest.skip("this machine does not tell which files are open")
        links = []
        for link in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                links.append(link.readlink())
        return path in links
