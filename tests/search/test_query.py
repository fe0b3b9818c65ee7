"""What a drawing may be, how several become one vector, and whose encoder makes it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoders import ColourEncoder
from galleries import photo
from msedge.data.drawings import drawing_pixels, open_drawing
from msedge.data.images import read_pixels
from msedge.errors import ConfigError, DataError, WeightsError
from msedge.models.shipped import DEFAULT_MODEL
from msedge.search import query as module
from msedge.search.encoder import OnnxEncoder
from msedge.search.indexing import index
from msedge.search.query import AGAINST, OwnEncoder, combine, drawings_of, make_query
from msedge.search.stores import open_store, store_class
from msedge.search.stores.reports import Model

IMAGE = Image.new("RGB", (4, 4))
STROKES = [([0, 10], [0, 10]), ([5], [7])]
CROSS = [([0, 10], [0, 10]), ([0, 10], [10, 0])]
BAR = [([0, 10], [5, 5])]
NOTHING = np.empty((0, ColourEncoder.dim), np.float32)


class TestDrawings:
    @pytest.mark.parametrize(
        "drawing",
        [
            "cat.png", Path("cat.png"), b"content", IMAGE, STROKES, [([0.5, 1], [2, 3])],
            [[[0, 10], [0, 10]]], ((np.arange(3), np.arange(3)),), [([], [])],
            [([0, 1], [2, 3], [10, 20])],
        ],
        ids=lambda drawing: type(drawing).__name__,
    )  # fmt: skip
    def test_one_is_one(self, drawing):
        (only,) = drawings_of(drawing)
        assert only is drawing

    @pytest.mark.parametrize(
        "drawings",
        [
            ["a.png", Path("b.png")], ("ab", "cd"), [IMAGE, b"content"], [STROKES],
            [STROKES, STROKES], [STROKES, "a.png"], [],
        ],
    )  # fmt: skip
    def test_several_are_several(self, drawings):
        assert drawings_of(drawings) == list(drawings)

    @pytest.mark.parametrize("wrong", [7, None, {"strokes": []}, [7], ["a.png", None], [[1, 2]]])
    def test_anything_else_is_refused_in_one_line(self, wrong):
        with pytest.raises(ConfigError, match="a drawing cannot be") as refused:
            drawings_of(wrong)
        assert "\n" not in str(refused.value)


class TestCombine:
    NOTHING = np.empty((0, 3), np.float32)

    def test_one_is_itself(self):
        vector = np.array([[0.6, 0.8, 0]], np.float32)
        np.testing.assert_allclose(combine(vector, self.NOTHING), vector[0], rtol=1e-6)

    def test_rocchio_by_hand(self):
        wanted = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
        unwanted = np.array([[0, 0, 1], [0, 1, 0]], np.float32)
        by_hand = np.array([0.5, 0.5 - AGAINST / 2, -AGAINST / 2])
        combined = combine(wanted, unwanted)
        np.testing.assert_allclose(combined, by_hand / np.linalg.norm(by_hand), rtol=1e-6)
        assert combined.dtype == np.float32
        assert np.linalg.norm(combined) == pytest.approx(1.0)

    def test_it_moves_away_from_what_is_not_wanted(self):
        rng = np.random.default_rng(0)
        for _ in range(20):
            wanted, unwanted = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 1, 9)))
            moved = combine(wanted, unwanted)
            assert moved @ unwanted[0] < wanted[0] @ unwanted[0]
            assert moved @ wanted[0] > 0.8  # and still asks for what was wanted

    def test_the_same_for_and_against_stays_what_it_is(self):
        vector = np.array([[0, 1, 0]], np.float32)
        np.testing.assert_allclose(combine(vector, vector), vector[0])

    def test_nothing_wanted(self):
        with pytest.raises(ConfigError, match="nothing to look for"):
            combine(self.NOTHING, np.eye(3, dtype=np.float32))

    def test_opposites_cancel(self):
        vectors = np.array([[1, 0, 0], [-1, 0, 0]], np.float32)
        with pytest.raises(ConfigError, match="cancel each other out"):
            combine(vectors, self.NOTHING)


class Counting(ColourEncoder):
    """Remembers how many images it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = {"photos": 0, "sketches": 0}

    def photos(self, pixels):
        self.seen["photos"] += len(pixels)
        return super().photos(pixels)

    def sketches(self, pixels):
        self.seen["sketches"] += len(pixels)
        return super().photos(pixels)


@pytest.fixture(params=["photos.msedge", "photos.lance"])
def store(request, tmp_path):
    for name, colour in (("red.png", "red"), ("deep/blue.png", "blue")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(colour).save(path)
    index([tmp_path / "photos"], tmp_path / request.param, ColourEncoder())
    with open_store(tmp_path / request.param) as opened:
        yield opened  # of which photo 1 is blue, and 2 red


@pytest.fixture
def own(store):
    return OwnEncoder(store, Counting())


@pytest.fixture
def ask(store, own):
    """Make a query of the gallery."""
    view = store.view()
    return lambda *drawings, **more: make_query(view, own, drawings, **more)


def drawn(strokes) -> np.ndarray:
    pixels = drawing_pixels(open_drawing(strokes), ColourEncoder.image_size)
    return ColourEncoder().sketches(pixels[None])[0]


class TestQuery:
    def test_several_sketches_are_their_mean(self, ask, own):
        expected = combine(np.stack([drawn(CROSS), drawn(BAR)]), NOTHING)
        np.testing.assert_allclose(ask(CROSS, BAR).vector, expected, atol=1e-6)
        assert own.get().seen == {"photos": 0, "sketches": 2}

    def test_a_sketch_by_path_as_text_or_by_its_content(self, ask, tmp_path):
        path = tmp_path / "cross.png"
        open_drawing(CROSS).save(path)
        query = ask(str(path))
        for same in (path, path.read_bytes()):
            np.testing.assert_array_equal(ask(same).vector, query.vector)

    def test_a_photo_of_the_gallery_is_not_embedded_again(
        self, ask, own, store, tmp_path, monkeypatch
    ):
        by_id = ask(like=[1])
        np.testing.assert_allclose(by_id.vector, store.view().vector(1), atol=1e-6)
        blue = tmp_path / "photos/deep/blue.png"
        monkeypatch.chdir(blue.parent)
        for path in (blue, str(blue), "blue.png", Path("../deep/blue.png")):
            np.testing.assert_array_equal(ask(like=[path]).vector, by_id.vector)
        assert own.get().seen == {"photos": 0, "sketches": 0}

    def test_a_photo_from_elsewhere_is(self, ask, own, tmp_path):
        path = tmp_path / "green.png"
        photo("green").save(path)
        expected = ColourEncoder().photos(read_pixels(path, ColourEncoder.image_size)[None])[0]
        np.testing.assert_allclose(ask(like=[path]).vector, expected, atol=1e-6)
        assert own.get().seen == {"photos": 1, "sketches": 0}

    def test_what_is_not_wanted(self, ask, store, tmp_path):
        photo("green").save(tmp_path / "green.png")
        query = ask(CROSS, unlike=[1, tmp_path / "green.png"], not_drawings=[BAR])
        green = ColourEncoder().photos(read_pixels(tmp_path / "green.png", 32)[None])[0]
        unwanted = np.stack([drawn(BAR), store.view().vector(1), green])
        np.testing.assert_allclose(query.vector, combine(drawn(CROSS)[None], unwanted), atol=1e-6)
        assert query.without == (1,)  # what is not in the gallery need not be left out

    def test_an_id_that_no_photo_has(self, ask):
        with pytest.raises(DataError, match=r"no photo 7 in .*photos\."):
            ask(like=[7])

    def test_nothing_asked(self, ask):
        with pytest.raises(ConfigError, match="nothing to look for"):
            ask(unlike=[1])

    @pytest.mark.parametrize("wrong", [Image.new("RGB", (9, 9)), 1.5, None, CROSS])
    def test_a_photo_is_an_id_or_a_path(self, ask, wrong):
        with pytest.raises(ConfigError, match=r"a photo cannot be a .* not_sketch"):
            ask(CROSS, unlike=[wrong])

    def test_a_bad_drawing_is_told_before_the_weights_are_loaded(self, ask, tmp_path, monkeypatch):
        monkeypatch.setattr(OwnEncoder, "get", lambda _: pytest.fail("loaded"))
        with pytest.raises(DataError, match=r"missing\.png"):
            ask(CROSS, tmp_path / "missing.png")


class TestOwnEncoder:
    def test_an_encoder_is_taken_as_it_is(self, store):
        encoder = ColourEncoder()
        assert OwnEncoder(store, encoder).get() is encoder

    def test_other_weights_are_refused_with_the_way_out(self, store):
        own = OwnEncoder(store, ColourEncoder("colours-2"))
        for _ in range(2):
            with pytest.raises(WeightsError, match=r"--model.*--rebuild") as refused:
                own.get()
            assert "\n" not in str(refused.value)

    def test_a_name_that_no_model_has(self, store):
        with pytest.raises(WeightsError, match="no model 'colours'"):
            OwnEncoder(store).get()

    def test_the_gallery_names_its_model(self, tmp_path):
        shipped = OnnxEncoder.load()
        model = Model(shipped.name, shipped.fingerprint, shipped.dim)
        path = tmp_path / "photos.msedge"
        with store_class(path).create(path, model) as store:
            assert OwnEncoder(store).get().fingerprint == shipped.fingerprint

    def test_it_is_loaded_once_however_many_ask(self, store, monkeypatch):
        loaded = []

        class Slow:
            @staticmethod
            def load(model, threads):
                assert threads is None
                loaded.append(model)
                return ColourEncoder()

        monkeypatch.setattr(module, "OnnxEncoder", Slow)
        own = OwnEncoder(store, DEFAULT_MODEL)
        assert loaded == []
        with ThreadPoolExecutor(8) as pool:
            encoders = list(pool.map(lambda _: own.get(), range(40)))
        assert loaded == [DEFAULT_MODEL]
        assert len(set(map(id, encoders))) == 1
