"""The ordinary acts of who runs a gallery, while it is served: nothing is lost, doubled or ruined.

It is moved, restored, replaced, made anew, rebuilt, rerooted and checked, by commands that are
killed at moments drawn at random, before a server that is asked all the time and never started
again. The campaign: ``pytest -m slow tests/faults/test_operated_galleries.py``; it prints its
counts. ``MSEDGE_TEST_SEED`` draws other moments.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from object_store import BUCKET, folder_as_bucket
from operated_galleries import (
    MODEL,
    OTHER_MODEL,
    PROMISED,
    SECONDS,
    Act,
    Answer,
    Growing,
    Operated,
    State,
    Tally,
    World,
    command,
    is_sound,
    logs_aside,
    make_world,
    run_act,
    search,
    served,
    started,
    state_of,
)

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="files that are open cannot be replaced"
)

SEED = int(os.environ.get("MSEDGE_TEST_SEED", "1"))
FEW, MANY = 1, 20
UPDATE = "update msedge"
TO_BE_LATE = 2.0  # seconds that an answer may be late on a busy machine
NEWER = """
import dataclasses, sys
from pathlib import Path
from msedge.search.stores import open_store
from msedge.search.stores.sqlite import file
file.SCHEMA_VERSION += 1
file._LATER[file.SCHEMA_VERSION - file.CHANGES_KNOWN] = "mood TEXT NOT NULL DEFAULT 'calm'"
file._OF_TABLES |= {"mood", "calm"}
path = Path(sys.argv[1])
reader = open_store(path); blocks = reader.blocks(1); block = next(blocks)
with open_store(path, writable=True) as store:
    photo = dataclasses.replace(block.photos[0], path=Path("/of/a/newer/release.jpg"))
    store.change(put=[photo])
    print(*[photo.id for photo in store.photos()], flush=True)
    sys.stdin.readline()
    print(*[photo.id for photo in store.photos()], flush=True)
with open_store(path) as store:
    print(*[photo.id for photo in store.photos()], flush=True)
"""


def backup_put_back(o: Operated) -> None:
    """A backup, made by `gallery copy` or by `cp`, is put back by `mv` or by `cp`."""
    backup, is_copy, is_moved = o.folder / "backup", o.draw.random() < 0.5, o.draw.random() < 0.5
    if is_copy:
        command("gallery", "copy", o.gallery, backup)
    else:
        shutil.copyfile(o.gallery, backup)
    first, content = o.state, backup.read_bytes()
    assert state_of(backup) == first
    indexed = o.index_more()
    if is_moved:
        backup.replace(o.gallery)
    else:
        shutil.copyfile(backup, o.gallery)
        assert backup.read_bytes() == content
        backup.unlink()
    # A plain copy of the state that a killed indexer's log begins at is what that log belongs to.
    o.becomes(first if is_copy else indexed, meanwhile=indexed)
    is_sound(o.gallery)
    photos = o.world.photos("first"), o.world.photos("more")
    command("index", *photos, "--gallery", o.gallery)
    assert len(o.becomes(Growing(first, o.world.paths("more"))).photos) == 40
    is_sound(o.gallery)
    o.begin_again()


def check_kept(path: Path, seen: Answer, indexed: Growing) -> None:
    """A gallery holds all that was seen of it.

    What a killed writer has written to the end, but not told of, is seen when it is opened anew.
    """
    state = state_of(path)
    assert indexed.allows(state.photos, state.model)
    assert state.photos.keys() >= seen.shown.keys()


def restored(o: Operated) -> None:
    """`gallery restore`, killed again and again: as before or as after, and what was is kept."""
    backup, first = o.folder / "backup.msedge", o.state
    command("gallery", "copy", o.gallery, backup)
    content = backup.read_bytes()
    indexed = o.index_more()
    before = o.seen()
    for _ in range(o.draw.randint(0, 2)):
        o.killed("gallery", "restore", backup, o.gallery)
        now = o.seen()
        is_restored = first.allows(now.shown, now.model)
        assert is_restored or now.shown.keys() >= before.shown.keys()
        before = now
    out, _ = command("gallery", "restore", backup, o.gallery, "--json")
    kept = Path(json.loads(out)["kept"])
    o.becomes(first, meanwhile=indexed)
    assert backup.read_bytes() == content
    check_kept(kept, before, indexed)
    for each in (o.gallery, kept, backup):
        is_sound(each)
    left = [each.name for each in o.folder.iterdir() if "-restoring" in each.name]
    assert left == []
    for each in (backup, *o.folder.glob("g-before-*")):
        each.unlink(missing_ok=True)
    o.begin_again()


def made_anew(o: Operated) -> None:
    """A gallery is moved away or removed, and another made under its name."""
    indexed, others = o.index_more(), o.world.paths("others")
    before, away = o.seen(), o.folder / "away.msedge"
    is_moved = o.draw.random() < 0.7
    if is_moved:
        o.gallery.rename(away)
    else:
        o.gallery.unlink()
    if o.draw.random() < 0.5:
        command("index", o.world.photos("others"), "--gallery", o.gallery, few=True)
    else:
        command("gallery", "copy", o.world.gallery("others"), o.gallery)
    assert len(o.becomes(Growing(State({}), others), meanwhile=indexed).photos) == len(others)
    is_sound(o.gallery)
    if is_moved:
        logs = logs_aside(o.folder)
        assert len(logs) <= 1
        for log in logs:
            log.rename(f"{away}-wal")
        check_kept(away, before, indexed)
        is_sound(away)
        away.unlink()
    o.begin_again()


def replaced(o: Operated) -> None:
    """Another gallery takes the place, at once or after a while, or another model is used."""
    others = o.world.gallery("others")
    match o.draw.choice(["replaced", "removed", "rebuilt", "rebuilt"]):
        case "replaced":
            shutil.copyfile(others, o.folder / "other")
            (o.folder / "other").replace(o.gallery)
            o.becomes(state_of(others))
        case "removed":
            o.gallery.unlink()
            time.sleep(o.draw.uniform(0, 2))
            command("index", o.world.photos("others"), "--gallery", o.gallery)
            made = Growing(State({}), o.world.paths("others"))
            assert len(o.becomes(made).photos) == len(made.more)
        case _:
            rebuilt = State(o.state.photos, OTHER_MODEL)
            words = ("index", o.world.photos("first"), "--gallery", o.gallery, "--rebuild",
                     "--model", OTHER_MODEL)  # fmt: skip
            if o.draw.random() < 0.5:
                o.killed(*words, few=True)
                o.becomes(o.state, rebuilt)
            command(*words)
            o.becomes(rebuilt)
    is_sound(o.gallery)
    o.begin_again()


def dataset_replaced(o: Operated) -> None:
    """A Lance dataset gives its name to another, or to itself as it was earlier."""
    away, other = o.folder / "away.lance", o.folder / "other.lance"
    indexed = o.index_more() if o.draw.random() < 0.5 else None
    is_other = o.draw.random() < 0.5
    shutil.copytree(o.world.gallery("others" if is_other else "first", ".lance"), other)
    wanted = state_of(other)
    o.gallery.rename(away)
    time.sleep(o.draw.choice([0, o.draw.uniform(0, 1)]))
    other.rename(o.gallery)
    before, o.state = o.state, wanted
    o.becomes(wanted, before, meanwhile=indexed)
    is_sound(o.gallery)
    assert (indexed or before).allows(state_of(away).photos, MODEL)
    shutil.rmtree(away)
    if is_other:  # so that the next round begins with the first photos
        shutil.copytree(o.world.gallery("first", ".lance"), other)
        o.gallery.rename(away)
        other.rename(o.gallery)
        o.becomes(before)
        shutil.rmtree(away)
    is_sound(o.gallery)


def brought_up_to_date(o: Operated) -> None:
    """A newer release writes the gallery while this one indexes into it: this one gives way."""
    photos = o.world.photos("first"), o.world.photos("more")
    words = ("index", *photos, "--gallery", o.gallery)
    first, more = o.state, o.world.paths("more")
    indexer = started(*words, few=True)
    time.sleep(o.draw.uniform(0, 3))
    newer = subprocess.Popen(
        [sys.executable, "-c", NEWER, str(o.gallery)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert newer.stdout is not None
        ids = newer.stdout.readline().split()
        out, err = indexer.communicate(timeout=SECONDS)
        assert ids, newer.communicate()
        refused = [line for line in err.splitlines() if line.startswith("msedge: ")]
        if indexer.returncode != 0:
            assert indexer.returncode == 2, err
            assert len(refused) == 1, err
            assert UPDATE in refused[0]
        for each in (words, ("gallery", "forget", photos[0], "--gallery", o.gallery),
                     ("gallery", "stats", o.gallery)):  # fmt: skip
            _, err = command(*each, status=2)
            assert [UPDATE in line for line in err.splitlines() if "msedge: " in line] == [True]
        out, err = newer.communicate("\n", timeout=SECONDS)
    finally:
        for process in (newer, indexer):
            process.kill()
            process.wait()
    assert newer.returncode == 0, err
    assert out.splitlines() == [" ".join(ids)] * 2, "the older release changed it"
    answer = o.ask()
    assert (answer.status, UPDATE in answer.detail) == (503, True), answer
    o.state = Growing(first, more)  # type: ignore[assignment]
    o.begin_again()
    is_sound(o.gallery)


def checked_meanwhile(o: Operated) -> None:
    """`gallery check` beside the server and an indexer gives no alarm; a plain copy is whole."""
    photos = o.world.photos("first"), o.world.photos("more")
    with started("index", *photos, "--gallery", o.gallery, few=True) as indexer:
        time.sleep(o.draw.uniform(0, 2))
        while indexer.poll() is None:
            is_sound(o.gallery)
        _, err = indexer.communicate()
    assert indexer.returncode == 0, err
    assert "read the gallery all the time" not in err
    copy = o.folder / "copy.msedge"
    shutil.copyfile(o.gallery, copy)
    full = o.becomes(Growing(o.state, o.world.paths("more")))
    assert len(full.photos) == 40
    assert state_of(copy) == full
    is_sound(copy)
    copy.unlink()
    is_sound(o.gallery)
    o.begin_again()


def folder_moved(o: Operated) -> None:
    """The photos' folder gets another name, and a part of it is forgotten; killed at both."""
    old, new = o.world.photos("first"), o.world.photos("moved")
    first, option = o.state, ("--gallery", o.gallery)
    old.rename(new)
    try:
        moved = State({n: p.replace(str(old), str(new)) for n, p in first.photos.items()})
        kept = State({n: p for n, p in moved.photos.items() if "/moved/1/" not in p})
        for before, after, words in (
            (first, moved, ("reroot", old, new)), (moved, kept, ("forget", new / "1")),
        ):  # fmt: skip
            for _ in range(o.draw.randint(1, 2)):
                if o.state != after:
                    o.killed("gallery", *words, *option)
                    o.becomes(before, after)
            is_done = o.state == after
            _, err = command("gallery", *words, *option, status=2 if is_done else 0)
            assert not is_done or "holds no photos in" in err
            o.becomes(after)
            is_sound(o.gallery)
    finally:
        new.rename(old)
    o.begin_again()


def timed(address: httpx.URL, path: str, world: World) -> tuple[int, float]:
    """The status of an answer, which is right, and its seconds."""
    begun = time.monotonic()
    with httpx.Client(base_url=address, timeout=SECONDS) as client:
        if path == "search":
            answer = search(client, world.similar)
            first = state_of(world.gallery("first", ".lance"))
            assert answer.detail or first.allows(answer.shown, answer.model)
            return answer.status, answer.ended - begun
        return client.get(path).status_code, time.monotonic() - begun


def store_stops(world: World, folder: Path, stops: int, seed: int) -> str:
    """An object store that hangs is waited for some seconds, and found again by itself."""
    draw, worst = random.Random(f"store {seed}"), [0.0, 0.0, 0.0]
    folder.mkdir()
    name = world.gallery("first", ".lance").name
    with (
        folder_as_bucket(world.folder) as (store, environment),
        served(f"s3://{BUCKET}/{name}", folder / "server.txt", **environment) as address,
        ThreadPoolExecutor(10) as pool,
    ):

        def ask(*paths: str) -> list[tuple[int, float]]:
            return list(pool.map(lambda path: timed(address, path, world), paths))

        assert [status for status, _ in ask("search", "readyz")] == [200, 200]
        for _ in range(stops):
            store.send_signal(signal.SIGSTOP)
            time.sleep(draw.uniform(1.1, 2))  # until the server looks again
            asked = pool.submit(ask, *["search"] * 4, "readyz")
            time.sleep(draw.uniform(0, 3))
            quick, slow = ask("healthz", "metrics"), asked.result()
            assert [status for status, _ in slow] == [503] * 5
            assert [status for status, _ in quick] == [200] * 2
            store.send_signal(signal.SIGCONT)
            begun = time.monotonic()
            while {status for status, _ in ask("search", "readyz")} != {200}:
                assert time.monotonic() < begun + 10
                time.sleep(0.1)
            seconds = [max(each for _, each in some) for some in (slow, quick)]
            worst = list(map(max, worst, [*seconds, time.monotonic() - begun]))
            assert worst[0] < 5 + TO_BE_LATE
            assert worst[1] < TO_BE_LATE
    return (
        f"store that stops         {stops:3} stops, {5 * stops} of 503 after {worst[0]:.1f} s at "
        f"most; health and metrics in {worst[1]:.2f} s; answers again after {worst[2]:.1f} s"
    )


ACTS: dict[Act, str] = {
    backup_put_back: ".msedge", restored: ".msedge", made_anew: ".msedge", replaced: ".msedge",
    dataset_replaced: ".lance", brought_up_to_date: ".msedge", checked_meanwhile: ".msedge",
    folder_moved: ".msedge",
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Photos and galleries of them."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def tallies() -> dict[str, Tally]:
    """What came of each act."""
    return {}


_each_act = pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)


@_each_act
def test_an_act_loses_nothing(act: Act, world: World, tmp_path: Path) -> None:
    tally = run_act(act, world, tmp_path / "run", FEW, SEED, ACTS[act])
    assert tally.rounds == FEW
    assert tally.answers


def test_a_store_that_stops_is_not_waited_for(world: World, tmp_path: Path) -> None:
    assert store_stops(world, tmp_path / "run", FEW, SEED)


@pytest.mark.slow
class TestCampaign:
    def test_a_store_that_stops_many_times(
        self, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        line = store_stops(world, tmp_path / "run", MANY, SEED)
        with capsys.disabled():
            print(f"\n{line}")

    @_each_act
    def test_many_acts_lose_nothing(
        self,
        act: Act,
        world: World,
        tmp_path: Path,
        tallies: dict[str, Tally],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        tallies[act.__name__] = tally = run_act(act, world, tmp_path / "run", MANY, SEED, ACTS[act])
        with capsys.disabled():
            print(f"\n{tally.line()}")

    def test_servers_followed_within_seconds(self, tallies: dict[str, Tally]) -> None:
        if len(tallies) < len(ACTS):
            pytest.skip("only some of the acts were done, or some failed")
        assert max(tally.slowest for tally in tallies.values()) <= PROMISED
