"""A server that is killed: what it keeps names the gallery, and what it has started."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from killed_runs import SECONDS, all_end, end_all, marked, processes_of
from made_photos import make, names, photos
from msedge.cli.background_index import BackgroundIndex
from msedge.search.encoder import OnnxEncoder
from msedge.search.indexing import index
from msedge.search.stores import check_gallery
from photo_files import write_photo

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="looks for processes in /proc"
)

PHOTOS = 12
KILLS, MANY_KILLS = 2, 10
TESTS = Path(__file__).parents[1]
BUILDS = """
import sys, time
from pathlib import Path
from msedge.cli.background_index import BackgroundIndex
with BackgroundIndex(Path(sys.argv[1]), recall=0.9, say=lambda line: print(line, flush=True),
                     least=1, pause=0.1):
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos that are larger than their thumbnails, in a gallery of the shipped model."""
    folder = tmp_path_factory.mktemp("served")
    for number in range(PHOTOS):
        write_photo(folder / f"photos/{number}.jpg", number, size=(640, 480))
    index([folder / "photos"], folder / "g.msedge", OnnxEncoder.load(threads=1))
    return folder / "g.msedge"


@contextmanager
def serving(gallery: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A real server and its address; killed in the end."""
    command = [sys.executable, "-m", "msedge", "serve", "--gallery", str(gallery), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def thumbnails(address: str) -> list[bytes]:
    """All of them, made or found."""
    with httpx.Client(base_url=address, timeout=SECONDS) as client:
        answers = [client.get(f"api/photos/{n + 1}/thumbnail") for n in range(PHOTOS)]
    assert [answer.status_code for answer in answers] == [200] * PHOTOS
    return [answer.content for answer in answers]


class Asking(threading.Thread):
    """Asks for thumbnails until nobody answers any more."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address = address

    def run(self) -> None:
        with suppress(httpx.HTTPError):
            thumbnails(self._address)


def assert_thumbnails_survive(gallery: Path, kills: int) -> None:
    """Kill a server while it makes thumbnails; the next one has the same, from a sound cache."""
    with serving(gallery) as (_, address):
        wanted = thumbnails(address)
    cache = gallery.with_name(gallery.name + ".thumbnails")
    draw = random.Random(int(os.environ.get("MSEDGE_TEST_SEED", "1")))
    for kill in range(kills):
        if kill % 2 == 0:
            cache.unlink(missing_ok=True)
        with serving(gallery) as (process, address):
            askers = [Asking(address) for _ in range(2)]
            for asker in askers:
                asker.start()
            time.sleep(draw.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
            for asker in askers:
                asker.join(SECONDS)
        assert [finding.name for finding in check_gallery(gallery) if finding.is_left] == []
        if cache.exists():
            with closing(sqlite3.connect(cache)) as connection:
                assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
    with serving(gallery) as (process, address):
        assert thumbnails(address) == wanted
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    assert names(gallery.parent) == {gallery.name, cache.name, "photos"}


def test_thumbnails_survive_a_kill(gallery: Path) -> None:
    assert_thumbnails_survive(gallery, KILLS)


@pytest.mark.slow
def test_thumbnails_survive_many_kills(gallery: Path) -> None:
    assert_thumbnails_survive(gallery, MANY_KILLS)


def wait_for(found: object) -> None:
    """Until a function says yes."""
    end = time.monotonic() + SECONDS
    while not found():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


class TestTheBackgroundIndex:
    @pytest.fixture
    def large(self, tmp_path: Path) -> Path:
        """A gallery whose index takes a while."""
        return make(tmp_path / "large.msedge", photos(3000))

    def test_when_its_process_is_killed_the_server_says_so_and_goes_on(
        self, large: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mark = f"builder-{os.getpid()}"
        for name, value in marked(mark).items():
            monkeypatch.setenv(name, value)
        said: list[str] = []
        with BackgroundIndex(large, recall=0.9, say=said.append, least=1, pause=0.1):
            wait_for(lambda: processes_of(mark))
            end_all(mark)
            wait_for(lambda: len(said) == 2)
        assert said[1].startswith("no approximate index: its process was killed (SIGKILL")
        assert "\n" not in said[1]
        assert all_end(mark)

    def test_when_the_server_is_killed_its_process_ends(self, large: Path) -> None:
        mark = f"server-{os.getpid()}"
        with subprocess.Popen(
            [sys.executable, "-c", BUILDS, str(large)], env=marked(mark), stdout=subprocess.PIPE
        ) as server:
            try:
                assert server.stdout is not None
                assert server.stdout.readline().startswith(b"building the approximate index")
                # Late enough for the builder to be an interpreter of its own, not to have ended.
                folder = large.with_name(large.name + ".approximate")
                wait_for(lambda: folder.exists() or len(processes_of(mark)) > 1)
                server.send_signal(signal.SIGKILL)
                server.wait()
                assert all_end(mark)
            finally:
                end_all(mark)
        assert [each.name for each in check_gallery(large) if each.name == "damage"] == []

    def test_when_no_process_can_be_started_the_server_says_so(
        self, large: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        monkeypatch.setattr("msedge.cli.background_index.shutil.which", lambda _: None)
        said: list[str] = []
        with BackgroundIndex(large, recall=0.9, say=said.append, least=1, pause=0.1):
            wait_for(lambda: len(said) == 2)
        assert said[1].startswith("no approximate index: cannot start a process for it")
