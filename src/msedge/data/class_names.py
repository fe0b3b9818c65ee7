"""Which spelling means which class, where downloads disagree with each other.

Names are compared in the normal spelling of :func:`~msedge.data.protocols.normalise_class_name`.
That does not reach TU-Berlin's photos, whose folders leave the separators out (``flyingbird``,
``bearanimal``) and misspell some names (``griaffe``), while its sketches and the protocols write
``flying bird``, ``bear (animal)`` and ``giraffe``. Tested in ``tests/data/test_class_names.py``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from msedge.data.protocols import normalise_class_name

_NOT_LETTERS = re.compile(r"[\W_]+")

# By `difflib`'s ratio: 0.92 for giraffe and girafe, 0.67 for bat and cat.
_ALIKE = 0.75

# Folders of TU-Berlin's `ImageResized`, squeezed, and the class of the sketches that they stand
# for, squeezed too; as SEM-PCYC's and Doodle to Search's download scripts correct them.
_KNOWN_MISSPELLINGS = {
    "tuberlin": {
        "chandeler": "chandelier",
        "diamod": "diamond",
        "griaffe": "giraffe",
        "mouse": "mouseanimal",
        "pipe": "pipeforsmoking",
        "spacesshuttle": "spaceshuttle",
        "spidar": "spider",
        "tromobone": "trombone",
        "wristwatching": "wristwatch",
    }
}


def squeeze(name: str) -> str:
    """A name's letters and digits alone, in normal spelling.

    >>> squeeze("TU-Berlin"), squeeze("bear_(animal)")
    ('tuberlin', 'bearanimal')
    """
    return _NOT_LETTERS.sub("", normalise_class_name(name))


def match_spellings(names: Iterable[str], classes: Iterable[str], dataset: str) -> dict[str, str]:
    """Find the class that each name stands for.

    A name that is a class's stands for that class. Of the others, one stands for a class that is
    still free and has the same letters, or that a known misspelling of the dataset means. A name
    that fits no class, or several, stands for itself.

    Args:
        names: in normal spelling, none twice.
        classes: in normal spelling, none twice.
        dataset: id of the dataset, for its known misspellings.

    Returns:
        The class of each name; no two names have the same.

    >>> match_spellings(["cow", "flyingbird"], ["cow", "flying bird"], "tuberlin")
    {'cow': 'cow', 'flyingbird': 'flying bird'}
    """
    names, classes = list(names), set(classes)
    known = _KNOWN_MISSPELLINGS.get(dataset, {})
    free: dict[str, list[str]] = {}
    for class_name in sorted(classes.difference(names)):
        free.setdefault(squeeze(class_name), []).append(class_name)
    found: dict[str, str] = {}
    for name in names:
        found[name] = name
        if name not in classes:
            letters = squeeze(name)
            candidates = free.get(letters) or free.get(known.get(letters, letters), [])
            if len(candidates) == 1:
                found[name] = candidates.pop()
    return found


def most_alike(name: str, others: Iterable[str]) -> str | None:
    """The name, if there is one, that may be another misspelt.

    Args:
        name: in normal spelling.
        others: in normal spelling.

    >>> most_alike("giraffe", ["ape", "girafe"]), most_alike("bat", ["cat"])
    ('girafe', None)
    """
    return next(iter(difflib.get_close_matches(name, list(others), n=1, cutoff=_ALIKE)), None)
