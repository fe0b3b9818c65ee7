from __future__ import annotations

import io
import json
import os
import re
import stat
import sys
import time

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from encoders import ColourEncoder, PlacedEncoder
from galleries import make_gallery, photo
from msedge.cli.app import run
from msedge.cli.search import search_command
from msedge.data.drawings import open_drawing
from msedge.errors import MSEdgeError
from msedge.search import encoder as onnx_encoder
from msedge.search.encoder import OnnxEncoder
from msedge.search.gallery import Gallery
from msedge.search.indexing import index

CROSS = open_drawing([([0, 10], [0, 10]), ([0, 10], [10, 0])])
BAR = open_drawing([([0, 10], [5, 5])])
STROKES = json.dumps({"drawing": [[[0, 10], [0, 10]], [[0, 10], [10, 0]]]})
PICTURES = {
    "red.png": photo("red"), "green.png": photo("green"), "more/blue.png": photo("blue"),
    "more/copy of red.png": photo("red", (120, 80)), "tall.png": photo("yellow", (40, 60)),
}  # fmt: skip

application = typer.Typer()
application.command()(search_command)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A gallery and two drawings in the working directory, and an encoder that is quick."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(onnx_encoder.OnnxEncoder, "load", lambda *_, **__: ColourEncoder())
    CROSS.save("cross.png")
    BAR.save("bar.png")
    return make_gallery(tmp_path, PICTURES)


def search(*arguments: object, given: bytes | None = None):
    return CliRunner().invoke(application, [str(each) for each in arguments], input=given)


def found(*arguments: object, given: bytes | None = None) -> list[str]:
    """The paths that a search prints."""
    result = search(*arguments, "--paths", given=given)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def refused(*arguments: object, given: bytes | None = None) -> str:
    """The one line of a search that a person has to mend."""
    result = search(*arguments, given=given)
    assert isinstance(result.exception, MSEdgeError), result.output
    assert result.stdout == ""
    assert "\n" not in str(result.exception)
    return str(result.exception)


def by_hand(gallery, sketch, **options) -> list[str]:
    with Gallery.open(gallery, model=ColourEncoder()) as opened:
        hits = opened.search(sketch, **options)
    return [str(hit.photo.path.relative_to(gallery.parent)) for hit in hits]


class TestQuery:
    def test_it_finds_what_the_package_finds(self, place):
        assert found("cross.png") == by_hand(place, CROSS)

    def test_several_sketches(self, place):
        assert found("cross.png", "bar.png") == by_hand(place, [CROSS, BAR])

    @pytest.mark.parametrize("kind", ["PNG", "JSON"])
    def test_standard_input(self, place, kind):
        content = STROKES.encode()
        if kind == "PNG":
            CROSS.save(stream := io.BytesIO(), "PNG")
            content = stream.getvalue()
        assert found("-", given=content) == by_hand(place, content)
        assert found("-", "bar.png", given=content) == by_hand(place, [content, BAR])

    def test_a_file_of_strokes(self, place, tmp_path):
        (tmp_path / "cross.json").write_text(STROKES)
        assert found("cross.json") == by_hand(place, tmp_path / "cross.json")

    def test_like_a_photo_without_a_sketch(self, place):
        paths = found("--like", "photos/more/blue.png")
        assert paths == by_hand(place, (), like=[3])
        assert paths[0] == "photos/more/blue.png"

    def test_like_a_photo_from_elsewhere(self, tmp_path):
        photo("blue", mark=1).save(tmp_path / "new.png")
        assert found("--like", "new.png")[0] == "photos/more/blue.png"

    def test_unlike(self, place):
        paths = found("cross.png", "--unlike", "photos/red.png", "--not-sketch", "bar.png")
        assert paths == by_hand(place, CROSS, unlike=[1], not_sketch=BAR)
        assert not [path for path in paths if "red" in path]

    def test_how_many(self):
        assert len(found("cross.png", "-k", "2")) == 2
        assert len(found("cross.png", "-k", "99")) == 4

    def test_every_copy(self, place):
        assert found("cross.png", "--all") == by_hand(place, CROSS, collapse=False)
        assert len(found("cross.png", "--all")) == 5

    def test_filters(self):
        assert set(found("cross.png", "--folder", "photos/more", "--all")) == {
            "photos/more/blue.png", "photos/more/copy of red.png",
        }  # fmt: skip
        assert found("cross.png", "--orientation", "portrait") == ["photos/tall.png"]
        assert found("cross.png", "--before", "1970-01-01") == ["photos/red.png"]
        assert found("cross.png", "--after", "1970-01-05") == ["photos/tall.png"]

    def test_the_model_by_name(self, monkeypatch):
        asked = []
        monkeypatch.setattr(
            onnx_encoder.OnnxEncoder,
            "load",
            lambda name, **_: asked.append(name) or ColourEncoder(),
        )
        found("cross.png")
        found("cross.png", "--model", "moved.onnx")
        assert asked == ["colours", "moved.onnx"]

    def test_with_the_shipped_model(self, tmp_path, monkeypatch):
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
        (tmp_path / "other").mkdir()
        pictures = {f"{colour}.png": photo(colour) for colour in ("red", "green", "blue")}
        gallery = make_gallery(tmp_path / "other", pictures, OnnxEncoder.load())
        paths = found("cross.png", "--gallery", gallery)
        assert sorted(paths) == [f"other/photos/{name}.png" for name in ("blue", "green", "red")]


class TestRefusals:
    def test_nothing_to_look_for(self):
        assert "nothing to look for" in refused()
        assert "nothing to look for" in refused("--unlike", "photos/red.png")

    def test_files_that_are_not_there(self):
        assert "cannot read drawing none.png: no such file" in refused("none.png")
        assert "none.jpg: no such file" in refused("--like", "none.jpg")
        assert "no gallery" in refused("cross.png", "--gallery", "none.msedge")

    def test_values(self):
        assert "k must be at least 1" in refused("cross.png", "-k", "0")
        assert "no orientation 'round'" in refused("cross.png", "--orientation", "round")
        assert "no day" in refused("cross.png", "--after", "2021-01-02", "--before", "2021-01-01")
        assert search("cross.png", "--after", "tomorrow").exit_code == 2

    def test_outputs_that_exclude_each_other(self):
        for other in ("--paths", "--null"):
            assert "--json does not go with" in refused("cross.png", "--json", other)

    def test_standard_input_holds_one_drawing(self):
        assert "give it once" in refused("-", "--not-sketch", "-", given=b"")
        assert "the drawing" in refused("-", given=b"")

    def test_standard_input_that_is_a_terminal(self, monkeypatch):
        class Terminal(io.StringIO):
            def isatty(self):
                return True

        monkeypatch.setattr(sys, "stdin", Terminal())
        with pytest.raises(MSEdgeError, match="pipe a drawing into it"):
            application(["-"], standalone_mode=False)

    def test_standard_input_without_end(self, monkeypatch):
        monkeypatch.setattr("msedge.data.drawings.MAX_BYTES", 1_000_000)
        assert "longer than 1 MB" in refused("-", given=b"x" * 1_000_001)

    def test_other_weights(self, monkeypatch):
        monkeypatch.setattr(
            onnx_encoder.OnnxEncoder, "load", lambda *_, **__: ColourEncoder("colours-2")
        )
        assert "--rebuild" in refused("cross.png")

    def test_as_a_person_sees_it(self, type_in):
        answer = type_in(lambda: run(application), "none.png")
        assert answer.code == 2
        assert answer.out == ""
        assert answer.err == "msedge: cannot read drawing none.png: no such file\n"


class TestNothingFound:
    @pytest.mark.parametrize(
        ("option", "printed"), [("--paths", ""), ("--null", ""), ("--json", "[]"), (None, "")]
    )
    def test_an_empty_gallery(self, tmp_path, option, printed):
        (tmp_path / "empty").mkdir()
        gallery = make_gallery(tmp_path / "empty", {})
        result = search("cross.png", "--gallery", gallery, *([option] if option else []))
        assert result.exit_code == 0
        assert "holds no photo yet: fill it with `msedge index PHOTOS" in result.stderr
        assert printed in result.stdout
        assert bool(printed) == bool(result.stdout)

    def test_filters_that_leave_nothing(self):
        result = search("cross.png", "--orientation", "square")
        assert result.exit_code == 0
        assert result.stdout == ""
        assert "no photo of" in result.stderr
        assert "is left by the filters" in result.stderr


class TestOpen:
    @pytest.fixture
    def opened(self, tmp_path, monkeypatch):
        """What a stand-in for the desktop's opener was given, read when it has been."""
        programs, told = tmp_path / "programs", tmp_path / "opened"
        programs.mkdir()
        for name in ("xdg-open", "open"):
            opener = programs / name
            opener.write_text(f'#!/bin/sh\nprintf %s "$1" > {told}.part\nmv {told}.part {told}\n')
            opener.chmod(opener.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

        def wait() -> str:
            for _ in range(200):
                if told.exists():
                    return told.read_text()
                time.sleep(0.05)
            raise AssertionError("nothing was opened")

        return wait

    def test_the_first_photo(self, opened, tmp_path):
        paths = found("cross.png", "--open")
        assert opened() == str(tmp_path / paths[0])

    def test_the_sheet(self, opened, tmp_path):
        found("cross.png", "--open", "--html", "sheet.html")
        assert opened() == str(tmp_path / "sheet.html")

    def test_nothing_to_open(self, tmp_path):
        result = search("cross.png", "--orientation", "square", "--open")
        assert result.exit_code == 0
        assert not (tmp_path / "opened").exists()

    def test_no_opener(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        result = search("cross.png", "--open", "--paths")
        assert isinstance(result.exception, MSEdgeError)
        assert "no program was found to open" in str(result.exception)
        assert result.stdout.splitlines()  # the answer came all the same


def test_the_sheet_is_written(tmp_path):
    assert found("cross.png", "--html", "sheet.html") != []
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert page.count("<li><figure>") == 5  # four photos and the sketch
    assert Image.open("photos/red.png").size == (60, 40)  # and the photos are left alone


class TestWhere:
    @pytest.fixture(autouse=True)
    def placed(self, tmp_path, monkeypatch):
        """Two photos with something red, of a model that tells places."""
        monkeypatch.setattr(onnx_encoder.OnnxEncoder, "load", lambda *_, **__: PlacedEncoder())
        for name, left in (("a.png", 40), ("b.png", 260)):
            scene = Image.new("RGB", (400, 300), (128, 128, 128))
            scene.paste((230, 10, 10), (left, 100, left + 100, 200))
            (tmp_path / "scenes").mkdir(exist_ok=True)
            scene.save(tmp_path / "scenes" / name)
        index([tmp_path / "scenes"], tmp_path / "scenes.msedge", PlacedEncoder())

    def ask(self, *arguments: object):
        result = search("cross.png", "--gallery", "scenes.msedge", "--all", "--where", *arguments)
        assert result.exit_code == 0, result.output
        return result

    def test_in_json(self, tmp_path):
        hits = json.loads(self.ask("--json").stdout)["hits"]
        with Gallery.open("scenes.msedge", model=PlacedEncoder()) as gallery:
            boxes = gallery.where([1, 2], ["cross.png"])
        assert {hit["id"]: hit["box"] for hit in hits} == {
            photo: box.as_json() for photo, box in boxes.items()
        }
        (tmp_path / "scenes/a.png").unlink()
        gone = [hit["box"] is None for hit in json.loads(self.ask("--json").stdout)["hits"]]
        assert sorted(gone) == [False, True]

    def test_on_the_sheet(self, tmp_path):
        self.ask("--html", "sheet.html")
        page = (tmp_path / "sheet.html").read_text()
        with Gallery.open("scenes.msedge", model=PlacedEncoder()) as gallery:
            boxes = gallery.where([1, 2], ["cross.png"])
        drawn = re.findall(r'viewBox="0 0 400 300".*?<rect x="(\d+)" y="(\d+)" width="(\d+)"', page)
        assert sorted(drawn) == sorted(
            (
                str(round(400 * box.left)),
                str(round(300 * box.top)),
                str(round(400 * box.right) - round(400 * box.left)),
            )
            for box in boxes.values()
        )
        search("cross.png", "--gallery", "scenes.msedge", "--html", "sheet.html")
        assert "<rect" not in (tmp_path / "sheet.html").read_text()

    def test_only_beside_what_shows_it(self):
        assert "give one of them" in refused("cross.png", "--where", "--paths")

    def test_a_model_that_tells_no_places(self, monkeypatch):
        monkeypatch.setattr(onnx_encoder.OnnxEncoder, "load", lambda *_, **__: ColourEncoder())
        result = search("cross.png", "--where", "--json")
        assert "colours does not tell where in a photo a thing is" in result.stderr
        assert {hit["box"] for hit in json.loads(result.stdout)["hits"]} == {None}
