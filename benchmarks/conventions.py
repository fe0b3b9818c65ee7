"""Our conventions against the original repositories' own functions, on random rankings.

Claim: on the same ranking ``sake``, ``zse`` and ``hits`` give what EGFF, ZSE-SBIR and SEM-PCYC
compute, to 1e-9. The original files are imported from where they lie, none of their text is here:

    git clone https://github.com/leftthomas/EGFF reference/EGFF
    git clone https://github.com/buptLinfy/ZSE-SBIR reference/ZSE-SBIR
    git clone https://github.com/AnjanDutta/sem-pcyc reference/sem-pcyc
    git clone https://github.com/sounakdey/doodle2search reference/doodle2search
    python benchmarks/conventions.py --reference reference [--cases 1000] [--seed 0]

Metrics are compared, not tie rules: half of the cases have six similarities in all, and our rule
ranks the tied by gallery order; the originals sort with NumPy's unstable sort, so they are given
scores that fall strictly along that ranking. A NaN agrees with a NaN alone. Queries without any
relevant photo are left out where the original divides by zero or calls their recall 0 (both
functions named ``rec``, and doodle2search's ``prec``). That ``prec`` divides the hits among the
first k by min(k, R), which is no convention's P@k: it is the larger of P@k and Recall@k, and is
compared with that.

SEM-PCYC's file uses ``np.float``, which NumPy has dropped: it is put back before the import. Its
process pools are made sequential. Exits with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import joblib
import numpy as np
import numpy.typing as npt

from msedge.evaluation.conventions import convention, recall
from msedge.evaluation.hits import Hits

TOLERANCE = 1e-9


@dataclass(frozen=True)
class Case:
    """One query over M photos with a cut-off.

    Attributes:
        relevant: Bool ``(M,)`` in gallery order.
        order: Gallery positions, best first.
        k: The cut-off, from 1 to beyond M.
        tied: Whether a relevant and a wrong photo next to each other have one similarity.
    """

    relevant: npt.NDArray[np.bool_]
    order: npt.NDArray[np.intp]
    k: int
    tied: bool

    @property
    def ranked(self) -> npt.NDArray[np.bool_]:
        """What stands at each rank."""
        return self.relevant[self.order]

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Strictly falling along the ranking, in gallery order."""
        scores = np.empty(len(self.order))
        scores[self.order] = np.linspace(1, 0, len(self.order))
        return scores

    @property
    def hits(self) -> Hits:
        """The ranking as our conventions take it."""
        return Hits.from_relevance(self.ranked[None])


def random_case(rng: np.random.Generator) -> Case:
    """A gallery of one to eight classes, ranked for a query of one of them or of none."""
    gallery, classes = int(rng.integers(1, 150)), int(rng.integers(1, 9))
    labels = rng.integers(1, classes + 1, gallery)
    levels = 6 if rng.random() < 0.5 else 10**9  # few levels: most photos are tied
    similarity = rng.integers(0, levels, gallery)
    order = np.argsort(-similarity, kind="stable")
    relevant = labels == rng.integers(0, classes + 1)
    k = gallery if rng.random() < 0.1 else int(rng.integers(1, gallery * 3 // 2 + 2))
    tied = (np.diff(similarity[order]) == 0) & (np.diff(relevant[order].astype(int)) != 0)
    return Case(relevant, order, k, bool(tied.any()))


@dataclass(frozen=True)
class Comparison:
    """One original function and what of ours should equal it.

    Attributes:
        function: Its name, with the cut-off.
        ours_name: The convention and metric it is held to.
        theirs: From the imported file and a case to its value.
        ours: Our value of a case.
        empty: Whether queries without relevant photos are compared too.
    """

    function: str
    ours_name: str
    theirs: Callable[[ModuleType, Case], float]
    ours: Callable[[Case], float]
    empty: bool = True


@dataclass(frozen=True)
class Original:
    """A repository's file, known by the end of its path and a line that only it has."""

    repository: str
    tail: str
    mark: str
    comparisons: tuple[Comparison, ...]


def ap(name: str) -> Callable[[Case], float]:
    """Our AP@k of a case."""
    return lambda case: convention(name).average_precision(case.hits, case.k).item()


def ap_all(name: str) -> Callable[[Case], float]:
    """Our AP over the whole gallery."""
    return lambda case: convention(name).average_precision(case.hits, None).item()


def p(name: str) -> Callable[[Case], float]:
    """Our P@k of a case."""
    return lambda case: convention(name).precision(case.hits, case.k).item()


def recall_at_k(case: Case) -> float:
    """Our Recall@k of a case."""
    return recall(case.hits, case.k).item()


def positions(case: Case) -> tuple[list[int], list[int], int]:
    """The relevant photos, the ranking and k, as the functions on position lists take them."""
    return np.flatnonzero(case.relevant).tolist(), case.order.tolist(), case.k


def one_row(case: Case) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Similarity and class equality as matrices of one query."""
    return case.scores[None], case.relevant[None].astype(np.int64)


ORIGINALS = (
    Original(
        "EGFF", "metric.py", "def sake_metric(",
        (
            Comparison("eval_ap, top=k", "sake AP@k",
                       lambda file, c: file.eval_ap(True, c.scores, c.relevant, top=c.k),
                       ap("sake")),
            Comparison("eval_ap", "sake AP@all",
                       lambda file, c: file.eval_ap(True, c.scores, c.relevant),
                       ap_all("sake")),
            Comparison("eval_precision, top=k", "sake P@k",
                       lambda file, c: file.eval_precision(True, c.scores, c.relevant, top=c.k),
                       p("sake")),
        ),
    ),
    Original(
        "ZSE-SBIR", "utils/ap.py", "def voc_eval(",
        (
            Comparison("voc_eval, top=k", "zse AP@k",
                       lambda file, c: file.voc_eval(c.ranked, c.k), ap("zse")),
            Comparison("voc_eval", "zse AP@all",
                       lambda file, c: file.voc_eval(c.ranked), ap_all("zse")),
            Comparison("precision_eval, top=k", "zse P@k",
                       lambda file, c: file.precision_eval(c.ranked, c.k), p("zse")),
        ),
    ),
    Original(
        "sem-pcyc", "src/utils.py", "def apsak(",
        (
            Comparison("apsak, k", "hits AP@k",
                       lambda file, c: file.apsak(*one_row(c), k=c.k)[0], ap("hits")),
            Comparison("aps", "hits AP@all",
                       lambda file, c: file.aps(*one_row(c))[0], ap_all("hits")),
            Comparison("prec, k", "hits P@k",
                       lambda file, c: file.prec(*positions(c)), p("hits")),
            Comparison("rec, k", "Recall@k",
                       lambda file, c: file.rec(*positions(c)), recall_at_k, empty=False),
        ),
    ),
    Original(
        "doodle2search", "src/utils.py", "def save_checkpoint(state, directory, file_name)",
        (
            Comparison("prec, k", "max(hits P@k, Recall@k)",
                       lambda file, c: file.prec(*positions(c)),
                       lambda c: max(p("hits")(c), recall_at_k(c)), empty=False),
            Comparison("rec, k", "Recall@k",
                       lambda file, c: file.rec(*positions(c)), recall_at_k, empty=False),
        ),
    ),
)  # fmt: skip


def find(original: Original, folder: Path) -> Path | None:
    """The original's file anywhere below a folder."""
    for path in sorted(folder.rglob(Path(original.tail).name)):
        if path.as_posix().endswith(f"/{original.tail}") and original.mark in path.read_text(
            encoding="utf-8"
        ):
            return path
    return None


def load(path: Path, name: str) -> ModuleType:
    """Import one file by its path, outside any package."""
    np.float = float  # type: ignore[attr-defined]
    spec = importlib.util.spec_from_file_location(f"original_{name.replace('-', '_')}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def difference(ours: float, theirs: float) -> float:
    """The distance of two values; none between NaN and NaN, infinite between NaN and a number."""
    if math.isnan(ours) or math.isnan(theirs):
        return 0.0 if math.isnan(ours) and math.isnan(theirs) else math.inf
    return abs(ours - theirs)


def largest_difference(
    comparison: Comparison, file: ModuleType, cases: list[Case]
) -> tuple[int, float]:
    """How many cases were compared, and the largest difference."""
    compared = [case for case in cases if comparison.empty or case.relevant.any()]
    with (
        np.errstate(all="ignore"),
        warnings.catch_warnings(),
        joblib.parallel_config(backend="sequential"),
    ):
        warnings.simplefilter("ignore")  # theirs, about the divisions by zero that are compared
        worst = max(
            difference(comparison.ours(case), float(comparison.theirs(file, case)))
            for case in compared
        )
    return len(compared), worst


def describe(cases: list[Case]) -> str:
    """What situations the cases hold, in one line."""
    relevant = np.array([case.relevant.sum() for case in cases])
    gallery, k = (np.array(v) for v in zip(*((len(c.order), c.k) for c in cases), strict=True))
    counts = {
        "R = 0": relevant == 0,
        "0 < R < k": (relevant > 0) & (relevant < k),
        "R > k": relevant > k,
        "k = M": k == gallery,
        "k > M": k > gallery,
        "ties": np.array([case.tied for case in cases]),
    }
    return ", ".join(f"{name}: {holds.sum()}" for name, holds in counts.items())


def main() -> None:
    """Compare what is found and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--reference", type=Path, required=True, help="folder of the checkouts")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = {each: find(each, options.reference) for each in ORIGINALS}
    if not any(found.values()):
        parser.error(f"no original file below {options.reference}: expected checkouts, see the top")
    if options.cases < 100:
        parser.error(f"--cases is {options.cases}: expected at least 100, to hold every situation")
    rng = np.random.default_rng(options.seed)
    cases = [random_case(rng) for _ in range(options.cases)]
    print(f"{len(cases)} cases, seed {options.seed}: {describe(cases)}\n")
    print("| repository | function | ours | cases | largest difference | verdict |")
    print("|---|---|---|---|---|---|")
    agreed = True
    for original, path in found.items():
        if path is None:
            print(f"| {original.repository} | {original.tail} | | 0 | | not found |")
            continue
        file = load(path, original.repository)
        for each in original.comparisons:
            count, worst = largest_difference(each, file, cases)
            agreed &= worst <= TOLERANCE
            row = (original.repository, each.function, each.ours_name, str(count), f"{worst:.1e}")
            print(f"| {' | '.join(row)} | {'agrees' if worst <= TOLERANCE else 'DIFFERS'} |")
    print()
    for original, path in found.items():
        if path is not None:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            print(f"{original.repository} {original.tail}: sha256 {digest}")
    sys.exit(0 if agreed else 1)


if __name__ == "__main__":
    main()
