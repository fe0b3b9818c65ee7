"""What is known of a photo: its rows, the checks of what a file says, its digest, its dates."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import numpy as np
import pytest

import msedge
from made_photos import held, make, photo, photos, unit
from msedge.errors import DataError, ShapeError
from msedge.search.photo import (
    ADDED,
    COLUMNS,
    NAMES,
    Block,
    Digest,
    check_finite,
    facts_of,
    faults,
    hash_of,
    new_photo_of,
    path_of,
    photo_of,
    row_of,
    stored_path,
)

TESTS = Path(__file__).parent.parent
FIRST = ("path", "size", "mtime_ns", "content_hash", "width", "height", "taken")


@dataclass
class Look:
    """What was decoded of a picture."""

    width: int = 40
    height: int = 30
    taken: str | None = None


def changed(place, value):
    """A sound row with another value in a place: 0 is the id, then the facts."""
    row = [5, *row_of(photo(1), 8)[:-1]]
    row[place] = value
    return row


class TestDeclaration:
    def test_the_facts_of_the_first_releases_are_stored_as_they_were(self):
        assert NAMES[:7] == FIRST
        assert [column.sql for column in COLUMNS[:7]] == [
            "BLOB NOT NULL UNIQUE", *["INTEGER NOT NULL"] * 2, "TEXT NOT NULL",
            *["INTEGER NOT NULL"] * 2, "REAL NOT NULL",
        ]  # fmt: skip
        assert [column.arrow for column in COLUMNS[:7]] == [
            "binary", "int64", "int64", "string", "int32", "int32", "float64"
        ]  # fmt: skip

    def test_what_was_added_is_numbered_in_order_and_has_a_default(self):
        added = [column for column in COLUMNS if column.added]
        assert [column.added for column in added] == list(range(1, ADDED + 1))
        for column in added:
            assert column.holds(column.default)
            assert column.sql.endswith(f" DEFAULT {column.default_sql}")

    def test_photos_cannot_be_changed(self):
        with pytest.raises(FrozenInstanceError):
            photo(1).size = 5


class TestRows:
    def test_a_photo_survives_its_row(self):
        new = photo(3, os.fsdecode(b"/photos/\xff\n.jpg"))
        *row, blob = row_of(new, 8)
        there = photo_of((7, *row))
        assert (there.id, there.path, there.folder) == (7, new.path, Path("/photos"))
        again = new_photo_of(row, np.frombuffer(blob, "<f2"))
        assert row_of(again, 8) == (*row, blob)

    def test_a_path_is_absolute_or_of_an_object_store(self):
        with pytest.raises(DataError, match=r"absolute paths, got 'a\.jpg'"):
            stored_path(Path("a.jpg"))
        assert stored_path(Path("s3://bucket/a.jpg")) == b"s3:/bucket/a.jpg"
        assert path_of(b"s3:/bucket/a.jpg") == Path("s3://bucket/a.jpg")
        for bad in (b"a.jpg", b"", b"/a\0b", "/a", 5, None):
            with pytest.raises(DataError, match="which is none: mend the gallery"):
                path_of(bad)

    @pytest.mark.parametrize(
        "vector",
        [np.zeros(5, np.float16), np.zeros(8, np.float32), np.zeros((1, 8), np.float16)],
        ids=["too narrow", "float32", "two axes"],
    )
    def test_a_vector_of_another_shape_is_refused(self, vector):
        with pytest.raises(ShapeError, match=r"expected float16 \(8,\)"):
            row_of(photo(1, vector=vector), 8)

    def test_a_vector_that_is_not_finite_is_refused(self):
        with pytest.raises(ShapeError, match="not finite"):
            row_of(photo(1, vector=np.full(8, np.inf, np.float16)), 8)

    def test_vectors_of_files_that_are_not_finite(self):
        vectors = np.stack([unit(n) for n in range(4)])
        check_finite(vectors, [1, 2, 3, 4])
        for bad in (np.nan, -np.inf):
            vectors[2, 5] = bad
            with pytest.raises(DataError, match="the vector of photo 30 holds NaN"):
                check_finite(vectors, [10, 20, 30, 40])

    def test_json_is_valid_unicode_and_says_what_is_to_be_shown(self):
        shown = photo_of((7, *row_of(photo(3, os.fsdecode(b"/p/\xff.jpg")), 8)[:-1])).as_json()
        assert {
            "id": 7,
            "path": "/p/\ufffd.jpg",
            "uri": "file:///p/%FF.jpg",
        }.items() <= shown.items()
        assert shown.keys() == {"id", "uri", *(c.name for c in COLUMNS if c.shown)}
        json.dumps(shown).encode()


CANNOT_BE = [
    ("size", -1), ("size", "x"), ("mtime_ns", 1.5), ("content_hash", b"x"), ("width", 0),
    ("height", -3), ("taken", 3), ("taken", float("nan")), ("taken", float("inf")), ("taken", None),
]  # fmt: skip


class TestFaults:
    @pytest.mark.parametrize(("name", "value"), CANNOT_BE)
    def test_facts_that_cannot_be(self, name, value):
        row = changed(1 + NAMES.index(name), value)
        assert faults([row], [unit(1).tobytes()], 8) == {0: "fields"}
        with pytest.raises(DataError, match=r"what is said of the photo /photos/1/1\.jpg cannot"):
            photo_of(row)

    @pytest.mark.parametrize("value", [b"a.jpg", "/a.jpg", b"/a\0"])
    def test_paths_that_are_none(self, value):
        assert faults([changed(1, value)], [unit(1).tobytes()], 8) == {0: "paths"}

    @pytest.mark.parametrize("value", [0, -1, "5", None])
    def test_ids_that_are_none(self, value):
        assert faults([changed(0, value)], [unit(1).tobytes()], 8) == {0: "fields"}

    def test_vectors_and_each_by_its_place(self):
        sound, two = changed(0, 5), (unit(1) * 2).tobytes()
        stored = [unit(1).tobytes(), b"short", two, None, unit(2).tobytes(), b"\0" * 16]
        assert faults([sound] * 6, stored, 8) == dict.fromkeys((1, 2, 3, 5), "vectors")
        assert faults([], [], 8) == {}

    def test_float16_may_round_a_vector_and_no_more(self):
        for length, is_sound in ((1.0015, True), (1.003, False), (0.9985, True), (0.997, False)):
            vector = np.zeros(8, "<f2")
            vector[0] = length
            assert (faults([changed(0, 5)], [vector.tobytes()], 8) == {}) == is_sound


def digest(*blocks):
    made = Digest()
    for block in blocks:
        made.take(block)
    return made


class TestDigest:
    @pytest.mark.skipif(ADDED > 0, reason="more is known of a photo since")
    def test_is_that_of_earlier_releases(self):
        """Computed by the release that wrote it first; copies are compared by it."""
        several = [
            photo(n, f"/photos/{n}.jpg", size=n + 1, mtime_ns=10**18 + n, width=30 + n,
                  content_hash=f"{n:064x}", height=20, taken=1e9 + n / 4)
            for n in range(5)
        ]  # fmt: skip
        value = digest(Block([1, 2, 5, 7, 9], several)).value()
        assert value == "6c57d9125504b4a4833e52b857807d6d5ff65607cb12b6e8088b357c65b69f1c"

    def test_does_not_depend_on_how_photos_come_in_blocks(self):
        several = photos(5)
        whole = digest(Block([1, 2, 5, 7, 9], several))
        ends = Block([5], several[2:3]), Block([7, 9], several[3:])
        parts = digest(Block([1, 2], several[:2]), Block([], []), *ends)
        assert whole.value() == parts.value()
        assert (whole.count, whole.last_id) == (parts.count, parts.last_id) == (5, 9)

    @pytest.mark.parametrize("column", COLUMNS, ids=NAMES)
    def test_every_fact_counts(self, column):
        other = {Path: Path("/other"), int: 77, float: 77.5, str: "other"}[column.kind]
        one, two = photo(1), photo(1, **{column.name: other})
        assert digest(Block([1], [one])).value() != digest(Block([1], [two])).value()

    def test_every_bit_of_a_vector_and_the_id_count(self):
        flipped = unit(1)
        flipped.view(np.uint16)[0] ^= 1
        values = {
            digest(Block([number], [photo(1, vector=vector)])).value()
            for number in (1, 2)
            for vector in (unit(1), flipped)
        }
        assert len(values) == 4

    def test_bytes_do_not_move_from_a_fact_to_the_next(self):
        one, other = photo(1, "/ab", content_hash="c"), photo(1, "/a", content_hash="bc")
        assert digest(Block([1], [one])).value() != digest(Block([1], [other])).value()

    def test_a_sign_of_zero_that_sqlite_does_not_keep_does_not_count(self):
        values = [digest(Block([1], [photo(1, taken=zero)])).value() for zero in (0.0, -0.0)]
        assert values[0] == values[1]

    @pytest.mark.parametrize("ids", [[2, 1], [1, 1], [0, 1]])
    def test_ids_rise(self, ids):
        with pytest.raises(ValueError, match="comes after"):
            digest(Block(ids, photos(2)))


class TestFacts:
    @pytest.mark.parametrize(
        ("date", "taken"),
        [("2020:02:29 12:00:01", 1_582_977_601.0), ("2020-02-29T12:00:01+02:00", 1_582_977_601.0),
         ("0000:00:00 00:00:00", 7.5), ("2021:02:29 12:00:00", 7.5), ("soon", 7.5), (None, 7.5)],
    )  # fmt: skip
    def test_a_photo_is_dated_by_its_camera_else_by_its_file(self, date, taken):
        known = facts_of("/a.jpg", 3, 7_500_000_000, "x", Look(taken=date))
        assert (known.taken, known.path, known.size) == (taken, Path("/a.jpg"), 3)
        assert (known.width, known.height, known.content_hash) == (40, 30, "x")

    def test_the_hash_of_content(self):
        assert hash_of(b"") == "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"


USE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from made_photos import held, photo
from msedge.search.photo import Block, Digest, facts_of
from msedge.search.stores import check_gallery, copy_gallery, open_store

gallery = Path(sys.argv[2])
before = held(gallery)
said = {}
with open_store(gallery) as store:
    said["shown"] = store.photos([1])[0].as_json()["camera"]
    view = store.view()
assert check_gallery(gallery) == []
with open_store(gallery, writable=True) as store:
    assert held(gallery) == before
    store.change(put=[photo(500, camera="a 'Leica'"), photo(3, camera="Pentax")])
    assert store.view(view).version > view.version
    number = store.id_at(photo(500).path)
    said["kept"] = [each.camera for each in store.photos([1, 4, number])]
there, back = gallery.with_name("b.lance"), gallery.with_name("c.msedge")
digests = {copy_gallery(gallery, there).digest, copy_gallery(there, back).digest}
assert held(gallery) == held(there) == held(back)
assert check_gallery(gallery) == check_gallery(there) == check_gallery(back) == []
with open_store(back, writable=True) as store:
    said["copied"] = store.photos([number])[0].as_json()["camera"]
    store.put_with_ids(Block([number], [photo(500, camera="Other")]))
assert copy_gallery(back, gallery.with_name("d.msedge")).digest not in digests
assert len(digests) == 1
content = bytearray(gallery.read_bytes())
content[:8192] = bytes(8192)
damaged = gallery.with_name("damaged.msedge")
damaged.write_bytes(content)
check_gallery(damaged, repair=True)
assert held(damaged.with_name("damaged.msedge-salvaged")) == held(gallery)
class Look:
    width, height, taken = 1, 1, None
said["read"] = facts_of("/a", 1, 1, "x", Look).camera
print(json.dumps(said))
"""


def test_a_column_is_added_in_one_place(tmp_path):
    """A fact is declared once: what stores, copies, checks and shows it follows from that."""
    copy = tmp_path / "newer" / "msedge"
    shutil.copytree(Path(msedge.__file__).parent, copy, ignore=shutil.ignore_patterns("*.pyc"))
    source = copy / "search" / "photo.py"
    text = source.read_text()
    last = '    hubness: float = _fact("float64", default=0.0, added=1)\n'
    added = f'    camera: str = _fact("string", shown=True, added={ADDED + 1}, default="unknown")\n'
    read = "        taken=mtime_ns / 1e9 if taken is None else taken,\n"
    assert text.count(last) == text.count(read) == 1
    text = text.replace(last, last + added).replace(read, read + '        camera="read",\n')
    source.write_text(text)

    gallery = make(tmp_path / "a.msedge", photos(20))
    make(tmp_path / "a.lance", photos(20))
    done = subprocess.run(
        [sys.executable, "-c", USE, TESTS, gallery], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(copy.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "shown": "unknown", "kept": ["unknown", "Pentax", "a 'Leica'"], "copied": "a 'Leica'",
        "read": "read",
    }  # fmt: skip
    with pytest.raises(DataError, match=f"is of schema {3 + ADDED}.*update msedge"):
        held(gallery)
