"""Low-rank additions: nothing at the start, a plain network again at the end."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from msedge.errors import ConfigError
from msedge.models.backbones import create_classifier
from msedge.models.lora import LoRALinear, add_lora, merge, merged_state

SIZES = st.integers(1, 9)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def network(name: str = "test_vit") -> nn.Module:
    return create_classifier(name, image_size=32).eval()


def stir(module: nn.Module) -> None:
    """Additions as they are after training: none of them nought."""
    for layer in module.modules():
        if isinstance(layer, LoRALinear):
            nn.init.normal_(layer.lora_b, std=0.1)


class TestSmoke:
    @pytest.mark.parametrize("name", ["test_vit", "test_vit_relpos"])
    def test_every_attention_gets_them(self, name):
        built = network(name)
        attentions = sum(path.endswith(".attn") for path, _ in built.named_modules())
        added = add_lora(built, 2)
        assert len(added) == 2 * 2 * attentions > 0  # A and B, of qkv and of the output
        assert all(p.requires_grad for p in added)

    def test_leaves_the_layers_beside_attention(self):
        built = network()
        add_lora(built, 2)
        block = built.blocks[0]
        assert isinstance(block.attn.qkv, LoRALinear)
        assert isinstance(block.attn.proj, LoRALinear)
        assert type(block.mlp.fc1) is type(block.mlp.fc2) is type(built.head) is nn.Linear

    def test_a_copy_is_independent(self):
        built = network()
        add_lora(built, 2)
        twin = copy.deepcopy(built)
        stir(twin)
        assert not built.blocks[0].attn.qkv.lora_b.any()


class TestExceptions:
    @pytest.mark.parametrize("name", ["test_resnet", "test_convnext"])
    def test_a_network_without_attention(self, name):
        with pytest.raises(ConfigError, match="has no attention with linear projections") as caught:
            add_lora(network(name), 2)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("rank", [0, -1])
    def test_a_rank_below_one(self, rank):
        with pytest.raises(ConfigError, match=f"a rank of at least 1, got {rank}"):
            add_lora(network(), rank)

    def test_twice(self):
        built = network()
        add_lora(built, 2)
        with pytest.raises(ConfigError, match="additions already; merge them first"):
            add_lora(built, 2)


class TestNumbers:
    def test_the_output_is_unchanged_at_the_start(self):
        built, images = network(), torch.rand(2, 3, 32, 32)
        before = built(images)
        add_lora(built, 4)
        assert torch.equal(built(images), before)

    @settings(max_examples=15, deadline=None)
    @given(SIZES, SIZES, SIZES, st.booleans())
    def test_the_layer_is_w_plus_twice_b_a(self, inputs, outputs, rank, bias):
        """Alpha is twice the rank, so alpha / rank is 2 (Hu et al., section 4.1)."""
        base = nn.Linear(inputs, outputs, bias=bias).double()
        layer = LoRALinear(base, rank)
        stir(layer)
        x = torch.randn(3, inputs, dtype=torch.double)
        dense = base.weight + 2 * torch.einsum("or,ri->oi", layer.lora_b, layer.lora_a)
        expected = torch.einsum("ni,oi->no", x, dense) + (base.bias if bias else 0)
        torch.testing.assert_close(layer(x), expected)
        torch.testing.assert_close(layer.folded_weight(), dense.detach())

    def test_tensors_keep_their_names_and_are_not_copied(self):
        built = network()
        before = dict(built.named_parameters())
        add_lora(built, 2)
        after = dict(built.named_parameters())
        assert all(after[name] is parameter for name, parameter in before.items())
        extra = set(after) - set(before)
        assert {name.rsplit(".", 1)[1] for name in extra} == {"lora_a", "lora_b"}

    def test_merged_is_a_plain_network_of_the_same_output(self):
        built, images = network(), torch.rand(2, 3, 32, 32)
        names, plain = set(built.state_dict()), built(images)
        add_lora(built, 4)
        stir(built)
        expected, folded = built(images), merged_state(built)
        assert (expected - plain).abs().max() > 1e-3
        assert any(isinstance(layer, LoRALinear) for layer in built.modules())
        merge(built)
        assert not any(isinstance(layer, LoRALinear) for layer in built.modules())
        torch.testing.assert_close(built(images), expected, atol=1e-5, rtol=1e-5)
        state = built.state_dict()
        assert set(state) == set(folded) == names
        assert all(torch.equal(state[name], folded[name]) for name in names)

    def test_merging_a_plain_network_changes_nothing(self):
        built = network("test_resnet")
        before = {name: tensor.clone() for name, tensor in built.state_dict().items()}
        merge(built)
        folded = merged_state(built)
        assert folded.keys() == before.keys()
        assert all(torch.equal(folded[name], before[name]) for name in before)


class TestGradients:
    @pytest.mark.parametrize("name", ["test_vit", "test_vit4", "test_vit_relpos"])
    def test_reach_every_addition(self, name):
        built = network(name)
        added = add_lora(built, 2)
        stir(built)
        built(torch.rand(2, 3, 32, 32)).square().sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in added)

    def test_layers_that_timm_bypasses_are_left_alone(self):
        """BEiT reads the weight of qkv and never calls the layer: an addition would do nothing."""
        from timm.models.beit import Beit

        built = Beit(img_size=32, patch_size=16, embed_dim=16, depth=2, num_heads=2, num_classes=3)
        added = add_lora(built, 2)
        assert len(added) == 2 * 2
        assert type(built.blocks[0].attn.qkv) is nn.Linear
        stir(built)
        built(torch.rand(2, 3, 32, 32)).square().sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in added)
