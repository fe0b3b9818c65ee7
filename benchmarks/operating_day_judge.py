"""What answers are right while a gallery changes, for ``benchmarks/operating_day.py``.

A state is all that a gallery holds, as it is read after each act. An answer has to be, photo by
photo and similarity by similarity, that of one state, or of some between two where indexing commits
several times.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from load_client import TOLERANCE
from msedge.search.stores import open_store

Disk = dict[str, tuple[int, int]]  # size and time of change, by path


@dataclass(frozen=True, slots=True)
class Entry:
    """A photo as a gallery holds it."""

    path: str
    digest: str
    state: tuple[int, int]
    vector: np.ndarray


@dataclass(frozen=True)
class State:
    """All that a gallery holds."""

    photos: Mapping[int, Entry]
    model: str

    def facts(self) -> dict[int, tuple[str, str]]:
        """Paths and contents by id."""
        return {number: (each.path, each.digest) for number, each in self.photos.items()}

    def folders(self) -> dict[str, int]:
        """How many photos lie in each."""
        return dict(Counter(each.path.rpartition("/")[0] for each in self.photos.values()))


def state_of(path: Path) -> State:
    """Read a gallery."""
    with open_store(path) as store:
        return State(
            {
                number: Entry(
                    str(each.path), each.content_hash, (each.size, each.mtime_ns), unit(each.vector)
                )
                for block in store.blocks()
                for number, each in zip(block.ids, block.photos, strict=True)
            },
            store.model.name,
        )


def unit(vector: np.ndarray) -> np.ndarray:
    """A vector of length 1."""
    double = vector.astype(np.float64)
    return double / np.linalg.norm(double)


def odd_ones(lacks: set[int], foreign: set[int]) -> str:
    """A few ids that an answer should have and has not, and the other way round."""
    some = [f"{len(each)} ({', '.join(map(str, sorted(each)[:5]))})" for each in (lacks, foreign)]
    return f"lacks {some[0]}, has {some[1]} that are not there"


@dataclass
class Window:
    """An act: when it was done, and what may be seen meanwhile."""

    begin: float
    before: State
    disks: list[Disk]
    how: str = "one"  # commit; or "grows" by several, or is made "anew"
    end: float = float("inf")
    after: State = field(default_factory=lambda: State({}, ""))

    def legs(self) -> Iterator[tuple[State, State, bool]]:
        """Pairs of states, and whether there may be some between the two."""
        if self.how == "anew":
            yield self.before, self.before, False
            yield State({}, self.after.model), self.after, True
        else:
            yield self.before, self.after, self.how == "grows"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got."""

    kind: str
    asked: int  # the number of a drawing or photo
    begun: float
    ended: float
    status: int
    headers: dict[str, str]
    body: bytes


class Judge:
    """Says of answers whether they are right."""

    def __init__(self, queries: Mapping[tuple[str, int], np.ndarray]) -> None:
        self._queries = queries  # by model and drawing

    def wrong(self, answer: Answer, window: Window) -> str | None:
        """Why an answer fits nothing that may be seen in a window; None where it does."""
        if answer.kind == "thumbnail":
            return self._wrong_thumbnail(answer, window)
        if answer.status not in (200, 404):
            return f"status {answer.status}: {answer.body[:200]!r}"
        reasons = []
        for before, after, grows in window.legs():
            if answer.status == 404:
                known = [answer.asked in state.photos for state in (before, after)]
                reason = "404" if answer.kind != "similar" or all(known) else None
            elif answer.kind == "gallery":
                reason = self._wrong_gallery(json.loads(answer.body), before, after, grows)
            elif grows:
                reason = self._wrong_between(answer, before, after)
            else:
                reasons_of = [self._wrong_hits(answer, state, state) for state in (before, after)]
                reason = None if None in reasons_of else " | ".join(map(str, reasons_of))
            if reason is None:
                return None
            reasons.append(reason)
        return " || ".join(reasons)

    def _wrong_gallery(
        self, told: dict[str, Any], before: State, after: State, grows: bool
    ) -> str | None:
        folders = {each["folder"]: each["photos"] for each in told["folders"]}
        said = told["model"]["name"], told["photos"], folders
        rights = [(s.model, len(s.photos), s.folders()) for s in (before, after)]
        if said in rights:
            return None
        both = before.photos.keys() & after.photos.keys()
        least, most = len(both), len(before.photos.keys() | after.photos.keys())
        if grows and told["model"]["name"] == after.model and least <= told["photos"] <= most:
            return None if sum(folders.values()) == told["photos"] else f"mixed: {said}"
        return f"says {said}, right were {rights}"

    def _wrong_hits(self, answer: Answer, *states: State) -> str | None:
        """What is wrong with hits that must be all photos of the first state.

        Facts and similarities may be those of any of the states.
        """
        told, state = json.loads(answer.body), states[0]
        ids = [number for hit in told["hits"] for number in (hit["id"], *hit["copies"])]
        if len({*ids}) != len(ids):
            return "a photo stands twice"
        if {*ids} != state.photos.keys():
            return odd_ones(state.photos.keys() - {*ids}, {*ids} - state.photos.keys())
        return self._wrong_facts(answer, told, states)

    def _wrong_facts(
        self, answer: Answer, told: dict[str, Any], states: tuple[State, ...]
    ) -> str | None:
        scores = [hit["score"] for hit in told["hits"]]
        if scores != sorted(scores, reverse=True):
            return "not in order"
        for hit in told["hits"]:
            path = f"{hit['folder']}/{hit['name']}"
            entries = [s.photos[hit["id"]] for s in states if hit["id"] in s.photos]
            rights = [
                float(entry.vector @ query)
                for entry in entries
                if entry.path == path
                for query in self._asked(answer, states)
            ]
            if not any(abs(right - hit["similarity"]) <= TOLERANCE for right in rights):
                return f"photo {hit['id']} is {path} at {hit['similarity']}, right were {rights}"
        return None

    def _asked(self, answer: Answer, states: tuple[State, ...]) -> list[np.ndarray]:
        if answer.kind == "drawing":
            return [self._queries[state.model, answer.asked] for state in states]
        return [s.photos[answer.asked].vector for s in states if answer.asked in s.photos]

    def _wrong_between(self, answer: Answer, before: State, after: State) -> str | None:
        """What is wrong with an answer while indexing commits: what is gone goes at the end."""
        told = json.loads(answer.body)
        ids = {number for hit in told["hits"] for number in (hit["id"], *hit["copies"])}
        lacks = (before.photos.keys() & after.photos.keys()) - ids
        foreign = ids - (before.photos.keys() | after.photos.keys())
        if lacks or foreign:
            return odd_ones(lacks, foreign)
        if not before.photos.keys() <= ids and ids != after.photos.keys():
            return "photos went before all others had come"
        return self._wrong_facts(answer, told, (before, after))

    def _wrong_thumbnail(self, answer: Answer, window: Window) -> str | None:
        right = set()
        for before, after, _ in window.legs():
            for state in (before, after):
                entry = state.photos.get(answer.asked)
                if entry is None:
                    right.add((404, ""))
                    continue
                for disk in window.disks:
                    there = disk.get(entry.path) == entry.state
                    right.add((200, entry.digest) if there else (410, ""))
        digest = answer.headers.get("etag", "").strip('"').partition("-")[0]
        got = (answer.status, digest if answer.status == 200 else "")
        return None if got in right else f"{got} {answer.body[:150]!r}, right were {sorted(right)}"
