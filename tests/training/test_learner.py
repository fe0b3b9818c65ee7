"""What a step changes and what it leaves alone, and by how much."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from msedge.errors import ConfigError, DataError
from msedge.training.learner import Learner
from msedge.training.plan import Composition

MakeLearner = Callable[..., Learner]
CLASSES, IMAGES, STEPS = 4, 32, 4  # of ``tiny``, in batches of 8


def run(learner: Learner, *epochs: int) -> list[float]:
    return [step.loss.item() for epoch in epochs for step in learner.epoch(epoch)]


def copy(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before: dict[str, Tensor], module: torch.nn.Module) -> set[str]:
    return {n for n, tensor in module.state_dict().items() if not torch.equal(before[n], tensor)}


class TestSmoke:
    def test_an_epoch_yields_its_steps(self, make_learner):
        learner = make_learner()
        steps = list(learner.epoch(1))
        assert learner.steps_an_epoch == STEPS
        assert [(step.number, step.images) for step in steps] == [(n, 8) for n in (1, 2, 3, 4)]
        assert all(step.loss.shape == () and math.isfinite(step.loss) for step in steps)
        assert [step.rate for step in steps] == [1e-3] * STEPS

    def test_last_incomplete_batch_is_left_out(self, make_learner):
        assert len(run(make_learner(batch_size=10), 1)) == 3

    @pytest.mark.parametrize("loss", ["normalized_softmax", "proxy_anchor"])
    @pytest.mark.parametrize("fusion", ["none", "edge", "energy"])
    def test_everything_that_can_be_chosen_trains(self, make_learner, loss, fusion):
        learner = make_learner(loss=loss, fusion=fusion, warmup=0)
        before = copy(learner.network)
        run(learner, 1)
        untouched = set(before) - changed(before, learner.network)
        assert untouched == {"backbone.mean", "backbone.std"}

    def test_epoch_number_decides_the_order(self, make_learner):
        """Epoch 2 of one learner meets the images of epoch 2 of another, whatever went before."""
        losses = [run(make_learner(learning_rate=1e-12, proxy_learning_rate=1e-12), 2)]
        losses.append(run(make_learner(learning_rate=1e-12, proxy_learning_rate=1e-12), 1))
        learner = make_learner(learning_rate=1e-12, proxy_learning_rate=1e-12)
        torch.rand(17)
        losses.append(run(learner, 2))
        assert losses[0] == losses[2] != losses[1]


class TestWarmup:
    def test_backbone_rests_and_the_rest_learns(self, make_learner):
        learner = make_learner(warmup=1)
        before = copy(learner.network)
        run(learner, 1)
        learnt = changed(before, learner.network)
        assert learnt == {n for n in before if n.startswith(("fusion.", "projection."))}
        assert not any(module.training for module in learner.network.backbone.modules())

    def test_then_it_learns(self, make_learner):
        learner = make_learner(warmup=1)
        run(learner, 1)
        before = copy(learner.network.backbone)
        run(learner, 2)
        assert set(before) - changed(before, learner.network.backbone) == {"mean", "std"}
        assert learner.network.backbone.training

    def test_judging_between_epochs_does_not_end_it(self, make_learner):
        learner = make_learner(warmup=2)
        run(learner, 1)
        learner.judged().eval()
        before = copy(learner.network.backbone)
        run(learner, 2)
        assert not changed(before, learner.network.backbone)


class TestFrozenBlocks:
    """Blocks at the input keep weights and batch statistics throughout."""

    @pytest.mark.parametrize("frozen", [2, 4])
    def test_stay_as_they_are(self, make_learner, frozen):
        learner = make_learner(frozen_blocks=frozen, warmup=1)
        blocks = learner.network.backbone.blocks()
        before = [copy(block) for block in blocks]
        statistics = {n for block in before[:frozen] for n in block if n.endswith("running_mean")}
        assert statistics
        for epoch in (1, 2, 3):
            run(learner, epoch)
            learner.judged().eval()
        for block, was in zip(blocks[:frozen], before[:frozen], strict=True):
            assert not changed(was, block)
        for block, was in zip(blocks[frozen:], before[frozen:], strict=True):
            assert changed(was, block) == set(was)

    def test_all_of_them(self, make_learner):
        learner = make_learner(frozen_blocks=999, warmup=0)
        before = copy(learner.network.backbone)
        run(learner, 1)
        assert not changed(before, learner.network.backbone)


class TestAdaptation:
    """What is not to learn stays as it was, and the warm-up sets nothing else free."""

    @pytest.mark.parametrize(
        ("backbone", "how", "learns"),
        [
            ("test_efficientnet", "head", ()),
            ("test_efficientnet", "norm", ("bn1.", "bn2.", "bn3.")),
            ("test_vit3", "lora", ("lora_a", "lora_b")),
            ("test_vit3", "prompts", ("norm1.", "norm2.", "tokens")),
        ],
    )
    def test_only_what_was_asked_for_learns(self, make_learner, backbone, how, learns):
        learner = make_learner(backbone=backbone, adapt=how, warmup=1, learning_rate=1e-2)
        before = copy(learner.network)
        run(learner, 1)
        outside = {n for n in before if n.startswith(("fusion.", "projection."))}
        assert changed(before, learner.network) == outside
        run(learner, 2)
        inside = changed(before, learner.network) - outside
        assert bool(inside) == bool(learns)
        assert all(any(part in name for part in learns) for name in inside)
        parameters = {n for n, _ in learner.network.named_parameters()} - outside
        expected = {n for n in parameters if any(part in n for part in learns)}
        assert inside & parameters == expected

    def test_a_killed_run_goes_on(self, make_learner):
        def make() -> Learner:
            return make_learner(backbone="test_vit3", adapt="lora", lora_rank=2, averaging=0.9)

        whole, stopped, fresh = make(), make(), make()
        run(whole, 1)
        expected = run(whole, 2)
        run(stopped, 1)
        fresh.load_state({name: tensor.clone() for name, tensor in stopped.state().items()})
        assert run(fresh, 2) == expected


class TestRates:
    def test_three_groups_of_an_adam_with_weight_decay(self, make_learner, adams):
        learner = make_learner(
            learning_rate=1e-4, head_learning_rate=1e-3, proxy_learning_rate=1e-1, weight_decay=0.01
        )
        run(learner, 1)
        (adam,) = adams
        assert adam.rates == [[1e-4, 1e-3, 1e-1]] * STEPS
        assert [group["weight_decay"] for group in adam.param_groups] == [0.01] * 3
        sizes = [sum(p.numel() for p in group["params"]) for group in adam.param_groups]
        network = learner.network
        parts = (network.backbone, network)
        of_backbone, of_network = (sum(p.numel() for p in part.parameters()) for part in parts)
        assert sizes == [of_backbone, of_network - of_backbone, CLASSES * 16]

    def test_head_learns_like_the_backbone_by_default(self, make_learner, adams):
        run(make_learner(learning_rate=1e-4), 1)
        assert adams[0].rates[0][:2] == [1e-4, 1e-4]

    def test_first_step_is_as_long_as_its_rate(self, make_learner):
        """Adam's first step moves a parameter by its rate, whatever the gradient."""
        learner = make_learner(
            warmup=0, learning_rate=1e-4, head_learning_rate=1e-3, weight_decay=0.0
        )
        before = copy(learner.network)
        next(learner.epoch(1))
        moved = {n: (t - before[n]).abs().max() for n, t in learner.network.state_dict().items()}
        assert moved["projection.weight"].item() == pytest.approx(1e-3, rel=0.01)
        assert moved["backbone.network.conv_stem.weight"].item() == pytest.approx(1e-4, rel=0.01)

    def test_weight_decay_pulls_to_nought(self, make_learner):
        """So strong a penalty decides the sign of every first step."""
        learner = make_learner(head_learning_rate=1e-3, weight_decay=1e9)
        before = learner.network.projection.weight.detach().clone()
        next(learner.epoch(1))
        moved = learner.network.projection.weight.detach() - before
        assert torch.equal(moved.sign(), -before.sign())

    def test_cosine_rises_peaks_and_falls_to_nought(self, make_learner, adams):
        learner = make_learner(
            schedule="cosine", epochs=16, learning_rate=1e-3, proxy_learning_rate=0.5
        )
        run(learner, *range(1, 17))
        steps = 16 * STEPS
        backbone, head, proxies = zip(*adams[0].rates, strict=True)
        assert len(backbone) == steps
        assert backbone == head
        assert backbone[0] == pytest.approx(1e-3 / 20)
        assert proxies[0] == pytest.approx(0.5 / 20)
        assert max(proxies) == proxies[19] == pytest.approx(0.5 * math.cos(math.pi * 19 / 128) ** 2)
        assert list(proxies[:20]) == sorted(proxies[:20])
        assert list(proxies[19:]) == sorted(proxies[19:], reverse=True)
        assert 0 < proxies[-1] < 0.5 * 0.001

    def test_constant_stays(self, make_learner, adams):
        run(make_learner(epochs=3), 1, 2, 3)
        assert adams[0].rates == [adams[0].rates[0]] * 3 * STEPS


class TestAveraging:
    def test_without_it_the_last_weights_are_judged(self, make_learner):
        learner = make_learner()
        assert learner.average is None
        assert learner.judged() is learner.network

    def test_running_mean(self, make_learner):
        """Step by step anew: a young mean takes in much, an old one as the decay says."""
        learner = make_learner(averaging=0.5, warmup=0)
        mean: dict[str, Tensor] = {}
        count = 0
        for epoch in (1, 2):
            for _ in learner.epoch(epoch):
                now = {n: t.detach().double() for n, t in learner.network.state_dict().items()}
                decay = min(0.5, (count + 1) / (count + 10)) if count else 0.0
                mean = {n: decay * mean.get(n, t) + (1 - decay) * t for n, t in now.items()}
                count += 1
        judged = learner.judged().state_dict()
        for name, tensor in learner.network.state_dict().items():
            if tensor.is_floating_point():
                torch.testing.assert_close(
                    judged[name].double(), mean[name], atol=1e-5, rtol=1e-4, msg=name
                )
            else:  # counters of batches
                assert torch.equal(judged[name], tensor)
        assert not torch.equal(judged["projection.weight"], learner.network.projection.weight)

    def test_does_not_change_what_is_learnt(self, make_learner):
        plain, averaged = make_learner(warmup=0), make_learner(warmup=0, averaging=0.9)
        assert run(plain, 1, 2) == run(averaged, 1, 2)


class TestAdditions:
    @staticmethod
    def widths(learner: Learner) -> list[int]:
        """How many images the network is shown at each step of an epoch."""
        shown: list[int] = []
        hook = learner.network.register_forward_pre_hook(lambda _, args: shown.append(len(args[0])))
        run(learner, 1)
        hook.remove()
        return shown

    def test_edge_views_are_at_most_a_quarter_of_the_batch(self, make_learner):
        assert self.widths(make_learner(edge_views=0.0)) == [8] * STEPS
        shown = self.widths(make_learner(edge_views=1.0, batch_size=16))
        assert shown == [20, 20]

    def test_edge_views_add_to_the_loss_by_their_weight(self, make_learner):
        # The first step of equal learners meets equal images; batch statistics rest in warm-up.
        none, one, two = (
            next(make_learner(edge_views=weight, warmup=1).epoch(1)).loss.item()
            for weight in (0, 1, 2)
        )
        assert one > none
        assert two - one == pytest.approx(one - none, rel=1e-4)

    def test_distillation_adds_to_the_loss_by_its_weight(self, make_learner):
        targets = torch.eye(7)[torch.arange(IMAGES) % 7]
        none, one, two = (
            next(make_learner(targets, distillation=weight).epoch(1)).loss.item()
            for weight in (0, 1, 2)
        )
        assert one > none
        assert two - one == pytest.approx(one - none, rel=1e-4)


class TestComposed:
    """Photos made of others, shown after each batch."""

    SMALL: ClassVar = {"composed": 1.0, "composed_size": 64}

    def test_are_shown_at_their_size(self, make_learner):
        learner = make_learner(composed_share=0.4, **self.SMALL)
        shown: list[tuple[int, ...]] = []
        learner.network.register_forward_pre_hook(lambda _, args: shown.append(args[0].shape))
        run(learner, 1)
        assert shown == [(8, 3, 32, 32), (3, 3, 64, 64)] * STEPS

    def test_add_to_the_loss_by_their_weight(self, make_learner):
        none, one, two = (
            next(make_learner(**self.SMALL | {"composed": weight}).epoch(1)).loss.item()
            for weight in (0, 1, 2)
        )
        assert one > none
        assert two - one == pytest.approx(one - none, rel=1e-4)

    def test_leave_the_running_statistics_alone(self, make_learner):
        still = {"learning_rate": 1e-12, "proxy_learning_rate": 1e-12, "warmup": 0}
        plain, composed = make_learner(**still), make_learner(**still, **self.SMALL)
        before = copy(plain.network)
        run(plain, 1)
        run(composed, 1)
        moved = {name for name in changed(before, plain.network) if "running" in name}
        assert moved
        for name in moved:
            torch.testing.assert_close(
                composed.network.state_dict()[name], plain.network.state_dict()[name]
            )
        assert composed.network.backbone.training

    def test_are_drawn_to_what_is_in_them(self, make_learner, images):
        """Each photo by the quarters that are its own."""
        learner = make_learner(loss="normalized_softmax", **self.SMALL)
        next(learner.epoch(1))
        photo = int(torch.nonzero(images.domains == 1)[0, 0])
        other = int(
            torch.nonzero((images.domains == 1) & (images.labels != images.labels[photo]))[0, 0]
        )
        met: list[Tensor] = []
        learner._proxies.register_forward_pre_hook(lambda _, args: met.append(args[1]))
        made = Composition(
            torch.tensor([[photo, photo, other, other]]), torch.tensor([0.4]), torch.zeros(1, 2)
        )
        learner._learn_composed(made)
        first, second = images.labels[photo].item(), images.labels[other].item()
        assert [labels.tolist() for labels in met] == [[first, first, second, second]]

    def test_of_a_network_of_one_size(self, make_learner):
        with pytest.raises(ConfigError) as caught:
            make_learner(backbone="test_vit3", composed=1.0, composed_size=64)
        assert str(caught.value) == (
            "test_vit3 reads images of one size alone; let composed_size be 32, its image_size"
        )


class TestState:
    @pytest.fixture
    def full(self, make_learner) -> Callable[[], Learner]:
        """Learners with everything that a state has to hold."""
        targets = torch.eye(7)[torch.arange(IMAGES) % 7]
        return lambda: make_learner(targets, averaging=0.9, distillation=1.0, edge_views=0.5)

    def test_goes_on_where_it_was(self, full):
        whole, stopped, fresh = full(), full(), full()
        run(whole, 1)
        expected = run(whole, 2)
        run(stopped, 1)
        state = {name: tensor.clone() for name, tensor in stopped.state().items()}
        fresh.load_state(state)
        assert run(fresh, 2) == expected
        ends = whole.state(), fresh.state()
        assert ends[0].keys() == ends[1].keys()
        assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])

    def test_holds_every_part(self, full):
        learner = full()
        run(learner, 1)
        parts = {name.split("/")[0] for name in learner.state()}
        assert parts == {"network", "proxies", "distillation", "average", "optimizer"}

    def test_of_another_network(self, full, make_learner):
        learner = full()
        run(learner, 1)
        state = learner.state()
        with pytest.raises(DataError, match=r"does not fit this network .*Missing key"):
            make_learner(fusion="energy").load_state(state)
        del state["average/n_averaged"]
        with pytest.raises(DataError, match=r"does not fit this network .*n_averaged"):
            full().load_state(state)
        with pytest.raises(DataError, match="does not fit this network"):
            full().load_state({"network": torch.zeros(1)})

    @pytest.mark.parametrize("name", ["optimizer/999.step", "optimizer/step"])
    def test_of_an_optimiser_of_other_parameters(self, full, name):
        learner = full()
        with pytest.raises(DataError, match="does not fit this network"):
            learner.load_state(learner.state() | {name: torch.tensor(1.0)})
