"""Real processes on one Lance dataset: writers together, a writer killed, servers beside one.

Of the servers, each commit replaces every photo of a folder by photos of the next generation. An
answer that mixes generations, lacks a photo or says something else of one than was put is torn.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from made_photos import MODEL, held, photo, told
from msedge.search.encoder import OnnxEncoder
from msedge.search.photo import Block
from msedge.search.stores.lance.store import SECONDS_BETWEEN_LOOKS, LanceStore
from msedge.search.stores.reports import Model, Watched

BEGIN = f"""
import sys, time
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from made_photos import MODEL, photo
from msedge.search.photo import Block
from msedge.search.stores.lance.store import LanceStore
from msedge.search.stores.reports import Watched

path = Path(sys.argv[1])
"""


@contextmanager
def process(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process, ended in any case."""
    started = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


TOGETHER = """
with LanceStore.open(path, writable=True) as store:
    for turn in range(8):
        first = store.reserve_ids(2)
        store.put_with_ids(Block([first, first + 1], [photo(first), photo(first + 1)]))
        store.change(put=[photo(1000 + turn, f"/shared/{turn}.jpg")])
        print(first, first + 1, flush=True)
"""


def test_writers_together_lose_nothing_and_put_a_path_once(tmp_path):
    path = tmp_path / "a.lance"
    LanceStore.create(path, MODEL).close()
    with ExitStack() as stack:
        writers = [stack.enter_context(process(BEGIN + TOGETHER, path)) for _ in range(3)]
        said = [writer.communicate(timeout=120) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0], said
    given = [int(number) for lines, _ in said for number in lines.split()]
    rows = {row[0]: row[1:] for row in held(path)}
    assert len(given) == len(set(given)) == 3 * 8 * 2
    assert all(rows.pop(number) == told(photo(number)) for number in given)
    shared = [told(photo(1000 + turn, f"/shared/{turn}.jpg")) for turn in range(8)]
    assert sorted(rows.values()) == sorted(shared)


KILLS, EACH = 10, 4
LONGEST = 0.4  # seconds of work before a kill; a commit takes some 15 ms
KILLED = """
with LanceStore.open(path, writable=True) as store:
    before = [place.id for place in store.places().values()]
    print("begun", flush=True)
    turn = 0
    while True:
        first = store.reserve_ids(4)
        print("reserved", first, flush=True)
        numbers = [*range(first, first + 4)]
        written = []
        for some in (numbers[:2], numbers[2:]):
            written += LanceStore.write_apart(path, MODEL.dim, Block(some, [*map(photo, some)]))
        store.commit(written, remove=before)
        print("committed", first, flush=True)
        before = numbers
        turn += 1
        if turn % 5 == 0:
            store.compact(Watched())
"""


def test_of_a_killed_writer_what_was_committed_is_there_and_nothing_by_halves(tmp_path):
    path = tmp_path / "a.lance"
    LanceStore.create(path, MODEL).close()
    moments = random.Random(0)
    last, commits = 0, 0
    for _ in range(KILLS):
        with process(BEGIN + KILLED, path) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "begun\n"
            time.sleep(LONGEST * moments.random())
            writer.kill()
            said = [line.split() for line in writer.stdout.readlines()]
        reserved = [int(line[1]) for line in said if line[0] == "reserved"]
        committed = [int(line[1]) for line in said if line[0] == "committed"]
        commits += len(committed)
        assert all(first > last for first in reserved)
        rows = held(path)
        if rows or committed:
            first = rows[0][0]
            # The last commit that was said to be done, or the one that was under way.
            assert first in {*reserved[-2:], *committed[-1:], last}
            assert first >= max(committed, default=last)
            assert rows == [(n, *told(photo(n))) for n in range(first, first + EACH)]
            last = first
    assert commits > KILLS
    with LanceStore.open(path, writable=True) as store:
        first = store.reserve_ids(1)
        assert first > last
        store.commit(LanceStore.write_apart(path, MODEL.dim, Block([first], [photo(first)])))
        assert store.count() == EACH + 1
        store.compact(Watched())
        assert store.view().version == store.version()


PHOTOS, GENERATIONS = 24, 30
LATE = SECONDS_BETWEEN_LOOKS + 1.0  # seconds; one of them for the query, on a busy machine
SERVER = "from msedge.cli.app import main; main()"
GROWING = """

def made(slot, generation):
    sizes = {"width": 100 + slot, "height": 1000 + generation}
    return photo(1000 * generation + slot, f"/photos/now/{slot}.jpg", dim=dim, **sizes)

photos, generations = int(sys.argv[2]), int(sys.argv[3])
with LanceStore.open(path, writable=True) as store:
    before, dim = [], store.model.dim
    for generation in range(generations):
        first = store.reserve_ids(photos)
        ids = [*range(first, first + photos)]
        new = [made(slot, generation) for slot in range(photos)]
        some = LanceStore.write_apart(path, dim, Block(ids[:5], new[:5]))
        rest = LanceStore.write_apart(path, dim, Block(ids[5:], new[5:]))
        store.commit(some + rest, remove=before)
        print(generation, first, time.monotonic(), flush=True)
        before = ids
        if generation % 7 == 3:
            store.compact(Watched(), kept=timedelta(seconds=3))
        if generation == generations // 2:
            store.build_index(0.95, "auto", Watched())
        time.sleep(0.25)
"""


class Asking(threading.Thread):
    """Asks a server again and again; keeps when it asked and what was answered."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.answers: list[tuple[float, httpx.Response]] = []
        self.failed: Exception | None = None
        self._address = address
        self.enough = threading.Event()

    def run(self) -> None:
        body = {"strokes": [[[0, 9, 9], [0, 0, 9]]], "k": 48, "folder": "/photos/now"}
        try:
            with httpx.Client(base_url=self._address, timeout=20) as client:
                while not self.enough.is_set():
                    asked = time.monotonic()
                    self.answers.append((asked, client.post("api/search", json=body)))
        except Exception as error:
            self.failed = error


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = OnnxEncoder.load(threads=1)
    path = tmp_path_factory.mktemp("served") / "photos.lance"
    LanceStore.create(path, Model(encoder.name, encoder.fingerprint, encoder.dim)).close()
    return path


def test_every_answer_is_of_one_moment_and_new_photos_are_found_within_seconds(served):
    with ExitStack() as stack:
        writer = stack.enter_context(process(BEGIN + GROWING, served, PHOTOS, GENERATIONS))
        assert writer.stdout is not None
        said = [writer.stdout.readline()]  # the first generation is there before a server is
        servers = [
            stack.enter_context(process(SERVER, "serve", "--gallery", served, "--port", "0"))
            for _ in range(2)
        ]
        asking = [Asking(server.stdout.readline().strip()) for server in servers]
        for each in asking:
            each.start()
        rest, wrong = writer.communicate(timeout=50)
        assert (writer.returncode, wrong) == (0, "")
        time.sleep(LATE)
        for each in asking:
            each.enough.set()
        for each in asking:
            each.join()
        assert [server.poll() for server in servers] == [None, None]
    said += rest.splitlines()
    commits = [(int(number), int(first), float(at)) for number, first, at in map(str.split, said)]
    assert len(commits) == GENERATIONS
    for each in asking:
        assert each.failed is None
        assert len(each.answers) > 20
        seen = [generation(asked, answer, commits) for asked, answer in each.answers]
        assert seen == sorted(seen)
        assert len(set(seen)) > 5
        assert seen[-1] == GENERATIONS - 1


def generation(asked: float, answer: httpx.Response, commits: list[tuple[int, int, float]]) -> int:
    """Which one an answer is of, having checked that it is all of that one and no older one."""
    assert answer.status_code == 200, answer.text
    hits = answer.json()["hits"]
    assert [hit["copies"] for hit in hits] == [[]] * len(hits)
    (number,) = {hit["height"] - 1000 for hit in hits}
    first = commits[number][1]
    assert {(hit["id"], hit["name"], hit["width"]) for hit in hits} == {
        (first + slot, f"{slot}.jpg", 100 + slot) for slot in range(PHOTOS)
    }
    assert number >= max(
        known for known, _, at in commits if at < max(asked - LATE, commits[0][2] + 1e-9)
    )
    return number
