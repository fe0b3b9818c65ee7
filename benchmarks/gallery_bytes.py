"""Bytes that a photo takes in a gallery of each kind, beside its vector.

    python benchmarks/gallery_bytes.py [--photos 50000] [--dim 256]

The photos are rows alone: paths of 40 characters, hashes and vectors as of real ones, copied from a
file of SQLite into a Lance dataset.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from pathlib import Path

import numpy as np

from msedge.search.photo import NewPhoto
from msedge.search.ranking import unit_vectors
from msedge.search.stores import copy_gallery, open_or_create
from msedge.search.stores.reports import Model

BLOCK = 5000


def photos(first: int, dim: int) -> list[NewPhoto]:
    """Some rows."""
    drawn = np.random.default_rng(first).standard_normal((BLOCK, dim)).astype(np.float16)
    return [
        NewPhoto(
            Path(f"/photos/holidays/{number // 500:04}/IMG_{number:08}.jpg"),
            2_000_000 + number,
            10**18 + 7 * number,
            hashlib.blake2b(b"%d" % number, digest_size=32).hexdigest(),
            4000,
            3000,
            1.6e9 + number,
            vector=vector,
        )
        for number, vector in enumerate(unit_vectors(drawn).astype(np.float16), first)
    ]


def size(path: Path) -> int:
    """Bytes of a file, or of a folder's files."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=50_000, help="a multiple of 5,000")
    parser.add_argument("--dim", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        file, dataset = Path(name, "g.msedge"), Path(name, "g.lance")
        with open_or_create(file, Model("model", "f" * 64, options.dim)) as gallery:
            for first in range(0, options.photos, BLOCK):
                gallery.put(photos(first, options.dim))
        copy_gallery(file, dataset)
        for kind, path in (("SQLite", file), ("Lance", dataset)):
            each = size(path) / options.photos
            beside = each - 2 * options.dim
            print(f"{kind}: {each:.0f} bytes a photo, {beside:.0f} beside the vector")
        print(f"Lance / SQLite: {size(dataset) / size(file):.2f}")


if __name__ == "__main__":
    main()
