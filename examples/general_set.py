"""The training set of the shipped model `msedge-lite`, second edition, and the set that judges it.

    python examples/general_set.py --data DIR --out data/general2
    msedge train --data-root data --data-name general2 --config configs/msedge-lite.yaml

DIR holds three folders: `sketchy-mini/256x256` (the Sketchy archive's layout), `quickdraw-mini`
(`<class>.ndjson`, simplified strokes) and `tuberlin-mini` (TU-Berlin's sketches, and photos of its
classes from several sources). A class has one name here, whatever each source calls it
(`OTHER_NAMES`); most Quick, Draw! classes and many of TU-Berlin's have no photos (which needs
`lone_classes`).

**The validation set is left out**, and no training may see it: of each class, a tenth of its photos
by a hash of their names, and at least ten of each everyday class; TU-Berlin's first ten sketches;
the last five Quick, Draw! drawings; Sketchy's sketches of photos that are left out.
`benchmarks/general.py` judges by it. Four classes are unseen ones: none of their pictures is
trained on.

The bank that comes with `msedge-lite` is made of some images of each class:

    python examples/general_set.py --data DIR --out bank --sketch 18 --photo 24
    msedge names make msedge-lite --drawings bank/train/sketch --photos bank/train/photo \
        --synonyms examples/names.toml --out msedge-lite.bank.safetensors
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from msedge.data.images import is_image_name
from msedge.data.layouts import Domain
from msedge.data.sketches import draw_strokes

OTHER_NAMES = {  # what a source calls it: what it is called here
    "alarm_clock": "alarm clock",
    "beer-mug": "beer mug",
    "bear (animal)": "bear",
    "birthday cake": "cake",
    "cabin": "house",
    "car (sedan)": "car",
    "car_(sedan)": "car",
    "coffee cup": "cup",
    "computer monitor": "computer",
    "crane (machine)": "crane",
    "crocodilian": "crocodile",
    "flower with stem": "flower",
    "frying-pan": "frying pan",
    "head-phones": "headphones",
    "hot-air_balloon": "hot air balloon",
    "hot-dog": "hot dog",
    "hotdog": "hot dog",
    "house plant": "potted plant",
    "human-skeleton": "skeleton",
    "ice-cream-cone": "ice cream",
    "jack-o-lantern": "pumpkin",
    "lightbulb": "light bulb",
    "motorbike": "motorcycle",
    "mouse (animal)": "mouse",
    "mug": "cup",
    "pants": "trousers",
    "pickup_truck": "pickup truck",
    "pipe (for smoking)": "pipe",
    "pistol": "revolver",
    "racket": "tennis racket",
    "rollerblades": "roller skates",
    "rollerskates": "roller skates",
    "rooster": "chicken",
    "sea_turtle": "turtle",
    "sea turtle": "turtle",
    "socks": "sock",
    "songbird": "bird",
    "speed-boat": "speedboat",
    "standing bird": "bird",
    "tablelamp": "table lamp",
    "teacup": "cup",
    "teddy-bear": "teddy bear",
    "television": "tv",
    "tennis racquet": "tennis racket",
    "tennis-racket": "tennis racket",
    "wading_bird": "bird",
    "wine-bottle": "wine bottle",
    "wineglass": "wine glass",
    "wrist-watch": "wristwatch",
}
EVERYDAY = (  # what photo libraries hold; named before any result was looked at
    "airplane",
    "bicycle",
    "bird",
    "bus",
    "butterfly",
    "car",
    "cat",
    "chair",
    "church",
    "couch",
    "cow",
    "cup",
    "dog",
    "elephant",
    "eyeglasses",
    "face",
    "flower",
    "guitar",
    "hat",
    "horse",
    "motorcycle",
    "person sitting",
    "person walking",
    "pizza",
    "sailboat",
    "sheep",
    "shoe",
    "tree",
    "umbrella",
    "wristwatch",
)
UNSEEN = ("backpack", "barn", "syringe", "tractor")
TUBERLIN_FIRST, QUICKDRAW_LAST, EVERYDAY_LEAST = 10, 5, 10


@dataclass(frozen=True)
class Picture:
    """A sketch or a photo, and on which side it stands."""

    source: str  # sketchy, quickdraw or tuberlin
    domain: Domain
    class_name: str
    name: str  # of its file in the set
    path: Path
    line: int | None = None  # of a file of strokes
    left_out: bool = False  # of training: it belongs to the validation set

    def strokes(self) -> list[tuple[list[float], list[float]]]:
        """A drawing's, of a file of strokes."""
        drawn = json.loads(self.path.read_text(encoding="utf-8").splitlines()[self.line or 0])
        return [(stroke[0], stroke[1]) for stroke in drawn["drawing"]]

    def save(self, folder: Path) -> None:
        """Write it into a folder, as it is; strokes as a picture of 256 pixels."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.line is None:
            (folder / self.name).write_bytes(self.path.read_bytes())
        else:
            drawn = draw_strokes(self.strokes(), size=256, line=2.0 + self.line % 3)
            drawn.convert("L").save(folder / self.name)


def pictures(data: Path) -> list[Picture]:
    """Everything that the three folders hold, with the validation set marked.

    A photo that two sources hold comes once.
    """
    photos = [*_sketchy(data / "sketchy-mini/256x256", "photo")]
    known = {photo.name for photo in photos}
    photos += [p for p in _tuberlin_photos(data / "tuberlin-mini") if p.name not in known]
    photos = [*_photos_marked(photos)]
    without = {Path(photo.name).stem for photo in photos if photo.left_out}
    sketches = [
        replace(sketch, left_out=sketch.name.rsplit("-", 1)[0] in without)
        for sketch in _sketchy(data / "sketchy-mini/256x256", "sketch")
    ]
    drawings = [*_tuberlin_sketches(data / "tuberlin-mini"), *_quickdraw(data / "quickdraw-mini")]
    return [*photos, *sketches, *drawings]


def _photos_marked(photos: Iterable[Picture]) -> Iterator[Picture]:
    """Photos in order of a hash of their names; the first tenth of each class is left out."""
    classes = defaultdict(list)
    for photo in photos:
        classes[photo.class_name].append(photo)
    for class_name, members in sorted(classes.items()):
        members.sort(key=lambda photo: hashlib.sha256(photo.name.encode()).digest())
        count = -(-len(members) // 10)
        if class_name in EVERYDAY:
            count = max(count, EVERYDAY_LEAST)
        for place, photo in enumerate(members):
            yield replace(photo, left_out=place < count)


def _named(folder: str) -> str:
    return OTHER_NAMES.get(folder, folder.replace("_", " "))


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if is_image_name(path.name))


def _sketchy(root: Path, domain: Domain) -> Iterator[Picture]:
    for folder in sorted((root / domain / "tx_000000000000").iterdir()):
        for path in _images(folder):
            yield Picture("sketchy", domain, _named(folder.name), path.name, path)


def _tuberlin_photos(root: Path) -> Iterator[Picture]:
    for folder in sorted((root / "ImageResized_ready").iterdir()):
        for path in _images(folder):
            # Some sources count anew in each class, so that a name alone is not one photo.
            name = path.name.removeprefix("sketchy_")
            if name == path.name:
                name = f"{folder.name}_{name}".replace(" ", "_")
            yield Picture("tuberlin", "photo", _named(folder.name), name, path)


def _tuberlin_sketches(root: Path) -> Iterator[Picture]:
    for folder in sorted([*(root / "png_ready").iterdir(), *(root / "sketches_only").iterdir()]):
        paths = sorted(_images(folder), key=lambda path: int(path.stem))
        for place, path in enumerate(paths):
            held = place < TUBERLIN_FIRST
            name = f"tuberlin_{path.name}"
            yield Picture("tuberlin", "sketch", _named(folder.name), name, path, left_out=held)


def _quickdraw(root: Path) -> Iterator[Picture]:
    for path in sorted(root.glob("*.ndjson")):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        for line in range(lines):
            name = f"quickdraw_{path.stem.replace(' ', '_')}_{line}.png"
            held = line >= lines - QUICKDRAW_LAST
            yield Picture("quickdraw", "sketch", _named(path.stem), name, path, line, held)


def main() -> None:
    """Write the training set, and say what came together."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="holds the three folders")
    parser.add_argument("--out", type=Path, default=Path("data/general2"))
    for domain in ("sketch", "photo"):
        told = f"at most so many {domain} images of each class, by a hash of their names"
        parser.add_argument(f"--{domain}", type=int, metavar="N", help=told)
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"{options.out} exists; remove it or choose another --out")
    counts: Counter[str] = Counter()
    taken: Counter[tuple[str, str]] = Counter()
    most = {"sketch": options.sketch, "photo": options.photo}
    by_hash = sorted(pictures(options.data), key=lambda p: hashlib.sha256(p.name.encode()).digest())
    for picture in by_hash:
        side = "val" if picture.class_name in UNSEEN else "train"
        if picture.left_out:
            side = "validation set, not written"
        elif most[picture.domain] is not None and (
            taken[picture.domain, picture.class_name] >= most[picture.domain]
        ):
            side = "one too many, not written"
        else:
            picture.save(options.out / side / picture.domain / picture.class_name)
            taken[picture.domain, picture.class_name] += 1
        counts[f"{picture.source} {picture.domain}, {side}"] += 1
    for what, count in sorted(counts.items()):
        print(f"{what}: {count}")


if __name__ == "__main__":
    main()
