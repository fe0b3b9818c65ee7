"""Training steps with the frozen blocks' output kept (`cache_frozen`) and without.

Claim: with the first blocks frozen, keeping what they say saves most of a step. Both sides train
the same network on the sample set's images in one process, taking turns an epoch at a time; the
medians of their steps are compared, and what filling the cache costs is printed beside them.

    python benchmarks/frozen_cache.py [--size 192] [--blocks 7] [--rounds 2]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from lightning_fabric import Fabric

from msedge.data.datasets import ImageSet
from msedge.data.layouts import read_dataset
from msedge.data.pixel_cache import PixelCache
from msedge.data.sample import write_sample
from msedge.training.allocator import keep_freed_memory
from msedge.training.config import TrainConfig
from msedge.training.learner import Learner


def main() -> None:
    """Run both sides in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        write_sample(Path(folder))
        split = read_dataset(Path(folder), "sample").train
        cache = PixelCache.open(
            Path(folder) / "cache",
            split.records,
            size=options.size,
            frame_sketches=False,
            limit_gb=4.0,
        )
        images = ImageSet(split.records, split.classes, size=options.size, cache=cache)
        learners, filling = {}, 0.0
        for kept in (False, True):
            config = TrainConfig(
                image_size=options.size,
                fusion="none",
                frozen_blocks=options.blocks,
                cache_frozen=kept,
                edge_views=0.5,
                warmup=0,
            )
            start = time.perf_counter()
            learners[kept] = Learner(config, Fabric(accelerator="cpu"), images, None)
            filling = time.perf_counter() - start
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for epoch in range(1, options.rounds + 2):
            for kept, learner in learners.items():
                start = time.perf_counter()
                for _ in learner.epoch(epoch):
                    now = time.perf_counter()
                    if epoch > 1:  # the first one decodes the images
                        seconds[kept].append(now - start)
                    start = now
    plain, kept = (statistics.median(seconds[side]) for side in (False, True))
    print(f"{len(images)} images, {options.blocks} blocks frozen, {options.size} px, batches of 64")
    print(f"without {plain:.2f} s a step, kept {kept:.2f} s a step; filling took {filling:.0f} s")
    print(f"ratio without / kept: {plain / kept:.2f}")


if __name__ == "__main__":
    main()
