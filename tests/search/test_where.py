"""The box of a photo that answers a query: its place, and which photos have one."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import msedge
from cards import CARD
from encoders import ColourEncoder, PlacedEncoder
from msedge.data.images import read_pixels
from msedge.data.sample import draw_photo
from msedge.errors import ConfigError
from msedge.models.checkpoint import save_checkpoint
from msedge.models.network import MSEdge
from msedge.models.onnx_export import export_onnx
from msedge.search.encoder import OnnxEncoder
from msedge.search.indexing import index
from msedge.search.where import Box, box_bytes, box_of

CROSS = [([0, 10], [0, 10]), ([0, 10], [10, 0])]
RED, GREEN, GREY = (230, 10, 10), (20, 220, 20), (128, 128, 128)
WISH = np.array([1, 0], np.float32)


def told(like: np.ndarray) -> np.ndarray:
    """Places ``(2, h, w)`` whose similarities to :data:`WISH` are these."""
    return np.stack([like, np.sqrt(1 - like**2)]).astype(np.float32)


def boxed(like: np.ndarray) -> Box:
    return box_of(told(like), WISH)


def scene(place: tuple[int, int, int, int], size=(400, 300), ground=GREY) -> Image.Image:
    """A photo with something red in it, and something green at its upper left."""
    image = Image.new("RGB", size, ground)
    image.paste(GREEN, (0, 0, size[0] // 8, size[1] // 8))
    image.paste(RED, place)
    return image


def assert_near(box: Box, place: tuple[int, int, int, int], size=(400, 300)) -> None:
    """Within two places of the grid, which are some 32 pixels wide."""
    for found, pixel, side in zip(
        (box.left, box.top, box.right, box.bottom), place, (*size, *size), strict=True
    ):
        assert abs(found - pixel / side) < 2 * 32 / min(size)


class TestBox:
    def test_of_one_thing(self):
        like = np.zeros((8, 16))
        like[2:5, 10:13] = 0.8
        assert boxed(like) == Box(10 / 16, 2 / 8, 13 / 16, 5 / 8)

    def test_what_is_most_like_it_and_not_all_that_is(self):
        like = np.zeros((10, 16))
        like[2:5, 2:5], like[5:8, 9:14] = 0.9, 0.8
        assert boxed(like) == Box(2 / 16, 2 / 10, 5 / 16, 5 / 10)

    def test_at_the_edge(self):
        """Beyond it lies nothing that would count."""
        like = np.zeros((8, 8))
        like[:2, :2] = 1
        assert boxed(like) == Box(0, 0, 0.25, 0.25)

    def test_one_place_alone_is_less_than_several(self):
        like = np.zeros((11, 11))
        like[2, 2], like[6:9, 6:9] = 0.9, 0.6
        assert boxed(like) == Box(6 / 11, 6 / 11, 9 / 11, 9 / 11)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 9)])
    def test_where_all_is_alike_it_is_the_whole(self, shape):
        box = boxed(np.full(shape, 0.3))
        assert box == Box(0, 0, 1, 1)
        assert box.is_whole
        assert not boxed(np.eye(9)[:6]).is_whole

    @given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
    def test_mirrored_and_turned(self, seed, high, wide):
        like = np.random.default_rng(seed).uniform(-1, 1, (high, wide))
        box, mirrored, turned = boxed(like), boxed(like[:, ::-1]), boxed(like.T)
        assert 0 <= box.left < box.right <= 1
        assert 0 <= box.top < box.bottom <= 1
        assert (1 - mirrored.right, mirrored.top) == pytest.approx((box.left, box.top))
        assert (1 - mirrored.left, mirrored.bottom) == pytest.approx((box.right, box.bottom))
        assert (turned.left, turned.top) == (box.top, box.left)
        assert (turned.right, turned.bottom) == (box.bottom, box.right)


PLACES = {
    "left.png": (50, 150, 150, 250),
    "right.png": (250, 40, 350, 140),
    "tall.png": (100, 300, 200, 400),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, place in PLACES.items():
        scene(place, (300, 400) if name == "tall.png" else (400, 300)).save(folder / name)
    return folder


@pytest.fixture
def gallery(folder: Path, tmp_path: Path):
    """Three photos, ids 1 to 3 in the order of their names."""
    index([folder], tmp_path / "photos.msedge", PlacedEncoder())
    with msedge.Gallery.open(tmp_path / "photos.msedge", model=PlacedEncoder()) as opened:
        yield opened


def ids(gallery) -> dict[str, int]:
    return {hit.photo.path.name: hit.photo.id for hit in gallery.search([CROSS], collapse=False)}


class TestGallery:
    def test_of_what_a_drawing_finds(self, gallery):
        known = ids(gallery)
        assert set(known) == set(PLACES)
        boxes = gallery.where(list(known.values()), [CROSS])
        assert set(boxes) == set(known.values())
        for name, photo in known.items():
            size = (300, 400) if name == "tall.png" else (400, 300)
            assert_near(boxes[photo], PLACES[name], size)

    def test_by_a_photo(self, gallery, tmp_path):
        Image.new("RGB", (64, 64), GREEN).save(tmp_path / "green.png")
        known = ids(gallery)
        boxes = gallery.where([known["left.png"]], like=[tmp_path / "green.png"])
        assert_near(boxes[known["left.png"]], (0, 0, 50, 37))

    def test_by_less_of_one(self, gallery, tmp_path):
        """The same query as a search's: what is not wanted counts."""
        Image.new("RGB", (64, 64), RED).save(tmp_path / "red.png")
        Image.new("RGB", (64, 64), (200, 200, 20)).save(tmp_path / "both.png")
        known = ids(gallery)
        boxes = gallery.where(
            [known["left.png"]], like=[tmp_path / "both.png"], unlike=[tmp_path / "red.png"]
        )
        assert_near(boxes[known["left.png"]], (0, 0, 50, 37))

    def test_of_a_photo_that_the_camera_turned(self, folder, tmp_path):
        lying, exif = scene((50, 150, 150, 250)).transpose(Image.Transpose.ROTATE_90), Image.Exif()
        exif[0x0112] = 6  # to be turned to the right, back to how it was
        lying.save(folder / "turned.jpg", exif=exif, quality=95)
        index([folder], tmp_path / "own.msedge", PlacedEncoder())
        with msedge.Gallery.open(tmp_path / "own.msedge", model=PlacedEncoder()) as gallery:
            photo = ids(gallery)["turned.jpg"]
            assert_near(gallery.where([photo], [CROSS])[photo], (50, 150, 150, 250))

    def test_photos_that_are_gone_changed_or_unknown_are_left_out(self, gallery, folder):
        known = ids(gallery)
        (folder / "left.png").unlink()
        scene((10, 20, 60, 70)).save(folder / "right.png")
        assert set(gallery.where([*known.values(), 999], [CROSS])) == {known["tall.png"]}
        (folder / "tall.png").write_bytes(b"no photo")
        assert gallery.where(list(known.values()), [CROSS]) == {}

    def test_a_photo_in_a_tar(self, folder, tmp_path):
        (tmp_path / "tars").mkdir()
        with tarfile.open(tmp_path / "tars/a.tar", "w") as tar:
            tar.add(folder / "right.png", "right.png")
        index([tmp_path / "tars"], tmp_path / "own.msedge", PlacedEncoder())
        with msedge.Gallery.open(tmp_path / "own.msedge", model=PlacedEncoder()) as gallery:
            assert_near(gallery.where([1], [CROSS])[1], PLACES["right.png"])

    def test_nothing_to_look_for(self, gallery):
        with pytest.raises(ConfigError, match="nothing to look for"):
            gallery.where([1])

    def test_a_model_that_tells_no_places(self, folder, tmp_path):
        index([folder], tmp_path / "own.msedge", ColourEncoder())
        with msedge.Gallery.open(tmp_path / "own.msedge", model=ColourEncoder()) as gallery:
            assert not gallery.tells_places
            assert gallery.where([1, 2, 3], [CROSS]) == {}

    def test_memory_that_reading_takes(self, gallery, folder):
        photo = gallery.photo(ids(gallery)["left.png"])
        assert box_bytes(photo, PlacedEncoder()) > 400 * 300 * 3
        (folder / "left.png").unlink()
        assert box_bytes(photo, PlacedEncoder()) == 0


def test_a_real_network(tmp_path):
    """Its places of the file's own pixels, against the query's vector."""
    torch.manual_seed(0)
    card = CARD.model_copy(
        update={"image_size": 64, "dim": 12, "photo_sizes": (160,), "fusion": "none"}
    )
    network = MSEdge(card.backbone, dim=12, fusion="none", image_size=64)
    network(torch.rand(4, 3, 64, 64))
    save_checkpoint(tmp_path / "net.safetensors", network.eval(), card)
    export_onnx(tmp_path / "net.safetensors", tmp_path / "net.onnx")
    encoder = OnnxEncoder.load(tmp_path / "net.onnx")
    path = tmp_path / "photos" / "cup.png"
    path.parent.mkdir()
    cup = draw_photo("cup", np.random.default_rng(0), 240).convert("RGB")
    cup.crop((0, 0, 240, 160)).save(path)
    index([path.parent], tmp_path / "photos.msedge", encoder)
    with msedge.Gallery.open(tmp_path / "photos.msedge", model=encoder) as gallery:
        places = encoder.places(read_pixels(path, 160, keep_shape=True))
        assert places.shape == (12, 4, 6)
        query = gallery.query([CROSS])
        assert gallery.where([1], [CROSS]) == {1: box_of(places, query.vector)}
