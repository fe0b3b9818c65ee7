"""Kept maps against the network that made them."""

from __future__ import annotations

import pytest
import torch
from lightning_fabric import Fabric

from msedge.data.datasets import ImageSet
from msedge.data.layouts import DOMAINS, read_dataset
from msedge.data.transforms import to_unit_range
from msedge.errors import ConfigError
from msedge.models.edges import edge_views
from msedge.models.network import MSEdge
from msedge.training.frozen_cache import FrozenCache
from msedge.training.learner import Learner
from msedge.training.plan import plan_epoch

CPU = torch.device("cpu")
BLOCKS = 4


@pytest.fixture
def images(tiny_root) -> ImageSet:
    split = read_dataset(tiny_root, "tiny").train
    return ImageSet(split.records, split.classes, size=32)


def network_of(fusion: str = "edge", backbone: str = "test_efficientnet") -> MSEdge:
    torch.manual_seed(0)
    return MSEdge(backbone, dim=8, fusion=fusion, image_size=32).eval()


def cache_of(network: MSEdge, images: ImageSet, **changes) -> FrozenCache:
    options = {
        "blocks": BLOCKS,
        "views": edge_views("all"),
        "limit_gb": 1.0,
        "device": CPU,
    } | changes
    return FrozenCache(network, images, **options)


class TestNumbers:
    @pytest.mark.parametrize("fusion", ["none", "edge", "energy"])
    def test_images_and_views_embed_as_without_it(self, images, fusion):
        network = network_of(fusion)
        cache = cache_of(network, images)
        rows = torch.tensor([5, 0, len(images) - 1, 17])
        pixels = to_unit_range(images.pixels(rows))
        viewed = torch.nonzero(images.domains[rows] == DOMAINS.index("photo"))[:, 0]
        assert 0 < len(viewed) < len(rows)
        unmirrored = torch.zeros(len(rows) + len(viewed), dtype=torch.bool)
        with torch.inference_mode():
            for kind, view in enumerate(edge_views("all")):
                kinds = torch.full((len(viewed),), kind)
                found = network(cache.features(rows, viewed, kinds, unmirrored))
                expected = network(torch.cat([pixels, view(pixels[viewed])]))
                assert torch.allclose(found, expected, atol=5e-3)  # the maps are half floats
        assert (expected[0] - expected[1]).abs().max() > 0.05  # so the test can tell rows apart

    def test_mirroring_turns_the_maps(self, images):
        cache = cache_of(network_of(), images)
        rows, none = torch.tensor([3, 4]), torch.tensor([], dtype=torch.int64)
        plain = cache.features(rows, none, none, torch.tensor([False, False]))
        turned = cache.features(rows, none, none, torch.tensor([False, True]))
        for before, after in zip(
            [*plain.features, *plain.edges], [*turned.features, *turned.edges], strict=True
        ):
            assert torch.equal(after[0], before[0])
            assert torch.equal(after[1], before[1].flip(2))


class TestFolder:
    def test_a_second_run_reads_no_image(self, images, tmp_path, monkeypatch):
        monkeypatch.setattr(FrozenCache, "_check", lambda *_: None)
        first = cache_of(network_of(), images, folder=tmp_path)
        assert len(list(tmp_path.iterdir())) == 5  # photos, sketches, three ways of drawing edges
        monkeypatch.setattr(images, "pixels", None)
        second = cache_of(network_of(), images, folder=tmp_path)
        photos = torch.nonzero(images.domains == DOMAINS.index("photo"))[:2, 0]
        asked = (photos, torch.tensor([0, 1]), torch.tensor([2, 0]), torch.zeros(4) > 0)
        for before, after in zip(
            first.features(*asked).features, second.features(*asked).features, strict=True
        ):
            assert torch.equal(before, after)

    def test_other_weights_are_another_file(self, images, tmp_path):
        cache_of(network_of(), images, folder=tmp_path, views=())
        changed = network_of()
        changed.backbone.network.conv_stem.weight.data.mul_(1.01)
        cache_of(changed, images, folder=tmp_path, views=())
        cache_of(network_of(), images, folder=tmp_path, views=(), blocks=BLOCKS - 1)
        assert len(list(tmp_path.iterdir())) == 6  # of photos and of sketches each

    def test_fewer_sketches_find_the_photos_kept(self, images, tmp_path):
        cache_of(network_of(), images, folder=tmp_path)
        there = set(tmp_path.iterdir())
        sketches = [r for r in images.records if r.domain == "sketch"]
        fewer = [r for r in images.records if r not in sketches[:5]]
        some = ImageSet(fewer, images.classes, size=32)
        cache = cache_of(network_of(), some, folder=tmp_path)
        assert len(set(tmp_path.iterdir()) - there) == 1
        rows, none = torch.arange(len(some)), torch.tensor([], dtype=torch.int64)
        asked = (rows, none, none, torch.zeros(len(some)) > 0)
        fresh = cache_of(network_of(), some).features(*asked)
        for kept, made in zip(cache.features(*asked).features, fresh.features, strict=True):
            assert torch.allclose(kept, made, atol=1e-2)


class TestErrors:
    def test_too_little_memory_is_said_with_the_need(self, images):
        with pytest.raises(ConfigError, match=r"cache_frozen needs .* GB .* raise it"):
            cache_of(network_of(), images, limit_gb=1e-6)

    @pytest.mark.parametrize("blocks", [0, 1, 99])
    def test_a_cut_that_is_none(self, images, blocks):
        with pytest.raises(ConfigError, match="cache_frozen needs 2 to"):
            cache_of(network_of(), images, blocks=blocks)

    def test_a_network_that_cannot_be_cut(self, images):
        with pytest.raises(ConfigError, match="EfficientNet's build"):
            cache_of(network_of(backbone="test_resnet"), images)


class TestLearning:
    def losses(self, tiny_config, images, **changes) -> list[float]:
        torch.manual_seed(0)
        settings = {"frozen_blocks": BLOCKS, "warmup": 0, "edge_views": 0.5} | changes
        learner = Learner(tiny_config(**settings), Fabric(accelerator="cpu"), images, None)
        return [float(step.loss) for epoch in (1, 2) for step in learner.epoch(epoch)]

    def test_goes_nearly_as_without_it(self, tiny_config, images, monkeypatch):
        """The same order and the same losses but for rounding, where nothing is mirrored."""

        def unmirrored(*order, **settings):
            for plan in plan_epoch(*order, **settings):
                yield plan._replace(mirrored=torch.zeros_like(plan.mirrored))

        monkeypatch.setattr("msedge.training.learner.plan_epoch", unmirrored)
        plain = self.losses(tiny_config, images)
        kept = self.losses(tiny_config, images, cache_frozen=True)
        assert kept == pytest.approx(plain, rel=0.02)
        assert kept != plain

    def test_reads_no_image_while_it_learns(self, tiny_config, images, monkeypatch):
        torch.manual_seed(0)
        config = tiny_config(frozen_blocks=BLOCKS, cache_frozen=True, edge_views=0.5)
        learner = Learner(config, Fabric(accelerator="cpu"), images, None)

        def refuse(rows, **_):
            raise AssertionError(f"{len(rows)} images were read")

        monkeypatch.setattr(images, "_read", refuse)
        assert len(list(learner.epoch(1))) == learner.steps_an_epoch

    def test_what_adapts_everywhere_cannot_be_kept(self, tiny_config, images):
        with pytest.raises(ConfigError, match=r"adapt: norm changes blocks everywhere"):
            self.losses(tiny_config, images, cache_frozen=True, adapt="norm")
