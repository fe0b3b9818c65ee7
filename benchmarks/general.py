"""What a model finds of what photo libraries hold: the validation set of `examples/general_set.py`.

    MSEDGE_TEST_DATA=DIR python benchmarks/general.py --model msedge-lite
    MSEDGE_TEST_DATA=DIR python benchmarks/general.py --model msedge-lite --model NEW.onnx \
        --json general.json --figure general.svg

Drawings that no training saw ask for photos that no training saw, read and ranked as a search does.
P@10 is the share of right photos among the first min(10, R) hits, R the right ones in the gallery:
a mean for each class, and the mean of these, with 95 % intervals by bootstrap over the queries of
each class. Beside the photos as they are, made from them: *mosaics* of four (right is that the
thing is in one of them), and photos *pasted* into others at a share of the side.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from msedge.data.drawings import drawing_pixels, open_drawing
from msedge.data.images import open_image
from msedge.figures.chart import Mark, Panel, interval_chart
from msedge.models.bank import HUB_SHARE, hubness
from msedge.models.shipped import DEFAULT_MODEL, find_model
from msedge.search.encoder import OnnxEncoder
from msedge.search.names import Names
from msedge.search.photo import NewPhoto
from msedge.search.ranking import Embeddings
from msedge.search.reading import embedded
from msedge.search.sources.objects import Item

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from general_set import EVERYDAY, UNSEEN, Picture, pictures

FIRST, ROUNDS, SEED = 10, 1000, 0
MOSAICS, SIDE = 400, 448
PASTED = (
    "airplane",
    "bicycle",
    "car",
    "cat",
    "chair",
    "dog",
    "face",
    "guitar",
    "horse",
    "umbrella",
)
SHARES = (1.0, 0.6, 0.4, 0.25)
CLICK = "a click on the name"
PEOPLE = ("person sitting", "person walking")
_BATCH = 32


@dataclass(frozen=True)
class Shown:
    """A photo of a gallery: its file, and the classes that it shows."""

    path: Path
    classes: frozenset[str]


@dataclass(frozen=True)
class Figure:
    """A mean over classes, its 95 % interval, and what it is the mean of."""

    mean: float
    low: float
    high: float
    queries: int
    classes: int

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} ({100 * self.low:.1f} to {100 * self.high:.1f})"


@dataclass(frozen=True)
class Answers:
    """What the queries of a group met: a value each, and the class of each."""

    values: npt.NDArray[np.float64]
    classes: tuple[str, ...]

    def of(self, wanted: Iterable[str]) -> Answers:
        """Those of some classes."""
        chosen = [i for i, name in enumerate(self.classes) if name in set(wanted)]
        return Answers(self.values[chosen], tuple(self.classes[i] for i in chosen))

    def by_class(self) -> dict[str, npt.NDArray[np.float64]]:
        """The values of each class."""
        names = np.array(self.classes)
        return {name: self.values[names == name] for name in sorted(set(self.classes))}

    def figure(self) -> Figure:
        """The mean over classes, with its interval."""
        random = np.random.default_rng(SEED)
        groups = list(self.by_class().values())
        drawn = np.mean(
            [v[random.integers(len(v), size=(ROUNDS, len(v)))].mean(axis=1) for v in groups], axis=0
        )
        low, high = np.percentile(drawn, [2.5, 97.5])
        mean = float(np.mean([values.mean() for values in groups]))
        return Figure(mean, float(low), float(high), len(self.values), len(groups))


class Validation:
    """The galleries and the queries."""

    def __init__(self, data: Path, made: Path) -> None:
        """Read the set, and write the pictures that are made of it into the folder ``made``."""
        left_out = [picture for picture in pictures(data) if picture.left_out]
        photos = [picture for picture in left_out if picture.domain == "photo"]
        known = {photo.class_name for photo in photos}
        drawings = [picture for picture in left_out if picture.domain == "sketch"]
        self.queries = [drawing for drawing in drawings if drawing.class_name in known]
        self.drawings = [drawing for drawing in drawings if drawing.source == "tuberlin"]
        self.photos = [Shown(photo.path, frozenset([photo.class_name])) for photo in photos]
        random = np.random.default_rng(SEED)
        self.mosaics = [
            _saved(made / f"mosaic_{number}.jpg", *_mosaic(photos, random))
            for number in range(MOSAICS)
        ]
        self.pasted = {
            share: [
                _saved(made / f"pasted_{share}_{number}.jpg", *each)
                for number, each in enumerate(_pasted(photos, share))
            ]
            for share in SHARES
        }


def _mosaic(
    photos: Sequence[Picture], random: np.random.Generator
) -> tuple[Image.Image, frozenset[str]]:
    """Four photos of four classes, two by two; every class as likely as every other."""
    names = random.choice(sorted({photo.class_name for photo in photos}), 4, replace=False)
    sheet = Image.new("RGB", (SIDE, SIDE))
    for place, name in enumerate(names):
        members = [photo for photo in photos if photo.class_name == name]
        image = open_image(members[random.integers(len(members))].path)
        half = SIDE // 2
        corner = (place % 2 * half, place // 2 * half)
        sheet.paste(ImageOps.fit(image, (half, half), Image.Resampling.BICUBIC), corner)
    return sheet, frozenset(map(str, names))


def _pasted(
    photos: Sequence[Picture], share: float
) -> Iterator[tuple[Image.Image, frozenset[str]]]:
    """Ten photos of each of ten classes, in photos of other ones, of which the share 1 shows none.

    The same photos, in the same others, at the same places for each share.
    """
    random = np.random.default_rng(SEED)
    others = [photo for photo in photos if photo.class_name not in PASTED]
    for name in PASTED:
        for photo in [photo for photo in photos if photo.class_name == name][:FIRST]:
            ground = open_image(others[random.integers(len(others))].path)
            sheet = ImageOps.fit(ground, (SIDE, SIDE), Image.Resampling.BICUBIC)
            side, place = round(share * SIDE), random.random(2)
            thing = ImageOps.fit(open_image(photo.path), (side, side), Image.Resampling.BICUBIC)
            left, top = (round(float(at) * (SIDE - side)) for at in place)
            sheet.paste(thing, (left, top))
            yield sheet, frozenset([name])


def _saved(path: Path, image: Image.Image, classes: frozenset[str]) -> Shown:
    image.save(path, "JPEG", quality=92)
    return Shown(path, classes)


def photo_vectors(encoder: OnnxEncoder, shown: Sequence[Shown]) -> Embeddings:
    """The vectors that a gallery has of photos."""
    states = [(str(photo.path), photo.path.stat()) for photo in shown]
    items = [Item(path, state.st_size, state.st_mtime_ns) for path, state in states]
    found = []
    for batch in embedded(items, encoder, workers=1):
        for item, photo in batch:
            if not isinstance(photo, NewPhoto):
                raise SystemExit(f"{item.path} cannot be read: {photo}")
            found.append(photo.vector)
    return np.array(found, np.float32)


def sketch_vectors(encoder: OnnxEncoder, drawings: Sequence[Picture]) -> Embeddings:
    """The vectors of drawings."""
    sources = (d.path if d.line is None else d.strokes() for d in drawings)
    pixels = (drawing_pixels(open_drawing(source), encoder.image_size) for source in sources)
    parts = []
    while batch := list(islice(pixels, _BATCH)):
        parts.append(encoder.sketches(np.stack(batch)))
    return np.concatenate(parts)


def read_at(model: str, sizes: Sequence[int], folder: Path) -> Path:
    """A model that reads photos in their own shape, at other sizes than its card names."""
    from msedge.models.checkpoint import load_checkpoint, save_checkpoint
    from msedge.models.onnx_export import export_onnx

    network, card = load_checkpoint(find_model(model))
    written = folder / f"{len(list(folder.iterdir()))}.safetensors"
    save_checkpoint(written, network, card.model_copy(update={"photo_sizes": tuple(sizes)}))
    export_onnx(written, written.with_suffix(".onnx"))
    return written


def precision(
    scores: npt.NDArray[np.float32], asked: Sequence[str], shown: Sequence[Shown], first: int
) -> npt.NDArray[np.float64]:
    """P@``first`` of each query: right ones among the first min(first, R), over min(first, R)."""
    found = []
    for row, name in zip(scores, asked, strict=True):
        right = np.array([name in photo.classes for photo in shown])
        count = min(first, int(right.sum()))
        found.append(right[np.argsort(-row, kind="stable")[:count]].mean())
    return np.array(found)


def asked_by(
    encoder: OnnxEncoder, queries: Sequence[Picture]
) -> dict[str, tuple[Embeddings, bool]]:
    """The vectors of queries step by step, and whether photos' hubness counts against them."""
    vectors = sketch_vectors(encoder, queries)
    steps = {"the drawing alone": (vectors, False)}
    if encoder.bank is None:
        return steps
    names = Names(encoder.bank)
    known = {name.name for name in names}
    steered = [names.steer([vector]).wanted[0] for vector in vectors]
    told = [
        names.steer([vector], query.class_name).wanted[0] if query.class_name in known else other
        for vector, query, other in zip(vectors, queries, steered, strict=True)
    ]
    return steps | {
        "hubs": (vectors, True),
        "names": (np.stack(steered), True),
        CLICK: (np.stack(told), True),
    }


def right_names(encoder: OnnxEncoder, queries: Sequence[Picture]) -> dict[int, float]:
    """The shares of drawings whose right name is the likeliest, and among the likeliest five."""
    if encoder.bank is None:
        return {}
    names = Names(encoder.bank)
    words = [name.name for name in encoder.bank.names]
    asked = [query for query in queries if query.class_name in words]
    places = []
    for vector, query in zip(sketch_vectors(encoder, asked), asked, strict=True):
        likely = names.likelihoods(vector)
        places.append(int((likely > likely[words.index(query.class_name)]).sum()))
    return {first: float((np.array(places) < first).mean()) for first in (1, 5)}


def judge(encoder: OnnxEncoder, validation: Validation) -> dict[str, dict[str, Answers]]:
    """By step, P@10 of every group of queries on every gallery; of mosaics P@1 as well."""
    queries = validation.queries
    galleries = {"": validation.photos, "mosaics": validation.mosaics}
    galleries |= {f"pasted {share:g}": shown for share, shown in validation.pasted.items()}
    vectors = {name: photo_vectors(encoder, shown) for name, shown in galleries.items()}
    groups = [(source, "", source, FIRST) for source in ("tuberlin", "quickdraw", "sketchy")]
    groups += [(f"mosaics P@{k}", "mosaics", "tuberlin", k) for k in (FIRST, 1)]
    groups += [(name, name, "tuberlin", FIRST) for name in galleries if name.startswith("pasted")]
    found: dict[str, dict[str, Answers]] = {}
    for step, (asking, hubs) in asked_by(encoder, queries).items():
        found[step] = {}
        for group, gallery, source, k in groups:
            inside = frozenset().union(*(photo.classes for photo in galleries[gallery]))
            chosen = [
                place
                for place, query in enumerate(queries)
                if query.source == source and query.class_name in inside
            ]
            scores = asking[chosen] @ vectors[gallery].T
            if hubs and encoder.bank is not None:
                scores = scores - HUB_SHARE * hubness(vectors[gallery], encoder.bank.drawings)
            asked = tuple(queries[place].class_name for place in chosen)
            values = precision(scores, asked, galleries[gallery], k)
            found[step][group] = Answers(values, asked)
    return found


def figures(found: dict[str, Answers]) -> dict[str, Figure]:
    """The rows of the table."""
    tuberlin = found["tuberlin"]
    rows = {
        "TU-Berlin's drawings, all classes": tuberlin,
        "the 30 everyday classes": tuberlin.of(EVERYDAY),
        **{name: tuberlin.of([name]) for name in (*PEOPLE, "face", "cat")},
        "the 4 unseen classes": tuberlin.of(UNSEEN),
        "Quick, Draw!": found["quickdraw"],
        "Sketchy": found["sketchy"],
    }
    rows |= {name: found[name] for name in found if name.startswith(("mosaics", "pasted"))}
    return {name: answers.figure() for name, answers in rows.items()}


def table(columns: dict[str, dict[str, Figure]]) -> str:
    """A row a measure, a column a model."""
    lines = ["| P@10 | classes, queries | " + " | ".join(columns) + " |"]
    lines.append("|-" * (len(columns) + 2) + "|")
    first = next(iter(columns.values()))
    for name, figure in first.items():
        values = " | ".join(str(column[name]) for column in columns.values())
        lines.append(f"| {name} | {figure.classes}, {figure.queries} | {values} |")
    return "\n".join(lines)


def chart(before: Answers, after: Answers, first: str, last: str) -> str:
    """P@10 of the everyday classes and of the ten worst, as SVG."""
    means = {name: float(values.mean()) for name, values in after.by_class().items()}
    worst = sorted(means, key=lambda name: means[name])[:FIRST]
    was, now = before.by_class(), after.by_class()

    def mark(name: str) -> Mark:
        figure = after.of([name]).figure()
        old, new = 100 * float(was[name].mean()), 100 * float(now[name].mean())
        interval = (100 * figure.low, 100 * figure.high)
        return Mark(name, new, interval, (old,), f"{old:.0f} -> {new:.0f}")

    everyday = [name for name in EVERYDAY if name in means]
    return interval_chart(
        "What TU-Berlin's drawings find",
        [
            Panel("Everyday classes", tuple(map(mark, everyday))),
            Panel("The ten worst of all classes", tuple(map(mark, worst))),
        ],
        axis="P@10 in %",
        caption=f"Small dot: {first}. Large dot and line: {last}, with its 95 % interval over "
        "queries.",
    )


def main() -> None:
    """Judge models, print the table and the worst classes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", action="append", help="one or several, before and after")
    parser.add_argument(
        "--photo-sizes", type=int, nargs="+", action="append", help="read photos so as well"
    )
    parser.add_argument("--json", type=Path, help="write every figure, and that of every class")
    parser.add_argument(
        "--figure", type=Path, help="draw the classes, the first model and the last"
    )
    options = parser.parse_args()
    found: dict[str, dict[str, Answers]] = {}
    with tempfile.TemporaryDirectory() as folder:
        (made := Path(folder, "photos")).mkdir()
        (sized := Path(folder, "models")).mkdir()
        validation = Validation(Path(os.environ["MSEDGE_TEST_DATA"]), made)
        print(f"{len(validation.photos)} photos, {len(validation.queries)} drawings", flush=True)
        for model in options.model or [DEFAULT_MODEL]:
            files: dict[str, str | Path] = {Path(model).name: model}
            for sizes in options.photo_sizes or ():
                shown = " and ".join(map(str, sizes))
                files[f"{Path(model).name}, {shown} px"] = read_at(model, sizes, sized)
            for label, file in files.items():
                encoder = OnnxEncoder.load(file)
                for step, answers in judge(encoder, validation).items():
                    found[f"{label}, {step}"] = answers
                for first, share in right_names(encoder, validation.drawings).items():
                    print(f"{label}: right name among the first {first}: {100 * share:.1f} %")
    models = list(found)
    told = {model: figures(answers) for model, answers in found.items()}
    print(table(told))
    for model in models:
        classes = found[model]["tuberlin"].by_class()
        worst = sorted(classes, key=lambda name: classes[name].mean())[:FIRST]
        named = ", ".join(f"{name} {100 * classes[name].mean():.0f}" for name in worst)
        print(f"worst of {model}: {named}")
    if options.json:
        written = {
            model: {
                "figures": {name: asdict(figure) for name, figure in told[model].items()},
                "classes": {
                    group: {n: float(v.mean()) for n, v in answers.by_class().items()}
                    for group, answers in found[model].items()
                },
            }
            for model in models
        }
        options.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    if options.figure:
        # A click tells more than a drawing: the figure is of what drawings find by themselves.
        alone = [model for model in models if CLICK not in model]
        before, after = (found[model]["tuberlin"] for model in (alone[0], alone[-1]))
        drawn = chart(before, after, alone[0], alone[-1])
        options.figure.write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
