"""Edge maps against a Sobel operator written out in NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from msedge.errors import ShapeError
from msedge.models.edges import edge_map, edge_pyramid, edge_view, edge_views, line_view

KORNIAS_EPSILON = 5e-3  # its square root rounds faint edges off, by at most 1e-3 of the slope


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def step(height: int = 8, width: int = 8) -> torch.Tensor:
    """Black on the left half, white on the right."""
    image = torch.zeros(1, 3, height, width)
    image[..., width // 2 :] = 1
    return image


def sobel_by_hand(images: np.ndarray) -> np.ndarray:
    """Length of the gradient by the Sobel operator, borders repeated, strongest channel taken."""
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    padded = np.pad(images.astype(np.float64), [(0, 0), (0, 0), (1, 1), (1, 1)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    horizontal = (windows * across).sum(axis=(4, 5))
    vertical = (windows * across.T).sum(axis=(4, 5))
    return np.hypot(horizontal, vertical).max(axis=1, keepdims=True)


class TestSmoke:
    def test_a_step_is_an_edge_and_flat_areas_are_none(self):
        (edges,) = edge_map(step())[0]
        assert torch.equal(edges[:, 3:5], torch.ones(8, 2))
        assert edges[:, :3].abs().max() < 1e-6
        assert edges[:, 5:].abs().max() < 1e-6

    @pytest.mark.parametrize("value", [0.0, 0.1, 0.5, 1.0])
    def test_a_flat_image_has_no_edge(self, value):
        assert edge_map(torch.full((2, 3, 9, 7), value)).abs().max() < 1e-6

    def test_an_edge_view_is_dark_on_white(self):
        view = edge_view(step())
        assert (view[..., 3:5] == 0).all()
        assert view[..., :3].min() > 1 - 1e-5
        assert view[..., 5:].min() > 1 - 1e-5


class TestExceptions:
    @pytest.mark.parametrize("shape", [(3, 8, 8), (2, 1, 8, 8), (2, 4, 8, 8), (1, 2, 3, 8, 8)])
    @pytest.mark.parametrize("function", [edge_map, edge_view])
    def test_needs_batches_of_colour_images(self, function, shape):
        with pytest.raises(ShapeError, match=r"\(B, 3, H, W\), got \(") as caught:
            function(torch.zeros(shape))
        assert str(shape) in str(caught.value)


class TestCardinality:
    @pytest.mark.parametrize(
        ("batch", "height", "width"), [(1, 8, 8), (3, 5, 11), (2, 1, 1), (0, 8, 8)]
    )
    def test_one_map_an_image(self, batch, height, width):
        images = noise(batch, 3, height, width)
        assert edge_map(images).shape == (batch, 1, height, width)
        assert edge_view(images).shape == (batch, 3, height, width)

    def test_one_map_a_stage(self):
        sizes = [(8, 8), (4, 4), (3, 5), (1, 1), (40, 40)]
        pyramid = edge_pyramid(noise(2, 3, 32, 32), sizes)
        assert [tuple(edges.shape) for edges in pyramid] == [(2, 1, *size) for size in sizes]


class TestNumbers:
    def test_agrees_with_sobel_by_hand(self):
        images = noise(4, 3, 12, 17)
        expected = sobel_by_hand(images.numpy())
        expected /= expected.max(axis=(2, 3), keepdims=True)
        np.testing.assert_allclose(edge_map(images).numpy(), expected, atol=KORNIAS_EPSILON)

    def test_the_strongest_channel_counts(self):
        coloured = torch.zeros(1, 3, 8, 8)
        coloured[:, 2] = step()[:, 0]
        torch.testing.assert_close(edge_map(coloured), edge_map(step()))

    def test_brightness_does_not_count(self):
        images = noise(2, 3, 16, 16)
        expected = edge_map(images)
        torch.testing.assert_close(edge_map(images * 0.3), expected, atol=0.01, rtol=0)
        torch.testing.assert_close(edge_map(images * 0.5 + 0.5), expected, atol=0.01, rtol=0)

    def test_noise_too_faint_to_see_is_not_stretched_into_edges(self):
        assert edge_map(0.5 + 0.002 * noise(1, 3, 16, 16)).max() < 0.1

    def test_each_image_has_its_own_scale(self):
        strong, faint = step(), step() * 0.2
        both = edge_map(torch.cat([strong, faint]))
        torch.testing.assert_close(both[:1], edge_map(strong))
        torch.testing.assert_close(both[1:], edge_map(faint))
        assert both.amax(dim=(1, 2, 3)).tolist() == [1, 1]

    def test_a_pyramid_keeps_the_mean_where_the_size_divides(self):
        images = noise(2, 3, 32, 32)
        mean = edge_map(images).mean(dim=(2, 3))
        for edges in edge_pyramid(images, [(32, 32), (16, 8), (4, 4), (1, 1)]):
            torch.testing.assert_close(edges.mean(dim=(2, 3)), mean)

    def test_a_pyramid_averages_over_areas(self):
        images = noise(2, 3, 12, 12)
        (edges,) = edge_pyramid(images, [(3, 4)])
        expected = edge_map(images).numpy().reshape(2, 1, 3, 4, 4, 3).mean(axis=(3, 5))
        np.testing.assert_allclose(edges.numpy(), expected, atol=1e-6)

    def test_a_view_is_grey_and_black_from_two_thirds_on(self):
        images = noise(2, 3, 16, 16)
        view, edges = edge_view(images), edge_map(images)
        assert torch.equal(view, view[:, :1].expand(-1, 3, -1, -1))
        assert torch.equal(view[:, :1] == 0, edges * 1.5 >= 1)
        grey = edges < 2 / 3 - 1e-6
        torch.testing.assert_close(view[:, :1][grey], 1 - 1.5 * edges[grey])
        assert 0 <= view.min() < view.max() <= 1


class TestGradients:
    @pytest.mark.parametrize("images", [noise(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5), step()])
    def test_are_finite_also_where_flat(self, images):
        images = images.clone().requires_grad_()
        edge_view(images).sum().backward()
        assert torch.isfinite(images.grad).all()

    def test_agree_with_differences(self):
        images = noise(1, 3, 4, 5, seed=3).double().requires_grad_()
        assert torch.autograd.gradcheck(edge_map, images)


class TestLineView:
    def test_shape_range_and_white_where_nothing_is(self):
        torch.manual_seed(0)
        drawn = line_view(torch.rand(2, 3, 48, 32), sigma=1.5, share=0.05)
        assert drawn.shape == (2, 3, 48, 32)
        assert 0 <= drawn.min() < 0.5
        assert drawn.max() == 1
        flat = line_view(torch.full((1, 3, 48, 48), 0.3), sigma=1.5, share=0.05)
        assert (flat == 1).all()

    @pytest.mark.parametrize("sigma", [1.5, 3.0])
    def test_a_square_is_drawn_along_its_border(self, sigma):
        images = torch.ones(1, 3, 96, 96)
        images[:, :, 24:72, 24:72] = 0.2
        ink = line_view(images, sigma=sigma, share=0.03)[0, 0] < 0.5
        away = torch.ones(96, 96, dtype=torch.bool)
        away[19:77, 19:77] = False
        away[30:66, 30:66] = True
        assert not ink[away].any()
        for row in range(32, 64):  # crossed once on each side
            assert ink[row, 19:30].any()
            assert ink[row, 66:77].any()

    def test_contrast_does_not_change_the_lines(self):
        torch.manual_seed(0)
        images = torch.rand(1, 3, 64, 64)
        strong = line_view(images, sigma=2.0, share=0.05)
        weak = line_view(0.3 + 0.4 * images, sigma=2.0, share=0.05)
        assert ((strong < 0.5) == (weak < 0.5)).float().mean() > 0.99

    def test_pieces_with_little_about_them_are_dropped(self, monkeypatch):
        torch.manual_seed(0)
        images = torch.rand(4, 3, 96, 96)
        kept = line_view(images, sigma=1.5, share=0.01) < 0.5
        monkeypatch.setattr("msedge.models.edges._LEAST", 0)
        everything = line_view(images, sigma=1.5, share=0.01) < 0.5
        assert not (kept & ~everything).any()
        assert 0 < kept.sum() < everything.sum()

    def test_a_coarser_blur_leaves_fewer_lines(self):
        torch.manual_seed(0)
        images = torch.rand(1, 3, 96, 96)
        fine, coarse = (
            (line_view(images, sigma=sigma, share=0.05) < 0.5).sum() for sigma in (1.0, 3.0)
        )
        assert coarse < fine

    def test_wrong_shape_is_said(self):
        with pytest.raises(ShapeError, match=r"\(B, 3, H, W\)"):
            line_view(torch.rand(1, 1, 8, 8), sigma=1.5, share=0.05)


class TestEdgeViews:
    @pytest.mark.parametrize(("name", "count"), [("sobel", 1), ("lines", 2), ("all", 3)])
    def test_each_name_has_its_own(self, name, count):
        torch.manual_seed(0)
        images = torch.rand(2, 3, 64, 64)
        drawn = [view(images) for view in edge_views(name)]
        assert len(drawn) == count
        for first, second in itertools.combinations(drawn, 2):
            assert (first - second).abs().mean() > 0.01
        assert torch.equal(edge_views("all")[0](images), edge_view(images))
