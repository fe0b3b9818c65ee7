"""How much of damaged galleries comes back: two hundred files, and what a repair makes of them.

    python benchmarks/salvage.py [--count 200] [--seed 0] [--out result/salvage.json]

Galleries of 300 to 3,000 photos and 64 to 256 numbers a vector are written, changed and thinned
out. Every second one was not closed: its last commits lie in the log beside it. Then each is
damaged in one way:

* ``zeros``, ``noise``: whole pages are overwritten;
* ``sectors``: runs of 512 bytes are zero, as when a disk fails;
* ``truncated``: the file ends anywhere;
* ``bits``: single bits are turned;
* ``header``: the first page, or no more than SQLite's header in it, is overwritten;
* ``interior``: pages that lead to others are overwritten;
* ``log``: the log is cut short or overwritten, and not the file.

``msedge gallery check --repair`` is run on each. A photo is saved when it is in the new file beside
the damaged one, or in the gallery itself where that is sound or was mended, as some commit left it.
Prints the galleries by outcome, the share of photos saved (of all, and the median over galleries),
and how many came back wrong: as no commit ever left them, though the damage did not touch their own
bytes. None may: exit status 1. Photos whose own bytes were hit and that are not as they were are
counted apart, as nothing in the file tells some of them; so are those that are lost though all
their bytes are still somewhere in the file or the log.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from made_galleries import Made, Row, commit, create, made_by, made_rows, photos_of, put
from msedge import MSEdgeError
from msedge.cli.app import app

PAGE, SECTOR, HEADER = 8192, 512, 100
INTERIOR = (0x02, 0x05)  # the first byte of a page that leads to others
SLACK = 192  # bytes of a photo's row before its vector, more than there are
WIDTHS = (64, 96, 128, 192, 256)


@dataclass
class Damaged:
    """The bytes of a gallery and of its log, and which of them were changed."""

    file: bytearray
    log: bytearray
    changed: dict[str, list[range]] = field(default_factory=lambda: defaultdict(list))

    def overwrite(self, which: str, at: int, content: bytes) -> None:
        """Put other bytes somewhere."""
        target: bytearray = getattr(self, which)
        content = content[: max(0, len(target) - at)]
        target[at : at + len(content)] = content
        self.changed[which].append(range(at, at + len(content)))

    def cut(self, which: str, at: int) -> None:
        """End it there."""
        target: bytearray = getattr(self, which)
        self.changed[which].append(range(at, len(target)))
        del target[at:]


Damage = Callable[[Damaged, np.random.Generator], None]


def some(total: int, share: float, rng: np.random.Generator) -> Sequence[int]:
    """One up to that share of so many places, few rather than many."""
    count = int(np.exp(rng.uniform(0, np.log(max(2.0, share * total)))))
    return sorted(rng.choice(total, min(count, total), replace=False).tolist())


def zeros(damaged: Damaged, rng: np.random.Generator) -> None:
    """Pages of zeros."""
    for page in some(len(damaged.file) // PAGE, 0.3, rng):
        damaged.overwrite("file", page * PAGE, bytes(PAGE))


def noise(damaged: Damaged, rng: np.random.Generator) -> None:
    """Pages of chance."""
    for page in some(len(damaged.file) // PAGE, 0.3, rng):
        damaged.overwrite("file", page * PAGE, rng.bytes(PAGE))


def sectors(damaged: Damaged, rng: np.random.Generator) -> None:
    """Runs of one to eight sectors of zeros."""
    for sector in some(len(damaged.file) // SECTOR, 0.1, rng):
        damaged.overwrite("file", sector * SECTOR, bytes(SECTOR * int(rng.integers(1, 9))))


def truncated(damaged: Damaged, rng: np.random.Generator) -> None:
    """The end is missing."""
    damaged.cut("file", int(rng.integers(1, len(damaged.file))))


def bits(damaged: Damaged, rng: np.random.Generator, which: str = "file") -> None:
    """Up to 256 bits of any."""
    target: bytearray = getattr(damaged, which)
    for at in some(len(target), 256 / len(target), rng):
        damaged.overwrite(which, at, bytes([target[at] ^ 1 << int(rng.integers(8))]))


def header(damaged: Damaged, rng: np.random.Generator) -> None:
    """The first page, or the 100 bytes before its content."""
    size = PAGE if rng.integers(2) else HEADER
    damaged.overwrite("file", 0, rng.bytes(size) if rng.integers(2) else bytes(size))


def interior(damaged: Damaged, rng: np.random.Generator) -> None:
    """Pages that lead to others."""
    pages = [at for at in range(PAGE, len(damaged.file), PAGE) if damaged.file[at] in INTERIOR]
    for place in some(len(pages), 1.0, rng):
        damaged.overwrite("file", pages[place], rng.bytes(PAGE) if rng.integers(2) else bytes(PAGE))


def log(damaged: Damaged, rng: np.random.Generator) -> None:
    """The log is cut, loses sectors, or has bits turned."""
    way = int(rng.integers(3))
    if way == 0:
        damaged.cut("log", int(rng.integers(1, len(damaged.log))))
    elif way == 1:
        for sector in some(len(damaged.log) // SECTOR, 0.1, rng):
            damaged.overwrite("log", sector * SECTOR, bytes(SECTOR))
    else:
        bits(damaged, rng, "log")


KINDS: tuple[Damage, ...] = (zeros, noise, sectors, truncated, bits, header, interior, log)


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one gallery."""

    kind: str
    has_log: bool
    outcome: str
    photos: int
    saved: int
    of_an_earlier_commit: int
    removed_that_are_back: int
    wrong: int
    hit_and_changed: int
    lost_though_whole: int
    said: str


def written(path: Path, made: Made, rng: np.random.Generator, *, has_log: bool) -> list[dict]:
    """A gallery that was changed several times; the photos by id after each commit.

    The first state is the last that the file holds by itself, later ones lie in the log.
    """
    folder, count, source = Path("/photos/of the family"), int(rng.integers(300, 3001)), path / "of"
    path.mkdir()
    with closing(create(source, made)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")

        def change(start: int, end: int, seed: int) -> None:
            """Add some; change and remove a run of those before, as when a folder is worked on."""
            with commit(connection):
                run = max(1, end // 50)
                again, gone = rng.integers(max(1, start - run), size=2).tolist()
                numbers = [*range(again, min(again + run, start)), *range(start, end)]
                put(connection, made_rows(numbers, folder, made.dim, seed))
                connection.execute(
                    "DELETE FROM photos WHERE id > ? AND id <= ?", (gone, min(gone + run, start))
                )

        states, parts = [], [0, *(count * np.array([0.3, 0.6, 0.9, 0.95, 1.0])).astype(int)]
        before = len(parts) - (3 if has_log else 1)
        for number, (start, end) in enumerate(pairwise(parts), 1):
            change(int(start), int(end), number)
            if number == before:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            if number >= before:
                states.append(photos_of(source))
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{source}{suffix}", path / f"photos.msedge{suffix}")
    return states


def repaired(gallery: Path) -> tuple[str, dict[int, Row], str]:
    """The outcome, the photos that there are now, and what was said."""
    words = ["gallery", "check", str(gallery), "--repair", "--json"]
    result = CliRunner().invoke(app, words)
    salvaged = gallery.with_name(gallery.name + "-salvaged")
    photos = photos_of(salvaged) if salvaged.exists() else {}
    error = result.exception
    if error is not None and not isinstance(error, SystemExit):
        is_told = isinstance(error, MSEdgeError | OSError)  # as `msedge.cli.app.run` has it
        ending = "refused" if is_told else "crashed"
        said = f"{type(error).__name__}: {error}"
        return f"salvaged, then {ending}" if salvaged.exists() else ending, photos, said
    report = json.loads(result.stdout)
    said = "; ".join(f"{each['name']}: {each['what']}" for each in report["findings"])
    if salvaged.exists():
        return "salvaged", photos, said
    if not report["is_sound"]:
        return "nothing readable", {}, said
    return "mended in place" if said else "sound", photos_of(gallery), said


def hits(row: Row, before: dict[str, bytes], damaged: Damaged) -> Iterator[bool]:
    """Of each place where a photo's bytes lay, whether the damage touches them."""
    for which, content in before.items():
        at = content.find(row[-1])
        while at >= 0:
            start, end = at - SLACK, at + len(row[-1]) + 8
            yield any(part.start < end and start < part.stop for part in damaged.changed[which])
            at = content.find(row[-1], at + 1)


def tried(folder: Path, number: int, seed: int) -> Told:
    """Write one gallery, damage it, repair it, compare."""
    rng = np.random.default_rng((seed, number))
    damage = KINDS[number % len(KINDS)]
    has_log = damage is log or number // len(KINDS) % 2 == 1
    made = Made("msedge-lite", f"{number:064x}", int(rng.choice(WIDTHS)))
    states = written(folder, made, rng, has_log=has_log)
    gallery = folder / "photos.msedge"
    beside = gallery.with_name(gallery.name + "-wal")
    if number < 2:  # one with a log, one without
        whole = folder / "whole.msedge"
        for source in (gallery, beside):
            shutil.copyfile(source, source.with_name(source.name.replace("photos", "whole")))
        outcome, photos, _ = repaired(whole)
        assert (outcome, photos) == ("sound", states[-1]), f"undamaged, it is {outcome}"
    before = {"file": gallery.read_bytes(), "log": beside.read_bytes()}
    damaged = Damaged(bytearray(before["file"]), bytearray(before["log"]))
    damage(damaged, rng)
    gallery.write_bytes(damaged.file)
    beside.write_bytes(damaged.log)
    outcome, photos, said = repaired(gallery)
    now, earlier = states[-1], states[:-1]
    counts: Counter[str] = Counter()
    for id, row in photos.items():
        known = [state[id] for state in states if id in state]
        if row in known:
            counts["removed" if id not in now else "saved"] += 1
            counts["earlier"] += id in now and row != now[id]
        else:
            was_hit = any(any(hits(each, before, damaged)) for each in known)
            counts["hit" if was_hit else "wrong"] += 1
    lost = (row for id, row in now.items() if id not in photos)
    counts["whole"] = sum(not all(hits(row, before, damaged)) for row in lost)
    if outcome.startswith("salvaged"):
        counts["wrong"] += made_by(gallery.with_name(gallery.name + "-salvaged")) != made
    return Told(
        damage.__name__, bool(earlier), outcome, len(now), counts["saved"], counts["earlier"],
        counts["removed"], counts["wrong"], counts["hit"], counts["whole"], said,
    )  # fmt: skip


def line(name: str, each: Sequence[Told]) -> str:
    """One row of the table."""
    there, saved = (sum(getattr(told, of) for told in each) for of in ("photos", "saved"))
    shares = [told.saved / told.photos for told in each]
    return (
        f"{name:28} {len(each):4} galleries  {100 * saved / there:6.2f} % of {there:7,} photos "
        f"saved, median {100 * statistics.median(shares):6.2f} %"
    )


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file with every gallery")
    options = parser.parse_args()
    told = []
    with tempfile.TemporaryDirectory() as name:
        for number in range(options.count):
            folder = Path(name) / str(number)
            told.append(tried(folder, number, options.seed))
            shutil.rmtree(folder)
    print(line("all", told))
    groups = {
        f"{kind.__name__}, {'with' if has_log else 'without'} log": [
            each for each in told if (each.kind, each.has_log) == (kind.__name__, has_log)
        ]
        for kind in KINDS
        for has_log in (False, True)
    }
    for group, each in groups.items():
        if each:
            print(line(group, each))
    for outcome, _ in Counter(each.outcome for each in told).most_common():
        print(line(outcome, [each for each in told if each.outcome == outcome]))
    sums = {
        of: sum(getattr(each, of) for each in told)
        for of in (
            "of_an_earlier_commit", "removed_that_are_back", "lost_though_whole",
            "hit_and_changed", "wrong",
        )
    }  # fmt: skip
    print(", ".join(f"{of.replace('_', ' ')}: {count}" for of, count in sums.items()))
    for each in told:
        if each.outcome.endswith("crashed"):
            print(f"crashed ({each.kind}): {each.said}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps([asdict(each) for each in told], indent=1))
    return int(sums["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
