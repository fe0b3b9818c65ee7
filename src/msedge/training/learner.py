"""The network with what trains it: loss, optimiser, schedule, and an epoch of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from msedge.data.datasets import Batch, ImageSet
from msedge.data.layouts import DOMAINS
from msedge.data.transforms import draw_mirrored, mirror, to_unit_range
from msedge.errors import ConfigError, DataError
from msedge.models.adaptation import adapt, keep_frozen
from msedge.models.edges import edge_views
from msedge.models.network import FrozenFeatures, MSEdge
from msedge.training.config import TrainConfig
from msedge.training.distillation import DistillationLoss
from msedge.training.frozen_cache import FrozenCache
from msedge.training.losses import create_loss
from msedge.training.run_files import pack_optimizer, unpack_optimizer

_RISING_STEPS = 20
_PHOTO = DOMAINS.index("photo")


class Learner:
    """What changes while training.

    Attributes:
        network: the plain network, for saving.
        average: the running mean of its weights, where the configuration asks for one.
    """

    def __init__(
        self,
        config: TrainConfig,
        fabric: Fabric,
        images: ImageSet,
        targets: Tensor | None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Build everything from the configuration; ``torch.manual_seed`` decides the weights.

        Args:
            config: the run.
            fabric: device and precision.
            images: the training images.
            targets: the teacher's answers ``(N, K)`` where distillation is on.
            progress: called with images done and images in all, while ``cache_frozen`` fills.

        Raises:
            ConfigError: ``cache_frozen`` does not fit the network or the memory.
        """
        self._config, self._fabric = config, fabric
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
        self._loader = images.batches(config.batch_size, shuffle=True)
        self.steps_an_epoch = len(self._loader)

        adapt(self.network, config.adapt, rank=config.lora_rank, prompts=config.prompt_tokens)
        self.network.backbone.freeze(config.frozen_blocks)
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
                part.to(fabric.device)
        optimizer = torch.optim.Adam(groups, weight_decay=config.weight_decay)
        self._views = edge_views(config.edge_kind)
        self._frozen: FrozenCache | None = None
        if config.cache_frozen and config.adapt != "full":
            raise ConfigError(
                f"cache_frozen keeps what frozen_blocks say, but adapt: {config.adapt} changes "
                "blocks everywhere; use adapt: full with frozen_blocks"
            )
        if config.cache_frozen:
            self._frozen = FrozenCache(
                self.network,
                images,
                blocks=config.frozen_blocks,
                views=self._views if config.edge_views else (),
                limit_gb=config.cache_gb,
                device=fabric.device,
                folder=config.keep_dir,
                progress=progress,
            )
            self._loader = images.rows(config.batch_size, shuffle=True)
        self._wrapped, self._optimizer = fabric.setup(self.network, optimizer)
        self.average: AveragedModel | None = None
        if config.averaging:
            self.average = AveragedModel(
                self.network, avg_fn=_towards(config.averaging), use_buffers=True
            )

    def judged(self) -> nn.Module:
        """The network whose weights are judged and saved: the average, or the last."""
        return self.average.module if self.average is not None else self.network

    def epoch(self, number: int) -> Iterator[tuple[int, float]]:
        """Train for one epoch; everything random in it follows from the seed and its number.

        Args:
            number: from 1.

        Yields:
            The steps done so far and the loss of the last one.
        """
        config = self._config
        torch.manual_seed(config.seed * 100_003 + number)
        self._wrapped.train()
        for parameter in self._learning:
            parameter.requires_grad_(number > config.warmup)
        keep_frozen(self.network)
        self.network.backbone.freeze(config.frozen_blocks)
        first = (number - 1) * self.steps_an_epoch
        for step, batch in enumerate(self._loader):
            self._set_rates(first + step)
            loss = self._loss(batch)
            self._optimizer.zero_grad()
            self._fabric.backward(loss)
            self._optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.network)
            yield step + 1, loss.item()

    def _loss(self, batch: Batch) -> Tensor:
        """The metric loss of a batch, and what the configuration adds to it."""
        config, device = self._config, self._fabric.device
        labels = batch.labels.to(device)
        photos = torch.nonzero(batch.domains == _PHOTO)[:, 0]
        most = int(config.edge_view_share * len(labels)) if config.edge_views else 0
        viewed = photos[:most]
        embeddings = self._wrapped(self._seen(batch, viewed)).float()
        embeddings, views = embeddings.split([len(labels), len(viewed)])
        loss: Tensor = self._proxies(embeddings, labels)
        if len(viewed):
            # A photo's edges belong to its class, and lie where the photo lies.
            apart = 1 - functional.cosine_similarity(views, embeddings[viewed]).mean()
            loss = loss + config.edge_views * (self._proxies(views, labels[viewed]) + apart)
        if self._distillation is not None:
            loss = loss + config.distillation * self._distillation(embeddings, batch.rows)
        return loss

    def _seen(self, batch: Batch, viewed: Tensor) -> Tensor | FrozenFeatures:
        """A batch as the network sees it: half of it mirrored, then edge views of some photos."""
        mirrored = draw_mirrored(len(batch.rows))
        kinds = torch.zeros(len(viewed), dtype=torch.int64)
        if len(self._views) > 1:
            kinds = torch.randint(len(self._views), (len(viewed),))
        if self._frozen is not None:
            both = torch.cat([mirrored, mirrored[viewed]])
            return self._frozen.features(batch.rows, viewed, kinds, both)
        images = mirror(to_unit_range(batch.images.to(self._fabric.device)), mirrored)
        if len(viewed):
            drawn = torch.empty_like(images[viewed])
            for kind, view in enumerate(self._views):
                drawn[kinds == kind] = view(images[viewed[kinds == kind]])
            images = torch.cat([images, drawn])
        return images.contiguous(memory_format=torch.channels_last)

    def _set_rates(self, step: int) -> None:
        factor = 1.0
        if self._config.schedule == "cosine":
            share = step / (self.steps_an_epoch * self._config.epochs)
            factor = min(1, (step + 1) / _RISING_STEPS) * (1 + math.cos(math.pi * share)) / 2
        for group, peak in zip(self._optimizer.param_groups, self._peak_rates, strict=True):
            group["lr"] = factor * peak

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next epoch depends on, by part and name."""
        tensors = {
            f"{part}/{name}": tensor
            for part, module in self._parts().items()
            for name, tensor in module.state_dict().items()
        }
        packed = pack_optimizer(self._optimizer.optimizer)
        return tensors | {f"optimizer/{name}": tensor for name, tensor in packed.items()}

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


class _towards:  # noqa: N801
    """How a running mean of weights takes in the next ones, quickly while it is young."""

    def __init__(self, decay: float) -> None:
        self._decay = decay

    def __call__(self, mean: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        if not mean.is_floating_point():
            return current
        decay = min(self._decay, (int(count) + 1) / (int(count) + 10))
        return mean.lerp(current, 1 - decay)
