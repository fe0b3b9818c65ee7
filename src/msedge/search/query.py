"""What is asked: drawings and photos, for and against, whatever they came as, as one vector.

Rocchio's relevance feedback (in Salton, The SMART Retrieval System, 1971): the mean of what is
wanted, less a share of the mean of what is not. Tested in ``tests/search/test_query.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TypeAlias, TypeGuard, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from msedge.data.drawings import drawing_pixels, open_drawing
from msedge.data.images import one_line, read_pixels
from msedge.data.sketches import Strokes
from msedge.errors import ConfigError, DataError
from msedge.search.encoder import Encoder, OnnxEncoder
from msedge.search.locations import whole
from msedge.search.ranking import Embeddings
from msedge.search.stores.store import Store, View

AGAINST = 0.25
"""Weight of what is not wanted, beside 1 for what is.

It is what the SMART experiments settled on (4 against 16), and among what does best here: after one
photo was marked as wrong, precision of the first 20 others is 21.4 % on classes that training never
saw, against 20.4 with a weight of 0; with a right one marked too 32.3, against 28.5. From 0.5 on it
does harm (``benchmarks/search_choices.py --model msedge-lite-sketchy21``).
"""

Drawing: TypeAlias = str | Path | bytes | Image.Image | Strokes
"""A drawing: a file (picture, SVG, stroke JSON), the content of one, an image, or strokes."""

Photograph: TypeAlias = int | str | Path
"""A photo: its id in the gallery, or the path of a file, in the gallery or not."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for.

    Attributes:
        vector: unit length, ``(dim,)``, float32.
        without: ids of photos that were said not to be wanted; no hit shows them.
    """

    vector: Embeddings
    without: tuple[int, ...] = ()


class OwnEncoder:
    """What turns pixels into vectors to compare with a gallery's. Threads may share it.

    It is loaded when it is needed: to search for what a photo of the gallery looks like needs none.

    Attributes:
        store: the gallery.
    """

    def __init__(self, store: Store, model: str | Path | Encoder | None = None) -> None:
        """Take the gallery, and its model's name or file, or an encoder; None for its own name."""
        self.store = store
        self._model = store.model.name if model is None else model
        self._encoder: Encoder | None = None
        self._lock = Lock()

    def get(self) -> Encoder:
        """The encoder; the first call loads it.

        Raises:
            WeightsError: it cannot be loaded, or the gallery was made with other weights.
        """
        with self._lock:
            if self._encoder is None:
                named = self._model
                encoder = OnnxEncoder.load(named) if isinstance(named, str | Path) else named
                self.store.check_model(encoder)
                self._encoder = encoder
            return self._encoder


def make_query(
    view: View,
    own: OwnEncoder,
    drawings: Sequence[Drawing],
    *,
    like: Sequence[Photograph] = (),
    unlike: Sequence[Photograph] = (),
    not_drawings: Sequence[Drawing] = (),
) -> Query:
    """One query for all that is wanted and not.

    Args:
        view: of the gallery, whose photos have their vectors.
        own: the gallery's encoder, which is asked only for what the gallery has not.
        drawings: what is wanted.
        like: photos that are wanted as well.
        unlike: photos that are not.
        not_drawings: drawings of what is not.

    Raises:
        ConfigError: nothing is wanted, or a photo is given as something else.
        DataError: a drawing or photo cannot be read, or an id is unknown.
        WeightsError: the encoder cannot be had.
    """
    # All drawings are read before the first is embedded: errors should not wait for the weights.
    framed = [_framed(each) for each in (*drawings, *not_drawings)]
    drawn = _embedded(framed, own)
    wanted = [_photo(each, view, own)[1] for each in like]
    shunned = [_photo(each, view, own) for each in unlike]
    dim = own.store.model.dim
    return Query(
        combine(
            _rows([*drawn[: len(drawings)], *wanted], dim),
            _rows([*drawn[len(drawings) :], *(vector for _, vector in shunned)], dim),
        ),
        tuple(known for known, _ in shunned if known is not None),
    )


def drawings_of(given: Drawing | Sequence[Drawing]) -> list[Drawing]:
    """One drawing or several, as a list.

    A sequence of ``(xs, ys)`` is the strokes of one drawing.

    Raises:
        ConfigError: it holds something that is no drawing.
    """
    several = [given] if _is_drawing(given) else given
    if not isinstance(several, Sequence):
        raise ConfigError(_unknown(given))
    for each in several:
        if not _is_drawing(each):
            raise ConfigError(_unknown(each))
    return cast(list[Drawing], list(several))


def combine(wanted: Embeddings, unwanted: Embeddings) -> Embeddings:
    """One unit vector for several, by Rocchio's formula.

    Args:
        wanted: unit vectors ``(n, dim)``, at least one.
        unwanted: unit vectors ``(m, dim)``, or none.

    Returns:
        The mean of the wanted less :data:`AGAINST` times the mean of the unwanted, brought to
        length 1: ``(dim,)``, float32.

    Raises:
        ConfigError: nothing is wanted, or nothing is left after the subtraction.

    Example:
        >>> combine(np.array([[1, 0], [0, 1]]), np.empty((0, 2))).round(3).tolist()
        [0.7070000171661377, 0.7070000171661377]
    """
    if not len(wanted):
        raise ConfigError("nothing to look for: give a sketch, or a photo to be like")
    vector: npt.NDArray[np.float64] = wanted.astype(np.float64).mean(axis=0)
    if len(unwanted):
        vector = vector - AGAINST * unwanted.astype(np.float64).mean(axis=0)
    length = float(np.linalg.norm(vector))
    if not length > 1e-6:
        raise ConfigError("the queries cancel each other out: leave one of them out")
    return (vector / length).astype(np.float32)


def unknown_photo(photo: int, gallery: Path) -> DataError:
    """What is said of an id that no photo has."""
    return DataError(f"no photo {photo} in {gallery}: give the id of one that a search found")


def _is_drawing(given: object) -> TypeGuard[Drawing]:
    return isinstance(given, str | Path | bytes | Image.Image) or _is_strokes(given)


def _is_strokes(given: object) -> bool:
    return (
        isinstance(given, Sequence)
        and len(given) > 0
        and all(
            isinstance(stroke, Sequence | np.ndarray)
            and not isinstance(stroke, str | bytes)
            and len(stroke) >= 2
            and all(_is_axis(axis) for axis in stroke[:2])
            for stroke in given
        )
    )


def _is_axis(given: object) -> bool:
    if isinstance(given, str | bytes) or not isinstance(given, Sequence | np.ndarray):
        return False
    return not len(given) or not hasattr(given[0], "__len__")


def _unknown(given: object) -> str:
    return (
        f"a drawing cannot be a {type(given).__name__}: give a path, the bytes of a file, an image "
        "or strokes"
    )


def _framed(drawing: Drawing) -> Image.Image:
    if isinstance(drawing, str):
        drawing = Path(drawing)
    name = one_line(drawing) if isinstance(drawing, Path) else "the drawing"
    return open_drawing(drawing, name=name)


def _embedded(framed: Sequence[Image.Image], own: OwnEncoder) -> list[Embeddings]:
    if not framed:
        return []
    encoder = own.get()
    pixels = np.stack([drawing_pixels(each, encoder.image_size) for each in framed])
    return list(encoder.sketches(pixels))


def _photo(photo: Photograph, view: View, own: OwnEncoder) -> tuple[int | None, Embeddings]:
    """Its id, where it is in the gallery, and its vector."""
    if not isinstance(photo, int | str | Path):
        raise ConfigError(
            f"a photo cannot be a {type(photo).__name__}: give its id or path; drawings of what is "
            "not wanted go into not_sketch"
        )
    known = photo if isinstance(photo, int) else own.store.id_at(whole(Path(photo)))
    vector = None if known is None else view.vector(known)
    if vector is not None:
        return known, vector
    if isinstance(photo, int):
        raise unknown_photo(photo, own.store.path)
    encoder = own.get()
    return None, encoder.photos(read_pixels(Path(photo), encoder.image_size)[None])[0]


def _rows(vectors: Sequence[Embeddings], dim: int) -> Embeddings:
    return np.array(vectors, np.float32).reshape(-1, dim)
