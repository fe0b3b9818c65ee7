"""What things are called: the names that a model knows and a person's own, and how they steer.

People mostly draw things that have names. A model's bank (:mod:`msedge.models.bank`) holds for
each name the mean vector of drawings of the thing, and of photos of it. How near a drawing is to
the first says how likely each name is; the second, so weighted, is added to the drawing's vector.
A name that a person gives is certain, and enough to search by. A person's own names lie in a file
of a bank's form, one for each model. Evaluation and training never ask for names. Tested in
``tests/search/test_names.py``.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from msedge.data.class_names import squeeze
from msedge.errors import ConfigError, WeightsError
from msedge.quoting import named, plain, quoted
from msedge.search.ranking import Embeddings

if TYPE_CHECKING:
    from msedge.models.bank import Bank, Name

WEIGHT = 1.5
"""Of the mean photo vectors of what a drawing is likely of, beside 1 for the drawing's own.

On everyday scenes weights from 0.5 to 5 did about as well as each other.
"""

TEMPERATURE = 0.03
"""Of the softmax over cosines that makes likelihoods of them."""

CONFIDENCE = 3
"""Power of the greatest likelihood that a guess is weighted by beside :data:`WEIGHT`. It costs what
has a name half a point, and spares what has none a half of its loss; ``docs/results.md``."""

MOST_TOLD, LEAST_TOLD = 5, 0.005
"""Names of a drawing that people are told, and how likely one is at least."""

VARIABLE = "MSEDGE_NAMES"
"""Environment variable that names the file of a person's own names."""

Wanted: TypeAlias = bool | str | Sequence[str]
"""True for what a drawing is likely of, False for the drawing alone; or names of what it is."""

Likelihoods = npt.NDArray[np.float64]
_NEAREST = 3  # names that an unknown one may have been meant as


@dataclass(frozen=True, slots=True)
class Likely:
    """A name for what was drawn: its likelihood in [0, 1], which is 1 where a person settled it."""

    name: str
    likelihood: float
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """A name that can be asked by: whether drawings and photos of it are known, and whose it is."""

    name: str
    synonyms: tuple[str, ...]
    drawings: bool
    photos: bool
    own: bool  # a person's, at least in part


@dataclass(frozen=True, slots=True)
class Steered:
    """What becomes of drawings by their names.

    Attributes:
        wanted: unit vectors ``(n, dim)``, one a drawing; without drawings one a settled name.
        told: the settled names, then what the drawings are likely of.
    """

    wanted: list[Embeddings]
    told: tuple[Likely, ...] = ()


class UnknownNameError(ConfigError):
    """A name that neither the model nor the person knows, or that means several things."""


class Names:
    """The names of a model and of a person, who has the last word on what is meant by one.

    Where both know a name, the person's drawings and photos of it take the place of the model's.
    Only a model that knows names of drawings guesses: of a few own names alone, one would always
    be likely.
    """

    def __init__(self, bank: Bank | None = None, own: Bank | None = None) -> None:
        """Take what the model knows, and what the person does."""
        self._known: list[Known] = []
        self._places: dict[str, list[int]] = {}  # by key, of names; then of synonyms
        drawings: list[Embeddings] = []
        photos: list[Embeddings] = []
        for each, of_drawings, of_photos, is_own in (
            *_rows(bank, own=False),
            *_rows(own, own=True),
        ):
            place = self._places.get(key_of(each.name), [len(self._known)])[0]
            if place == len(self._known):
                self._places[key_of(each.name)] = [place]
                self._known.append(Known(each.name, each.synonyms, False, False, is_own))
                drawings.append(of_drawings)
                photos.append(of_photos)
            else:
                drawings[place] = of_drawings if of_drawings.any() else drawings[place]
                photos[place] = of_photos if of_photos.any() else photos[place]
            earlier = self._known[place]
            self._known[place] = Known(
                earlier.name,
                tuple(dict.fromkeys((*earlier.synonyms, *each.synonyms))),
                drawings=bool(drawings[place].any()),
                photos=bool(photos[place].any()),
                own=earlier.own or is_own,
            )
        self._drawings = np.array(drawings, np.float64)
        self._photos = np.array(photos, np.float64)
        self._guesses = bank is not None and bool(bank.name_drawings.any())
        for words in (own, bank):
            taken = set(self._places)  # by a name, or a person's synonym, which is meant then
            for each in words.names if words is not None else ():
                (place,) = self._places[key_of(each.name)]
                for synonym in each.synonyms:
                    if (key := key_of(synonym)) not in taken:
                        places = self._places.setdefault(key, [])
                        places += [place] * (place not in places)

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Known]:
        """All names, by name."""
        return iter(sorted(self._known, key=lambda known: (key_of(known.name), known.name)))

    def find(self, word: str) -> Known:
        """What a word means: a name or a synonym, whatever its case, spaces and underscores.

        Raises:
            UnknownNameError: it is no name, or a synonym of several; the message says what is near.
        """
        return self._known[self._find(word)]

    def near(self, word: str, most: int = _NEAREST) -> list[Known]:
        """The names that an unknown word may have been meant as, the likeliest first."""
        keys = difflib.get_close_matches(key_of(word), self._places, n=most)
        places = dict.fromkeys(place for key in keys for place in self._places[key])
        return [self._known[place] for place in places][:most]

    def complete(self, text: str, most: int = 20) -> list[Known]:
        """The names that begin with a text, or have a synonym or a word that does; best first."""
        key = key_of(text)

        def rank(known: Known) -> int | None:
            called = [known.name, *known.synonyms]
            keys = [key_of(each) for each in called]
            words = [key_of(word) for each in called for word in each.split()]
            tries = (
                key in keys,
                keys[0].startswith(key),
                any(each.startswith(key) for each in (*keys, *words)),
                any(key in each for each in keys),
            )
            return next((place for place, holds in enumerate(tries) if holds), None)

        ranked = [(rank(known), known) for known in self]
        fitting = [(place, known) for place, known in ranked if place is not None]
        return [known for _, known in sorted(fitting, key=lambda pair: pair[0])][:most]

    def likelihoods(self, drawing: Embeddings, unlike: Sequence[str] = ()) -> Likelihoods:
        """How likely a drawing is of each name, ``(K,)``: they sum to 1, or all are 0.

        It is the softmax, at :data:`TEMPERATURE`, of its cosines to the names' mean drawings. What
        it is not (``unlike``) has likelihood 0, and the others take its share.

        Args:
            drawing: a unit vector ``(dim,)``.
            unlike: names.
        """
        possible = np.array([known.drawings for known in self._known], bool)
        possible[[self._find(word) for word in unlike]] = False
        if not (self._guesses and possible.any()):
            return np.zeros(len(self))
        cosines = self._drawings @ drawing.astype(np.float64)
        powers = np.where(possible, np.exp((cosines - cosines[possible].max()) / TEMPERATURE), 0.0)
        return powers / powers.sum()  # type: ignore[no-any-return]

    def steer(
        self,
        drawings: Sequence[Embeddings],
        wanted: Wanted = True,
        unlike: str | Sequence[str] = (),
    ) -> Steered:
        """Draw a query to what its drawings are likely of, or to what a person says they are.

        A drawing ``q`` becomes ``q + 1.5 max(p)^3 sum_i p_i photos_i``, at length 1, where
        ``photos_i`` is the mean vector of photos of name i, zeros where none are known, and ``p_i``
        its likelihood for the mean of all drawings. What a person settles has ``p`` 1, shared where
        it is several names (then without the power), and nothing else has any; where it has no
        photos its drawings stand for them.

        Args:
            drawings: unit vectors ``(dim,)`` of one thing.
            wanted: as of :data:`Wanted`.
            unlike: a name of what it is not, or several.

        Raises:
            UnknownNameError: a name is not known.
            ConfigError: a name is both wanted and not, or names are given and switched off.
        """
        words = [wanted] if isinstance(wanted, str) else wanted
        settled = list(dict.fromkeys(map(self._find, words))) if not isinstance(words, bool) else []
        unlike = [unlike] if isinstance(unlike, str) else unlike
        shunned = [self._find(word) for word in unlike]
        for place in {*settled} & {*shunned}:
            name = plain(self._known[place].name)
            raise ConfigError(f"{name} is both what is wanted and what is not: leave one out")
        if wanted is False:
            if shunned:
                raise ConfigError(
                    "names are switched off, so that none can be taken out: do either"
                )
            return Steered(list(drawings))
        if not (drawings or settled):
            return Steered([])
        guessed = np.zeros(len(self))
        if drawings:
            guessed = self.likelihoods(_unit(np.mean(drawings, axis=0, dtype=np.float64)), unlike)
        told = tuple(Likely(self._known[place].name, 1.0, settled=True) for place in settled)
        told += self._told(guessed, settled)
        if settled:
            stands = [
                self._photos[p] if self._known[p].photos else self._drawings[p] for p in settled
            ]
            if not drawings:
                return Steered([_unit(each) for each in stands], told)
            added = np.mean(stands, axis=0)
        elif guessed.any():
            added = guessed.max() ** CONFIDENCE * (guessed @ self._photos)
        else:  # to the last bit as without names
            return Steered(list(drawings))
        return Steered([_unit(each + WEIGHT * added) for each in drawings], told)

    def _told(self, likelihoods: Likelihoods, settled: Sequence[int]) -> tuple[Likely, ...]:
        order = [place for place in np.argsort(-likelihoods, kind="stable") if place not in settled]
        return tuple(
            Likely(self._known[place].name, float(likelihoods[place]))
            for place in order[:MOST_TOLD]
            if likelihoods[place] > LEAST_TOLD
        )

    def _find(self, word: str) -> int:
        places = self._places.get(key_of(word), [])
        if len(places) == 1:
            return places[0]
        if not self._known:
            raise UnknownNameError(
                f"no name {quoted(word)}: this model knows none; search by a drawing, or add your "
                "own with `msedge names add`"
            )
        if places:
            several = " or ".join(plain(self._known[place].name) for place in places)
            raise UnknownNameError(f"{quoted(word)} has several meanings: say {several}")
        near = " or ".join(plain(known.name) for known in self.near(word))
        hint = f"did you mean {near}?" if near else "`msedge names` lists those that are"
        raise UnknownNameError(f"no name {quoted(word)} is known: {hint}")


def key_of(word: str) -> str:
    """What a word is compared by: its letters and digits, or itself where it has none.

    >>> key_of("Grand_Piano") == key_of("grand piano")
    True
    """
    return squeeze(word) or word.strip().casefold()


def own_names_file(model: str, given: Path | None = None) -> Path:
    """Where a person's own names for a model lie, whether there are any or not.

    Args:
        model: its identity, see :func:`msedge.models.bank.identity_of`.
        given: a file that the person named; None for that of the environment variable
            :data:`VARIABLE`, else one in the user's data directory.
    """
    if given is not None:
        return given
    if told := os.environ.get(VARIABLE):
        return Path(told)
    data = os.environ.get("XDG_DATA_HOME", "")
    # The specification has paths that are not absolute passed over.
    if not Path(data).is_absolute():
        # Not Path.home, which fails where nobody knows of one: then there are no own names.
        data = os.path.expanduser("~/.local/share")  # noqa: PTH111
    return Path(data) / "msedge" / "names" / f"{model[:16]}.safetensors"


def read_own_names(path: Path, model: str, dim: int, *, must_be: bool = False) -> Bank | None:
    """A person's own names; None where there are none yet.

    Raises:
        WeightsError: the file is damaged, or was made for another model; or it must be there, and
            is not.
    """
    from msedge.models.bank import read_bank

    if not os.path.exists(path):  # noqa: PTH110 (false where nobody may look)
        if must_be:
            raise WeightsError(f"no names at {named(path)}: make them with `msedge names add`")
        return None
    own = read_bank(path)
    if (own.model, own.dim) != (model, dim):
        raise WeightsError(
            f"the names in {named(path)} were made for another model: name another file with "
            "--names, or add them anew there"
        )
    return own


def _rows(bank: Bank | None, *, own: bool) -> Iterator[tuple[Name, Embeddings, Embeddings, bool]]:
    if bank is not None:
        wide = bank.name_drawings.astype(np.float32), bank.name_photos.astype(np.float32)
        for name, drawings, photos in zip(bank.names, *wide, strict=True):
            yield name, drawings, photos, own


def _unit(vector: npt.NDArray[np.floating]) -> Embeddings:
    length = float(np.linalg.norm(vector))
    return (vector / max(length, 1e-12)).astype(np.float32)
