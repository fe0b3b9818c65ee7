"""What an index says of itself, and what is refused."""

from __future__ import annotations

import json

import pytest

from approximate_galleries import built, clustered, index_of
from msedge.errors import DataError
from msedge.search.approximate.about import checksum, read_about
from msedge.search.approximate.index import ApproximateIndex

REFUSED = "delete the folder; it will be built again"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("about") / "index"
    built(folder, clustered(5000, 16), gallery="g", version=12)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    copy = tmp_path / "index"
    copy.mkdir()
    for path in made.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def refused(folder, reason):
    with pytest.raises(DataError, match=REFUSED) as error:
        ApproximateIndex.open(folder)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def rewrite(folder, change):
    path = folder / "about.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


class TestSmoke:
    def test_it_says_what_was_built(self, made):
        about, files = read_about(made)
        assert (about.gallery, about.version, about.fingerprint) == ("g", 12, "f" * 64)
        assert (about.count, about.dim, about.kind) == (5000, 16, "hnsw")
        assert (about.recall_wanted, about.sample) == (0.95, 256)
        assert 0.95 <= about.recall_measured <= 1
        assert about.bytes == files["structure"].stat().st_size
        assert about.parameters.keys() == {"lists", "width", "depth"}


class TestExceptions:
    def test_no_folder(self, tmp_path):
        refused(tmp_path / "none", "about.json is missing")

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', '{"format": "x"}'])
    def test_a_damaged_about(self, folder, text):
        (folder / "about.json").write_text(text)
        refused(folder, "about.json is damaged")

    def test_bytes_that_are_no_text(self, folder):
        (folder / "about.json").write_bytes(b"\xff\xfe\x00")
        refused(folder, "about.json")

    def test_a_newer_format(self, folder):
        rewrite(folder, lambda content: content.update(format=99))
        refused(folder, "format 99, newer than 1")

    @pytest.mark.parametrize("what", ["ids", "vectors", "structure"])
    def test_a_file_is_missing(self, folder, what):
        next(folder.glob(what + "-*")).unlink()
        refused(folder, "is missing")

    @pytest.mark.parametrize("what", ["ids", "vectors", "structure"])
    def test_a_file_is_cut_off(self, folder, what):
        path = next(folder.glob(what + "-*"))
        path.write_bytes(path.read_bytes()[:-1])
        refused(folder, "bytes instead of")

    @pytest.mark.parametrize("what", ["ids", "vectors", "structure"])
    def test_a_file_has_other_bytes(self, folder, what):
        path = next(folder.glob(what + "-*"))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        refused(folder, "is not what was written")

    def test_files_of_another_index(self, folder):
        rewrite(folder, lambda content: content["about"].update(count=4999))
        refused(folder, "a file of it is damaged")

    @pytest.mark.parametrize("field", ["parameters", "count", "kind"])
    def test_a_field_is_missing(self, folder, field):
        rewrite(folder, lambda content: content["about"].pop(field))
        refused(folder, "about.json is damaged")

    def test_a_structure_that_is_none_of_faiss(self, folder):
        path = next(folder.glob("structure-*"))
        path.write_bytes(b"nonsense" * 100)

        def as_if_written(content):
            content["files"]["structure"].update(bytes=800, checksum=checksum(path))

        rewrite(folder, as_if_written)
        refused(folder, "a file of it is damaged")

    def test_a_name_that_leads_elsewhere_is_not_followed(self, folder):
        rewrite(folder, lambda content: content["files"]["ids"].update(name="../../etc/passwd"))
        refused(folder, "passwd is missing")


class TestChecksum:
    def test_of_a_large_file_the_beginning_and_the_end_count(self, tmp_path):
        path, sums = tmp_path / "large", set()
        for place in (None, 0, 2_999_999):
            content = bytearray(3_000_000)
            if place is not None:
                content[place] = 1
            path.write_bytes(content)
            sums.add(checksum(path))
        assert len(sums) == 3


def test_a_sound_copy_is_opened(folder):
    assert ApproximateIndex.open(folder).about.count == 5000


def test_opening_does_not_depend_on_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(index_of(tmp_path / "index", clustered(10, 4)).ids) == 10
