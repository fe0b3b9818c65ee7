"""What an index says of itself, the files that it is made of, and what is refused."""

from __future__ import annotations

import json
import shutil
import zlib

import faiss
import numpy as np
import pytest

from approximate_galleries import built, clustered, ids_of
from msedge.errors import DataError
from msedge.search.approximate.index import ApproximateIndex

COUNT, DIM = 5000, 18
FILES = ("ids", "vectors", "structure")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "index"
    built(folder, clustered(COUNT, DIM), gallery="g", version=12)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "index")


def file_of(folder, what):
    (path,) = folder.glob(what + "-*")
    return path


def refused(folder, reason):
    with pytest.raises(DataError, match="delete the folder; it will be built again") as error:
        ApproximateIndex.open(folder)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def rewrite(folder, change):
    path = folder / "about.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def replaced(folder, what, content):
    """Put another file in the place of one, as if it had been written so."""
    path = file_of(folder, what)
    path.write_bytes(content)
    held = {"name": path.name, "bytes": len(content), "checksum": zlib.crc32(content)}
    rewrite(folder, lambda whole: whole["files"].update({what: held}))


class TestFormat:
    def test_it_says_what_was_built(self, made):
        about = ApproximateIndex.open(made).about
        assert (about.gallery, about.version, about.fingerprint) == ("g", 12, "f" * 64)
        assert (about.count, about.dim, about.kind) == (COUNT, DIM, "hnsw")
        assert (about.recall_wanted, about.sample) == (0.95, 256)
        assert 0.95 <= about.recall_measured <= 1
        assert 0 < about.seconds < 600
        assert about.bytes == file_of(made, "structure").stat().st_size
        assert about.parameters == {"lists": 0, "width": 64, "depth": 40}

    def test_the_files_are_those_that_earlier_releases_read(self, made):
        content = json.loads((made / "about.json").read_text())
        assert content["format"] == 1
        assert list(content["about"]) == [
            "gallery", "version", "fingerprint", "dim", "count", "kind", "parameters",
            "recall_wanted", "recall_measured", "sample", "seconds", "bytes", "faiss",
        ]  # fmt: skip
        for what in FILES:
            path = file_of(made, what)
            checksum = zlib.crc32(path.read_bytes())
            held = {"name": path.name, "bytes": path.stat().st_size, "checksum": checksum}
            assert content["files"][what] == held
        assert file_of(made, "ids").read_bytes() == ids_of(COUNT).astype("<i8").tobytes()
        stored = clustered(COUNT, DIM).astype("<f2").tobytes()
        assert file_of(made, "vectors").read_bytes() == stored

    @pytest.mark.parametrize("kind", ["hnsw", "ivf-sq", "ivf-pq"])
    def test_so_is_the_structure(self, tmp_path, kind):
        built(tmp_path, clustered(COUNT, DIM), kind=kind)
        structure = faiss.read_index(str(file_of(tmp_path, "structure")))
        assert (structure.d, structure.ntotal) == (20, COUNT)  # a multiple of 4
        assert structure.metric_type == faiss.METRIC_INNER_PRODUCT
        if kind == "hnsw":
            codes = faiss.downcast_index(structure.storage)
            assert (structure.hnsw.nb_neighbors(1), structure.hnsw.efConstruction) == (16, 100)
            assert (codes.code_size, codes.sq.qtype) == (20, faiss.ScalarQuantizer.QT_8bit)
        else:
            centres = faiss.downcast_index(structure.quantizer)
            assert (structure.nlist, type(centres)) == (128, faiss.IndexFlatIP)
            lengths = np.linalg.norm(centres.reconstruct_n(0, 128), axis=1)
            assert lengths == pytest.approx(np.ones(128), abs=1e-5)
            codes = {"ivf-sq": (20, False), "ivf-pq": (5, True)}  # bytes, of what is left over
            assert (structure.code_size, structure.by_residual) == codes[kind]

    def test_a_whole_copy_is_opened(self, folder):
        index = ApproximateIndex.open(folder)
        assert (len(index.ids), index.vectors.shape) == (COUNT, (COUNT, DIM))


class TestWhatItSays:
    def test_nothing(self, tmp_path):
        refused(tmp_path / "none", "about.json is missing")

    def test_a_folder_that_cannot_be_read(self, tmp_path):
        refused(tmp_path / ("x" * 300), "about.json cannot be read")

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "null", '{"format": 1}', '{"format": "x"}', "[" * 10_000, "\xff"]
    )
    def test_another_text(self, folder, text):
        (folder / "about.json").write_text(text, encoding="latin-1")
        refused(folder, "about.json is damaged")

    def test_more_than_there_is_to_say(self, folder):
        rewrite(folder, lambda content: content.update(more="x" * 70_000))
        refused(folder, "about.json is damaged")

    def test_a_newer_format(self, folder):
        rewrite(folder, lambda content: content.update(format=2, about="unknown yet"))
        refused(folder, "format 2, newer than 1")

    # More of them, and pipes, in tests/artefacts/test_caches.py.
    @pytest.mark.parametrize(
        "lie",
        [
            *({"version": -1}, {"dim": True}, {"sample": 2**63}, {"recall_measured": float("nan")}),
            *({"parameters": {"width": 9, "depth": 0}}, {"parameters": {"width": 9, "depth": 1.5}}),
        ],
        ids=str,
    )
    def test_a_value_that_cannot_be(self, folder, lie):
        rewrite(folder, lambda content: content["about"].update(lie))
        refused(folder, "about.json is damaged")


class TestFiles:
    @pytest.mark.parametrize("what", FILES)
    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            (lambda path, _: path.unlink(), "is missing"),
            (lambda path, content: path.write_bytes(content[:-1]), "bytes instead of"),
            (lambda path, content: path.write_bytes(content[:-1] + b"?"), "is not what was"),
        ],
        ids=["missing", "cut off", "of other bytes"],
    )
    def test_one_is_damaged(self, folder, what, damage, said):
        path = file_of(folder, what)
        damage(path, path.read_bytes())
        refused(folder, said)

    @pytest.mark.parametrize("what", FILES)
    def test_one_is_not_told_of(self, folder, what):
        rewrite(folder, lambda content: content["files"].pop(what))
        refused(folder, "a file of it is damaged")

    @pytest.mark.parametrize("at", [0, 0.5, -1])
    def test_a_large_one_is_looked_at_from_its_beginning_to_its_end(self, tmp_path, at):
        built(tmp_path / "index", clustered(40_000, 16), kind="ivf-pq", recall=0.3)
        path = file_of(tmp_path / "index", "vectors")
        content = bytearray(path.read_bytes())
        assert len(content) > 1 << 20
        content[int(at * len(content)) if at >= 0 else at] ^= 1
        path.write_bytes(content)
        refused(tmp_path / "index", "is not what was written")

    @pytest.mark.parametrize("lie", [{"count": COUNT - 1}, {"count": 10**18}, {"dim": 2**62}])
    def test_they_are_of_another_size(self, folder, lie):
        rewrite(folder, lambda content: content["about"].update(lie))
        refused(folder, "a file of it is damaged")

    def test_the_structure_is_none_of_faiss(self, folder):
        replaced(folder, "structure", b"nonsense" * 100)
        refused(folder, "a file of it is damaged")

    @pytest.mark.parametrize("size", [(COUNT - 1, DIM), (COUNT, DIM + 3)])
    def test_the_structure_is_of_other_vectors(self, folder, tmp_path, size):
        built(tmp_path / "other", clustered(*size))
        replaced(folder, "structure", file_of(tmp_path / "other", "structure").read_bytes())
        refused(folder, "its files do not belong together")

    def test_a_name_that_leads_elsewhere_is_not_followed(self, folder):
        rewrite(folder, lambda content: content["files"]["ids"].update(name="../../etc/passwd"))
        refused(folder, "passwd is missing")
