"""Vectors and features from strangers: ``.safetensors``, ``.npz``, ``.npy`` and labels."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from hostile_artefacts import (
    Case,
    cut_short,
    held_to_it,
    of_others,
    refusal,
    safetensors,
    turned,
    wiped,
)
from msedge.data.feature_files import read_labels
from msedge.data.features import load_features, stem_of
from msedge.data.vectors import FORMAT, load_vectors

ROWS = 12
TENSORS: dict[str, Any] = {
    "embeddings": np.random.default_rng(0).standard_normal((ROWS, 8)).astype(np.float32),
    "labels": np.arange(ROWS) % 2,
    "domains": np.arange(ROWS) // 6,
}
METADATA = {
    "format": FORMAT,
    "classes": '["bat", "cow"]',
    "paths": json.dumps([f"photo/cow/{row}.jpg" for row in range(ROWS)]),
}
WHOLE = save(TENSORS, METADATA)


def read_features(path: Path) -> None:
    """All that evaluation does with a file before it computes."""
    features = load_features(path)
    features.check(refuse_zeros=True)
    for name in features.paths or ():
        stem_of(name)


def archive(packed: bool = False, **arrays: Any) -> bytes:
    content = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(content, **arrays)
    return content.getvalue()


def array(values: Any) -> bytes:
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


FEATURES = {"embeddings": TENSORS["embeddings"], "labels": np.array(["bat", "cow"] * 6)}


def header_of(**entry: Any) -> bytes:
    return safetensors({"embeddings": entry, "__metadata__": METADATA}, bytes(16))


def crafted() -> Iterator[Case]:
    """Files in which each part is well-formed and the whole is not."""
    values = {
        "labels of reals": {"labels": np.linspace(0, 1, ROWS)},
        "labels that are no numbers": {"labels": np.full(ROWS, np.nan)},
        "labels of bits": {"labels": np.ones(ROWS, bool)},
        "a label too large": {"labels": np.full(ROWS, 2)},
        "a label below 0": {"labels": np.full(ROWS, -1)},
        "a label of 2^62": {"labels": np.full(ROWS, 2**62)},
        "a third domain": {"domains": np.full(ROWS, 2)},
        "domains of reals": {"domains": np.full(ROWS, 0.5)},
        "vectors of integers": {"embeddings": np.ones((ROWS, 8), np.int64)},
        "vectors of bits": {"embeddings": np.ones((ROWS, 8), bool)},
        "vectors without width": {"embeddings": np.ones(ROWS, np.float32)},
        "fewer labels": {"labels": np.zeros(3, np.int64)},
    }
    for name, changed in values.items():
        yield Case("values of a wrong kind", name, save(TENSORS | changed, METADATA))
    texts = {
        "classes: numbers": {"classes": "[1, 2]"},
        "classes: lists": {"classes": "[[1], {}]"},
        "classes: one text": {"classes": '"ab"'},
        "classes: nothing": {"classes": "null"},
        "paths: numbers": {"paths": json.dumps(list(range(ROWS)))},
        "paths: a mapping": {"paths": json.dumps({str(row): 1 for row in range(ROWS)})},
        "paths: nested deeply": {"paths": "[" * 100_000},
        "classes: nested deeply": {"classes": '{"a":' * 100_000},
        "paths: a number of 6,000 digits": {"paths": f"[{'9' * 6000}]"},
        "paths: no JSON": {"paths": "\u202e\n"},
        "another format": {"format": "a\nb\x1b[2J"},
    }
    for name, said in texts.items():
        yield Case("metadata of a wrong kind", name, save(TENSORS, METADATA | said))
    for version in ("msedge-vectors-2", "msedge-vectors-0"):
        content = save(TENSORS, METADATA | {"format": version})
        yield Case("of another release", version, content)
    offsets = [0, 16]
    headers = {
        "claims 10^18 bytes": safetensors({}, length=10**18),
        "claims 2^64 - 1 bytes": safetensors({}, length=2**64 - 1),
        "a list": safetensors([]),
        "nested deeply": safetensors(b'{"a":' * 50_000),
        "not UTF-8": safetensors(b"\xff\xfe{}"),
        "an offset below 0": header_of(dtype="F32", shape=[4], data_offsets=[-1, 16]),
        "a shape of 2^64 numbers": header_of(dtype="F32", shape=[2**62, 4], data_offsets=offsets),
        "a type that nobody knows": header_of(dtype="F33", shape=[4], data_offsets=offsets),
        "of a type without NumPy": header_of(dtype="BF16", shape=[2, 4], data_offsets=offsets),
        "of 8 bits": header_of(dtype="F8_E4M3", shape=[2, 8], data_offsets=offsets),
        "metadata twice": safetensors(b'{"__metadata__":{"a":"b"},"__metadata__":{"a":"c"}}'),
        "metadata of numbers": safetensors({"__metadata__": {"format": 1}}),
        "overlapping tensors": safetensors(
            {
                "embeddings": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
                "labels": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]},
            },
            bytes(24),
        ),
    }
    for name, content in headers.items():
        yield Case("a header that lies", name, content)


class TestVectors:
    def test_a_file_from_anywhere_is_read_or_refused_in_one_line(self, hostile_file, mark):
        cases = [
            *cut_short(WHOLE), *turned(WHOLE, header=500), *wiped(WHOLE), *of_others(mark),
            *crafted(),
        ]  # fmt: skip
        path = hostile_file.with_suffix(".safetensors")
        counts = held_to_it("vectors", cases, load_vectors, path, mark)
        again = held_to_it("vectors as features", cases, read_features, path, mark)
        assert counts == again
        assert sum(counts.values()) >= 100

    def test_another_release_is_told_as_such(self, tmp_path):
        path = tmp_path / "vectors.safetensors"
        path.write_bytes(save(TENSORS, METADATA | {"format": "msedge-vectors-2"}))
        assert "update msedge" in (refusal(load_vectors, path) or "")

    def test_a_name_of_several_lines_is_told_on_one(self, tmp_path):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\nb.safetensors"))
        path.write_bytes(b"nothing of ours")
        assert "\\udcff\\nb.safetensors" in (refusal(load_vectors, path) or "")

    def test_numbers_that_are_not_finite_are_for_who_compares_them(self, tmp_path):
        path = tmp_path / "vectors.safetensors"
        broken = TENSORS | {"embeddings": np.full((ROWS, 8), np.nan, np.float32)}
        path.write_bytes(save(broken, METADATA))
        assert np.isnan(load_vectors(path).embeddings).all()
        assert "row 0" in (refusal(read_features, path) or "")


def with_member(name: str, content: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of features with something besides."""
    made = io.BytesIO(archive(**FEATURES))
    with zipfile.ZipFile(made, "a", method) as opened:
        opened.writestr(name, content)
    return made.getvalue()


def instead(name: str, content: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of features with one array of other bytes."""
    made = io.BytesIO()
    kept = {key: value for key, value in FEATURES.items() if f"{key}.npy" != name}
    np.savez(made, **kept)
    with zipfile.ZipFile(made, "a", method) as opened:
        opened.writestr(name, content)
    return made.getvalue()


def npy(header: str, body: bytes = b"") -> bytes:
    """An ``.npy`` of any header."""
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


HEADERS = {
    "claims 8 PB": "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000, 1)}",
    "claims more than there is": "{'descr': '<f4', 'fortran_order': False, 'shape': (12, 8)}",
    "a negative length": "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8)}",
    "a length that is no number": "{'descr': '<f4', 'fortran_order': False, 'shape': ('a', 8)}",
    "a call in the header": "__import__('os').system('true')",
    "a call for a shape": "{'descr': '<f4', 'fortran_order': False, 'shape': (print(), 8)}",
    "a type that runs code": "{'descr': 'O', 'fortran_order': False, 'shape': (2, 2)}",
    "a type of gigabytes": "{'descr': '<U500000000', 'fortran_order': False, 'shape': (1,)}",
    "nested deeply": "(" * 100,
    "nothing": "",
}


def of_arrays() -> Iterator[Case]:
    for name, header in HEADERS.items():
        yield Case("an array that lies", name, npy(header, bytes(64)))
    yield Case("values of a wrong kind", "complex", array(np.ones((4, 4), complex)))
    yield Case("values of a wrong kind", "dates", array(np.ones((4, 4), "M8[s]")))
    yield Case("values of a wrong kind", "records", array(np.ones((4,), "i4,f4")))
    yield Case("values of a wrong kind", "32 axes", array(np.ones((1,) * 32)))
    yield Case("values of a wrong kind", "none", array(np.ones((0, 4))))


class TestArchives:
    def test_an_archive_from_anywhere_is_read_or_refused_in_one_line(self, hostile_file, mark):
        counts: Counter[str] = Counter()
        for packed in (False, True):
            whole = archive(packed, **FEATURES)
            crafted = (
                Case(case.kind, case.name, instead("embeddings.npy", case.content))
                for case in of_arrays()
            )
            cases = chain(
                cut_short(whole), turned(whole, header=200), wiped(whole), of_others(mark), crafted
            )
            counts += held_to_it(
                "features (.npz)", cases, read_features, hostile_file.with_suffix(".npz"), mark
            )
        assert sum(counts.values()) >= 120

    def test_a_member_that_unpacks_to_gigabytes_is_refused_unread(self, tmp_path):
        path = tmp_path / "bomb.npz"
        shape = (2**27, 8)
        head = npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}")
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as opened,
            opened.open("embeddings.npy", "w", force_zip64=True) as member,
        ):
            member.write(head)
            for _ in range(260):
                member.write(bytes(2**20))
        assert path.stat().st_size < 2**21
        assert "claim to hold" in (refusal(read_features, path) or "")

    def test_a_member_of_a_name_that_leads_elsewhere_is_written_nowhere(self, hostile_file):
        path = hostile_file.with_suffix(".npz")
        for name in ("../../escaped.npy", "/tmp/escaped-by-msedge.npy"):
            path.write_bytes(with_member(name, array(np.eye(3))))
            assert refusal(read_features, path, must_fail=False) is None
        assert [each.name for each in path.parent.iterdir()] == [path.name]
        assert not list(path.parent.parent.glob("escaped*"))
        assert not Path("/tmp/escaped-by-msedge.npy").exists()

    def test_features_that_pack_well_are_read(self, tmp_path):
        path = tmp_path / "even.npz"
        path.write_bytes(
            archive(packed=True, embeddings=np.ones((5000, 64)), y=np.zeros(5000, int))
        )
        read_features(path)


class TestArrays:
    def test_an_array_from_anywhere_is_read_or_refused_in_one_line(self, hostile_file, mark):
        whole = array(TENSORS["embeddings"])
        labels = hostile_file.with_name("labels.txt")
        labels.write_text("cow\n" * ROWS)

        def read(path: Path) -> None:
            load_features(path, labels=labels).check(refuse_zeros=True)

        cases = chain(
            cut_short(whole), turned(whole, header=128), wiped(whole), of_others(mark), of_arrays()
        )
        counts = held_to_it("features (.npy)", cases, read, hostile_file.with_suffix(".npy"), mark)
        assert sum(counts.values()) >= 60

    def test_so_are_labels(self, hostile_file, mark):
        whole = array(TENSORS["labels"])
        cases = [*cut_short(whole), *turned(whole, header=128), *of_others(mark), *of_arrays()]
        assert held_to_it("labels", cases, read_labels, hostile_file.with_suffix(".npy"), mark)
        cases = [
            Case("text", "not UTF-8", b"\xff\xfea"), Case("text", "an empty row", b"a\n\nb\n"),
            Case("text", "a huge number", b"9" * 5000 + b"\n", must_fail=False),
            Case("text", "no end of line", b"a" * 10**6, must_fail=False),
            Case("text", "NUL", b"\0\n" * 10, must_fail=False),
        ]  # fmt: skip
        assert held_to_it("labels", cases, read_labels, hostile_file.with_suffix(".txt"), mark)

    @pytest.mark.parametrize("read", [load_vectors, read_features, read_labels])
    def test_a_pipe_is_not_waited_for(self, tmp_path, read):
        for suffix in (".safetensors", ".npz", ".npy", ".txt"):
            os.mkfifo(tmp_path / f"pipe{suffix}")
            assert refusal(read, tmp_path / f"pipe{suffix}")
