"""The bank: what a model knows beside its weights, in a file beside the model's.

It holds vectors of a thousand drawings, from which a photo's *hubness* follows, and the mean
vectors of things that have names. ``net.bank.safetensors`` lies beside ``net.safetensors`` or
``net.onnx``; a model without one has no hubs and no names.

Some photos are near to every drawing, whatever it shows, and crowd out the right ones. How near a
photo is to drawings at large is its hubness: its mean cosine to its 30 nearest of the bank's. Half
of it is taken off its similarity to a query that holds a drawing. That is CSLS (Conneau, Lample,
Ranzato, Denoyer, Jegou: Word Translation Without Parallel Data, ICLR 2018, equation 1), halved, and
without its term of the query, which is the same for every photo. Needs no PyTorch. Tested in
``tests/models/test_bank.py`` and ``tests/artefacts/test_banks.py``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from msedge.errors import ConfigError, ShapeError, WeightsError
from msedge.quoting import named, plain, quoted
from msedge.storage import atomic_path

if TYPE_CHECKING:
    from msedge.models.card import Card, DataSource

FORMAT = "msedge-bank-1"
SUFFIX = ".bank.safetensors"
_FORMATS = re.compile(r"msedge-bank-\d{1,9}", re.ASCII)

NEIGHBOURS = 30
"""Drawings that a photo's hubness is the mean cosine to: its nearest."""

HUB_SHARE = 0.5
"""How much of a photo's hubness is taken off its similarity. On everyday scenes, and on seven
classes among 1,670 photos, a half did better than none and than the whole."""

MOST_DRAWINGS = 1_000
"""That a bank is made of unless told otherwise: 0.5 MB at 256 numbers each."""

MAX_BYTES = 32 * 2**20
"""Of a bank's file; those of ours have less than one MB."""

_TENSORS = ("drawings", "name_drawings", "name_photos")
_BLOCK = 1024  # vectors that are compared with the drawings at a time: 8 MB for each 1,000 of these
LONGEST_NAME, MOST_SYNONYMS = 200, 99
"""Characters of a name or synonym, and what else a thing may be called."""

_OFF = 2.0**-9  # of a length of 1: float16 rounds each number by 2^-11 of it at most

Vectors = npt.NDArray[np.float16]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Name:
    """What a thing is shown as, and what else it is called."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  (read where a file is)

    name: str
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Bank:
    """What a model knows beside its weights; vectors are of length 1.

    Attributes:
        model: identity of the model whose vectors these are, see :func:`identity_of`.
        drawings: ``(n, dim)``, float16.
        names: K things that have one.
        name_drawings: ``(K, dim)``, the mean of each one's drawings; zeros where it has none.
        name_photos: ``(K, dim)``, likewise of its photos.
        data: the images behind all of it.

    Raises:
        ShapeError: the parts do not fit each other, or vectors are not of length 1.
    """

    model: str
    drawings: Vectors
    names: tuple[Name, ...]
    name_drawings: Vectors
    name_photos: Vectors
    data: tuple[DataSource, ...] = ()

    def __post_init__(self) -> None:
        if (reason := _fault(self)) is not None:
            raise ShapeError(f"these parts make no bank: {reason}")
        for name in _TENSORS:
            getattr(self, name).flags.writeable = False

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return int(self.drawings.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the tensors and names: equal where no answer can differ."""
        return _sha256(
            _said(self.names).encode(), self.drawings, self.name_drawings, self.name_photos
        )

    @cached_property
    def fingerprint_of_drawings(self) -> str:
        """SHA-256 of the drawings alone: equal where no photo's hubness can differ."""
        return _sha256(self.drawings)


def identity_of(card: Card) -> str:
    """What tells models apart, and not the precisions of one: SHA-256 of the card's JSON.

    What the card leaves at its default does not count, so that a later release, which knows more
    fields, makes the same of it.
    """
    said = card.model_copy(update={"precision": "float32"})
    values = said.model_dump(mode="json", exclude_defaults=True)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def bank_path(model_file: Path) -> Path:
    """Where the bank of a model's file lies.

    >>> bank_path(Path("models/net.onnx")).name
    'net.bank.safetensors'
    """
    return model_file.with_name(model_file.stem + SUFFIX)


def bank_of(model_file: Path, card: Card) -> Bank | None:
    """The bank beside a model's file; None where there is none.

    Args:
        model_file: the ``.safetensors`` or ``.onnx`` file.
        card: the model's.

    Raises:
        WeightsError: the bank is damaged, or another model's.
    """
    path = bank_path(model_file)
    if not path.exists():
        return None
    bank = read_bank(path)
    if (bank.model, bank.dim) != (identity_of(card), card.dim):
        raise WeightsError(
            f"{named(path)} is the bank of another model than {named(model_file)}: put that "
            "model's own in its place, or take it away to go without hubs and names"
        )
    return bank


def read_bank(path: Path) -> Bank:
    """A bank from its file.

    Raises:
        WeightsError: there is no such file, it is not a bank, or it is damaged.
    """
    from pydantic import TypeAdapter, ValidationError  # late, as the card: a search reads none

    from msedge.models.card import DataSource

    if not path.is_file():
        raise WeightsError(f"no bank at {named(path)}: expected a file that `msedge names` made")
    try:
        with path.open("rb"):  # safetensors says of one that may not be read that it is not there
            pass
    except OSError as error:
        raise WeightsError(
            f"the bank {named(path)} cannot be read ({error.strerror}): see to it that it can"
        ) from error
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ValueError(f"{size:,} bytes, at most {MAX_BYTES:,}")
        with safe_open(path, framework="np") as opened:
            metadata = opened.metadata() or {}
            _check_format(metadata.get("format"), path)
            if sorted(opened.keys()) != sorted(_TENSORS):
                raise ValueError(f"expected the tensors {', '.join(_TENSORS)} and no others")
            drawings, of_drawings, of_photos = (opened.get_tensor(name) for name in _TENSORS)
        names = TypeAdapter(tuple[Name, ...]).validate_json(metadata.get("names", ""))
        data = TypeAdapter(tuple[DataSource, ...]).validate_json(metadata.get("data", ""))
        return Bank(metadata.get("model", ""), drawings, names, of_drawings, of_photos, data)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise _damaged(path, f"{where}: {first['msg']}") from error
    except (SafetensorError, OSError, ShapeError, ValueError, TypeError) as error:
        raise _damaged(path, error) from error


def save_bank(path: Path, bank: Bank) -> None:
    """Write a bank to ``path``, in place of what was there.

    Raises:
        DataError: the file cannot be written.
        ConfigError: it would be larger than a bank may be.
    """
    tensors = {name: np.ascontiguousarray(getattr(bank, name)) for name in _TENSORS}
    metadata = {
        "format": FORMAT,
        "model": bank.model,
        "names": _said(bank.names),
        "data": json.dumps([each.model_dump() for each in bank.data]),
    }
    content = save(tensors, metadata)
    if len(content) > MAX_BYTES:
        raise ConfigError(
            f"the bank {named(path)} would have {len(content):,} bytes, and may have "
            f"{MAX_BYTES:,}: leave out drawings for hubs, or names"
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def hubness(vectors: npt.NDArray[np.floating[Any]], drawings: Vectors) -> Reals:
    """How near photos are to drawings at large: ``(N,)`` in [-1, 1].

    Of vectors in float16, as galleries hold them, it is the same to the last bit on every machine
    and beside whichever other photos: products of such numbers are multiples of 2^-48, and sums of
    them below 32 have room in a float64, so that nothing is rounded before the lengths are.

    Args:
        vectors: of photos, ``(N, dim)``, each of about length 1.
        drawings: of a bank, ``(n, dim)``; where there are none, every hubness is 0.

    Example:
        >>> photos, drawings = np.eye(2), np.float16([[1, 0], [0.6, 0.8]])
        >>> hubness(photos, drawings).round(3).tolist()
        [0.8, 0.4]
    """
    total: Reals = np.zeros(len(vectors))
    neighbours = min(NEIGHBOURS, len(drawings))
    if not neighbours:
        return total
    double = drawings.astype(np.float64)
    double_lengths = _lengths(double)
    for start in range(0, len(vectors), _BLOCK):
        photos = np.nan_to_num(vectors[start : start + _BLOCK].astype(np.float64))
        cosines = photos @ double.T / double_lengths
        nearest = np.partition(cosines, len(drawings) - neighbours)[:, -neighbours:]
        nearest.sort()
        for column in nearest.T:  # one by one: the order in which NumPy sums is its own affair
            total[start : start + _BLOCK] += column
        total[start : start + _BLOCK] /= neighbours * _lengths(photos)
    return total.clip(-1.0, 1.0)


def choose_drawings(
    vectors: npt.NDArray[np.floating[Any]],
    classes: Sequence[str],
    most: int = MOST_DRAWINGS,
    *,
    seed: int = 0,
) -> Vectors:
    """Drawings for a bank, at most so many: as many of each class as there is room for.

    Args:
        vectors: of drawings, ``(N, dim)``.
        classes: of each.
        most: how many at most.
        seed: decides which ones of a class, and which classes give one more.

    Returns:
        Unit vectors ``(n, dim)`` in float16, in the order given.

    Raises:
        ConfigError: ``most`` is below 1.
        ShapeError: there is not one class a vector.
    """
    if most < 1:
        raise ConfigError(f"a bank of {most} drawings: expected at least 1")
    if len(vectors) != len(classes):
        raise ShapeError(f"{len(vectors)} vectors of drawings came with {len(classes)} classes")
    rng = np.random.default_rng(seed)
    turns: dict[str, int] = {}
    order: list[
        tuple[int, int, int]
    ] = []  # by how many of its class came before, so that classes take turns
    for place in rng.permutation(len(vectors)).tolist():
        turn = turns[classes[place]] = turns.get(classes[place], -1) + 1
        order.append((turn, len(order), place))
    chosen = sorted(place for *_, place in sorted(order)[:most])
    some = vectors[chosen].astype(np.float64)
    return (some / _lengths(some)[:, None]).astype(np.float16)


def _said(names: Sequence[Name]) -> str:
    return json.dumps([asdict(each) for each in names])


def _lengths(vectors: Reals) -> Reals:
    """Of each vector; 1 for one of zeros, which is like nothing."""
    lengths: Reals = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    lengths[lengths == 0] = 1.0
    return lengths


def _fault(bank: Bank) -> str | None:
    """What does not fit in a bank."""
    for name in _TENSORS:
        tensor: Vectors = getattr(bank, name)
        if tensor.dtype != np.float16 or tensor.ndim != 2:
            return f"{name} are {tensor.dtype} {tensor.shape}, expected float16 with two axes"
        wanted = (len(tensor) if name == "drawings" else len(bank.names), bank.dim)
        if tensor.shape != wanted:
            return f"{name} have the shape {tensor.shape}, expected {wanted}"
        lengths = np.linalg.norm(tensor.astype(np.float64), axis=1)
        is_right = np.abs(lengths - 1) <= _OFF  # not where it is no number
        if name != "drawings":
            is_right |= lengths == 0
        if not is_right.all():
            return f"{name} hold vectors that are not of length 1"
    for each in bank.names:
        texts = (each.name, *each.synonyms)
        if not all(0 < len(text) <= LONGEST_NAME for text in texts):
            return f"a thing is called {quoted(texts)}"
        if len(each.synonyms) > MOST_SYNONYMS:
            return f"{quoted(each.name)} has more than {MOST_SYNONYMS} synonyms"
    called = [each.name.casefold() for each in bank.names]
    return "two things have one name" if len(set(called)) != len(called) else None


def _check_format(found: str | None, path: Path) -> None:
    if found is not None and found != FORMAT and _FORMATS.fullmatch(found):
        raise WeightsError(
            f"{named(path)} is of format {plain(found)}, and this release knows {FORMAT}: update "
            "msedge, or make the bank again"
        )
    if found != FORMAT:
        raise WeightsError(
            f"{named(path)} is not a bank of MSEdge (format {quoted(found)}, expected {FORMAT!r})"
        )


def _damaged(path: Path, reason: object) -> WeightsError:
    return WeightsError(
        f"the bank {named(path)} is damaged ({plain(reason)}): fetch it anew, or take it away and "
        "make it again with `msedge names`"
    )


def _sha256(*parts: bytes | Vectors) -> str:
    whole = hashlib.sha256()
    for part in parts:
        if not isinstance(part, bytes):
            whole.update(repr(part.shape).encode())
            part = np.ascontiguousarray(part, "<f2").tobytes()
        whole.update(part)
    return whole.hexdigest()
