"""A real process that changes a gallery is killed, again and again, at random moments."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from lance_galleries import DIM, MODEL, block, kept, made_up
from msedge.search.lance.fragments import write_fragment
from msedge.search.lance.gallery import LanceGallery

KILLS, EACH = 10, 4
LONGEST = 0.4  # seconds of work before a kill; a commit takes some 15 ms
WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from lance_galleries import DIM, block
from msedge.search.lance.fragments import write_fragment
from msedge.search.lance.gallery import LanceGallery

with LanceGallery.open(Path(sys.argv[1]), writable=True) as gallery:
    before = [place.id for place in gallery.places().values()]
    print("begun", flush=True)
    turn = 0
    while True:
        first = gallery.reserve_ids(4)
        print("reserved", first, flush=True)
        numbers = range(first, first + 4)
        fragments = write_fragment(gallery.path, DIM, block(*numbers[:2]))
        fragments += write_fragment(gallery.path, DIM, block(*numbers[2:]))
        gallery.commit(fragments, removing=before)
        print("committed", first, flush=True)
        before = list(numbers)
        turn += 1
        if turn % 5 == 0:
            gallery.compact()
"""


def write_until_killed(path: Path, seconds: float) -> list[str]:
    """What a writer said before it was killed."""
    command = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parents[2])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said = [process.stdout.readline()]
        time.sleep(seconds)
        process.kill()
        return said + process.stdout.readlines()


def test_what_was_committed_is_there_and_nothing_by_halves(tmp_path):
    path = tmp_path / "a.lance"
    LanceGallery.create(path, MODEL).close()
    moments = random.Random(0)
    last, commits = 0, 0
    for _ in range(KILLS):
        said = [line.split() for line in write_until_killed(path, LONGEST * moments.random())]
        assert said[0] == ["begun"]
        reserved = [int(line[1]) for line in said if line[0] == "reserved"]
        committed = [int(line[1]) for line in said if line[0] == "committed"]
        commits += len(committed)
        assert all(first > last for first in reserved)
        with LanceGallery.open(path) as gallery:
            photos = gallery.photos()
        if photos or committed:
            first = photos[0].id
            # The last commit that was said to be done, or the one that was under way.
            assert first in {*reserved[-2:], *committed[-1:], last}
            assert first >= max(committed, default=last)
            numbers = range(first, first + EACH)
            assert photos == [kept(made_up(number), number) for number in numbers]
            last = first
    assert commits > KILLS
    with LanceGallery.open(path, writable=True) as gallery:
        first = gallery.reserve_ids(1)
        assert first > last
        gallery.commit(write_fragment(path, DIM, block(first)))
        assert gallery.count() == EACH + 1
        gallery.compact()
        assert gallery.view().version == gallery.version()
