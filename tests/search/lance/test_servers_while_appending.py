"""Two servers answer from one dataset while a third process replaces photos and compacts.

Each commit replaces every photo of a folder by photos of the next generation. An answer that mixes
generations, lacks a photo or says something else of one than was put has been torn.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from msedge.search.gallery_rows import Model
from msedge.search.lance.gallery import SECONDS_BETWEEN_LOOKS, LanceGallery
from msedge.search.onnx_encoder import OnnxEncoder

PHOTOS, GENERATIONS = 24, 30
LATE = SECONDS_BETWEEN_LOOKS + 1.0  # seconds; one of them for the query, on a busy machine
SERVER = "from msedge.cli.app import main; main()"
WRITER = """
import os, sys, time
from datetime import timedelta
from pathlib import Path
import numpy as np
from msedge.search.gallery_rows import NewPhoto
from msedge.search.lance.fragments import write_fragment
from msedge.search.lance.gallery import LanceGallery
from msedge.search.store import Block

path, photos, generations = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
random = np.random.default_rng(0)

def made(slot, generation, dim):
    vector = random.standard_normal(dim)
    return NewPhoto(
        Path(f"/photos/now/{slot}.jpg"), slot, generation, f"{generation:064}", 100 + slot,
        1000 + generation, float(generation), (vector / np.linalg.norm(vector)).astype("f2"),
    )

with LanceGallery.open(path, writable=True) as gallery:
    before = []
    for generation in range(generations):
        first = gallery.reserve_ids(photos)
        ids = list(range(first, first + photos))
        dim = gallery.model.dim
        new = [made(slot, generation, dim) for slot in range(photos)]
        some = write_fragment(path, dim, Block(ids[:5], new[:5]))
        rest = write_fragment(path, dim, Block(ids[5:], new[5:]))
        gallery.commit(some + rest, removing=before)
        print(generation, first, time.monotonic(), flush=True)
        before = ids
        if generation % 7 == 3:
            gallery.compact(kept=timedelta(seconds=3))
        if generation == generations // 2:
            gallery.build_index()
        time.sleep(0.25)
"""


@contextmanager
def process(*command: object) -> Iterator[subprocess.Popen[str]]:
    """A process, ended in any case."""
    started = subprocess.Popen(
        [sys.executable, "-c", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


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
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = OnnxEncoder.load(threads=1)
    path = tmp_path_factory.mktemp("served") / "photos.lance"
    LanceGallery.create(path, Model(encoder.name, encoder.fingerprint, encoder.dim)).close()
    return path


def test_every_answer_is_of_one_moment_and_new_photos_are_found_within_seconds(gallery):
    with ExitStack() as stack:
        writer = stack.enter_context(process(WRITER, gallery, PHOTOS, GENERATIONS))
        assert writer.stdout is not None
        said = [writer.stdout.readline()]  # the first generation is there before a server is
        servers = [
            stack.enter_context(process(SERVER, "serve", "--gallery", gallery, "--port", "0"))
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
