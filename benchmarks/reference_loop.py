"""Training as the repositories of this family do it, to be measured beside ours.

They share one recipe: worker processes open each image with Pillow and take it through the
transforms of torchvision one by one, every epoch anew; batches are contiguous float32; the network
runs eagerly in float32; Adam has two groups, the network and the loss's proxies; the loss is
fetched every step; for some epochs the backbone is frozen. The transforms are written out here, as
torchvision does them on Pillow images. The network is ours, and so is the draw of what is shown in
which order and what of it is mirrored, so that the two loops differ in how they train and not in
what: their losses can be compared step by step. ``benchmarks/training.py`` runs both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from pytorch_metric_learning.losses import NormalizedSoftmaxLoss
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from msedge.data.layouts import Record
from msedge.models.network import MSEdge
from msedge.training.config import TrainConfig
from msedge.training.plan import plan_epoch

Statistics = tuple[float, ...]


class TransformedImages(Dataset[tuple[Tensor, int]]):
    """Image files, each opened and transformed when it is asked for."""

    def __init__(
        self,
        records: Sequence[Record],
        classes: Sequence[str],
        *,
        size: int,
        mean: Statistics,
        std: Statistics,
    ) -> None:
        """Take the records; ``mean`` and ``std`` are those of a channel in [0, 1]."""
        self._records = records
        self._label = {name: label for label, name in enumerate(classes)}
        self._size = size
        self._mean = torch.tensor(mean).view(3, 1, 1)
        self._std = torch.tensor(std).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, shown: tuple[int, bool]) -> tuple[Tensor, int]:
        """The image of a row, mirrored or not, ``(3, S, S)``, float32, normalised; its label."""
        row, mirrored = shown
        record = self._records[row]
        with Image.open(record.path) as opened:
            image = opened.convert("RGB")
        image = image.resize((self._size, self._size), Image.Resampling.BILINEAR)  # Resize
        if mirrored:  # RandomHorizontalFlip
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        unit = pixels.to(torch.float32).div(255)  # ToTensor
        return unit.sub_(self._mean).div_(self._std), self._label[record.class_name]  # Normalize


class PrenormalisedNetwork(MSEdge):
    """The same network for images that their transforms have normalised already."""

    def take_statistics(self) -> tuple[Statistics, Statistics]:
        """Make the backbone's own normalisation idle; the mean and deviation that it had."""
        backbone = self.backbone
        self._mean, self._std = backbone.mean.clone(), backbone.std.clone()
        backbone.mean.zero_()
        backbone.std.fill_(1)
        return tuple(self._mean.flatten().tolist()), tuple(self._std.flatten().tolist())

    def edges_of(self, images: Tensor, stages: list[Tensor]) -> list[Tensor]:
        """Edges are those of the image before it was normalised."""
        if not self.fusion.uses_edges:
            return []
        mean, std = self._mean.to(images.device), self._std.to(images.device)
        return super().edges_of(images * std + mean, stages)


class ReferenceLoop:
    """The loop itself.

    Attributes:
        network: what is trained.
        steps_an_epoch: whole batches in the set; the rest is dropped.
    """

    def __init__(
        self,
        config: TrainConfig,
        records: Sequence[Record],
        classes: Sequence[str],
        *,
        device: torch.device,
        workers: int = 8,
    ) -> None:
        """Build network, loss, optimiser and loader; ``torch.manual_seed`` decides the weights.

        Args:
            config: backbone, fusion, sizes, rates and warm-up; the same as our side's.
            records: training images.
            classes: their class names, in the order of their labels.
            device: where the network is.
            workers: processes that read images.
        """
        self._config, self._device, self._workers = config, device, workers
        self.network = PrenormalisedNetwork(
            config.backbone,
            dim=config.dim,
            fusion=config.fusion,
            image_size=config.image_size,
            weights=config.weights,
        )
        self._loss = NormalizedSoftmaxLoss(
            len(classes), config.dim, temperature=config.temperature
        ).to(device)
        mean, std = self.network.take_statistics()
        self.network.to(device)
        self._optimizer = torch.optim.Adam(
            [
                {"params": self.network.parameters()},
                {"params": self._loss.parameters(), "lr": config.proxy_learning_rate},
            ],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        self._images = TransformedImages(
            records, classes, size=config.image_size, mean=mean, std=std
        )
        self.steps_an_epoch = len(records) // config.batch_size

    def epoch(self, number: int) -> Iterator[float]:
        """Train for one epoch, numbered from 1, and yield the loss of every step."""
        for parameter in self.network.backbone.parameters():
            parameter.requires_grad_(number > self._config.warmup)
        self.network.train()
        loader = DataLoader(
            self._images, batch_sampler=self._batches(number), num_workers=self._workers
        )
        for images, labels in loader:
            embeddings = self.network(images.to(self._device))
            loss = self._loss(embeddings, labels.to(self._device))
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            yield loss.item()

    def _batches(self, number: int) -> list[list[tuple[int, bool]]]:
        """Rows and whether they are mirrored, by batches; what does not fill one is dropped."""
        plans = plan_epoch(
            torch.zeros(len(self._images)),
            seed=self._config.seed,
            epoch=number,
            batch_size=self._config.batch_size,
            view_kinds=1,
            most_views=0,
        )
        return [
            list(zip(plan.rows.tolist(), plan.mirrored.tolist(), strict=True)) for plan in plans
        ]
