"""What a run reads: its dataset, the classes that it holds out, and the sets of images.

Seen classes are split into those to train on and those to choose the checkpoint with; the unseen
ones are judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

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
from msedge.data.pixel_cache import PixelCache
from msedge.errors import ConfigError, DataError
from msedge.training.config import TrainConfig
from msedge.training.selection import draw_classes, hold_out

CACHE_FOLDER = ".msedge-cache"
"""In the data root: decoded images, which may be deleted at any time."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RunData:
    """The dataset of a run and what is done with its classes.

    Attributes:
        dataset: all of it.
        fingerprint: of its files.
        train_classes: seen classes that are trained on.
        held_out: seen classes that the checkpoint is chosen with.
        sketched: those of `train_classes` whose sketches are trained on.
    """

    dataset: Dataset
    fingerprint: str
    train_classes: tuple[str, ...]
    held_out: tuple[str, ...]
    sketched: tuple[str, ...]

    def summary(self) -> str:
        """One line that says what is trained on and what is judged."""
        dataset, unseen = self.dataset, self.dataset.val
        choosing = (
            f", {len(self.held_out)} held out to choose the checkpoint" if self.held_out else ""
        )
        drawn = (
            f" (sketches of {len(self.sketched)})"
            if len(self.sketched) < len(self.train_classes)
            else ""
        )
        return (
            f"{dataset.name}: training on {len(self.train_classes)} classes{drawn}{choosing}; "
            "judged on "
            f"{len(unseen.classes)} unseen ones ({len(unseen.of('sketch'))} sketches, "
            f"{len(unseen.of('photo'))} photos)"
        )


@dataclass(frozen=True)
class RunImages:
    """The sets of images of a run.

    Attributes:
        train: those that are trained on.
        unseen: those that are judged.
        held_out: those that the checkpoint is chosen with; None where nothing is held out.
    """

    train: ImageSet
    unseen: ImageSet
    held_out: ImageSet | None


def read_run_data(
    config: TrainConfig, *, say: Callable[[str], None], progress: Progress
) -> RunData:
    """Read the dataset of a run and split its seen classes.

    Args:
        config: the run.
        say: told of every file that is left out.
        progress: called with what is done, how much of it, and of how much.

    Raises:
        DataError: the dataset cannot be used.
        ConfigError: there are too few classes to hold any out, or fewer with sketches than asked.
    """
    dataset = read_dataset(
        config.data_root,
        config.data_name,
        min_val_photos=config.val_photos_needed,
        lone_classes=config.lone_classes,
    )
    if config.skip_unreadable:
        dataset = _readable(dataset, say, progress)
    classes: tuple[str, ...] = dataset.train.classes
    held_out: tuple[str, ...] = ()
    if config.select == "seen":
        paired = _paired(dataset.train)
        lone = set(classes) - set(paired)
        trained, held_out = hold_out(paired, config.holdout)
        classes = tuple(sorted({*trained, *lone}))
    sketched = _sketched(config, dataset.train, classes)
    return RunData(dataset, fingerprint(dataset), classes, held_out, sketched)


def open_images(config: TrainConfig, data: RunData, say: Callable[[str], None]) -> RunImages:
    """The sets of images of a run, decoded as they are asked for.

    Args:
        config: the run.
        data: its dataset.
        say: told where decoded images are kept, and how many.

    Raises:
        ConfigError: the training images do not fill a batch.
        DataError: the folder of ``cache_dir`` cannot be written to. Where none is named, the
            images are decoded every time then.
    """
    train, val = data.dataset.train, data.dataset.val
    cache = _open_cache(config, data.dataset, say) if config.cache else None

    def images(split: Split) -> ImageSet:
        return ImageSet(
            split.records,
            split.classes,
            size=config.image_size,
            frame_sketches=config.frame_sketches,
            cache=cache,
        )

    found = RunImages(
        images(_shown(data, train.restrict(data.train_classes))),
        images(val),
        images(train.restrict(data.held_out)) if data.held_out else None,
    )
    if len(found.train) < config.batch_size:
        raise ConfigError(
            f"{len(found.train)} training images do not fill one batch of {config.batch_size}; "
            "choose a smaller batch size"
        )
    return found


def cache_folder(config: TrainConfig) -> Path:
    """Where a run keeps decoded images."""
    return config.cache_dir or config.data_root / CACHE_FOLDER


def _open_cache(
    config: TrainConfig, dataset: Dataset, say: Callable[[str], None]
) -> PixelCache | None:
    try:
        cache = PixelCache.open(
            cache_folder(config),
            [*dataset.train.records, *dataset.val.records],
            size=config.image_size,
            frame_sketches=config.frame_sketches,
            limit_gb=config.cache_gb,
        )
    except DataError as error:
        if config.cache_dir is not None:
            raise
        # Data that may only be read, or a full disk: nobody asked for this folder.
        say(f"{error}; until then every image is decoded every time")
        return None
    if cache.capacity < cache.count:
        say(
            f"{cache.capacity} of {cache.count} decoded images fit --cache-gb "
            f"{config.cache_gb:g}; the others are decoded every time"
        )
    return cache


def _readable(dataset: Dataset, say: Callable[[str], None], progress: Progress) -> Dataset:
    records = [*dataset.train.records, *dataset.val.records]
    unreadable = find_unreadable(records, lambda n, all_: progress("checking", n, all_))
    for _, reason in unreadable:
        say(f"skipped: {reason}")
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


def _sketched(config: TrainConfig, train: Split, classes: Sequence[str]) -> tuple[str, ...]:
    """The classes whose sketches are trained on."""
    if config.train_on == "photos":
        return ()
    counts = train.counts("sketch")
    drawn = tuple(name for name in classes if counts[name])
    if config.sketch_classes is None:
        return drawn
    return draw_classes(drawn, config.sketch_classes, config.seed)


def _shown(data: RunData, split: Split) -> Split:
    sketched = set(data.sketched)
    records = (r for r in split.records if r.domain == "photo" or r.class_name in sketched)
    return Split(tuple(records), split.classes)
