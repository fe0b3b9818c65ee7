"""Photos to calibrate on and to check with: chosen by seed, never both, shown as search does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msedge.errors import DataError
from msedge.models.photo_edges import edge_view
from msedge.search import calibration
from msedge.search.calibration import ViewedPhotos, choose_photos


@pytest.fixture
def folder(tmp_path) -> list[Path]:
    """Forty photos, each of its own colour."""
    paths = [tmp_path / f"{row}.png" for row in range(40)]
    for row, path in enumerate(paths):
        Image.new("RGB", (9, 9), (row, 100, 200)).save(path)
    return paths


def colours(photos: ViewedPhotos) -> list[int]:
    return [int(photo[0, 0, 0]) for photo in photos.pixels]


class TestChoice:
    def test_each_photo_once_on_one_side(self, folder):
        chosen = choose_photos(folder, 8)
        assert (len(chosen.held_out.pixels), len(chosen.calibration.pixels)) == (10, 30)
        assert sorted(colours(chosen.held_out) + colours(chosen.calibration)) == list(range(40))
        assert chosen.unreadable == 0

    def test_a_seed_chooses(self, folder):
        first, again, other = (choose_photos(folder, 8, seed=seed) for seed in (1, 1, 2))
        assert colours(first.held_out) == colours(again.held_out) != colours(other.held_out)

    def test_no_more_than_are_of_use(self, folder, monkeypatch):
        monkeypatch.setattr(calibration, "MOST", 27)
        monkeypatch.setattr(calibration, "_HELD_OUT", 6)
        chosen = choose_photos(folder, 8)
        assert (len(chosen.held_out.pixels), len(chosen.calibration.pixels)) == (6, 27)

    def test_others_take_the_place_of_what_cannot_be_read(self, folder, monkeypatch):
        monkeypatch.setattr(calibration, "MOST", 26)
        monkeypatch.setattr(calibration, "_HELD_OUT", 6)
        for path in folder[:8]:
            path.write_bytes(b"no photo")
        chosen = choose_photos(folder, 8)
        assert len(chosen.calibration.pixels) + len(chosen.held_out.pixels) == 32
        assert 0 < chosen.unreadable <= 8

    def test_too_few(self, folder):
        folder[3].unlink()
        with pytest.raises(DataError, match=r"at least 32 photos are needed .* 31 can be read"):
            choose_photos(folder[:32], 8)

    def test_progress(self, folder):
        moves: list[tuple[int, int]] = []
        choose_photos(folder, 8, progress=lambda done, total: moves.append((done, total)))
        assert moves == [(row, 40) for row in range(1, 41)]


class TestViews:
    def test_photos_and_their_edges_in_one_batch(self):
        pixels = np.random.default_rng(0).integers(0, 256, (10, 3, 8, 8), dtype=np.uint8)
        batches = list(ViewedPhotos(pixels))
        assert [len(batch) for batch in batches] == [8, 8, 4]
        photos = np.concatenate([batch[: len(batch) // 2] for batch in batches])
        edges = np.concatenate([batch[len(batch) // 2 :] for batch in batches])
        assert photos.dtype == edges.dtype == np.float32
        np.testing.assert_allclose(photos * 255, pixels, atol=1e-4)
        np.testing.assert_array_equal(edges, edge_view(pixels))

    def test_a_part_of_them(self):
        photos = ViewedPhotos(np.zeros((10, 3, 8, 8), np.uint8))
        assert [len(batch) for batch in photos[1:]] == [8, 4]
        assert len(photos[-1]) == 4
        with pytest.raises(IndexError):
            photos[3]
