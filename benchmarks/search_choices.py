"""Two numbers that search has chosen, measured: on real photos, with a shipped model.

Near-duplicates: how like each other different photos and copies of one photo are, beside the
threshold from which two count as one. Feedback: what a person gains who marks one of the hits as
wrong ("not like this"), by the weight of what is not wanted: the classes that the protocol
sketchy-21 keeps from training are asked for among all photos, and marked photos do not count.

    MSEDGE_TEST_DATA=data python benchmarks/search_choices.py --model msedge-lite
    MSEDGE_TEST_DATA=data python benchmarks/search_choices.py --model msedge-lite-sketchy21
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from msedge.data.class_names import squeeze
from msedge.data.drawings import drawing_pixels, open_drawing
from msedge.data.images import as_pixels, open_image
from msedge.data.protocols import load_protocol
from msedge.models.shipped import DEFAULT_MODEL
from msedge.search.encoder import OnnxEncoder
from msedge.search.query import AGAINST
from msedge.search.ranking import NEAR_DUPLICATE, Embeddings, Pixels

WEIGHTS = (0.0, 0.1, 0.25, 0.35, 0.5, 0.75, 1.0)
QUERIES, FIRST, EVERY = 5, 20, 10  # sketches a class; hits that are judged; every tenth is copied
Change = Callable[[Image.Image], Image.Image]


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """What is left after it was saved."""
    image.save(content := io.BytesIO(), "JPEG", quality=quality)
    return Image.open(content).convert("RGB")


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Without a share of each side."""
    x, y = round(share * image.width), round(share * image.height)
    return image.crop((x, y, image.width - x, image.height - y))


CHANGES: dict[str, Change] = {
    "saved again, JPEG of quality 75": lambda image: jpeg(image, 75),
    "saved again, JPEG of quality 30": lambda image: jpeg(image, 30),
    "twice the size": lambda image: image.resize((2 * image.width, 2 * image.height)),
    "half the size, less than the network reads": lambda image: image.reduce(2),
    "brighter by a fifth": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "2 % cut off each side": lambda image: cropped(image, 0.02),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def embedded(
    files: Sequence[Path], read: Callable[[Path], Pixels], network: Callable[[Pixels], Embeddings]
) -> Embeddings:
    """Vectors of files, a few at a time."""
    parts = [
        network(np.stack([read(file) for file in files[start : start + 32]]))
        for start in range(0, len(files), 32)
    ]
    return np.concatenate(parts)


def show_near_duplicates(encoder: OnnxEncoder, files: Sequence[Path], photos: Embeddings) -> None:
    """Similarities of different photos, and of copies with what they were made from."""
    pairs = (photos @ photos.T)[np.triu_indices(len(photos), 1)]
    reached, most = (pairs >= NEAR_DUPLICATE).sum(), pairs.max()
    print(f"{len(photos)} different photos, {len(pairs)} pairs: {reached} reach {NEAR_DUPLICATE}")
    print(f"similarity of the two that are most alike: {most:.4f}\n")
    print(f"| copy | median | least | reach {NEAR_DUPLICATE} |\n|-|-|-|-|")
    side, chosen = encoder.image_size, slice(None, None, EVERY)
    for name, change in CHANGES.items():

        def read(file: Path, change: Change = change) -> Pixels:
            image = change(open_image(file))
            return as_pixels(image.resize((side, side), Image.Resampling.BICUBIC))

        found = (embedded(files[chosen], read, encoder.photos) * photos[chosen]).sum(axis=1)
        share = 100 * (found >= NEAR_DUPLICATE).mean()
        print(f"| {name} | {np.median(found):.4f} | {found.min():.4f} | {share:.0f} % |")


def show_feedback(
    sketches: Embeddings,
    asked: npt.NDArray[np.int64],
    photos: Embeddings,
    labels: npt.NDArray[np.int64],
) -> None:
    """Precision of the first hits by weight, after a wrong photo was marked, or a right one too."""
    print(
        f"\n{len(sketches)} queries, chosen weight {AGAINST}; precision of the first {FIRST}, %\n"
    )
    print("| marked | " + " | ".join(map(str, WEIGHTS)) + " |\n|-" + "|-" * len(WEIGHTS) + "|")
    for marked, liked in (("1 wrong", 0), ("1 wrong, 1 right", 1)):
        means = []
        for weight in WEIGHTS:
            right = []
            for query, label in zip(sketches, asked, strict=True):
                order = np.argsort(-(photos @ query), kind="stable")
                wrong = order[labels[order] != label][:1]
                good = order[labels[order] == label][:liked]
                vector = np.mean([query, *photos[good]], axis=0) - weight * photos[wrong].mean(0)
                again = np.argsort(-(photos @ vector), kind="stable")
                again = again[~np.isin(again, [*wrong, *good])][:FIRST]
                right.append((labels[again] == label).mean())
            means.append(f"{100 * np.mean(right):.1f}")
        print(f"| {marked} | " + " | ".join(means) + " |")


def main() -> None:
    """Embed once, print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    encoder = OnnxEncoder.load(parser.parse_args().model)
    root = Path(os.environ["MSEDGE_TEST_DATA"]) / "sketchy-mini/256x256"
    side = encoder.image_size
    folders = sorted((root / "photo/tx_000000000000").iterdir())
    names = [folder.name for folder in folders]
    files = [file for folder in folders for file in sorted(folder.iterdir())]
    labels = np.array([names.index(file.parent.name) for file in files])
    unseen = {squeeze(name) for name in load_protocol("sketchy-21").unseen}
    drawn = [
        file
        for name in names if squeeze(name) in unseen
        for file in sorted((root / "sketch/tx_000000000000" / name).iterdir())[:QUERIES]
    ]  # fmt: skip
    asked = np.array([names.index(file.parent.name) for file in drawn])

    def read(file: Path) -> Pixels:
        return as_pixels(open_image(file, size=side))

    photos = embedded(files, read, encoder.photos)
    sketches = embedded(
        drawn, lambda file: drawing_pixels(open_drawing(file), side), encoder.sketches
    )
    show_near_duplicates(encoder, files, photos)
    show_feedback(sketches, asked, photos, labels)


if __name__ == "__main__":
    main()
