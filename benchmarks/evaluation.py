"""Speed and memory of ``evaluate``, at the sizes of the field's sets, beside what others run.

Claims, on two cores, with vectors of 512 numbers:

* Sketchy, 25 classes (12,694 queries, 17,101 photos): at least 25 times faster than the evaluator
  that SAKE, EGFF and ACNet share, and about 2.5 times the bare float32 product of the vectors.
* QuickDraw (92,291 queries, 54,151 photos): at most 1.5 GiB above the inputs.

    python benchmarks/evaluation.py speed [--reference PATH/metric.py] [--rounds 5]
    python benchmarks/evaluation.py memory

``--reference`` names EGFF's file; its ``sake_metric`` is called as its authors do, once for mAP@all
and P@100 and once for mAP@200 and P@200 (``--reference-queries`` takes so many queries, spread over
the classes, and scales the time: its work is the same for each query). The vectors are made: class
centres and noise in 32 directions, plus noise in all, which gives cosines spread as those of a
trained network are (standard deviation about 0.2).
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from msedge.evaluation.evaluate import evaluate

SIZES = {"speed": (12_694, 17_101, 25), "memory": (92_291, 54_151, 30)}
DIM, LATENT = 512, 32
ROWS = 4096


def features(
    count: int, labels: np.ndarray, centres: np.ndarray, lift: np.ndarray, seed: int
) -> np.ndarray:
    """Unit vectors ``(count, 512)`` float32 about their classes' centres, made piece by piece."""
    rng = np.random.default_rng(seed)
    made = np.empty((count, DIM), np.float32)
    for start in range(0, count, ROWS):
        here = labels[start : start + ROWS]
        latent = centres[here] + rng.standard_normal((len(here), LATENT), dtype=np.float32)
        rows = latent @ lift
        rows += np.float32(0.3) * rng.standard_normal((len(here), DIM), dtype=np.float32)
        made[start : start + ROWS] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return made


def problem(queries: int, photos: int, classes: int, signal: float = 0.75) -> list[np.ndarray]:
    """Sketch and photo vectors with their class ids."""
    rng = np.random.default_rng(0)
    lift = rng.standard_normal((LATENT, DIM), dtype=np.float32) / np.float32(LATENT**0.5)
    centres = np.float32(signal) * rng.standard_normal((classes, LATENT), dtype=np.float32)
    asked, kept = np.arange(queries) % classes, rng.integers(0, classes, photos)
    return [
        features(queries, asked, centres, lift, 1),
        features(photos, kept, centres, lift, 2),
        asked,
        kept,
    ]


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def load_sake_metric(path: Path) -> Callable[..., tuple[float, float]]:
    """``sake_metric`` of EGFF's own file."""
    spec = importlib.util.spec_from_file_location("reference_metric", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no Python file; name EGFF's metric.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    metric: Callable[..., tuple[float, float]] = module.sake_metric
    return metric


def speed(reference: Path | None, reference_queries: int, rounds: int) -> None:
    """Compare with the bare product, and with the reference when it is named."""
    queries, gallery, asked, kept = problem(*SIZES["speed"])
    print(f"{len(queries):,} queries x {len(gallery):,} photos x {DIM}, 25 classes")
    bare, ours = [], []
    result = None

    def judge() -> None:
        nonlocal result
        result = evaluate(queries, gallery, asked, kept, conventions=("sake",))

    for _ in range(rounds + 1):  # the first pays for memory that later ones find there
        bare.append(timed(lambda: queries @ gallery.T))
        ours.append(timed(judge))
    assert result is not None
    found = result.means("sake")
    for name, seconds in (("bare float32 product", bare[1:]), ("evaluate", ours[1:])):
        print(
            f"{name:21} {statistics.median(seconds):6.2f} s "
            f"(min {min(seconds):.2f}, max {max(seconds):.2f}, {rounds} rounds)"
        )
    ratios = [mine / product for mine, product in zip(ours[1:], bare[1:], strict=True)]
    print(f"evaluate / bare product: {statistics.median(ratios):.2f} (median of rounds)")
    all_six = ("standard", "sake", "zse", "hits", "total", "rank")
    six = timed(lambda: evaluate(queries, gallery, asked, kept, conventions=all_six))
    print(f"{'all six conventions':21} {six:6.2f} s")
    if reference is None:
        return
    metric = load_sake_metric(reference)
    rows = np.arange(len(queries))[: reference_queries or None]
    part = gallery, kept, queries[rows], asked[rows]
    theirs: dict[str, float] = {}

    def judge_theirs() -> None:
        theirs["mAP@all"], theirs["P@100"] = metric(*part)
        theirs["mAP@200"], theirs["P@200"] = metric(*part, {"precision": 200, "map": 200})

    seconds = timed(judge_theirs) * len(queries) / len(rows)
    scaled = "" if len(rows) == len(queries) else f", scaled from {len(rows):,} queries"
    print(f"{'reference':21} {seconds:6.1f} s{scaled}")
    print(f"reference / evaluate: {seconds / statistics.median(ours[1:]):.0f}")
    if len(rows) < len(queries):
        found = evaluate(queries[rows], gallery, asked[rows], kept, conventions=("sake",)).means(
            "sake"
        )
    for name, value in theirs.items():
        print(f"{name:8} reference {value:.10f}, ours {found[name]:.10f}")
    worst = max(abs(value - found[name]) for name, value in theirs.items())
    print(f"largest difference: {worst:.1e}")


def memory() -> None:
    """The peak of the resident size above what it was with the inputs alone."""
    arrays = problem(*SIZES["memory"])
    inputs = sum(array.nbytes for array in arrays) / 2**30
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds = timed(lambda: evaluate(*arrays))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(arrays[0]):,} queries x {len(arrays[1]):,} photos x {DIM}: {seconds:.0f} s")
    print(f"inputs {inputs:.2f} GiB, resident with them {before:.2f} GiB, peak {peak:.2f} GiB")
    print(
        f"above the inputs: {peak - before:.2f} GiB; the whole matrix of scores would be ", end=""
    )
    print(f"{len(arrays[0]) * len(arrays[1]) * 4 / 2**30:.1f} GiB")


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("claim", choices=["speed", "memory"])
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--reference-queries", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.claim == "memory":
        memory()
    else:
        speed(options.reference, options.reference_queries, options.rounds)


if __name__ == "__main__":
    main()
