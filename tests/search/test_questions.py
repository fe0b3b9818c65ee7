from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoders import ColourEncoder
from galleries import make_gallery, photo
from msedge.data.drawings import drawing_pixels, open_drawing
from msedge.data.images import read_pixels
from msedge.errors import ConfigError, DataError
from msedge.search.gallery_file import GalleryFile
from msedge.search.own_encoder import OwnEncoder
from msedge.search.queries import combine
from msedge.search.questions import Sources, make_query

CROSS = [([0, 10], [0, 10]), ([0, 10], [10, 0])]
BAR = [([0, 10], [5, 5])]
NOTHING = np.empty((0, ColourEncoder.dim), np.float32)


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


@pytest.fixture
def sources(tmp_path):
    pictures = {"red.png": photo("red"), "deep/blue.png": photo("blue")}
    with GalleryFile.open(make_gallery(tmp_path, pictures)) as file:
        yield Sources(file, file.view(), OwnEncoder(file, Counting()))


def seen(sources) -> dict[str, int]:
    return sources.encoder.get().seen


def drawn(strokes) -> np.ndarray:
    pixels = drawing_pixels(open_drawing(strokes), ColourEncoder.image_size)
    return ColourEncoder().sketches(pixels[None])[0]


def test_several_sketches_are_their_mean(sources):
    query = make_query(sources, [CROSS, BAR])
    expected = combine(np.stack([drawn(CROSS), drawn(BAR)]), NOTHING)
    np.testing.assert_allclose(query.vector, expected, atol=1e-6)
    assert seen(sources) == {"photos": 0, "sketches": 2}


def test_a_sketch_by_path_as_text(sources, tmp_path):
    open_drawing(CROSS).save(tmp_path / "cross.png")
    query = make_query(sources, [str(tmp_path / "cross.png")])
    same = make_query(sources, [tmp_path / "cross.png"])
    np.testing.assert_array_equal(query.vector, same.vector)
    content = make_query(sources, [(tmp_path / "cross.png").read_bytes()])
    np.testing.assert_array_equal(query.vector, content.vector)


def test_a_photo_of_the_gallery_is_not_embedded_again(sources, tmp_path, monkeypatch):
    by_id = make_query(sources, [], like=[2])
    np.testing.assert_allclose(by_id.vector, sources.view.vector(2), atol=1e-6)
    for path in (tmp_path / "photos/deep/blue.png", str(tmp_path / "photos/deep/blue.png")):
        np.testing.assert_array_equal(make_query(sources, [], like=[path]).vector, by_id.vector)
    monkeypatch.chdir(tmp_path / "photos/deep")
    for path in ("blue.png", Path("../deep/blue.png")):
        np.testing.assert_array_equal(make_query(sources, [], like=[path]).vector, by_id.vector)
    assert seen(sources) == {"photos": 0, "sketches": 0}


def test_a_photo_from_elsewhere_is(sources, tmp_path):
    path = tmp_path / "green.png"
    photo("green").save(path)
    query = make_query(sources, [], like=[path])
    expected = ColourEncoder().photos(read_pixels(path, ColourEncoder.image_size)[None])[0]
    np.testing.assert_allclose(query.vector, expected, atol=1e-6)
    assert seen(sources) == {"photos": 1, "sketches": 0}


def test_what_is_not_wanted(sources, tmp_path):
    photo("green").save(tmp_path / "green.png")
    query = make_query(sources, [CROSS], unlike=[1, tmp_path / "green.png"], not_drawings=[BAR])
    green = ColourEncoder().photos(read_pixels(tmp_path / "green.png", 32)[None])[0]
    unwanted = np.stack([drawn(BAR), sources.view.vector(1), green])
    np.testing.assert_allclose(query.vector, combine(drawn(CROSS)[None], unwanted), atol=1e-6)
    assert query.without == (1,)  # what is not in the gallery need not be left out


def test_an_id_that_no_photo_has(sources):
    with pytest.raises(DataError, match=r"no photo 7 in .*photos\.msedge"):
        make_query(sources, [], like=[7])


def test_nothing_asked(sources):
    with pytest.raises(ConfigError, match="nothing to look for"):
        make_query(sources, [], unlike=[1])


@pytest.mark.parametrize("wrong", [Image.new("RGB", (9, 9)), 1.5, None, CROSS])
def test_a_photo_is_an_id_or_a_path(sources, wrong):
    with pytest.raises(ConfigError, match=r"a photo cannot be a .* not_sketch"):
        make_query(sources, [CROSS], unlike=[wrong])


def test_a_bad_drawing_is_told_before_the_weights_are_loaded(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(OwnEncoder, "get", lambda _: pytest.fail("loaded"))
    with pytest.raises(DataError, match=r"missing\.png"):
        make_query(sources, [CROSS, tmp_path / "missing.png"])
