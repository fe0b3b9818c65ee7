"""Steps that are repeated, shown in parts, or computed otherwise, and come to the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor
from torch.nn import functional

from msedge.errors import ConfigError
from msedge.training.learner import Learner
from msedge.training.processes import Processes

IMAGES, STEPS = 32, 4  # of ``tiny``, in batches of 8


def run(learner: Learner, *epochs: int) -> list[float]:
    return [step.loss.item() for epoch in epochs for step in learner.epoch(epoch)]


def drop_out(learner: Learner) -> None:
    """Put dropout before the projection."""

    def hook(module: torch.nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        return (functional.dropout(args[0], 0.5, training=module.training),)

    learner.network.projection.register_forward_pre_hook(hook)


class TestWithinAnEpoch:
    """Going on in the middle of an epoch repeats the steps that were left, bit for bit."""

    @pytest.fixture
    def full(self, make_learner) -> Callable[..., Learner]:
        """Learners with everything that is random, and all that a state has to hold."""
        targets = torch.eye(7)[torch.arange(IMAGES) % 7]

        def make(**changes) -> Learner:
            settings = {
                "averaging": 0.9,
                "distillation": 1.0,
                "edge_views": 0.5,
                "edge_kind": "all",
                "composed": 0.5,
                "composed_size": 32,
                "schedule": "cosine",
            }
            learner = make_learner(targets, **(settings | changes))
            drop_out(learner)
            return learner

        return make

    @staticmethod
    def check(make: Callable[[], Learner], epoch: int) -> None:
        whole = make()
        run(whole, *range(1, epoch))
        states = [{name: tensor.clone() for name, tensor in whole.state().items()}]
        losses = []
        for step in whole.epoch(epoch):
            losses.append(step.loss.item())
            states.append({name: tensor.clone() for name, tensor in whole.state().items()})
        for done in range(STEPS + 1):
            torch.rand(done + 3)  # whatever else was drawn
            resumed = make()
            resumed.load_state(states[done])
            steps = list(resumed.epoch(epoch, done))
            assert [step.number for step in steps] == list(range(done + 1, STEPS + 1))
            assert [step.loss.item() for step in steps] == losses[done:]
            end = resumed.state()
            assert end.keys() == states[-1].keys()
            assert all(torch.equal(end[name], states[-1][name]) for name in end)

    @pytest.mark.parametrize("epoch", [1, 2])
    def test_in_the_warm_up_and_after_it(self, full, epoch):
        self.check(full, epoch)

    @pytest.mark.parametrize(
        "changes",
        [
            {"accumulate": 2},
            {"checkpoint_gradients": True, "warmup": 0},
            {"cache_frozen": True, "frozen_blocks": 2},
            {"backbone": "test_resnet", "warmup": 0},
            {"backbone": "test_vit3", "adapt": "lora"},
        ],
        ids=lambda changes: "-".join(changes),
    )
    def test_however_it_is_computed(self, full, changes):
        self.check(lambda: full(**changes), 1)

    def test_dropout_is_drawn_anew_at_each_step(self, make_learner):
        """By epoch and step, so that what went before does not matter."""
        learner = make_learner(seed=3)
        drawn: list[Tensor] = []
        learner.network.projection.register_forward_pre_hook(lambda *_: drawn.append(torch.rand(4)))
        run(learner, 1, 2)
        assert len({tuple(each.tolist()) for each in drawn}) == 2 * STEPS
        again, drawn = drawn, []
        other = make_learner(seed=3)
        other.network.projection.register_forward_pre_hook(lambda *_: drawn.append(torch.rand(4)))
        list(other.epoch(2, 1))
        assert all(torch.equal(a, b) for a, b in zip(drawn, again[STEPS + 1 :], strict=True))


class TestAccumulation:
    """Parts of a batch one after another: the gradients of the whole, where norms rest."""

    def test_gradients_are_those_of_the_whole_batch(self, make_learner, adams):
        """A network without batch norms; everything in it learns."""
        changes = {"backbone": "test_vit3", "fusion": "none", "warmup": 0}
        rates = dict.fromkeys(("learning_rate", "proxy_learning_rate"), 1e-6)
        losses = [run(make_learner(**changes, **rates, accumulate=parts), 1) for parts in (1, 2, 4)]
        whole, *others = adams
        for adam, loss in zip(others, losses[1:], strict=True):
            assert loss == pytest.approx(losses[0], rel=1e-5)
            assert len(adam.gradients) == len(whole.gradients) == STEPS
            for one, other in zip(whole.gradients[0], adam.gradients[0], strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)

    def test_with_resting_batch_norms(self, make_learner, adams):
        for parts in (1, 2):
            next(make_learner(accumulate=parts, warmup=1).epoch(1))
        for one, other in zip(*(adam.gradients[0] for adam in adams), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)

    def test_step_counts_the_whole_batch(self, make_learner):
        steps = list(make_learner(accumulate=4).epoch(1))
        assert [(step.number, step.images) for step in steps] == [(n, 8) for n in (1, 2, 3, 4)]

    def test_network_sees_a_part_at_a_time(self, make_learner):
        learner = make_learner(accumulate=2)
        seen: list[int] = []
        learner.network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
        run(learner, 1)
        assert seen == [4] * 2 * STEPS

    def test_of_incomplete_batches_no_part_is_shown(self, make_learner):
        """32 images are 3 batches of 10, and 6 parts of 5."""
        learner = make_learner(accumulate=2, batch_size=10)
        seen: list[int] = []
        learner.network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
        assert len(run(learner, 1)) == 3
        assert seen == [5] * 6


class TestComputation:
    def test_compiled_where_asked_for(self, make_learner, monkeypatch):
        compiled: list[torch.nn.Module] = []
        monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or module)
        plain = make_learner()
        assert compiled == []
        learner = make_learner(compile=True)
        assert compiled == [learner.network]
        assert run(learner, 1) == run(plain, 1)
        assert learner.state().keys() == plain.state().keys()

    def test_checkpointed_gradients_are_the_same(self, make_learner):
        plain, sparing = (make_learner(warmup=0, checkpoint_gradients=c) for c in (False, True))
        assert run(sparing, 1, 2) == pytest.approx(run(plain, 1, 2), rel=1e-5)
        for name, tensor in plain.network.state_dict().items():
            if "running" in name or "num_batches" in name:  # counted once
                torch.testing.assert_close(sparing.network.state_dict()[name], tensor)

    def test_half_precision_on_the_cpu(self, make_learner):
        """Coarser, and not far away; weights and moments stay in single precision."""
        changes = {"learning_rate": 1e-5, "proxy_learning_rate": 1e-3, "warmup": 0}
        learner = make_learner(
            fabric=Fabric(accelerator="cpu", precision="bf16-mixed"),
            precision="bf16-mixed",
            **changes,
        )
        seen: list[torch.dtype] = []
        learner.network.projection.register_forward_hook(lambda *a: seen.append(a[-1].dtype))
        coarse = run(learner, 1)
        assert set(seen) == {torch.bfloat16}
        assert coarse == pytest.approx(run(make_learner(**changes), 1), rel=0.05)
        floats = [t.dtype for t in learner.state().values() if t.is_floating_point()]
        assert set(floats) == {torch.float32}

    def test_scale_of_losses_is_part_of_the_state(self, make_learner):
        """16-mixed on a CPU: slow, and refused by the program, but it is the same scaler."""

        def make() -> tuple[Learner, torch.amp.GradScaler]:
            scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
            plugin = MixedPrecision("16-mixed", "cpu", scaler)
            fabric = Fabric(accelerator="cpu", plugins=[plugin])
            return make_learner(fabric=fabric, warmup=0), scaler

        learner, scaler = make()
        run(learner, 1)
        assert (scaler.get_scale(), scaler.state_dict()["_growth_tracker"]) == (2048.0, 1)
        other, fresh = make()
        other.load_state({name: tensor.clone() for name, tensor in learner.state().items()})
        assert fresh.state_dict() == scaler.state_dict()
        assert run(other, 2) == run(learner, 2)
        assert fresh.state_dict() == scaler.state_dict()

    @pytest.mark.parametrize(
        ("changes", "images"), [({"batch_size": 2}, 2), ({"accumulate": 4}, 2)]
    )
    def test_fewer_images_than_processes(self, make_learner, changes, images):
        with pytest.raises(ConfigError) as caught:
            make_learner(processes=Processes(0, 3), **changes)
        assert str(caught.value) == (
            f"{images} images at a time are too few for 3 processes; "
            "choose a larger batch_size or fewer devices"
        )
