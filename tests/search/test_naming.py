"""Names are made of folders: a person's own, and a model's bank."""

from __future__ import annotations

import json
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from galleries import photo
from msedge import locks
from msedge.data.drawings import open_drawing
from msedge.errors import ConfigError, DataError, WeightsError
from msedge.locks import sole_writer
from msedge.models.bank import identity_of, read_bank
from msedge.search.naming import add_name, make_bank, read_synonyms, remove_name
from named_things import BAR, CROSS, RING, NamedEncoder, drawn, taken

ENCODER = NamedEncoder()
MODEL = identity_of(ENCODER.card)


@pytest.fixture
def folder(tmp_path):
    """Two photos, a drawing below, a file of two drawings, and what is none of these."""
    photos = tmp_path / "things"
    (photos / "deeper").mkdir(parents=True)
    photo("red").save(photos / "one.png")
    photo("blue").save(photos / "deeper/two.png")
    (photos / "notes.txt").write_text("no picture")
    (photos / "broken.jpg").write_bytes(b"no picture")
    drawings = tmp_path / "drawings"
    (drawings / "deeper").mkdir(parents=True)
    open_drawing(CROSS).save(drawings / "cross.png")
    lines = [json.dumps({"drawing": strokes}) for strokes in (BAR, RING)]
    (drawings / "deeper/two.ndjson").write_text("\n".join(lines) + "\n")
    return tmp_path


def mean(*vectors):
    middle = np.mean([each.astype(float) for each in vectors], axis=0)
    return middle / np.linalg.norm(middle)


class TestOwn:
    def test_photos_then_drawings(self, folder):
        file = folder / "data/names/own.safetensors"
        seen = add_name(file, ENCODER, "our  cat Tom", folder / "things", synonyms=["Tommy"])
        assert seen.images == 2
        assert [path.rpartition("/")[2] for path, _ in seen.skipped] == ["broken.jpg"]
        assert (
            add_name(file, ENCODER, "Our_cat tom", folder / "drawings", drawings=True).images == 3
        )
        own = read_bank(file)
        assert own.model == MODEL
        assert [(each.name, each.synonyms) for each in own.names] == [("Our_cat tom", ("Tommy",))]
        both = mean(taken(photo("red")), taken(photo("blue")))
        np.testing.assert_allclose(own.name_photos[0], both, atol=0.01)
        three = mean(drawn(CROSS), drawn(BAR), drawn(RING))
        np.testing.assert_allclose(own.name_drawings[0], three, atol=2e-3)
        assert not list(file.parent.glob("*lock*"))

    def test_again_replaces(self, folder):
        file = folder / "own.safetensors"
        add_name(file, ENCODER, "Tom", folder / "things")
        add_name(file, ENCODER, "Tom", folder / "things/one.png")
        np.testing.assert_allclose(read_bank(file).name_photos[0], taken(photo("red")), atol=0.01)

    def test_removing(self, folder):
        file = folder / "own.safetensors"
        for name in ("Tom", "Mia"):
            add_name(file, ENCODER, name, folder / "things")
        assert remove_name(file, MODEL, ENCODER.dim, "TOM") == "Tom"
        assert [each.name for each in read_bank(file).names] == ["Mia"]
        with pytest.raises(ConfigError, match="no name of your own: did you mean Mia"):
            remove_name(file, MODEL, ENCODER.dim, "Miaa")
        remove_name(file, MODEL, ENCODER.dim, "Mia")
        assert read_bank(file).names == ()

    def test_many_at_a_time_wait_for_each_other(self, folder):
        file, names = folder / "own.safetensors", [f"name {number}" for number in range(12)]

        def add(name):
            add_name(file, ENCODER, name, folder / "things", workers=1)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(add, names))
        assert sorted(each.name for each in read_bank(file).names) == sorted(names)

    def test_another_process_is_writing(self, folder, monkeypatch):
        monkeypatch.setattr(locks, "_SECONDS", 0.1)
        file, held, done = folder / "own.safetensors", threading.Event(), threading.Event()

        def hold():
            with sole_writer(file):
                held.set()
                done.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        try:
            assert held.wait(60)
            with pytest.raises(DataError, match="another process is writing"):
                add_name(file, ENCODER, "Tom", folder / "things")
        finally:
            done.set()
            thread.join()
        assert not file.exists()

    def test_synonyms_that_could_not_be_found(self, folder):
        file = folder / "own.safetensors"
        add_name(file, ENCODER, "Tom", folder / "things", synonyms=["tomcat", "tom"])
        many = [f"word {number}" for number in range(99)]
        before = file.read_bytes()
        for name, synonyms, says in (
            ("Mia", ["TOM"], "'TOM' is a name of its own"),
            ("Mia", ["Grass"], "is a name of its own"),
            ("Mia", [*many, "another"], "100 synonyms: expected at most 99"),
            ("Tom", many, "Tom would have 101 synonyms"),
        ):
            with pytest.raises(ConfigError, match=says):
                add_name(file, ENCODER, name, folder / "things", synonyms=synonyms)
        assert file.read_bytes() == before
        add_name(file, ENCODER, "Mia", folder / "things", synonyms=many)

    def test_refusals(self, folder):
        file = folder / "own.safetensors"
        (folder / "empty").mkdir()
        for name in ("", "  ", "a\x1b[31m", "x" * 201):
            with pytest.raises(ConfigError, match="cannot be a name"):
                add_name(file, ENCODER, name, folder / "things")
        for drawings in (False, True):
            with pytest.raises(DataError, match="can be read"):
                add_name(file, ENCODER, "Tom", folder / "empty", drawings=drawings)
            with pytest.raises(DataError, match="nowhere"):
                add_name(file, ENCODER, "Tom", folder / "nowhere", drawings=drawings)
        assert not file.exists()
        add_name(file, ENCODER, "Tom", folder / "things")
        other = NamedEncoder()
        other.card = other.card.model_copy(update={"seed": 77})
        before = file.read_bytes()
        with pytest.raises(WeightsError, match="another model"):
            add_name(file, other, "Mia", folder / "things")
        assert file.read_bytes() == before


@pytest.fixture
def classes(tmp_path):
    """Drawings in two folders that spell things differently, and photos of some."""
    for place, strokes, count in (
        ("a/hot-air_balloon", RING, 2), ("b/Hot air balloon", RING, 1), ("a/auto", BAR, 2),
    ):  # fmt: skip
        (tmp_path / place).mkdir(parents=True)
        for number in range(count):
            open_drawing(strokes).save(tmp_path / place / f"{number}.png")
    (tmp_path / "b/cross.ndjson").write_text(json.dumps({"drawing": CROSS}) + "\n\n")
    for place, colour in (("p/car", "red"), ("p/grass", "green"), ("p/.hidden", "blue")):
        (tmp_path / place).mkdir(parents=True)
        photo(colour).save(tmp_path / place / "1.png")
    (tmp_path / "p/nothing").mkdir()
    return tmp_path


class TestBank:
    def test_of_folders(self, classes):
        made = make_bank(
            ENCODER,
            drawings=[classes / "a", classes / "b"],
            photos=[classes / "p"],
            synonyms={"car": ["auto", "motor"], "zebra": []},
        )
        bank = made.bank
        assert [each.name for each in bank.names] == ["car", "cross", "grass", "hot-air balloon"]
        assert bank.names[0].synonyms == ("auto", "motor")
        assert (made.drawings.images, made.photos.images, made.unused) == (6, 2, ["zebra"])
        np.testing.assert_allclose(bank.name_drawings[1], drawn(CROSS), atol=2e-3)
        np.testing.assert_allclose(bank.name_drawings[0], drawn(BAR), atol=2e-3)
        assert not bank.name_drawings[2].any()
        assert not bank.name_photos[3].any()
        assert len(bank.drawings) == 6
        assert bank.model == MODEL

    def test_hubs_are_chosen_by_the_seed(self, classes):
        def fingerprint(seed):
            folders = [classes / "a", classes / "b"]
            return make_bank(ENCODER, drawings=folders, most=4, seed=seed).bank.fingerprint

        assert fingerprint(0) == fingerprint(0)
        assert len({fingerprint(seed) for seed in range(8)}) > 1

    def test_a_word_of_two_names_is_of_neither(self, classes):
        synonyms = {"car": ["auto"], "robot": ["auto"]}
        made = make_bank(ENCODER, drawings=[classes / "a"], synonyms=synonyms)
        assert [each.name for each in made.bank.names] == ["auto", "hot-air balloon"]

    def test_refusals(self, classes):
        with pytest.raises(DataError, match="a folder for each thing"):
            make_bank(ENCODER, drawings=[classes / "none"])
        (classes / "e/empty").mkdir(parents=True)
        with pytest.raises(DataError, match="no drawing in"):
            make_bank(ENCODER, drawings=[classes / "e"])
        with pytest.raises(DataError, match="in a folder for each thing"):
            make_bank(ENCODER, drawings=[classes / "a/auto"])
        with pytest.raises(ConfigError, match="two spellings"):
            make_bank(ENCODER, drawings=[classes / "a"], synonyms={"a b": [], "A_b": []})

    @pytest.mark.parametrize("suffix", [".json", ".toml"])
    def test_synonyms(self, tmp_path, suffix):
        file = tmp_path / f"words{suffix}"
        text = {".json": '{"car": ["auto"], "tv": []}', ".toml": 'car = ["auto"]\ntv = []'}[suffix]
        file.write_text(text)
        assert read_synonyms(file) == {"car": ["auto"], "tv": []}

    @pytest.mark.parametrize(
        "text", ["", "[]", "[" * 5000, '{"car": "auto"}', '{"car": [1]}', '{"\\n": []}',
                 json.dumps({"car": ["x"] * 101}), "\ud800"],
    )  # fmt: skip
    def test_synonyms_that_are_none(self, tmp_path, text):
        file = tmp_path / "words.json"
        file.write_bytes(text.encode(errors="surrogatepass"))
        with pytest.raises((DataError, ConfigError)) as refused:
            read_synonyms(file)
        assert "\n" not in str(refused.value)


def test_a_tar_is_passed_over(folder):
    tar = folder / "things/more.tar"
    with tarfile.open(tar, "w") as file:
        file.add(folder / "things/one.png")
    seen = add_name(folder / "own.safetensors", ENCODER, "Tom", folder / "things")
    assert (seen.images, dict(seen.skipped)[str(tar)]) == (
        2,
        "photos within it are not looked at: unpack it",
    )
    with pytest.raises(DataError, match="unpack it"):
        add_name(folder / "own.safetensors", ENCODER, "Tom", tar)


def test_a_drawing_that_cannot_be_read_is_passed_over(folder):
    Image.new("RGB", (40, 40), "white").save(folder / "drawings/blank.png")
    seen = add_name(folder / "o.safetensors", ENCODER, "x", folder / "drawings", drawings=True)
    assert seen.images == 3
    assert len(seen.skipped) == 1
