"""The table of the page's files: what is in it, and how it is served."""

from __future__ import annotations

import pytest

from msedge.server import app as app_module
from msedge.server.page_files import read_page


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "page"
    (inside / "parts").mkdir(parents=True)
    (inside / "index.html").write_text("<!doctype html><title>é</title>")
    (inside / "app.js").write_text("export {}")
    (inside / "parts" / "icon.svg").write_text("<svg/>")
    (inside / "notes.txt").write_text("not served")
    (inside / ".hidden.js").write_text("not served")
    (inside / ".git").mkdir()
    (inside / ".git" / "config.json").write_text("not served")
    (tmp_path / "secret.json").write_text("not served")
    return inside


@pytest.fixture
def client(folder, connect, monkeypatch):
    monkeypatch.setattr(app_module, "read_page", lambda: read_page(folder))
    return connect()


class TestTable:
    def test_known_types_that_are_not_hidden(self, folder):
        assert {name: file.media_type for name, file in read_page(folder).items()} == {
            "app.js": "text/javascript; charset=utf-8",
            "index.html": "text/html; charset=utf-8",
            "parts/icon.svg": "image/svg+xml",
        }

    def test_a_tag_for_each_content(self, folder):
        before = read_page(folder)["app.js"].etag
        assert read_page(folder)["app.js"].etag == before
        (folder / "app.js").write_text("export { }")
        assert read_page(folder)["app.js"].etag != before

    def test_no_folder(self, tmp_path):
        assert read_page(tmp_path / "none") == {}

    def test_the_package_s_own(self):
        assert "app.js" in read_page()


class TestRoutes:
    def test_the_page(self, client, folder):
        answer = client.get("/")
        assert answer.status_code == 200
        assert answer.content == (folder / "index.html").read_bytes()
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"

    def test_what_it_loads(self, client):
        assert client.get("/page/app.js").text == "export {}"
        icon = client.get("/page/parts/icon.svg")
        assert (icon.text, icon.headers["content-type"]) == ("<svg/>", "image/svg+xml")

    @pytest.mark.parametrize("path", ["/", "/page/app.js"])
    def test_only_if_it_is_new(self, client, path):
        etag = client.get(path).headers["etag"]
        again = client.get(path, headers={"If-None-Match": etag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200

    @pytest.mark.parametrize(
        "path",
        [
            "../secret.json", "..%2fsecret.json", "%2e%2e/secret.json", "....//secret.json",
            "parts/../../secret.json", "parts%2f..%2fapp.js", "/etc/passwd", "//etc/passwd",
            "parts", "parts/", "", "notes.txt", ".hidden.js", ".git/config.json", "app.js/",
            "APP.JS", "app.js%00.png", "..\\secret.json",
        ],
    )  # fmt: skip
    def test_nothing_else(self, client, path):
        answer = client.get(f"http://localhost:8765/page/{path}")
        assert answer.status_code == 404
        assert list(answer.json()) == ["detail"]

    def test_it_is_read_once(self, client, folder):
        (folder / "app.js").write_text("changed while it is served")
        assert client.get("/page/app.js").text == "export {}"

    def test_without_a_page(self, connect, monkeypatch):
        monkeypatch.setattr(app_module, "read_page", dict)
        assert connect().get("/").status_code == 404
