"""The network's promises: unit vectors, one image at a time or many, whatever is fused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from msedge.errors import ConfigError, ShapeError, WeightsError
from msedge.models.backbones import create_classifier
from msedge.models.network import MSEdge

TINY = "test_resnet"
FUSIONS = ["none", "edge", "energy"]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def images(batch: int = 4, size: int = 64) -> Tensor:
    return torch.rand(batch, 3, size, size)


def network(fusion: str = "edge", backbone: str = TINY, **options) -> MSEdge:
    """A network without a parameter at nought, where it would hide what depends on it."""
    built = MSEdge(backbone, dim=16, fusion=fusion, image_size=64, **options)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return built


class TestSmoke:
    @pytest.mark.parametrize("fusion", FUSIONS)
    @pytest.mark.parametrize("backbone", [TINY, "test_vit", "test_efficientnet"])
    def test_embeds(self, backbone, fusion):
        embeddings = network(fusion, backbone).eval()(images(2))
        assert embeddings.shape == (2, 16)
        assert torch.isfinite(embeddings).all()

    def test_starts_from_the_packaged_weights(self):
        built = MSEdge("tf_efficientnet_lite0", dim=8, weights="imagenet")
        random = MSEdge("tf_efficientnet_lite0", dim=8)
        stem = built.backbone.network.conv_stem.weight
        assert not torch.equal(stem, random.backbone.network.conv_stem.weight)
        assert built.backbone.network.bn1.running_mean.abs().max() > 0


class TestExceptions:
    @pytest.mark.parametrize(
        ("wrong", "got"),
        [
            (torch.rand(3, 64, 64), r"\(3, 64, 64\) of torch.float32"),
            (torch.rand(2, 1, 64, 64), r"\(2, 1, 64, 64\) of torch.float32"),
            (torch.rand(2, 64, 64, 3), r"\(2, 64, 64, 3\) of torch.float32"),
            (torch.zeros(2, 3, 64, 64, dtype=torch.uint8), "of torch.uint8"),
        ],
    )
    @pytest.mark.parametrize("fusion", ["none", "edge"])
    def test_needs_batches_of_colour_images_in_floats(self, fusion, wrong, got):
        with pytest.raises(ShapeError, match=rf"\(B, 3, H, W\) in \[0, 1\], got .*{got}"):
            network(fusion)(wrong)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"dim": 0}, "at least one dimension, got 0"),
            ({"fusion": "sum"}, "no fusion is named 'sum'"),
            ({"backbone": "test_renset"}, "timm knows no backbone"),
        ],
    )
    def test_options_that_cannot_be_used(self, options, message):
        with pytest.raises(ConfigError, match=message):
            MSEdge(**{"backbone": TINY} | options)

    def test_weights_of_another_network(self, tmp_path):
        path = tmp_path / "efficientnet.pth"
        torch.save(create_classifier("test_efficientnet", image_size=64).state_dict(), path)
        with pytest.raises(WeightsError, match=r"lack \d+ of the network's \d+ tensors"):
            MSEdge(TINY, weights=str(path))


class TestCardinality:
    @pytest.mark.parametrize("dim", [1, 512])
    @pytest.mark.parametrize("batch", [0, 1, 3])
    def test_one_vector_an_image(self, batch, dim):
        built = MSEdge(TINY, dim=dim, image_size=64).eval()
        assert built(images(batch)).shape == (batch, dim)

    def test_other_sizes_than_it_was_built_for(self):
        built = network().eval()
        assert built(torch.rand(2, 3, 50, 90)).shape == (2, 16)

    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_fusion_keeps_the_stages_shapes(self, fusion):
        built = network(fusion).eval()
        plain = built.backbone(images(2))
        assert [s.shape for s in built.stages(images(2))] == [s.shape for s in plain]


class TestNumbers:
    @pytest.mark.parametrize("fusion", FUSIONS)
    @pytest.mark.parametrize("mode", [True, False])
    def test_embeddings_have_length_one(self, fusion, mode):
        lengths = network(fusion).train(mode)(images()).norm(dim=1)
        torch.testing.assert_close(lengths, torch.ones(4))

    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_the_same_images_give_the_same_embeddings(self, fusion):
        built, batch = network(fusion).eval(), images()
        assert torch.equal(built(batch), built(batch))

    @pytest.mark.parametrize("fusion", FUSIONS)
    @pytest.mark.parametrize("backbone", [TINY, "test_vit"])
    def test_an_image_is_embedded_alike_alone_and_in_company(self, backbone, fusion):
        built, batch = network(fusion, backbone).eval(), images()
        together = built(batch)
        alone = torch.cat([built(batch[row : row + 1]) for row in range(len(batch))])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
        assert not torch.allclose(together[0], together[1], atol=1e-3)  # and they do differ

    def test_is_the_pooled_stages_projected(self):
        built, batch = network("none").eval(), images(2)
        strongest = [stage.flatten(2).max(dim=2).values for stage in built.backbone(batch)]
        projected = torch.cat(strongest, 1) @ built.projection.weight.T + built.projection.bias
        expected = projected / projected.square().sum(dim=1, keepdim=True).sqrt()
        torch.testing.assert_close(built(batch), expected)

    def test_edges_reach_the_embedding(self):
        built, batch = network("edge").eval(), images(2)
        before = built(batch)
        for gate in built.fusion.gates:
            torch.nn.init.normal_(gate.spatial.weight, std=5)
        assert (built(batch) - before).abs().max() > 1e-3

    @pytest.mark.parametrize(("fusion", "counts"), [("edge", True), ("none", False)])
    def test_where_the_edges_are_counts_for_edge_fusion_alone(self, monkeypatch, fusion, counts):
        built, batch = network(fusion).eval(), images(2)
        before = built(batch)
        monkeypatch.setattr(
            "msedge.models.network.edge_pyramid",
            lambda images, sizes: [torch.rand(len(images), 1, *size) for size in sizes],
        )
        assert torch.equal(built(batch), before) is not counts


class TestGradients:
    @pytest.mark.parametrize("fusion", FUSIONS)
    @pytest.mark.parametrize("backbone", [TINY, "test_efficientnet"])
    def test_reach_every_parameter(self, backbone, fusion):
        built = network(fusion, backbone).train()
        (built(images()) * torch.randn(4, 16)).sum().backward()
        for name, parameter in built.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name

    def test_reach_the_images(self):
        batch = images(2).requires_grad_()
        network("edge").eval()(batch)[:, 0].sum().backward()
        assert (batch.grad.abs().amax(dim=(1, 2, 3)) > 0).all()
