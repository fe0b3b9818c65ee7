"""What was found, held against what a gallery holds."""

from __future__ import annotations

import base64
import zlib

import pytest

from msedge.errors import DataError
from msedge.search.photo import Place
from msedge.search.sources import Choice, Found, find
from msedge.search.sources.objects import Item, found_at
from msedge.search.sources.plan import (
    Plan,
    check_not_emptied,
    plan,
    with_photos_elsewhere,
    with_shards_listed,
)
from msedge.search.sources.shards import Listing, list_shard
from photo_files import write_photo
from shard_files import photo_bytes, write_tar

TAR = Item("/p/s.tar", 100, 7)
LISTING = Listing(
    TAR,
    tuple(
        Item(f"/p/s.tar/{name}.png", 100, 7, "/p/s.tar", (512 * at, 5))
        for at, name in enumerate(("b", "a", ".c", "x/.d/e"), 1)
    ),
)
WHOLE = {f"/p/s.tar/{n}.png": Place(i, 100, 7, f"{i}") for i, n in enumerate("ab")}


def found_of(*files, roots=("/p",), shards=(), **known):
    return Found(tuple(roots), [Item(*each) for each in files], list(shards), **known)


def listed(found, places=None, choice=None, noted="", listings=(LISTING,)):
    """What is found with shards listed, the note, and which shards were opened."""
    opened = []

    def list_shards(shards):
        opened.extend(shard.path for shard in shards)
        return [each for each in listings if each.shard in shards]

    return *with_shards_listed(found, places or {}, choice or Choice(), noted, list_shards), opened


class TestPlan:
    def test_size_and_time_decide(self):
        found = found_of(("/p/a", 1, 1), ("/p/b", 1, 2), ("/p/c", 2, 1), ("/p/d", 1, 1))
        places = {f"/p/{n}": Place(i, 1, 1, n) for i, n in enumerate("abc")}
        made = plan(found, places)
        assert [item.path for item in made.to_read] == ["/p/b", "/p/c", "/p/d"]
        assert (made.unchanged, made.gone) == (1, {})

    def test_gone_is_what_lay_in_the_sources(self):
        places = {
            "/p/a": Place(1, 1, 1, "x"),
            "/p/b": Place(2, 1, 1, "x"),
            "/other/c": Place(3, 1, 1, "x"),
            "/p/locked/d": Place(4, 1, 1, "x"),
        }
        found = found_of(unread={"/p/locked": "why"})
        assert plan(found, places).gone == {"x": [1, 2]}
        assert plan(found, places, everything=True).gone == {"x": [1, 2, 3, 4]}


class TestShards:
    def test_their_photos_follow_each_other_as_they_lie_there(self):
        found, _, opened = listed(found_of(("/p/z.png", 1, 1), ("/p/a.png", 1, 1), shards=[TAR]))
        made = plan(found, {})
        assert [item.path for item in made.to_read] == [
            "/p/a.png", "/p/s.tar/b.png", "/p/s.tar/a.png", "/p/z.png",
        ]  # fmt: skip
        assert made.to_read[2] == LISTING.photos[1]
        assert (opened, found.shards) == (["/p/s.tar"], ())

    def test_one_that_is_whole_in_the_gallery_is_not_opened(self):
        _, note, _ = listed(found_of(shards=[TAR]))
        found, again, opened = listed(found_of(shards=[TAR]), WHOLE, noted=note)
        assert plan(found, WHOLE) == Plan([], 2, {})
        assert (opened, again) == ([], note)

    @pytest.mark.parametrize(
        ("size", "mtime", "photos", "choice"),
        [
            (101, 7, 2, Choice()),
            (100, 8, 2, Choice()),
            (100, 7, 1, Choice()),
            (100, 7, 2, Choice(hidden=True)),
            (100, 7, 2, Choice(exclude=("a.*",))),
            (100, 7, 2, Choice(column="image")),
        ],
    )
    def test_else_it_is(self, size, mtime, photos, choice):
        _, note, _ = listed(found_of(shards=[TAR]))
        places = {
            path: Place(place.id, size, mtime, "") for path, place in list(WHOLE.items())[:photos]
        }
        assert listed(found_of(shards=[TAR]), places, choice, note)[2] == ["/p/s.tar"]
        changed = Item("/p/s.tar", 100, 9)  # with photos that are still as they were
        listings = [Listing(changed)]
        assert listed(found_of(shards=[changed]), WHOLE, noted=note, listings=listings)[2]

    @pytest.mark.parametrize(
        "note",
        ["{", "7", "[]", '{"/p/s.tar": [100]}', '{"/p/s.tar": 7}', "zlib:", "zlib:%%", "zlib:AAAA",
         "zlib:" + base64.b64encode(zlib.compress(b"[" * 9999)).decode()],
    )  # fmt: skip
    def test_an_odd_note_means_that_it_is(self, note):
        assert listed(found_of(shards=[TAR]), WHOLE, noted=note)[2] == ["/p/s.tar"]

    def test_a_long_note_is_packed(self):
        tars = [Item(f"/p/{n:03}.tar", n, 7) for n in range(200)]
        found = found_of(shards=tars)
        _, note, _ = listed(found, listings=[Listing(tar) for tar in tars])
        assert note.startswith("zlib:")
        assert len(note) < 4096
        assert listed(found, noted=note)[1:] == (note, [])

    def test_what_counts_within_them(self):
        hidden, _, _ = listed(found_of(shards=[TAR]), choice=Choice(exclude=("a.*",), hidden=True))
        assert [item.path[9:] for item in hidden.files] == ["b.png", ".c.png", "x/.d/e.png"]
        by_path, _, _ = listed(found_of(shards=[TAR]), choice=Choice(("x/.d",), hidden=True))
        assert [item.path[9:] for item in by_path.files] == ["b.png", "a.png", ".c.png"]

    def test_photos_that_left_one_are_gone_and_others_stay(self):
        places = {
            "/p/s.tar/b.png": Place(1, 100, 7, "x"),
            "/p/s.tar/old.png": Place(2, 100, 7, "y"),
            "/elsewhere/s.tar/a.png": Place(3, 1, 1, "z"),
        }
        found, _, _ = listed(found_of(shards=[TAR]), places)
        made = plan(found, places)
        assert (made.gone, made.unchanged) == ({"y": [2]}, 1)

    def test_photos_of_one_that_cannot_be_listed_stay(self):
        _, note, _ = listed(found_of(shards=[TAR]))
        found, again, _ = listed(
            found_of(("/p/a.png", 1, 1), shards=[TAR], unread={"/p/x": "locked"}),
            noted=note,
            listings=[Listing(TAR, unread="damaged")],
        )
        assert found.unread == {"/p/x": "locked", "/p/s.tar": "damaged"}
        assert plan(found, {"/p/s.tar/b.png": Place(1, 100, 7, "x")}).gone == {}
        assert again == note  # it may be whole again tomorrow

    def test_the_note_forgets_shards_that_are_gone_and_no_others(self):
        _, note, _ = listed(found_of(shards=[TAR]))
        assert listed(found_of(), noted=note)[1] == ""
        assert listed(found_of(roots=["/q"]), noted=note)[1] == note


class TestEmptied:
    def test_a_source_suddenly_without_photos(self):
        places = {"/p/a": Place(1, 1, 1, "x"), "/p2/a": Place(2, 1, 1, "x")}
        with pytest.raises(DataError, match=r"photos in /p, .*holds 1 from there.*--allow-empty"):
            check_not_emptied(found_of(), places)
        check_not_emptied(found_of(("/p/b", 1, 1)), places)
        check_not_emptied(found_of(roots=["/q"]), places)

    @pytest.mark.parametrize("unread", ["/p", "/p/b.tar"])
    def test_what_cannot_be_read_is_not_empty(self, unread):
        places = {"/p/b.tar/a": Place(1, 1, 1, "x")}
        check_not_emptied(found_of(unread={unread: "damaged"}), places)
        with pytest.raises(DataError, match="no photos in /p"):
            check_not_emptied(found_of(unread={"/q/b.tar": "damaged"}), places)


class TestElsewhere:
    def test_photos_elsewhere_are_found_where_they_are(self, tmp_path, memory):
        memory.pipe("/far/a.png", b"1")
        kept = write_photo(tmp_path / "kept.jpg")
        tar = write_tar(tmp_path / "s.tar", {f"{n}.png": photo_bytes(n) for n in range(3)})
        held = [kept, tmp_path / "gone.jpg", tar / "2.png", tar / "old.png", "/p/b"]
        remote = ["memory:/far/a.png", "memory:/far/gone.png"]
        places = {str(path): Place(n, 1, 1, "x") for n, path in enumerate([*held, *remote])}
        found = with_photos_elsewhere(found_of(("/p/a", 1, 1)), places)
        assert [item.path for item in found.files] == [
            "/p/a", str(kept), str(tar / "2.png"), "memory:/far/a.png",
        ]  # fmt: skip
        assert found.files[2] == list_shard(found_at(str(tar))).photos[2]

    def test_what_was_found_is_not_looked_for_again(self, tmp_path):
        tar = write_tar(tmp_path / "s.tar", {"a.png": photo_bytes(1)})
        places = {str(tar / name): Place(1, 1, 1, "x") for name in ("a.png", "gone.png")}
        found, _, _ = listed(find([tmp_path]), listings=[list_shard(found_at(str(tar)))])
        assert with_photos_elsewhere(found, places).files == list(found.files)
        named = write_photo(tmp_path / "locked" / "b.png")
        found = found_of((str(named), 1, 1), roots=[tmp_path], unread={str(named.parent): "why"})
        assert len(with_photos_elsewhere(found, {str(named): Place(1, 1, 1, "x")}).files) == 1

    def test_where_nobody_knows_whether_they_are_there(self, tmp_path):
        (tmp_path / "s.tar").write_bytes(b"no tar")
        told = {
            str(tmp_path / "disk" / "a.jpg"): "its folder is not there: bring its disk back",
            str(tmp_path / "s.tar" / "a.jpg"): r"its shard cannot be read \(no plain tar",
            "nonesuch:/bucket/a.jpg": r"it cannot be reached \(",
            "memory:/none/s.tar/a.jpg": r"its shard cannot be read \(no such file",
        }
        for path, message in told.items():
            with pytest.raises(DataError, match=message):
                with_photos_elsewhere(found_of(), {path: Place(1, 1, 1, "x")})
