"""Training that computes activations twice, against training that keeps them."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable

import pytest
import torch
from timm.layers import EvoNorm2dB0, set_reentrant_ckpt, use_reentrant_ckpt
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from msedge.errors import ConfigError
from msedge.models import gradient_checkpointing
from msedge.models.adaptation import adapt, keep_frozen
from msedge.models.gradient_checkpointing import checkpoint_gradients
from msedge.models.network import FrozenFeatures, MSEdge

FAMILIES = {
    "test_efficientnet": 64,
    "test_resnet": 64,
    "test_convnext": 64,
    "test_vit": 96,
}
Built = Callable[[MSEdge], object]


def network(name: str = "test_efficientnet", size: int = 64, prepare: Built = id) -> MSEdge:
    torch.manual_seed(0)
    built = MSEdge(name, dim=8, image_size=size).train()
    prepare(built)
    return built


def trained(built: MSEdge, steps: int = 2, call: Callable[[Tensor], Tensor] | None = None) -> None:
    """A few steps, whose gradients stay."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(built.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        images = torch.rand(4, 3, built.image_size, built.image_size, generator=generator)
        loss = (built if call is None else call)(images) * torch.rand(4, 8, generator=generator)
        loss.sum().backward()
        optimizer.step()


def assert_same(found: MSEdge, expected: MSEdge) -> None:
    """Bit for bit: parameters, gradients, running statistics."""
    for (name, ours), theirs in zip(found.named_parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
        assert (ours.grad is None) == (theirs.grad is None), name
        assert ours.grad is None or torch.equal(ours.grad, theirs.grad), name
    for (name, ours), theirs in zip(found.named_buffers(), expected.buffers(), strict=True):
        assert torch.equal(ours, theirs), name


def held(call: Callable[[], Tensor]) -> int:
    """The bytes of different memory that is alive for the backward pass after the forward one."""
    kept: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        call().sum()
    return sum(size for size, _ in kept.values())


def of_images(built: MSEdge, batch: int = 4) -> Callable[[], Tensor]:
    images = torch.rand(batch, 3, built.image_size, built.image_size)
    return lambda: built(images)


class TestNumbers:
    @pytest.mark.parametrize(("name", "size"), FAMILIES.items())
    def test_training_goes_bit_for_bit_as_without_it(self, name, size):
        plain, checkpointed = network(name, size), network(name, size, checkpoint_gradients)
        for each in (plain, checkpointed):
            trained(each)
        assert_same(checkpointed, plain)

    def test_statistics_would_move_twice_without_the_guards(self, monkeypatch):
        """So that the tests above can fail."""
        monkeypatch.setattr(gradient_checkpointing._StatisticsGuard, "watch", lambda *_: None)
        plain, checkpointed = network(), network(prepare=checkpoint_gradients)
        for each in (plain, checkpointed):
            trained(each, steps=1)
        with pytest.raises(AssertionError, match="running_mean"):
            assert_same(checkpointed, plain)

    @pytest.mark.parametrize("momentum", [None, 0.5])
    def test_norms_of_any_momentum(self, momentum):
        def change(built: MSEdge) -> None:
            for module in built.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = momentum

        plain, checkpointed = network(prepare=change), network(prepare=change)
        checkpoint_gradients(checkpointed)
        for each in (plain, checkpointed):
            trained(each, steps=3)
        assert_same(checkpointed, plain)
        assert int(plain.backbone.network.bn1.num_batches_tracked) == 3

    def test_norms_that_are_no_batch_norms(self):
        def change(built: MSEdge) -> None:
            for module in list(built.backbone.modules()):
                for name, child in list(module.named_children()):
                    if isinstance(child, nn.BatchNorm2d):
                        setattr(module, name, EvoNorm2dB0(child.num_features))
            built.train()

        plain = network("test_resnet", prepare=change)
        checkpointed = network("test_resnet", prepare=change)
        checkpoint_gradients(checkpointed)
        for each in (plain, checkpointed):
            trained(each)
        assert_same(checkpointed, plain)
        moved = [b for n, b in plain.named_buffers() if n.endswith("running_var")]
        assert moved
        assert not any(torch.equal(buffer, torch.ones_like(buffer)) for buffer in moved)

    @pytest.mark.parametrize("frozen", [0, 4])
    def test_frozen_blocks_and_those_after_them(self, frozen):
        def freeze(built: MSEdge) -> None:
            built.backbone.freeze(frozen)

        plain, checkpointed = network(prepare=freeze), network(prepare=freeze)
        checkpoint_gradients(checkpointed)
        for each in (plain, checkpointed):
            trained(each)
        assert_same(checkpointed, plain)
        assert (plain.backbone.network.conv_stem.weight.grad is None) == (frozen > 0)

    @pytest.mark.parametrize("how", ["norm", "lora", "prompts"])
    def test_adapted_networks(self, how):
        def little(built: MSEdge) -> None:
            adapt(built, how)
            built.train()
            keep_frozen(built)

        plain, checkpointed = (network("test_vit3", 32, little) for _ in range(2))
        checkpoint_gradients(checkpointed)
        for each in (plain, checkpointed):
            trained(each)
        assert_same(checkpointed, plain)

    def test_what_goes_on_from_frozen_blocks(self):
        """As cache_frozen does; only the blocks after the cut are run, and run twice."""
        results = []
        for prepare in (id, checkpoint_gradients):
            built = network(prepare=prepare)
            built.backbone.freeze(3)
            images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(2))
            with torch.no_grad():
                first = built.frozen_features(images, 3)
            bytes_held = held(lambda built=built, first=first: built(first))
            built.zero_grad()
            built(first)[:, :4].sum().backward()
            results.append((built, bytes_held))
        (plain, most), (checkpointed, least) = results
        assert_same(checkpointed, plain)
        assert least < 0.8 * most

    def test_autocast_is_the_same_the_second_time(self):
        plain, checkpointed = network(), network(prepare=checkpoint_gradients)
        for each in (plain, checkpointed):
            with torch.autocast("cpu", torch.bfloat16):
                embeddings = each(torch.rand(4, 3, 64, 64, generator=torch.Generator()))
            embeddings[:, :4].sum().backward()
        assert_same(checkpointed, plain)

    @pytest.mark.slow
    def test_compiled_networks(self):
        plain, checkpointed = network(), network(prepare=checkpoint_gradients)
        for each in (plain, checkpointed):
            trained(each, call=torch.compile(each, backend="aot_eager", fullgraph=True))
        assert_same(checkpointed, plain)

    def test_evaluation_is_the_same(self):
        plain, checkpointed = network().eval(), network(prepare=checkpoint_gradients).eval()
        before = copy.deepcopy(checkpointed.state_dict())
        images = torch.rand(3, 3, 64, 64)
        with torch.inference_mode():
            assert torch.equal(checkpointed(images), plain(images))
        checkpointed(images).sum().backward()
        assert all(torch.equal(before[n], t) for n, t in checkpointed.state_dict().items())


class TestMemory:
    @pytest.mark.parametrize(
        ("name", "size", "share"),
        [
            ("test_efficientnet", 64, 0.6),
            ("test_resnet", 64, 0.85),  # most of it is the stem's
            ("test_convnext", 64, 0.4),
            ("test_vit", 96, 0.4),
            ("tf_efficientnet_lite0", 64, 0.25),
        ],
    )
    def test_less_is_held_between_the_passes(self, name, size, share):
        plain, checkpointed = network(name, size), network(name, size, checkpoint_gradients)
        weights = sum(p.numel() * 4 for p in plain.parameters())
        assert held(of_images(checkpointed, 16)) < share * (held(of_images(plain, 16)) - weights)

    def test_is_let_go_after_the_step(self):
        """Guards and checkpoints keep nothing from one step to the next."""
        built = network(prepare=checkpoint_gradients)
        counts = []
        for _ in range(3):
            trained(built, steps=1)
            built.zero_grad()
            gc.collect()
            counts.append(sum(issubclass(type(o), Tensor) for o in gc.get_objects()))
        assert counts[2] == counts[1]


class TestInPlace:
    def test_parameters_and_names_stay(self):
        built = network()
        before = {n: (id(p), p.data_ptr()) for n, p in built.named_parameters()}
        tensors, training = list(built.state_dict()), [m.training for m in built.modules()]
        values = copy.deepcopy(built.state_dict())
        checkpoint_gradients(built)
        trained(built, steps=1)
        assert {n: (id(p), p.data_ptr()) for n, p in built.named_parameters()} == before
        assert list(built.state_dict()) == tensors
        other = network()
        checkpoint_gradients(other)
        assert [m.training for m in other.modules()] == training
        assert all(torch.equal(values[n], t) for n, t in other.state_dict().items())
        assert all(p.grad is None for p in other.parameters())

    def test_statistics_keep_their_memory(self):
        """Whoever holds a buffer, as DistributedDataParallel does, goes on seeing it."""
        built = network(prepare=checkpoint_gradients)
        before = {name: (id(b), b.data_ptr()) for name, b in built.named_buffers()}
        trained(built)
        assert {name: (id(b), b.data_ptr()) for name, b in built.named_buffers()} == before

    def test_twice_is_once(self):
        plain, checkpointed = network(), network(prepare=checkpoint_gradients)
        checkpoint_gradients(checkpointed)
        for each in (plain, checkpointed):
            trained(each)
        assert_same(checkpointed, plain)

    def test_copies_are_on_their_own(self):
        plain, checkpointed = network(), network(prepare=checkpoint_gradients)
        average = copy.deepcopy(checkpointed)
        trained(plain)
        trained(average)
        assert_same(average, plain)
        trained(checkpointed)  # as though its copy had never been trained
        assert_same(checkpointed, plain)

    def test_the_older_way_of_torch_is_never_taken(self):
        """It would lose the gradients of blocks whose input has none."""
        before = use_reentrant_ckpt()
        try:
            set_reentrant_ckpt(True)
            built = network("test_vit", 96, checkpoint_gradients)
            built.backbone.network.patch_embed.requires_grad_(False)
            trained(built, steps=1)
            assert all(p.grad is not None for p in built.backbone.network.blocks.parameters())
        finally:
            set_reentrant_ckpt(before)


class TestExceptions:
    def test_a_backbone_that_timm_cannot(self):
        built = network("cs3darknet_focus_s", 64)
        with pytest.raises(ConfigError, match="timm cannot compute the activations of 'cs3dark"):
            checkpoint_gradients(built)

    def test_a_backbone_without_the_method(self, monkeypatch):
        built = network()
        monkeypatch.delattr(type(built.backbone.network), "set_grad_checkpointing")
        with pytest.raises(ConfigError, match="cannot compute the activations of 'test_efficien"):
            checkpoint_gradients(built)

    def test_a_timm_that_promises_and_does_not(self, monkeypatch):
        """As timm 1.0.15 does, whose pyramids know nothing of it."""
        built = network()
        monkeypatch.setattr(
            type(built.backbone.network), "set_grad_checkpointing", lambda *_, **__: None
        )
        with pytest.raises(ConfigError, match="version of timm computes nothing of 'test_effic"):
            checkpoint_gradients(built)
        assert isinstance(built(torch.rand(2, 3, 64, 64)), Tensor)


def test_frozen_features_are_what_they_were():
    built = network(prepare=checkpoint_gradients).eval()
    images = torch.rand(2, 3, 64, 64)
    first = built.frozen_features(images, 4)
    assert isinstance(first, FrozenFeatures)
    torch.testing.assert_close(built(first), network().eval()(images))
