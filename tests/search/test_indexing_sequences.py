"""Whatever happens to a folder, indexing it again comes to what indexing it afresh comes to."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from encoders import ColourEncoder
from indexing_runs import held
from msedge.search.indexing import index
from photo_files import SECOND, touch, write_photo
from shard_files import photo_bytes, write_tar

places = st.sampled_from([f"{folder}{name}.png" for folder in ("", "x/", "x/y/") for name in "ab"])
contents = st.integers(0, 4)


class Folder(RuleBasedStateMachine):
    """A folder in which files come, change, move and go between runs of indexing."""

    suffix = ".msedge"

    @initialize()
    def begin(self):
        self.top = Path(tempfile.mkdtemp(prefix="indexing-"))
        self.root, self.gallery = self.top / "photos", self.top / f"g{self.suffix}"
        self.root.mkdir()
        self.second = 1_000

    def teardown(self):
        if hasattr(self, "top"):
            shutil.rmtree(self.top)

    def _now(self):
        self.second += 1
        return self.second

    @rule(place=places, content=contents, dated=st.booleans())
    def write(self, place, content, dated):
        date = "2020:01:31 10:00:00" if dated else None
        write_photo(self.root / place, content, second=self._now(), date=date)

    @rule(place=places)
    def damage(self, place):
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no photo")
        touch(path, self._now())

    @rule(place=places)
    def remove(self, place):
        (self.root / place).unlink(missing_ok=True)

    @rule(old=places, new=places, keep=st.booleans())
    def copy_or_move(self, old, new, keep):
        old, new = self.root / old, self.root / new
        if old.exists() and old != new:
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(old, new)
            if not keep:
                old.unlink()

    @rule(members=st.lists(st.tuples(st.sampled_from("abc"), contents), max_size=3))
    def write_shard(self, members):
        tar = write_tar(self.root / "s.tar", [(f"{n}.png", photo_bytes(c)) for n, c in members])
        touch(tar, self._now())

    @rule()
    def remove_shard(self):
        (self.root / "s.tar").unlink(missing_ok=True)

    @rule(one=places, other=places)
    def exchange(self, one, other):
        one, other, between = self.root / one, self.root / other, self.root / "between"
        if one.exists() and other.exists() and one != other:
            one.rename(between)
            other.rename(one)
            between.rename(other)

    @rule(place=places)
    def touch(self, place):
        if (self.root / place).exists():
            touch(self.root / place, self._now())

    @rule(folder=st.sampled_from(["x", "x/y"]), name=st.sampled_from(["z", "x/z"]))
    def rename_folder(self, folder, name):
        old, new = self.root / folder, self.root / name
        if old.exists() and new.parent.exists() and not new.exists() and old not in new.parents:
            old.rename(new)

    @rule(batch_size=st.integers(1, 4), workers=st.integers(1, 3))
    def index(self, batch_size, workers):
        options = {"batch_size": batch_size, "workers": workers, "allow_empty": True}
        summary = index([self.root], self.gallery, ColourEncoder(), **options)
        afresh = self.top / "afresh.msedge"
        index([self.root], afresh, ColourEncoder())
        now = held(self.gallery)
        assert now == held(afresh)
        afresh.unlink()
        found = summary.new + summary.changed + summary.moved + summary.unchanged
        assert found == summary.photos == len(now)
        again = index([self.root], self.gallery, ColourEncoder(), allow_empty=True)
        assert (again.unchanged, again.new, again.removed) == (len(now), 0, 0)

    @invariant()
    def times_differ(self):
        """What the machine rests on: no file changes without its size or time changing."""
        if hasattr(self, "root"):
            assert all(
                p.stat().st_mtime_ns <= self.second * SECOND for p in self.root.rglob("*.png")
            )


class FolderOfDataset(Folder):
    """The same, of a gallery in a Lance dataset."""

    suffix = ".lance"


Folder.TestCase.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
FolderOfDataset.TestCase.settings = settings(max_examples=4, stateful_step_count=20, deadline=None)
TestSequences, TestSequencesOfDataset = Folder.TestCase, FolderOfDataset.TestCase
