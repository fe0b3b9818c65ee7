from __future__ import annotations

import re
from pathlib import Path

import pytest

from lance_galleries import MODEL, make_lance
from msedge.errors import DataError
from msedge.search.lance.gallery import LanceGallery


def read(path: Path) -> None:
    with LanceGallery.open(path) as gallery:
        gallery.photos()
        gallery.view()


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as refused:
        read(path)
    message = str(refused.value)
    assert "\n" not in message
    assert "rust" not in message
    return message


def files(path: Path, kind: str) -> list[Path]:
    return sorted((path / kind).iterdir())


class TestOpening:
    def test_says_that_there_is_none(self, tmp_path):
        assert "no gallery" in refusal(tmp_path / "none.lance")

    def test_says_what_is_no_gallery(self, tmp_path):
        (tmp_path / "folder.lance").mkdir()
        (tmp_path / "file.lance").write_text("no")
        assert "folder.lance is not a gallery" in refusal(tmp_path / "folder.lance")
        assert "file.lance is not a gallery" in refusal(tmp_path / "file.lance")

    @pytest.mark.parametrize("kind", ["_versions", "data"])
    @pytest.mark.parametrize("left", [0.5, 0.0])
    def test_tells_files_that_were_cut_short(self, tmp_path, kind, left):
        make_lance(tmp_path / "a.lance", 1, 2, 3).close()
        for file in files(tmp_path / "a.lance", kind):
            content = file.read_bytes()
            file.write_bytes(content[: int(len(content) * left)])
        assert re.search(r"a\.lance: it cannot be read .* damaged", refusal(tmp_path / "a.lance"))

    def test_tells_files_that_have_gone(self, tmp_path):
        make_lance(tmp_path / "a.lance", 1, 2, 3).close()
        for file in files(tmp_path / "a.lance", "data"):
            file.unlink()
        assert "it cannot be read" in refusal(tmp_path / "a.lance")

    def test_tells_files_full_of_something_else(self, tmp_path):
        make_lance(tmp_path / "a.lance", 1, 2, 3).close()
        for file in files(tmp_path / "a.lance", "data"):
            file.write_bytes(b"\xff" * file.stat().st_size)
        assert "it cannot be read" in refusal(tmp_path / "a.lance")


class TestMaking:
    def test_refuses_what_is_there(self, tmp_path):
        LanceGallery.create(tmp_path / "a.lance", MODEL).close()
        (tmp_path / "b.lance").write_text("a file")
        for name in ("a.lance", "b.lance"):
            with pytest.raises(DataError, match=f"{name} is there already"):
                LanceGallery.create(tmp_path / name, MODEL)
        assert (tmp_path / "b.lance").read_text() == "a file"

    def test_says_where_nothing_can_be_written(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match=r"cannot write .*a\.lance .*: choose"):
            LanceGallery.create(tmp_path / "file" / "a.lance", MODEL)

    def test_makes_the_folder(self, tmp_path):
        with LanceGallery.create(tmp_path / "new" / "a.lance", MODEL) as gallery:
            assert gallery.count() == 0


class TestAGalleryThatGoesAway:
    def test_is_said_to_have_gone(self, tmp_path):
        gallery = make_lance(tmp_path / "a.lance", 1)
        (tmp_path / "a.lance").rename(tmp_path / "b.lance")
        with pytest.raises(DataError, match=r"no gallery .*a\.lance"):
            gallery.now(afresh=True)
