"""Prompt tokens: read by every block, seen in no map."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from msedge.errors import ConfigError
from msedge.models.backbones import create_classifier
from msedge.models.prompts import PromptTokens, add_prompts, prompt_count

from timm.models.vision_transformer import VisionTransformer  # isort: skip  # behind the cure

WIDTH, PATCH, SIZE = 16, 8, 32
FAMILIES = {
    "plain": {},
    "clip": {"pre_norm": True},
    "dinov2": {"init_values": 1e-5, "reg_tokens": 4, "no_embed_class": True},
    "siglip": {"class_token": False, "global_pool": "map"},
    "registers": {"class_token": False, "reg_tokens": 2, "global_pool": "avg"},
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def transformer(**options) -> VisionTransformer:
    built = VisionTransformer(
        img_size=SIZE,
        patch_size=PATCH,
        embed_dim=WIDTH,
        depth=4,
        num_heads=2,
        num_classes=5,
        **options,
    ).eval()
    for parameter in built.parameters():  # so that no norm and no scale is neutral
        parameter.data += 0.1 * torch.randn_like(parameter)
    return built


def maps(network: nn.Module, images: Tensor) -> list[Tensor]:
    return list(network.forward_intermediates(images, indices=3)[1])


class TestSmoke:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_maps_keep_their_shape_and_feel_the_prompts(self, family):
        network, images = transformer(**FAMILIES[family]), torch.rand(2, 3, SIZE, SIZE)
        before = maps(network, images)
        add_prompts(network, 3)
        after = maps(network, images)
        assert [m.shape for m in after] == [m.shape for m in before] == [(2, WIDTH, 4, 4)] * 3
        assert not any(torch.allclose(a, b) for a, b in zip(after, before, strict=True))

    def test_counts(self):
        network = transformer()
        assert prompt_count(network) == 0
        add_prompts(network, 3)
        assert prompt_count(network) == 3
        assert prompt_count(nn.Linear(1, 1)) == 0

    def test_tensors_keep_their_names(self):
        network = transformer(pre_norm=True)
        before = set(network.state_dict())
        add_prompts(network, 3)
        assert set(network.state_dict()) - before == {"patch_drop.tokens"}
        assert before < set(network.state_dict())

    def test_dropping_patches_leaves_the_prompts(self):
        network = transformer(patch_drop_rate=0.5).train()
        add_prompts(network, 3)
        lengthened = network.patch_drop(torch.rand(2, 1 + 16, WIDTH))
        assert lengthened.shape == (2, 1 + 3 + 8, WIDTH)
        assert torch.equal(lengthened[:, 1:4], network.patch_drop.tokens.expand(2, -1, -1))


class TestExceptions:
    @pytest.mark.parametrize("name", ["test_resnet", "test_vit_relpos"])
    def test_networks_that_take_none(self, name):
        kind = type(create_classifier(name, image_size=32)).__name__
        with pytest.raises(ConfigError, match=f"got {kind}; choose another vit_") as caught:
            add_prompts(create_classifier(name, image_size=32), 3)
        assert "\n" not in str(caught.value)

    def test_a_network_of_any_input_size(self):
        with pytest.raises(ConfigError, match="of a fixed input size, got one of any size"):
            add_prompts(transformer(dynamic_img_size=True), 3)

    @pytest.mark.parametrize("count", [0, -2])
    def test_fewer_than_one(self, count):
        with pytest.raises(ConfigError, match=f"at least one token, got {count}"):
            add_prompts(transformer(), count)

    def test_twice(self):
        network = transformer()
        add_prompts(network, 3)
        with pytest.raises(ConfigError, match="has 3 prompts already"):
            add_prompts(network, 4)
        assert prompt_count(network) == 3


class TestNumbers:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_maps_are_those_of_the_lengthened_sequence(self, family):
        """Step by step anew: VPT's sequence is class token, prompts, patches."""
        network, images = transformer(**FAMILIES[family]), torch.rand(2, 3, SIZE, SIZE)
        prefix = network.num_prefix_tokens
        embedded = network._pos_embed(network.patch_embed(images))
        assert embedded.shape == (2, prefix + 16, WIDTH)
        add_prompts(network, 3)
        prompts = network.patch_drop.tokens.expand(2, -1, -1)
        x = network.norm_pre(torch.cat([embedded[:, :prefix], prompts, embedded[:, prefix:]], 1))
        expected = []
        for block in network.blocks:
            x = block(x)
            expected.append(x[:, prefix + 3 :].transpose(1, 2).unflatten(2, (4, 4)))
        for actual, reference in zip(maps(network, images), expected[1:], strict=True):
            torch.testing.assert_close(actual, reference)

    def test_pooling_leaves_them_out(self):
        network = transformer(reg_tokens=2)
        add_prompts(network, 3)
        tokens = torch.rand(2, 1 + 2 + 3 + 16, WIDTH)
        torch.testing.assert_close(network.pool(tokens, "avg"), tokens[:, 6:].mean(1))
        torch.testing.assert_close(network.pool(tokens, "token"), tokens[:, 0])

    def test_start_in_the_range_of_vpt(self):
        network = transformer()
        add_prompts(network, 1000)
        bound = math.sqrt(6 / (3 * PATCH * PATCH + WIDTH))
        tokens = network.patch_drop.tokens
        assert tokens.abs().max() <= bound
        assert tokens.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)

    def test_half_precision(self):
        prompts = PromptTokens(nn.Identity(), count=2, width=4, prefix=1)
        assert prompts(torch.rand(1, 3, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


class TestGradients:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_reach_every_token(self, family):
        network = transformer(**FAMILIES[family])
        add_prompts(network, 3)
        sum(m.square().mean() for m in maps(network, torch.rand(2, 3, SIZE, SIZE))).backward()
        grad = network.patch_drop.tokens.grad
        assert grad is not None
        assert grad.abs().sum(dim=2).all()
