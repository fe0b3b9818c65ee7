from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import pytest

from encoders import ColourEncoder
from galleries import make_gallery, photo
from msedge.cli.search_output import short_path, show_json, show_paths, show_table
from msedge.errors import DataError
from msedge.search.gallery import Gallery

ODD = os.fsdecode(b"caf\xe9 <b> [red].png")  # Latin-1, as old archives have it
LINES = "two\nlines.png"


@pytest.fixture
def gallery(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures = {ODD: photo("red"), LINES: photo("blue"), "-n.png": photo("green")}
    with Gallery.open(make_gallery(tmp_path, pictures), model=ColourEncoder()) as opened:
        yield opened


@pytest.fixture
def hits(gallery):
    """Of one photo each: the odd one, the one of two lines, the one like an option."""
    return [replace(gallery.similar(each, k=1)[0], rank=each) for each in (1, 2, 3)]


class TestShortPath:
    def test_the_shorter_of_the_two(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert short_path(tmp_path / "a/b.jpg") == str(Path("a/b.jpg"))
        (tmp_path / "deep/er/still").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "deep/er/still")
        assert short_path(Path("/b.jpg")) == "/b.jpg"

    def test_never_like_an_option(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert short_path(tmp_path / "-n.jpg") == f".{os.sep}-n.jpg"

    def test_without_a_working_directory(self, tmp_path, monkeypatch):
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        assert short_path(tmp_path / "b.jpg") == str(tmp_path / "b.jpg")


class TestPaths:
    def test_bytes_as_they_are(self, hits, capfdbinary):
        show_paths([hits[0], hits[2]], null=False)
        out = capfdbinary.readouterr().out
        assert out == b"photos/caf\xe9 <b> [red].png\nphotos/-n.png\n"

    def test_for_xargs(self, hits, capfdbinary):
        show_paths(hits, null=True)
        out = capfdbinary.readouterr().out
        done = subprocess.run(
            ["xargs", "-0", "-n", "1", "test", "-f"], input=out, capture_output=True, check=False
        )
        assert done.returncode == 0
        assert out.split(b"\0")[:-1] == [os.fsencode(short_path(h.photo.path)) for h in hits]

    def test_a_name_of_two_lines_is_refused_before_anything_is_printed(self, hits, capfdbinary):
        with pytest.raises(DataError, match="--null") as refused:
            show_paths(hits, null=False)
        assert "\n" not in str(refused.value)
        assert capfdbinary.readouterr().out == b""


class TestJson:
    def test_it_says_everything(self, gallery, hits, capsys):
        copies = (hits[1].photo,)
        show_json([replace(hits[0], copies=copies), *hits[1:]], gallery)
        text = capsys.readouterr().out
        text.encode("ascii")  # valid whatever a file is called
        document = json.loads(text)
        assert document["gallery"] == str(gallery.path)
        assert document["model"] == "colours"
        assert document["searched"] == 3
        first, second, _ = document["hits"]
        assert first["rank"] == 1
        assert first["similarity"] == pytest.approx(1.0)
        assert first["score"] == first["similarity"]  # no hubs
        assert (first["id"], first["width"], first["height"]) == (1, 60, 40)
        assert second["path"] == str(hits[1].photo.path)
        assert [copy["id"] for copy in first["copies"]] == [2]

    def test_paths_are_unicode_and_uris_exact(self, gallery, hits, capsys):
        show_json(hits, gallery)
        first, *_ = json.loads(capsys.readouterr().out)["hits"]
        assert Path(first["path"]).name == "caf\ufffd <b> [red].png"
        found = unquote_to_bytes(urlsplit(first["uri"]).path)
        assert found == os.fsencode(hits[0].photo.path)


class TestTable:
    def test_a_line_a_hit(self, hits, capsys):
        show_table(hits)
        head, rule, *rows = map(str.rstrip, capsys.readouterr().out.splitlines())
        assert head.split() == ["rank", "score", "photo"]
        assert set(rule) <= {"─", " "}
        assert len(rows) == 3
        assert rows[0].split() == ["1", "1.000", r"photos/caf\udce9", "<b>", "[red].png"]
        assert rows[1].split(maxsplit=2) == ["2", "1.000", r"photos/two\nlines.png"]

    def test_copies_are_counted(self, hits, capsys):
        show_table([replace(hits[2], copies=(hits[0].photo, hits[1].photo))])
        assert "photos/-n.png  (and 2 like it)" in capsys.readouterr().out

    def test_long_paths_are_whole_where_it_is_no_terminal(self, hits, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "40")
        far = Path("/", *["a folder of a long name"] * 9, "photo.jpg")
        show_table([replace(hits[2], photo=replace(hits[2].photo, path=far))])
        assert str(far) in capsys.readouterr().out
