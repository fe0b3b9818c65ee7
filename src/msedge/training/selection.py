"""Which seen classes are held out, so that the checkpoint is chosen without the unseen ones.

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
    shuffled = sorted(classes, key=lambda name: hashlib.sha256(os.fsencode(name)).digest())
    held_out = set(shuffled[:count])
    return tuple(sorted(set(classes) - held_out)), tuple(sorted(held_out))
