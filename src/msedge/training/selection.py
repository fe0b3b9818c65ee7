"""Which seen classes are held out, and of which the sketches are trained on.

Choosing the epoch on the test classes is common in this field and inflates its figures. Held-out
seen classes play the part of unseen ones: they are not trained on, and the epoch that retrieves
them best is kept.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from msedge.errors import ConfigError

_LEAST_HELD_OUT = 2  # with a single class every photo is relevant
_LEAST_TRAINED = 2


def hold_out(classes: Sequence[str], share: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split the seen classes into those to train on and those to choose with.

    The choice follows a hash of the names: it looks arbitrary, is the same for every seed, and
    moves few classes when the set changes.

    Args:
        classes: the seen classes.
        share: how much of them to hold out, in (0, 1).

    Returns:
        The classes to train on and those held out, each sorted.

    Raises:
        ConfigError: there are too few classes to do both.

    Example:
        >>> train, held_out = hold_out([f"class {i}" for i in range(20)], 0.1)
        >>> len(train), len(held_out)
        (18, 2)
    """
    count = max(_LEAST_HELD_OUT, round(share * len(classes)))
    if len(classes) - count < _LEAST_TRAINED:
        raise ConfigError(
            f"{len(classes)} seen classes are too few to hold {count} out and train on the rest; "
            "use --select last"
        )
    held_out = set(_by_hash(classes)[:count])
    return tuple(sorted(set(classes) - held_out)), tuple(sorted(held_out))


def draw_classes(classes: Sequence[str], count: int, seed: int) -> tuple[str, ...]:
    """Some of the classes, by a hash of the seed and their names.

    Of one seed, fewer are among more: what 5 classes are worth is a part of what 20 are.

    Args:
        classes: to draw from.
        count: how many to draw.
        seed: another one draws others.

    Returns:
        The classes, sorted.

    Raises:
        ConfigError: there are fewer.

    Example:
        >>> names = [f"class {i}" for i in range(20)]
        >>> set(draw_classes(names, 2, seed=0)) < set(draw_classes(names, 5, seed=0))
        True
    """
    if count > len(classes):
        raise ConfigError(
            f"sketch_classes: {count} cannot be drawn, {len(classes)} classes that are trained on "
            "have sketches; ask for fewer, or leave it out for all"
        )
    return tuple(sorted(_by_hash(classes, f"{seed} ")[:count]))


def _by_hash(classes: Sequence[str], salt: str = "") -> list[str]:
    return sorted(classes, key=lambda name: hashlib.sha256(os.fsencode(salt + name)).digest())
