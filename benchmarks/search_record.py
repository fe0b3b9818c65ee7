"""A record of how quick searching is, which a later state of the code can be held against.

    python benchmarks/search_record.py --out before.json
    python benchmarks/search_record.py --compare before.json   # exit status 1: something is slower
    python benchmarks/search_record.py --compare before-1.json before-2.json before-3.json

Everything is done as people do it (the command line, ``msedge.Gallery``, HTTP), and stands as a
ratio to something plain that is measured in turn with it, so that the machine matters little:

* ``index``: ``msedge index --threads 1`` of half the photos of the sample set, beside a loop of
  Pillow and ONNX Runtime over the same on one thread (once a photo; indexing sees edges as well);
* ``drawing``, ``photo``: ``Gallery.search`` with strokes, and ``Gallery.similar`` with a photo's
  id, which needs no network, among 10,000 and 100,000 vectors, beside NumPy's product of them with
  a query and ``argpartition``;
* ``start``: the process ``msedge search`` among 10,000 photos, beside one that imports NumPy,
  ONNX Runtime and Pillow and loads the model;
* ``page``: ``POST /api/search`` of a server among 10,000 photos, beside ``Gallery.search`` of the
  same strokes in this process.

Each ratio is given three times: of the least CPU seconds that either side took in any round, and,
as medians over the rounds, by CPU and by the clock. Other programs make CPU seconds more, never
less, so the first is what a comparison judges; the clock shows what waits instead of working.
Beside much other work even that moves by a twentieth. So of several earlier runs the median stands
beside, and slower is what is worse than each of them by more than a twentieth.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import onnxruntime
from PIL import Image
from threadpoolctl import threadpool_limits

import msedge
from made_galleries import made_by, write_gallery
from msedge import Gallery

MSEDGE = (sys.executable, "-m", "msedge")
MODEL = Path(msedge.__file__).parent / "weights" / "msedge-lite.onnx"
LIMIT = 0.05  # by how much of itself a ratio may be worse
JUDGED = "least cpu"
SHOWN = 48
CALLS, TURNS = 16, 6  # of a query in a turn, turns in a round
PRODUCTS = 100_000  # as many vectors at least are gone through for a query of the plain side
Strokes = list[tuple[list[float], list[float]]]
Taken = tuple[float, float]  # seconds of CPU, of the clock
Rounds = dict[str, list[float]]  # ratios, by what they are of


def cpu() -> float:
    """Seconds of CPU of this process and of those that it waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + used.ru_utime + used.ru_stime


def timed(work: Callable[[], object], cpu_of: Callable[[], float] = cpu) -> Taken:
    """What it takes."""
    begun, start = cpu_of(), time.perf_counter()
    work()
    return cpu_of() - begun, time.perf_counter() - start


def process(*words: object) -> None:
    """Run a command."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}: {done.stderr.strip()}")


def in_turn(
    ours: Callable[[], object],
    plain: Callable[[], object],
    rounds: int,
    *,
    turns: int = 1,
    times: int = 1,
    cpu_of: Callable[[], float] = cpu,
) -> Rounds:
    """dict[str, Rounds] of two sides that take turns; the first round warms up and does not count.

    Args:
        ours: what is measured.
        plain: what it is measured by.
        rounds: ratios to take.
        turns: of each side in a round.
        times: how often ``plain`` does what ``ours`` does once.
        cpu_of: seconds of CPU of what works for ``ours``.
    """
    taken = []
    for _ in range(rounds + 1):
        pairs = [(*timed(ours, cpu_of), *timed(plain)) for _ in range(turns)]
        taken.append([sum(column) for column in zip(*pairs, strict=True)])
    cpus, clocks, plain_cpus, plain_clocks = zip(*taken[1:], strict=True)

    def ratios(mine: Sequence[float], other: Sequence[float]) -> list[float]:
        return [round(times * one / two, 4) for one, two in zip(mine, other, strict=True)]

    return {
        JUDGED: ratios([min(cpus)], [min(plain_cpus)]),
        "cpu": ratios(cpus, plain_cpus),
        "clock": ratios(clocks, plain_clocks),
    }


def drawings(number: int) -> list[Strokes]:
    """Zigzags of chance, three a drawing."""
    points = np.random.default_rng(0).uniform(0, 255, (number, 3, 2, 12)).round(1).tolist()
    return [[(xs, ys) for xs, ys in strokes] for strokes in points]


def indexing(folder: Path, photos: list[Path], rounds: int) -> Rounds:
    """The command, beside a loop."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(MODEL), options, ["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    side, numbers = taken.shape[-1], count()

    def loop() -> None:
        for path in photos:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB").resize((side, side)), np.float32) / 255
            session.run(None, {taken.name: pixels.transpose(2, 0, 1)[None].copy()})

    def index() -> None:
        gallery = folder / f"indexed-{next(numbers)}.msedge"
        process(*MSEDGE, "index", folder / "photos", "--gallery", gallery, "--threads", 1)

    found = in_turn(index, loop, rounds)
    rate = len(photos) / timed(loop)[0]
    print(f"{len(photos)} photos; the plain loop: {rate:.1f} a second of CPU", flush=True)
    return found


def queries(path: Path, drawn: Sequence[Strokes], rounds: int) -> dict[str, Rounds]:
    """Drawings and photos of a gallery, beside the product of all vectors."""
    with Gallery.open(path, exact=True) as gallery:
        rng, dim, photos = np.random.default_rng(0), gallery.model.dim, gallery.photos
        vectors, times = rng.standard_normal((photos, dim), np.float32), PRODUCTS // photos

        def plain() -> None:
            for query in vectors[: times * CALLS]:
                scores = vectors @ query
                best = np.argpartition(scores, -20)[-20:]
                best[np.argsort(-scores[best])]

        def draw() -> None:
            for strokes in drawn[:CALLS]:
                gallery.search(strokes)

        def like() -> None:
            for id in rng.integers(1, photos, CALLS).tolist():
                gallery.similar(id)

        return {
            f"{name}, {photos:,}": in_turn(work, plain, rounds, turns=TURNS, times=times)
            for name, work in (("drawing", draw), ("photo", like))
        }


def starting(path: Path, sketch: Path, rounds: int) -> Rounds:
    """The process, beside one that loads the same libraries and model."""
    code = (
        "import sys, numpy, onnxruntime, PIL.Image;"
        "onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])"
    )
    search = partial(process, *MSEDGE, "search", sketch, "--gallery", path)
    return in_turn(search, partial(process, sys.executable, "-c", code, MODEL), rounds)


def answering(path: Path, drawn: Sequence[Strokes], rounds: int) -> Rounds:
    """A server's answers, beside the same in this process."""
    words = [*MSEDGE, "serve", "--gallery", str(path), "--port", "0", "--rate", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout is not None
            where = urlsplit(server.stdout.readline().decode().strip()).netloc
            connection = http.client.HTTPConnection(where, timeout=30)

            def of_server() -> float:
                fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

            def ask() -> None:
                for strokes in drawn[:CALLS]:
                    body = json.dumps({"strokes": strokes, "k": SHOWN})
                    kind = {"Content-Type": "application/json"}
                    connection.request("POST", "/api/search", body, kind)
                    answer = connection.getresponse()
                    if answer.status != 200 or len(json.loads(answer.read())["hits"]) != SHOWN:
                        raise SystemExit(f"the server answers {answer.status}")

            with Gallery.open(path, exact=True) as gallery:

                def search() -> None:
                    for strokes in drawn[:CALLS]:
                        gallery.search(strokes, k=SHOWN)

                return in_turn(ask, search, rounds, turns=TURNS, cpu_of=of_server)
        finally:
            server.terminate()


def measured(folder: Path, rounds: int) -> dict[str, Rounds]:
    """All of it."""
    process(*MSEDGE, "data", "sample", "--data-root", folder / "data")
    found = sorted((folder / "data").glob("*/*/photo/*/*.jpg"))[::2]
    (folder / "photos").mkdir()
    photos = [path.rename(folder / "photos" / f"{n:05}.jpg") for n, path in enumerate(found)]
    sketch = min((folder / "data").glob("*/*/sketch/*/*"))
    ratios = {"index": indexing(folder, photos, max(1, rounds // 3))}
    made, paths = made_by(folder / "indexed-0.msedge"), {}
    for size in (10_000, 100_000):
        paths[size] = folder / f"{size}.msedge"
        write_gallery(paths[size], made, size, Path("/photos"))
    drawn = drawings(CALLS)
    ratios["start"] = starting(paths[10_000], sketch, rounds)
    ratios["page"] = answering(paths[10_000], drawn, rounds)
    for path in paths.values():
        ratios |= queries(path, drawn, rounds)
    return ratios


def main() -> int:
    """Measure, print, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="of indexing a third as many")
    parser.add_argument("--out", type=Path, help="a JSON file for the ratios of each round")
    parser.add_argument("--compare", type=Path, nargs="+", default=[], help="of earlier runs")
    options = parser.parse_args()
    before = [json.loads(path.read_text()) for path in options.compare]
    print(f"load average before {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1, user_api="blas"):
        ratios = measured(Path(name), options.rounds)
    print(f"load average after {os.getloadavg()[0]:.2f}; ratios, below 1 is quicker")
    slower = []
    for name, each in ratios.items():
        words = f"{name:18}"
        for kind, rounds in each.items():
            now = statistics.median(rounds)
            words += f"  {kind} {now:7.3f}"
            if len(rounds) > 1:
                words += f" ({min(rounds):.3f} to {max(rounds):.3f})"
            known = [statistics.median(run[name][kind]) for run in before if name in run]
            if known:
                words += f" {100 * (now / statistics.median(known) - 1):+6.1f} %"
                if kind == JUDGED and now > (1 + LIMIT) * max(known):
                    slower.append(name)
        print(words)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(ratios, indent=1))
    if slower:
        print("slower than before:", "; ".join(slower))
    return int(bool(slower))


if __name__ == "__main__":
    sys.exit(main())
