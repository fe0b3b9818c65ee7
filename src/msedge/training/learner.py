"""The network with what trains it: loss, optimiser, schedule, and an epoch of steps.

Several processes train as one would: each embeds its share of a batch, every one gathers all
embeddings and computes the same loss from them, batch norms use the statistics of the whole batch,
and DistributedDataParallel averages the gradients. So the number of processes changes a run by the
rounding of floats alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from msedge.data.datasets import ImageSet
from msedge.data.layouts import DOMAINS
from msedge.data.transforms import compose, mirror, to_unit_range
from msedge.errors import ConfigError, DataError
from msedge.models.adaptation import adapt, keep_frozen
from msedge.models.edges import edge_views
from msedge.models.gradient_checkpointing import checkpoint_gradients
from msedge.models.network import FrozenFeatures, MSEdge
from msedge.training.averaging import RunningMean
from msedge.training.batch_norm import synchronise_batch_norm
from msedge.training.config import TrainConfig
from msedge.training.distillation import DistillationLoss
from msedge.training.frozen_cache import FrozenCache
from msedge.training.losses import create_loss
from msedge.training.optimizer_state import pack_optimizer, unpack_optimizer
from msedge.training.plan import (
    BatchPlan,
    Composition,
    Share,
    plan_compositions,
    plan_epoch,
    take_share,
)
from msedge.training.processes import Processes
from msedge.training.stopwatch import Stopwatch
from msedge.training.transfer import sent

_PHOTO = DOMAINS.index("photo")
_RISING_STEPS = 20
_STEP_SEEDS_APART = 1_000_003
_SEEDS = 2**63


@dataclass(frozen=True)
class Step:
    """A training step that is done.

    Attributes:
        number: in the epoch, from 1.
        loss: of the whole batch, a scalar that may still be on its way from the device.
        images: that were trained on, of all processes together.
        rate: the learning rate of the backbone.
    """

    number: int
    loss: Tensor
    images: int
    rate: float


class Learner:
    """What changes while training.

    Attributes:
        network: the plain network, for saving.
        average: the running mean of its weights, where the configuration asks for one.
        steps_an_epoch: batches that an epoch fills.
        stopwatch: where the time of the steps went.
    """

    def __init__(
        self,
        config: TrainConfig,
        fabric: Fabric,
        images: ImageSet,
        targets: Tensor | None,
        *,
        processes: Processes | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Build everything from the configuration; ``torch.manual_seed`` decides the weights.

        Args:
            config: the run.
            fabric: device and precision, and the processes where there are several.
            images: the training images.
            targets: the teacher's answers ``(N, K)`` where distillation is on.
            processes: those of ``fabric``; without them this one alone.
            progress: called with images done and images in all, while ``cache_frozen`` fills.

        Raises:
            ConfigError: ``cache_frozen`` does not fit the network or the memory, gradients cannot
                be checkpointed, or the batch cannot be divided between the processes.
        """
        self._config, self._fabric, self._images = config, fabric, images
        self._processes = processes or Processes()
        self.stopwatch = Stopwatch()
        self._part = config.batch_size // config.accumulate
        if self._part < self._processes.count:
            raise ConfigError(
                f"{self._part} images at a time are too few for {self._processes.count} processes; "
                "choose a larger batch_size or fewer devices"
            )
        self.steps_an_epoch = len(images) // config.batch_size
        self.network = MSEdge(
            config.backbone,
            dim=config.dim,
            fusion=config.fusion,
            image_size=config.image_size,
            weights=config.weights,
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._proxies = create_loss(
            config.loss,
            classes=len(images.classes),
            dim=config.dim,
            temperature=config.temperature,
        )
        self._distillation = DistillationLoss(config.dim, targets) if targets is not None else None
        adapt(self.network, config.adapt, rank=config.lora_rank, prompts=config.prompt_tokens)
        self.network.backbone.freeze(config.frozen_blocks)
        synchronise_batch_norm(self.network, self._processes)
        self._views = edge_views(config.edge_kind)
        self._optimizer = cast(_FabricOptimizer, fabric.setup_optimizers(self._create_optimizer()))
        self._frozen = self._create_frozen(progress)
        self._check_composed()
        if config.checkpoint_gradients:
            checkpoint_gradients(self.network)
        self._computed: nn.Module = self.network
        if config.compile:
            self._computed = torch.compile(self.network)  # type: ignore[assignment]
        self._wrapped: _FabricModule | None = None
        self._wrapped_for: bool | None = None
        self.average: AveragedModel | None = None
        if config.averaging:
            self.average = AveragedModel(
                self.network, avg_fn=RunningMean(config.averaging), use_buffers=True
            )

    def _create_optimizer(self) -> torch.optim.Optimizer:
        config, device = self._config, self._fabric.device
        head_rate = config.head_learning_rate or config.learning_rate
        head = [*self.network.fusion.parameters(), *self.network.projection.parameters()]
        if self._distillation is not None:
            head += self._distillation.parameters()
        self._learning = [p for p in self.network.backbone.parameters() if p.requires_grad]
        groups = [
            {"params": self._learning, "lr": config.learning_rate},
            {"params": head, "lr": head_rate},
            {"params": list(self._proxies.parameters()), "lr": config.proxy_learning_rate},
        ]
        self._peak_rates = [config.learning_rate, head_rate, config.proxy_learning_rate]
        for part in (self.network, self._proxies, self._distillation):
            if part is not None:
                part.to(device)
        fused = device.type in ("cpu", "cuda")
        return torch.optim.Adam(groups, weight_decay=config.weight_decay, fused=fused)

    def _create_frozen(self, progress: Callable[[int, int], None] | None) -> FrozenCache | None:
        config = self._config
        if not config.cache_frozen:
            return None
        if config.adapt != "full":
            raise ConfigError(
                f"cache_frozen keeps what frozen_blocks say, but adapt: {config.adapt} changes "
                "blocks everywhere; use adapt: full with frozen_blocks"
            )
        with self._processes.after_the_first():
            return FrozenCache(
                self.network,
                self._images,
                blocks=config.frozen_blocks,
                views=self._views if config.edge_views else (),
                limit_gb=config.cache_gb,
                device=self._fabric.device,
                folder=config.keep_dir,
                progress=progress,
            )

    def _check_composed(self) -> None:
        config = self._config
        if not config.composed:
            return
        if not (self._images.domains == _PHOTO).any():
            raise ConfigError("composed needs photos to make others of; there are none to train on")
        if self.network.backbone.size_is_fixed and config.composed_size != config.image_size:
            raise ConfigError(
                f"{config.backbone} reads images of one size alone; let composed_size be "
                f"{config.image_size}, its image_size"
            )

    def judged(self) -> nn.Module:
        """The network whose weights are judged and saved: the average, or the last."""
        return self.average.module if self.average is not None else self.network

    def epoch(self, number: int, done: int = 0) -> Iterator[Step]:
        """Train for one epoch; everything random in it follows from the seed and its number.

        Args:
            number: from 1.
            done: steps of it that are done already, in a run that is gone on with.

        Yields:
            Every step, when it is done.

        Raises:
            DataError: an image cannot be read.
        """
        config, processes = self._config, self._processes
        self._begin(number)
        plans = list(
            plan_epoch(
                self._images.domains,
                seed=config.seed,
                epoch=number,
                batch_size=self._part,
                view_kinds=len(self._views),
                most_views=int(config.edge_view_share * self._part) if config.edge_views else 0,
            )
        )[done * config.accumulate : self.steps_an_epoch * config.accumulate]
        shares = [
            take_share(plan, processes.share(len(plan.rows) + len(plan.viewed))) for plan in plans
        ]
        pixels = self._pixels(shares)
        made = self._compositions(number)
        for step in range(done, self.steps_an_epoch):
            position = (number - 1) * self.steps_an_epoch + step
            rate = self._set_rates(position)
            # Of dropout, which so repeats whatever went before.
            seed = (config.seed * _STEP_SEEDS_APART + position) * processes.count + processes.rank
            torch.manual_seed(seed % _SEEDS)
            first = (step - done) * config.accumulate
            parts = range(first, first + config.accumulate)
            last = None if made else parts[-1]
            loss = sum(self._learn(plans[i], shares[i], pixels, i == last) for i in parts)
            if made:
                loss = loss + self._learn_composed(made[step])
            with self.stopwatch.phase("optimizer"):
                self._optimizer.step()
                self._optimizer.zero_grad()
                if self.average is not None:
                    self.average.update_parameters(self.network)
            yield Step(step + 1, torch.as_tensor(loss), config.batch_size, rate)

    def _begin(self, number: int) -> None:
        """Set free what learns in this epoch, and join the processes over it."""
        config = self._config
        self.network.train()
        resting = number <= config.warmup
        for parameter in self._learning:
            parameter.requires_grad_(not resting)
        keep_frozen(self.network)
        self.network.backbone.freeze(config.frozen_blocks)
        for part in (self._proxies, self._distillation):
            if part is not None:
                self._processes.broadcast(part)
        if self._wrapped is None or self._wrapped_for != resting:
            # DistributedDataParallel expects the parameters that learn to stay the same.
            self._wrapped = None
            self._wrapped = self._fabric.setup_module(self._computed)
            self._wrapped_for = resting

    def _pixels(self, shares: list[Share]) -> Iterator[Tensor | None]:
        if self._frozen is not None:
            yield from (None for _ in shares)
            return
        device = self._fabric.device
        stream = self._images.stream((s.rows for s in shares), pin=device.type == "cuda")
        yield from sent(stream, device)

    def _learn(
        self, plan: BatchPlan, share: Share, pixels: Iterator[Tensor | None], last: bool
    ) -> Tensor:
        """Add the gradients of one part of a batch; returns its part of the loss."""
        phase = self.stopwatch.phase
        with phase("data"):
            read = next(pixels)
        with phase("views"):
            shown = self._shown(share, read)
        if self._wrapped is None:
            raise RuntimeError("an epoch has to begin before its steps")
        with self._fabric.no_backward_sync(self._wrapped, enabled=not last):
            with phase("forward"):
                local = self._wrapped(shown).float()
            with phase("loss"):
                count = len(plan.rows) + len(plan.viewed)
                loss = self._loss(plan, self._processes.gather(local, count))
                loss = loss / self._config.accumulate
            with phase("backward"):
                self._fabric.backward(loss)
        return loss.detach()

    def _compositions(self, epoch: int) -> list[Composition]:
        """The photos made of others of each step; none where the configuration wants none."""
        config = self._config
        if not config.composed:
            return []
        return plan_compositions(
            self._images.domains,
            seed=config.seed,
            epoch=epoch,
            steps=self.steps_an_epoch,
            count=max(1, int(config.composed_share * config.batch_size)),
        )

    def _learn_composed(self, made: Composition) -> Tensor:
        """Add the gradients of photos made of others, which are to lie near all that is in them.

        They come at a size of their own, few at a time: batch norms keep to their running
        statistics, as they will in a search.
        """
        phase, config, device = self.stopwatch.phase, self._config, self._fabric.device
        own = self._processes.share(len(made.rows))
        with phase("data"):
            read = self._images.pixels(made.rows[own].flatten())
        with phase("views"):
            parts = to_unit_range(read.to(device)).reshape(*made.rows[own].shape, *read.shape[1:])
            shown = compose(parts, made.shares[own], made.places[own], config.composed_size)
        if self._wrapped is None:
            raise RuntimeError("an epoch has to begin before its steps")
        with _resting_norms(self.network):
            with phase("forward"):
                local = self._wrapped(shown).float()
            with phase("loss"):
                embeddings = self._processes.gather(local, len(made.rows))
                labels = self._images.labels[made.rows].to(device)
                several = embeddings.repeat_interleave(labels.shape[1], dim=0)
                loss = config.composed * self._proxies(several, labels.flatten())
            with phase("backward"):
                self._fabric.backward(loss)
        return cast(Tensor, loss.detach())

    def _loss(self, plan: BatchPlan, embeddings: Tensor) -> Tensor:
        """The metric loss of a batch, and what the configuration adds to it."""
        config = self._config
        labels = self._images.labels[plan.rows].to(embeddings.device)
        embeddings, views = embeddings[: len(labels)], embeddings[len(labels) :]
        loss: Tensor = self._proxies(embeddings, labels)
        if len(views):
            # A photo's edges belong to its class, and lie where the photo lies.
            viewed = plan.viewed.to(embeddings.device)
            apart = 1 - functional.cosine_similarity(views, embeddings[viewed]).mean()
            loss = loss + config.edge_views * (self._proxies(views, labels[viewed]) + apart)
        if self._distillation is not None:
            loss = loss + config.distillation * self._distillation(embeddings, plan.rows)
        return loss

    def _shown(self, share: Share, pixels: Tensor | None) -> Tensor | FrozenFeatures:
        """A share as the network sees it: images, mirrored or not, then edge views."""
        if pixels is None:
            return self._kept(share)
        images = to_unit_range(mirror(pixels, share.mirrored))
        if not len(share.viewed):
            return images
        drawn = images.new_empty(len(share.viewed), *images.shape[1:])
        for kind, view in enumerate(self._views):
            chosen = torch.nonzero(share.kinds == kind)[:, 0]
            if len(chosen):
                drawn[chosen.to(images.device)] = view(
                    images[share.viewed[chosen].to(images.device)]
                )
        shown = torch.cat([images[: share.shown], drawn])
        return shown.contiguous(memory_format=torch.channels_last)

    def _kept(self, share: Share) -> FrozenFeatures:
        if self._frozen is None:
            raise RuntimeError("there are no pixels, and nothing is kept of them")
        mirrored = torch.cat([share.mirrored, share.mirrored[share.viewed]])
        found = self._frozen.features(share.rows, share.viewed, share.kinds, mirrored)
        if share.shown == len(share.rows):
            return found
        views = torch.arange(len(share.rows), len(mirrored))
        wanted = torch.cat([torch.arange(share.shown), views]).to(self._fabric.device)
        return FrozenFeatures(
            found.blocks,
            [tensor[wanted] for tensor in found.features],
            [tensor[wanted] for tensor in found.edges],
        )

    def _set_rates(self, step: int) -> float:
        """Set the rates of a step of the whole run; returns the backbone's."""
        factor = 1.0
        if self._config.schedule == "cosine":
            share = step / (self.steps_an_epoch * self._config.epochs)
            factor = min(1, (step + 1) / _RISING_STEPS) * (1 + math.cos(math.pi * share)) / 2
        for group, peak in zip(self._optimizer.param_groups, self._peak_rates, strict=True):
            group["lr"] = factor * peak
        return factor * self._peak_rates[0]

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next epoch depends on, by part and name."""
        tensors = {
            f"{part}/{name}": tensor
            for part, module in self._parts().items()
            for name, tensor in module.state_dict().items()
        }
        packed = pack_optimizer(self._optimizer.optimizer)
        tensors |= {f"optimizer/{name}": tensor for name, tensor in packed.items()}
        # 16-mixed scales its losses by what earlier steps have shown.
        scaling = self._fabric.strategy.precision.state_dict()
        return tensors | {f"precision/{n}": torch.tensor(value) for n, value in scaling.items()}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Go back to a :meth:`state`.

        Raises:
            DataError: it is not of this network, as after another version of timm.
        """
        by_part: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            by_part.setdefault(part, {})[name] = tensor
        try:
            for part, module in self._parts().items():
                module.load_state_dict(by_part.get(part, {}))
            unpack_optimizer(self._optimizer.optimizer, by_part.get("optimizer", {}))
            scaling = {n: tensor.item() for n, tensor in by_part.get("precision", {}).items()}
            if scaling:
                self._fabric.strategy.precision.load_state_dict(scaling)
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise DataError(
                f"the killed run's state does not fit this network ({reason}); "
                "leave out --resume to start anew"
            ) from error

    def _parts(self) -> dict[str, nn.Module]:
        parts = {
            "network": self.network,
            "proxies": self._proxies,
            "distillation": self._distillation,
            "average": self.average,
        }
        return {name: part for name, part in parts.items() if part is not None}


@contextmanager
def _resting_norms(network: nn.Module) -> Iterator[None]:
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()
