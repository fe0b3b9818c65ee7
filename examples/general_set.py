"""The training set of the shipped model `msedge-lite`: every drawing and photo at hand, merged.

    python examples/general_set.py --sketchy SKETCHY --quickdraw QUICKDRAW --photos TINY \
        --out data/general
    msedge train --data-root data --data-name general --config configs/msedge-lite.yaml

- SKETCHY: the Sketchy archive's `256x256` folder: all 125 classes, seen and unseen alike.
- QUICKDRAW: a folder of `<class>.ndjson` files of simplified strokes (Quick, Draw!). A class that
  Sketchy has too joins it; any other becomes a class of its own, most of them without photos
  (which needs `lone_classes`).
- TINY: Tiny ImageNet's `tiny-imagenet-200` folder (photos of 64 pixels); classes that have
  drawings are taken, by the table below.

Ten classes that have Quick, Draw! drawings and Tiny ImageNet photos, and that Sketchy lacks, are
held out as unseen ones, so that the model can be judged on other hands and other photos.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from msedge.data.images import is_image_name
from msedge.data.sketches import draw_strokes

SKETCHY_NAMES = {  # of Quick, Draw! classes that Sketchy calls otherwise
    "hot dog": "hotdog",
    "motorbike": "motorcycle",
    "car": "car_(sedan)",
    "crocodile": "crocodilian",
    "tennis racquet": "racket",
    "teddy-bear": "teddy_bear",
    "hot air balloon": "hot-air_balloon",
    "bird": "songbird",
}
PHOTOS = {  # class: Tiny ImageNet's folders
    "ape": "n02480495 n02481823",
    "banana": "n07753592",
    "bear": "n02132136",
    "bee": "n02206856",
    "butterfly": "n02279972 n02281406",
    "camel": "n02437312",
    "candle": "n02948072",
    "cannon": "n02950826",
    "car_(sedan)": "n02814533 n03670208 n04285008",
    "cat": "n02123045 n02123394 n02124075",
    "chair": "n04099969",
    "cow": "n02403003",
    "crocodilian": "n01698640",
    "dog": "n02085620 n02094433 n02099601 n02099712 n02106662",
    "elephant": "n02504458",
    "eyeglasses": "n04356056",
    "fish": "n01443537",
    "frog": "n01641577 n01644900",
    "hat": "n04259630",
    "hourglass": "n03544143",
    "jellyfish": "n01910747",
    "lion": "n02129165",
    "lobster": "n01983481 n01984695",
    "mushroom": "n07734744",
    "penguin": "n02056570",
    "pig": "n02395406",
    "pizza": "n07873807",
    "pretzel": "n07695742",
    "scorpion": "n01770393",
    "sheep": "n02415577",
    "snail": "n01944390",
    "snake": "n01742172",
    "spider": "n01774384 n01774750",
    "spoon": "n04597913",
    "table": "n03201208",
    "teapot": "n04398044",
    "teddy_bear": "n04399382",
    "umbrella": "n04507155",
    "wading_bird": "n02002724",
    "backpack": "n02769748",
    "barn": "n02793495",
    "basketball": "n02802426",
    "bathtub": "n02808440",
    "beach": "n09428293",
    "binoculars": "n02841315",
    "bowtie": "n02883205",
    "bridge": "n04311004 n04366367",
    "broom": "n02906734",
    "bucket": "n02909870",
    "bus": "n04487081",
    "compass": "n03706229",
    "dumbbell": "n03255030",
    "fence": "n03930313",
    "frying_pan": "n03400231",
    "ice_cream": "n07614500",
    "keyboard": "n03085013",
    "lighthouse": "n02814860",
    "monkey": "n02486410",
    "mountain": "n09193705",
    "nail": "n03804744",
    "popsicle": "n07615774",
    "remote_control": "n04074963",
    "school_bus": "n04146614",
    "snorkel": "n04251144",
    "sock": "n04254777",
    "sweater": "n02963159",
    "syringe": "n04376876",
    "tractor": "n04465501",
    "train": "n02917067",
    "van": "n03796401 n03977966",
}
HELD_OUT = (
    "backpack",
    "barn",
    "basketball",
    "broom",
    "dumbbell",
    "lighthouse",
    "remote_control",
    "school_bus",
    "syringe",
    "tractor",
)


def main() -> None:
    """Write the set, and say what came together."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sketchy", type=Path, required=True)
    parser.add_argument("--quickdraw", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--per-folder", type=int, default=50, help="photos of each Tiny folder")
    parser.add_argument("--out", type=Path, default=Path("data/general"))
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"{options.out} exists; remove it or choose another --out")
    counts: dict[str, int] = {}
    for source, written in (
        ("Sketchy", from_sketchy(options.sketchy, options.out)),
        ("Quick, Draw!", from_quickdraw(options.quickdraw, options.out)),
        ("Tiny ImageNet", from_tiny(options.photos, options.per_folder, options.out)),
    ):
        counts[source] = sum(1 for _ in written)
        print(f"{source}: {counts[source]} images", flush=True)
    if not all(counts.values()):
        parser.error("a source gave no image; are the three folders the right ones?")


def folder(out: Path, domain: str, name: str) -> Path:
    """The folder of a class, made if it is not there."""
    made = out / ("val" if name in HELD_OUT else "train") / domain / name
    made.mkdir(parents=True, exist_ok=True)
    return made


def from_sketchy(root: Path, out: Path) -> Iterator[Path]:
    """Both domains of Sketchy, as they are."""
    for domain in ("sketch", "photo"):
        for source in sorted((root / domain / "tx_000000000000").iterdir()):
            for path in sorted(p for p in source.iterdir() if is_image_name(p.name)):
                yield shutil.copy(path, folder(out, domain, source.name) / path.name)


def from_quickdraw(root: Path, out: Path) -> Iterator[Path]:
    """Drawings from their strokes, as pictures of 256 pixels."""
    for source in sorted(root.glob("*.ndjson")):
        name = SKETCHY_NAMES.get(source.stem, source.stem).replace(" ", "_")
        for number, line in enumerate(source.read_text(encoding="utf-8").splitlines()):
            strokes = [(stroke[0], stroke[1]) for stroke in json.loads(line)["drawing"]]
            path = folder(out, "sketch", name) / f"quickdraw_{number}.png"
            draw_strokes(strokes, size=256, line=2.0 + number % 3).convert("L").save(path)
            yield path


def from_tiny(root: Path, per_folder: int, out: Path) -> Iterator[Path]:
    """Photos of the classes that have drawings."""
    for name, folders in PHOTOS.items():
        for wordnet in folders.split():
            found = sorted((root / "train" / wordnet / "images").glob("*.JPEG"))
            for path in itertools.islice(found, per_folder):
                target = folder(out, "photo", name) / f"tiny_{path.stem}.jpg"
                yield shutil.copy(path, target)


if __name__ == "__main__":
    main()
