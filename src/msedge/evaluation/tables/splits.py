"""What the split names of published tables may stand for, and what is known of those splits.

A column headed "S25" does not say which 25 classes; two lists go by that name. Here are the
protocols that each name may mean, the photos of their unseen classes (which bound the metrics),
and the figures whose protocol is on record. Data alone, for
:mod:`~msedge.evaluation.tables.bounds` and :mod:`~msedge.evaluation.tables.lint`. Tested in
``tests/evaluation/tables/test_splits.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class ShortClass:
    """An unseen class with few photos.

    ``least_share`` and ``most_share`` bound its share of the queries, in [0, 1].
    """

    name: str
    photos: int
    least_share: Decimal
    most_share: Decimal

    def missing(self, k: int) -> Decimal:
        """The share of the top k that its photos cannot fill, in [0, 1]."""
        return max(Decimal(0), 1 - Decimal(self.photos) / k)


@dataclass(frozen=True, slots=True)
class ClassSizes:
    """The unique photos of a protocol's unseen classes in the whole dataset.

    ``gallery`` counts them all, ``short`` names the smallest classes, and every class that is not
    in ``short`` has at least ``others`` photos.
    """

    gallery: int
    others: int
    short: tuple[ShortClass, ...] = ()


SPLITS: dict[str, tuple[str, ...]] = {
    "S21": ("sketchy-21",),
    "S25": ("sketchy-25-sake", "sketchy-25-sempcyc"),
    "Sketchy": ("sketchy-21", "sketchy-25-sake", "sketchy-25-sempcyc"),
    "TUB": ("tuberlin-30-sake", "tuberlin-30-sempcyc"),
    "TU-Berlin": ("tuberlin-30-sake", "tuberlin-30-sempcyc"),
    "QD": ("quickdraw-30",),
    "QuickDraw": ("quickdraw-30",),
    "sketchy-21": ("sketchy-21",),
    "sketchy-25-sake": ("sketchy-25-sake",),
    "sketchy-25-sempcyc": ("sketchy-25-sempcyc",),
    "tuberlin-30-sake": ("tuberlin-30-sake",),
    "tuberlin-30-sempcyc": ("tuberlin-30-sempcyc",),
    "quickdraw-30": ("quickdraw-30",),
}
"""The protocols that a split's name may mean."""

PROTOCOLS: tuple[str, ...] = tuple(dict.fromkeys(one for ids in SPLITS.values() for one in ids))
"""The ids of all protocols that a table can name."""

# Counted in the lists that come with the public code of ZSE-SBIR (github.com/buptLinfy/ZSE-SBIR,
# folder datasets), every photo once. Skyscraper has 545 of the 12,694 queries there, a share of
# 0.0429; a mean over classes would give it 1/21 = 0.0476. The bounds hold both.
CLASS_SIZES: dict[str, ClassSizes] = {
    "sketchy-21": ClassSizes(
        10_453, 276, (ShortClass("skyscraper", 161, Decimal("0.04"), Decimal("0.05")),)
    ),
    "sketchy-25-sake": ClassSizes(14_601, 278),
    "sketchy-25-sempcyc": ClassSizes(14_626, 278),
    "tuberlin-30-sake": ClassSizes(27_989, 401),
    "quickdraw-30": ClassSizes(54_151, 1_304),
}
"""Class sizes by protocol; a protocol that is not here has sizes that no source gives."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Figures of an original publication whose protocol is on record.

    ``method`` is how the method's name begins, ``map_all`` and ``p_100`` are in [0, 1].
    """

    method: str
    protocol: str
    map_all: Decimal
    p_100: Decimal


def _origins(method: str, protocol: str, *figures: tuple[str, str]) -> tuple[Origin, ...]:
    return tuple(Origin(method, protocol, Decimal(ap), Decimal(p)) for ap, p in figures)


# Figures: as quoted in PSKD, table 1 (SEM-PCYC and SAKE; real-valued, then binary codes) and on
# the ZSE-SBIR project page (retrieval token, then relation network). Protocols: SEM-PCYC's code
# draws its own (github.com/AnjanDutta/sem-pcyc, src/utils.py; listed in issue 22); SAKE brought
# its lists (github.com/qliu24/SAKE, folder dataset), which ZSE-SBIR's repository carries on.
ORIGINS: tuple[Origin, ...] = (
    *_origins("SEM-PCYC", "sketchy-25-sempcyc", ("0.349", "0.463"), ("0.344", "0.399")),
    *_origins("SEM-PCYC", "tuberlin-30-sempcyc", ("0.297", "0.426"), ("0.293", "0.392")),
    *_origins("SAKE", "sketchy-25-sake", ("0.547", "0.692"), ("0.364", "0.487")),
    *_origins("SAKE", "tuberlin-30-sake", ("0.475", "0.599"), ("0.359", "0.481")),
    *_origins("ZSE-SBIR", "sketchy-25-sake", ("0.736", "0.808"), ("0.698", "0.797")),
    *_origins("ZSE-SBIR", "tuberlin-30-sake", ("0.569", "0.637"), ("0.542", "0.657")),
)
"""Known by method and by both figures, so that a method run anew elsewhere is not mistaken."""
