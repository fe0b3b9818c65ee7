"""From drawings and photos, whatever they came as, to a query.

Tested in ``tests/search/test_questions.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from msedge.data.drawings import drawing_pixels, open_drawing
from msedge.data.images import one_line, read_pixels
from msedge.errors import ConfigError, DataError
from msedge.search.encoder import Embeddings
from msedge.search.locations import whole
from msedge.search.own_encoder import OwnEncoder
from msedge.search.queries import Drawing, Query, combine
from msedge.search.store import Store, View

Photograph: TypeAlias = int | str | Path
"""A photo: its id in the gallery, or the path of a file, in the gallery or not."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where vectors come from: the gallery, or else its encoder."""

    store: Store
    view: View
    encoder: OwnEncoder


def make_query(
    sources: Sources,
    drawings: Sequence[Drawing],
    *,
    like: Sequence[Photograph] = (),
    unlike: Sequence[Photograph] = (),
    not_drawings: Sequence[Drawing] = (),
) -> Query:
    """One query for all that is wanted and not.

    Args:
        sources: the gallery and its encoder, which is asked only for what the gallery has not.
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
    drawn = _embedded(framed, sources.encoder)
    wanted = [_photo(each, sources)[1] for each in like]
    shunned = [_photo(each, sources) for each in unlike]
    return Query(
        combine(
            _rows([*drawn[: len(drawings)], *wanted], sources),
            _rows([*drawn[len(drawings) :], *(vector for _, vector in shunned)], sources),
        ),
        tuple(known for known, _ in shunned if known is not None),
    )


def unknown_photo(photo: int, gallery: Path) -> DataError:
    """What is said of an id that no photo has."""
    return DataError(f"no photo {photo} in {gallery}: give the id of one that a search found")


def _framed(drawing: Drawing) -> Image.Image:
    if isinstance(drawing, str):
        drawing = Path(drawing)
    name = one_line(drawing) if isinstance(drawing, Path) else "the drawing"
    return open_drawing(drawing, name=name)


def _embedded(framed: Sequence[Image.Image], encoder: OwnEncoder) -> list[Embeddings]:
    if not framed:
        return []
    size = encoder.get().image_size
    return list(encoder.get().sketches(np.stack([drawing_pixels(each, size) for each in framed])))


def _photo(photo: Photograph, sources: Sources) -> tuple[int | None, Embeddings]:
    """Its id, where it is in the gallery, and its vector."""
    if not isinstance(photo, int | str | Path):
        raise ConfigError(
            f"a photo cannot be a {type(photo).__name__}: give its id or path; drawings of what is "
            "not wanted go into not_sketch"
        )
    known = photo if isinstance(photo, int) else sources.store.id_at(whole(Path(photo)))
    vector = None if known is None else sources.view.vector(known)
    if vector is not None:
        return known, vector
    if isinstance(photo, int):
        raise unknown_photo(photo, sources.store.path)
    encoder = sources.encoder.get()
    return None, encoder.photos(read_pixels(Path(photo), encoder.image_size)[None])[0]


def _rows(vectors: Sequence[Embeddings], sources: Sources) -> Embeddings:
    return np.array(vectors, np.float32).reshape(-1, sources.store.model.dim)
