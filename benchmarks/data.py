"""Images a second from JPEG and PNG files to normalised float batches: the data path alone.

Claim: from the second epoch on, when the pixel cache is warm, batches are ready at least ten times
faster than from worker processes that decode with Pillow and transform image by image. Both sides
shuffle, mirror half of the images, and end at the same kind of batch: float32, normalised by mean
and deviation. All sides take turns an epoch at a time in one run, and medians are compared; the
workers of the reference are started before, and stay. Ours decodes with a thread a core and
computes with ``--threads`` beside the one that reads, by default all cores, as the reference's
workers have; on a machine that others use too, one may be faster. Beside the rates stands their
share of what the machine's memory could do, if pixels were read once and floats written once, and
what an image costs in processor time, which says the same on a machine that others use meanwhile.

Without --data the sample set's objects are drawn at 256 px, the size of Sketchy's files.

    python benchmarks/data.py [--data DIR] [--size 160] [--workers 8] [--threads 2] [--rounds 3]
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from msedge.data.datasets import ImageSet
from msedge.data.layouts import Record, Split, read_dataset
from msedge.data.pixel_cache import PixelCache
from msedge.data.sample import SAMPLE_CLASSES, draw_photo, draw_sketch
from msedge.data.transforms import mirror, to_unit_range
from msedge.system import usable_cpus
from msedge.training.allocator import keep_freed_memory
from reference_loop import TransformedImages

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDES = ("reference", "ours, first epoch (filling)", "ours, later epochs", "ours without a cache")
DRAWN, SIDE = 480, 256  # of each domain; pixels
COPIED = 64 * 2**20  # floats
Epoch = Callable[[], Iterator[Tensor]]


def drawn(folder: Path) -> Split:
    """Photos and sketches of the sample set's objects, as many of each as fill 15 batches."""
    records = []
    for name in SAMPLE_CLASSES:
        for number in range(DRAWN // len(SAMPLE_CLASSES)):
            rng = np.random.default_rng(number)
            photo, sketch = folder / f"{name}-{number}.jpg", folder / f"{name}-{number}.png"
            draw_photo(name, rng, SIDE).save(photo, quality=88)
            draw_sketch(name, rng, SIDE).save(sketch)
            records += [Record(photo, "photo", name), Record(sketch, "sketch", name)]
    return Split(tuple(records), SAMPLE_CLASSES)


class ShuffledBatches:
    """Every epoch's rows in batches, in a new order, half of them to be mirrored."""

    def __init__(self, images: int, batch: int) -> None:
        """Take how many there are; the last batch is dropped where it is not full."""
        self._images, self._batch = images, batch

    def __iter__(self) -> Iterator[list[tuple[int, bool]]]:
        mirrored = torch.rand(self._images) < 0.5
        for rows in torch.randperm(self._images)[: len(self) * self._batch].split(self._batch):
            yield list(zip(rows.tolist(), mirrored[rows].tolist(), strict=True))

    def __len__(self) -> int:
        return self._images // self._batch


def reference_epoch(split: Split, size: int, batch: int, workers: int) -> Epoch:
    """Batches of a loader whose worker processes decode and transform image by image."""
    images = TransformedImages(split.records, split.classes, size=size, mean=MEAN, std=DEVIATION)
    loader = DataLoader(
        images,
        batch_sampler=ShuffledBatches(len(images), batch),
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    return lambda: (pixels for pixels, _ in loader)


def our_epoch(images: ImageSet, size: int, batch: int) -> Epoch:
    """Batches of a set, mirrored and normalised whole."""
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, DEVIATION))
    # As large as an image: a channel alone is too short a row to compute with.
    scale, shift = (
        values.expand(1, 3, size, size).contiguous(memory_format=torch.channels_last)
        for values in (1 / deviation, -mean / deviation)
    )

    def epoch() -> Iterator[Tensor]:
        chunks = torch.randperm(len(images))[: len(images) // batch * batch].split(batch)
        for pixels in images.stream(chunks):
            floats = to_unit_range(mirror(pixels, torch.rand(batch) < 0.5))
            yield torch.addcmul(shift, floats, scale, out=floats)

    return epoch


class Pace(NamedTuple):
    """Of one epoch: images a second, and processor seconds an image of this process."""

    rate: float
    busy: float


def pace(epoch: Epoch, batch: int, size: int) -> Pace:
    """Run an epoch."""
    start, busy, count = time.perf_counter(), time.process_time(), 0
    for images in epoch():
        assert images.shape == (batch, 3, size, size)
        count += len(images)
    return Pace(count / (time.perf_counter() - start), (time.process_time() - busy) / count)


def bandwidth() -> float:
    """Bytes a second that the memory reads and writes in a large copy; the best of five."""
    source, target = torch.ones(COPIED), torch.empty(COPIED)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        target.copy_(source)
        seconds.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(seconds)


def measure(split: Split, folder: Path, options: argparse.Namespace) -> dict[str, list[Pace]]:
    """How each side does, round by round."""

    def opened(round_: int) -> PixelCache:
        return PixelCache.open(
            folder / f"round {round_}",
            split.records,
            size=options.size,
            frame_sketches=False,
            limit_gb=options.cache_gb,
        )

    def ours(cache: PixelCache | None) -> Epoch:
        images = ImageSet(split.records, split.classes, size=options.size, cache=cache)
        return our_epoch(images, options.size, options.batch)

    reference = reference_epoch(split, options.size, options.batch, options.workers)
    streaming, warm = ours(None), ours(opened(0))
    for epoch in (reference, warm):  # workers are started, the cache is filled
        pace(epoch, options.batch, options.size)
    paces: dict[str, list[Pace]] = {side: [] for side in SIDES}
    for round_ in range(1, options.rounds + 1):
        epochs = (reference, ours(opened(round_)), warm, streaming)
        for side, epoch in zip(SIDES, epochs, strict=True):
            paces[side].append(pace(epoch, options.batch, options.size))
    return paces


def workers_seconds() -> float:
    """Processor seconds of the processes that this one started and that have ended."""
    gc.collect()  # a loader ends its workers when it goes
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run all sides in turn and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="a prepared dataset; default: drawn objects")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--threads", type=int, default=usable_cpus(), help="that ours computes on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, help="an epoch's; default: all of the dataset")
    parser.add_argument("--cache-gb", type=float, default=4.0)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        if options.data is None:
            split = drawn(Path(folder))
        else:
            split = read_dataset(options.data.parent, options.data.name).train
        if options.images is not None:
            step = max(1, len(split.records) // options.images)  # all classes, both domains
            split = Split(split.records[::step][: options.images], split.classes)
        paces = measure(split, Path(folder) / "cache", options)
    best = bandwidth()
    size, count = options.size, len(split.records) // options.batch * options.batch
    print(
        f"{len(split.records)} images at {size} px, batches of {options.batch}, "
        f"{options.workers} workers against {options.threads} computing thread(s), "
        f"{usable_cpus()} cores; memory {best / 1e9:.1f} GB/s"
    )
    in_workers = workers_seconds() / (count * (options.rounds + 1))
    least = 3 * size**2 * (1 + 4)  # bytes an image: uint8 read, float32 written
    medians = {
        side: Pace(*map(statistics.median, zip(*found, strict=True)))
        for side, found in paces.items()
    }
    theirs = medians[SIDES[0]]
    theirs = medians[SIDES[0]] = theirs._replace(busy=theirs.busy + in_workers)
    for side, (rate, busy) in medians.items():
        print(
            f"{side:30}{rate:8.0f} images/s (ratio {rate / theirs.rate:5.2f}, "
            f"{100 * rate * least / best:4.1f} % of the memory's rate), "
            f"{1000 * busy:6.3f} ms of processor an image (ratio {theirs.busy / busy:5.2f})"
        )


if __name__ == "__main__":
    main()
