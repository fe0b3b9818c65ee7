"""Images to vectors in order, and vectors to the figures that are printed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from msedge.data.datasets import ImageSet
from msedge.data.images import read_pixels, resized
from msedge.data.layouts import read_dataset
from msedge.data.vectors import Vectors
from msedge.models.edges import edge_view
from msedge.models.network import MSEdge
from msedge.training.embedding import embed, in_percent, judge
from msedge.training.frozen_cache import FrozenCache

CPU = torch.device("cpu")


@pytest.fixture
def images(tiny_root) -> ImageSet:
    split = read_dataset(tiny_root, "tiny").val
    return ImageSet(split.records, split.classes, size=32)


@pytest.fixture
def network() -> MSEdge:
    torch.manual_seed(0)
    return MSEdge("test_efficientnet", dim=8, image_size=32)


def vectors_of(embeddings: np.ndarray, labels: list[int], domains: list[int]) -> Vectors:
    return Vectors(
        embeddings.astype(np.float32),
        np.array(labels),
        np.array(domains),
        ("ape", "bee"),
        tuple(f"{row}.png" for row in range(len(labels))),
    )


class TestEmbed:
    def test_rows_are_the_set_s(self, images, network):
        vectors = embed(network, images, device=CPU, batch_size=7)
        assert vectors.embeddings.shape == (len(images), 8)
        assert vectors.embeddings.dtype == np.float32
        assert vectors.paths == tuple(str(record.path) for record in images.records)
        names = [record.class_name for record in images.records]
        assert [vectors.classes[label] for label in vectors.labels] == names
        assert [record.domain == "photo" for record in images.records] == vectors.domains.tolist()

    def test_an_edge_view_is_added_to_photos_alone(self, images, network):
        plain = embed(network, images, device=CPU)
        added = embed(network, images, device=CPU, edge_weight=0.5)
        photos, sketches = plain.of("photo"), plain.of("sketch")
        assert added.embeddings[sketches].tolist() == plain.embeddings[sketches].tolist()
        row = int(photos[3])
        pixels = torch.from_numpy(read_pixels(images.records[row].path, 32))[None] / 255
        with torch.inference_mode():
            both = network(pixels)[0] + 0.5 * network(edge_view(pixels))[0]
        expected = (both / both.norm()).numpy()
        assert added.embeddings[row] == pytest.approx(expected, abs=1e-5)
        assert np.abs(added.embeddings[row] - plain.embeddings[row]).max() > 1e-3

    @pytest.mark.parametrize("edge_weight", [0.0, 0.5])
    def test_kept_blocks_give_the_same_without_reading(
        self, images, network, edge_weight, monkeypatch
    ):
        options = {"device": CPU, "edge_weight": edge_weight}
        expected = embed(network, images, **options)
        cache = FrozenCache(
            network.eval(), images, blocks=4, views=(edge_view,), limit_gb=1, device=CPU
        )
        for way in ("pixels", "stream"):
            monkeypatch.setattr(images, way, None)
        found = embed(network, images, frozen=cache, **options)
        assert found.embeddings == pytest.approx(expected.embeddings, abs=5e-3)
        assert found.paths == expected.paths

    @pytest.mark.parametrize("sizes", [(64,), (32, 64)])
    def test_photos_in_their_own_shape(self, images, network, sizes):
        """Each as if it were alone, whatever shapes are together; sketches as before."""
        for row in np.flatnonzero(images.domains)[::2]:
            path = images.records[row].path
            Image.open(path).resize((90, 40)).save(path)
        squares = embed(network, images, device=CPU)
        options = {"edge_weight": 0.5, "photo_sizes": sizes, "batch_size": 7}
        found = embed(network, images, device=CPU, **options)
        cache = FrozenCache(network.eval(), images, blocks=4, views=(), limit_gb=1, device=CPU)
        kept = embed(network, images, device=CPU, frozen=cache, **options)
        assert kept.embeddings == pytest.approx(found.embeddings, abs=5e-3)
        for row, record in enumerate(images.records):
            if record.domain == "sketch":
                assert found.embeddings[row] == pytest.approx(squares.embeddings[row], abs=1e-5)
                continue
            whole, vectors = read_pixels(record.path, 64, keep_shape=True), []
            for size in sizes:
                pixels = whole if size == 64 else resized(whole, size)
                image = torch.from_numpy(pixels.copy())[None] / 255
                with torch.inference_mode():
                    both = network(image)[0] + 0.5 * network(edge_view(image))[0]
                vectors.append(both / both.norm())
            mean = torch.stack(vectors).mean(dim=0)
            assert found.embeddings[row] == pytest.approx((mean / mean.norm()).numpy(), abs=1e-5)

    @pytest.mark.parametrize("batch_size", [1, 7, 64])
    def test_each_row_is_its_image_embedded(self, images, network, batch_size):
        vectors = embed(network, images, device=CPU, batch_size=batch_size)
        for row in (0, 9, len(images) - 1):
            pixels = torch.from_numpy(read_pixels(images.records[row].path, 32))[None] / 255
            with torch.inference_mode():
                alone = network(pixels)[0].numpy()
            assert vectors.embeddings[row] == pytest.approx(alone, abs=1e-5)

    def test_network_is_left_judging_and_unchanged(self, images, network):
        network.train()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        embed(network, images, device=CPU)
        assert not any(module.training for module in network.modules())
        assert all(torch.equal(before[n], t) for n, t in network.state_dict().items())

    def test_half_precision_networks_give_float32(self, images):
        class Halving(nn.Module):
            def forward(self, pixels: torch.Tensor) -> torch.Tensor:
                return pixels.mean(dim=(2, 3)).bfloat16()

        assert embed(Halving(), images, device=CPU).embeddings.dtype == np.float32

    def test_reports_progress(self, images, network):
        seen: list[tuple[int, int]] = []
        embed(network, images, device=CPU, batch_size=10, progress=lambda *move: seen.append(move))
        assert seen == [(10, 24), (20, 24), (24, 24)]


class TestJudge:
    def test_sketches_ask_and_photos_are_ranked(self):
        """One sketch a class; the second one finds the other class's photo first."""
        embeddings = np.array([[1, 0], [0.8, 0.6], [1, 0], [0, 1]])
        metrics = judge(vectors_of(embeddings, [0, 1, 0, 1], [0, 0, 1, 1]))
        assert (metrics.queries, metrics.gallery) == (2, 2)
        assert metrics.map_all == pytest.approx((1 + 1 / 2) / 2)

    def test_perfect_vectors(self):
        labels = [0, 1] * 4
        metrics = judge(vectors_of(np.eye(2)[labels], labels, [0, 0, 0, 0, 1, 1, 1, 1]))
        assert in_percent(metrics) == {
            "mAP@200": 100,
            "mAP@all": 100,
            "P@100": 2,
            "P@200": 1,
            "P@10": 20,
            "P@25": 8,
        }

    def test_paper_s_four_come_first(self):
        metrics = judge(vectors_of(np.eye(4), [0, 1, 0, 1], [0, 0, 1, 1]))
        assert list(in_percent(metrics)) == ["mAP@200", "mAP@all", "P@100", "P@200", "P@10", "P@25"]
