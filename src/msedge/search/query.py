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
from msedge.models.bank import HUB_SHARE
from msedge.search.encoder import Encoder, OnnxEncoder, photo_side
from msedge.search.locations import whole
from msedge.search.names import (
    Likely,
    Names,
    Wanted,
    own_names_file,
    read_own_names,
)
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
    """What to look for: a unit vector ``(dim,)``, float32, and ids that no hit is to show.

    The model is the fingerprint of what made the vector; empty where nobody says. The names are
    those that a person gave, and what the drawings are likely of. The share is how much of its
    hubness is taken off a photo's similarity: hubness is of drawings, so that photos and words
    alone ask without.
    """

    vector: Embeddings
    without: tuple[int, ...] = ()
    model: str = ""
    names: tuple[Likely, ...] = ()
    hub_share: float = 0.0


class OwnEncoder:
    """What turns pixels into vectors to compare with a gallery's. Threads may share it.

    It is loaded when it is needed: to search for what a photo of the gallery looks like needs none.
    """

    def __init__(
        self,
        store: Store,
        model: str | Path | Encoder | None = None,
        *,
        threads: int | None = None,
        own_names: Path | None = None,
    ) -> None:
        """Take the gallery, and its model's name or file, or an encoder; None for its own name.

        The own names are a person's file; None for the usual one.
        """
        self.store, self._threads = store, threads
        self._model = model
        self._encoder: Encoder | None = None
        self._own_names = own_names
        self._names: tuple[object, Names] | None = None  # and the state of the file that they had
        self._lock = Lock()

    def go_on_with(self, earlier: OwnEncoder) -> None:
        """Take what was loaded for another gallery where the model is the same: that is large."""
        if earlier.store.model == self.store.model:
            self._encoder = earlier._encoder

    def get(self) -> Encoder:
        """The encoder; the first call loads it, or raises a WeightsError."""
        with self._lock:
            if self._encoder is None:
                encoder = self._model
                if encoder is None:
                    from msedge.models.shipped import edition_of  # late, with the card

                    encoder = edition_of(self.store.model.name, self.store.model.fingerprint)
                if isinstance(encoder, str | Path):
                    encoder = OnnxEncoder.load(encoder, threads=self._threads)
                self.store.check_model(encoder)
                self._encoder = encoder
            return self._encoder

    def names(self) -> Names:
        """The names of the model and the person's, read again when their file has changed.

        Raises:
            WeightsError: that file is damaged, or another model's; or one was named that is not
                there.
        """
        from msedge.models.bank import identity_of

        encoder = self.get()
        bank, card = getattr(encoder, "bank", None), getattr(encoder, "card", None)
        identity = bank.model if bank is not None else identity_of(card) if card else ""
        if not identity:  # an encoder of somebody else's making
            return Names()
        path = own_names_file(identity, self._own_names)
        state = _state(path)
        known = self._names
        if known is None or known[0] != state:
            must_be = self._own_names is not None
            own = read_own_names(path, identity, encoder.dim, must_be=must_be)
            known = state, Names(bank, own)
            self._names = known
        return known[1]


def make_query(
    view: View,
    own: OwnEncoder,
    drawings: Sequence[Drawing],
    *,
    like: Sequence[Photograph] = (),
    unlike: Sequence[Photograph] = (),
    not_drawings: Sequence[Drawing] = (),
    names: Wanted = True,
    not_names: str | Sequence[str] = (),
) -> Query:
    """One query for what is wanted and not; see :meth:`msedge.search.gallery.Gallery.search`.

    The encoder is asked only for what the gallery's view has not.
    """
    # All drawings are read before the first is embedded: errors should not wait for the weights.
    framed = [_framed(each) for each in (*drawings, *not_drawings)]
    drawn: list[Embeddings] = []
    if framed:
        side = own.get().image_size
        drawn = list(own.get().sketches(np.stack([drawing_pixels(each, side) for each in framed])))
    liked = [_photo(each, view, own)[1] for each in like]
    shunned = [_photo(each, view, own) for each in unlike]
    wanted = drawn[: len(drawings)]
    told: tuple[Likely, ...] = ()
    if not_names or (drawings and names is True) or not isinstance(names, bool):
        steered = own.names().steer(wanted, names, not_names)
        wanted, told = steered.wanted, steered.told
    unwanted = [*drawn[len(drawings) :], *(vector for _, vector in shunned)]
    without = tuple(known for known, _ in shunned if known is not None)
    vector, share = combine([*wanted, *liked], unwanted), HUB_SHARE if drawings else 0.0
    model = own.store.model.fingerprint
    return Query(vector, without, model, names=told, hub_share=share)


def drawings_of(given: Drawing | Sequence[Drawing]) -> list[Drawing]:
    """One drawing or several, as a list; raises a ConfigError for what is no drawing.

    A sequence of ``(xs, ys)`` is the strokes of one drawing.
    """
    if _is_drawing(given):
        return [given]
    several = list(given) if isinstance(given, Sequence) else [given]
    for each in several:
        if not _is_drawing(each):
            raise ConfigError(
                f"a drawing cannot be a {type(each).__name__}: give a path, the bytes of a file, "
                "an image or strokes"
            )
    return cast(list[Drawing], several)


def combine(
    wanted: Embeddings | Sequence[Embeddings], unwanted: Embeddings | Sequence[Embeddings]
) -> Embeddings:
    """One unit vector ``(dim,)``, float32, for several, by Rocchio's formula.

    It is the mean of the wanted less :data:`AGAINST` times that of the unwanted, at length 1.

    Raises:
        ConfigError: nothing is wanted, or nothing is left after the subtraction.

    Example:
        >>> combine([[1, 0], [0, 1]], []).round(3).tolist()
        [0.7070000171661377, 0.7070000171661377]
    """
    if not len(wanted):
        raise ConfigError("nothing to look for: give a sketch, a photo to be like, or a name")
    vector: npt.NDArray[np.float64] = np.mean(wanted, axis=0, dtype=np.float64)
    if len(unwanted):
        vector = vector - AGAINST * np.mean(unwanted, axis=0, dtype=np.float64)
    length = float(np.linalg.norm(vector))
    if not length > 1e-6:
        raise ConfigError("the queries cancel each other out: leave one of them out")
    return (vector / length).astype(np.float32)


class UnknownPhotoError(DataError):
    """No photo of the gallery has the id that was given."""


def unknown_photo(photo: int, gallery: Path) -> UnknownPhotoError:
    """What is said of an id that no photo has."""
    return UnknownPhotoError(
        f"no photo {photo} in {gallery}: give the id of one that a search found"
    )


def _state(path: Path) -> object:
    """What tells whether a file is as it was; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return path, status.st_ino, status.st_size, status.st_mtime_ns


def _is_drawing(given: object) -> TypeGuard[Drawing]:
    if isinstance(given, str | Path | bytes | Image.Image):
        return True
    return isinstance(given, Sequence) and len(given) > 0 and all(map(_is_stroke, given))


def _is_stroke(given: object) -> bool:
    if not _is_list(given) or len(given) < 2:
        return False
    return all(
        _is_list(axis) and (not len(axis) or not hasattr(axis[0], "__len__")) for axis in given[:2]
    )


def _is_list(given: object) -> TypeGuard[Sequence[object]]:
    return isinstance(given, Sequence | np.ndarray) and not isinstance(given, str | bytes)


def _framed(drawing: Drawing) -> Image.Image:
    if isinstance(drawing, str | Path):
        return open_drawing(Path(drawing), name=one_line(Path(drawing)))
    return open_drawing(drawing, name="the drawing")


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
    side, keep_shape = photo_side(encoder)
    return None, encoder.photos(read_pixels(Path(photo), side, keep_shape=keep_shape)[None])[0]
