"""Whether vectors of an encoder compare with a gallery's.

Tested in ``tests/search/test_gallery_file.py``.
"""

from __future__ import annotations

from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import WeightsError
from msedge.search.encoder import Encoder
from msedge.search.gallery_rows import Model
from msedge.search.locations import location


def check_same_model(gallery: Path, model: Model, encoder: Encoder) -> None:
    """Refuse an encoder other than the one that a gallery was made with.

    Raises:
        WeightsError: its fingerprint is another; the message says the ways out.
    """
    if (encoder.fingerprint, encoder.dim) != (model.fingerprint, model.dim):
        raise WeightsError(
            f"gallery {one_line(location(gallery))} was made by other weights "
            f"({one_line(model.name)}, {one_line(model.fingerprint[:12])}) than these "
            f"({one_line(encoder.name)}, {encoder.fingerprint[:12]}): use --model with those, "
            "index into another gallery with `msedge index --gallery OTHER`, or embed it anew with "
            "`msedge index --rebuild`"
        )


def check_not_rebuilt(gallery: Path, before: Model, now: Model) -> None:
    """Refuse to go on with a gallery whose vectors another model has made meanwhile.

    Raises:
        WeightsError: the fingerprints differ.
    """
    if (now.fingerprint, now.dim) != (before.fingerprint, before.dim):
        raise WeightsError(
            f"gallery {one_line(location(gallery))} has been rebuilt with other weights "
            f"({one_line(now.name)}) while it was open: open it again"
        )
