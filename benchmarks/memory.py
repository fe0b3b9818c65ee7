"""Resident memory of training and judging a set of Sketchy Extended's size, epoch by epoch.

Claim: it stays flat over the epochs, whether images are decoded anew every time or kept in the
cache of pixels. The set has Sketchy Extended's numbers of images (73,002 photos and 75,481
sketches; of the unseen classes 12,694 queries and 10,453 photos), which are links to a few hundred
drawn ones; the network is timm's smallest, at 64 px, so that the data weigh most. Each way is a run
of `msedge train` as it is, in a process of its own.

Resident memory is counted by Linux. It has two parts: what the program has allocated, and pages of
files that it has mapped, such as the cache of pixels: those the system keeps as long as there is
room, and takes back when another program needs it.

    python benchmarks/memory.py [--scale 0.1] [--epochs 3] [--figure memory.svg]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from memory_figure import Course, memory_chart

if TYPE_CHECKING:
    from msedge.training.run_files import EpochRow

PHOTOS, SKETCHES = 73_002, 75_481
UNSEEN_PHOTOS, QUERIES = 10_453, 12_694
SEEN_CLASSES, UNSEEN_CLASSES = 104, 21
DRAWN = 200  # of each domain
_SECONDS_BETWEEN = 0.5
_MB = 1e6
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
WAYS = {"streaming": "every image decoded anew", "cache": "pixels kept in the cache"}


@dataclass(frozen=True)
class Sample:
    """Memory at one moment, in MB (10^6 bytes).

    Attributes:
        seconds: since the run began.
        what: was going on.
        resident: all of it.
        allocated: the part that belongs to no file.
        peak: of ``resident`` since the last epoch's end.
    """

    seconds: float
    what: str
    resident: float
    allocated: float
    peak: float


class MemoryWatcher:
    """Notes the memory while a run tells how it goes."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self.samples: list[Sample] = []
        self.epochs: list[Sample] = []

    def say(self, message: str) -> None:
        """Pass a line of news on."""
        print(f"    {message}", file=sys.stderr, flush=True)

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Note the memory, unless that was a moment ago and the same is going on."""
        del done, total, note
        last = self.samples[-1] if self.samples else None
        now = time.monotonic() - self._start
        if last is None or last.what != what or now - last.seconds >= _SECONDS_BETWEEN:
            self.samples.append(self._sample(what))

    def row(self, row: EpochRow, selected: bool) -> None:
        """Note the memory at the end of an epoch, and begin a new peak."""
        del selected
        sample = self._sample(f"end of epoch {row.epoch}")
        self.samples.append(sample)
        self.epochs.append(sample)
        print(
            f"    epoch {row.epoch}: resident {sample.resident:.0f} MB (allocated "
            f"{sample.allocated:.0f}), peak {sample.peak:.0f} MB",
            file=sys.stderr,
            flush=True,
        )
        _CLEAR.write_text("5")  # forgets the peak: proc(5)

    def _sample(self, what: str) -> Sample:
        sizes = {}
        for line in _STATUS.read_text().splitlines():
            name, _, value = line.partition(":")
            if value.endswith(" kB"):
                sizes[name] = int(value.split()[0]) * 1024 / _MB
        seconds = time.monotonic() - self._start
        allocated = sizes["RssAnon"] + sizes["RssShmem"]
        return Sample(seconds, what, sizes["VmRSS"], allocated, sizes["VmHWM"])


def train(root: Path, way: str, epochs: int) -> None:
    """Be a run, and write its samples to standard output."""
    from msedge.training.config import resolve
    from msedge.training.trainer import train as run

    config = resolve(
        {
            "data_root": root,
            "data_name": "simulated",
            "backbone": "test_efficientnet",
            "weights": "none",
            "image_size": 64,
            "epochs": epochs,
            "warmup": 0,
            "select": "last",
            "accelerator": "cpu",
            "cache": way == "cache",
            "save_root": root / f"result-{way}",
        }
    )
    watcher = MemoryWatcher()
    run(config, watcher)
    told = {
        "samples": [asdict(sample) for sample in watcher.samples],
        "epochs": [asdict(sample) for sample in watcher.epochs],
    }
    print(json.dumps(told))


def simulate(root: Path, scale: float) -> int:
    """Write the set as links to drawn images; returns how many images it has."""
    import numpy as np

    from msedge.data.sample import SAMPLE_CLASSES, draw_photo, draw_sketch

    drawn: dict[str, list[Path]] = {"photo": [], "sketch": []}
    rng = np.random.default_rng(0)
    for index, name in enumerate(islice(cycle(SAMPLE_CLASSES), DRAWN)):
        photo, sketch = root / f"{index}.jpg", root / f"{index}.png"
        draw_photo(name, rng).save(photo, quality=88)
        draw_sketch(name, rng).save(sketch)
        drawn["photo"].append(photo)
        drawn["sketch"].append(sketch)
    written = 0
    sides = (
        ("train", SEEN_CLASSES, PHOTOS - UNSEEN_PHOTOS, SKETCHES - QUERIES),
        ("val", UNSEEN_CLASSES, UNSEEN_PHOTOS, QUERIES),
    )
    for split, classes, photos, sketches in sides:
        for domain, count in (("photo", photos), ("sketch", sketches)):
            folder = root / "simulated" / split / domain
            names = [f"{split}-{number:03}" for number in range(classes)]
            total = max(classes, round(count * scale))
            for link, source in zip(
                _places(folder, names, total), cycle(drawn[domain]), strict=False
            ):
                _link(source, link.with_suffix(source.suffix))
            written += total
    return written


def _places(folder: Path, names: list[str], total: int) -> Iterator[Path]:
    for name in names:
        (folder / name).mkdir(parents=True)
    for number, name in enumerate(islice(cycle(names), total)):
        yield folder / name / f"{number:06}"


def _link(source: Path, link: Path) -> None:
    try:
        os.link(source, link)
    except OSError:  # no such links here, or too many
        link.symlink_to(source)


def measure(root: Path, way: str, epochs: int) -> Course:
    """A run of one way, in a process of its own, and its figures."""
    print(f"\n{WAYS[way]}:", flush=True)
    words = [sys.executable, __file__, "--run", way, str(root), str(epochs)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the run {way!r} failed; what it said stands above")
    told = json.loads(done.stdout.splitlines()[-1])
    samples = [Sample(**values) for values in told["samples"]]
    ends = [Sample(**values) for values in told["epochs"]]
    print("epoch    resident MB    allocated MB    peak MB")
    for number, end in enumerate(ends, start=1):
        print(f"{number:5}    {end.resident:11.0f}    {end.allocated:12.0f}    {end.peak:7.0f}")
    if len(ends) > 2:
        second, last = ends[1], ends[-1]
        for name in ("resident", "allocated", "peak"):
            before, after = getattr(second, name), getattr(last, name)
            print(f"{name}, last epoch / second epoch: {after / before:.3f}")
    return Course(
        title=WAYS[way],
        minutes=[sample.seconds / 60 for sample in samples],
        resident=[sample.resident for sample in samples],
        allocated=[sample.allocated for sample in samples],
        ends=[sample.seconds / 60 for sample in ends],
    )


def main() -> None:
    """Write the set, run both ways, and draw the figure."""
    if sys.argv[1:2] == ["--run"]:
        train(Path(sys.argv[3]), sys.argv[2], int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the set's images")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--figure", type=Path, help="where to draw the memory over time (SVG)")
    parser.add_argument("--scratch", type=Path, help="where the set is written; removed at the end")
    options = parser.parse_args()
    if not _STATUS.exists():
        raise SystemExit("this benchmark reads /proc, which only Linux has; run it there")
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        images = simulate(Path(folder), options.scale)
        print(f"{images} images, links to {2 * DRAWN} drawn ones; 64 px, test_efficientnet")
        courses = [measure(Path(folder), way, options.epochs) for way in options.ways]
    if options.figure:
        title = f"Resident memory of training and judging {images:,} images"
        options.figure.write_text(memory_chart(title, courses), encoding="utf-8")
        print(f"\ndrawn to {options.figure}")


if __name__ == "__main__":
    main()
