"""Batched transforms, against arithmetic on the pixels."""

from __future__ import annotations

import pytest
import torch

from msedge.data.transforms import compose, mirror, to_unit_range


def mirror_half(images):
    return mirror(images, torch.rand(len(images)) < 0.5)


class TestSmoke:
    def test_every_value_of_a_byte(self):
        pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
        images = to_unit_range(pixels)
        assert images.dtype == torch.float32
        assert images[0, 2].flatten().tolist() == pytest.approx([v / 255 for v in range(256)])

    def test_memory_is_channels_last(self):
        images = to_unit_range(torch.zeros(2, 3, 4, 5, dtype=torch.uint8))
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert not images.is_contiguous()

    def test_each_image_is_itself_or_its_mirror(self):
        torch.manual_seed(0)
        images = torch.rand(64, 3, 5, 7)
        mirrors = torch.stack([image[:, :, torch.arange(6, -1, -1)] for image in images])
        result = mirror_half(images)
        kept = (result == images).all(dim=(1, 2, 3))
        mirrored = (result == mirrors).all(dim=(1, 2, 3))
        assert (kept ^ mirrored).all()
        assert kept.any()
        assert mirrored.any()


class TestCardinality:
    @pytest.mark.parametrize("shape", [(1, 3, 4, 4), (3, 3, 5, 2), (0, 3, 4, 4)])
    def test_shapes_stay(self, shape):
        assert to_unit_range(torch.zeros(shape, dtype=torch.uint8)).shape == shape
        assert mirror_half(torch.zeros(shape)).shape == shape

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32])
    def test_mirroring_keeps_the_type(self, dtype):
        assert mirror_half(torch.zeros(2, 3, 4, 4).to(dtype)).dtype == dtype


class TestNumbers:
    def test_half_are_mirrored(self):
        torch.manual_seed(0)
        images = torch.tensor([0.0, 1.0]).expand(10_000, 3, 1, 2)
        share = mirror_half(images)[:, 0, 0, 0].mean().item()
        assert share == pytest.approx(0.5, abs=0.02)  # four standard deviations

    @pytest.mark.parametrize("shape", [(9, 3, 4, 6), (9, 3, 8, 8), (5, 3, 5, 7), (1, 3, 8, 3)])
    @pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
    def test_bytes_of_any_size_in_any_order(self, shape, memory):
        torch.manual_seed(2)
        images = torch.randint(0, 256, shape, dtype=torch.uint8).contiguous(memory_format=memory)
        mirrored = torch.rand(len(images)) < 0.5
        expected = images.numpy().copy()
        expected[mirrored.numpy()] = expected[mirrored.numpy()][..., ::-1]
        assert torch.equal(mirror(images, mirrored), torch.from_numpy(expected))
        assert torch.equal(
            mirror(images, torch.ones(len(images), dtype=torch.bool)), images.flip(3)
        )

    def test_torchs_seed_decides(self):
        images = torch.rand(32, 3, 4, 4)
        torch.manual_seed(1)
        first, second = mirror_half(images), mirror_half(images)
        torch.manual_seed(1)
        assert torch.equal(mirror_half(images), first)
        assert torch.equal(mirror_half(images), second)
        assert not torch.equal(first, second)

    def test_what_was_given_is_not_changed(self):
        images = torch.rand(16, 3, 4, 4)
        before = images.clone()
        mirror_half(images)
        assert torch.equal(images, before)


class TestCompose:
    """Of four photos of one grey each, 0.1 to 0.4."""

    PARTS = torch.tensor([0.1, 0.2, 0.3, 0.4]).view(1, 4, 1, 1, 1).expand(1, 4, 3, 12, 12)

    def made(self, share, place=(0.0, 0.0)):
        made = compose(self.PARTS, torch.tensor([share]), torch.tensor([place]), 20)
        assert made.shape == (1, 3, 20, 20)
        assert made.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(made[:, :1].expand_as(made), made)
        return made[0, 0]

    def test_mosaic_in_reading_order(self):
        expected = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).repeat_interleave(10, 0)
        torch.testing.assert_close(self.made(0.0), expected.repeat_interleave(10, 1))

    @pytest.mark.parametrize(
        ("share", "place", "left", "top", "side"),
        [
            (0.25, (0.0, 0.0), 0, 0, 5),
            (0.25, (1.0, 1.0), 15, 15, 5),
            (0.4, (0.5, 0.0), 6, 0, 8),
            (1.0, (0.3, 0.7), 0, 0, 20),
        ],
    )
    def test_the_first_in_the_last(self, share, place, left, top, side):
        expected = torch.full((20, 20), 0.4)
        expected[top : top + side, left : left + side] = 0.1
        torch.testing.assert_close(self.made(share, place), expected)

    def test_of_none(self):
        made = compose(self.PARTS[:0], torch.zeros(0), torch.zeros(0, 2), 20)
        assert made.shape == (0, 3, 20, 20)


class TestGradients:
    def test_go_through_a_mirror_to_where_they_came_from(self):
        torch.manual_seed(0)
        images = torch.rand(16, 3, 2, 4, requires_grad=True)
        columns = torch.tensor([1.0, 2.0, 3.0, 4.0])
        result = mirror_half(images)
        (result * columns).sum().backward()
        mirrored = (result != images).any(dim=3).any(dim=2).any(dim=1)
        assert mirrored.any()
        assert torch.equal(images.grad[~mirrored], columns.expand(int((~mirrored).sum()), 3, 2, 4))
        assert torch.equal(
            images.grad[mirrored], columns.flip(0).expand(int(mirrored.sum()), 3, 2, 4)
        )
