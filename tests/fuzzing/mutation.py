"""Documents made out of others: a value put in place of another, a part left out, repeated, nested.

All chance comes from a ``random.Random`` that is given, so that hypothesis and a campaign's own
numbers lead it alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

Document = Any
"""Dictionaries, lists, texts, numbers, truths and None, as JSON has them."""

ODD: tuple[Document, ...] = (
    None, True, False, 0, -1, 1, 7, 1.5, -0.0, 1e308, -1e-320, float("inf"), float("nan"),
    2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400, "", " ", "a", "a\nb", "a\0b",
    "\ud800", "\u202e", "\x1b[31m", "\x85", "a" * 5_000, "../../a", "/etc/passwd", "nan", "1", "-1",
    "1e999", "NO", "2020-99-99", "é" * 300, "[[", "{}", [], {}, [[]], {"": ""}, [None], [[], []],
    {"a": {"a": {"a": {}}}}, list(range(40)), ["a", 1, None], {"\n": 1}, "[1, 2]", "https://[",
)  # fmt: skip

_DEEP = 400


def mutated(document: Document, random: Random, names: Sequence[str] = ()) -> Document:
    """A copy with one to three changes.

    Args:
        document: left as it is.
        random: all that is left to chance.
        names: what keys may be called, beside those that there are.
    """
    for _ in range(random.randint(1, 3)):
        places = list(_places(document))
        place = random.choice(places)
        document = _changed(document, place, random, [*names, *_keys(document)], places)
    return document


def mutated_bytes(content: bytes, random: Random, words: Sequence[bytes] = ()) -> bytes:
    """Some bytes with one to four changes: cut, turned over, repeated, moved, a word put in."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 4)):
        at, length = random.randint(0, len(changed)), random.choice((1, 1, 2, 4, 16, 256))
        how = random.randrange(7)
        if how == 0:
            del changed[at : at + length]
        elif how == 1:
            del changed[at:]
        elif how == 2:
            changed[at:at] = changed[at : at + length] * random.randint(1, 40)
        elif how == 3 and words:
            changed[at:at] = random.choice(words)
        elif how == 4:
            changed[at : at + length] = random.randbytes(length)
        elif how == 5 and at < len(changed):
            changed[at] ^= 1 << random.randrange(8)
        else:
            other = random.randint(0, len(changed))
            changed[at:at] = changed[other : other + length]
    return bytes(changed)


Place = tuple[Any, ...]


def _places(document: Document, here: Place = ()) -> Any:
    """Every place in a document, as the keys and positions that lead to it."""
    yield here
    if len(here) > 20:
        return
    if isinstance(document, dict):
        for key in document:
            yield from _places(document[key], (*here, key))
    elif isinstance(document, list):
        for position in range(min(len(document), 50)):
            yield from _places(document[position], (*here, position))


def _keys(document: Document) -> list[str]:
    return [str(place[-1]) for place in _places(document) if place and isinstance(place[-1], str)]


def _at(document: Document, place: Place) -> Document:
    for step in place:
        document = document[step]
    return document


def _put(document: Document, place: Place, value: Document) -> Document:
    """A copy of a document that holds another value in a place."""
    if not place:
        return value
    first, rest = place[0], place[1:]
    if isinstance(document, dict):
        return {k: _put(v, rest, value) if k == first else v for k, v in document.items()}
    return [_put(v, rest, value) if i == first else v for i, v in enumerate(document)]


def _changed(
    document: Document, place: Place, random: Random, names: Sequence[str], places: Sequence[Place]
) -> Document:
    value = _at(document, place)
    how = random.randrange(7)
    if how == 0 and isinstance(value, dict):
        return _put(document, place, _renamed(value, random, names))
    if how == 1 and isinstance(value, list) and value:
        return _put(document, place, _shuffled(value, random))
    if how == 2:
        return _put(document, place, _nested(value, random))
    if how == 3:
        return _put(document, place, _at(document, random.choice(places)))
    if how == 4 and isinstance(value, dict):
        added = {**value, random.choice([*names, "new"]): random.choice(ODD)}
        return _put(document, place, added)
    if how == 5 and isinstance(value, str):
        return _put(document, place, _rewritten(value, random))
    return _put(document, place, random.choice(ODD))


def _renamed(value: dict[str, Document], random: Random, names: Sequence[str]) -> Document:
    if not value:
        return value
    old, new = random.choice([*value]), random.choice([*names, "", "a\nb", "a" * 3_000, "\ud800"])
    kept = {new if key == old else key: held for key, held in value.items()}
    if random.random() < 0.5:
        kept.pop(new, None)
    return kept


def _shuffled(value: list[Document], random: Random) -> Document:
    how = random.randrange(3)
    if how == 0:
        return value[: random.randrange(len(value))]
    if how == 1:
        return value * random.choice((2, 10, 100))
    return random.sample(value, len(value))


def _nested(value: Document, random: Random) -> Document:
    for _ in range(random.choice((1, 2, _DEEP))):
        value = [value] if random.random() < 0.5 else {"a": value}
    return value


def _rewritten(value: str, random: Random) -> str:
    """A text with something put in; where it is JSON itself, as metadata are, with a change in."""
    if value[:1] in ("[", "{"):
        try:
            return json.dumps(mutated(json.loads(value), random))
        except (ValueError, RecursionError):
            pass
    at = random.randint(0, len(value))
    odd = random.choice([one for one in ODD if isinstance(one, str)])
    return value[:at] + odd + value[at:]
