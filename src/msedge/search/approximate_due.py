"""Whether a gallery is so large, or has changed so much, that its approximate index is due.

Tested in ``tests/search/test_approximate_view.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msedge.search.approximate_view import index_beside

if TYPE_CHECKING:
    from msedge.search.gallery_file import GalleryFile

APPROXIMATE_FROM = 1_000_000
"""Photos from which a gallery gets an approximate index without being asked.

Below that, exact search answers within a tenth of a second: 39 ms for a million vectors of 128
numbers (``benchmarks/query_cost.py``), and twice that for 256.
"""

RECALL = 0.99
"""The share of the first 20 photos that the index is to find, unless told otherwise."""

_BEHIND = 0.1  # share of the photos that were put or removed since


def is_due(file: GalleryFile, *, least: int = APPROXIMATE_FROM) -> bool:
    """Whether the index beside a gallery is to be built, or built anew.

    Args:
        file: the gallery.
        least: photos from which it gets one.
    """
    photos = file.count()
    if photos < least:
        return False
    index = index_beside(file)
    if index is None:
        return True
    changed = file.changed(index.about.version)
    return changed is None or changed > _BEHIND * photos
