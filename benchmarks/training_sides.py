"""The sides of ``benchmarks/training.py``, each a process that trains an epoch when told to.

A side says on standard output what it starts from, then reads the numbers of epochs from standard
input and answers each with what the epoch took; both in lines of JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from torch import nn

    from msedge.data.datasets import ImageSet
    from msedge.data.layouts import Split
    from msedge.training.config import TrainConfig

_SEED = 0
_BATCHES_AT_HAND = 4  # on the device, for the side that reads nothing


@dataclass(frozen=True)
class Setting:
    """What is compared; a side gets it as JSON.

    Attributes:
        data: the dataset's folder, in the training layout.
        cache: where our side keeps its pixels; empty at first.
        warmup: first epochs with the backbone frozen.
        workers: processes of the reference loop that read images.
    """

    backbone: str
    weights: str
    fusion: str
    size: int
    batch: int
    epochs: int
    accelerator: str
    precision: str
    compile: bool
    data: str
    cache: str
    warmup: int = 0
    workers: int = 0

    @classmethod
    def of(cls, options: argparse.Namespace, fusion: str, scratch: Path) -> Self:
        """From the command line; draws the sample set where no data is named."""
        from msedge.data.sample import write_sample
        from msedge.models.backbones import PACKAGED_WEIGHTS

        given = {name: value for name, value in vars(options).items() if name in cls._settings()}
        packaged = "imagenet" if options.backbone in PACKAGED_WEIGHTS else "none"
        mixed = "bf16-mixed" if options.accelerator == "cuda" else "32"
        return cls(
            **given
            | {
                "weights": options.weights or packaged,
                "fusion": fusion,
                "precision": options.precision or mixed,
                "data": str((options.data or write_sample(scratch)).resolve()),
                "cache": str(scratch / f"pixels-{fusion}"),
            }
        )

    @classmethod
    def _settings(cls) -> set[str]:
        return {field.name for field in fields(cls)}

    def to_json(self) -> str:
        """For the command line of a side."""
        return json.dumps(asdict(self))

    def config(self, devices: int = 1) -> TrainConfig:
        """The run of our side; the reference loop takes its sizes and rates from it as well."""
        from msedge.training.config import TrainConfig

        return TrainConfig.model_validate(
            {
                "backbone": self.backbone,
                "weights": self.weights,
                "fusion": self.fusion,
                "image_size": self.size,
                "batch_size": self.batch,
                "epochs": self.epochs,
                "warmup": self.warmup,
                "accelerator": self.accelerator,
                "devices": devices,
                "precision": self.precision,
                "compile": self.compile,
                "seed": _SEED,
            }
        )

    def split(self) -> Split:
        """The training images."""
        from msedge.data.layouts import read_dataset

        folder = Path(self.data)
        return read_dataset(folder.parent, folder.name).train

    def images(self) -> ImageSet:
        """The same, as our side reads them: by the cache of pixels."""
        from msedge.data.datasets import ImageSet
        from msedge.data.pixel_cache import PixelCache

        split = self.split()
        cache = PixelCache.open(
            Path(self.cache),
            split.records,
            size=self.size,
            frame_sketches=False,
            limit_gb=self.config().cache_gb,
        )
        return ImageSet(split.records, split.classes, size=self.size, cache=cache)


@dataclass(frozen=True)
class Epoch:
    """What an epoch took.

    Attributes:
        seconds: by the clock.
        cpu_seconds: that its processes and threads computed, all cores together.
        losses: of every step.
        matrix_rates: FLOP a second by number format, from the side that measures them.
    """

    seconds: float
    cpu_seconds: float = 0.0
    images: int = 0
    losses: list[float] = field(default_factory=list)
    matrix_rates: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds

    @property
    def loss(self) -> float:
        """The mean loss."""
        return statistics.fmean(self.losses)


def serve(name: str, setting: Setting) -> None:
    """Be a side until standard input ends."""
    # What libraries print must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ready, epoch = {
        "reference": _reference,
        "ours": _ours,
        "tensors": _tensors,
        "limits": _limits,
    }[name](setting)
    print(json.dumps(ready), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(epoch(int(line)))), file=answers, flush=True)


Served = tuple[dict[str, Any], Callable[[int], Epoch]]


def _reference(setting: Setting) -> Served:
    import torch

    from reference_loop import ReferenceLoop

    # The family asks for eight, however few cores there are.
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    split = setting.split()
    torch.manual_seed(_SEED)
    loop = ReferenceLoop(
        setting.config(),
        split.records,
        split.classes,
        device=torch.device(setting.accelerator),
        workers=setting.workers,
    )
    images = loop.steps_an_epoch * setting.batch
    return _started(loop.network), lambda number: _timed(setting, images, loop.epoch(number))


def _ours(setting: Setting) -> Served:
    from msedge.training.allocator import keep_freed_memory

    keep_freed_memory()
    import torch

    from msedge.training.launch import launch
    from msedge.training.learner import Learner

    config, images = setting.config(), setting.images()
    fabric, processes = launch(config)
    torch.manual_seed(_SEED)
    learner = Learner(config, fabric, images, None, processes=processes)
    seen = learner.steps_an_epoch * setting.batch

    def train(number: int) -> Iterator[float]:
        # Fetched at the end: training never waits for the device on account of a loss.
        losses = [step.loss for step in learner.epoch(number)]
        yield from map(float, losses)

    return _started(learner.network), lambda number: _timed(setting, seen, train(number))


def _tensors(setting: Setting) -> Served:
    """Our network and optimiser, with nothing to read and no loss to fetch."""
    from msedge.training.allocator import keep_freed_memory

    keep_freed_memory()
    import torch
    from torch import Tensor

    from msedge.models.network import MSEdge
    from msedge.training.launch import launch
    from msedge.training.losses import create_loss

    split, config = setting.split(), setting.config()
    fabric, _ = launch(config)
    torch.manual_seed(_SEED)
    network = MSEdge(
        config.backbone, dim=config.dim, fusion=config.fusion, image_size=config.image_size
    ).to(fabric.device, memory_format=torch.channels_last)
    criterion = create_loss(config.loss, classes=len(split.classes), dim=config.dim)
    criterion.to(fabric.device)
    learned = [*network.parameters(), *criterion.parameters()]
    optimizer = torch.optim.Adam(learned, lr=config.learning_rate, fused=True)
    run, stepper = fabric.setup(torch.compile(network) if config.compile else network, optimizer)
    steps = len(split.records) // setting.batch
    shape = (setting.batch, 3, setting.size, setting.size)
    at_hand = [
        (
            torch.rand(shape, device=fabric.device).to(memory_format=torch.channels_last),
            torch.randint(len(split.classes), shape[:1], device=fabric.device),
        )
        for _ in range(_BATCHES_AT_HAND)
    ]

    def train(number: int) -> Iterator[float]:
        run.train()
        for parameter in network.backbone.parameters():
            parameter.requires_grad_(number > config.warmup)
        losses: list[Tensor] = []
        for images, labels in itertools.islice(itertools.cycle(at_hand), steps):
            loss = criterion(run(images).float(), labels)
            stepper.zero_grad()
            fabric.backward(loss)
            stepper.step()
            losses.append(loss.detach())
        yield from map(float, losses)

    return {}, lambda number: _timed(setting, steps * setting.batch, train(number))


def _limits(setting: Setting) -> Served:
    """No training: how fast matrices are multiplied, as often as the others train."""
    import torch

    from matrix_rate import matrix_rate, number_format, step_flops

    device = torch.device(setting.accelerator)
    ours = number_format(device, setting.precision)
    formats = {"reference": number_format(device, "32"), "ours": ours, "tensors": ours}
    flops = step_flops(setting.config())

    def epoch(_: int) -> Epoch:
        rates = {name: matrix_rate(device, name) for name in dict.fromkeys(formats.values())}
        return Epoch(0.0, matrix_rates=rates)

    return {"flops": flops, "formats": formats}, epoch


def _started(network: nn.Module) -> dict[str, Any]:
    """A digest of the weights that a side starts from, whatever their order in memory."""
    digest = hashlib.sha256()
    for name, parameter in sorted(network.named_parameters()):
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return {"weights": digest.hexdigest()}


def _timed(setting: Setting, images: int, losses: Iterable[float]) -> Epoch:
    import torch

    from matrix_rate import wait

    computed, start = _cpu_seconds(), time.perf_counter()
    taken = list(losses)
    wait(torch.device(setting.accelerator))
    seconds = time.perf_counter() - start
    return Epoch(seconds, _cpu_seconds() - computed, images, taken)


def _cpu_seconds() -> float:
    """Of this process and of the workers that have ended, as they do with each epoch."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
