"""People at a server, as ``benchmarks/load.py`` plays them: what they ask, and what is right.

One process, asyncio, a connection kept open for each client; answers are read without a library, so
that the client costs little beside the server. Every answer is compared with what it must be.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from msedge.search.gallery import Gallery, Hit
from search import Strokes, as_it_grows

SHOWN = 48
THUMBNAILS, PHOTOS = 8, 2
LIMIT = 60.0
"""Seconds after which an answer counts as one that never came."""
NO_ANSWER = (OSError, EOFError, TimeoutError, KeyError, ValueError)
TOLERANCE = 2e-6  # answers are rounded to six digits


@dataclass(frozen=True, slots=True)
class Question:
    """A request and what its answer must be.

    Attributes:
        route: what its figures are counted under.
        request: all of it, ready to send.
        hits: ids and similarities, for a search.
        digest: of the body, for a photo.
        photos: in the gallery, for a question about that.
    """

    route: str
    request: bytes
    hits: tuple[tuple[int, float], ...] = ()
    digest: bytes | None = None
    photos: int | None = None

    def wrong(self, status: int, kind: str, body: bytes) -> str | None:
        """What is wrong with an answer; None if nothing is."""
        if status != 200:
            return f"status {status}: {body[:200]!r}"
        if self.route == "thumbnail":
            right = kind == "image/jpeg" and body[:2] == b"\xff\xd8" and body[-2:] == b"\xff\xd9"
            return None if right else "no JPEG"
        if self.digest is not None:
            return None if hashlib.blake2b(body).digest() == self.digest else "another file"
        answer = json.loads(body)
        if self.photos is not None:
            return None if answer["photos"] == self.photos else f"{answer['photos']} photos"
        found = [(hit["id"], hit["similarity"]) for hit in answer["hits"]]
        if len(found) != len(self.hits):
            return f"{len(found)} hits"
        for (photo, similarity), (wanted, right_one) in zip(found, self.hits, strict=True):
            near = abs(similarity - right_one) <= TOLERANCE
            tied = any(abs(right_one - s) <= TOLERANCE for p, s in self.hits if p == photo)
            if not near or not (photo == wanted or tied):
                return f"photo {photo} at {similarity} instead of {wanted} at {right_one}"
        return None


def get(target: str) -> bytes:
    """A request for something."""
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(target: str, body: dict[str, object]) -> bytes:
    """A question in JSON."""
    content = json.dumps(body).encode()
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


class Questions:
    """All that is ever asked, with the answers of the same gallery in this process."""

    def __init__(self, gallery: Gallery, drawn: Sequence[Strokes], real: Sequence[Path]) -> None:
        """Answer everything once; ids 1 to ``len(real)`` are those of the real photos."""
        self.seconds: list[float] = []
        self._rng = np.random.default_rng(3)
        self.drawings = [
            [self._search(gallery, "drawing", {"strokes": seen}) for seen in as_it_grows(drawing)]
            for drawing in drawn
        ]
        self.examples = [
            self._search(gallery, "examples", {"like": likes[:2], "unlike": likes[2:]})
            for likes in (self._rng.permutation(len(real))[:3] + 1 for _ in drawn)
        ]
        ids = {photo.path: photo.id for photo in map(gallery.photo, range(1, len(real) + 1))}
        self.thumbnails = [
            Question("thumbnail", get(f"/api/photos/{ids[path]}/thumbnail")) for path in real
        ]
        self.photos = [
            Question(
                "photo",
                get(f"/api/photos/{ids[path]}"),
                digest=hashlib.blake2b(path.read_bytes()).digest(),
            )
            for path in real
        ]
        self.about = Question("gallery", get("/api/gallery"), photos=gallery.photos)

    def _search(self, gallery: Gallery, route: str, asked: dict[str, object]) -> Question:
        asked = {
            name: np.array(v).tolist() if name != "strokes" else v for name, v in asked.items()
        }
        begun = time.perf_counter()
        drawings = [asked["strokes"]] if "strokes" in asked else []
        query = gallery.query(drawings, like=asked.get("like", ()), unlike=asked.get("unlike", ()))  # type: ignore[arg-type]
        hits = gallery.find(query, k=SHOWN)
        self.seconds.append(time.perf_counter() - begun)
        return Question(route, post("/api/search", asked | {"k": SHOWN}), _hits(hits))

    def searches(self, client: int) -> Iterator[Question]:
        """Nothing but searches, without end; each client begins elsewhere."""
        asked = [*(each for drawing in self.drawings for each in drawing), *self.examples]
        start = client * len(asked) // 64
        return islice(cycle(asked), start, None)

    def visit(self, client: int) -> Iterator[Question]:
        """What someone asks who draws, looks, and says what is meant; without end."""
        rng = np.random.default_rng(client)
        yield self.about
        for number in islice(cycle(range(len(self.drawings))), client, None):
            yield from self.drawings[number]
            yield from (
                self.thumbnails[row] for row in rng.integers(len(self.thumbnails), size=THUMBNAILS)
            )
            yield self.examples[number]
            yield from (self.photos[row] for row in rng.integers(len(self.photos), size=PHOTOS))
            yield self.about


def _hits(hits: Sequence[Hit]) -> tuple[tuple[int, float], ...]:
    return tuple((hit.photo.id, hit.similarity) for hit in hits)


@dataclass
class Told:
    """What clients have seen so far.

    Attributes:
        seconds: of each answer, by route.
        wrong: a line for each that was wrong or never came.
        asked: requests that were sent.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)
    asked: int = 0


async def ask(
    port: int, questions: Iterator[Question], told: Told, until: float, most: int
) -> None:
    """One client: asks, checks, and asks on until the time is over or enough was asked by all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for question in questions:
        if time.monotonic() >= until or told.asked >= most:
            break
        told.asked += 1
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(LIMIT):
                status, headers, body = await exchange(reader, writer, question.request)
        except NO_ANSWER as error:
            told.wrong.append(f"{question.route}: {error!r}")
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            continue
        told.seconds[question.route].append(time.perf_counter() - begun)
        wrong = question.wrong(status, headers.get("content-type", ""), body)
        if wrong is not None:
            told.wrong.append(f"{question.route}: {wrong}")
        if headers.get("connection") == "close":
            told.wrong.append(f"{question.route}: the connection was closed")
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, dict[str, str], bytes]:
    """Send a request and read its answer: status, headers by lower-case name, body."""
    writer.write(request)
    status, headers = await _head(reader)
    return status, headers, await reader.readexactly(int(headers["content-length"]))


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}
