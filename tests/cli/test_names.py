"""``msedge names``, and searching by a name: the shipped weights, a bank made of drawn things."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from msedge.cli.app import app, run
from msedge.data.sample import write_sample
from msedge.models.shipped import WEIGHTS

THINGS = ("bird", "cup", "fish", "lamp")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Drawn things, and the shipped weights under another name, without a bank."""
    root = tmp_path_factory.mktemp("named")
    sample = write_sample(root, photos=3, sketches=3) / "val"
    for kind in ("sketch", "photo"):
        for folder in (sample / kind).iterdir():
            if folder.name not in THINGS:
                shutil.rmtree(folder)
    for suffix in (".onnx", ".safetensors"):
        shutil.copy(WEIGHTS / f"msedge-lite{suffix}", root / f"msedge-lite{suffix}")
    (root / "words.toml").write_text('teacup = ["cup", "mug"]\nzebra = []\n')
    return root


@pytest.fixture
def typed(type_in):
    """Type ``msedge`` with arguments, in this process."""
    return lambda *arguments: type_in(lambda: run(app), *map(str, arguments))


@pytest.fixture
def msedge(place, typed):  # noqa: ARG001 (where it is typed)
    """The same, where there is a gallery whose model knows names."""
    return typed


@pytest.fixture
def place(made, tmp_path, monkeypatch, typed) -> Path:
    """A working directory with the gallery of a model that has a bank."""
    home = made / "done"
    if not home.exists():
        sample = made / "sample/val"
        answer = typed(
            *("names", "make", made / "msedge-lite.onnx", "--synonyms", made / "words.toml"),
            *("--drawings", sample / "sketch", "--photos", sample / "photo"),
            *("--data", "Sample | drawn by code | Apache-2.0"),
            *("--out", made / "msedge-lite.bank.safetensors"),
        )
        assert answer.code == 0, answer.err
        assert "4 names, 4 by drawings (12), 4 by photos (12); 12 drawings for hubs" in answer.out
        assert "synonyms of zebra but no folder" in answer.err
        answer = typed(
            *("index", sample / "photo", "--gallery", made / "photos.msedge"),
            *("--model", made / "msedge-lite.onnx"),
        )
        assert answer.code == 0, answer.err
        home.mkdir()
    shutil.copy(made / "photos.msedge", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    return made / "sample/val"


def sketch(place: Path, thing: str) -> Path:
    return sorted((place / "sketch" / thing).iterdir())[0]


class TestSearch:
    def test_what_was_understood(self, place, msedge):
        answer = msedge("search", sketch(place, "fish"), "--paths")
        assert answer.code == 0
        assert answer.err.startswith("msedge: drawn: fish ")
        assert answer.err.count("\n") == 1
        assert "drawn" not in answer.out

    def test_in_json(self, place, msedge):
        names = json.loads(msedge("search", sketch(place, "fish"), "--json").out)["names"]
        assert names[0]["name"] == "fish"
        assert 0.02 < names[0]["likelihood"] <= 1
        assert not names[0]["settled"]
        settled = msedge("search", sketch(place, "fish"), "--name", "Mug", "--json")
        assert json.loads(settled.out)["names"][0] == {
            "name": "teacup", "likelihood": 1.0, "settled": True,
        }  # fmt: skip
        assert settled.err == "msedge: named: teacup\n"

    @pytest.mark.parametrize(("word", "thing"), [("LAMP", "lamp"), ("mug", "cup")])
    def test_a_word_alone(self, msedge, word, thing):
        found = msedge("search", "--name", word, "--paths", "-k", 3).out.splitlines()
        assert {Path(path).parent.name for path in found} == {thing}

    def test_a_name_wins_over_the_drawing(self, place, msedge):
        answer = msedge("search", sketch(place, "fish"), "--name", "lamp", "--paths", "-k", 1)
        assert Path(answer.out.strip()).parent.name == "lamp"

    def test_on_a_page(self, msedge):
        assert msedge("search", "--name", "mug", "--html", "x.html", "-k", 2).code == 0
        page = Path("x.html").read_text()
        assert "<title>teacup" in page
        assert "named: teacup" in page

    def test_not_that(self, place, msedge):
        answer = msedge("search", sketch(place, "fish"), "--not-name", "fish", "--json")
        assert "fish" not in [each["name"] for each in json.loads(answer.out)["names"]]

    def test_the_drawing_alone(self, place, msedge):
        answer = msedge("search", sketch(place, "fish"), "--no-names", "--json")
        assert (answer.err, json.loads(answer.out)["names"]) == ("", [])

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("--name", "fisch"), "no name 'fisch' is known: did you mean fish?"),
            (("--name", "fish", "--no-names"), "--name does not go with --no-names"),
            (("--name", "fish", "--not-name", "Fish"), "fish is both what is wanted and what is"),
            (("--name", "fish", "--names", "none"), "no names at none"),
            (("--like", "a.jpg", "--not-name", "fish"), "--not-name says what a drawing is not"),
        ],
    )
    def test_refusals(self, msedge, arguments, says):
        answer = msedge("search", *arguments)
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith(f"msedge: {says}")
        assert answer.err.count("\n") == 1

    def test_a_model_without_a_bank(self, made, place, msedge, tmp_path):
        for suffix in (".onnx", ".safetensors"):
            shutil.copy(made / f"msedge-lite{suffix}", tmp_path / f"msedge-lite{suffix}")
        given = ("--model", tmp_path / "msedge-lite.onnx")
        assert msedge("search", sketch(place, "fish"), *given, "--paths").err == ""
        answer = msedge("search", "--name", "fish", *given)
        assert (answer.code, "this model knows none" in answer.err) == (2, True)
        assert "knows no names" in msedge("names", *given).out


class TestNames:
    def test_listing(self, msedge):
        lines = msedge("names").out.splitlines()
        assert [line.split()[0] for line in lines[2:]] == ["bird", "fish", "lamp", "teacup"]
        assert "cup, mug" in lines[-1]
        assert lines[-1].split("mug")[1].strip() == "drawings, photos"
        first = json.loads(msedge("names", "--json").out)[0]
        assert first == {
            "name": "bird", "synonyms": [], "drawings": True, "photos": True, "own": False,
        }  # fmt: skip

    def test_one_s_own(self, place, msedge, tmp_path):
        photos = place / "photo" / "bird"
        answer = msedge("names", "add", "our bird Tom", photos, "--synonym", "Tommy")
        (file,) = (tmp_path / "data/msedge/names").iterdir()
        assert answer.out == f"our bird Tom: 3 photos, in {file}\n"
        answer = msedge("search", "--name", "tommy", "--paths", "-k", 3)
        assert {Path(path).parent.name for path in answer.out.splitlines()} == {"bird"}
        listed = {each["name"]: each for each in json.loads(msedge("names", "--json").out)}
        assert (listed["our bird Tom"]["own"], listed["our bird Tom"]["drawings"]) == (True, False)
        drawn = msedge("names", "add", "our_bird_Tom", sketch(place, "bird"), "--drawings")
        assert drawn.out.startswith("our_bird_Tom: 1 drawing")
        assert json.loads(msedge("names", "--json").out)[3]["drawings"]
        assert msedge("names", "remove", "Our Bird Tom").out.startswith("our_bird_Tom: removed")
        answer = msedge("names", "remove", "lamp")
        assert (answer.code, "no name of your own" in answer.err) == (2, True)

    def test_a_file_of_one_s_choice(self, place, msedge, tmp_path, monkeypatch):
        file = tmp_path / "mine.safetensors"
        add = ("names", "add", "Tom", place / "photo" / "bird")
        assert msedge(*add, "--names", file).code == 0
        assert "Tom" not in msedge("names").out
        assert "Tom" in msedge("names", "--names", file).out
        assert msedge("search", "--name", "Tom", "--names", file).code == 0
        monkeypatch.setenv("MSEDGE_NAMES", str(file))
        assert msedge("search", "--name", "Tom").code == 0
        for command in (("names",), ("search", "--name", "Tom")):
            answer = msedge(*command, "--names", tmp_path / "mime.safetensors")
            assert (answer.code, answer.out) == (2, "")
            assert "no names at" in answer.err

    def test_a_damaged_file_is_one_line(self, place, msedge, tmp_path):
        file = tmp_path / "mine.safetensors"
        file.write_bytes(b"no names")
        for arguments in (("names",), ("search", sketch(place, "fish")),
                          ("names", "add", "Tom", place / "photo/bird")):  # fmt: skip
            answer = msedge(*arguments, "--names", file)
            assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
            assert str(file) in answer.err
        assert file.read_bytes() == b"no names"

    def test_a_bank_takes_no_other_file_s_place(self, place, msedge, made):
        model = made / "msedge-lite.onnx"
        before = model.read_bytes()
        answer = msedge("names", "make", model, "--drawings", place / "sketch", "--out", model)
        assert (answer.code, "ends in .bank.safetensors" in answer.err) == (2, True)
        assert model.read_bytes() == before

    def test_options_before_the_command(self, msedge):
        answer = msedge("names", "--json", "remove", "Tom")
        assert (answer.code, "put options after `remove`" in answer.err) == (2, True)

    def test_a_source_needs_three_parts(self, place, msedge, made, tmp_path):
        answer = msedge(
            *("names", "make", made / "msedge-lite.onnx", "--drawings", place / "sketch"),
            *("--data", "Sample", "--out", tmp_path / "x.bank.safetensors"),
        )
        assert (answer.code, '"name|what|licence"' in answer.err) == (2, True)
