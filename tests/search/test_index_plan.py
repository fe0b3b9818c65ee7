from __future__ import annotations

import pytest

from msedge.errors import DataError
from msedge.search.folders import FoundFile, Walk
from msedge.search.gallery_rows import Place
from msedge.search.index_plan import check_not_emptied, plan_index, with_photos_elsewhere


def walk_of(*files, roots=("/p",), unread=()):
    return Walk(tuple(roots), [FoundFile(*file) for file in files], dict.fromkeys(unread, "why"))


class TestPlan:
    def test_size_and_time_decide(self):
        walk = walk_of(("/p/a", 1, 1), ("/p/b", 1, 2), ("/p/c", 2, 1), ("/p/d", 1, 1))
        places = {f"/p/{n}": Place(i, 1, 1, n) for i, n in enumerate("abc")}
        plan = plan_index(walk, places)
        assert [file.path for file in plan.to_read] == ["/p/b", "/p/c", "/p/d"]
        assert (plan.unchanged, plan.gone) == (1, {})

    def test_gone_is_what_lay_in_the_folders_walked(self):
        places = {
            "/p/a": Place(1, 1, 1, "x"),
            "/p/b": Place(2, 1, 1, "x"),
            "/other/c": Place(3, 1, 1, "x"),
            "/p/locked/d": Place(4, 1, 1, "x"),
        }
        walk = walk_of(unread=["/p/locked"])
        assert plan_index(walk, places).gone == {"x": [1, 2]}
        assert plan_index(walk, places, everything=True).gone == {"x": [1, 2, 3, 4]}


class TestEmptied:
    def test_a_folder_suddenly_without_photos(self):
        places = {"/p/a": Place(1, 1, 1, "x"), "/p2/a": Place(2, 1, 1, "x")}
        with pytest.raises(DataError, match=r"holds 1 from there.*--allow-empty"):
            check_not_emptied(walk_of(), places)
        check_not_emptied(walk_of(("/p/b", 1, 1)), places)
        check_not_emptied(walk_of(roots=["/q"]), places)


class TestElsewhere:
    def test_photos_elsewhere_are_found_where_they_are(self, tmp_path):
        kept = tmp_path / "kept.jpg"
        kept.write_bytes(b"123")
        places = {str(kept): Place(1, 3, 1, "x"), str(tmp_path / "gone.jpg"): Place(2, 1, 1, "y")}
        walk = with_photos_elsewhere(walk_of(("/p/a", 1, 1)), places)
        assert {file.path for file in walk.files} == {"/p/a", str(kept)}

    def test_a_folder_that_is_not_there(self, tmp_path):
        places = {str(tmp_path / "disk" / "a.jpg"): Place(1, 1, 1, "x")}
        with pytest.raises(DataError, match="bring its disk back"):
            with_photos_elsewhere(walk_of(), places)
