"""Names are made of folders of drawings and photos: a model's whole bank, or a person's own names.

A name is the mean vector of the drawings in a folder, the mean vector of the photos in one, or
both. Tested in ``tests/search/test_naming.py``.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from msedge.data.drawings import drawing_pixels, open_drawing
from msedge.data.images import PHOTO_SUFFIXES, one_line
from msedge.errors import ConfigError, DataError
from msedge.locks import sole_writer
from msedge.models.bank import (
    LONGEST_NAME,
    MOST_DRAWINGS,
    MOST_SYNONYMS,
    Bank,
    Name,
    Reals,
    Vectors,
    choose_drawings,
    identity_of,
    save_bank,
)
from msedge.models.card import Card, DataSource
from msedge.quoting import named, plain, quoted
from msedge.search.encoder import Encoder
from msedge.search.names import Names, key_of, read_own_names
from msedge.search.photo import NewPhoto
from msedge.search.ranking import Embeddings
from msedge.search.reading import BATCH, embedded
from msedge.search.sources import Choice, find
from msedge.search.sources.contents import Unreadable
from msedge.system import usable_cpus
from msedge.written_files import read_written

DRAWING_SUFFIXES = PHOTO_SUFFIXES | {".svg", ".json"}
"""Files that count as drawings; and each line of an ``.ndjson`` file is one."""

MAX_SYNONYMS = 4_000_000
"""Bytes of a file of synonyms."""

_LINES = ".ndjson"

Progress = Callable[[int, int], None]


class ModelEncoder(Encoder, Protocol):
    """An encoder that has its model's card."""

    @property
    def card(self) -> Card:
        """What the model says of itself."""


@dataclass(slots=True)
class Seen:
    """What was looked at in some folders: how many images, and what was passed over, with why."""

    images: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Made:
    """A bank that was made, and of what."""

    bank: Bank
    drawings: Seen
    photos: Seen
    unused: list[str]  # names with synonyms of which there is no folder


def add_name(
    file: Path,
    encoder: ModelEncoder,
    name: str,
    folder: Path,
    *,
    drawings: bool = False,
    synonyms: Sequence[str] = (),
    workers: int | None = None,
) -> Seen:
    """Give a name to the photos in a folder and below, or to the drawings.

    What was known of that name's photos is replaced, and its drawings are kept; or the other way
    round. Synonyms are added to those that it has.

    Args:
        file: of the person's names, made where it is not there; see
            :func:`msedge.search.names.own_names_file`.
        encoder: of the model that the names are for.
        name: of what is seen there.
        folder: a folder, or one file.
        drawings: whether drawings lie there.
        synonyms: what else it is called.
        workers: threads; None for one a CPU.

    Raises:
        ConfigError: the name cannot be used, has too many synonyms, or has one that is a name.
        DataError: there is no image in the folder that can be read, or the file cannot be written.
        WeightsError: the file holds names of another model, or is damaged.
    """
    called = Name(name=_usable(name), synonyms=tuple(map(_usable, synonyms)))
    model = identity_of(encoder.card)
    _check_synonyms(called, Names(encoder.bank, read_own_names(file, model, encoder.dim)))
    seen = Seen()
    look = _drawing_vectors if drawings else _photo_vectors
    vectors = look(encoder, [folder], seen, workers or usable_cpus())
    if not seen.images:
        raise DataError(_nothing(folder, "drawing" if drawings else "photo", seen))
    mean = _mean(vectors)
    with sole_writer(file):
        own = read_own_names(file, model, encoder.dim) or _empty(model, encoder.dim)
        rows = _rows(own)
        earlier = rows.pop(_same(rows, name), None)
        of_drawings, of_photos = earlier[1:] if earlier else 2 * (np.zeros_like(mean),)
        if earlier:
            both = dict.fromkeys((*earlier[0].synonyms, *called.synonyms))
            called = Name(name=called.name, synonyms=tuple(both))
            _check_synonyms(called)
        rows[called.name] = (called, mean, of_photos) if drawings else (called, of_drawings, mean)
        save_bank(file, _bank(own, rows))
    return seen


def remove_name(file: Path, model: str, dim: int, name: str) -> str:
    """Forget a person's own name, whichever of its spellings is given; returns the one it had.

    Args:
        file: of the person's names.
        model: identity of the model that they are for.
        dim: numbers of its vectors.
        name: which one, not by a synonym.

    Raises:
        ConfigError: it is none of the person's own.
        DataError: the file cannot be written.
        WeightsError: the file holds names of another model, or is damaged.
    """
    with sole_writer(file):
        own = read_own_names(file, model, dim) or _empty(model, dim)
        rows = _rows(own)
        gone = rows.pop(_same(rows, name), None)
        if gone is None:
            near = " or ".join(plain(each.name) for each in Names(own=own).near(name))
            hint = f"did you mean {near}?" if near else "`msedge names` lists whose each name is"
            raise ConfigError(f"{quoted(name)} is no name of your own: {hint}")
        save_bank(file, _bank(own, rows))
    return gone[0].name


def make_bank(
    encoder: ModelEncoder,
    *,
    drawings: Sequence[Path],
    photos: Sequence[Path] = (),
    synonyms: dict[str, list[str]] | None = None,
    data: Sequence[DataSource] = (),
    most: int = MOST_DRAWINGS,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Made:
    """Make a model's bank of folders that have a folder for each thing, called by its name.

    Folders of one name, or of a name and its synonym, are of one thing, in whichever folder they
    are and however they are spelled. Underscores in what is shown become spaces.

    Args:
        encoder: of the model.
        drawings: folders with a folder of drawings for each thing, or a file ``THING.ndjson`` with
            a drawing a line.
        photos: likewise of photos.
        synonyms: what a thing is called else, by its name, in the spelling that is shown.
        data: what all of this is, and its terms.
        most: drawings that are kept for hubs; as many of each thing as there is room for.
        seed: decides which ones.
        workers: threads; None for one a CPU.
        progress: is told how many things are done, and of how many.

    Raises:
        ConfigError: a name cannot be used, or a word is a synonym of two.
        DataError: a folder cannot be read, or there are no drawings.
    """
    synonyms = synonyms or {}
    meant = _meanings(synonyms)
    things: dict[str, tuple[list[Path], list[Path]]] = {}
    for kind, folders in enumerate((drawings, photos)):
        for folder in folders:
            for place in _things(folder, lines=kind == 0):
                word = (place.stem if place.suffix == _LINES else place.name).replace("_", " ")
                shown = meant.setdefault(key_of(word), _usable(word))
                things.setdefault(shown, ([], []))[kind].append(place)
    workers = workers or usable_cpus()
    seen = Seen(), Seen()
    means: tuple[list[Vectors], list[Vectors]] = [], []
    kept: list[Vectors] = []
    classes: list[str] = []
    names = sorted(things, key=lambda name: (key_of(name), name))
    none = np.empty((0, encoder.dim), np.float32)
    for done, name in enumerate(names):
        for kind, look in enumerate((_drawing_vectors, _photo_vectors)):
            places = things[name][kind]
            vectors = look(encoder, places, seen[kind], workers) if places else none
            means[kind].append(_mean(vectors))
            if kind == 0 and len(vectors):
                kept.append(vectors.astype(np.float16))
                classes += [name] * len(vectors)
        if progress:
            progress(done + 1, len(names))
    if not kept:
        raise DataError(f"{_nothing(drawings[0], 'drawing', seen[0])}, in a folder for each thing")
    has = [bool(d.any() or p.any()) for d, p in zip(*means, strict=True)]
    of_drawings, of_photos = (
        np.array([mean for mean, some in zip(kind, has, strict=True) if some]) for kind in means
    )
    bank = Bank(
        identity_of(encoder.card),
        choose_drawings(np.concatenate(kept), classes, most, seed=seed),
        tuple(
            Name(name=name, synonyms=tuple(synonyms.get(name, ())))
            for name, some in zip(names, has, strict=True)
            if some
        ),
        of_drawings,
        of_photos,
        tuple(data),
    )
    return Made(bank, *seen, unused=[name for name in synonyms if name not in things])


def read_synonyms(path: Path) -> dict[str, list[str]]:
    """A file of synonyms: an object of JSON, or TOML, with a list for each name.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    try:
        text = read_written(path, MAX_SYNONYMS)
        read = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read synonyms of {named(path)}: {plain(error)}") from error
    shape = (
        f"expected a list of at most {MOST_SYNONYMS} words for each name, such as "
        '{"car": ["automobile", "auto"]}'
    )
    if not isinstance(read, dict):
        raise DataError(f"{named(path)} holds no synonyms: {shape}")
    for name, words in read.items():
        listed = isinstance(words, list) and len(words) <= MOST_SYNONYMS
        if not (listed and all(isinstance(word, str) for word in words)):
            raise DataError(f"{named(path)} has {quoted(words)} for {plain(name)}: {shape}")
    return {_usable(name): [_usable(word) for word in words] for name, words in read.items()}


def _meanings(synonyms: dict[str, list[str]]) -> dict[str, str]:
    """The name that each key stands for; a word that is a synonym of several stands for itself."""
    meant: dict[str, str] = {}
    several: set[str] = set()
    for name, words in synonyms.items():
        for key in {key_of(word) for word in words}:
            if meant.setdefault(key, name) != name:
                several.add(key)
    names = {key_of(name): name for name in synonyms}
    if len(names) != len(synonyms):
        raise ConfigError("the synonyms have one name in two spellings: put them together")
    return {key: name for key, name in meant.items() if key not in several} | names


def _things(folder: Path, *, lines: bool) -> list[Path]:
    """The folders of a folder, and its files of drawings a line, by name; none that are hidden."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(
                entry.name
                for entry in entries
                if not entry.name.startswith(".")
                and (entry.is_dir() or (lines and entry.name.endswith(_LINES)))
            )
    except OSError as error:
        raise DataError(
            f"cannot read {named(folder)} ({error.strerror}): expected a folder with a folder for "
            "each thing"
        ) from error
    return [folder / name for name in found]


def _photo_vectors(
    encoder: Encoder, places: Sequence[Path], seen: Seen, workers: int
) -> Embeddings:
    """Vectors ``(n, dim)`` of the photos in some folders and below."""
    found = find(places, Choice())
    seen.skipped += {**found.unread, **found.odd}.items()
    packed = "photos within it are not looked at: unpack it"
    seen.skipped += [(shard.path, packed) for shard in found.shards]
    vectors = []
    with closing(embedded(found.files, encoder, workers=workers)) as batches:
        for item, photo in (each for batch in batches for each in batch):
            if isinstance(photo, NewPhoto):
                vectors.append(photo.vector)
            elif isinstance(photo, Unreadable):
                seen.skipped.append((item.path, photo.reason))
    seen.images += len(vectors)
    return np.array(vectors, np.float32).reshape(-1, encoder.dim)


def _drawing_vectors(
    encoder: Encoder, places: Sequence[Path], seen: Seen, workers: int
) -> Embeddings:
    """Vectors ``(n, dim)`` of the drawings in some folders and below."""
    drawings = [each for place in places for each in _drawings(place, seen)]
    none = np.empty((0, encoder.dim), np.float32)

    def embed(
        batch: Sequence[tuple[str, Path | bytes]],
    ) -> tuple[Embeddings, list[tuple[str, str]]]:
        pixels, skipped = [], []
        for name, drawing in batch:
            try:
                framed = open_drawing(drawing, name=name)
                pixels.append(drawing_pixels(framed, encoder.image_size))
            except DataError as error:
                skipped.append((name, str(error)))
        return encoder.sketches(np.stack(pixels)) if pixels else none, skipped

    batches = [drawings[start : start + BATCH] for start in range(0, len(drawings), BATCH)]
    vectors = [none]
    with ThreadPoolExecutor(workers, thread_name_prefix="draw") as pool:
        for some, skipped in pool.map(embed, batches):
            vectors.append(some)
            seen.skipped += skipped
    together = np.concatenate(vectors)
    seen.images += len(together)
    return together


def _drawings(place: Path, seen: Seen) -> Iterator[tuple[str, Path | bytes]]:
    """The drawings of a folder and below, of a file of many, or the one that a file is; named."""
    paths = [place]
    if place.is_dir():
        paths = sorted(path for path in place.rglob("*") if not _is_hidden(path, place))
    elif not place.exists():
        raise DataError(f"no folder at {named(place)}: expected one with drawings in it")
    for path in filter(Path.is_file, paths):
        if path.suffix.lower() == _LINES:
            try:
                lines = path.read_bytes().splitlines()
            except OSError as error:
                seen.skipped.append((str(path), str(error.strerror)))
                continue
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{one_line(path)}, line {number}", line
        elif path.suffix.lower() in DRAWING_SUFFIXES:
            yield one_line(path), path


def _is_hidden(path: Path, top: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(top).parts)


def _mean(vectors: Embeddings) -> Vectors:
    """The mean of vectors ``(n, dim)``, at length 1; zeros of none."""
    mean: Reals = vectors.sum(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    return (mean / (length or 1.0)).astype(np.float16)


Rows = dict[str, tuple[Name, Vectors, Vectors]]


def _rows(bank: Bank) -> Rows:
    """What a bank knows, by name."""
    rows = zip(bank.names, bank.name_drawings, bank.name_photos, strict=True)
    return {row[0].name: row for row in rows}


def _same(rows: Rows, name: str) -> str:
    """The name among them that is compared as equal, else the name itself."""
    return next((known for known in rows if key_of(known) == key_of(name)), name)


def _bank(own: Bank, rows: Rows) -> Bank:
    """A person's names anew."""
    names, *means = zip(*rows.values(), strict=True) if rows else ((), (), ())
    of_drawings, of_photos = (np.array(mean, np.float16).reshape(-1, own.dim) for mean in means)
    return Bank(own.model, own.drawings, tuple(names), of_drawings, of_photos, own.data)


def _empty(model: str, dim: int) -> Bank:
    none = np.empty((0, dim), np.float16)
    return Bank(model, none, (), none.copy(), none.copy())


def _usable(name: str) -> str:
    """A name as it is shown; a ConfigError where it is none."""
    shown = " ".join(name.split())
    if not shown or not shown.isprintable() or len(shown) > LONGEST_NAME:
        raise ConfigError(
            f"{quoted(name)} cannot be a name: expected one line of at most {LONGEST_NAME} "
            "characters, as in cat"
        )
    return shown


def _check_synonyms(called: Name, known: Names | None = None) -> None:
    """A ConfigError for too many, or for one that is a known name: that is what it would mean."""
    if len(called.synonyms) > MOST_SYNONYMS:
        raise ConfigError(
            f"{plain(called.name)} would have {len(called.synonyms)} synonyms: expected at most "
            f"{MOST_SYNONYMS}; `msedge names remove` forgets those that it has"
        )
    names = {key_of(each.name) for each in known or ()} - {key_of(called.name)}
    for word in called.synonyms:
        if key_of(word) in names:
            raise ConfigError(
                f"{quoted(word)} is a name of its own, and would be found in place of "
                f"{plain(called.name)}: leave that synonym out"
            )


def _nothing(folder: Path, kind: str, seen: Seen) -> str:
    """What is said of a folder without images that can be read."""
    first = next((f" (the first: {plain(why)})" for _, why in seen.skipped), "")
    kinds = " ".join(sorted(DRAWING_SUFFIXES if kind == "drawing" else PHOTO_SUFFIXES))
    return f"no {kind} in {named(folder)} can be read{first}: expected files of {kinds}"
