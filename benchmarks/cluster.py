"""Images a second of ``msedge index --engine ray`` against ``--engine local`` on the same photos.

Both run as commands, on the CPUs of this machine, over the same drawn photos or a folder of one's
own; the rate of each leaves out what it takes to start (the time of a run over 16 of the photos).

    python benchmarks/cluster.py --photos 2000 --workers 2
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from msedge.data.sample import SAMPLE_CLASSES, draw_photo

FEW = 16


def draw(folder: Path, photos: int) -> None:
    """Write drawn photos of 400 pixels a side."""
    folder.mkdir()
    for number in range(photos):
        name = SAMPLE_CLASSES[number % len(SAMPLE_CLASSES)]
        photo = draw_photo(name, np.random.default_rng(number), 400).convert("RGB")
        photo.save(folder / f"{number:06}.jpg", quality=90)


def index(photos: Path, gallery: Path, words: list[str]) -> tuple[float, dict]:
    """Seconds of the command, and what it tells."""
    command = [sys.executable, "-m", "msedge", "index", str(photos), "--gallery", str(gallery)]
    begun = time.perf_counter()
    done = subprocess.run(
        [*command, "--json", *words], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - begun, json.loads(done.stdout)


def main() -> None:
    """Run both sides, and print their rates and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="photos of one's own instead of drawn ones")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    sides = {
        "local": ("msedge", ["--threads", str(asked.workers)]),
        "ray": ("lance", ["--engine", "ray", "--workers", str(asked.workers)]),
    }
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        many, few = asked.folder or root / "photos", root / "few"
        if asked.folder is None:
            draw(many, asked.photos)
        draw(few, FEW)
        rates = {}
        for engine, (suffix, words) in sides.items():
            starting, _ = index(few, root / f"few-{engine}.{suffix}", words)
            seconds, told = index(many, root / f"many-{engine}.{suffix}", words)
            rates[engine] = told["new"] / max(seconds - starting, 1e-9)
            each = rates[engine] / asked.workers
            print(
                f"{engine:>5}: {told['new']:,} photos in {seconds:.1f} s, {starting:.1f} s of it "
                f"to start: {rates[engine]:.1f} a second, {each:.1f} a worker"
            )
            for worker in told.get("workers", []):
                print(f"       {worker['worker']}: {worker['photos_per_second']} a second")
    print(f"ray / local: {rates['ray'] / rates['local']:.2f}")


if __name__ == "__main__":
    main()
