"""What names cost a drawing of a thing that has none: names left out of the bank, and left in.

    MSEDGE_TEST_DATA=DIR python benchmarks/unnamed.py

The sketches and photos of the unseen classes of `tuberlin-mini-20`, found by `msedge-lite` and its
bank. P@10 is the share of right photos among the first ten, and the differences are to the drawing
with hubs alone, with 95 % intervals by bootstrap over the sketches.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from msedge.data.drawings import drawing_pixels, open_drawing
from msedge.data.images import read_pixels
from msedge.data.protocols import load_protocol
from msedge.models.bank import HUB_SHARE, Bank, hubness
from msedge.search.encoder import OnnxEncoder, photo_side
from msedge.search.names import Names, key_of

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from general_set import OTHER_NAMES

FIRST, ROUNDS = 10, 1000


def main() -> None:
    """Measure, and print a line for each way to ask."""
    root = Path(os.environ["MSEDGE_TEST_DATA"]) / "tuberlin-mini"
    unseen = {key_of(name) for name in load_protocol(str(root / "tuberlin-mini-20.toml")).unseen}
    encoder = OnnxEncoder.load()
    bank = encoder.bank
    if bank is None:
        raise SystemExit("the model has no bank: nothing to measure")
    side, keep_shape = photo_side(encoder)
    sketches, wanted, photos, classes = [], [], [], []
    for folder in sorted((root / "png_ready").iterdir()):
        if key_of(folder.name) not in unseen:
            continue
        for path in sorted(folder.iterdir()):
            pixels = drawing_pixels(open_drawing(path), encoder.image_size)
            sketches.append(encoder.sketches(pixels[None])[0])
            wanted.append(folder.name)
        for path in sorted((root / "ImageResized_ready" / folder.name).iterdir()):
            photos.append(encoder.photos(read_pixels(path, side, keep_shape=keep_shape)[None])[0])
            classes.append(folder.name)
    gallery = np.array(photos)
    hubs = HUB_SHARE * hubness(gallery.astype(np.float16), bank.drawings)

    def right(queries: npt.NDArray[np.float32], taken: npt.NDArray[np.floating]) -> npt.NDArray:
        order = np.argsort(-(queries @ gallery.T - taken), axis=1, kind="stable")[:, :FIRST]
        return (np.array(classes)[order] == np.array(wanted)[:, None]).mean(axis=1)

    def steered(known: Bank) -> npt.NDArray[np.float32]:
        names = Names(known)
        return np.stack([names.steer([sketch]).wanted[0] for sketch in sketches])

    here = {key_of(OTHER_NAMES.get(name, name)) for name in {*wanted}} | unseen
    kept = [place for place, name in enumerate(bank.names) if key_of(name.name) not in here]
    without = replace(
        bank,
        names=tuple(bank.names[place] for place in kept),
        name_drawings=bank.name_drawings[kept],
        name_photos=bank.name_photos[kept],
    )
    print(f"{len(sketches)} sketches, {len(photos)} photos, {len({*wanted})} classes; ", end="")
    print(f"{len(bank.names) - len(kept)} names left out")
    drawn = np.array(sketches)
    print(f"the drawing alone: {100 * right(drawn, np.zeros(len(gallery))).mean():.1f}")
    base = right(drawn, hubs)
    print(f"with hubs: {100 * base.mean():.1f}")
    random = np.random.default_rng(0)
    for what, known in (("names of other things", without), ("all names", bank)):
        found = right(steered(known), hubs)
        off = 100 * (found - base)
        means = [off[random.integers(len(off), size=len(off))].mean() for _ in range(ROUNDS)]
        low, high = np.percentile(means, [2.5, 97.5])
        print(
            f"with {what}: {100 * found.mean():.1f} ({off.mean():+.1f}, {low:+.1f} to {high:+.1f})"
        )


if __name__ == "__main__":
    main()
