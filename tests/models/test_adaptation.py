"""What learns and what does not, by name, by gradient, and bit for bit after two steps."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from cards import CARD
from msedge.errors import ConfigError
from msedge.models.adaptation import adapt, keep_frozen, trainable_parameters
from msedge.models.card import Card
from msedge.models.checkpoint import load_checkpoint, save_checkpoint
from msedge.models.lora import LoRALinear
from msedge.models.network import MSEdge

HEAD = {
    "projection.weight",
    "projection.bias",
    *(f"fusion.gates.{gate}.spatial.{kind}" for gate in range(3) for kind in ("weight", "bias")),
    *(
        f"fusion.gates.{gate}.channel.{layer}.{kind}"
        for gate in range(3)
        for layer in (0, 2)
        for kind in ("weight", "bias")
    ),
}
WAYS = ["full", "head", "norm", "lora", "prompts"]
TOWERS = [  # as timm builds the towers of CLIP, DINOv2 and SigLIP
    ("vit_base_patch32_clip_quickgelu_224", 224, 3 + 2 * 12 * 2),
    ("vit_small_patch14_dinov2", 98, 1 + 2 * 12 * 2),
    ("vit_base_patch16_siglip_224", 224, 1 + 2 * 12 * 2),
]


def network(name: str = "test_vit3", size: int = 32, **options) -> MSEdge:
    torch.manual_seed(0)
    return MSEdge(name, dim=8, image_size=size, **options)


def learning(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.requires_grad}


def with_gradient(built: MSEdge, size: int = 32) -> set[str]:
    """The parameters that a step would move."""
    built(torch.rand(2, 3, size, size))[:, 0].sum().backward()
    return {name for name, p in built.named_parameters() if p.grad is not None}


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def norm_in_a_block(name: str) -> bool:
    return ".blocks." in name and "norm" in name


class TestSmoke:
    @pytest.mark.parametrize("how", WAYS)
    def test_embeds_as_before(self, how):
        built = network()
        adapt(built, how)
        embeddings = built(torch.rand(3, 3, 32, 32))
        assert embeddings.shape == (3, 8)
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))

    @pytest.mark.slow
    @pytest.mark.parametrize(("name", "size", "tensors"), TOWERS)
    def test_towers_take_prompts(self, name, size, tensors):
        built = network(name, size)
        adapt(built, "prompts", prompts=3)
        assert built.prompts == 3
        of_backbone = {n for n in learning(built) if n.startswith("backbone.")}
        assert len(of_backbone) == tensors
        assert with_gradient(built, size) == learning(built) == of_backbone | HEAD

    @pytest.mark.slow
    @pytest.mark.parametrize(("name", "size", "_"), TOWERS)
    def test_towers_take_additions(self, name, size, _):
        built = network(name, size).eval()
        images = torch.rand(1, 3, size, size)
        before = built(images)
        adapt(built, "lora", rank=2)
        assert torch.equal(built(images), before)
        assert sum(isinstance(m, LoRALinear) for m in built.modules()) == 24
        assert with_gradient(built, size) == learning(built)

    def test_counts_what_learns(self):
        built = network()
        adapt(built, "head")
        expected = sum(
            p.numel() for part in (built.fusion, built.projection) for p in part.parameters()
        )
        assert trainable_parameters(built) == expected
        blocks = built.backbone.network.blocks
        shapes = [layer.weight.shape for b in blocks for layer in (b.attn.qkv, b.attn.proj)]
        adapt(built, "lora", rank=3)
        assert trainable_parameters(built) == expected + 3 * sum(map(sum, shapes))


class TestExceptions:
    def test_an_unknown_way(self):
        with pytest.raises(
            ConfigError, match="no way to adapt is named 'half'; choose one of full"
        ):
            adapt(network(), "half")

    @pytest.mark.parametrize(
        ("name", "how", "reason"),
        [
            ("test_resnet", "lora", "has no attention"),
            ("test_resnet", "prompts", "vision transformers"),
            ("test_nfnet", "norm", "'test_nfnet' has no batch, layer, group or RMS norm"),
        ],
    )
    def test_a_backbone_that_does_not_allow_it(self, name, how, reason):
        built = network(name, 64)
        with pytest.raises(ConfigError, match=reason) as caught:
            adapt(built, how)
        assert "\n" not in str(caught.value)

    def test_another_number_of_prompts(self):
        built = network(prompts=2)
        with pytest.raises(ConfigError, match="has 2 prompts already"):
            adapt(built, "prompts", prompts=3)

    def test_a_network_that_takes_no_prompts(self):
        with pytest.raises(ConfigError, match="prompts need one of timm's vision transformers"):
            network("test_resnet", prompts=2)


class TestWhatLearns:
    @pytest.mark.parametrize("how", WAYS)
    def test_exactly_what_learns_gets_a_gradient(self, how):
        built = network()
        adapt(built, how, rank=2, prompts=2)
        names = learning(built)
        assert names >= HEAD
        of_backbone = {n for n in dict(built.named_parameters()) if n not in HEAD}
        expected = {
            "full": {n for n in of_backbone if ".network.norm." not in n},
            "head": set(),
            "norm": {n for n in of_backbone if norm_in_a_block(n)},
            "lora": {n for n in of_backbone if n.endswith(("lora_a", "lora_b"))},
            "prompts": {n for n in of_backbone if norm_in_a_block(n) or n.endswith("drop.tokens")},
        }[how]
        assert names - HEAD == expected
        assert bool(expected) == (how != "head")
        assert with_gradient(built) == names

    @pytest.mark.parametrize(
        ("name", "unread"),
        [
            ("test_vit", {"norm.weight", "norm.bias"}),
            ("test_convnext", {"head.norm.weight", "head.norm.bias"}),
            ("test_resnet", set()),
            ("test_efficientnet", set()),
        ],
    )
    def test_parameters_that_the_pyramid_never_reads_do_not_learn(self, name, unread):
        built = network(name, 64)
        adapt(built, "full")
        resting = {n for n, p in built.named_parameters() if not p.requires_grad}
        assert resting == {f"backbone.network.{n}" for n in unread}
        assert with_gradient(built, 64) == learning(built)

    @pytest.mark.parametrize(
        ("name", "size", "layers"),
        [
            ("test_resnet", 64, nn.BatchNorm2d),
            ("test_efficientnet", 64, nn.BatchNorm2d),  # timm's BatchNormAct2d
            ("test_efficientnet_gn", 64, nn.GroupNorm),
            ("test_efficientnet_ln", 64, nn.LayerNorm),
            ("test_convnext", 64, nn.LayerNorm),  # timm's LayerNorm2d among them
        ],
    )
    def test_norms_of_many_families(self, name, size, layers):
        built = network(name, size)
        adapt(built, "norm")
        expected = {
            f"{path}.{kind}"
            for path, module in built.backbone.named_modules()
            if isinstance(module, layers) and ".head." not in f".{path}."
            for kind in ("weight", "bias")
        }
        assert len(expected) > 4
        assert learning(built.backbone) == expected

    def test_rms_norms(self):
        built = network("test_vit4")
        adapt(built, "norm")
        names = learning(built.backbone)
        assert names
        assert all("norm" in name and name.endswith(".weight") for name in names)

    def test_norm_leaves_prompts_as_they_are(self):
        built = network(prompts=2)
        adapt(built, "norm")
        assert not built.backbone.network.patch_drop.tokens.requires_grad

    def test_prompts_that_are_there_are_kept(self):
        built = network(prompts=2)
        before = built.backbone.network.patch_drop.tokens.detach().clone()
        adapt(built, "prompts", prompts=2)
        tokens = built.backbone.network.patch_drop.tokens
        assert tokens.requires_grad
        assert torch.equal(tokens, before)

    def test_full_sets_free_what_was_frozen(self):
        built = network("test_resnet", 64)
        adapt(built, "head")
        assert not learning(built.backbone)
        adapt(built, "full")
        assert learning(built) == set(dict(built.named_parameters()))


class TestTraining:
    @pytest.mark.parametrize(
        ("name", "size", "how"),
        [
            ("test_efficientnet", 64, "head"),
            ("test_efficientnet", 64, "norm"),
            *(("test_vit3", 32, how) for how in WAYS),
        ],
    )
    def test_what_is_frozen_stays_bit_for_bit(self, name, size, how):
        built = network(name, size)
        adapt(built, how, rank=2, prompts=2)
        before, names = snapshot(built), learning(built)
        optimiser = torch.optim.Adam((p for p in built.parameters() if p.requires_grad), lr=1e-2)
        for _ in range(2):
            built.train()
            keep_frozen(built)
            optimiser.zero_grad()
            built(torch.rand(4, 3, size, size))[:, 0].sum().backward()
            optimiser.step()
        moved = {
            n for n, tensor in built.state_dict().items() if not torch.equal(tensor, before[n])
        }
        statistics = {n for n in before if n.endswith(("running_mean", "running_var", "tracked"))}
        assert moved - statistics == names
        assert moved & statistics == (statistics if how == "norm" else set())

    def test_modes(self):
        built = network("test_efficientnet", 64)
        adapt(built, "head")
        built.train()
        assert built.backbone.network.bn1.training
        keep_frozen(built)
        assert not any(module.training for module in built.backbone.modules())
        assert built.projection.training
        adapt(built, "norm")
        built.train()
        keep_frozen(built)
        assert built.backbone.training
        assert built.backbone.network.bn1.training
        assert not built.backbone.network.conv_stem.training

    def test_adapting_leaves_the_batch_statistics(self):
        built = network("test_resnet", 64)
        before = snapshot(built)
        adapt(built, "full")
        assert built.training
        assert all(module.training for module in built.modules())
        assert all(torch.equal(tensor, before[n]) for n, tensor in built.state_dict().items())

    @pytest.mark.parametrize("how", ["lora", "prompts"])
    def test_a_running_mean_of_the_weights_copies_them(self, how):
        built = network().eval()
        adapt(built, how)
        twin, images = copy.deepcopy(built), torch.rand(2, 3, 32, 32)
        assert torch.equal(twin(images), built(images))
        for parameter in twin.parameters():
            parameter.data += 0.1
        assert not torch.allclose(twin(images), built(images))
        assert learning(twin) == learning(built)

    def test_full_draws_nothing_at_random(self):
        built = network("test_resnet", 64)
        state = torch.get_rng_state()
        adapt(built, "full")
        assert torch.equal(torch.get_rng_state(), state)


class TestCheckpoint:
    """What a run saves can be read by those who know nothing of how it was adapted."""

    @staticmethod
    def trained(how: str) -> MSEdge:
        built = network()
        adapt(built, how, rank=2, prompts=2)
        for parameter in built.parameters():
            if parameter.requires_grad:
                parameter.data += 0.05 * torch.randn_like(parameter)
        return built.eval()

    @staticmethod
    def card(how: str, prompts: int) -> Card:
        changes = {"backbone": "test_vit3", "prompts": prompts, "adapt": how}
        return CARD.model_copy(update=changes)

    @pytest.mark.parametrize("how", WAYS)
    def test_comes_back(self, tmp_path, how):
        built, images = self.trained(how), torch.rand(2, 3, 32, 32)
        path, prompts = tmp_path / "best.safetensors", 2 if how == "prompts" else 0
        before = snapshot(built)
        save_checkpoint(path, built, self.card(how, prompts))
        read, card = load_checkpoint(path)
        assert (card.adapt, card.prompts, read.prompts) == (how, prompts, prompts)
        torch.testing.assert_close(read(images), built(images), atol=1e-5, rtol=1e-5)
        assert not any(isinstance(module, LoRALinear) for module in read.modules())
        assert all(torch.equal(tensor, before[n]) for n, tensor in built.state_dict().items())

    @pytest.mark.parametrize(("how", "told"), [("head", 2), ("prompts", 0)])
    def test_a_card_of_other_prompts_is_not_written(self, tmp_path, how, told):
        path = tmp_path / "best.safetensors"
        with pytest.raises(ValueError, match=f"the card says {told} prompts, the network has "):
            save_checkpoint(path, self.trained(how), self.card(how, told))
        assert not path.exists()
