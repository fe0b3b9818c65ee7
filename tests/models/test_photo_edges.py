from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from msedge.data.images import as_pixels
from msedge.data.sample import SAMPLE_CLASSES, draw_photo
from msedge.data.transforms import to_unit_range
from msedge.errors import ShapeError
from msedge.models import edges
from msedge.models.photo_edges import edge_view

PIXELS = arrays(
    np.uint8, st.tuples(st.integers(1, 3), st.just(3), st.integers(2, 9), st.integers(2, 9))
)


def drawn_in_training(pixels: np.ndarray) -> np.ndarray:
    return edges.edge_view(to_unit_range(torch.from_numpy(pixels))).numpy()


class TestEdges:
    def test_shape_and_range(self):
        pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 20, 30), dtype=np.uint8)
        drawn = edge_view(pixels)
        assert (drawn.shape, drawn.dtype) == ((2, 3, 20, 30), np.float32)
        assert drawn.min() == 0
        assert drawn.max() <= 1

    def test_no_photos(self):
        assert edge_view(np.empty((0, 3, 8, 8), np.uint8)).shape == (0, 3, 8, 8)

    @pytest.mark.parametrize(
        "pixels",
        [
            np.zeros((3, 8, 8), np.uint8),
            np.zeros((1, 1, 8, 8), np.uint8),
            np.zeros((1, 3, 8, 8), np.float32),
        ],
        ids=["one photo", "grey", "floats"],
    )
    def test_other_arrays(self, pixels):
        with pytest.raises(ShapeError, match="edges need uint8 pixels of shape"):
            edge_view(pixels)

    @pytest.mark.parametrize("name", SAMPLE_CLASSES[:4])
    def test_photos_as_in_training(self, name):
        image = draw_photo(name, np.random.default_rng(3), 96)
        pixels = as_pixels(image)[None]
        np.testing.assert_allclose(edge_view(pixels), drawn_in_training(pixels), atol=1e-5)

    @given(PIXELS)
    def test_noise_as_in_training(self, pixels):
        np.testing.assert_allclose(edge_view(pixels), drawn_in_training(pixels), atol=1e-5)

    @pytest.mark.parametrize("step", [0, 1, 2, 3, 255])
    def test_a_faint_edge_as_in_training(self, step):
        pixels = np.full((1, 3, 12, 12), 100, np.uint8)
        pixels[..., 6:] = min(100 + step, 255)
        np.testing.assert_allclose(edge_view(pixels), drawn_in_training(pixels), atol=1e-5)

    def test_each_photo_by_itself(self):
        pixels = np.random.default_rng(1).integers(0, 256, (5, 3, 16, 16), dtype=np.uint8)
        pixels[2] //= 32
        one_by_one = np.concatenate([edge_view(photo[None]) for photo in pixels])
        np.testing.assert_array_equal(edge_view(pixels), one_by_one)

    def test_a_flat_photo_has_no_edges(self):
        assert (edge_view(np.full((1, 3, 8, 8), 77, np.uint8)) == 1).all()
