"""A gallery that is served and asked all the time while it is moved, restored, replaced and killed.

Used by ``tests/faults/test_operated_galleries.py``. Everything is a process: the server, the
commands, what is killed. The right answers are computed here, from the vectors of all photos and
the vector of one drawing.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from killed_writers import FEW_A_COMMIT, OTHER_MODEL
from msedge.search.gallery import Gallery
from msedge.search.stores import open_store
from msedge.search.stores.sqlite.connections import ANOTHERS
from photo_files import write_photo
from serve_processes import ENVIRONMENT

MODEL = "msedge-lite"
MODELS = (MODEL, OTHER_MODEL)
STROKES = [([0, 40, 80, 60, 20, 0], [0, 10, 0, 60, 70, 0]), ([10, 70], [30, 35])]
PROMISED = 3.0  # seconds after an act in which a server answers for the new state
SECONDS = 120  # many times what is needed on a busy machine
_FIRST, _MORE, _OTHERS = 20, 20, 15
_CLOSE = 2e-3  # of similarities, which answers round

Shown = Mapping[int, str | None]
"""Photos by id, with their paths; those that are near-duplicates of others have none."""


@dataclass(frozen=True, slots=True)
class State:
    """What a gallery holds."""

    photos: Mapping[int, str]
    model: str = MODEL

    def allows(self, shown: Shown, model: str) -> bool:
        """Whether an answer is right for it."""
        return (
            model == self.model
            and shown.keys() == self.photos.keys()
            and all(path in (None, self.photos[number]) for number, path in shown.items())
        )


@dataclass(frozen=True, slots=True)
class Growing:
    """A state to which some photos are added, in any number of commits."""

    begun: State
    more: frozenset[str]

    def allows(self, shown: Shown, model: str) -> bool:
        """Whether an answer is right for it, or for some of the commits."""
        old, new = self.begun.photos, {n: p for n, p in shown.items() if n not in self.begun.photos}
        paths = [path for path in new.values() if path is not None]
        return (
            self.begun.allows({n: p for n, p in shown.items() if n in old}, model)
            and len(new) <= len(self.more)
            and len(set(paths)) == len(paths)
            and self.more.issuperset(paths)
        )


Allowed = State | Growing


def state_of(path: Path) -> State:
    """What a gallery holds, read by the package; each path stands there once."""
    with closing(open_store(path)) as store:
        photos = {photo.id: str(photo.path) for photo in store.photos()}
        assert len(set(photos.values())) == len(photos), "a photo is there twice"
        assert store.count() == len(photos)
        return State(photos, store.model.name)


@dataclass(frozen=True, slots=True)
class World:
    """Photos, galleries of them to begin with, and what a drawing is like each of them."""

    folder: Path
    similar: Mapping[str, Mapping[str, float]]  # by model, and by the photo's name

    def photos(self, name: str) -> Path:
        """A folder of photos: ``first``, ``more`` or ``others``."""
        return self.folder / "photos" / name

    def paths(self, name: str) -> frozenset[str]:
        """Those in such a folder."""
        return frozenset(str(path) for path in self.photos(name).rglob("*.jpg"))

    def gallery(self, name: str, suffix: str = ".msedge") -> Path:
        """The gallery of the photos of a folder, which is only copied."""
        return self.folder / f"{name}{suffix}"


def make_world(folder: Path) -> World:
    """Write photos, index them, and compute what a drawing is like them."""
    for name, count, seed in (("first", _FIRST, 0), ("more", _MORE, 100), ("others", _OTHERS, 200)):
        for number in range(count):
            path = folder / "photos" / name / f"{number % 3}" / f"{name}-{number}.jpg"
            write_photo(path, seed + number)
    world = World(folder, {})
    for name in ("first", "others"):
        command("index", world.photos(name), "--gallery", world.gallery(name))
        command("gallery", "copy", world.gallery(name), world.gallery(name, ".lance"))
    similar = {}
    for model in MODELS:
        path = world.gallery(f"all-{model}")
        command("index", folder / "photos", "--gallery", path, "--model", model)
        with Gallery.open(path, threads=1) as gallery, open_store(path) as store:
            query = gallery.query(STROKES).vector
            ((_, photos),) = store.blocks()
        similar[model] = {
            photo.path.name: float(_unit(photo.vector.astype(np.float64)) @ _unit(query))
            for photo in photos
        }
    return World(folder, similar)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


# Processes


def started(*arguments: object, few: bool = False, **options: Any) -> subprocess.Popen[str]:
    """``msedge`` as a process; an indexer may commit every fourth photo."""
    program = ("-c", FEW_A_COMMIT) if few else ("-m", "msedge")
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    words = [sys.executable, *program, *map(str, arguments)]
    environment = ENVIRONMENT | {"COLUMNS": "400"}
    return subprocess.Popen(words, text=True, env=environment, **(pipes | options))


def command(*arguments: object, status: int = 0, few: bool = False) -> tuple[str, str]:
    """Run ``msedge`` to its end; what it says on standard output and on standard error."""
    with started(*arguments, few=few) as process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert process.returncode == status, f"{arguments}: status {process.returncode}\n{out}{err}"
    assert "Traceback" not in err
    return out, err


def killed(draw: random.Random, folder: Path, *arguments: object, few: bool = False) -> bool:
    """Kill ``msedge`` at a moment, or right after a change in a folder; whether it was in time."""
    changes = draw.randint(1, 6) if draw.random() < 0.8 else None
    moment, pause = draw.uniform(0.5, 2.5), draw.choice([0.0, draw.uniform(0, 0.02)])
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with started(*arguments, few=few, **quiet) as process:
        begun, seen, count = time.monotonic(), _written(folder), 0
        while process.poll() is None:
            now = _written(folder)
            count, seen = count + (now != seen), now
            late = time.monotonic() - begun
            if count >= changes if changes else late >= moment:
                time.sleep(pause)
                break
            assert late < SECONDS
            time.sleep(0.001)
        process.kill()
    assert process.returncode in (0, -signal.SIGKILL), arguments
    return process.returncode != 0


def _written(folder: Path) -> dict[str, tuple[int, int]]:
    """What a writer changes in a folder: readers make empty logs, and what they share."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                status = entry.stat()
                if status.st_size and not entry.name.endswith(("-shm", ".thumbnails", ".txt")):
                    found[entry.name] = status.st_size, status.st_mtime_ns
    return found


@contextmanager
def served(gallery: Path | str, log: Path, **environment: str) -> Iterator[httpx.URL]:
    """A server's address; it lives until the end, ends well, and writes no traceback."""
    with log.open("w") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "msedge", "serve", "--gallery", str(gallery), "--port", "0"],
            stdout=subprocess.PIPE, stderr=words, text=True, env=ENVIRONMENT | environment,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, log.read_text()
        yield httpx.URL(address)
        assert process.poll() is None, log.read_text()
        process.terminate()
        assert process.wait(SECONDS) == 0, log.read_text()
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.kill()
        process.wait()


# Asking


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered to a search."""

    status: int
    shown: Shown
    model: str  # empty where the similarities are of none
    searched: int  # photos in the gallery, which may be more already
    detail: str
    ended: float


def search(client: httpx.Client, similar: Mapping[str, Mapping[str, float]]) -> Answer:
    """Ask for all photos by the drawing."""
    answer = client.post("api/search", json={"strokes": STROKES, "k": 100})
    ended, body = time.monotonic(), answer.json()
    if answer.status_code != 200:
        return Answer(answer.status_code, {}, "", 0, str(body["detail"]), ended)
    hits = body["hits"]
    shown: dict[int, str | None] = {hit["id"]: f"{hit['folder']}/{hit['name']}" for hit in hits}
    copies = [copy for hit in hits for copy in hit["copies"]]
    assert len(shown) + len(copies) == len({*shown, *copies}), body
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    found = [(hit["name"], hit["similarity"]) for hit in hits]
    model = next(
        (m for m, known in similar.items() if all(abs(known[n] - s) < _CLOSE for n, s in found)), ""
    )
    return Answer(200, shown | dict.fromkeys(copies), model, body["searched"], "", ended)


class Asking(threading.Thread):
    """Searches all the time; keeps each answer until it is judged."""

    def __init__(self, address: httpx.URL, world: World) -> None:
        super().__init__(daemon=True)
        self._address, self._world = address, world
        self._answers: list[Answer] = []
        self._ends = threading.Event()
        self.broken: Exception | None = None

    def run(self) -> None:
        try:
            with httpx.Client(base_url=self._address, timeout=SECONDS) as client:
                while not self._ends.wait(0.1):
                    self._answers.append(search(client, self._world.similar))
        except Exception as error:  # told by who judges
            self.broken = error

    def taken(self) -> list[Answer]:
        """The answers since they were last taken."""
        assert self.broken is None, self.broken
        answers, self._answers = self._answers, []
        return answers

    def end(self) -> None:
        """Stop asking."""
        self._ends.set()
        self.join(SECONDS)


@dataclass(slots=True)
class Tally:
    """What came of an act."""

    name: str
    rounds: int = 0
    kills: int = 0
    answers: int = 0
    refused: int = 0
    delays: list[float] = field(default_factory=list)  # to the first answer for a new state

    @property
    def usual(self) -> float:
        """The median of the delays: a busy machine makes some of them long."""
        return statistics.median(self.delays) if self.delays else 0.0

    def line(self) -> str:
        """The figures, for people."""
        return (
            f"{self.name:24} {self.rounds:3} rounds, {self.kills:3} kills; {self.answers:6} "
            f"answers right, {self.refused:5} of 503; new state after {self.usual:.1f} s, at most "
            f"{max(self.delays, default=0):.1f} s"
        )


class Operated:
    """A gallery in a folder of its own, with a server that is asked all the time."""

    def __init__(self, world: World, gallery: Path, address: httpx.URL, tally: Tally) -> None:
        self.world, self.gallery, self.folder, self.tally = world, gallery, gallery.parent, tally
        self.draw = random.Random()
        self.state = state_of(self.gallery)
        self._client = httpx.Client(base_url=address, timeout=SECONDS)
        self._asking = [Asking(address, world) for _ in range(2)]
        for each in self._asking:
            each.start()

    def close(self) -> None:
        """Stop asking."""
        for each in self._asking:
            each.end()
        self._client.close()

    def killed(self, *arguments: object, few: bool = False) -> bool:
        """Kill a command at a moment; whether that was in time."""
        was = killed(self.draw, self.folder, *arguments, few=few)
        self.tally.kills += was
        return was

    def index_more(self) -> Growing:
        """Index more photos, half of the times killed at it; what may be there then."""
        photos = (self.world.photos("first"), self.world.photos("more"))
        words = ("index", *photos, "--gallery", self.gallery)
        if self.draw.random() < 0.5:
            self.killed(*words, few=True)
        else:
            command(*words, few=True)
        return Growing(self.state, self.world.paths("more"))

    def ask(self) -> Answer:
        """A search, just now."""
        return search(self._client, self.world.similar)

    def seen(self) -> Answer:
        """What the server shows just now, which it can."""
        answer = self.ask()
        assert answer.status == 200, answer.detail
        return answer

    def becomes(self, *allowed: Allowed, meanwhile: Allowed | None = None) -> State:
        """The gallery is in one of these states, and in time the server answers for it alone.

        All that it answered since the last act was right for the state before or one of these, or
        for one in between; or was refused with a reason.
        """
        begun = time.monotonic()
        now = state_of(self.gallery)
        assert any(each.allows(now.photos, now.model) for each in allowed), (now, allowed)
        while True:
            answer = self.ask()
            if answer.status == 200 and now.allows(answer.shown, answer.model):
                assert answer.searched == len(now.photos)
                break
            assert time.monotonic() < begun + 10 * PROMISED, f"still {answer}, not {now}"
            time.sleep(0.05)
        self.tally.delays.append(answer.ended - begun)
        self.judge(self.state, *allowed, *([meanwhile] if meanwhile else []))
        self.state = now
        return now

    def judge(self, *allowed: Allowed) -> None:
        """Hold all answers since the last act against what was right then."""
        for answer in [each for asking in self._asking for each in asking.taken()]:
            if answer.status == 503:
                assert answer.detail
                self.tally.refused += 1
            else:
                assert answer.status == 200, answer
                assert any(a.allows(answer.shown, answer.model) for a in allowed), (answer, allowed)
                self.tally.answers += 1

    def begin_again(self) -> None:
        """Put the first gallery back by a plain copy that takes the place."""
        first = self.world.gallery("first", self.gallery.suffix)
        shutil.copyfile(first, self.folder / "again")
        (self.folder / "again").replace(self.gallery)
        self.becomes(state_of(first))
        for each in self.folder.iterdir():
            if ANOTHERS in each.name:
                each.unlink()


def is_sound(path: Path) -> None:
    """SQLite and ``msedge gallery check`` find nothing wrong with a gallery."""
    out, _ = command("gallery", "check", path)
    assert "is sound" in out or "another process is writing" in out, out
    if path.is_file():
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def logs_aside(folder: Path) -> list[Path]:
    """Logs that were put aside."""
    return [each for each in folder.iterdir() if ANOTHERS in each.name]


Act = Callable[[Operated], None]


def run_act(act: Act, world: World, folder: Path, rounds: int, seed: int, kind: str) -> Tally:
    """Do an act so many times before the eyes of one server, which is never started again."""
    folder.mkdir()
    gallery, tally = folder / f"g{kind}", Tally(act.__name__.replace("_", " "))
    first = world.gallery("first", kind)
    (shutil.copytree if first.is_dir() else shutil.copyfile)(first, gallery)
    with (
        served(gallery, folder / "server.txt") as address,
        closing(Operated(world, gallery, address, tally)) as operated,
    ):
        for number in range(rounds):
            operated.draw = random.Random(f"{tally.name} {seed} {number}")
            try:
                act(operated)
            except AssertionError as error:
                told = json.dumps(sorted(each.name for each in folder.iterdir()))
                error.add_note(f"{tally.name}, seed {seed}, round {number}; there: {told}")
                raise
            tally.rounds += 1
    return tally
