"""Speed of drawing and finding, and its accuracy through the real files, beside what it replaces.

Claims, on two cores, with the models that come with the package:

* ``embed``: JPEGs on disk become vectors at least 3 times as fast as in the evaluation loop of
  PyTorch, with the same network, edge views included.
* ``query``: a drawing is answered out of 100,000 photos in at most 40 ms (median).
* ``start``: ``msedge search`` takes at most 1.2 s from the prompt with 10,000 photos, ``import
  msedge`` 0.15 s, ``msedge --help`` 0.4 s.
* ``serve``: eight people who draw have their answers within 120 ms (median).
* ``where``: a photo's box takes at most 0.7 of the CPU time of its vector with edges, reading it
  included: some 30 ms on one core.
* ``accuracy``: ``msedge index`` and a search rank as ``msedge evaluate`` says of PyTorch's vectors,
  within 0.2 points of mAP@all and P@100; with 8 bits within 1.0. Needs the real set.

    MSEDGE_TEST_DATA=data python benchmarks/search.py embed [--photos DIR]
    MSEDGE_TEST_DATA=data python benchmarks/search.py query
    MSEDGE_TEST_DATA=data python benchmarks/search.py start
    MSEDGE_TEST_DATA=data python benchmarks/search.py serve
    MSEDGE_TEST_DATA=data python benchmarks/search.py where [--model FILE] [--photo DIR]
    MSEDGE_TEST_DATA=data python benchmarks/search.py accuracy

Without the set, photos and drawings are made by code. Galleries of many photos hold the vectors of
real ones with noise, far enough from each other not to count as copies. The sides of a comparison
take turns, since other programs of the machine slow both down; CPU time suffers less from them.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from msedge.data.drawings import drawing_pixels, open_drawing
from msedge.data.images import read_pixels
from msedge.data.layouts import Record
from msedge.data.sample import SAMPLE_CLASSES, draw_photo, draw_sketch
from msedge.data.sample_objects import OBJECTS
from msedge.models.bank import Bank, choose_drawings
from msedge.models.shipped import DEFAULT_MODEL, find_model
from msedge.search.encoder import Embeddings, OnnxEncoder, photo_side
from msedge.search.gallery import Gallery
from msedge.search.indexing import index
from msedge.search.photo import NewPhoto
from msedge.search.ranking import unit_vectors
from msedge.search.reading import embedded
from msedge.search.sources import find
from msedge.search.stores import open_or_create, open_store
from msedge.search.stores.reports import Model, Watched
from msedge.system import usable_cpus
from search_accuracy import MSEDGE, PHOTOS, SKETCHES, accuracy, data, evaluation_loop, run

UNLIKE = 0.75  # length of the noise beside vectors of length 1: cosines of about 0.64
CLIENTS, PAUSE, SECONDS = 8, 0.3, 20.0
POSTS_A_DRAWING, SHOWN = 12, 48
Strokes = list[tuple[list[float], list[float]]]


def copied_photos(source: Path | None, folder: Path, count: int) -> list[Path]:
    """JPEGs spread over a folder and those below it, or drawn ones of 500 pixels, as ``folder``."""
    folder.mkdir()
    found = sorted(p for p in source.rglob("*") if p.suffix.lower() == ".jpg") if source else []
    chosen = (
        [found[row] for row in np.linspace(0, len(found) - 1, count).astype(int)] if found else ()
    )
    made = [folder / f"{number:05}.jpg" for number in range(count)]
    for number, path in enumerate(made):
        if chosen:
            shutil.copyfile(chosen[number], path)
        else:
            name = SAMPLE_CLASSES[number % len(SAMPLE_CLASSES)]
            draw_photo(name, np.random.default_rng(number), 500).save(path, quality=90)
    sides = statistics.median(max(Image.open(path).size) for path in made)
    print(f"{count} {'real' if found else 'drawn'} JPEGs, longer side {sides:.0f} px (median)")
    return made


def drawings(count: int) -> list[Strokes]:
    """Strokes of people, or those of drawn objects."""
    folder = data("quickdraw-mini")
    if folder is not None:
        files = sorted(folder.glob("*.ndjson"))
        chosen = [files[row] for row in np.linspace(0, len(files) - 1, count).astype(int)]
        return [json.loads(file.read_text().partition("\n")[0])["drawing"] for file in chosen]
    rng = np.random.default_rng(0)
    return [
        [tuple(part.points.T.tolist()) for part in OBJECTS[name](rng)]  # type: ignore[misc]
        for name in islice(cycle(SAMPLE_CLASSES), count)
    ]


def write_gallery(path: Path, folder: Path, count: int) -> Path:
    """A gallery of so many photos, of which few exist."""
    encoder = OnnxEncoder.load(threads=1)
    files = copied_photos(data(PHOTOS), folder, 200)
    batches = embedded(find([folder]).files, encoder, workers=1)
    rows = [row for batch in batches for _, row in batch if isinstance(row, NewPhoto)]
    known = np.stack([row.vector for row in rows]).astype(np.float32)
    rng, scale = np.random.default_rng(0), np.float32(UNLIKE / encoder.dim**0.5)
    with open_or_create(path, Model(encoder.name, encoder.fingerprint, encoder.dim)) as file:
        for start in range(0, count, 5000):
            numbers = range(start, min(start + 5000, count))
            vectors = known[np.array(numbers) % len(known)]
            vectors = vectors + scale * rng.standard_normal(vectors.shape, dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            file.change(put=[
                NewPhoto(folder / f"{number // 100}/{number}.jpg", 1, 1, f"{number:064x}", 640, 480,
                         86_400.0 * number, vector=vector.astype(np.float16))
                for number, vector in zip(numbers, vectors, strict=True)
            ])  # fmt: skip
    print(f"a gallery of {count:,} vectors of {encoder.dim} numbers, from {len(files)} photos")
    return path


def bank_of_drawings(vectors: Embeddings) -> Bank:
    """A bank of 1,000 drawings: some vectors, and between them."""
    rng = np.random.default_rng(0)
    one, other = (vectors[rng.integers(len(vectors), size=1_000)] for _ in range(2))
    nobody = np.empty((0, vectors.shape[1]), np.float16)
    return Bank("", choose_drawings(one + other, ["any"] * 1_000), (), nobody, nobody)


def milliseconds(name: str, seconds: Sequence[float]) -> None:
    """Print what many measurements of one thing come to."""
    median, late = 1000 * statistics.median(seconds), 1000 * float(np.quantile(seconds, 0.95))
    print(f"{name:44} median {median:7.1f} ms, p95 {late:7.1f} ms ({len(seconds)} times)")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock, and of the CPUs for this process and those it waited for."""

    def cpu() -> float:
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, whose))

    start, used = time.perf_counter(), cpu()
    work()
    return time.perf_counter() - start, cpu() - used


def show_embedding(options: argparse.Namespace, folder: Path) -> None:
    """Photos a second of each side, and the ratios."""
    from msedge.models.onnx_conversion import convert
    from msedge.search.calibration import choose_photos

    paths = copied_photos(options.photos or data(PHOTOS), folder / "photos", options.count)
    files, threads, model = find([folder / "photos"]).files, options.threads, options.model
    chosen = choose_photos(paths, OnnxEncoder.load(model).image_size)
    eight = folder / "int8.onnx"
    photos = {"calibration": chosen.calibration, "held_out": chosen.held_out}
    convert(find_model(model), eight, precision="int8", **photos)

    def ours(which: str | Path) -> Callable[[], object]:
        encoder = OnnxEncoder.load(which, threads=1)  # as `msedge index` does
        return lambda: list(embedded(files, encoder, workers=threads, known=set()))

    def index_process() -> None:
        (gallery := folder / "photos.msedge").unlink(missing_ok=True)
        words = ("--gallery", gallery, "--model", model, "--threads", threads)
        run("index", folder / "photos", *words)

    reference = "PyTorch, evaluation loop"
    sides = {
        reference: evaluation_loop(model, [Record(p, "photo", "any") for p in paths], threads),
        "ours, decoding and embedding": ours(model),
        "ours, whole process of `msedge index`": index_process,
        "ours, decoding and embedding, int8": ours(eight),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(options.rounds + 1):  # the first warms up
        for name, work in sides.items():
            taken[name].append(timed(work))
    print(f"{threads} threads, {options.rounds} rounds; photos/s and CPU are medians")
    for name, each in taken.items():
        seconds, cpu = (statistics.median(column) for column in zip(*each[1:], strict=True))
        pairs = list(zip(each[1:], taken[reference][1:], strict=True))
        ratios = sorted(slow[0] / mine[0] for mine, slow in pairs)
        saved = statistics.median(slow[1] / mine[1] for mine, slow in pairs)
        print(
            f"{name:38} {len(paths) / seconds:6.1f} photos/s, {1000 * cpu / len(paths):5.1f} ms "
            f"CPU/photo; ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to "
            f"{ratios[-1]:.2f}), of CPU {saved:.2f}"
        )


def show_queries(options: argparse.Namespace, folder: Path) -> None:
    """From a drawing to hits, beside the network and the product of matrices alone."""
    path = write_gallery(folder / "photos.msedge", folder / "photos", options.count)
    drawn: list[Strokes | Path] = list(drawings(options.queries))
    sketches = data(SKETCHES)
    if sketches is not None:  # every other one as a picture
        drawn[::2] = islice(sorted(sketches.glob("*/*-1.png")), len(drawn[::2]))
    with Gallery.open(path) as gallery, open_store(path, writable=True) as file:
        encoder = gallery.encoder
        stored = [photo.vector for block in file.blocks() for photo in block.photos]
        vectors = unit_vectors(np.stack(stored))

        def seconds_of(search: Callable[[Strokes | Path], object]) -> list[float]:
            search(drawn[0])
            return [timed(lambda: search(drawing))[0] for drawing in drawn]  # noqa: B023

        def embedded_alone(drawing: Strokes | Path) -> Embeddings:
            pixels = drawing_pixels(open_drawing(drawing), encoder.image_size)[None]
            return encoder.sketches(pixels)[0]

        bare = seconds_of(lambda drawing: vectors @ embedded_alone(drawing))
        whole = seconds_of(gallery.search)
        asked = np.concatenate([embedded_alone(drawing)[None] for drawing in drawn])
        begun = time.perf_counter()
        file.bring_hubs(bank_of_drawings(asked), Watched())
        brought = time.perf_counter() - begun
        with_hubs = seconds_of(gallery.search)
    milliseconds("the network and the product alone", bare)
    milliseconds("from a drawing to hits", whole)
    milliseconds("the same, with hubs", with_hubs)
    middle = statistics.median(bare)
    print(
        f"ratios of medians: {statistics.median(whole) / middle:.2f}, with hubs "
        f"{statistics.median(with_hubs) / middle:.2f}; hubs worked out in {brought:.1f} s"
    )


def show_start(options: argparse.Namespace, folder: Path) -> None:
    """Whole processes, beside one that does nothing."""
    path = write_gallery(folder / "photos.msedge", folder / "photos", options.count)
    sketch = folder / "drawing.png"
    draw_sketch("cup", np.random.default_rng(0), 256).save(sketch)
    search = [*MSEDGE, "search", str(sketch), "--gallery", str(path)]
    processes = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import msedge'": [sys.executable, "-c", "import msedge"],
        "msedge --help": [*MSEDGE, "--help"],
        f"msedge search, {options.count:,} photos": search,
    }
    taken: dict[str, list[float]] = {name: [] for name in processes}
    for _ in range(options.rounds + 1):
        for name, words in processes.items():

            def process(words: list[str] = words) -> None:
                subprocess.run(words, capture_output=True, check=True, timeout=60)

            taken[name].append(timed(process)[0])
    for name, seconds in taken.items():
        milliseconds(name, seconds[1:])
    first, *_, last = (statistics.median(seconds[1:]) for seconds in taken.values())
    print(f"msedge search / python -c pass: {last / first:.1f}")


def as_it_grows(drawing: Strokes) -> Iterator[Strokes]:
    """A drawing as its points come in, in so many steps."""
    total = sum(len(stroke[0]) for stroke in drawing)
    for step in range(1, POSTS_A_DRAWING + 1):
        left, seen = max(2, total * step // POSTS_A_DRAWING), []
        for xs, ys in ((stroke[0], stroke[1]) for stroke in drawing):
            if left > 0:
                seen.append((xs[:left], ys[:left]))
            left -= len(xs)
        yield seen


class Drawer(threading.Thread):
    """Someone at the page, who draws one thing after the other."""

    def __init__(self, address: str, drawn: Sequence[Strokes], begin: float) -> None:
        super().__init__(daemon=True)
        self._where, self._drawn, self._begin = urlsplit(address).netloc, drawn, begin
        self.seconds: list[float] = []
        self.searching: list[float] = []
        self.statuses: Counter[int] = Counter()

    def run(self) -> None:
        """Ask every 0.3 s, but never before the last answer has come."""
        connection = http.client.HTTPConnection(self._where, timeout=10)
        end, due = self._begin + SECONDS, self._begin
        for strokes in (step for drawing in cycle(self._drawn) for step in as_it_grows(drawing)):
            time.sleep(max(0.0, due - time.monotonic()))
            if (asked := time.monotonic()) >= end:
                return
            due = asked + PAUSE
            body = json.dumps({"strokes": strokes, "k": SHOWN})
            connection.request("POST", "/api/search", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            self.seconds.append(time.monotonic() - asked)
            self.statuses[answer.status] += 1
            if answer.status == 200:
                self.searching.append(json.loads(content)["took_ms"] / 1000)


def show_serving(options: argparse.Namespace, folder: Path) -> None:
    """Answer times of a real server while several people draw."""
    path = write_gallery(folder / "photos.msedge", folder / "photos", options.count)
    words = [*MSEDGE, "serve", "--gallery", str(path), "--port", "0"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        if not address:
            raise SystemExit("msedge serve did not start")
        drawn, begin = drawings(8 * CLIENTS), time.monotonic() + 0.5
        people = [
            Drawer(address, drawn[number::CLIENTS], begin + PAUSE * number / CLIENTS)
            for number in range(CLIENTS)
        ]
        for person in people:
            person.start()
        for person in people:
            person.join(SECONDS + 30)
        if any(person.is_alive() for person in people):
            raise SystemExit("an answer did not come within 10 s")
    finally:
        server.terminate()
        server.wait(30)
    statuses = sum((person.statuses for person in people), Counter[int]())
    print(
        f"{CLIENTS} people, a question each every {PAUSE} s for {SECONDS:.0f} s; by status: ",
        end="",
    )
    print(", ".join(f"{count} x {status}" for status, count in sorted(statuses.items())))
    milliseconds("answers", [each for person in people for each in person.seconds])
    milliseconds("of which in the server", [each for person in people for each in person.searching])


def model_of_places(folder: Path) -> Path:
    """A network like the shipped one that tells places; its weights say nothing, nor cost more."""
    from msedge.models.checkpoint import save_checkpoint
    from msedge.models.network import MSEdge
    from msedge.models.onnx_export import export_onnx

    card = OnnxEncoder.load().card.model_copy(update={"photo_sizes": (320,), "fusion": "none"})
    network = MSEdge(card.backbone, dim=card.dim, fusion="none", image_size=card.image_size)
    save_checkpoint(folder / "places.safetensors", network.eval(), card)
    export_onnx(folder / "places.safetensors", folder / "places.onnx")
    return folder / "places.onnx"


def show_where(options: argparse.Namespace, folder: Path) -> None:
    """A photo's box, beside the photo's vector, both from its file, on one core."""
    model = options.model or model_of_places(folder)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    encoder = OnnxEncoder.load(model, threads=1)
    side, keep_shape = photo_side(encoder)
    (source,) = copied_photos(options.photo or data(PHOTOS), folder / "source", 1)
    photos = {"3 Mpx": (2048, 1536), "224 x 224": (224, 224)}
    (folder / "photos").mkdir()
    for name, size in photos.items():
        with Image.open(source) as image:
            image.convert("RGB").resize(size).save(folder / "photos" / f"{name}.jpg", quality=90)
    index([folder / "photos"], folder / "photos.msedge", encoder)
    with Gallery.open(folder / "photos.msedge", model=encoder) as gallery:
        query = gallery.query(drawings(1))
        for hit in gallery.find(query, collapse=False):
            photo, path = hit.photo.id, hit.photo.path

            def vector(path: Path = path) -> None:
                encoder.photos(read_pixels(path, side, keep_shape=keep_shape)[None])

            def box(photo: int = photo) -> None:
                gallery.boxes(query, [photo])

            taken: list[list[float]] = [[], []]
            for work, each in [(vector, taken[0]), (box, taken[1])] * (options.rounds + 1):
                each.append(timed(work)[1])
            alone, whole = (each[1:] for each in taken)
            milliseconds(f"{path.stem}: its vector, CPU", alone)
            milliseconds(f"{path.stem}: its box, CPU", whole)
            print(f"ratio {statistics.median(whole) / statistics.median(alone):.2f}")


def show_accuracy(_options: argparse.Namespace, folder: Path) -> None:
    """The figures of :func:`accuracy`, and how far they are from PyTorch's."""
    found = accuracy(folder)
    names = {
        "evaluate": "PyTorch, `msedge evaluate`",
        "search": "`msedge index` and search",
        "int8": "the same, int8",
    }
    for way, name in names.items():
        pairs = (
            (what, value, value - found["evaluate"][what]) for what, value in found[way].items()
        )
        print(f"{name:28}", ", ".join(f"{what} {v:6.2f} ({off:+.2f})" for what, v, off in pairs))


def main() -> None:
    """Run one claim, with the load of the machine before and after it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    claims = parser.add_subparsers(required=True)
    embed = claims.add_parser("embed")
    embed.add_argument("--photos", type=Path, help="a folder of JPEGs")
    embed.add_argument("--model", default=DEFAULT_MODEL)
    embed.add_argument("--threads", type=int, default=usable_cpus())
    embed.add_argument("--count", type=int, default=512)
    embed.add_argument("--rounds", type=int, default=3)
    embed.set_defaults(show=show_embedding)
    query = claims.add_parser("query")
    query.add_argument("--count", type=int, default=100_000)
    query.add_argument("--queries", type=int, default=120)
    query.set_defaults(show=show_queries)
    start = claims.add_parser("start")
    start.add_argument("--count", type=int, default=10_000)
    start.add_argument("--rounds", type=int, default=9)
    start.set_defaults(show=show_start)
    serve = claims.add_parser("serve")
    serve.add_argument("--count", type=int, default=10_000)
    serve.set_defaults(show=show_serving)
    where = claims.add_parser("where")
    where.add_argument("--model", type=Path, help="a network that reads photos in their own shape")
    where.add_argument("--photo", type=Path, help="a folder with a photo")
    where.add_argument("--rounds", type=int, default=40)
    where.set_defaults(show=show_where)
    claims.add_parser("accuracy").set_defaults(show=show_accuracy)
    options = parser.parse_args()
    print(f"{usable_cpus()} CPUs, load average before {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory() as folder:
        options.show(options, Path(folder))
    print(f"load average after {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
