"""Training from folders to files: the method, read from top to bottom.

Seen classes are split into those to train on and those to choose the checkpoint with. Each epoch
the network learns, every sketch of an unseen class asks for its photos, and the row is written. The
best epoch's weights and vectors are kept.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import torch
from lightning_fabric import Fabric
from torch import nn

import msedge
from msedge.data.datasets import ImageSet
from msedge.data.layouts import (
    DOMAINS,
    Dataset,
    Record,
    Split,
    find_unreadable,
    fingerprint,
    read_dataset,
)
from msedge.data.vectors import Vectors, save_vectors
from msedge.errors import ConfigError, DataError
from msedge.models.card import Card
from msedge.models.checkpoint import save_checkpoint
from msedge.models.edges import edge_view
from msedge.models.network import MSEdge
from msedge.training.allocator import keep_freed_memory
from msedge.training.config import TrainConfig
from msedge.training.distillation import teacher_answers
from msedge.training.embedding import embed, in_percent, judge
from msedge.training.frozen_cache import FrozenCache
from msedge.training.learner import Learner
from msedge.training.run_files import EpochRow, Memory, RunFiles
from msedge.training.run_record import describe_run, protocol_of
from msedge.training.selection import hold_out

SELECTION = {
    "seen": "held-out seen classes",
    "last": "last epoch",
    "test": "TEST CLASSES (inflated)",
}
LICENCE = "Apache-2.0; backbone weights and training images keep their own terms"


class Watcher(Protocol):
    """Who is told how a run goes."""

    def say(self, message: str) -> None:
        """Take a line of news."""

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Take that ``done`` of ``total`` are done of ``what``."""

    def row(self, row: EpochRow, selected: bool) -> None:
        """Take what an epoch came to, and whether it is the best so far."""


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
        files: where it wrote.
        before: metrics on the unseen classes before training, in percent.
        rows: one an epoch.
        selected: the epoch whose weights were kept.
        selected_by: how it was chosen.
    """

    files: RunFiles
    before: dict[str, float]
    rows: tuple[EpochRow, ...]
    selected: int
    selected_by: str

    @property
    def after(self) -> dict[str, float]:
        """Metrics of the selected epoch on the unseen classes, in percent."""
        return next(row.metrics for row in self.rows if row.epoch == self.selected)


def train(config: TrainConfig, watcher: Watcher) -> RunResult:
    """Train as configured and write the run's files.

    Args:
        config: the run.
        watcher: who is told.

    Returns:
        The rows and where everything was written.

    Raises:
        MSEdgeError: the data, the configuration or the weights cannot be used; files of earlier
            runs are untouched.
    """
    keep_freed_memory()
    files = RunFiles(config)
    files.guard()
    dataset = _read_dataset(config, watcher)
    data_fingerprint = fingerprint(dataset)
    train_classes: tuple[str, ...] = dataset.train.classes
    held_out: tuple[str, ...] = ()
    if config.select == "seen":
        paired = _paired(dataset.train)
        lone = set(train_classes) - set(paired)
        trained, held_out = hold_out(paired, config.holdout)
        train_classes = tuple(sorted({*trained, *lone}))
    watcher.say(_summary(dataset, train_classes, held_out))
    finished = files.read_finished(data_fingerprint) if config.resume else None
    if finished is not None:
        watcher.say("nothing to resume: this run is finished")
        return RunResult(
            files,
            finished["before_training"],
            tuple(EpochRow(**row) for row in finished["epochs"]),
            finished["selected_epoch"],
            SELECTION[config.select],
        )

    fabric = Fabric(accelerator=config.accelerator, devices=1, precision=config.precision)
    torch.manual_seed(config.seed)
    images = _image_set(config, _shown(config, dataset.train.restrict(train_classes)))
    unseen = _image_set(config, dataset.val)
    chosen_on = _image_set(config, dataset.train.restrict(held_out)) if held_out else None
    if len(images) < config.batch_size:
        raise ConfigError(
            f"{len(images)} training images do not fill one batch of {config.batch_size}; "
            "choose a smaller batch size"
        )
    watcher.say(f"building {config.backbone} from {config.weights} weights")
    learner = Learner(
        config,
        fabric,
        images,
        _targets(config, images, fabric, watcher),
        progress=lambda done, total: watcher.progress("frozen blocks", done, total),
    )

    kept: dict[str, FrozenCache] = {}

    def vectors_of(what: str, image_set: ImageSet) -> Vectors:
        def tell(done: int, total: int) -> None:
            watcher.progress(what, done, total)

        if config.cache_frozen and what not in kept:
            kept[what] = FrozenCache(
                learner.network,
                image_set,
                blocks=config.frozen_blocks,
                views=(edge_view,) if config.gallery_edges else (),
                limit_gb=config.cache_gb,
                device=fabric.device,
                folder=config.keep_dir,
                progress=tell,
            )
        return embed(
            learner.judged(),
            image_set,
            device=fabric.device,
            edge_weight=config.gallery_edges,
            frozen=kept.get(what),
            progress=tell,
        )

    def figures(vectors: Vectors) -> dict[str, float]:
        return in_percent(judge(vectors, lambda n, all_: watcher.progress("ranking", n, all_)))

    memory = files.read_state(data_fingerprint) if config.resume else None
    if memory is None:
        watcher.say("how the network does before training")
        rows: list[EpochRow] = []
        before = figures(vectors_of("unseen classes", unseen))
    else:
        watcher.say(f"going on after epoch {len(memory.rows)} of the killed run")
        learner.load_state(memory.tensors)
        rows, before = list(memory.rows), memory.before
    selected = _best(rows)

    for epoch in range(len(rows) + 1, config.epochs + 1):
        start = time.monotonic()
        losses = []
        for step, loss in learner.epoch(epoch):
            losses.append(loss)
            watcher.progress(f"epoch {epoch}", step, learner.steps_an_epoch, f"loss {loss:.3f}")
        vectors = vectors_of("unseen classes", unseen)
        metrics = figures(vectors)
        value = float(epoch)
        if config.select == "test":
            value = metrics["mAP@all"]
        elif chosen_on is not None:
            value = figures(vectors_of("held-out classes", chosen_on))["mAP@all"]
        mean_loss = sum(losses) / len(losses)
        rows.append(EpochRow(epoch, mean_loss, metrics, value, time.monotonic() - start))
        selected = _best(rows)
        watcher.row(rows[-1], selected == epoch)
        if selected == epoch:
            card = _card(config, rows[-1], data_fingerprint, dataset, learner, len(train_classes))
            save_checkpoint(files.model, _plain(learner.judged()), card)
            save_vectors(files.vectors, vectors)
        files.write_results(rows, selected, SELECTION[config.select])
        files.write_record(
            describe_run(config, dataset, data_fingerprint, held_out, before, rows, selected)
        )
        files.write_state(Memory(learner.state(), tuple(rows), before), data_fingerprint)
    files.state.unlink(missing_ok=True)
    return RunResult(files, before, tuple(rows), selected, SELECTION[config.select])


def _read_dataset(config: TrainConfig, watcher: Watcher) -> Dataset:
    dataset = read_dataset(
        config.data_root,
        config.data_name,
        min_val_photos=config.val_photos_needed,
        lone_classes=config.lone_classes,
    )
    if not config.skip_unreadable:
        return dataset
    records = [*dataset.train.records, *dataset.val.records]
    unreadable = find_unreadable(records, lambda n, all_: watcher.progress("checking", n, all_))
    for _, reason in unreadable:
        watcher.say(f"skipped: {reason}")
    lost = {record for record, _ in unreadable}
    train = _without(dataset.train, lost)
    val = _without(dataset.val, lost)
    return Dataset(dataset.name, dataset.root, train, val)


def _without(split: Split, lost: set[Record]) -> Split:
    kept = Split(tuple(r for r in split.records if r not in lost), split.classes)
    for domain in DOMAINS:
        before, after = split.counts(domain), kept.counts(domain)
        empty = [name for name in split.classes if before[name] and not after[name]]
        if empty:
            raise DataError(
                f"class {empty[0]!r} has no {domain} that can be read; mend its files or remove it"
            )
    return kept


def _paired(split: Split) -> list[str]:
    """The classes that have sketches and photos."""
    counts = [split.counts(domain) for domain in DOMAINS]
    return [name for name in split.classes if all(count[name] for count in counts)]


def _image_set(config: TrainConfig, split: Split) -> ImageSet:
    return ImageSet(
        split.records,
        split.classes,
        size=config.image_size,
        frame_sketches=config.frame_sketches,
        cache_gb=config.cache_gb,
    )


def _shown(config: TrainConfig, split: Split) -> Split:
    if config.train_on == "both":
        return split
    return Split(tuple(r for r in split.records if r.domain == "photo"), split.classes)


def _targets(
    config: TrainConfig, images: ImageSet, fabric: Fabric, watcher: Watcher
) -> torch.Tensor | None:
    if not config.distillation:
        return None
    return teacher_answers(
        images,
        config.backbone,
        config.weights,
        image_size=config.image_size,
        device=fabric.device,
        folder=config.keep_dir,
        progress=lambda done, total: watcher.progress("asking the teacher", done, total),
    )


def _best(rows: list[EpochRow]) -> int:
    """The first epoch with the largest selection value; 0 before the first."""
    return max(rows, key=lambda row: (row.selection_value, -row.epoch)).epoch if rows else 0


def _plain(network: nn.Module) -> MSEdge:
    if not isinstance(network, MSEdge):
        raise TypeError(f"expected the network itself, got {type(network).__name__}")
    return network


def _summary(dataset: Dataset, train_classes: tuple[str, ...], held_out: tuple[str, ...]) -> str:
    unseen = dataset.val
    choosing = f", {len(held_out)} held out to choose the checkpoint" if held_out else ""
    return (
        f"{dataset.name}: training on {len(train_classes)} classes{choosing}; judged on "
        f"{len(unseen.classes)} unseen ones ({len(unseen.of('sketch'))} sketches, "
        f"{len(unseen.of('photo'))} photos)"
    )


def _card(
    config: TrainConfig,
    row: EpochRow,
    data_fingerprint: str,
    dataset: Dataset,
    learner: Learner,
    trained_classes: int,
) -> Card:
    backbone = learner.network.backbone
    mean, std = (tuple(map(float, values.flatten())) for values in (backbone.mean, backbone.std))
    return Card.model_validate(
        {
            "backbone": config.backbone,
            "dim": config.dim,
            "fusion": config.fusion,
            "image_size": config.image_size,
            "frame_sketches": config.frame_sketches,
            "gallery_edges": config.gallery_edges,
            "adapt": config.adapt,
            "prompts": learner.network.prompts,
            "mean": mean,
            "std": std,
            "dataset": config.data_name,
            "protocol": protocol_of(dataset),
            "loss": config.loss,
            "seed": config.seed,
            "epoch": row.epoch,
            "steps": row.epoch * learner.steps_an_epoch,
            "selection": SELECTION[config.select],
            "selected_on_test_classes": config.select == "test",
            "convention": "standard",
            "metrics": row.metrics,
            "data_fingerprint": data_fingerprint,
            "trained_classes": trained_classes,
            "licence": LICENCE,
            "version": msedge.__version__,
        }
    )
