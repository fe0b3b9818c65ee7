"""The commands of the package that write state, each with inputs that take about a second.

Used by ``tests/faults/test_killed_*.py``; the frame is ``killed_runs.py``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from killed_runs import MSEDGE, State, Writer
from photo_files import picture, write_photo

OTHER_MODEL = "msedge-lite-sketchy21"  # than the one of a new gallery
FEW_A_COMMIT = """
from msedge.cli.app import main
from msedge.search import indexing
indexing._PHOTOS_A_COMMIT = 4
main()
"""
_A_SMALL_SAMPLE = """
import functools
from msedge.cli.app import main
from msedge.data import sample
sample.write_sample = functools.partial(sample.write_sample, photos=1, sketches=1)
main()
"""
_ROWS = 1200


def _bytes(path: Path) -> str:
    if path.suffix == ".safetensors":
        return _tensors(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _tensors(path: Path) -> str:
    """What a file of tensors says: the order of its metadata is drawn anew each time."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        told = sorted((file.metadata() or {}).items())
        tensors = [(name, file.get_tensor(name).tobytes()) for name in sorted(file.keys())]
    return hashlib.sha256(repr((told, tensors)).encode()).hexdigest()


def _files(*names: str) -> Callable[[Path], State]:
    """What files of some names say, those that are there."""

    def read(folder: Path) -> State:
        paths = {name: folder / "out" / name for name in names}
        return {name: _bytes(path) for name, path in paths.items() if path.is_file()}

    return read


def _tree(*names: str) -> Callable[[Path], State]:
    """What all files in some folders say."""

    def read(folder: Path) -> State:
        return {
            str(path.relative_to(folder)): _bytes(path)
            for name in names
            for path in (folder / "out" / name).rglob("*")
            if path.is_file()
        }

    return read


def _rows(name: str, *, ids: bool = True) -> Callable[[Path], State]:
    """What a gallery says of each photo, and of its model."""

    def read(folder: Path) -> State:
        from made_photos import held
        from msedge.search.stores import open_store

        path = folder / "out" / name
        if not path.exists():
            return {}
        rows = {os.fsdecode(row[1]): row if ids else row[1:] for row in held(path)}
        with closing(open_store(path)) as store:
            return rows | {"": (store.model.name, store.model.fingerprint, store.model.dim)}

    return read


def _photos(folder: Path, count: int, *, offset: int = 0, where: str = "inputs/photos") -> None:
    for number in range(count):
        path = folder / where / f"{number % 3}" / f"{number:03}.jpg"
        write_photo(path, number + offset, second=1000 + number + offset)


def _made_up(path: Path, count: int = _ROWS) -> None:
    from made_photos import make, photos

    make(path, photos(count))


def _indexed(folder: Path, *options: str) -> None:
    """A gallery in ``out`` of the photos in ``inputs``."""
    from msedge.cli.app import app

    with redirect_stdout(io.StringIO()):
        app(
            ["index", str(folder / "inputs/photos"), "--gallery", str(folder / "out/g.msedge"),
             "--json", *options],
            standalone_mode=False,
        )  # fmt: skip


def _photos_to_index(folder: Path) -> None:
    _photos(folder, 24)


def _photos_that_changed(folder: Path) -> None:
    """Some are as they were, some changed, some went, some are new."""
    _photos(folder, 15)
    _indexed(folder)
    for number in range(5):
        write_photo(folder / f"inputs/photos/{number % 3}/{number:03}.jpg", number + 500)
    for number in range(5, 8):
        (folder / f"inputs/photos/{number % 3}/{number:03}.jpg").unlink()
    for number in range(8):
        write_photo(folder / f"inputs/photos/new/{number}.png", number + 900)


def _photos_of_another_model(folder: Path) -> None:
    _photos(folder, 16)
    _indexed(folder, "--model", OTHER_MODEL)


def _gallery_to_copy(folder: Path) -> None:
    _made_up(folder / "inputs/g.msedge")


def _gallery_with_holes(folder: Path) -> None:
    from msedge.search.stores import open_store

    _made_up(folder / "out/g.msedge")
    with open_store(folder / "out/g.msedge", writable=True) as file:
        file.change(remove=[number for number in range(1, _ROWS + 1) if number % 3])


def _dataset_in_pieces(folder: Path) -> None:
    from made_photos import MODEL, photos
    from msedge.search.photo import Block
    from msedge.search.stores import open_or_create

    rows = photos(300)
    with open_or_create(folder / "out/g.lance", MODEL) as gallery:
        for start in range(0, 300, 30):
            numbers = list(range(start + 1, start + 31))
            gallery.put_with_ids(Block(numbers, rows[start : start + 30]))
        gallery.commit([], remove=list(range(5, 90)))


def _damaged_gallery(folder: Path) -> None:
    """The root of the table is noise; every photo can still be read."""
    path = folder / "out/g.msedge"
    _made_up(path)
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'photos'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(random.Random(1).randbytes(size))


def _bad_vectors(folder: Path) -> None:
    """Some photos have vectors that no search can use, and a killed writer left half a copy."""
    path = folder / "out/g.msedge"
    _made_up(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE photos SET vector = ? WHERE id % 10 = 0", (b"\0" * 16,))
    _made_up(folder / "out/g.msedge-new", 50)


def _photos_that_moved(folder: Path) -> None:
    """Half of them are known in their new place, too."""
    from made_photos import photos
    from msedge.search.stores import open_store

    _made_up(folder / "out/g.msedge")
    again = [replace(each, path=_moved(each.path)) for each in photos(_ROWS // 2)]
    with open_store(folder / "out/g.msedge", writable=True) as file:
        file.change(put=again)


def _dataset_of_photos_that_moved(folder: Path) -> None:
    from msedge.search.stores import copy_gallery

    _photos_that_moved(folder)
    copy_gallery(folder / "out/g.msedge", folder / "out/g.lance")
    (folder / "out/g.msedge").unlink()


def _moved(path: Path) -> Path:
    return Path("/tmp") / path.relative_to("/photos")


def _read_by_id(name: str) -> Callable[[Path], State]:
    """What a gallery says of each photo: no path may stand twice."""

    def read(folder: Path) -> State:
        from made_photos import held

        rows = held(folder / "out" / name)
        assert len({row[1] for row in rows}) == len(rows)
        return {str(row[0]): row for row in rows}

    return read


def _gallery_with_an_index(folder: Path) -> None:
    """Its index was built before the last photos came."""
    from made_photos import photos
    from msedge.search.stores import build_approximate, open_store

    path = folder / "out/g.msedge"
    _made_up(path, 600)
    build_approximate(path, recall=0.9, force=True)
    with open_store(path, writable=True) as file:
        file.change(put=photos(_ROWS)[600:])


def _read_index(folder: Path) -> State:
    """What the index beside the gallery is of, and what the gallery holds."""
    from msedge.search.approximate.index import ApproximateIndex
    from msedge.search.stores.sqlite.vectors import folder_of

    index = ApproximateIndex.open(folder_of(folder / "out/g.msedge"))
    found = index.nearest(np.ones(8, np.float32) / np.float32(8**0.5), 20)[0]
    assert len(found) == 20
    vectors = hashlib.sha256(index.vectors.tobytes()).hexdigest()
    about = index.about
    return {"index": (about.version, about.count, vectors), "rows": _rows_digest(folder)}


def _rows_digest(folder: Path) -> str:
    from made_photos import held

    return hashlib.sha256(repr(held(folder / "out/g.msedge")).encode()).hexdigest()


def _gallery_to_search(folder: Path) -> None:
    _photos(folder, 4)
    _indexed(folder)
    (folder / "out/g.msedge").rename(folder / "inputs/g.msedge")
    (folder / "inputs/drawing.json").write_text("[[[0, 9, 9], [0, 0, 9]]]")
    (folder / "out/page.html").write_text("of yesterday")


def _photos_to_name(folder: Path) -> None:
    """Photos, and two names that some of them have already."""
    from msedge.cli.app import app

    _photos(folder, 12)
    for name in ("Tom", "Mia"):
        with redirect_stdout(io.StringIO()):
            app(
                ["names", "add", name, str(folder / "inputs/photos/0"),
                 "--names", str(folder / "out/own.safetensors")],
                standalone_mode=False,
            )  # fmt: skip


def _features(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("sketches", 400), ("photos", 800)):
        labels = np.array([f"class {n % 20}" for n in range(count)])
        vectors = rng.normal(size=(count, 16)).astype(np.float32)
        np.savez(folder / f"inputs/{name}.npz", x=vectors, y=labels)
    (folder / "out/queries.csv").write_text("of yesterday\n")


def _download(folder: Path) -> None:
    """Sketchy's archive with four classes, and a split of them."""
    for label, name in enumerate(("camel", "cat", "cow", "hot-air_balloon")):
        for number in range(12):
            seed = 100 * label + number
            for domain, end in (("photo", f"_{number}.jpg"), ("sketch", f"_0-{number}.png")):
                path = folder / f"inputs/256x256/{domain}/tx_000000000000/{name}/n0{label}{end}"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture(seed + 7 * (domain == "photo")).save(path)
    (folder / "inputs/split.toml").write_text(
        'id = "tiny-2"\ndataset = "sketchy"\ntitle = "t"\ncitation = "c"\n'
        'unseen = ["cow", "hot-air balloon"]\n'
    )


def _nothing(folder: Path) -> None:
    """There is nothing to read."""


def _read_salvaged(folder: Path) -> State:
    """The damaged gallery, which stays, and what was saved of it."""
    from made_photos import held

    path, found = folder / "out/g.msedge-salvaged", {"damaged": _bytes(folder / "out/g.msedge")}
    if path.exists():
        found["saved"] = hashlib.sha256(repr(held(path)).encode()).hexdigest()
    return found


def _images_to_train_on(folder: Path) -> None:
    """A dataset of 3 seen and 2 unseen classes, and the settings of a run of seconds."""
    for side, classes in (("train", 3), ("val", 2)):
        for domain in ("sketch", "photo"):
            for label in range(classes):
                for number in range(4):
                    seed = 100 * label + 10 * number + 5 * (side == "val") + (domain == "photo")
                    name = f"{side}/{domain}/{side} {label}/{number}.png"
                    write_photo(folder / "inputs/tiny" / name, seed, size=(40, 40))
    settings = _TINY_RUN | {"data_root": "inputs", "save_root": "out/result"}
    (folder / "inputs/settings.yaml").write_text(yaml.safe_dump(settings))


def _plan_of_runs(folder: Path) -> None:
    _images_to_train_on(folder)
    own = ("data_name", "resume", "save_minutes")
    settings = {name: value for name, value in _TINY_RUN.items() if name not in own}
    plan = {
        "name": "trial",
        "settings": settings | {"epochs": 1},
        "datasets": [{"data_root": str(folder / "inputs"), "data_name": "tiny"}],
        "seeds": [0, 1],
        "variants": {"plain": {"fusion": "none"}},
    }
    (folder / "inputs/plan.yaml").write_text(yaml.safe_dump(plan))


def _read_run(folder: Path) -> State:
    """A finished run's files; of one that is not finished only whether they can be read."""
    from safetensors.numpy import load_file

    from msedge.models.card import read_card

    found = {path.name.removeprefix(_PREFIX): path for path in (folder / "out/result").glob("t*")}
    for name in ("model.safetensors", "vectors.safetensors", "state.safetensors"):
        if name in found:
            load_file(found[name])
    if "model.safetensors" in found:
        read_card(found["model.safetensors"])
    rows = found["results.csv"].read_text().splitlines() if "results.csv" in found else []
    assert all(row.count(",") == rows[0].count(",") for row in rows)
    is_finished = "run.json" in found and json.loads(found["run.json"].read_text())["finished"]
    if not is_finished:
        return {}
    entries = [json.loads(line) for line in found["log.jsonl"].read_text().splitlines()]
    steps = [(line["epoch"], line["step"], line["loss"]) for line in entries
             if line["kind"] == "step"]  # fmt: skip
    whole = ("model.safetensors", "vectors.safetensors", "results.csv")
    return {name: _bytes(found[name]) for name in whole} | {"steps": tuple(sorted(steps))}


def _read_table(folder: Path) -> State:
    """The table of a benchmark, without what was measured."""
    path = folder / "out/bench/results.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = {f"seed {row['seed']}": (row["status"], row["mAP@all"]) for row in rows}
    assert all(status in ("done", "killed", "running", "to do") for status, _ in told.values())
    return {name: row for name, row in told.items() if row[0] == "done"}


def _small_network(folder: Path) -> None:
    """A checkpoint of random weights."""
    import torch

    from cards import CARD
    from msedge.models.checkpoint import save_checkpoint
    from msedge.models.network import MSEdge

    torch.manual_seed(0)
    network = MSEdge(CARD.backbone, dim=CARD.dim, fusion=CARD.fusion, image_size=CARD.image_size)
    network(torch.rand(4, 3, CARD.image_size, CARD.image_size))
    save_checkpoint(folder / "inputs/net.safetensors", network.eval(), CARD)


_PREFIX = "tiny_test_efficientnet_16_"
_TINY_RUN = {
    "data_name": "tiny", "backbone": "test_efficientnet", "weights": "none", "dim": 16,
    "image_size": 32, "batch_size": 8, "epochs": 2, "warmup": 1, "accelerator": "cpu",
    "select": "last", "cache_dir": "out/cache", "resume": True, "save_minutes": 0.0,
}  # fmt: skip
_SHIPPING = (
    "models", "ship", "inputs/net.safetensors", "--name", "tiny", "--intended-use", "tests",
    "--limits", "all", "--data", "us|noise|none", "--out", "out",
)  # fmt: skip
_IS_THERE = "is there already"
_HOLDS_NONE = "holds no photos in /photos"
_REROOT = ("gallery", "reroot", "/photos", "/tmp", "--gallery")
_INDEX = ("index", "inputs/photos", "--gallery", "out/g.msedge")

GALLERIES = (
    Writer(
        "index", ("-c", FEW_A_COMMIT, *_INDEX), _photos_to_index, _rows("g.msedge", ids=False),
        at_once=False, gallery="g.msedge",
    ),
    Writer(
        "index, photos that changed", ("-c", FEW_A_COMMIT, *_INDEX), _photos_that_changed,
        _rows("g.msedge", ids=False), at_once=False, gallery="g.msedge",
    ),
    Writer(
        "index --rebuild", ("-c", FEW_A_COMMIT, *_INDEX, "--rebuild", "--model", "msedge-lite"),
        _photos_of_another_model, _rows("g.msedge", ids=False), gallery="g.msedge",
    ),
    Writer(
        "gallery copy", (*MSEDGE, "gallery", "copy", "inputs/g.msedge", "out/h.msedge"),
        _gallery_to_copy, _rows("h.msedge"), gallery="h.msedge",
        refuses=_IS_THERE,
    ),
    Writer(
        "gallery copy, to Lance", (*MSEDGE, "gallery", "copy", "inputs/g.msedge", "out/g.lance"),
        _gallery_to_copy, _rows("g.lance"), gallery="g.lance", refuses=_IS_THERE,
    ),
    Writer(
        "gallery compact", (*MSEDGE, "gallery", "compact", "out/g.msedge"), _gallery_with_holes,
        _rows("g.msedge"), gallery="g.msedge",
    ),
    Writer(
        "gallery compact, of Lance", (*MSEDGE, "gallery", "compact", "out/g.lance"),
        _dataset_in_pieces, _rows("g.lance"), gallery="g.lance",
    ),
    Writer(
        "gallery reroot", (*MSEDGE, *_REROOT, "out/g.msedge"), _photos_that_moved,
        _read_by_id("g.msedge"), gallery="g.msedge", refuses=_HOLDS_NONE,
    ),
    Writer(
        "gallery reroot, of Lance", (*MSEDGE, *_REROOT, "out/g.lance"),
        _dataset_of_photos_that_moved, _read_by_id("g.lance"), gallery="g.lance",
        refuses=_HOLDS_NONE,
    ),
    Writer(
        "gallery forget", (*MSEDGE, "gallery", "forget", "/photos/3", "--gallery", "out/g.msedge"),
        _photos_that_moved, _read_by_id("g.msedge"), gallery="g.msedge", refuses=_HOLDS_NONE,
    ),
    Writer(
        "gallery check --repair, bad rows",
        (*MSEDGE, "gallery", "check", "out/g.msedge", "--repair"), _bad_vectors,
        _rows("g.msedge"),
    ),
    Writer(
        "gallery check --repair, damage", (*MSEDGE, "gallery", "check", "out/g.msedge", "--repair"),
        _damaged_gallery, _read_salvaged, ends_with=1, refuses=_IS_THERE,
    ),
    Writer(
        "gallery approximate", (*MSEDGE, "gallery", "approximate", "out/g.msedge", "--force"),
        _gallery_with_an_index, _read_index, gallery="g.msedge",
    ),
)  # fmt: skip

FILES = (
    Writer(
        "search --html", (*MSEDGE, "search", "inputs/drawing.json", "--gallery", "inputs/g.msedge",
                          "--html", "out/page.html"),
        _gallery_to_search, _files("page.html"),
    ),
    Writer(
        "names add", (*MSEDGE, "names", "add", "Tom", "inputs/photos", "--names",
                      "out/own.safetensors"),
        _photos_to_name, _files("own.safetensors"),
    ),
    Writer(
        "evaluate --per-query", (*MSEDGE, "evaluate", "inputs/sketches.npz", "inputs/photos.npz",
                                 "--per-query", "out/queries.csv"),
        _features, _files("queries.csv"),
    ),
    Writer(
        "data sample", ("-c", _A_SMALL_SAMPLE, "data", "sample", "--data-root", "out"), _nothing,
        _tree("sample"),
    ),
    Writer(
        "data prepare --copy", (*MSEDGE, "data", "prepare", "sketchy", "--source", "inputs",
                                "--protocol", "inputs/split.toml", "--data-root", "out", "--copy"),
        _download, _tree("sketchy"),
    ),
)  # fmt: skip

NETWORKS = (
    Writer(
        "train --resume", (*MSEDGE, "train", "--config", "inputs/settings.yaml"),
        _images_to_train_on, _read_run, at_once=False,
    ),
    Writer(
        "benchmark", (*MSEDGE, "benchmark", "inputs/plan.yaml", "--save-root", "out/bench"),
        _plan_of_runs, _read_table, at_once=False,
    ),
    Writer(
        "benchmark, its first process alone",
        (*MSEDGE, "benchmark", "inputs/plan.yaml", "--save-root", "out/bench"),
        _plan_of_runs, _read_table, at_once=False, alone=True,
    ),
    Writer(
        "export", (*MSEDGE, "export", "inputs/net.safetensors", "--out", "out/net.onnx"),
        _small_network, _files("net.onnx"),
    ),
    Writer(
        "models ship", (*MSEDGE, *_SHIPPING), _small_network,
        _files("tiny.safetensors", "tiny.onnx"), at_once=False,
    ),
)  # fmt: skip
CLUSTERS = (
    Writer(
        "index --engine ray, its first process",
        (*MSEDGE, "index", "inputs/photos", "--gallery", "out/g.lance", "--engine", "ray",
         "--workers", "2"),
        _photos_to_index, _rows("g.lance", ids=False), at_once=False, gallery="g.lance",
        alone=True,
    ),
)  # fmt: skip
