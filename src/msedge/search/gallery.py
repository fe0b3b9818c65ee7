"""A gallery as people use it: open it, and search it with what was drawn.

    >>> from msedge.search.gallery import Gallery
    >>> gallery = Gallery.open("photos.msedge")  # doctest: +SKIP
    >>> for hit in gallery.search("drawing.png", k=5):  # doctest: +SKIP
    ...     print(hit.rank, f"{hit.score:.3f}", hit.photo.path)

Tested in ``tests/search/test_gallery.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Self, TypeVar

from msedge.errors import ConfigError, DataError
from msedge.search.encoder import Encoder
from msedge.search.filters import Filters
from msedge.search.locations import whole
from msedge.search.names import Names, Wanted
from msedge.search.photo import Photo
from msedge.search.query import (
    Drawing,
    OwnEncoder,
    Photograph,
    Query,
    drawings_of,
    make_query,
    unknown_photo,
)
from msedge.search.stores import open_store
from msedge.search.stores.reports import Model
from msedge.search.stores.store import (
    MissingGalleryError,
    ReplacedError,
    Store,
    UnreadableError,
    View,
)
from msedge.search.where import Box, box_in

_SECONDS_BETWEEN_NAMES = 0.05

T = TypeVar("T")
ModelOf = Callable[[Store], OwnEncoder]

_TRIES = 3  # at a search whose hits are removed, or whose gallery is replaced, while it runs


@dataclass(frozen=True, slots=True)
class Hit:
    """A photo that was found: its rank from 1, and its cosine similarity in [-1, 1] to the query.

    The score is what it is ranked by: where a drawing was asked, the similarity less half of the
    photo's hubness (:mod:`msedge.models.bank`), else the similarity. The copies are its
    near-duplicates, best first; see :func:`msedge.search.ranking.collapse`.
    """

    rank: int
    similarity: float
    score: float
    photo: Photo
    copies: tuple[Photo, ...] = ()


@dataclass(frozen=True, slots=True)
class _Opened:
    """What lies at the gallery's place, as it was last looked at."""

    store: Store
    encoder: OwnEncoder
    view: View
    changes: int  # how often what lies there was another before


class Gallery:
    """Photos that can be searched. Any number of threads may share one.

    It is what lies at its path: where another gallery takes that place (a backup that is put back,
    a rebuilt or moved one), the next call opens that one, with the model that it names.
    """

    def __init__(self, open_it: Callable[[], Store], model: ModelOf) -> None:
        """Take what opens the store, again as well, and what gives its encoder."""
        self._open_it, self._model_of = open_it, model
        self._reading = Lock()
        self._opened = self._open()
        self.reopened = 0
        """How often another gallery was found in the place."""

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        model: str | Path | Encoder | None = None,
        exact: bool = False,
        threads: int | None = None,
        names: Path | None = None,
    ) -> Self:
        """Open what ``msedge index`` wrote.

        Args:
            path: the gallery's file, or the Lance dataset of a larger one (``photos.lance``,
                ``s3://bucket/photos.lance``).
            model: what turns drawings into vectors: a model's name or file, or an encoder; None
                for the gallery's own. It is loaded when first needed, and must be the one that the
                gallery was made with.
            exact: whether to search exactly, whatever index there is.
            threads: how many work on one drawing; None for the CPUs that this process may use.
            names: the file of one's own names; None for the usual one, see
                :func:`msedge.search.names.own_names_file`.

        Raises:
            DataError: there is no such file, or it is no gallery.
            WeightsError: later, where the model cannot be loaded or is another.
        """
        whole_path = whole(Path(path))
        return cls(
            lambda: open_store(whole_path, exact=exact),
            lambda store: OwnEncoder(store, model, threads=threads, own_names=names),
        )

    @property
    def path(self) -> Path:
        """The gallery's file."""
        return self._opened.store.path

    @property
    def model(self) -> Model:
        """What its vectors were made with."""
        return self._now().store.model

    @property
    def photos(self) -> int:
        """How many photos it holds now."""
        return self._ask(lambda store: store.count())

    @property
    def version(self) -> int:
        """Rises with every change of its photos."""
        return self._ask(lambda store: store.version())

    @property
    def changes(self) -> int:
        """Rises whenever what lies here changes or another gallery takes its place."""
        return self._now().changes

    @property
    def committed(self) -> float | None:
        """When it changed last, in Unix seconds; None where only its object store would know."""
        return self._ask(lambda store: store.committed())

    @property
    def is_shared(self) -> bool:
        """Whether processes on many machines may write it."""
        return self._opened.store.is_shared

    @property
    def encoder(self) -> Encoder:
        """What turns pixels into vectors, loaded when first asked for; see :meth:`open`."""
        return self._now().encoder.get()

    @property
    def names(self) -> Names:
        """What can be asked for by its name: the model's names, and the person's own."""
        return self._now().encoder.names()

    def folders(self) -> list[tuple[Path, int]]:
        """Its folders, and how many photos lie directly in each."""
        return self._ask(lambda store: store.folders())

    def photo(self, photo: int) -> Photo:
        """A photo by its id; raises a DataError where there is none."""
        for found in self._ask(lambda store: store.photos([photo])):
            return found
        raise unknown_photo(photo, self.path)

    def refresh(self) -> bool:
        """Read the photos again, and say whether they changed; :meth:`search` does so by itself.

        Raises:
            DataError: the gallery has gone, or can no longer be read; it is looked for again the
                next time.
        """
        before = self._opened
        return self._now() is not before

    def reload(self) -> None:
        """Open what lies at the path afresh, whether or not it looks the same."""
        with self._reading:
            self._opened = self._open(self._opened)

    def _now(self) -> _Opened:
        """What lies at the path now; an UnreadableError, whatever is wrong with it."""
        try:
            return self._look()
        except UnreadableError:
            raise
        except DataError as error:
            raise UnreadableError(str(error)) from error

    def _look(self) -> _Opened:
        """What lies at the path now; what was known of it where nothing has changed."""
        opened = self._opened
        try:
            if _is_current(opened):
                return opened
            with self._reading:  # else several threads would read the same
                if self._opened is opened:
                    view = opened.store.view(opened.view)
                    self._opened = replace(opened, view=view, changes=opened.changes + 1)
        except ReplacedError:
            with self._reading:
                if self._opened is opened:
                    self._opened = self._open(opened)
                    self.reopened += 1
        return self._opened

    def _open(self, earlier: _Opened | None = None) -> _Opened:
        store = self._open_it()
        try:
            encoder = self._model_of(store)
            if earlier is None:
                return _Opened(store, encoder, store.view(), 0)
            encoder.go_on_with(earlier.encoder)
            return _Opened(store, encoder, store.view(), earlier.changes + 1)
        except BaseException:
            store.close()
            raise

    def _ask(self, question: Callable[[Store], T]) -> T:
        """Ask the store, or the one that has taken its place meanwhile."""
        for _ in range(_TRIES):
            opened = self._now()
            try:
                return question(opened.store)
            except ReplacedError as error:
                last = error
        raise last

    def search(
        self,
        sketch: Drawing | Sequence[Drawing] = (),
        *,
        k: int = 20,
        like: Sequence[Photograph] = (),
        unlike: Sequence[Photograph] = (),
        not_sketch: Drawing | Sequence[Drawing] = (),
        names: Wanted = True,
        not_names: str | Sequence[str] = (),
        filters: Filters | None = None,
        collapse: bool = True,
    ) -> list[Hit]:
        """Find the photos that look like a sketch; :func:`msedge.search.query.combine` says how.

        Args:
            sketch: a drawing or several: the path of a picture, an SVG or a stroke JSON, the bytes
                of one, an image, or strokes; may be left out where ``like`` is given.
            k: hits at most.
            like: photos to be like as well, by id or path.
            unlike: photos to be unlike. Those of the gallery are no hits, nor are their
                near-duplicates.
            not_sketch: drawings to be unlike.
            names: what is drawn, where it is known: a name or several, which will do without a
                drawing; True to be drawn to what it is likely of, where the model knows names;
                False for the drawing alone. See :meth:`msedge.search.names.Names.steer`.
            not_names: a name of what is not drawn, or several.
            filters: which photos count.
            collapse: whether near-duplicates are one hit.

        Returns:
            Hits by falling score, ties by rising id; none of an empty gallery.

        Raises:
            ConfigError: ``k`` is smaller than 1, there is nothing to look for, or a name is not
                known.
            DataError: a drawing or photo cannot be read, or an id is unknown.
            WeightsError: the model cannot be loaded, or is not what the gallery was made with.
        """

        def query() -> Query:
            return self.query(
                sketch,
                like=like,
                unlike=unlike,
                not_sketch=not_sketch,
                names=names,
                not_names=not_names,
            )

        return self.answer(query, k=k, filters=filters, collapse=collapse)[1]

    def answer(
        self,
        make: Callable[[], Query],
        *,
        k: int = 20,
        filters: Filters | None = None,
        collapse: bool = True,
    ) -> tuple[Query, list[Hit]]:
        """A query, made again where the gallery is made anew meanwhile, and what it finds.

        Args:
            make: calls :meth:`query`.
            k: as of :meth:`search`, and so is all else.
            filters: likewise.
            collapse: likewise.
        """
        _check_k(k)
        for _ in range(_TRIES):
            query = make()
            try:
                return query, self.find(query, k=k, filters=filters, collapse=collapse)
            except ReplacedError as error:
                last = error
        raise last

    def similar(
        self,
        photo: Photograph,
        *,
        k: int = 20,
        unlike: Sequence[Photograph] = (),
        filters: Filters | None = None,
        collapse: bool = True,
    ) -> list[Hit]:
        """Find the photos that look like a photo, which comes first where it is in the gallery.

        It is given by its id, or by a path, which need not be in the gallery; all else is as in
        :meth:`search`.
        """
        return self.search(k=k, like=[photo], unlike=unlike, filters=filters, collapse=collapse)

    def query(
        self,
        sketch: Drawing | Sequence[Drawing] = (),
        *,
        like: Sequence[Photograph] = (),
        unlike: Sequence[Photograph] = (),
        not_sketch: Drawing | Sequence[Drawing] = (),
        names: Wanted = True,
        not_names: str | Sequence[str] = (),
    ) -> Query:
        """The first half of :meth:`search`, which embeds what is asked; same arguments."""
        opened = self._now()
        drawn, not_drawn = drawings_of(sketch), drawings_of(not_sketch)
        return make_query(
            opened.view,
            opened.encoder,
            drawn,
            like=like,
            unlike=unlike,
            not_drawings=not_drawn,
            names=names,
            not_names=not_names,
        )

    def find(
        self, query: Query, *, k: int = 20, filters: Filters | None = None, collapse: bool = True
    ) -> list[Hit]:
        """The second half of :meth:`search`, which ranks; same arguments.

        Raises:
            ReplacedError: the gallery was made anew by another model since the query was made.
        """
        _check_k(k)
        if filters is not None and filters.folder is not None:
            filters = replace(filters, folder=whole(filters.folder))
        last: ReplacedError | None = None
        for _ in range(_TRIES):
            opened = self._now()
            _check_model(query, opened.store)
            try:
                found = opened.view.search(
                    query.vector,
                    k,
                    filters=filters,
                    without=query.without,
                    together=collapse,
                    hub_share=query.hub_share,
                )
                ids = [photo for each in found for photo in (each.id, *each.copies)]
                photos = {photo.id: photo for photo in opened.view.photos(ids)}
            except ReplacedError as error:
                last = error
                continue
            if len(photos) == len(ids):
                break
        else:
            if last is not None:
                raise last
        hits: list[Hit] = []
        for each in found:
            if each.id in photos:
                copies = tuple(photos[copy] for copy in each.copies if copy in photos)
                rank, photo = len(hits) + 1, photos[each.id]
                hits.append(Hit(rank, each.similarity, each.score, photo, copies))
        return hits

    def where(
        self,
        photo_ids: Sequence[int],
        sketch: Drawing | Sequence[Drawing] = (),
        *,
        like: Sequence[Photograph] = (),
        unlike: Sequence[Photograph] = (),
        not_sketch: Drawing | Sequence[Drawing] = (),
        names: Wanted = True,
        not_names: str | Sequence[str] = (),
    ) -> dict[int, Box]:
        """Where in photos, such as the hits of a search, what is looked for is.

        Their files are read anew, which takes some ten milliseconds for each.

        Args:
            photo_ids: which photos.
            sketch: as of :meth:`search`, and so is all else.
            like: likewise.
            unlike: likewise.
            not_sketch: likewise.
            names: likewise.
            not_names: likewise.

        Returns:
            A box for each photo whose file is there as it was indexed; none at all where the
            model does not tell places (:attr:`tells_places`).

        Raises:
            ConfigError: there is nothing to look for, or a name is not known.
            DataError: a drawing or a photo to be like cannot be read, or an id of one is unknown.
            WeightsError: the model cannot be loaded, or is not what the gallery was made with.
        """
        for _ in range(_TRIES):
            query = self.query(
                sketch,
                like=like,
                unlike=unlike,
                not_sketch=not_sketch,
                names=names,
                not_names=not_names,
            )
            try:
                return self.boxes(query, photo_ids)
            except ReplacedError as error:
                last = error
        raise last

    def boxes(self, query: Query, photo_ids: Sequence[int]) -> dict[int, Box]:
        """The second half of :meth:`where`, for a query that was made before.

        Raises:
            ReplacedError: the gallery was made anew by another model since the query was made.
        """
        opened = self._now()
        _check_model(query, opened.store)
        encoder = opened.encoder.get()
        if not encoder.photo_sizes:
            return {}
        found = {
            photo.id: box_in(photo, encoder, query.vector)
            for photo in opened.view.photos(list(photo_ids))
        }
        return {photo: box for photo, box in found.items() if box is not None}

    @property
    def tells_places(self) -> bool:
        """Whether the model can tell where in a photo a thing is."""
        return bool(self.encoder.photo_sizes)

    def close(self) -> None:
        """Let go of the files; nothing can be searched afterwards."""
        self._opened.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _is_current(opened: _Opened) -> bool:
    try:
        return opened.store.is_current(opened.view)
    except MissingGalleryError:  # a folder cannot take another's name in one step
        time.sleep(_SECONDS_BETWEEN_NAMES)
        return opened.store.is_current(opened.view)


def _check_model(query: Query, store: Store) -> None:
    if query.model not in ("", store.model.fingerprint):
        raise store.replaced_by(store.model)


def _check_k(k: int) -> None:
    if k < 1:
        raise ConfigError(f"k must be at least 1, got {k}")
