"""A day of two galleries in fast motion: whatever is done to them while they are served.

    python benchmarks/operating_day.py [--minutes 30] [--acts 200] [--clients 8] [--seed 0]

Two servers (a gallery file, a Lance dataset) are asked all the time by clients: drawings, photos
like one, thumbnails, what the gallery holds. Meanwhile the acts of whoever runs them are done at
random, by the commands and as files: indexing (also killed in its midst), backups, restoring,
``mv`` and ``cp`` of a backup over it, deletion, another gallery in its place, another model,
folders that move or are forgotten, compacting, checking, an approximate index.

After each act the gallery is read, and has to hold what the disk or the backup says, under the ids
that it had. Every answer has to be, photo by photo and similarity by similarity, that of the state
before the act or after it (while indexing commits: all that both hold, and part of the rest), or a
503 with a reason from the act's begin until 3 seconds after its end. What was committed to a
dataset is seen within 2 seconds. Exit status 1: an answer or a gallery was wrong, an answer took
more than 5 s, or a server's memory or open files after a last minute without acts are over a tenth
more than after the first.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from load import Sample, Watched
from load_client import NO_ANSWER, Told, exchange, get, post
from msedge.data.sample import SAMPLE_CLASSES, draw_photo
from msedge.search.gallery import Gallery
from msedge.search.photo import hash_of
from operating_day_judge import Answer, Disk, Judge, State, Window, state_of, unit
from search import Strokes
from search_accuracy import MSEDGE, run

MODELS = ("msedge-lite", "msedge-lite-sketchy21")
DRAWINGS: tuple[Strokes, ...] = (
    [([10, 90, 90, 10, 10], [40, 40, 90, 90, 40]), ([90, 110, 90], [50, 60, 80])],
    [([50, 80, 50, 20, 50], [10, 50, 90, 50, 10])],
    [([10, 90], [10, 90]), ([90, 10], [10, 90]), ([50, 50], [0, 100])],
)
MOST = 500  # hits that can be asked for; galleries stay smaller
HANG, GRACE, UNANSWERED = 5.0, 3.0, 60.0
REST, SECONDS = 60.0, 20
LATE = 2.0  # seconds within which a server sees what was committed to a dataset (galleries.md)
ATTEMPT = 180.0  # seconds that a command may take


@dataclass
class Wrongs:
    """What was not as promised."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        """Say it at once, and keep it."""
        self.lines.append(line)
        print("WRONG", line, flush=True)


class Site:
    """A gallery that is served, its photos, its backups, and what is done to it."""

    def __init__(self, folder: Path, suffix: str, count: int, rng: random.Random) -> None:
        self.folder, self.suffix, self.rng = folder, suffix, rng
        self.path, self.root = folder / f"g{suffix}", folder / "photos"
        self.other, self.other_root = folder / f"other{suffix}", folder / "elsewhere"
        self.answers: deque[Answer] = deque()
        self.made = 0
        self.backups: list[tuple[Path, State, str]] = []
        for number in range(count):
            self._write(self.root / "abcd"[number % 4])
        for _ in range(count // 4):
            self._write(self.other_root)
        run("index", self.root, "--gallery", self.path)
        run("index", self.other_root, "--gallery", self.other)
        self.state, self.other_state = state_of(self.path), state_of(self.other)
        self.disk = self.look()
        self.windows = [Window(0.0, self.state, [self.disk], end=0.0, after=self.state)]
        self.backup()

    def serve(self) -> None:
        """Start its server."""
        log = (self.folder / "server.log").open("w")
        words = [*MSEDGE, "serve", "--gallery", str(self.path), "--port", "0"]
        self.server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.server.stdout is not None
        self.port = int(self.server.stdout.readline().strip().rstrip("/").rpartition(":")[2])
        self.watched = Watched(self.server.pid, Told())

    def look(self) -> Disk:
        """All photos that lie on the disk."""
        files = [each for root in (self.root, self.other_root) for each in root.rglob("*.jpg")]
        return {str(p): (s.st_size, s.st_mtime_ns) for p in files for s in [p.stat()]}

    def _write(self, folder: Path, path: Path | None = None) -> None:
        """Make a photo that was never there, or put it in the place of one."""
        self.made += 1
        path = path or folder / f"{self.made}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        name = SAMPLE_CLASSES[self.made % len(SAMPLE_CLASSES)]
        seed = [len(self.suffix), self.made]
        draw_photo(name, np.random.default_rng(seed), 128).save(folder / ".part", "JPEG")
        (folder / ".part").replace(path)

    def folders(self) -> list[Path]:
        """Those that the photos to be indexed lie in."""
        return sorted(each for each in self.root.iterdir() if each.is_dir())

    # What is done. Each gives what the gallery must hold now, the state whose ids it goes on with,
    # and how it may be seen to change.

    def do(self, *words: object, killed: bool = False, most: int = 0) -> dict[str, Any]:
        """Run a command, once more where the first is to be killed; gives its JSON.

        Raises:
            RuntimeError: its exit status is above what it may be at most.
        """
        command = [*MSEDGE, *map(str, words), "--json"]
        if killed:
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
                with suppress(subprocess.TimeoutExpired):
                    first.wait(self.rng.uniform(0.4, 4.0))
                first.kill()
        done = subprocess.run(command, capture_output=True, text=True, timeout=ATTEMPT, check=False)
        if done.returncode not in range(most + 1):
            raise RuntimeError(
                f"msedge {' '.join(map(str, words))} ended with {done.returncode}: "
                f"{done.stderr.strip()} {done.stdout.strip()[:500]}"
            )
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def indexed(self) -> dict[str, str]:
        """What it must hold after indexing: the root's photos, and of others what it held."""
        root = f"{self.root}/"
        held = {e.path: e.digest for e in self.state.photos.values() if not e.path.startswith(root)}
        files = [path for path in self.look() if path.startswith(root)]
        return held | {p: hash_of(Path(p).read_bytes()) for p in files}

    def index(self, *more: object, how: str = "grows") -> tuple[dict[str, str], State, str]:
        """Photos come, go and change, and are indexed; the run may be killed in its midst."""
        for _ in range(self.rng.randrange(1, 10)):
            self._write(self.rng.choice(self.folders()))
        files = [path for folder in self.folders() for path in folder.glob("*.jpg")]
        for path in self.rng.sample(files, self.rng.randrange(0, 16)):
            if self.rng.random() < 0.3:
                self._write(path.parent, path)
            else:
                path.unlink()
        self.do("index", self.root, "--gallery", self.path, *more, killed=self.rng.random() < 0.4)
        return self.indexed(), self.state, how

    def rebuild(self) -> tuple[dict[str, str], State, str]:
        """Everything is embedded by the other model; photos of known paths keep their ids."""
        model = next(name for name in MODELS if name != self.state.model)
        gone = [e for e in self.state.photos.values() if e.path not in self.look()]
        if any(not each.path.startswith(f"{self.root}/") for each in gone):
            return self.index()
        held, before, how = self.index("--rebuild", "--model", model, how="one")
        stay = {number: e for number, e in before.photos.items() if e.path in held}
        return held, State(stay, before.model), how

    def anew(self) -> tuple[dict[str, str], State, str]:
        """The gallery is deleted, and made anew."""
        self._delete(self.path)
        words = ("index", self.root, "--gallery", self.path, "--model", self.rng.choice(MODELS))
        self.do(*words, killed=self.rng.random() < 0.4)
        root = f"{self.root}/"
        held = {p: d for p, d in self.indexed().items() if p.startswith(root)}
        return held, State({}, ""), "anew"

    def backup(self) -> tuple[dict[str, str], State, str]:
        """A backup is made; the oldest of more than three go."""
        number = len(list(self.folder.glob("backup-*"))) + self.rng.randrange(10**6)
        target = self.folder / f"backup-{number}{self.suffix}"
        self.do("gallery", "copy", self.path, target)
        copied = state_of(target)
        if (copied.facts(), copied.model) != (self.state.facts(), self.state.model):
            raise RuntimeError("the backup is not what was copied")
        self.backups.append((target, copied, self._bytes(target)))
        for old, *_ in self.backups[:-3]:
            self._delete(old)
        self.backups = self.backups[-3:]
        return self._same(self.state)

    def restore(self) -> tuple[dict[str, str], State, str]:
        """A backup is restored; what was there is kept."""
        path, state, _ = self.rng.choice(self.backups)
        told = self.do("gallery", "restore", path, self.path)
        kept = state_of(Path(told["kept"]))
        if kept.facts() != self.state.facts():
            raise RuntimeError("what is kept is not what was there before")
        self._delete(Path(told["kept"]))
        return self._same(state)

    def mv(self) -> tuple[dict[str, str], State, str]:
        """A copy of a backup is moved over the gallery."""
        path, state, _ = self.rng.choice(self.backups)
        return self._move_over(path, state)

    def replace(self) -> tuple[dict[str, str], State, str]:
        """Another gallery is moved over it."""
        return self._move_over(self.other, self.other_state)

    def cp(self) -> tuple[dict[str, str], State, str]:
        """A backup is copied into the gallery's file."""
        path, state, _ = self.rng.choice(self.backups)
        shutil.copyfile(path, self.path)
        return self._same(state)

    def reroot(self) -> tuple[dict[str, str], State, str]:
        """A folder of photos is moved, and the gallery told so."""
        held = self.state.folders()
        folders = [each for each in self.folders() if str(each) in held]
        if not folders:
            return self.index()
        self.made += 1
        old = self.rng.choice(folders)
        new = old.with_name(f"{old.name[0]}{self.made}")
        old.rename(new)
        self.do("gallery", "reroot", old, new, "--gallery", self.path)
        moved = {e.path.replace(f"{old}/", f"{new}/"): e.digest for e in self.state.photos.values()}
        return moved, self.state, "one"

    def forget(self) -> tuple[dict[str, str], State, str]:
        """A folder is taken out of the gallery."""
        if not self.state.photos:
            return self.compact()
        folder = f"{self.rng.choice(sorted(self.state.folders()))}/"
        self.do("gallery", "forget", folder, "--gallery", self.path)
        photos = self.state.photos.values()
        return (
            {e.path: e.digest for e in photos if not e.path.startswith(folder)},
            self.state,
            "one",
        )

    def compact(self) -> tuple[dict[str, str], State, str]:
        """The file is written anew."""
        self.do("gallery", "compact", self.path, killed=self.rng.random() < 0.3)
        return self._same(self.state)

    def check(self) -> tuple[dict[str, str], State, str]:
        """The gallery is checked, and is sound but for the index of one that was there before."""
        told = self.do("gallery", "check", self.path, most=1)
        if names := {each["name"] for each in told["findings"] if not each["is_note"]}:
            if names != {"approximate"}:
                raise RuntimeError(f"msedge gallery check finds {told['findings']}")
            self.do("gallery", "check", self.path, "--repair")
        return self._same(self.state)

    def approximate(self) -> tuple[dict[str, str], State, str]:
        """An approximate index is built."""
        self.do("gallery", "approximate", self.path, "--force", killed=self.rng.random() < 0.3)
        return self._same(self.state)

    def hangup(self) -> tuple[dict[str, str], State, str]:
        """The server is told to read its settings again."""
        self.server.send_signal(signal.SIGHUP)
        return self._same(self.state)

    def _same(self, state: State) -> tuple[dict[str, str], State, str]:
        return {e.path: e.digest for e in state.photos.values()}, state, "one"

    def _move_over(self, path: Path, state: State) -> tuple[dict[str, str], State, str]:
        ready = self.folder / f"ready{self.suffix}"
        if path.is_dir():
            shutil.copytree(path, ready)
            aside = self.folder / f"aside{self.suffix}"
            self.path.rename(aside)
            ready.rename(self.path)
            self._delete(aside)
        else:
            shutil.copyfile(path, ready)
            ready.replace(self.path)
        return self._same(state)

    def _delete(self, path: Path) -> None:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    def _bytes(self, path: Path) -> str:
        files = sorted(each for each in path.rglob("*") if each.is_file()) or [path]
        return hashlib.sha256(b"".join(each.read_bytes() for each in files)).hexdigest()

    # What is looked at

    def act(self, name: str, wrongs: Wrongs) -> float:
        """Do something, and look what the gallery holds; gives seconds."""
        window = Window(time.monotonic(), self.state, [self.disk])
        try:
            held, lineage, window.how = getattr(self, name)()
        except Exception as error:
            wrongs.add(f"{name} of {self.path.name}: {error}")
            held, lineage = None, self.state
            window.how = "anew"
        taken = time.monotonic() - window.begin
        window.end = time.monotonic() + (LATE if self.path.is_dir() else 0.0)
        window.after, disk = state_of(self.path), self.look()
        window.disks.append(disk)
        if held is not None and (line := self._wrong_ids(window.after, held, lineage)):
            wrongs.add(f"{name} of {self.path.name}: {line}")
        self.windows.append(window)
        self.state, self.disk = window.after, disk
        return taken

    def _wrong_ids(self, after: State, held: dict[str, str], lineage: State) -> str | None:
        now = {each.path: each.digest for each in after.photos.values()}
        if now != held or len(now) != len(after.photos):
            odd = {*now.items()} ^ {*held.items()}
            return f"holds {len(now)} photos instead of {len(held)}, as {sorted(odd)[:3]}"
        earlier = {each.path: number for number, each in lineage.photos.items()}
        gone = {e.digest: n for n, e in lineage.photos.items() if e.path not in now}
        for number, each in after.photos.items():
            right = earlier.get(each.path, gone.get(each.digest, number))
            if number != right:
                return f"{each.path} has id {number} and had {right}"
        return None

    def look_closely(self, wrongs: Wrongs) -> None:
        """Whether file and backups are sound, a plain copy of the file by itself too."""
        for path, _, digest in self.backups:
            if self._bytes(path) != digest:
                wrongs.add(f"{path.name} has changed")
        if not self.path.is_dir():
            plain = self.folder / "plain.msedge"
            shutil.copyfile(self.path, plain)
            with closing(sqlite3.connect(plain)) as connection:
                says = connection.execute("PRAGMA integrity_check").fetchall()
            if says != [("ok",)] or state_of(plain).facts() != self.state.facts():
                wrongs.add(f"a plain copy of {self.path.name} is not whole: {says[:2]}")
            plain.unlink()

    def hears_hangups(self) -> bool:
        """Whether the server does something by SIGHUP but end."""
        caught = Path(f"/proc/{self.server.pid}/status").read_text().partition("SigCgt:")[2]
        return bool(int(caught.split()[0], 16) >> (signal.SIGHUP - 1) & 1)


@dataclass
class Day:
    """All of it."""

    sites: list[Site]
    judge: Judge
    rng: random.Random
    wrongs: Wrongs = field(default_factory=Wrongs)
    until: float = float("inf")
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter[tuple[str, int, bool]] = field(default_factory=Counter)
    mixed: int = 0
    acts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    async def client(self, number: int) -> None:
        """Ask one thing after the other."""
        site, rng = self.sites[number % 4 == 3], random.Random(number)
        connection = await asyncio.open_connection("127.0.0.1", site.port)
        while time.monotonic() < self.until:
            kind = rng.choices(("drawing", "similar", "thumbnail", "gallery"), (4, 3, 4, 1))[0]
            asked = rng.randrange(len(DRAWINGS)) if kind == "drawing" else self._photo(site, rng)
            begun = time.monotonic()
            try:
                async with asyncio.timeout(UNANSWERED):
                    answer = await exchange(*connection, request_of(kind, asked))
            except NO_ANSWER as error:
                self.wrongs.add(f"{kind}: no answer: {error!r}")
                connection[1].close()
                connection = await asyncio.open_connection("127.0.0.1", site.port)
                continue
            site.answers.append(Answer(kind, asked, begun, time.monotonic(), *answer))
            if answer[1].get("connection") == "close":
                connection = await asyncio.open_connection("127.0.0.1", site.port)
            await asyncio.sleep(rng.uniform(0.2, 0.8))
        connection[1].close()

    def _photo(self, site: Site, rng: random.Random) -> int:
        return rng.choice(list(site.state.photos) or [1]) + rng.choices((0, 7), (9, 1))[0]

    def judge_answers(self) -> None:
        """Look at all answers so far; no act is being done."""
        for site in self.sites:
            while site.answers:
                self._judge(site, site.answers.popleft())

    def _judge(self, site: Site, answer: Answer) -> None:
        recent = site.windows[-8:]
        acts = [w for w in recent if w.begin <= answer.ended and answer.begun <= w.end]
        if not acts:
            last = [w for w in recent if w.end < answer.begun][-1]
            acts = [Window(0.0, last.after, last.disks[-1:], after=last.after)]
        within = any(w.begin <= answer.ended and answer.begun <= w.end + GRACE for w in recent)
        self.statuses[answer.kind, answer.status, within] += 1
        self.seconds[answer.kind].append(answer.ended - answer.begun)
        what = f"{site.path.name} {answer.kind} {answer.asked}"
        if answer.ended - answer.begun > HANG:
            self.wrongs.add(f"{what} took {answer.ended - answer.begun:.1f} s")
        if answer.status == 503:
            if not within or not json.loads(answer.body)["detail"]:
                self.wrongs.add(f"{what}: 503 while nothing was done: {answer.body!r}")
            return
        reasons = [self.judge.wrong(answer, window) for window in acts]
        if None not in reasons:
            doing = ", ".join(
                f"{window.how} act, {answer.begun - window.begin:+.2f} s from its begin, "
                f"{answer.ended - window.end:+.2f} from its end"
                for window in acts
            )
            self.wrongs.add(f"{what} ({doing}): {reasons}")
        elif answer.kind in ("drawing", "similar") and answer.status == 200:
            told = json.loads(answer.body)
            if told["searched"] != sum(1 + len(hit["copies"]) for hit in told["hits"]):
                self.mixed += 1
                if len(acts) == 1 and acts[0].begin == 0.0:
                    self.wrongs.add(f"{what}: searched {told['searched']}")

    async def ask(self, clients: int) -> None:
        """All clients at a time, while each second is looked what the servers hold."""
        asking = [asyncio.create_task(self.client(number)) for number in range(clients)]
        while time.monotonic() < self.until:
            for site in self.sites:
                site.watched.look()
            await asyncio.sleep(1)
        await asyncio.gather(*asking)

    def play(self, minutes: float, acts: int) -> None:
        """Do the acts, and rest."""
        begun = time.monotonic()
        weights = {"index": 5, "backup": 2, "restore": 3, "mv": 3, "cp": 2, "anew": 1, "replace": 2,
                   "rebuild": 1, "reroot": 3, "forget": 2, "compact": 2, "check": 2,
                   "approximate": 2}  # fmt: skip
        if self.sites[0].hears_hangups():
            weights["hangup"] = 2
        for number in range(acts):
            time.sleep(max(0.5, begun + number * 60 * minutes / acts - time.monotonic()))
            if time.monotonic() - begun > 60 * minutes:
                break
            site = self.sites[self.rng.random() < 0.2]
            others = () if site.path.is_file() else ("cp", "rebuild")  # not of a dataset
            names = [name for name in weights if name not in others]
            name = self.rng.choices(names, [weights[name] for name in names])[0]
            taken = site.act(name, self.wrongs)
            self.acts[f"{name}{site.suffix}"].append(taken)
            print(f"{time.monotonic() - begun:6.0f} s {number + 1:4} {name}{site.suffix} "
                  f"{taken:.1f} s, {len(site.state.photos)} photos, {len(self.wrongs.lines)} wrong",
                  flush=True)  # fmt: skip
            self.judge_answers()
            if number % 20 == 19:
                for each in self.sites:
                    each.look_closely(self.wrongs)
        time.sleep(REST)


def request_of(kind: str, asked: int) -> bytes:
    """What a client sends."""
    if kind == "drawing":
        return post("/api/search", {"strokes": DRAWINGS[asked], "k": MOST})
    if kind == "similar":
        return post("/api/similar", {"id": asked, "k": MOST})
    return get("/api/gallery" if kind == "gallery" else f"/api/photos/{asked}/thumbnail")


def queries_of(folder: Path, photos: Path) -> dict[tuple[str, int], np.ndarray]:
    """The vectors of the drawings, by each model."""
    queries = {}
    for model in MODELS:
        path = folder / f"{model}.msedge"
        run("index", next(photos.rglob("*.jpg")), "--gallery", path, "--model", model)
        with Gallery.open(path) as gallery:
            for number, drawing in enumerate(DRAWINGS):
                queries[gallery.model.name, number] = unit(gallery.query(drawing).vector)
    return queries


def held(samples: Sequence[Sample], what: str) -> list[float]:
    """What a server held after the first minute, and at the end: medians of seconds."""
    begun = samples[0].seconds + REST
    first = [each for each in samples if begun <= each.seconds < begun + SECONDS]
    parts = (first or samples, samples[-SECONDS:])
    return [float(np.median([getattr(each, what) for each in part])) for part in parts]


def show(day: Day) -> bool:
    """The table; whether all was as promised."""
    print(f"{'act':20} {'times':>5} {'median s':>9} {'most s':>7}")
    for name, taken in sorted(day.acts.items()):
        print(f"{name:20} {len(taken):5} {np.median(taken):9.1f} {max(taken):7.1f}")
    print(f"{'answer':12} {'status':>6} {'near acts':>10} {'far from them':>14}")
    for kind, status in sorted({(kind, status) for kind, status, _ in day.statuses}):
        near, far = (day.statuses[kind, status, within] for within in (True, False))
        print(f"{kind:12} {status:6} {near:10,} {far:14,}")
    for kind, taken in sorted(day.seconds.items()):
        middle, late = (1000 * float(np.quantile(taken, q)) for q in (0.5, 0.99))
        print(f"{kind:12} p50 {middle:.0f} ms, p99 {late:.0f} ms, slowest {max(taken):.2f} s")
    for site in day.sites:
        for what in ("megabytes", "descriptors", "threads"):
            then, now = held(site.watched.samples, what)
            print(f"{site.path.name}: {what} {then:.0f} after a minute, {now:.0f} at the end")
            if what != "threads" and now > 1.1 * then:
                day.wrongs.add(f"{site.path.name}: {what} grew by {now / then - 1:.0%}")
    print(
        f"{sum(map(len, day.acts.values()))} acts, {sum(day.statuses.values()):,} answers, "
        f"{day.mixed} with the count of another moment, {len(day.wrongs.lines)} wrong"
    )
    return not day.wrongs.lines


def main() -> None:
    """Play a day."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--acts", type=int, default=200, help="at most, in that time")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--photos", type=int, default=120, help="in the gallery at first")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        sites = []
        for suffix, count in ((".msedge", options.photos), (".lance", options.photos // 2)):
            (folder / suffix[1:]).mkdir()
            sites.append(Site(folder / suffix[1:], suffix, count, rng))
        day = Day(sites, Judge(queries_of(folder, sites[0].root)), rng)
        try:
            for site in sites:
                site.serve()
            asking = threading.Thread(target=lambda: asyncio.run(day.ask(options.clients)))
            asking.start()
            try:
                day.play(options.minutes, options.acts)
            finally:
                day.until = 0.0
                asking.join()
            day.judge_answers()
            for site in sites:
                site.look_closely(day.wrongs)
        finally:
            for site in sites:
                if hasattr(site, "server"):
                    site.server.send_signal(signal.SIGTERM)
                    if status := site.server.wait(60):
                        day.wrongs.add(f"the server of {site.path.name} ended with {status}")
                    print((site.folder / "server.log").read_text()[-3000:])
        raise SystemExit(0 if show(day) else 1)


if __name__ == "__main__":
    main()
