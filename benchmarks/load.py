"""Many people at one server for a long time: errors, answer times, and memory.

    MSEDGE_TEST_DATA=data python benchmarks/load.py load [--clients 64] [--seconds 300]
    MSEDGE_TEST_DATA=data python benchmarks/load.py soak [--clients 16] [--queries 100000]

``load`` is people who draw, look at photos and say what is meant, each asking again as soon as the
answer is there; ``soak`` is nothing but searches. Both against ``msedge serve`` as it is started by
everybody, on the loopback address, with a gallery of 100,000 photos of which 200 exist. Every
answer is compared: searches with those of the same gallery in this process, photos with the files.

Prints answer times by route, what the server holds while time goes on, the CPU of both sides, and
the ratio of its searches a second to those of one caller without HTTP, measured in the same run.
Exit status 1: an answer was wrong or did not come, or memory grew by more than ``--growth``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from load_client import Question, Questions, Told, ask
from msedge.search.encoder import OnnxEncoder
from msedge.search.gallery import Gallery
from msedge.search.indexing import index
from msedge.search.photo import NewPhoto
from msedge.search.stores import open_store
from msedge.system import usable_cpus
from search import UNLIKE, copied_photos, drawings
from search_accuracy import MSEDGE, PHOTOS, data

REAL = 200
DRAWINGS = 32
EVERY = 10_000


def write_gallery(path: Path, folder: Path, count: int) -> list[Path]:
    """Index real photos, and add vectors beside theirs for others that do not exist."""
    encoder = OnnxEncoder.load(threads=1)
    files = copied_photos(data(PHOTOS), folder, REAL)
    index([folder], path, encoder)
    rng, scale = np.random.default_rng(0), np.float32(UNLIKE / encoder.dim**0.5)
    with open_store(path, writable=True) as file:
        photos = [photo for block in file.blocks() for photo in block.photos]
        known = np.stack([photo.vector for photo in photos]).astype(np.float32)
        for start in range(len(known), count, 5_000):
            numbers = range(start, min(start + 5_000, count))
            vectors = known[np.array(numbers) % len(known)]
            vectors = vectors + scale * rng.standard_normal(vectors.shape, dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            file.change(put=[
                NewPhoto(folder / f"{n // 100}/{n}.jpg", 1, 1, f"{n:064x}", 640, 480,
                         86_400.0 * n, vector=vector.astype(np.float16))
                for n, vector in zip(numbers, vectors, strict=True)
            ])  # fmt: skip
    return sorted(files)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the server held at a moment, and what had been asked by then."""

    seconds: float
    asked: int
    megabytes: float
    threads: int
    descriptors: int


@dataclass
class Watched:
    """The server's process while it is asked."""

    process: int
    told: Told
    samples: list[Sample] = field(default_factory=list)

    def look(self) -> Sample:
        """Take a sample."""
        lines = Path(f"/proc/{self.process}/status").read_text().splitlines()
        held = dict(line.split(":", 1) for line in lines)
        sample = Sample(
            time.monotonic(),
            self.told.asked,
            int(held["VmRSS"].split()[0]) / 1024,
            int(held["Threads"]),
            len(list(Path(f"/proc/{self.process}/fd").iterdir())),
        )
        self.samples.append(sample)
        return sample

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def watch(self, each: int) -> None:
        """Take one each second; print one every so many seconds, or requests if below zero."""
        printed = 0
        while True:
            sample = self.look()
            passed = sample.seconds - self.samples[0].seconds
            turn = int(passed // each) if each > 0 else sample.asked // -each
            if turn > printed:
                printed = turn
                recent = [s for row in self.told.seconds.values() for s in row[-500:]]
                print(
                    f"{passed:6.0f} s {sample.asked:9,} asked {len(self.told.wrong):4} wrong  "
                    f"p99 {1000 * float(np.quantile(recent, 0.99)):7.1f} ms  "
                    f"{sample.megabytes:7.1f} MB {sample.threads:3} threads "
                    f"{sample.descriptors:4} open files",
                    flush=True,
                )
            await asyncio.sleep(1)


async def run(
    port: int,
    watched: Watched,
    clients: int,
    questions: Callable[[int], Iterator[Question]],
    until: float,
    most: int,
    each: int,
) -> None:
    """All clients at a time, and someone who watches."""
    watching = asyncio.create_task(watched.watch(each))
    told = watched.told
    await asyncio.gather(
        *(ask(port, questions(client), told, until, most) for client in range(clients))
    )
    watching.cancel()
    watched.look()


def show(watched: Watched, seconds: float) -> None:
    """Answers by route."""
    for route, taken in sorted(watched.told.seconds.items()):
        median, late, later = (1000 * float(np.quantile(taken, q)) for q in (0.5, 0.95, 0.99))
        print(
            f"{route:10} {len(taken):8,} answers, {len(taken) / seconds:7.1f} a second; "
            f"p50 {median:7.1f}  p95 {late:7.1f}  p99 {later:7.1f}  max {1000 * max(taken):7.1f} ms"
        )
    for line in watched.told.wrong[:10]:
        print("wrong:", line)


def growth(samples: list[Sample], warm: float) -> float:
    """Megabytes by which the server grew after it was warm, and a line about that.

    Medians of the first and the last tenth are compared, as a moment says little.
    """
    begun = samples[0].seconds
    after = [s for s in samples if s.seconds - begun >= warm] or samples[len(samples) // 2 :]
    tenth = max(1, len(after) // 10)
    first = float(np.median([s.megabytes for s in after[:tenth]]))
    last = float(np.median([s.megabytes for s in after[-tenth:]]))
    asked = np.array([s.asked for s in after], float)
    held = np.array([s.megabytes for s in after])
    slope = 1000 * float(np.polyfit(asked, held, 1)[0]) if len({*asked}) > 1 else 0.0
    print(
        f"memory: {samples[0].megabytes:.1f} MB at first, {first:.1f} after {warm:.0f} s, "
        f"{last:.1f} at the end, most {max(s.megabytes for s in samples):.1f}; "
        f"{slope:+.3f} MB for 1,000 requests; {after[0].threads} to {after[-1].threads} threads, "
        f"{after[0].descriptors} to {after[-1].descriptors} open files"
    )
    return last - first


def measure(options: argparse.Namespace, folder: Path) -> bool:
    """Play it; whether all was right."""
    path = folder / "photos.msedge"
    real = write_gallery(path, folder / "photos", options.count)
    with Gallery.open(path, model=OnnxEncoder.load(threads=1)) as gallery:
        questions = Questions(gallery, drawings(DRAWINGS), real)
    alone = 1 / float(np.mean(questions.seconds[len(questions.seconds) // 10 :]))
    print(f"{len(questions.seconds)} searches in this process, one by one: {alone:.1f} a second")
    words = [*MSEDGE, "serve", "--gallery", str(path), "--port", "0"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        if not address:
            raise SystemExit("msedge serve did not start")
        watched = Watched(server.pid, Told())
        port = int(address.rstrip("/").rpartition(":")[2])
        begun, own, theirs = time.monotonic(), time.process_time(), watched.cpu()
        asked = questions.visit if options.what == "load" else questions.searches
        each = 30 if options.what == "load" else -min(EVERY, max(1, options.queries // 10))
        until = begun + options.seconds
        asyncio.run(run(port, watched, options.clients, asked, until, options.queries, each))
        seconds = time.monotonic() - begun
        print(
            f"{options.clients} clients, {seconds:.0f} s, {watched.told.asked:,} requests, "
            f"{len(watched.told.wrong)} wrong; of {usable_cpus()} CPUs the clients used "
            f"{100 * (time.process_time() - own) / seconds:.0f} %, "
            f"the server {100 * (watched.cpu() - theirs) / seconds:.0f} %"
        )
    finally:
        server.send_signal(signal.SIGTERM)
        ended = server.wait(60)
    show(watched, seconds)
    searches = sum(len(watched.told.seconds[route]) for route in ("drawing", "examples"))
    print(f"searches a second / those of one caller alone: {searches / seconds / alone:.2f}")
    grown = growth(watched.samples, min(60.0, seconds / 3))
    if grown > options.growth:
        print(f"memory grew by {grown:.1f} MB, more than {options.growth:.0f}")
    print(f"the server ended with status {ended}")
    return not watched.told.wrong and grown <= options.growth and ended == 0


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_subparsers(required=True, dest="what")
    for name, clients, seconds, queries in (
        ("load", 64, 300.0, sys.maxsize),
        ("soak", 16, 36_000.0, 100_000),
    ):
        play = what.add_parser(name)
        play.add_argument("--clients", type=int, default=clients)
        play.add_argument("--seconds", type=float, default=seconds, help="at most so long")
        play.add_argument("--queries", type=int, default=queries, help="at most so many requests")
        play.add_argument("--count", type=int, default=100_000, help="photos in the gallery")
        play.add_argument("--growth", type=float, default=32.0, help="megabytes, after a minute")
    options = parser.parse_args()
    print(f"{usable_cpus()} CPUs, load average before {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory() as folder:
        right = measure(options, Path(folder))
    print(f"load average after {os.getloadavg()[0]:.2f}")
    raise SystemExit(0 if right else 1)


if __name__ == "__main__":
    main()
